use super::*;
use crate::config;
use crate::keeper::ca::tests::{Folder, authority};
use crate::model::PolicyMode;

fn settings(folder: &Folder, text: &str) -> Settings {
    let text = text.replace("DIR", &folder.0.display().to_string());
    let settings = config::parse(&text, "tidegate.toml").unwrap();
    Settings { ca: folder.ca(), logins: folder.0.join("logins"), ..settings }
}

fn root(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn every_file_that_is_named_is_read() {
    let folder = Folder::new("terms-all");
    let own = authority(&folder, &["db.example"]);
    let (pem, key) = root("client");
    folder.file("roots.pem", format!("{pem}{}", root("other").0), 0o644);
    folder.file("client.crt", &pem, 0o644);
    folder.file("client.key", key, 0o640);
    folder.file("password", "hunter2\nnot this\n", 0o600);
    folder.file(
        "roles",
        "# ours\n\"app\" \"SCRAM-SHA-256$4096:c2FsdA==$x:y\"\n\n\"a\"\"b\" \"SCRAM-SHA-256$1\"\n",
        0o600,
    );
    let settings = settings(
        &folder,
        r#"
[[protect]]
to = "db.example:5432"
verify = "ca"
roots = "DIR/roots.pem"
server_name = "DB.internal."
client_cert = "DIR/client.crt"
client_key = "DIR/client.key"
upstream_tls = "always"
cleartext = "forbid"
verifiers = "DIR/roles"
auth_query = { role = "tidegate", password_file = "DIR/password" }
[[protect.login]]
role = "app"
from = "file:DIR/password"
user = "root"
unit = "app.service"
[[protect.login]]
role = "rest"
from = "file:DIR/password"
[[protect]]
to = 3306
[[passthrough]]
exe = "/usr/bin/pg_dump"
to = "db.example:5432"
[[passthrough]]
user = 4711
"#,
    );
    let Prepared { terms, grounds, notes } = prepare(&settings).unwrap();
    let destination = &terms.destinations[0];
    assert_eq!(
        (destination.name.as_str(), destination.protocol),
        ("db.example:5432", Protocol::Postgres)
    );
    let tls = &destination.tls;
    assert_eq!((tls.verify, tls.upstream_always), (Verify::Ca, true));
    assert_eq!(tls.server_name.as_deref(), Some("db.internal"));
    assert_eq!(tls.roots.as_ref().unwrap().len(), 2);
    assert_eq!(tls.client.as_ref().unwrap().chain.len(), 1);
    let auth = &destination.auth;
    assert!(auth.forbid_cleartext);
    let query = auth.query.as_ref().unwrap();
    assert_eq!(
        (query.database.as_str(), query.password.0.as_slice()),
        ("postgres", &b"hunter2"[..])
    );
    assert!(query.query.contains("$1") && query.query.contains("rolpassword"));
    let roles: Vec<&str> = auth.verifiers.iter().map(|one| one.role.as_str()).collect();
    assert_eq!(roles, ["app", "a\"b"]);
    assert_eq!(
        auth.logins[0].who,
        Who { user: Some(0), unit: Some("app.service".into()), ..Who::default() }
    );
    assert_eq!(auth.logins[1].who, Who::default());
    assert_eq!(terms.destinations[1].protocol, Protocol::Unread);
    assert_eq!(terms.passthrough[0].destination.as_deref(), Some("db.example:5432"));
    assert_eq!(terms.passthrough[1].who.user, Some(4711));
    assert_eq!(terms.issuer, own.chain);
    assert!(!terms.system_roots.contains(&own.chain[0]));
    let ground = &grounds.destinations["db.example:5432"];
    assert_eq!(ground.server_name, Name::parse("db.internal"));
    assert_eq!(
        ground.configured,
        [Name::parse("db.internal").unwrap(), Name::parse("db.example").unwrap()]
    );
    assert_eq!(ground.roots.len(), 2);
    assert!(notes.iter().any(|note| note.contains("the CA is not for `db.internal`")), "{notes:?}");
    assert!(!format!("{terms:?}").contains("hunter2"));
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_no_secret_with_it() {
    let folder = Folder::new("terms-faults");
    let (pem, _) = root("client");
    folder.file("empty.pem", "", 0o600);
    folder.file("client.crt", &pem, 0o644);
    folder.file("other.key", root("other").1, 0o600);
    folder.file("open", "hunter2\n", 0o644);
    folder.file("blank", "\nhunter2\n", 0o600);
    folder.file("roles", "\"app\" \"hunter2\"\napp hunter2\n", 0o600);
    let settings = settings(
        &folder,
        r#"
[[protect]]
to = "a:5432"
roots = "DIR/none.pem"
client_cert = "DIR/client.crt"
client_key = "DIR/other.key"
verifiers = "DIR/roles"
auth_query = { role = "t", password_file = "DIR/open" }
login = [{ role = "x", from = "file:DIR/blank", user = "nobody-of-this-name" }]
[[protect]]
to = "b:5432"
roots = "DIR/empty.pem"
[[protect]]
to = "c:5432"
roots = "DIR"
"#,
    );
    let told = prepare(&settings).err().unwrap();
    let dir = folder.0.display().to_string();
    let expected = "\
`a:5432`: `roots`: cannot read `DIR/none.pem`: No such file or directory (os error 2)
`a:5432`: `client_key`: `DIR/other.key` is not the key of `DIR/client.crt`, or of a kind that TLS doesn't know
`a:5432`: `verifiers`: `DIR/roles`, line 1: this is no SCRAM verifier: passwords and md5 hashes are not taken
`a:5432`: `verifiers`: `DIR/roles`, line 2: write it as `\"role\" \"SCRAM-SHA-256$…\"`
`a:5432`: `auth_query.password_file`: `DIR/open` can be read by everybody (mode 0644): `chmod 600 DIR/open`
`a:5432`: `user`: there is no user `nobody-of-this-name` in /etc/passwd
`a:5432`: `login.from`: `DIR/blank` has an empty first line: the password goes there
`b:5432`: `roots`: `DIR/empty.pem` holds no certificate in PEM form
`c:5432`: `roots`: cannot read `DIR`: it is no regular file";
    assert_eq!(told.replace(&dir, "DIR"), expected);
    assert!(!told.contains("hunter2"));
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    let folder = Folder::new("terms-pipe");
    let path = folder.0.join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(read_file(&path).unwrap_err().to_string(), "it is no regular file");
}

#[test]
fn kept_logins_go_to_the_destinations_they_are_for() {
    let folder = Folder::new("terms-kept");
    let kept = |server: &str, role: &str| {
        let verifier = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy";
        format!("[[login]]\nserver = \"{server}\"\nrole = \"{role}\"\nverifier = \"{verifier}\"\n")
    };
    let text = [
        kept("10.0.0.7:5432", "within"),
        kept("db.example:5433", "host"),
        kept("5432", "named"),
        kept("other:5434", "nowhere"),
    ];
    folder.file("logins", text.concat(), 0o600);
    let text = "protect = [5432, \"DB.example:5433\", \"10.1.0.0/16:5432\"]";
    let terms = prepare(&settings(&folder, text)).unwrap().terms;
    let roles: Vec<Vec<&str>> = terms
        .destinations
        .iter()
        .map(|to| to.auth.verifiers.iter().map(|one| one.role.as_str()).collect())
        .collect();
    assert_eq!(roles, [vec!["named", "within"], vec!["host"], vec![]]);
    folder.file("logins", "hunter2", 0o600);
    let told = prepare(&settings(&folder, text)).err().unwrap();
    assert!(told.contains("/logins:1:") && !told.contains("hunter2"), "{told}");
}

#[test]
fn what_policies_hold_and_what_they_know_of_a_destination_goes_along() {
    let text = "protect = [\"5432,environment=staging\", \"5433\"]\npolicy.mode = \"shadow\"\n\
                policy.packs = [\"read-only\"]\npolicy.bare = true\n\
                policy.enforce = [\"shop.service\"]";
    let folder = Folder::new("terms-policy");
    let mut settings = settings(&folder, text);
    settings.policy.sources = vec![("own.cedar".into(), "// mine".into())];
    let terms = prepare(&settings).unwrap().terms;
    let environments: Vec<_> =
        terms.destinations.iter().map(|one| one.environment.as_deref()).collect();
    assert_eq!(environments, [Some("staging"), None]);
    assert_eq!(
        terms.policy,
        PolicyTerms {
            mode: PolicyMode::Shadow,
            bare: true,
            packs: vec!["read-only".into()],
            own: vec![("own.cedar".into(), "// mine".into())],
            enforced: vec!["shop.service".into()],
        }
    );
}
