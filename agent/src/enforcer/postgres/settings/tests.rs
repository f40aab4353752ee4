use super::*;
use crate::policy::testing::facts;
use crate::wire::limits::Limits;
use crate::wire::postgres::{Opening, Startup, Version};

/// A session of `app`'s that is played through, request by request.
struct Played {
    settings: Settings,
    serial: u64,
}

impl Played {
    fn new() -> Self {
        Self::with(&Given::default())
    }

    fn with(given: &Given) -> Self {
        Self { settings: Settings::new("app", given), serial: 0 }
    }

    /// Let through, answered with these tags (`!`: it failed), without what comes after.
    fn sends(&mut self, text: &str, tags: &[&str]) -> &mut Self {
        self.serial += 1;
        let facts = facts(text);
        self.settings.follow(&facts, self.serial);
        self.settings.ran(&facts);
        for (tag, index) in tags.iter().zip(0..) {
            match *tag {
                "!" => self.settings.ended(self.serial, true),
                tag => self.settings.completed(self.serial, index, tag.as_bytes()),
            }
        }
        self.settings.ended(self.serial, false);
        self
    }

    fn rests(&mut self, rest: Rest) -> &mut Self {
        self.settings.rests(rest);
        self
    }

    /// By itself, outside any transaction.
    fn alone(&mut self, text: &str) -> &mut Self {
        self.sends(text, &["SET"]).rests(Rest::Idle)
    }

    fn within(&mut self, text: &str) -> &mut Self {
        self.sends(text, &["SET"]).rests(Rest::Open)
    }

    fn role(&self) -> String {
        self.settings.role().known().unwrap_or("?").to_owned()
    }
}

#[test]
fn a_role_counts_once_it_is_taken() {
    let mut played = Played::new();
    assert_eq!(played.role(), "app");
    assert_eq!(played.alone("SET ROLE boss").role(), "boss");
    assert_eq!(played.alone("SET SESSION AUTHORIZATION other").role(), "other");
    assert_eq!(played.alone("SET ROLE 'Mixed'").role(), "Mixed");
    assert_eq!(played.alone("SET ROLE NONE").role(), "other");
    assert_eq!(played.alone("RESET SESSION AUTHORIZATION").role(), "app");
    assert_eq!(played.alone("SELECT set_config('role', 'boss', false)").role(), "boss");
    // It is none of those that this sets back.
    assert_eq!(played.alone("RESET ALL").role(), "boss");
    assert_eq!(played.alone("DISCARD ALL").role(), "app");
    assert_eq!(played.alone("ALTER ROLE app SET work_mem = '1MB'").role(), "app");
    // Not answered yet.
    let facts = facts("SET ROLE boss");
    played.settings.follow(&facts, 99);
    assert_eq!(played.role(), "?");
    let Role::MayBe(names) = played.settings.role() else { panic!() };
    assert!(["app", "boss"].iter().all(|name| names.contains(&(*name).into())), "{names:?}");
}

