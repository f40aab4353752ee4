use super::super::tests::{facts, of_user, seen};
use super::*;
use crate::model::{Origin, Sourced, Via, Workload};

const TEXT: &str = r#"
[users.alice]
person = "Alice Example"
teams = ["payments"]
groups = ["dba", "oncall"]

[users.1001]
groups = ["contractors"]

[users.billing]
teams = ["billing"]

[units."billing.service"]
teams = ["billing"]
groups = ["writers"]

[pods."shop/web-*"]
teams = ["web"]

[service_accounts."shop/web"]
teams = ["checkout"]

[service_accounts."bank/*"]
groups = ["tellers"]

[images."registry:5000/shop/web"]
groups = ["web-images"]
"#;

fn directory() -> Directory {
    Directory::parse(TEXT, "directory.toml").unwrap()
}

fn login(user: &str, confidence: Confidence) -> Person {
    Person {
        via: Via::Ssh,
        user: Some(Sourced { value: user.into(), origin: Origin::Kernel, confidence }),
        login_uid: None,
        address: None,
        key: None,
        switches: vec![],
        name: None,
    }
}

#[test]
fn people_users_and_units_are_looked_up() {
    let app = of_user(200, "billing", seen(9, 1, "/opt/app", "app"));
    let found = directory().look_up(&facts(vec![app], "/system.slice/billing.service"), None);
    assert_eq!(
        (found.person, found.teams, found.groups),
        (None, vec!["billing".into()], vec!["writers".into()])
    );

    let psql = of_user(200, "billing", seen(9, 1, "/bin/psql", "psql"));
    let facts = facts(vec![psql], "/user.slice/user-1000.slice/session-1.scope");
    let alice = login("alice", Confidence::Certain);
    let found = directory().look_up(&facts, Some(&alice));
    assert_eq!(found.person.as_deref(), Some("Alice Example"));
    assert_eq!(found.teams, ["payments", "billing"]);
    assert_eq!(found.groups, ["dba", "oncall"]);
}

#[test]
fn claims_and_numbers_of_containers_give_nothing() {
    let psql = of_user(1001, "nobody", seen(9, 1, "/bin/psql", "psql"));
    let mut facts = facts(vec![psql], "/");
    let claimed = login("alice", Confidence::Claimed);
    let found = directory().look_up(&facts, Some(&claimed));
    assert_eq!((found.person, found.groups), (None, vec!["contractors".into()]));
    facts.workload.container = Some("c".into());
    assert_eq!(directory().look_up(&facts, None), Found::default());
    // A user's own unit of the same name.
    facts.workload = Workload {
        unit: Some("billing.service".into()),
        user_slice: Some(1000),
        ..Workload::default()
    };
    assert_eq!(directory().look_up(&facts, None).groups, ["contractors"]);
}

#[test]
fn pods_and_images_by_the_runtimes_word() {
    let app = of_user(1001, "x", seen(9, 1, "/opt/app", "app"));
    let mut facts = facts(vec![app], "/");
    facts.workload = Workload {
        container: Some("c".into()),
        namespace: Some("shop".into()),
        pod_name: Some("web-5c9f".into()),
        image: Some("registry:5000/shop/web:1.2".into()),
        ..Workload::default()
    };
    let found = directory().look_up(&facts, None);
    assert_eq!(
        (found.teams, found.groups),
        (vec!["web".to_owned()], vec!["web-images".to_owned()])
    );
    // A user's own runtime may say anything.
    facts.workload.user_slice = Some(1000);
    assert_eq!(directory().look_up(&facts, None), Found::default());
}

#[test]
fn service_accounts_only_where_the_pod_could_not_choose() {
    let app = of_user(1001, "x", seen(9, 1, "/opt/app", "app"));
    let mut facts = facts(vec![app], "/");
    facts.workload.container = Some("c".into());
    let mut found = |value: &str, confidence| {
        let origin = Origin::Kubelet;
        facts.account = Some(Sourced { value: value.into(), origin, confidence });
        directory().look_up(&facts, None)
    };
    assert_eq!(found("shop/web", Confidence::Certain).teams, ["checkout"]);
    assert_eq!(found("bank/teller", Confidence::Certain).groups, ["tellers"]);
    for (value, confidence) in [
        ("shop/web", Confidence::Likely),
        ("shop/web", Confidence::Claimed),
        ("shop/web2", Confidence::Certain),
        ("shop", Confidence::Certain),
    ] {
        assert_eq!(found(value, confidence), Found::default(), "{value} {confidence:?}");
    }
}

#[test]
fn mistakes_have_their_lines() {
    let text = "[user.x]\n[users.a]\nteam = []\n[units.b]\nperson = \"x\"\nteams = [1]\n[users]\n";
    let error = Directory::parse(
        "[users.a]\nteam = []\n[units.b]\nperson = \"x\"\nteams = [1]\n[pod.x]\n",
        "d.toml",
    )
    .unwrap_err();
    assert_eq!(
        error.0,
        [
            "d.toml:6:2: unknown key `pod`: it is one of `users`, `units`, `pods`, `service_accounts`, `images`",
            "d.toml:2:1: unknown key `team`: it is one of `person`, `teams`, `groups`",
            "d.toml:4:10: only a user is a person: give this one `teams`",
            "d.toml:5:10: `teams` holds strings only, none empty",
        ]
    );
    assert!(Directory::parse(text, "d.toml").is_err());
}
