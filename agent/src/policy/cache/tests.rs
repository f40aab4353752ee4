use std::sync::{Arc, LazyLock};

use super::Cache;
use crate::model::code::{Code, Kind, Own};
use crate::model::{ActorKind, Trace};
use crate::policy::catalog::{Catalog, NoCatalog, Supposed};
use crate::policy::context::Transaction;
use crate::policy::testing::{Asker, NOW, facts, target, with};
use crate::policy::values::Value;
use crate::policy::{Circumstances, Question, Scene, Set, Stance, Verdict};

fn same(one: &Verdict, other: &Verdict) -> bool {
    Arc::ptr_eq(one.ruling(), other.ruling())
}

#[test]
fn what_was_ruled_is_known_until_something_it_hangs_on_changes() {
    let set = Set::embedded().unwrap();
    let cache = Cache::new(1_000);
    let asker = Asker::new(ActorKind::Agent, None);
    let facts = facts("drop table a");
    let ask = |question: &Question<'_>| cache.decide(&set, question, Stance::Enforced);
    let first = ask(&asker.question(&facts));
    assert!(same(&first, &ask(&asker.question(&facts))));
    // Made anew, but equal.
    let twin = Asker::new(ActorKind::Agent, None);
    assert!(same(&first, &ask(&twin.question(&facts))));
    assert_eq!(cache.len(), 1);

    // No default policy on DROP reads where the transaction stands; what follows from
    // the ruling does.
    let mut open = Asker::new(ActorKind::Agent, None);
    open.circumstances.transaction = Transaction::Open;
    let refused = ask(&open.question(&facts));
    assert!(same(&first, &refused));
    assert!(matches!((&first, &refused), (Verdict::Hold(_), Verdict::Refuse(_))));
    // The stance is no part of it either.
    let shadow = cache.decide(&set, &asker.question(&facts), Stance::Shadow);
    assert!(same(&first, &shadow) && matches!(shadow, Verdict::Allow(_)));

    let other = Asker::new(ActorKind::Terminal, None);
    assert!(!same(&first, &ask(&other.question(&facts))));
    let other = Asker::new(ActorKind::Agent, Some("staging"));
    assert!(matches!(ask(&other.question(&facts)), Verdict::Allow(_)));
    let mut own = target(None);
    own.temporary.push("a".into());
    let other = Asker { scene: Scene::new(own), ..Asker::new(ActorKind::Agent, None) };
    assert!(matches!(ask(&other.question(&facts)), Verdict::Allow(_)));
    let again = crate::policy::testing::facts("drop table a");
    assert!(!same(&first, &ask(&asker.question(&again))));
    let newer = with("@id(\"x\") permit (principal, action, resource in Server::\"x\");");
    assert!(!same(&first, &cache.decide(&newer, &asker.question(&facts), Stance::Enforced)));
}

/// A catalog as it is learnt: first with a column `f`, then without, then with code.
struct Learning(u64);

impl Catalog for Learning {
    fn generation(&self) -> u64 {
        self.0
    }

    fn schema_of(&self, _: &str) -> Option<Box<str>> {
        None
    }

    fn has_column(&self, _: Option<&str>, _: &str, _: &str) -> Option<bool> {
        Some(self.0 == 1)
    }

    fn is_sensitive(&self, _: Option<&str>, _: &str, _: &str) -> Option<bool> {
        None
    }

    fn has_sensitive(&self, _: Option<&str>, _: &str) -> Option<bool> {
        None
    }

    fn is_scanned(&self, _: Option<&str>, _: &str, _: Option<&str>) -> bool {
        false
    }

    fn own(&self, kind: Kind, name: &str) -> &[Own] {
        static CODE: LazyLock<Code> = LazyLock::new(|| {
            let mut code = Code::default();
            code.add(Kind::Function, Some("public"), "lower", false);
            code
        });
        if self.0 == 3 { CODE.named(kind, name) } else { &[] }
    }
}

