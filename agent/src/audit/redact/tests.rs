use super::*;
use crate::sql::{Cell, LexingState};

/// As a statement's text is recorded: the grammar is asked.
fn grammar(sql: &str) -> Grammar {
    Grammar::of(Cell::quick(sql.as_bytes(), &LexingState::default()).as_ref())
}

fn shown(sql: &str, kept: TextKept) -> String {
    text(sql, Strings::Standard, grammar(sql), kept).text.unwrap()
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
        "SELECT * FROM t WHERE api_key IN ('a', 'hunter2')",
        "SELECT * FROM t WHERE 'hunter2' = api_key",
        "SELECT * FROM t WHERE lower(password) = 'hunter2' OR password::text = 'hunter2'",
        "SELECT \"host=h password=hunter2\"",
    ];
    for sql in texts {
        for kept in [TextKept::Full, TextKept::Redacted] {
            let shown = shown(sql, kept);
            assert!(!shown.contains(CANARY), "{kept:?}: {sql}\n-> {shown}");
        }
        let only = text(sql, Strings::Standard, Grammar::Took, TextKept::Fingerprint);
        assert_eq!(only.text, None);
    }
}

/// What people type: no grammar takes it, and the server has it in its log.
#[test]
fn secrets_never_come_through_where_nothing_can_be_parsed() {
    for sql in [
        "ALTER ROLE x PASSWORD hunter2",
        "ALTER ROLE x PASSWORD hunter2;",
        "ALTER ROLE x PASSWORD hunter2 VALID UNTIL '2030-01-01'",
        "CREATE USER x WITH PASSWORD \"hunter2\"",
        "CREATE USER x WITH ENCRYPTED PASSWORD hunter2 LOGIN",
        "CREATE USER x PASSWORD = hunter2",
        "CREATE USER x PASSWORD: \"hunter2\"",
        "CREATE USER x PASSWORD 2hunter2",
        "CREATE USER x PASSWORD p@ss;hunter2",
        "CREATE USER x PASSWORD $hunter2!",
        "CREATE USER x PASSWORD #hunter2",
        "CREATE USER x PASSWORD %hunter2",
        "CREATE USER x PASSWORD it'hunter2",
        "CREATE USER x PASSWORD 'it's_hunter2'",
        "CREATE USER x PASSWORD it--hunter2",
        "CREATE USER x PASSWORD it/*hunter2",
        "CREATE USER x PASSWORD it/*hunter2*/",
        "CREATE USER x PASSWORD $1hunter2",
        "CREATE USER x IDENTIFIED BY hunter2",
        "CREATE USER x IDENTIFIED BY \"hunter2\" DEFAULT TABLESPACE t",
        "CREATE USER x IDENTIFIED BY PASSWORD hunter2",
        "CREATE USER x IDENTIFIED WITH caching_sha2 BY hunter2",
        "CREATE USER x@'%' IDENTIFIED WITH caching_sha2 BY 'hunter2'",
        "CREATE LOGIN x WITH PASSWORD = N'hunter2', CHECK_POLICY = OFF",
        "CREATE LOGIN x WITH PASSWORD = hunter2",
        "SET PASSWORD FOR x = 'hunter2'",
        "SET PASSWORD FOR 'x'@'localhost' = hunter2",
        "SET PASSWORD = PASSWORD('hunter2')",
        "\\password x hunter2 'hunter2'; ALTER ROLE x PASSWORD hunter2",
        "SELECT * FROM users WHERE (password = hunter2",
        "SELECT * FORM users WHERE password = 'a' OR 'hunter2'",
        "SELECT * FORM users WHERE password IN ('a', 'hunter2')",
        "SELECT * FORM users WHERE 'hunter2' = password",
        "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a', password hunter2)",
        "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a' password 'hunter2')",
        "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a', password \"hunter2\")",
        "CREATE SERVER s OPTIONS (host 'h', sslkey 'hunter2'",
        // Keys.
        "SELECT pgp_sym_encrypt('x', 'hunter2'",
        "SELECT pgp_sym_encrypt('x'), 'hunter2')",
        "SELECT pgp_sym_encrypt 'x', 'hunter2'",
        "SELEC pgp_sym_decrypt(c, 'hunter2') FROM t",
        "SELEC pgp_sym_decrypt(c, hunter2) FROM t",
        "SELEC pgp_sym_decrypt(c, \"hunter2\") FROM t",
        "SELECT hmac(body, 'hunter2', 'sha256' FROM t",
        "SELECT encrypt(body, E'hunter2', 'aes')) FROM t",
        "SELECT crypt(hunter2, gen_salt('bf')",
        "SELECT crypt('hunter2, gen_salt(8)",
        "UPDATE t SET SET c = decrypt(c, $$hunter2$$, 'aes')",
        // Connection strings.
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATON p",
        "CREATE SUBSCRIPTION s CONNECTION \"host=h password=hunter2\" PUBLICATION p",
        "CREATE SUBSCRIPTION s CONNECTION host=h password=hunter2 PUBLICATION p",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h pass=hunter2",
        "CREATE SUBSCRIPTION s CONNECTION \"host=h pass=hunter2\" PUBLICATION p",
        "SELECT dblink_connect('c', 'host=h password=hunter2'",
        "SELECT dblink_connect(\"host=h pw=hunter2\"",
        "SELEC * FROM dblink('postgres://u:hunter2@h/db', 'select 1')",
        "\\c postgres://u:hunter2@h/db",
        "psql postgresql://u:a--hunter2@h/db",
        "CREATE SUBSCRIPTION s CONNECTION postgres://u:hunter2@h/db PUBLICATION p",
        "DO $$ BEGIN ALTER ROLE x PASSWORD hunter2; END $$",
    ] {
        for kept in [TextKept::Full, TextKept::Redacted] {
            let shown = shown(sql, kept);
            assert!(!shown.contains("hunter"), "{kept:?}: {sql}\n-> {shown}");
        }
    }
}

