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
        ("CREATE USER a IDENTIFIED BY \"x1\"", "CREATE USER a IDENTIFIED BY \"x1\""),
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

/// A cut argument block may end anywhere.
#[test]
fn a_secret_that_was_cut_is_hidden_too() {
    let whole = "psql postgres://app:hunter2@db/shop password='hunter2' --token hunter2";
    for end in 0..=whole.len() {
        let given: Vec<String> = whole.get(..end).unwrap().split(' ').map(str::to_owned).collect();
        let shown = command(&given, end < whole.len()).join(" ");
        assert!(!shown.contains("hun"), "{shown}");
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
