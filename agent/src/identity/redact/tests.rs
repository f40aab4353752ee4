use super::*;

fn line(words: &str) -> String {
    let arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
    command(&arguments, false).join(" ")
}

#[test]
fn options_lose_their_secrets_and_nothing_else() {
    for (given, shown) in [
        ("app --password=x1 --port 1", "app --password=*** --port 1"),
        ("app --password x1 --port 1", "app --password *** --port 1"),
        ("app --db-password x1", "app --db-password ***"),
        ("app --api-key=x --apikey y", "app --api-key=*** --apikey ***"),
        ("app --auth_token x", "app --auth_token ***"),
        (
            "app --token x --max-tokens 5 --tokenizer t",
            "app --token *** --max-tokens 5 --tokenizer t",
        ),
        ("app --password-file /run/x", "app --password-file /run/x"),
        ("java -Ddb.password=x1 -jar a.jar", "java -Ddb.password=*** -jar a.jar"),
        ("mysql -u root -ptiger shop", "mysql -u root -p*** shop"),
        ("mysql -u root -p shop", "mysql -u root -p shop"),
        ("/usr/bin/mariadb -psecret", "/usr/bin/mariadb -p***"),
        ("psql -p5432 -h db shop", "psql -p5432 -h db shop"),
        ("psql -p 5433 --password shop", "psql -p 5433 --password shop"),
        ("sshpass -p hunter2 ssh host", "sshpass -p *** ssh host"),
        ("redis-cli -a hunter2 get x", "redis-cli -a *** get x"),
        ("curl -u alice:x1 https://h/", "curl -u alice:*** https://h/"),
        ("curl -ualice:x1 https://h/", "curl -ualice:*** https://h/"),
        ("ssh -p 2222 host", "ssh -p 2222 host"),
        ("psql postgres://app:x1@db:5432/shop", "psql postgres://app:***@db:5432/shop"),
        ("psql postgresql://app@db:5432/shop", "psql postgresql://app@db:5432/shop"),
        (
            "psql postgres://db/shop?user=a&password=x1&sslmode=require",
            "psql postgres://db/shop?user=a&password=***&sslmode=require",
        ),
        ("x postgres://a:p/w?rd@db/shop", "x postgres://a:***@db/shop"),
        ("x postgres://a:p@ss@db/shop", "x postgres://a:***@db/shop"),
        ("x http://host:80/path?mail=a@b", "x http://host:80/path?mail=a@b"),
        ("env PGPASSWORD=x1 psql", "env PGPASSWORD=*** psql"),
        ("env PWD=/home/a OLDPWD=/b x", "env PWD=/home/a OLDPWD=/b x"),
        ("git clone https://ghp_0123456789abcdef0123456789@host/x", "git clone https://***@host/x"),
        ("tool sk-ant-api03-0123456789abcdefghij", "tool ***"),
        ("aws AKIAIOSFODNN7EXAMPLE us-east-1", "aws *** us-east-1"),
        ("grep passwords.txt pass.txt", "grep passwords.txt pass.txt"),
        ("openssl rsa -passin pass:x1 -in k", "openssl rsa -passin *** -in k"),
    ] {
        assert_eq!(line(given), shown, "{given}");
        assert_eq!(line(shown), shown, "twice: {given}");
    }
}

#[test]
fn texts_lose_their_secrets() {
    for (given, shown) in [
        ("host=db user=a password=x1 dbname=shop", "host=db user=a password=*** dbname=shop"),
        ("password = 'it''s \\' x' port=1", "password = '***' port=1"),
        ("ALTER ROLE a PASSWORD 'x1' LOGIN", "ALTER ROLE a PASSWORD '***' LOGIN"),
        ("ALTER ROLE a ENCRYPTED PASSWORD E'x1'", "ALTER ROLE a ENCRYPTED PASSWORD E'***'"),
        ("CREATE USER a IDENTIFIED BY 'x1'", "CREATE USER a IDENTIFIED BY '***'"),
        ("CREATE USER a IDENTIFIED BY \"x1\"", "CREATE USER a IDENTIFIED BY \"***\""),
        ("CREATE USER a IDENTIFIED WITH p BY x1;", "CREATE USER a IDENTIFIED WITH p BY ***;"),
        ("ALTER ROLE a PASSWORD x1 LOGIN", "ALTER ROLE a PASSWORD *** LOGIN"),
        ("ALTER ROLE a PASSWORD NULL LOGIN", "ALTER ROLE a PASSWORD NULL LOGIN"),
        ("SET PASSWORD = x1", "SET PASSWORD = ***"),
        ("{\"password\": \"x1\", \"port\": 5}", "{\"password\": \"***\", \"port\": 5}"),
        (
            "{\\\"api_key\\\": \\\"x1\\\", \\\"a\\\": 1}",
            "{\\\"api_key\\\": \\\"***\\\", \\\"a\\\": 1}",
        ),
        ("export DB_PASS=x1; run", "export DB_PASS=***; run"),
        ("PGPASSWORD='a b' psql -c 'select 1'", "PGPASSWORD='***' psql -c 'select 1'"),
        ("Authorization: Bearer abc.def ghi", "Authorization: ***"),
        ("Authorization: Basic eDp5\nHost: h", "Authorization: ***\nHost: h"),
        ("select password from users where id = 1", "select password from users where id = 1"),
        ("token=x&user=y", "token=***&user=y"),
        (
            "jdbc:postgresql://db/shop?user=a&password=x",
            "jdbc:postgresql://db/shop?user=a&password=***",
        ),
        ("AccountKey=abc==;EndpointSuffix=x", "AccountKey=***;EndpointSuffix=x"),
        ("passwörter=x password=é1", "passwörter=x password=***"),
        ("password=", "password="),
        ("password='never closed", "password='***"),
        ("no secret here", "no secret here"),
    ] {
        assert_eq!(text(given), shown, "{given}");
        assert_eq!(text(shown), shown, "twice: {given}");
    }
}

