use super::*;

fn wanted(text: &str) -> Wanted {
    Words::parse(text).unwrap().complete(|_| None).unwrap()
}

fn wrong(text: &str) -> String {
    match Words::parse(text).and_then(|words| words.complete(|_| None)) {
        Ok(wanted) => panic!("{wanted:?}"),
        Err(why) => why,
    }
}

#[test]
fn keywords_and_uris_say_the_same() {
    let keywords = wanted(
        "host=db.example port = 6432 dbname='my db' user=a\\ b password='it\\'s\\\\' \
         sslmode=verify-ca sslrootcert=/r.pem connect_timeout=7",
    );
    let uri = wanted(
        "postgresql://a%20b:it%27s%5C@db.example:6432/my%20db?sslmode=verify-ca&\
         sslrootcert=/r.pem&connect_timeout=7&application_name=x",
    );
    assert!(keywords == uri);
    assert_eq!(keywords.at(), "db.example:6432");
    assert_eq!((&*keywords.user, &*keywords.database), ("a b", "my db"));
    assert_eq!(keywords.password.as_deref(), Some("it's\\"));
    assert_eq!(keywords.tls, Some(Tls::Always(Verify::Ca)));
    assert_eq!(keywords.timeout, Some(7));
}

#[test]
fn what_isnt_said_is_in_variables_or_as_everywhere() {
    let plain = wanted("user=app");
    assert_eq!((plain.at().as_str(), &*plain.database), ("localhost:5432", "app"));
    assert_eq!(plain.tls, None);
    assert_eq!(wanted("postgres://app@[::1]:6000/x").at(), "[::1]:6000");
    assert_eq!(wanted("host=::1 user=a").at(), "[::1]:5432");
    assert_eq!(wanted("host=db hostaddr=10.0.0.7 user=a").at(), "10.0.0.7:5432");
    assert_eq!(wanted("host=/run/pg user=a port=1").at(), "/run/pg/.s.PGSQL.1");
    let variable = |name: &str| {
        let value = match name {
            "PGHOST" => "db",
            "PGUSER" => "ann",
            "PGPASSWORD" => "secret",
            "PGSSLMODE" => "prefer",
            "PGPORT" => "",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let made = Words::parse("app").unwrap().complete(variable).unwrap();
    assert_eq!((made.at().as_str(), &*made.database, &*made.user), ("db:5432", "app", "ann"));
    assert_eq!((made.password.as_deref(), made.tls), (Some("secret"), Some(Tls::IfThere)));
    assert_eq!(format!("{made:?}"), "Wanted(db:5432)");
}

#[test]
fn what_is_wrong_is_told_without_the_password() {
    for (text, told) in [
        ("", "it is empty"),
        ("host", "as whom"),
        ("user=a host=a,b", "several servers"),
        ("user=a port=65536", "`65536` is no port"),
        ("user=a port=0", "`0` is no port"),
        ("user=a sslmode=full", "`full` is none"),
        ("user=a sslcert=/x", "`sslcert` is not taken here"),
        ("user=a password='geheim", "the quote of `password` isn't closed"),
        ("user=a  host", "behind `host` an `=` is missing"),
        ("postgres://a:geh%zz@h/x", "`password`: a `%`"),
        ("postgres://a@[::1/x", "isn't closed"),
        ("postgres://a@h/x?y", "has no `=`"),
        ("user=a connect_timeout=x", "no whole number"),
    ] {
        let said = wrong(text);
        assert!(said.contains(told) && !said.contains("geh"), "{text}: {said}");
    }
}

#[test]
fn passwords_are_found_as_libpq_finds_them() {
    let of = |text: &str, at: &str| wanted(at).password_in(text);
    let file = "# ours\ndb:5432:app:ann:one\n*:*:app:*:two:and\\:more\\\\\n\
                localhost:5432:*:bob:three\n\\*:*:*:*:no\n";
    assert_eq!(of(file, "host=db dbname=app user=ann").as_deref(), Some("one"));
    assert_eq!(of(file, "host=db port=1 dbname=app user=x").as_deref(), Some("two:and:more\\"));
    assert_eq!(of(file, "host=/run dbname=x user=bob").as_deref(), Some("three"));
    assert_eq!(of(file, "host=db dbname=x user=bob"), None);
}
