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

/// Whoever starts the program that takes a password, at whatever word.
#[test]
fn a_wrapped_program_loses_its_secrets_too() {
    for (given, shown) in [
        ("sudo mysqldump -uroot -phunter2 shop", "sudo mysqldump -uroot -p*** shop"),
        ("sudo -u backup -- mysqldump -phunter2", "sudo -u backup -- mysqldump -p***"),
        ("env A=b mysql -phunter2", "env A=b mysql -p***"),
        ("timeout 60 /usr/bin/mysql -phunter2", "timeout 60 /usr/bin/mysql -p***"),
        (
            "nice -n 19 ionice -c3 mariadb-dump -phunter2",
            "nice -n 19 ionice -c3 mariadb-dump -p***",
        ),
        ("docker exec -it db mysql -uroot -phunter2", "docker exec -it db mysql -uroot -p***"),
        ("docker exec mysql mysqldump -phunter2", "docker exec mysql mysqldump -p***"),
        ("kubectl exec db-0 -- mysql -phunter2", "kubectl exec db-0 -- mysql -p***"),
        ("ssh -p 22 host mysql -phunter2", "ssh -p 22 host mysql -p***"),
        ("xargs redis-cli -a hunter2 get", "xargs redis-cli -a *** get"),
        ("sudo curl -su alice:hunter2 https://h/", "sudo curl -su alice:*** https://h/"),
        ("curl -U alice:hunter2 https://h/", "curl -U alice:*** https://h/"),
        // The name of a database is no program.
        ("mysql shop psql -phunter2", "mysql shop psql -p***"),
        ("mysqldump mongo -phunter2", "mysqldump mongo -p***"),
        ("sudo sqlcmd -U sa -P hunter2 -Q x", "sudo sqlcmd -U sa -P *** -Q x"),
    ] {
        assert_eq!(line(given), shown, "{given}");
        assert_eq!(line(shown), shown, "twice: {given}");
    }
}

#[test]
fn a_command_in_an_argument_loses_its_secrets_too() {
    for (given, shown) in [
        ("mysqldump -uroot -phunter2 shop > /b", "mysqldump -uroot -p*** shop > /b"),
        ("cd /b && mysqldump -phunter2 shop|gzip", "cd /b && mysqldump -p*** shop|gzip"),
        ("mysql -p'hunter 2' shop", "mysql -p'***' shop"),
        ("mysql \"-phunter 2\" shop", "mysql \"-p***\" shop"),
        ("mysql -phunt\\ er2 shop", "mysql -p*** shop"),
        ("mysql -phun'te r'2 shop", "mysql -p*** shop"),
        ("mysql -e 'a; b' -phunter2", "mysql -e 'a; b' -p***"),
        ("mysql \\\n  -uroot \\\n  -phunter2", "mysql \\\n  -uroot \\\n  -p***"),
        ("sudo docker exec db mysql -phunter2", "sudo docker exec db mysql -p***"),
        ("docker exec db sh -c 'mysql -phunter2'", "docker exec db sh -c 'mysql -p***'"),
        (
            "ssh h \"sh -c \\\"mysql -phunter2\\\"\" && ls -p",
            "ssh h \"sh -c \\\"mysql -p***\\\"\" && ls -p",
        ),
        ("sh -c 'mysql -e '\\''a;b'\\'' -phunter2'", "sh -c 'mysql -e '\\''a;b'\\'' -p***'"),
        ("x=$(mysql -phunter2 -e q); ls -pa", "x=$(mysql -p*** -e q); ls -pa"),
        ("curl -u alice:hunter2 https://h/", "curl -u alice:*** https://h/"),
        ("curl -sSfu 'alice:hunt er2' h", "curl -sSfu 'alice:***' h"),
        ("curl -ualice:hunter2 h", "curl -ualice:*** h"),
        ("sshpass -p hunter2 ssh -p 22 host", "sshpass -p *** ssh -p 22 host"),
        ("redis-cli -a hunter2 get x", "redis-cli -a *** get x"),
        ("app --db-password hunter2 --port 1", "app --db-password *** --port 1"),
        ("app --token 'hunter2' x", "app --token '***' x"),
        ("don't; mysql -phunter2 x", "don't; mysql -p*** x"),
    ] {
        let as_one = |text: &str| {
            let arguments = ["/bin/sh", "-c", text].map(str::to_owned);
            command(&arguments, false).pop().unwrap()
        };
        assert_eq!(as_one(given), shown, "{given}");
        assert_eq!(as_one(shown), shown, "twice: {given}");
        for end in (0..=given.len()).filter(|end| given.is_char_boundary(*end)) {
            assert!(!as_one(&given[..end]).contains("hun"), "{}", &given[..end]);
        }
    }
}

