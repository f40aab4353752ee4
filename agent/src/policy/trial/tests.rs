use std::path::Path;

use super::{Outcome, run};
use crate::policy::Source;
use crate::policy::testing::source;
use crate::sql::{Cell, cell};

fn cell() -> Cell {
    Cell::start(cell::Settings::default()).unwrap()
}

fn test(text: &str) -> Source {
    Source { name: "own.test.toml".into(), text: text.into() }
}

#[test]
fn the_policies_that_ship_pass_their_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let cell = cell();
    let mut count = 0;
    for folder in [root.clone(), root.join("packs")] {
        let files = |ending: &str| -> Vec<Source> {
            let mut paths: Vec<_> =
                std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.retain(|path| path.to_string_lossy().ends_with(ending));
            let read = |path: &std::path::PathBuf| Source {
                name: path.to_string_lossy().into(),
                text: std::fs::read_to_string(path).unwrap().into(),
            };
            paths.iter().map(read).collect()
        };
        for file in files(".test.toml") {
            let outcomes =
                run(&file, &files(".cedar"), &cell).unwrap_or_else(|all| panic!("{all}"));
            let failed: Vec<_> = outcomes.iter().filter(|one| one.failure.is_some()).collect();
            assert!(failed.is_empty(), "{failed:#?}");
            count += outcomes.len();
        }
    }
    assert!(count >= 80, "only {count} cases");
}

#[test]
fn a_case_that_fails_says_how() {
    let own = source(
        r#"@id("no-reading") @reason("not here") forbid (principal in Team::"x",
           action == Action::"read", resource);"#,
    );
    let outcomes = run(
        &test(
            r#"
            [[case]]
            sql = "select 1"
            groups = ["team:x"]
            verdict = "allow"

            [[case]]
            sql = "select 1"
            groups = ["team:x"]
            verdict = "refuse"
            policies = ["other"]

            [[case]]
            sql = "select 1"
            verdict = "allow"
            "#,
        ),
        &[own],
        &cell(),
    )
    .unwrap();
    let told = |outcome: &Outcome| (outcome.place.to_string(), outcome.failure.clone());
    assert_eq!(
        outcomes.iter().map(told).collect::<Vec<_>>(),
        [
            (
                "own.test.toml:2".into(),
                Some(
                    "refuse, not allow (no-reading: tidegate: read on the database is refused: \
                     not here)"
                        .into()
                )
            ),
            ("own.test.toml:7".into(), Some("decided by no-reading, not by other".into())),
            ("own.test.toml:13".into(), None),
        ]
    );
}

#[test]
fn a_case_may_be_about_the_login() {
    let own = source(
        "@id(\"no-agents\") @reason(\"not here\") @hold(\"approvers\") \
         forbid (principal in Kind::\"agent\", action == Action::\"connect\", \
         resource in Environment::\"production\");",
    );
    let outcomes = run(
        &test(
            r#"
            [given]
            connect = true
            [[case]]
            actor = "agent"
            verdict = "refuse"
            policies = ["no-agents"]
            [[case]]
            actor = "agent"
            environment = "staging"
            verdict = "allow"
            policies = []
            [[case]]
            actor = "terminal"
            verdict = "refuse"
            "#,
        ),
        &[own],
        &cell(),
    )
    .unwrap();
    let told: Vec<_> = outcomes.iter().map(|one| (&*one.what, one.failure.as_deref())).collect();
    let not = "allow, not refuse ()";
    assert_eq!(told, [("connect", None), ("connect", None), ("connect", Some(not))]);
}

#[test]
fn all_that_is_wrong_with_a_file_of_tests_is_told() {
    let told = run(
        &test(
            r#"
            pack = ["x"]
            policies = ["nowhere.cedar"]
            [[case]]
            sql = "select 1"
            actor = "robot"
            verdict = "maybe"
            [[case]]
            groups = ["x"]
            transaction = 5
            "#,
        ),
        &[],
        &cell(),
    )
    .err()
    .unwrap()
    .to_string();
    for words in [
        "own.test.toml:2: no key is called `pack`",
        "no file `nowhere.cedar` is beside this one",
        "own.test.toml:6: `robot` is no kind of workload",
        "own.test.toml:7: `maybe` is no verdict",
        "own.test.toml:8: a case needs a `verdict`",
        "own.test.toml:8: a case is about one of `sql`, `column` and `connect`",
        "own.test.toml:9: `x` is no group",
        "own.test.toml:10: this must be a text in quotes",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let told = run(&test("a = ["), &[], &cell()).err().unwrap().to_string();
    assert!(told.contains("this is not TOML"), "{told}");
    let told = run(&test(""), &[], &cell()).err().unwrap().to_string();
    assert!(told.contains("there is no `[[case]]` in here"), "{told}");
}