#[test]
fn what_is_taken_back_is_as_it_was() {
    let mut played = Played::new();
    // It failed.
    played.sends("SET ROLE nobody", &["!"]).rests(Rest::Idle);
    assert_eq!(played.role(), "app");
    // Something behind it failed, which was sent with it.
    played.sends("SET ROLE boss", &["SET"]).sends("SELECT 1 / 0", &["!"]).rests(Rest::Idle);
    assert_eq!(played.role(), "app");
    // All of a text, with its end.
    played.sends("SET ROLE boss; SELECT 1 / 0", &["SET", "!"]).rests(Rest::Idle);
    assert_eq!(played.role(), "app");
    let both = "SET ROLE other; SELECT 1; SET ROLE boss";
    assert_eq!(played.sends(both, &["SET", "SELECT 1", "!"]).role(), "?");
    assert_eq!(played.rests(Rest::Idle).role(), "app");
    played.sends(both, &["SET", "SELECT 1", "SET"]).rests(Rest::Idle);
    assert_eq!(played.role(), "boss");
    // As pools tidy up.
    let tidy = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL";
    played.sends(tidy, &["SELECT 1", "CLOSE CURSOR ALL", "UNLISTEN", "RESET"]).rests(Rest::Idle);
    assert_eq!((played.role().as_str(), played.settings.path()), ("boss", Some(None)));
    for (end, tag, then) in [("ROLLBACK", "ROLLBACK", "app"), ("COMMIT", "COMMIT", "boss")] {
        let mut played = Played::new();
        played.sends("BEGIN", &["BEGIN"]).rests(Rest::Open).within("SET ROLE boss");
        assert_eq!(played.role(), "boss");
        assert_eq!(played.sends(end, &[tag]).rests(Rest::Idle).role(), then, "{end}");
        // For the transaction alone, however it ends.
        played.alone("RESET ROLE").sends("BEGIN", &["BEGIN"]).rests(Rest::Open);
        assert_eq!(played.within("SET LOCAL ROLE boss").role(), "boss");
        assert_eq!(played.sends(end, &[tag]).rests(Rest::Idle).role(), "app", "{end}");
    }
    // Outside a transaction it does nothing.
    assert_eq!(Played::new().alone("SET LOCAL ROLE boss").role(), "app");
    // Back to before a savepoint: nobody knows, until the transaction has ended.
    let mut played = Played::new();
    played.sends("BEGIN", &["BEGIN"]).rests(Rest::Open).within("SAVEPOINT s");
    played.within("SET ROLE boss").sends("ROLLBACK TO s", &["ROLLBACK"]).rests(Rest::Open);
    assert_eq!(played.role(), "?");
    assert_eq!(played.sends("ROLLBACK", &["ROLLBACK"]).rests(Rest::Idle).role(), "app");
}

#[test]
fn what_cannot_be_told_is_not_known_until_it_is_set_anew() {
    for text in [
        "SET ROLE boss; COMMIT",
        "SET ROLE boss; SELECT my_function()",
        "SET ROLE boss; SET LOCAL ROLE other",
        "SELECT set_config('role', name, false) FROM names",
        "SELECT set_config(setting, name, false) FROM names",
        "SELECT my_function()",
        "DO $$BEGIN END$$",
        "CALL mine()",
        "not a statement",
    ] {
        let mut played = Played::new();
        assert_eq!(played.alone(text).role(), "?", "{text}");
        assert_eq!(played.sends("SELECT 1", &["SELECT 1"]).rests(Rest::Idle).role(), "?");
        assert_eq!(played.alone("SET ROLE boss").role(), "boss", "{text}");
    }
    // Two transactions' ends in one go.
    let mut played = Played::new();
    played.sends("BEGIN", &["BEGIN"]).sends("SET ROLE boss", &["SET"]);
    played.sends("ROLLBACK", &["ROLLBACK"]).sends("BEGIN", &["BEGIN"]);
    assert_eq!(played.sends("COMMIT", &["COMMIT"]).rests(Rest::Idle).role(), "?");
}

#[test]
fn the_server_is_believed_about_its_own_session() {
    let told = |user: &str| Held {
        process: 1,
        search_path: "sales".into(),
        user: user.into(),
        statement_timeout: "1500ms".into(),
        since: None,
    };
    let mut played = Played::new();
    // ALTER ROLE app SET role = owner: RESET ROLE means that one.
    played.settings.hear(Some(&told("owner")));
    assert_eq!(played.role(), "owner");
    assert_eq!(played.alone("SET ROLE boss").role(), "boss");
    assert_eq!(played.alone("RESET ROLE").role(), "owner");
    assert_eq!(played.settings.path(), Some(Some("sales")));
    assert_eq!(played.settings.timeout(), Some(Some(Duration::from_millis(1500))));
    played.alone("SELECT my_function()");
    played.settings.hear(None);
    assert_eq!(played.role(), "?");
    played.settings.hear(Some(&told("boss")));
    assert_eq!(played.role(), "boss");
    // Servers tell by themselves who is logged in.
    let mut played = Played::new();
    played.settings.report(None, Some("app"));
    played.sends("SET SESSION AUTHORIZATION other", &["SET"]);
    played.settings.report(None, Some("other"));
    assert_eq!(played.rests(Rest::Idle).role(), "other");
}

