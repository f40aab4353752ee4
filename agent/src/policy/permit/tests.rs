use std::sync::Arc;

use super::{Stance, Verdict, Words};
use crate::model::ActorKind;
use crate::policy::Set;
use crate::policy::context::Transaction;
use crate::policy::testing::{Asker, facts, with};

#[test]
fn services_are_in_shadow_until_somebody_enforces_them() {
    for kind in ActorKind::ALL {
        let shadow = *kind == ActorKind::Service;
        let expected = if shadow { Stance::Shadow } else { Stance::Enforced };
        assert_eq!(Stance::of(*kind, false), expected, "{kind}");
        assert_eq!(Stance::of(*kind, true), Stance::Enforced, "{kind}");
    }
}

#[test]
fn a_permit_covers_the_facts_it_was_given_for() {
    let asker = Asker::new(ActorKind::Terminal, None);
    let set = Set::embedded().unwrap();
    let (one, other) = (facts("select 1"), facts("select 1"));
    let Verdict::Allow(permit) = set.decide(&asker.question(&one), asker.stance) else { panic!() };
    assert!(permit.covers(&one) && permit.clone().covers(&one) && !permit.covers(&other));
    assert_eq!(permit.generation(), set.generation());
    assert!(Arc::ptr_eq(permit.facts(), &one));
}

#[test]
fn what_can_be_held_is_refused_within_a_transaction() {
    let set = with(
        r#"@id("patient") @reason("r") @hold("group:dba") @hold_in_transaction
           forbid (principal, action == Action::"insert", resource);"#,
    );
    let mut asker = Asker::new(ActorKind::Terminal, None);
    for transaction in [Transaction::Open, Transaction::Failed, Transaction::Pipeline] {
        asker.circumstances.transaction = transaction;
        let Verdict::Refuse(refusal) = asker.ask(&set, "drop table a") else { panic!() };
        assert!(refusal.in_transaction);
        assert!(refusal.words().hint.unwrap().contains("not inside an open transaction"));
        assert_eq!(asker.told(&set, "insert into a values (1)"), "hold patient");
        // One that can't wait keeps all from waiting.
        assert!(asker.told(&set, "insert into a values (1); drop table a").starts_with("refuse"));
    }
    asker.circumstances.transaction = Transaction::Idle;
    let Verdict::Hold(hold) = asker.ask(&set, "insert into a values (1); drop table a") else {
        panic!()
    };
    assert_eq!(hold.approvers(), ["group:dba", "approvers"]);
}

#[test]
fn refusals_say_what_why_by_what_and_what_to_do() {
    let set = Set::embedded().unwrap();
    let asker = Asker::new(ActorKind::Agent, None);
    let words = |text: &str| -> Words {
        match asker.ask(&set, text) {
            Verdict::Refuse(refusal) => refusal.words(),
            Verdict::Hold(hold) => hold.words(),
            Verdict::Allow(_) => panic!("{text} was allowed"),
        }
    };
    let generation = set.generation();
    let line = set.policy("default/unbounded").unwrap().place.line;
    assert_eq!(
        words("delete from shop.customers"),
        Words {
            message: "tidegate: delete on `shop.customers` needs an approval: it changes every \
                      row of a table in production"
                .into(),
            detail: Some(format!(
                "policy default/unbounded (policies/default.cedar:{line}), severity high; \
                 policies {generation}"
            )),
            hint: Some(
                "it passes once it is approved by approvers; or add a condition that names the \
                 rows"
                    .into()
            ),
        }
    );
    // A bare name may mean two tables; that is no second reason.
    assert!(!words("drop table a").detail.unwrap().contains("more reason"));
    let several = words("drop table a; select pg_read_file('x')");
    assert!(several.message.contains("unsafe_io on the database is refused"), "{several:?}");
    assert!(several.detail.unwrap().contains("; 1 more reason; "));
    let refusal = words("drop table a").refusal("r-1".into());
    assert_eq!(refusal.record, "r-1");
    assert!(refusal.message.starts_with("tidegate: drop on `a`"));
}

#[test]
fn only_what_an_approval_lifts_may_be_parsed_before_it() {
    let set = Set::embedded().unwrap();
    let asker = Asker::new(ActorKind::Terminal, None);
    let prepared = |asker: &Asker, text: &str| {
        let facts = facts(text);
        let verdict = set.decide(&asker.question(&facts), asker.stance);
        assert_eq!(verdict.is_liftable(), verdict.to_prepare(&facts).is_some());
        verdict.to_prepare(&facts).map(|permit| permit.would().map(str::to_owned))
    };
    assert_eq!(prepared(&asker, "DELETE FROM t"), Some(Some("would_hold".into())));
    assert_eq!(prepared(&asker, "SELECT 1"), None);
    assert_eq!(prepared(&asker, "COPY t TO PROGRAM 'cat'"), None);
    // One of two that nobody may lift is enough.
    assert_eq!(prepared(&asker, "DROP TABLE t; COPY t TO PROGRAM 'cat'"), None);
    let mut open = Asker::new(ActorKind::Terminal, None);
    open.circumstances.transaction = Transaction::Open;
    assert!(prepared(&open, "DELETE FROM t").is_some());
}
