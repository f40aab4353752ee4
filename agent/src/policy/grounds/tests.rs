use serde_json::{Value, json};

use super::*;
use crate::model::ActorKind;
use crate::policy::testing::{Asker, with};
use crate::policy::{Set, Stance};

fn told(asker: &Asker, set: &Set, text: &str) -> Value {
    serde_json::from_str(&asker.ask(set, text).ruling().grounds().json).unwrap()
}

#[test]
fn what_decided_and_what_had_something_to_say_are_told_apart() {
    let set = Set::embedded().unwrap();
    let generation = set.generation().to_string();
    let asker = Asker::new(ActorKind::Agent, None);
    let why = json!([{
        "policy": "default/unbounded",
        "severity": "high",
        "reason": "it changes every row of a table in production",
    }]);
    let expected = json!({ "generation": generation, "why": why });
    assert_eq!(told(&asker, &set, "delete from shop.customers"), expected);
    // Nothing is told of what nobody speaks of.
    assert_eq!(told(&asker, &set, "select 1"), json!({ "generation": generation }));
    let flagging = with(
        r#"@id("own/drop-seen") @severity("low") @reason("drops are looked at")
           permit (principal, action == Action::"drop", resource);"#,
    );
    let mut asker = Asker::new(ActorKind::Terminal, Some("staging"));
    let told = told(&asker, &flagging, "drop table a");
    assert_eq!(told["why"], Value::Null);
    let flag =
        json!({ "policy": "own/drop-seen", "severity": "low", "reason": "drops are looked at" });
    assert!(told["flags"].as_array().unwrap().contains(&flag), "{told}");
    assert_ne!(told["generation"], generation);
    // The stance is no part of it: what would have decided has.
    asker = Asker::new(ActorKind::Service, None);
    assert_eq!(asker.stance, Stance::Shadow);
    assert_eq!(super::tests::told(&asker, &set, "delete from shop.customers"), expected);
}

#[test]
fn what_an_approval_lifted_is_told_as_such() {
    let set = Set::embedded().unwrap();
    let mut asker = Asker::new(ActorKind::Terminal, None);
    let lifted = vec!["default/unbounded".to_owned(), "default/destroy".to_owned()];
    asker.circumstances.lifted = lifted.leak();
    let told = told(&asker, &set, "delete from shop.customers");
    let why = told["why"].as_array().unwrap();
    assert_eq!(why.len(), 1, "{told}");
    assert_eq!(why[0]["policy"], "default/unbounded");
    assert_eq!((&why[0]["lifted"], &why[0]["severity"]), (&json!(true), &json!("high")));
}

#[test]
fn no_policys_words_keep_a_record_from_fitting() {
    let long = "x".repeat(5_000);
    let all: String = (0..100)
        .map(|number| {
            format!(
                "@id(\"own/{number:03}\") @severity(\"low\") @reason(\"{long}\")
                 forbid (principal, action == Action::\"read\", resource);"
            )
        })
        .collect();
    let set = with(&all);
    let grounds = of(Asker::new(ActorKind::Terminal, None).ask(&set, "select a from t").ruling());
    let told: Value = serde_json::from_str(&grounds.json).unwrap();
    assert_eq!(told["why"].as_array().unwrap().len(), MOST);
    assert!(grounds.json.len() < MOST * 2 * (LONGEST + 64));
}

#[test]
fn the_same_grounds_are_one_whatever_they_were_found_on() {
    let set = Set::embedded().unwrap();
    let asker = Asker::new(ActorKind::Terminal, None);
    let on = |text: &str| asker.ask(&set, text).ruling().grounds().clone();
    assert_eq!(on("delete from a"), on("delete from b"));
    assert_eq!(on("select 1"), on("begin"));
    assert_ne!(on("select 1").key, on("delete from a").key);
}