#[test]
fn where_bare_names_lie_is_uncertain_until_the_server_says() {
    let told = Held {
        process: 1,
        search_path: "sales".into(),
        user: "app".into(),
        statement_timeout: "0".into(),
        since: None,
    };
    // ALTER ROLE app SET search_path: nobody has said.
    assert!(Played::new().settings.is_anywhere());
    for text in [
        "SELECT my_function()",
        "DO $$BEGIN SET search_path = hr; END$$",
        "SELECT set_config('search_path', name, false) FROM names",
        "SET search_path = hr; SELECT my_function()",
    ] {
        let mut played = Played::new();
        played.settings.hear(Some(&told));
        assert!(!played.settings.is_anywhere());
        played.alone("SELECT 1").alone("SET search_path = other");
        assert!(!played.settings.is_anywhere());
        played.alone(text);
        assert!(played.settings.is_anywhere(), "{text}");
        played.settings.hear(None);
        assert!(played.settings.is_anywhere(), "{text}");
        // Asked in a transaction, whose end may take it back.
        played.sends("BEGIN", &["BEGIN"]).rests(Rest::Open);
        played.settings.hear(Some(&told));
        assert!(!played.settings.is_anywhere(), "{text}");
        played.sends("ROLLBACK", &["ROLLBACK"]).rests(Rest::Idle);
        assert!(played.settings.is_anywhere(), "{text}");
    }
    // Servers from 18 on say it by themselves.
    let mut played = Played::new();
    played.settings.report(Some("sales"), None);
    played.alone("SELECT my_function()");
    assert!(!played.settings.is_anywhere());
}

#[test]
fn a_session_begins_with_what_its_client_asks_for() {
    let given = |parameters: &[(&[u8], &[u8])]| {
        let mut packet = Vec::new();
        let version = Version { major: 3, minor: 0 };
        Startup::write(version, parameters.iter().copied(), &mut packet).unwrap();
        match Opening::decode(&packet[4..], &Limits::default()) {
            Ok(Opening::Startup(startup)) => Given::of(&startup),
            other => panic!("{other:?}"),
        }
    };
    let options = |text: &str| given(&[(b"user", b"app"), (b"options", text.as_bytes())]);
    for (text, role) in [
        ("-c role=boss", "boss"),
        ("-crole=boss -c work_mem=1MB", "boss"),
        ("--role=a --ROLE=boss", "boss"),
        ("-c role=the\\ boss", "the boss"),
        ("-c role=none", "app"),
        ("-c geqo=off", "app"),
        ("-c session_authorization=boss", "?"),
        ("-c", "app"),
        ("-c role", "?"),
        ("-ecrole=boss", "boss"),
        ("-e-role=boss", "boss"),
        ("-ec role=boss", "boss"),
        ("-e -O", "app"),
        ("-S 64 -crole=boss", "boss"),
        ("-f ncrole=boss", "app"),
        ("role=boss", "?"),
    ] {
        assert_eq!(Played::with(&options(text)).role(), role, "{text}");
    }
    let named = given(&[(b"user", b"app"), (b"role", b"boss"), (b"options", b"-c role=other")]);
    let mut played = Played::with(&named);
    assert_eq!(played.role(), "boss");
    assert_eq!(played.alone("SET ROLE NONE").role(), "app");
    assert_eq!(played.alone("RESET ROLE").role(), "boss");
    let timed = options("-c statement_timeout=2min -c search_path=a,b");
    assert_eq!(Played::with(&timed).settings.timeout(), Some(Some(Duration::from_secs(120))));
    assert_eq!(Played::with(&timed).settings.path(), Some(Some("a,b")));
    for text in [
        "-c session_replication_role=replica",
        "--session-replication-role=replica",
        "-Ocsession_replication_role=replica",
        "-c Session_Replication_Role=replica -c application_name=\u{e9}",
    ] {
        assert_eq!(options(text).guarded, ["session_replication_role"], "{text}");
    }
    let latin =
        given(&[(b"user", b"app"), (b"options", b"-c a.b=\xe9 -c local_preload_libraries=x")]);
    assert_eq!(latin.guarded, ["local_preload_libraries"]);
    let named = given(&[(b"user", b"app"), (b"Session_Replication_Role", b"replica")]);
    assert_eq!(named.guarded, ["session_replication_role"]);
    assert!(options("-c session_replication_roles=replica -c search_path=a").guarded.is_empty());
}