/// What its own record would hide, the command line it came with hides too.
#[test]
fn statements_in_a_command_line_lose_their_values() {
    let shown = |arguments: &[&str]| {
        let given: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let shown = command(&given, false);
        assert_eq!(command(&shown, false), shown, "twice");
        shown.join(" ")
    };
    for (given, expected) in [
        (
            &["psql", "-c", "SELECT pgp_sym_encrypt('x', 'hunter2')"][..],
            "psql -c SELECT pgp_sym_encrypt(***)",
        ),
        (&["psql", "-c", "ALTER ROLE x PASSWORD hunter2"], "psql -c ALTER ROLE x PASSWORD ***"),
        (
            &["psql", "shop", "-c", "ALTR ROLE x SET y = 'hunter2' WHERE n = 'it''s hunter2'"],
            "psql shop -c ALTR ROLE x SET y = '***' WHERE n = '***'",
        ),
        (
            &["psql", "--command=insert into u(password) values ('hunter2', 1)"],
            "psql --command=insert into u(password) values ('***', 1)",
        ),
        (&["psql", "-cselect 1, 'hunter2'"], "psql -cselect 1, '***'"),
        (
            &["psql", "-c", "CREATE USER x PASSWORD $a$hunter2 x$a$ LOGIN"],
            "psql -c CREATE USER x PASSWORD $a$***$a$ LOGIN",
        ),
        (
            &["mysql", "-e", "update u set p = \"hunter2\" where id = 1"],
            "mysql -e update u set p = \"***\" where id = 1",
        ),
        // Whatever runs it.
        (
            &["run.py", "(/* x */ SELECT \"a\" FROM t WHERE b = 'hunter2')"],
            "run.py (/* x */ SELECT \"a\" FROM t WHERE b = '***')",
        ),
        (
            &["bash", "-c", "psql shop -c \"INSERT INTO u VALUES ('hunter2')\" | cat"],
            "bash -c psql shop -c \"INSERT INTO u VALUES ('***')\" | cat",
        ),
        (
            &["bash", "-c", r"psql -c 'select 1' -c 'UPDATE u SET p='\''hunter2'\'' WHERE a=1'"],
            "bash -c psql -c 'select 1' -c 'UPDATE u SET p=***",
        ),
        (
            &["bash", "-c", r"psql -c 'ALTER ROLE x PASSWORD '\''its hunter2'\'''"],
            "bash -c psql -c 'ALTER ROLE x PASSWORD ***",
        ),
        (
            &["bash", "-c", "psql <<X\nALTER ROLE x PASSWORD hunter2;\nX"],
            "bash -c psql <<X\nALTER ROLE x PASSWORD ***;\nX",
        ),
        (
            &["bash", "-c", r#"psql -c "select crypt(\"hunter2\", 'x')" && echo done"#],
            r#"bash -c psql -c "select crypt(***)" && echo done"#,
        ),
        (
            &["python3", "-c", "db.execute(\"SELECT * FROM dblink('hunter2', 'select 1')\")"],
            "python3 -c db.execute(\"SELECT * FROM dblink(***)",
        ),
        // What only looks like it.
        (&["psql", "-c", "select count(*) from t"], "psql -c select count(*) from t"),
        (&["bash", "-c", "set -e; echo 'hello'"], "bash -c set -e; echo 'hello'"),
        (&["git", "commit", "-m", "Update the 'foo' docs"], "git commit -m Update the 'foo' docs"),
        (&["x", "--selected", "create 'y'", "don't"], "x --selected create 'y' don't"),
    ] {
        assert_eq!(shown(given), expected);
    }
}

/// A cut argument block may end anywhere.
#[test]
fn a_secret_that_was_cut_is_hidden_too() {
    let whole = "psql postgres://app:hunter2@db/shop password='hunter2' --token hunter2";
    for end in 0..=whole.len() {
        let given: Vec<String> = whole.get(..end).unwrap().split(' ').map(str::to_owned).collect();
        let shown = command(&given, end < whole.len()).join(" ");
        assert!(!shown.contains("hun"), "{shown}");
    }
    for whole in [
        "SELECT pgp_sym_encrypt('x', 'hunter2') FROM t",
        "ALTER ROLE x PASSWORD \"hunter2\" LOGIN",
        "ALTER ROLE x PASSWORD hunter2 LOGIN",
        "INSERT INTO u VALUES ('hunter2', $$hunter2$$)",
    ] {
        for end in 0..=whole.len() {
            let given = ["psql".to_owned(), "-c".into(), whole.get(..end).unwrap().to_owned()];
            let shown = command(&given, end < whole.len()).join(" ");
            assert!(!shown.contains("hun"), "{shown}");
        }
    }
}

#[test]
fn any_bytes_are_taken() {
    let mut state = 7_u64;
    let alphabet = [
        "'",
        "\"",
        "\\",
        "=",
        ":",
        "@",
        "/",
        "password",
        "é",
        " ",
        "$$",
        "E'",
        "--",
        "sk-",
        "a",
        "BY",
        "IDENTIFIED",
        "&",
    ];
    for _ in 0..20_000 {
        let mut given = String::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            given.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
        }
        let once = text(&given);
        assert!(once.len() <= given.len() + 64);
    }
}
