use super::*;

fn places(sql: &str, count: usize) -> Vec<String> {
    let places = Places::read(sql, Strings::Standard);
    (0..count)
        .map(|index| match places.of(index) {
            Place::Secret => "secret".to_owned(),
            Place::Plain => "plain".to_owned(),
            Place::Class(class) => class.as_str().to_owned(),
        })
        .collect()
}

#[test]
fn parameters_stand_where_their_names_say() {
    for (sql, expected) in [
        ("SELECT abalance FROM pgbench_accounts WHERE aid = $1", &["plain"][..]),
        ("SELECT 1 FROM c WHERE email = $1 AND id = $2", &["email", "plain"]),
        ("SELECT 1 FROM c WHERE id = $2 AND c.email = $1", &["email", "plain"]),
        ("SELECT 1 FROM c WHERE lower(\"email\") IN ($1, $2, $3)", &["email"; 3]),
        ("SELECT 1 FROM c WHERE $1 = email", &["email"]),
        ("SELECT 1 FROM c WHERE email LIKE $1 || '%' LIMIT $2", &["email", "plain"]),
        ("UPDATE c SET n = $1, email = $2 WHERE id = $3", &["plain", "email", "plain"]),
        (
            "INSERT INTO c (id, email, n) VALUES ($1, $2, $3), ($4, lower($5), $6)",
            &["plain", "email", "plain", "plain", "email", "plain"],
        ),
        (
            "INSERT INTO c (email) VALUES ($1) ON CONFLICT (email) DO UPDATE SET n = $2",
            &["email", "plain"],
        ),
        ("INSERT INTO c VALUES ($1)", &["plain"]),
        ("UPDATE users SET password = $1 WHERE id = $2", &["secret", "plain"]),
        (
            "SELECT crypt($1, gen_salt($2)) = h FROM users WHERE id = $3",
            &["secret", "secret", "plain"],
        ),
        ("INSERT INTO users (name, password) VALUES ($1, $2)", &["secret", "secret"]),
        ("SELECT dblink_connect('c', $1)", &["plain"]),
        ("SELECT * FROM dblink($1, $2) AS t(a int)", &["secret", "plain"]),
        ("SELECT set_config('app.secret_key', $1, false)", &["secret"]),
        ("SELECT pgp_sym_decrypt(c, $1) FROM t", &["secret"]),
        // Once a secret, always one.
        ("SELECT * FROM t WHERE n = $1 OR api_key = $1", &["secret"]),
    ] {
        assert_eq!(places(sql, expected.len()), expected, "{sql}");
    }
}

#[test]
fn what_was_not_seen_is_a_secret() {
    assert_eq!(places("SELECT 1", 1), ["secret"]);
    assert_eq!(places("SELECT 'x WHERE a = $1", 1), ["secret"]);
    assert_eq!(places("this ) is no $1 SQL ((", 2), ["plain", "secret"]);
    let long = format!("SELECT \"{}\", $1", "x".repeat(redact::LOOKED_AT));
    assert_eq!(places(&long, 1), ["secret"]);
}

#[test]
fn no_text_breaks_it() {
    for sql in ["$", "$0", "$1", "$99999999999", "INSERT INTO", "INSERT INTO t (", "VALUES ($1"] {
        let _ = places(sql, 3);
    }
}