#[test]
fn what_is_learnt_meanwhile_and_what_is_prepared_is_part_of_the_question() {
    let set = Set::embedded().unwrap();
    let cache = Cache::new(1_000);
    let asker = Asker::new(ActorKind::Agent, None);
    let column = facts("select t.f from t");
    let knowing = |catalog: &dyn Catalog| {
        let question = Question { catalog, ..asker.question(&column) };
        cache.decide(&set, &question, Stance::Enforced)
    };
    assert!(matches!(knowing(&NoCatalog), Verdict::Allow(_)));
    assert!(matches!(knowing(&Learning(1)), Verdict::Allow(_)));
    assert!(matches!(knowing(&Learning(2)), Verdict::Hold(_)));
    let call = facts("select lower(1)");
    let knowing = |catalog: &dyn Catalog| {
        let question = Question { catalog, ..asker.question(&call) };
        cache.decide(&set, &question, Stance::Enforced)
    };
    assert!(matches!(knowing(&Learning(2)), Verdict::Allow(_)));
    assert!(matches!(knowing(&Learning(3)), Verdict::Hold(_)));
    assert!(matches!(knowing(&Learning(2)), Verdict::Allow(_)));

    let execute = facts("execute p");
    let running = |held: Option<&str>| {
        let prepared = [held.map(facts)];
        let question = Question { prepared: &prepared, ..asker.question(&execute) };
        cache.decide(&set, &question, Stance::Enforced)
    };
    assert!(matches!(running(None), Verdict::Hold(_)));
    assert!(matches!(running(Some("select 1")), Verdict::Allow(_)));
    assert!(matches!(running(Some("drop table a")), Verdict::Hold(_)));
}

#[test]
fn what_is_ruled_without_a_mask_does_not_hold_with_one() {
    let set = Set::embedded().unwrap();
    let cache = Cache::new(1_000);
    let (masked, scanned) = (["t.email".to_owned()], ["t.note".to_owned()]);
    let code = &Code::default();
    let catalog = &Supposed { masked: &masked, scanned: &scanned, code };
    let mut asker = Asker::new(ActorKind::Terminal, None);
    let (update, read) = (facts("update t set email = $1 where id = $2"), facts("table t"));
    let note = facts("update t set note = $1 where id = $2");
    for carries in [Trace::None, Trace::Likely, Trace::Certain, Trace::Likely, Trace::None] {
        asker.circumstances.carries = carries;
        let told = |facts| {
            let question = Question { catalog, ..asker.question(facts) };
            cache.decide(&set, &question, Stance::Enforced).as_str()
        };
        let expected = |refused| if refused { "refuse" } else { "allow" };
        assert_eq!(told(&update), expected(carries > Trace::None), "{carries:?}");
        assert_eq!(told(&note), expected(carries == Trace::Certain), "{carries:?}");
        assert_eq!(told(&read), "allow");
    }
    // Of what is read nobody asks whether it carries one.
    assert_eq!(cache.len(), 7);
}

#[test]
fn what_passes_is_not_kept() {
    let set = with(
        r#"@id("night") @reason("r") forbid (principal, action == Action::"read", resource)
           when { context.hour < 6 };
           @id("four-eyes") @reason("r") forbid (principal, action == Action::"insert", resource)
           unless { context.approvals.contains("change-1") };
           @id("alone") @reason("r") forbid (principal, action == Action::"export", resource)
           when { context.in_transaction };"#,
    );
    let cache = Cache::new(1_000);
    let mut asker = Asker::new(ActorKind::Terminal, None);
    let read = facts("select 1");
    let told = |asker: &Asker, facts| {
        cache.decide(&set, &asker.question(facts), Stance::Enforced).as_str()
    };
    assert_eq!(told(&asker, &read), "allow");
    asker.circumstances.now = crate::model::Timestamp(1_795_143_600_000_000_000);
    assert_eq!((told(&asker, &read), cache.len()), ("refuse", 0));

    let insert = facts("insert into a values (1)");
    assert_eq!((told(&asker, &insert), cache.len()), ("refuse", 1));
    let approvals = ["change-1".to_owned()];
    let mut circumstances = asker.circumstances;
    circumstances.approvals = &approvals;
    let question = Question { circumstances, ..asker.question(&insert) };
    assert_eq!(cache.decide(&set, &question, Stance::Enforced).as_str(), "allow");
    assert_eq!((told(&asker, &insert), cache.len()), ("refuse", 1));

    let copy = facts("copy a to stdout");
    asker.circumstances = crate::policy::Circumstances::new(crate::policy::testing::NOW);
    assert_eq!(told(&asker, &copy), "allow");
    asker.circumstances.transaction = Transaction::Open;
    assert_eq!(told(&asker, &copy), "refuse");
    asker.circumstances.transaction = Transaction::Idle;
    assert_eq!(told(&asker, &copy), "allow");
}