/// Letters that take a password elsewhere.
#[test]
fn honest_command_lines_are_readable() {
    for honest in [
        "ls -p",
        "ls -pa /srv",
        "ssh -p 22 host",
        "ssh -p22 host uptime",
        "sudo ssh -p 2222 host",
        "mkdir -p /a/b",
        "sudo mkdir -pv /a/b",
        "docker exec mysql mkdir -pv /a",
        "docker exec mongo ls -p /a",
        "wget -U a:b https://h/a",
        "docker run --name mongo -p 27017:27017 mongo:7",
        "docker run --name mysql -p3306:3306 -d mysql:8",
        "psql -p 5432 shop",
        "sudo -u postgres psql -p5433 shop",
        "psql -U app -h db shop",
        "mysql -P 3306 -u root -p shop",
        "mysql -u root -h db shop",
        "mysqldump -P3306 --single-transaction shop",
        "redis-cli -h db -p 6379 get x",
        "mongosh --port 27017 shop",
        "curl -s -o /x https://h:80/a",
        "curl -fsSL https://h/a.sh",
        "wget -qO- https://h/a",
        "cp -pr a b",
        "tar -cpf x.tar a",
        "ps -p 1 -o pid",
        "nc -w 3 db 5432",
        "systemctl restart mysql",
        "apt-get install -y mysql redis",
        "python3 -m http.server -p 80",
        "java -Xmx1g -jar app.jar -p 80",
        "gunicorn -w 4 -b :80 shop:app",
        "find / -name mysql -print",
        "pg_dump -Fc -p 5432 -w shop",
        "make -C mysql test -k",
        "git commit -m readable",
    ] {
        assert_eq!(line(honest), honest);
        let shell = ["sh", "-c", honest].map(str::to_owned);
        assert_eq!(command(&shell, false).pop().as_deref(), Some(honest), "in a shell");
        let chained = format!("mysql -phunter2 x; {honest} && ls -p");
        let shell = ["sh".to_owned(), "-c".into(), chained];
        let shown = format!("mysql -p*** x; {honest} && ls -p");
        assert_eq!(command(&shell, false).pop(), Some(shown), "behind another");
    }
}

#[test]
fn texts_lose_their_secrets() {
    for (given, shown) in [
        ("host=db user=a password=x1 dbname=shop", "host=db user=a password=*** dbname=shop"),
        ("password = 'it''s \\' x' port=1", "password = '***' port=1"),
        // libpq takes blanks around its `=`.
        ("host=h password= x1", "host=h password= ***"),
        ("host = h password =  x1 dbname=shop", "host = h password =  *** dbname=shop"),
        ("password= 'x 1' host=h", "password= '***' host=h"),
        ("Server=h;UID=a;Password= x1;", "Server=h;UID=a;Password= ***;"),
        ("PGPASSWORD= psql -h db", "PGPASSWORD= psql -h db"),
        ("DB_HOST=h DB_PASSWORD= ./run", "DB_HOST=h DB_PASSWORD= ./run"),
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
        "mysql -p",
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
        // In a shell's hands too, whatever its quotes.
        command(&["sh".into(), "-c".into(), given], true);
    }
}