#[test]
fn a_setting_takes_a_word_for_a_value() {
    for sql in [
        "SET app.secret = hunter2",
        "SET LOCAL app.secret.key TO hunter2",
        "SET app.api_key = \"hunter2\"",
        "ALTER ROLE x SET app.api_key TO hunter2",
        "ALTER DATABASE d SET app.api_key = hunter2",
        "ALTER SYSTEM SET app.api_key = hunter2",
    ] {
        assert_eq!(grammar(sql), Grammar::Took, "{sql}");
        for kept in [TextKept::Full, TextKept::Redacted] {
            assert!(!shown(sql, kept).contains(CANARY), "{sql}\n-> {}", shown(sql, kept));
        }
    }
}

/// Any string can be written in dollars. It is kept as code where a server runs it as
/// code, and nowhere else.
#[test]
fn only_code_is_kept_in_dollars() {
    let code = "BEGIN DELETE FROM p WHERE note = 'Alice Smith'; END";
    let cleaned = "BEGIN DELETE FROM p WHERE note = ?; END";
    for around in [
        "DO $$|$$",
        "do $a$|$a$",
        "DO -- at once\n $$|$$",
        "DO /* $$x y$$ */ LANGUAGE /**/ plpgsql $$|$$",
        "DO LANGUAGE 'plpgsql' $$|$$",
        "DO $$|$$ LANGUAGE \"plpgsql\"",
        "SELECT a; DO $$|$$; SELECT b",
        "DO $$ BEGIN DO $b$|$b$; END $$",
        "CREATE FUNCTION f(a text) RETURNS int LANGUAGE plpgsql AS $f$|$f$",
        "CREATE OR REPLACE FUNCTION f() RETURNS void AS $f$|$f$ LANGUAGE SQL",
        "CREATE PROCEDURE p() LANGUAGE sql AS /* so */ $$|$$",
    ] {
        let shown = shown(&around.replace('|', code), TextKept::Redacted);
        let expected = around.replace('|', cleaned).replace("'plpgsql'", "?");
        let expected = expected.replace("/* $$x y$$ */", "/* ? */");
        assert_eq!(shown, expected);
    }
    let value = "Alice Smith, HIV positive";
    for around in [
        "UPDATE p SET note = $$|$$",
        "UPDATE p SET note = $n$|$n$ WHERE id = 1",
        "INSERT INTO p VALUES (1, $$|$$), (2, $a$|$a$)",
        "INSERT INTO p VALUES (1) ON CONFLICT DO UPDATE SET note = $$|$$",
        "SELECT $$|$$ AS x, 1 AS do",
        "SELECT CAST(x AS text), $$|$$",
        "CALL p($a$ $b$|$b$ $a$)",
        "COMMENT ON TABLE p IS $$|$$",
        "DO E'|'",
        "DO $$ BEGIN EXECUTE $q$UPDATE p SET note = $v$|$v$$q$; END $$",
        "DO $$ BEGIN UPDATE p SET note = $q$|$q$; END $$",
        "DO LANGUAGE plpython3u $$ note = \"|\" $$",
        "CREATE FUNCTION f(a text DEFAULT $$|$$) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plperl AS $$ $x = \"|\"; $$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS $$lib$$, $$|$$",
        "CREATE VIEW v AS SELECT $$|$$",
        "CREATE TABLE t AS SELECT $$|$$ AS note",
        "DO NOTHING; SELECT $$|$$",
        "SELEC do $$|$$",
        "UPDATE p SET note = $$|",
    ] {
        let sql = around.replace('|', value);
        let shown = shown(&sql, TextKept::Redacted);
        assert!(!shown.contains("Alice") && !shown.contains("HIV"), "{sql}\n-> {shown}");
    }
}