#[test]
fn where_the_path_is_lost_a_name_may_mean_all_that_it_has_meant() {
    let mut played = Played::new();
    assert_eq!(played.settings.path(), Some(None));
    assert_eq!(played.alone("SET search_path = a, b").settings.path(), Some(Some("a, b")));
    played.sends("SET search_path = c; COMMIT", &["SET", "COMMIT"]).rests(Rest::Idle);
    assert_eq!(played.settings.path(), None);
    assert_eq!(played.settings.paths(), "a, b, c, \"$user\", public");
    assert_eq!(played.alone("RESET search_path").settings.path(), Some(None));
}

#[test]
fn a_path_that_is_told_otherwise_than_it_is_set_counts_for_nothing() {
    for text in [
        "SELECT set_config('search_path', 'a', NOT false)",
        "SELECT set_config('search_path', 'a', false) WHERE false",
        "SELECT set_config('search_path', 'a', false), generate_series(1, 0)",
        "SELECT CASE WHEN false THEN set_config('search_path', 'a', false) END",
        "SELECT count(*) FILTER (WHERE set_config('search_path', 'a', false) = 'a')",
        "SELECT set_config('search_path', 'ab'::varchar(1), false)",
        "SELECT set_config('search_pathology'::varchar(11), 'a', false)",
        "SELECT set_config(is_local => false, new_value => 'a', setting_name => 'search_path') LIMIT 0",
        "WITH x AS (SELECT set_config('search_path', 'a', false)) SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT set_config('search_path', 'a', false)",
        "UPDATE pg_settings SET setting = 'a' WHERE name = 'search_path'",
    ] {
        let mut played = Played::new();
        played.alone("SET search_path = b").settings.hear(None);
        played.settings.anywhere = false;
        played.alone(text);
        assert!(played.settings.is_anywhere(), "{text}");
    }
    let mut played = Played::new();
    let named =
        "SELECT set_config(new_value => 'a', setting_name => 'search_path', is_local => false)";
    assert_eq!(played.alone(named).settings.path(), Some(Some("a")));
    assert_eq!(played.alone("SET search_path = \"A, b\"").settings.path(), Some(Some("\"A, b\"")));
    // What a cursor's query sets, it sets when its rows are taken.
    played.settings.anywhere = false;
    played.settings.fetched(&facts("SELECT set_config('search_path', 'c', false)"));
    assert!(played.settings.is_anywhere());
}

#[test]
fn no_value_hides_another() {
    let mut played = Played::new();
    played.alone("SET search_path = a");
    // The server takes none with an open quote.
    played.sends("SELECT set_config('search_path', '\"', false)", &["!"]);
    assert_eq!(played.settings.path(), None);
    assert_eq!(played.settings.paths(), "a, \"$user\", public");
    // One that only the server told is one that it has been.
    let mut played = Played::new();
    played.alone("SELECT set_config('search_path', $1, false)");
    played.settings.hear(Some(&Held {
        process: 1,
        search_path: "hidden".into(),
        user: "app".into(),
        statement_timeout: "0".into(),
        since: None,
    }));
    let text = "BEGIN; SET LOCAL search_path = b; COMMIT";
    played.sends(text, &["BEGIN", "SET", "COMMIT"]).rests(Rest::Idle);
    assert!(played.settings.paths().contains("hidden"), "{}", played.settings.paths());
    // More than are kept: the first may hold again.
    let mut played = Played::new();
    played.alone("SET search_path = a").settings.anywhere = false;
    for number in 0..MOST_SEEN {
        let text = format!("BEGIN; SET search_path = b{number}; ROLLBACK");
        played.sends(&text, &["BEGIN", "SET", "ROLLBACK"]).rests(Rest::Idle);
    }
    assert!(played.settings.is_anywhere());
}

#[test]
fn times_are_read_as_the_server_writes_them() {
    for (text, expected) in [
        ("0", Some(0)),
        ("1500", Some(1_500)),
        ("1500ms", Some(1_500)),
        ("1.5s", Some(1_500)),
        ("5 min", Some(300_000)),
        ("1h", Some(3_600_000)),
        ("2d", Some(172_800_000)),
        ("1 fortnight", None),
        ("-1", None),
        ("", None),
    ] {
        assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
    }
}
