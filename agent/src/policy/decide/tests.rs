use crate::model::ActorKind;
use crate::policy::testing::{Asker, with};
use crate::policy::{Set, Stance, Verdict};

fn default() -> Set {
    Set::embedded().unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn production_is_guarded_by_default() {
    let set = default();
    let agent = Asker::new(ActorKind::Agent, None);
    for (text, told) in [
        ("select * from customers", "allow"),
        ("insert into customers values (1)", "allow"),
        ("delete from customers where id = 1", "allow"),
        ("delete from customers", "hold default/unbounded"),
        ("delete from customers where true", "hold default/unbounded"),
        ("with gone as (delete from a returning *) select 1", "hold default/unbounded"),
        ("drop table customers", "hold default/drop"),
        ("truncate customers", "hold default/truncate"),
        ("create table t (a int)", "hold default/define"),
        ("create temp table t (a int)", "allow"),
        ("create temp table t as select * from customers", "allow"),
        ("alter table customers add column a int", "hold default/define"),
        ("grant select on customers to bob", "hold default/grant"),
        ("copy customers to '/tmp/x'", "refuse default/server-access"),
        ("copy customers to stdout", "allow"),
        ("select pg_read_file('x')", "refuse default/server-access"),
        ("do $$begin null; end$$", "hold default/agent-code default/unknown"),
        ("select my_function()", "hold default/agent-code"),
        ("select * from items order by embedding <=> '[1]' limit 5", "allow"),
        ("selec 1", "hold default/unknown"),
        ("drop table a; select pg_read_file('x')", "refuse default/server-access default/drop"),
    ] {
        assert_eq!(agent.told(&set, text), told, "{text}");
    }
}

#[test]
fn what_ends_or_tidies_a_session_is_never_refused() {
    let set = Set::parse(&[]).unwrap();
    let asker = Asker::new(ActorKind::Agent, None);
    for text in [
        "rollback",
        "commit",
        "begin",
        "rollback to savepoint a",
        "deallocate all",
        "deallocate p",
        "discard all",
        "discard temp",
        "close all",
        "set search_path = a",
        "reset all",
        "",
    ] {
        assert_eq!(asker.told(&set, text), "allow", "{text}");
    }
    // Nothing else is permitted by an empty set.
    assert_eq!(asker.told(&set, "select 1"), "refuse NotPermitted");
}

#[test]
fn elsewhere_it_is_allowed_and_what_is_not_understood_is_flagged() {
    let set = default();
    let person = Asker::new(ActorKind::Terminal, Some("staging"));
    assert_eq!(person.told(&set, "drop table customers"), "allow");
    let verdict = person.ask(&set, "do $$begin null; end$$");
    let flags: Vec<_> = verdict.ruling().flags.iter().map(|policy| &*policy.id).collect();
    assert!(matches!(verdict, Verdict::Allow(_)));
    assert_eq!(flags, ["default/unknown-elsewhere"]);
    assert_eq!(
        Asker::new(ActorKind::Agent, Some("staging")).told(&set, "do $$begin null; end$$"),
        "hold default/unknown"
    );
}

#[test]
fn a_service_is_in_shadow_and_its_permit_says_what_would_have_been() {
    let set = default();
    let service = Asker::new(ActorKind::Service, None);
    let Verdict::Allow(permit) = service.ask(&set, "drop table customers") else {
        panic!("a service was stopped")
    };
    assert_eq!((permit.stance(), permit.would()), (Stance::Shadow, Some("would_hold")));
    let Verdict::Allow(permit) = service.ask(&set, "select 1") else { panic!() };
    assert_eq!(permit.would(), None);
    let enforced = Asker { stance: Stance::of(ActorKind::Service, true), ..service };
    assert_eq!(enforced.told(&set, "drop table customers"), "hold default/drop");
}

#[test]
fn a_forbid_that_fails_refuses() {
    let set = with(
        "@id(\"sum\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource)
         when { context.hour * 9223372036854775807 > 10 };",
    );
    let told = Asker::new(ActorKind::Terminal, None).told(&set, "select 1");
    assert!(told.starts_with("refuse Failed"), "{told}");
}