#[test]
fn what_an_applications_setting_is_set_to_is_no_word_of_the_text() {
    for (sql, expected) in [
        ("SET app.token TO alice", "SET app.token TO ?"),
        ("SET LOCAL app.token = \"Alice Smith\", bob", "SET LOCAL app.token = ?, ?"),
        ("set session application_name to alice", "set session application_name to ?"),
        ("ALTER ROLE x SET app.token TO alice", "ALTER ROLE x SET app.token TO ?"),
        (
            "ALTER ROLE x IN DATABASE d SET a.b.c = alice",
            "ALTER ROLE x IN DATABASE d SET a.b.c = ?",
        ),
        ("ALTER DATABASE d SET app.token = alice", "ALTER DATABASE d SET app.token = ?"),
        ("ALTER SYSTEM SET cluster_name = alice", "ALTER SYSTEM SET cluster_name = ?"),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET app.user TO alice AS $$SELECT 1 $$",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET app.user TO ? AS $$SELECT ? $$",
        ),
        ("DO $$ BEGIN SET app.user TO alice; END $$", "DO $$ BEGIN SET app.user TO ?; END $$"),
        ("SELECT 1; SET app.token TO alice; SELECT b", "SELECT ?; SET app.token TO ?; SELECT b"),
        // What the grammar doesn't take.
        ("SET app.token TO alice-17.smith", "SET app.token TO ?"),
        ("SET app.token := alice smith; SELECT b", "SET app.token := ? ?; SELECT b"),
    ] {
        assert_eq!(shown(sql, TextKept::Redacted), expected);
    }
    for sql in [
        "SET search_path TO shop, \"Other\", public",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET ROLE reporting",
        "SET SESSION AUTHORIZATION reporting",
        "SET TIME ZONE LOCAL",
        "SET TimeZone = utc",
        "SET app.debug TO on",
        "SET enable_seqscan = off",
        "RESET app.token",
        "ALTER ROLE x SET role TO reporting",
        "UPDATE t SET a = b, c = d",
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = s.b",
        "ALTER TABLE t ALTER COLUMN a SET DEFAULT now()",
        "ALTER TABLE t SET SCHEMA other",
    ] {
        assert_eq!(shown(sql, TextKept::Redacted), sql);
    }
    let of =
        |sql: &str| text(sql, Strings::Standard, grammar(sql), TextKept::Fingerprint).fingerprint;
    assert_eq!(of("SET app.token = alice"), of("SET app.token = 'bob'"));
    assert_eq!(shown("SET app.note TO alice", TextKept::Full), "SET app.note TO alice");
}

