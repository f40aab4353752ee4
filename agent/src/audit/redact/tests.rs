use super::*;

fn shown(sql: &str, kept: TextKept) -> String {
    text(sql, Strings::Standard, kept).text.unwrap()
}

/// Whatever the text and the settings are, this must not be seen.
const CANARY: &str = "hunter2";

#[test]
fn secrets_never_come_through() {
    let texts = [
        "CREATE ROLE x LOGIN PASSWORD 'hunter2'",
        "alter user x with encrypted password 'hunter2' valid until '2030-01-01'",
        "ALTER ROLE x PASSWORD E'hunter\\x32' -- hunter2's password",
        "CREATE USER x PASSWORD $$hunter2$$",
        "CREATE USER x PASSWORD $a$hunter2$a$",
        "CREATE USER x PASSWORD U&'hunter2'",
        "CREATE USER x PASSWORD 'hunter' \n '2hunter2'",
        "ALTER ROLE x PASSWORD 'hunter2",
        "ALTER ROLE x PASSWORD $$hunter2",
        "ALTER ROLE x /* the password is hunter2 */ SET work_mem = 1",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h', password 'hunter2')",
        "CREATE USER MAPPING IF NOT EXISTS FOR u SERVER s OPTIONS (user 'a', sslkey 'hunter2')",
        "ALTER USER MAPPING FOR u SERVER s OPTIONS (SET password 'hunter2')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h user=u password=hunter2' PUBLICATION p",
        "ALTER SUBSCRIPTION s CONNECTION 'postgres://u:hunter2@h/db'",
        "SELECT dblink_connect('c', 'host=h password=hunter2')",
        "SELECT * FROM dblink('hunter2', 'select 1') AS t(a int)",
        "SELECT * FROM dblink('postgresql://u:hunter2@h/db', 'select 1') AS t(a int)",
        "SELECT pgp_sym_encrypt('data', 'hunter2')",
        "SELECT pgp_sym_decrypt(c, 'hunter2', 'cipher-algo=aes256') FROM t",
        "SELECT public.crypt('hunter2', gen_salt('bf')) = hash FROM users",
        "SELECT encode(hmac(body, 'hunter2', 'sha256'), 'hex')",
        "SELECT encrypt(data, upper('hunter2')::bytea, 'aes')",
        "SELECT set_config('app.secret_key', 'hunter2', false)",
        "SET app.api_key = 'hunter2'",
        "SET app.api_key TO 'hunter2'",
        "UPDATE users SET password = 'hunter2' WHERE id = 1",
        "UPDATE users SET \"passWord\" = 'hunter2'",
        "SELECT * FROM users WHERE name = 'x' AND passwd = 'hunter2'",
        "INSERT INTO users (name, password) VALUES ('x', 'hunter2')",
        "INSERT INTO users (password, name) VALUES ('hunter2', 'x'), ('hunter2', 'y')",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''hunter2'''; END $$",
        "DO $$ BEGIN ALTER ROLE x PASSWORD 'hunter2'; END $$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $f$ SELECT crypt('hunter2', 'x') $f$",
        "this is no SQL ) PASSWORD 'hunter2' at all ((",
        "gibberish password = \"x\" 'hunter2",
        "IDENTIFIED BY 'hunter2' is MySQL: CREATE USER x IDENTIFIED BY 'hunter2'",
        "COPY t FROM PROGRAM 'curl https://u:hunter2@h/x'",
        "SELECT 1; CREATE ROLE x PASSWORD 'hunter2'; SELECT 2",
        "SELECT '-----BEGIN PRIVATE KEY----- hunter2'",
        "SELECT 1 -- postgres://u:hunter2@h/db",
        "CREATE ROLE x PASSWORD\n--\n'hunter2'",
        "CREATE ROLE x PASSWORD/**/'hunter2'",
        "SELECT * FROM t WHERE api_key IN ('hunter2')",
    ];
    for sql in texts {
        for kept in [TextKept::Full, TextKept::Redacted] {
            let shown = shown(sql, kept);
            assert!(!shown.contains(CANARY), "{kept:?}: {sql}\n-> {shown}");
        }
        assert_eq!(text(sql, Strings::Standard, TextKept::Fingerprint).text, None);
    }
}

#[test]
fn a_backslash_of_unknown_meaning_ends_the_text() {
    let sql = r"SELECT 'a\', password 'b', 'hunter2'";
    assert_eq!(text(sql, Strings::Uncertain, TextKept::Full).text.unwrap(), "SELECT ?");
}

#[test]
fn what_is_no_secret_stays() {
    let sql = "SELECT id, 'x' AS y FROM t WHERE n = 1.5e3 AND d > $1 /* trace 1 */ LIMIT 10";
    assert_eq!(shown(sql, TextKept::Full), sql);
    assert_eq!(
        shown(sql, TextKept::Redacted),
        "SELECT id, ? AS y FROM t WHERE n = ? AND d > $1 /* trace 1 */ LIMIT ?"
    );
    let body = "DO $x$ BEGIN PERFORM f(1, 'a'); END $x$";
    assert_eq!(shown(body, TextKept::Full), body);
    assert_eq!(shown(body, TextKept::Redacted), "DO $x$ BEGIN PERFORM f(?, ?); END $x$");
}

#[test]
fn long_texts_are_cut_with_a_mark_and_no_secret_at_the_cut() {
    for filler in ["x", "ä", "€"] {
        for offset in 0..8 {
            let padding = filler.repeat((LOOKED_AT - 24) / filler.len() - offset);
            let sql = format!("SELECT \"{padding}\", password = '{}'", CANARY.repeat(99));
            let found = text(&sql, Strings::Standard, TextKept::Full);
            assert!(found.cut);
            let shown = found.text.unwrap();
            assert!(shown.ends_with('…') && shown.len() <= LONGEST + 3);
            assert!(!shown.contains(CANARY));
        }
    }
}

#[test]
fn a_fingerprint_is_of_the_form() {
    let of = |sql: &str| text(sql, Strings::Standard, TextKept::Fingerprint).fingerprint;
    let same = [
        "SELECT a FROM t WHERE id IN (1, 2,3)",
        "select  a from T where ID in ('x')",
        "SELECT a /* c */ FROM t WHERE id IN ($1)",
    ];
    for sql in same {
        assert_eq!(of(sql), of(same[0]), "{sql}");
    }
    assert_ne!(of("SELECT a FROM t"), of("SELECT b FROM t"));
    assert_ne!(of("SELECT \"a\" FROM t"), of("SELECT \"A\" FROM t"));
    assert_eq!(of("SELECT 1.5e3"), of("SELECT 2"));
}
