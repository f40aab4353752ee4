//! `tests/corpora/evasion`: what each trick must be seen as.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/corpus.rs"]
mod corpus;

use std::sync::Arc;

use corpus::{Case, cases};
use tidegate::model::{ActorKind, Principal, Timestamp};
use tidegate::policy::catalog::supposed_code;
use tidegate::policy::{Circumstances, Question, Scene, Set, Stance, Subject, Supposed, Target};
use tidegate::sql::effect::Use;
use tidegate::sql::facts::{ObjectKind, Setting};
use tidegate::sql::{Cell, Facts, Verb, cell};

fn widest(facts: &Facts) -> Option<String> {
    let bound = facts.running().map(|statement| statement.widest()).max()?;
    Some(serde_json::to_value(bound).unwrap().as_str().unwrap().to_owned())
}

fn objects(facts: &Facts) -> Vec<String> {
    let mut all = Vec::new();
    for object in facts.running().flat_map(|statement| &statement.objects) {
        let kind = object.kind;
        if matches!(kind, ObjectKind::Function | ObjectKind::Type) {
            continue;
        }
        let schema = object.schema.as_ref().map(|s| format!("{s}.")).unwrap_or_default();
        for used in object.uses.iter() {
            all.push(format!("{used} {schema}{}", object.name));
        }
    }
    all
}

fn session(facts: &Facts) -> Vec<String> {
    facts
        .session()
        .map(|effect| {
            let value = match &effect.value {
                Setting::To(value) => value.to_string(),
                Setting::Default => "default".into(),
                Setting::Dynamic => "?".into(),
            };
            format!("{}={value}", effect.setting)
        })
        .collect()
}

fn mistakes(case: &Case, facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    let effects: Vec<String> = {
        let mut effects: Vec<_> = facts.effects().iter().map(|e| e.to_string()).collect();
        effects.sort();
        effects
    };
    if effects != case.effects {
        wrong.push(format!("effects {effects:?}, not {:?}", case.effects));
    }
    if let Some(expected) = &case.bound
        && widest(facts).as_ref() != Some(expected)
    {
        wrong.push(format!("bound {:?}, not {expected}", widest(facts)));
    }
    if let Some(expected) = &case.objects {
        let found = objects(facts);
        if expected.is_empty() && !found.is_empty() || !expected.iter().all(|e| found.contains(e)) {
            wrong.push(format!("objects {found:?}, not {expected:?}"));
        }
    }
    if let Some(expected) = &case.session
        && session(facts) != *expected
    {
        wrong.push(format!("session {:?}, not {expected:?}", session(facts)));
    }
    // An unknown statement always says why, and nothing else does.
    let unknown = case.effects.iter().any(|effect| effect == "unknown");
    if facts.understood() == unknown {
        wrong.push("understood and unknown at once, or neither".into());
    }
    wrong
}

#[test]
fn every_trick_is_seen_for_what_it_is() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let cases = cases();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let facts = cell.read(case.sql.as_bytes(), &case.state);
        for wrong in mistakes(case, &facts) {
            failures.push(format!("{}\n    {:?}\n    {wrong}", case.place, case.sql));
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_write_is_never_without_the_object_it_writes_to() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    for case in cases() {
        let facts = cell.read(case.sql.as_bytes(), &case.state);
        for statement in facts.running().filter(|statement| {
            matches!(statement.verb, Verb::Insert | Verb::Update | Verb::Delete | Verb::Truncate)
        }) {
            assert!(
                statement.objects.iter().any(|object| object.uses.contains(Use::Written)),
                "{}: {}",
                case.place,
                case.sql
            );
        }
    }
}

/// What the default policies say to an AI agent in production.
fn verdict(set: &Set, cell: &Cell, case: &Case) -> (&'static str, String) {
    let subject = Subject::new(Principal {
        kind: ActorKind::Agent,
        workload: "agent".into(),
        person: None,
        user: None,
        program: None,
        groups: Vec::new(),
    });
    let scene = Scene::new(Target {
        server: "db.example:5432".into(),
        environment: None,
        database: "postgres".into(),
        role: "app".into(),
        search_path: case.state.search_path.clone(),
        anywhere: false,
        temporary: Vec::new(),
    });
    let facts = Arc::new(cell.read(case.sql.as_bytes(), &case.state));
    let question = Question {
        subject: &subject,
        scene: &scene,
        facts: &facts,
        prepared: &[],
        circumstances: Circumstances::new(Timestamp(0)),
        catalog: &Supposed { masked: &[], scanned: &[], code: &supposed_code(&case.code) },
    };
    let verdict = set.decide(&question, Stance::Enforced);
    (verdict.as_str(), verdict.ruling().words().message)
}

#[test]
fn every_trick_is_decided_as_it_should() {
    let set = Set::embedded().unwrap();
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let mut failures = Vec::new();
    for case in cases() {
        let (told, message) = verdict(&set, &cell, &case);
        if told != case.verdict {
            failures.push(format!(
                "{}\n    {:?}\n    {told} ({message}), not {}",
                case.place, case.sql, case.verdict
            ));
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// What no verdict in the corpus may say, whoever wrote it: held against the facts
/// that are expected, not those that are found.
#[test]
fn no_attack_is_let_through_and_no_near_miss_is_stopped() {
    for case in cases() {
        let does = |one: &str| case.effects.iter().any(|effect| effect == one);
        let bound = case.bound.as_deref();
        let rows = does("update") || does("delete");
        let attack = ["drop", "truncate", "alter", "grant", "administer", "unsafe_io", "unknown"]
            .iter()
            .any(|one| does(one))
            || rows && matches!(bound, Some("unbounded" | "weak"));
        assert!(
            !(attack && case.verdict == "allow"),
            "{}: an attack is let through: {}",
            case.place,
            case.sql
        );
        if case.place.starts_with("near-misses") {
            assert_eq!(case.verdict, "allow", "{}: {}", case.place, case.sql);
        }
    }
}