/// However it is made, its marks take time that grows with its length only.
#[test]
fn no_text_takes_long() {
    let started = std::time::Instant::now();
    for part in [
        "begin ",
        "else create ",
        "password(1,",
        "password=",
        "insert into t(a ",
        "://a:",
        "x ",
        "insert password ",
        "IN(",
        "pgp_(",
        "identified ",
        "password for ",
        "' ",
        "\"password=\" ",
        "/*",
        "*/",
        "/*/**/ 'a' */",
        "--'",
        "/*a='b',",
        "/*a='1'*/",
        "begin do $$ $$ ",
        "create function as $$ $$ ",
        "alter role set a.b = c ",
        "begin set a.a.a = b ",
    ] {
        let sql = part.repeat(LOOKED_AT / part.len());
        for grammar in [Grammar::Took, Grammar::Refused] {
            let _ = text(&sql, Strings::Standard, grammar, TextKept::Full);
        }
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// A hash of it in sixteen digits could be tried out.
#[test]
fn no_secret_goes_into_a_fingerprint() {
    let of =
        |sql: &str| text(sql, Strings::Standard, grammar(sql), TextKept::Fingerprint).fingerprint;
    assert_eq!(of("ALTER ROLE x PASSWORD hunter2"), of("ALTER ROLE x PASSWORD other"));
    assert_eq!(of("SET app.secret = hunter2"), of("SET app.secret = other"));
    assert_ne!(of("SELECT password FROM t"), of("SELECT password AS p FROM t"));
}

#[test]
fn names_stay_where_the_grammar_tells_them_from_values() {
    for sql in [
        "SELECT password FROM t WHERE password = other_col",
        "SELECT t.password pw, u.password AS \"pw 2\", name FROM t, u",
        "SELECT password, email FROM t WHERE password IS NULL ORDER BY password DESC",
        "UPDATE t SET password = upper(new_one) FROM n WHERE n.id = t.id",
        "SELECT pgp_sym_decrypt(body, key) FROM t JOIN keys USING (id)",
        "ALTER TABLE t RENAME password TO pw",
        "ALTER TABLE t ALTER COLUMN password SET DEFAULT now()",
        "CREATE TABLE t (password text NOT NULL, pwd varchar(3) UNIQUE)",
        "ALTER ROLE x PASSWORD NULL LOGIN",
        "SET password_encryption TO DEFAULT",
        "ALTER ROLE x CONNECTION LIMIT 5",
    ] {
        assert_eq!(grammar(sql), Grammar::Took, "{sql}");
        assert_eq!(shown(sql, TextKept::Full), sql);
    }
    // And nearly all of what it doesn't take.
    for sql in [
        "SELEC password FROM t WHERE password IS NULL AND a = b",
        "SELECT id, password, email FORM t",
        "SELECT count(password) n, max(id) FORM t",
        "CREATE TABEL t (password text NOT NULL, email text)",
        "CREATE ROLE x PASSWORD NULL LOGN",
        "CREATE ROLE x PASSWORD LOGIN",
        "SELEC a FROM t WHERE url = http AND n = 'x'",
    ] {
        assert_eq!(grammar(sql), Grammar::Refused, "{sql}");
        assert_eq!(shown(sql, TextKept::Full), sql);
    }
}

#[test]
fn a_backslash_of_unknown_meaning_ends_the_text() {
    let sql = r"SELECT 'a\', password 'b', 'hunter2'";
    assert_eq!(
        text(sql, Strings::Uncertain, Grammar::Took, TextKept::Full).text.unwrap(),
        "SELECT ?"
    );
}

/// As bound values are told: by the name of the column.
#[test]
fn full_texts_tell_the_class_of_what_is_sensitive() {
    for (sql, expected) in [
        (
            "SELECT id FROM c WHERE email = 'ann@example.org' AND n = 'x' LIMIT 5",
            "SELECT id FROM c WHERE email = [email] AND n = 'x' LIMIT 5",
        ),
        (
            "SELECT 1 FROM c WHERE lower(email) IN ('a@b.c', $1, $$d@e.f$$) OR 'g@h.i' = email \
             OR email IN (lower('j@k.l'), 'm@n.o')",
            "SELECT 1 FROM c WHERE lower(email) IN ([email], $1, [email]) OR [email] = email \
             OR email IN (lower([email]), [email])",
        ),
        (
            "INSERT INTO c (id, email, n) VALUES (1, 'a@b.c', 2), (3, 'd@e.f', 4)",
            "INSERT INTO c (id, email, n) VALUES (1, [email], 2), (3, [email], 4)",
        ),
        (
            "UPDATE c SET n = 1.5, phone = 4930.5 WHERE id = 3",
            "UPDATE c SET n = 1.5, phone = [phone] WHERE id = 3",
        ),
        (
            "UPDATE c SET email = 'a' || '@b.c', n = 'y'",
            "UPDATE c SET email = [email] || [email], n = 'y'",
        ),
        (
            "DO $x$ BEGIN DELETE FROM c WHERE email = 'a@b.c'; END $x$",
            "DO $x$ BEGIN DELETE FROM c WHERE email = [email]; END $x$",
        ),
    ] {
        assert_eq!(shown(sql, TextKept::Full), expected);
    }
    for sql in [
        "SELECT email, 'shown', 5 FROM c WHERE n = 'x' AND lower(email) IS NOT NULL LIMIT 3",
        "SELECT id, lower(email), 'shown' FROM c ORDER BY 2",
    ] {
        assert_eq!(shown(sql, TextKept::Full), sql);
    }
}

#[test]
fn what_is_no_secret_stays() {
    let sql = "SELECT id, 'x' AS y FROM t WHERE n = 1.5e3 AND d > $1 /* trace 1 */ LIMIT 10";
    assert_eq!(shown(sql, TextKept::Full), sql);
    assert_eq!(
        shown(sql, TextKept::Redacted),
        "SELECT id, ? AS y FROM t WHERE n = ? AND d > $1 /* trace ? */ LIMIT ?"
    );
    let body = "DO $x$ BEGIN PERFORM f(1, 'a'); END $x$";
    assert_eq!(shown(body, TextKept::Full), body);
    assert_eq!(shown(body, TextKept::Redacted), "DO $x$ BEGIN PERFORM f(?, ?); END $x$");
}

/// SQL that somebody took out, tags, hints, prose: whatever form a comment has.
#[test]
fn what_stands_in_a_comment_is_cleaned_as_the_text_is() {
    for (sql, redacted, full) in [
        (
            "SELECT 1 -- AND email = 'ann@shop.example'\n, 2",
            "SELECT ? -- AND email = ?\n, ?",
            "SELECT 1 -- AND email = [email]\n, 2",
        ),
        (
            "SELECT a /* AND plan = 'gold' AND phone = '555 0100' LIMIT 5 */ FROM t",
            "SELECT a /* AND plan = ? AND phone = ? LIMIT ? */ FROM t",
            "SELECT a /* AND plan = 'gold' AND phone = [phone] LIMIT 5 */ FROM t",
        ),
        (
            "SELECT a /* x /* plan = 'gold' -- */ y = 'z' */ FROM t",
            "SELECT a /* x /* plan = ? -- */ y = ? */ FROM t",
            "SELECT a /* x /* plan = 'gold' -- */ y = 'z' */ FROM t",
        ),
        (
            "SELECT a -- asked by ann@shop.example\nFROM t",
            "SELECT a -- asked by [email]\nFROM t",
            "SELECT a -- asked by [email]\nFROM t",
        ),
        (
            "/*+ IndexScan(t t_pkey) Rows(a b #10) Set(work_mem '64MB') */ SELECT a FROM t",
            "/*+ IndexScan(t t_pkey) Rows(a b #?) Set(work_mem ?) */ SELECT a FROM t",
            "/*+ IndexScan(t t_pkey) Rows(a b #10) Set(work_mem '64MB') */ SELECT a FROM t",
        ),
        // What isn't SQL: no quote is sure to open anything.
        (
            "SELECT a -- don't take name = 'Ann Miller' here\nFROM t",
            "SELECT a -- don?\nFROM t",
            "SELECT a -- don?\nFROM t",
        ),
        (
            "SELECT a /* 5\" and \"Ann Miller\" */ FROM t",
            "SELECT a /* ??*/ FROM t",
            "SELECT a /* 5?*/ FROM t",
        ),
        (
            "SELECT a /* it\\'s 'Ann' */ FROM t",
            "SELECT a /* it\\?*/ FROM t",
            "SELECT a /* it\\?*/ FROM t",
        ),
        // No end.
        ("SELECT a /* plan = 'gold'", "SELECT a ?", "SELECT a ?"),
        ("SELECT a /* plan /* 'gold' */", "SELECT a ?", "SELECT a ?"),
        // Keys stay out of it.
        (
            "SELECT a -- pgp_sym_encrypt(a, 'hunter2')\nFROM t",
            "SELECT a -- pgp_sym_encrypt('***', '***')\nFROM t",
            "SELECT a -- pgp_sym_encrypt('***', '***')\nFROM t",
        ),
        // No grammar takes it.
        (
            "SELEC a FORM t -- WHERE plan = 'gold' AND email = 'x'\n",
            "SELEC a FORM t -- WHERE plan = ? AND email = ?\n",
            "SELEC a FORM t -- WHERE plan = 'gold' AND email = [email]\n",
        ),
    ] {
        assert_eq!(shown(sql, TextKept::Redacted), redacted, "{sql}");
        assert_eq!(shown(sql, TextKept::Full), full, "{sql}");
    }
}

#[test]
fn tags_stay_as_far_as_they_tell_nothing_of_a_person() {
    let traced = "SELECT 1 /*action='show',route='%2Forders%2F42',service='shop',\
        traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/";
    assert_eq!(shown(traced, TextKept::Redacted), traced.replacen('1', "?", 1));
    assert_eq!(shown(traced, TextKept::Full), traced);
    let plain = "/*application:Shop,line:app/a.rb:12*/ SELECT a FROM t";
    assert_eq!(shown(plain, TextKept::Redacted), plain);
    for kept in [TextKept::Redacted, TextKept::Full] {
        assert_eq!(
            shown("SELECT a /*route='/x',job='to%3Aann%40shop.example',email='ann'*/ FROM t", kept),
            "SELECT a /*route='/x',job='[email]',email='[email]'*/ FROM t"
        );
    }
    // A piece of SQL is none.
    assert_eq!(
        shown("SELECT a /* plan = 'gold' */ FROM t -- id=5", TextKept::Redacted),
        "SELECT a /* plan = ? */ FROM t -- id=?"
    );
}

/// However it is made, a comment stays one, and its strings go.
#[test]
fn no_comment_becomes_anything_else() {
    let pieces = [
        "/*",
        "*/",
        "--",
        "'",
        "\"",
        "$a$",
        "$",
        "\n",
        "Zorro",
        " Zorro ",
        "5",
        "\\",
        "=",
        ":",
        ",",
        "E",
        "é",
        "@",
        "x.example",
        "*",
        "/",
        " ",
    ];
    let mut state = 7_u64;
    for _ in 0..30_000 {
        let mut inner = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            inner.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        for sql in [format!("SELECT a /*{inner}*/ FROM t"), format!("SELECT a --{inner}\nFROM t")] {
            let before = tokens(&sql, Strings::Standard);
            let words =
                |all: &[Token<'_>]| all.iter().map(|it| it.text.to_owned()).collect::<Vec<_>>();
            // Only where all of it was a comment.
            if words(&before) != ["SELECT", "a", "FROM", "t"] {
                continue;
            }
            for kept in [TextKept::Redacted, TextKept::Full] {
                let shown = text(&sql, Strings::Standard, Grammar::Took, kept).text.unwrap();
                assert_eq!(
                    words(&tokens(&shown, Strings::Standard)),
                    words(&before),
                    "{sql}\n-> {shown}"
                );
            }
            let quoted = format!("SELECT a /* '{inner}' */ FROM t");
            if !inner.contains(['\'', '/', '"']) && inner.contains("Zorro") {
                let shown = text(&quoted, Strings::Standard, Grammar::Took, TextKept::Redacted);
                assert!(!shown.text.unwrap().contains("Zorro"), "{quoted}");
            }
        }
    }
}

#[test]
fn long_texts_are_cut_with_a_mark_and_no_secret_at_the_cut() {
    for filler in ["x", "ä", "€"] {
        for offset in 0..8 {
            let padding = filler.repeat((LOOKED_AT - 24) / filler.len() - offset);
            let sql = format!("SELECT \"{padding}\", password = '{}'", CANARY.repeat(99));
            let found = text(&sql, Strings::Standard, Grammar::Took, TextKept::Full);
            assert!(found.cut);
            let shown = found.text.unwrap();
            assert!(shown.ends_with('…') && shown.len() <= LONGEST + 3);
            assert!(!shown.contains(CANARY));
        }
    }
}

#[test]
fn a_fingerprint_is_of_the_form() {
    let of =
        |sql: &str| text(sql, Strings::Standard, Grammar::Took, TextKept::Fingerprint).fingerprint;
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