/// No effect of the text's own is `execute`: the catalog tells that code runs.
#[test]
fn what_passes_counts_for_what_only_the_catalog_tells() {
    let night = crate::model::Timestamp(1_795_143_600_000_000_000);
    let catalogs = [("select t.f from t", Learning(2)), ("select lower(1)", Learning(3))];
    for (text, catalog) in &catalogs {
        let facts = facts(text);
        let told = |set: &Set, cache: &Cache, asker: &Asker| {
            let question = Question { catalog, ..asker.question(&facts) };
            cache.decide(set, &question, Stance::Enforced).as_str()
        };
        let mut asker = Asker::new(ActorKind::Terminal, None);
        let set = with(
            r#"@id("night") forbid (principal, action == Action::"execute", resource)
               when { context.hour < 6 };"#,
        );
        let cache = Cache::new(1_000);
        for (now, expected) in [(NOW, "allow"), (night, "refuse"), (NOW, "allow")] {
            asker.circumstances.now = now;
            assert_eq!((told(&set, &cache, &asker), cache.len()), (expected, 0), "{text}");
        }

        let set = with(
            r#"@id("alone") forbid (principal, action == Action::"execute", resource)
               when { context.in_transaction };"#,
        );
        let cache = Cache::new(1_000);
        let (idle, open) = (Transaction::Idle, Transaction::Open);
        for (transaction, expected) in
            [(idle, "allow"), (open, "refuse"), (open, "refuse"), (idle, "allow")]
        {
            asker.circumstances.transaction = transaction;
            assert_eq!((told(&set, &cache, &asker), cache.len()), (expected, 1), "{text}");
        }

        let set = with(
            r#"@id("few") forbid (principal, action == Action::"execute", resource)
               unless { context.parameters.count < 2 };"#,
        );
        let cache = Cache::new(1_000);
        let values = [1, 2].map(|one: i32| Value::text("int4", &one.to_string()));
        for (parameters, expected) in [(&values[..1], "allow"), (&values[..], "refuse")] {
            let asker = Asker::new(ActorKind::Terminal, None);
            let circumstances =
                Circumstances { parameters: Some(parameters), ..asker.circumstances };
            let question = Question { circumstances, catalog, ..asker.question(&facts) };
            let verdict = cache.decide(&set, &question, Stance::Enforced);
            assert_eq!(verdict.as_str(), expected, "{text}");
        }
    }
}

#[test]
fn it_holds_no_more_than_it_may() {
    let set = Set::embedded().unwrap();
    let cache = Cache::new(64);
    let asker = Asker::new(ActorKind::Terminal, None);
    // Those of 500 texts, all there at once.
    let texts: Vec<_> = (0..500).map(|_| facts("commit")).collect();
    for facts in &texts {
        let _ = cache.decide(&set, &asker.question(facts), Stance::Enforced);
    }
    assert!(cache.len() <= 64 && cache.len() > 16, "{}", cache.len());
    // What is asked for again and again stays.
    let kept = facts("select 1");
    let first = cache.decide(&set, &asker.question(&kept), Stance::Enforced);
    for _ in 0..500 {
        let facts = facts("commit");
        let _ = cache.decide(&set, &asker.question(&facts), Stance::Enforced);
        assert!(same(&first, &cache.decide(&set, &asker.question(&kept), Stance::Enforced)));
    }
}
