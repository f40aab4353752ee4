use super::*;
use crate::config;

const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

#[test]
fn a_server_is_what_the_settings_call_it_or_an_address() {
    let text = "protect = [\"5432\", \"db.example.com:5433\", \"10.0.0.7:5432\", \"10.0.0.0/8:5\"]";
    let settings = config::parse(text, "tidegate.toml").unwrap();
    let server = |word: &str| {
        let (name, at) = server(&settings, word);
        format!("{name} at {}", at.as_deref().unwrap_or("?"))
    };
    assert_eq!(server("5432"), "5432 at ?");
    assert_eq!(server("db.example.com:5433"), "db.example.com:5433 at db.example.com:5433");
    assert_eq!(server("10.0.0.7:5432"), "10.0.0.7:5432 at 10.0.0.7:5432");
    assert_eq!(server("10.0.0.0/8:5"), "10.0.0.0/8:5 at ?");
    assert_eq!(server("other"), "other:5432 at other:5432");
    assert_eq!(server("other:6000"), "other:6000 at other:6000");
    assert_eq!(server("::1"), "[::1]:5432 at [::1]:5432");
    assert_eq!(server("[::1]:6000"), "[::1]:6000 at [::1]:6000");
}

#[test]
fn dumps_are_read_as_copy_writes_them() {
    let role = |line: &str| dump_line(line).map(|(role, _)| role);
    assert_eq!(role(&format!("app,{VERIFIER}")), Ok("app".into()));
    assert_eq!(role(&format!("\"a,\"\"b\"\"\",{VERIFIER}\r")), Ok("a,\"b\"".into()));
    assert_eq!(role(VERIFIER).unwrap_err(), "it isn't of the form `role,verifier`");
    assert_eq!(
        role("app,md5d41d8cd98f00b204e9800998ecf8427e").unwrap_err(),
        "the verifier of `app`: it is an MD5 hash: set the role's password again under \
         scram-sha-256"
    );
    let secret = role("app,SCRAM-SHA-256$geheim").unwrap_err();
    assert!(!secret.contains("geheim"));
}
