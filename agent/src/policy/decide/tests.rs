use std::cell::Cell;
use std::fmt::Write as _;

use crate::model::ActorKind;
use crate::policy::testing::{Asker, facts, source, with};
use crate::policy::{Catalog, Question, Role, Scene, Set, Stance, Target, Verdict};

thread_local! {
    /// Requests that were put to the engine.
    pub static ASKED: Cell<u32> = const { Cell::new(0) };
}

pub fn asked(ask: impl FnOnce()) -> u32 {
    ASKED.set(0);
    ask();
    ASKED.get()
}

fn default() -> Set {
    Set::embedded().unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn whole_tables_can_be_forbidden() {
    let set = with(
        "@id(\"whole\") @reason(\"r\") forbid (principal, \
         action in [Action::\"read\", Action::\"export\"], resource is Table) \
         when { !context.bounded };",
    );
    let agent = Asker::new(ActorKind::Agent, None);
    for (text, told) in [
        ("select * from customers where id = 1", "allow"),
        ("select * from customers limit 10", "allow"),
        ("update customers set name = 'x' where id = 1", "allow"),
        ("select * from customers", "refuse whole"),
        ("select string_agg(name, ',') from customers limit 1", "refuse whole"),
        ("copy customers to stdout", "refuse whole"),
        ("insert into copied select * from customers", "refuse whole"),
        // Nobody knows of what it is.
        ("fetch all from c", "allow"),
    ] {
        assert_eq!(agent.told(&set, text), told, "{text}");
    }
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

#[test]
fn who_asks_for_a_role_that_nobody_knows_has_no_answer() {
    let set = Set::parse(&[source(
        "@id(\"read\") permit (principal, action == Action::\"read\", resource);
         @id(\"boss\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource)
         when { context.role == \"boss\" };
         @id(\"owner\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource)
         unless { context.role == \"app\" };
         @id(\"add\") permit (principal, action == Action::\"insert\", resource)
         when { context.role == \"app\" };",
    )])
    .unwrap();
    let mut asker = Asker::new(ActorKind::Terminal, None);
    let mut told = |role: Role, text: &str| {
        asker.scene = Scene::new(Target { role, ..asker.scene.target().clone() });
        asker.told(&set, text)
    };
    assert_eq!(told("app".into(), "select 1 from a"), "allow");
    assert_eq!(told("app".into(), "insert into a values (1)"), "allow");
    assert_eq!(told("boss".into(), "select 1 from a"), "refuse boss owner");
    let unknown = || Role::MayBe(vec!["app".into()]);
    assert_eq!(told(unknown(), "select 1 from a"), "refuse unknown role: boss unknown role: owner");
    assert_eq!(told(unknown(), "insert into a values (1)"), "refuse unknown role: add");
    let words = asker.ask(&set, "select 1 from a").ruling().words();
    assert!(words.message.ends_with("a policy asks for the session's role, which isn't known"));
    assert!(words.detail.is_some_and(|detail| detail.starts_with("policy boss (own.cedar:")));
}

/// What the engine is asked holds to the schema: the policies were checked against it.
#[test]
fn every_question_conforms_to_the_schema() {
    use std::str::FromStr;

    use cedar_policy::{Entities, Request, Schema};

    use super::{Things, for_each};
    use crate::policy::asks::Asks;
    use crate::policy::context::{bounded, common, of_statement};
    use crate::policy::scene::uid;
    use crate::policy::testing::facts;
    use crate::policy::vocabulary::{Action, FactSet, schema};

    let schema = Schema::from_str(&schema()).unwrap();
    let asker = Asker::new(ActorKind::Agent, None);
    let every = FactSet::ALL;
    let mut count = 0;
    for text in [
        "select f(a) from t, s.u where t.x = 1; drop view v cascade; drop schema s",
        "create materialized view m as select * from m; create role r; create temp table t (a int)",
        "set role a; do $$begin null; end$$; grant select on t to bob; copy t to stdout",
        "delete from t; update t set a = 1 where id <> 1; selec",
        "create function f() returns int language sql as 'delete from t'; drop index s.i",
    ] {
        let facts = facts(text);
        for_each(&asker.question(&facts), |about| {
            let asks = Asks::of(about.statement, None, about.scene, about.catalog);
            let mut things = Things::new(about.scene);
            for ask in asks.all {
                let uid = things.add(&ask.thing);
                let context = bounded(of_statement(&about, every), ask.bound, every).unwrap();
                let action = super::uid("Action", Action::Does(ask.effect).as_str());
                let principal = asker.subject.uid().clone();
                Request::new(principal, action, uid, context, Some(&schema)).unwrap();
                count += 1;
            }
            let all = asker.subject.entities().iter().chain(about.scene.entities()).cloned();
            Entities::from_entities(all.chain(things.entities), Some(&schema)).unwrap();
        });
    }
    assert!(count > 20, "{count}");
    let context =
        cedar_policy::Context::from_pairs(common(&asker.scene, &asker.circumstances, every));
    let connect = uid("Action", "connect");
    let database = asker.scene.database().clone();
    let principal = asker.subject.uid().clone();
    Request::new(principal, connect, database, context.unwrap(), Some(&schema)).unwrap();
    // The actions in the store are those of the schema.
    let all: Vec<_> = Action::all().collect();
    let store = super::store(&asker.subject, &asker.scene, &all, Vec::new()).unwrap();
    for action in schema.action_entities().unwrap().iter() {
        let groups = |entities: &Entities| -> Option<std::collections::BTreeSet<String>> {
            let ancestors = entities.ancestors(&action.uid())?;
            Some(ancestors.map(ToString::to_string).collect())
        };
        let expected = Entities::from_entities([action.clone()], Some(&schema)).unwrap();
        if store.get(&action.uid()).is_some() {
            assert_eq!(groups(&store), groups(&expected), "{}", action.uid());
        }
    }
}

#[test]
fn a_connection_can_be_refused() {
    let set = with(
        r#"@id("no-agents") @reason("not on this server") forbid (principal in Kind::"agent",
           action == Action::"connect", resource in Server::"db.example:5432");"#,
    );
    let told = |kind| {
        let asker = Asker::new(kind, None);
        set.connect(&asker.subject, &asker.scene, &asker.circumstances)
    };
    assert!(told(ActorKind::Terminal).allows());
    let refused = told(ActorKind::Agent);
    assert_eq!(refused.policies()[0].id.as_ref(), "no-agents");
    assert_eq!(
        refused.words().message,
        "tidegate: connect on the database is refused: not on this server"
    );
}

/// A SELECT of so many tables.
/// A table `city` with `id`, `city` and `email`; what the last holds is masked.
struct Cities;

impl Catalog for Cities {
    fn generation(&self) -> u64 {
        1
    }

    fn schema_of(&self, _: &str) -> Option<Box<str>> {
        Some("public".into())
    }

    fn has_column(&self, _: Option<&str>, _: &str, column: &str) -> Option<bool> {
        Some(["id", "city", "email"].contains(&column))
    }

    fn is_sensitive(&self, _: Option<&str>, _: &str, column: &str) -> Option<bool> {
        Some(column == "email")
    }

    fn has_sensitive(&self, _: Option<&str>, _: &str) -> Option<bool> {
        Some(true)
    }

    fn is_sensitive_at(&self, _: Option<&str>, _: &str, place: u32) -> Option<bool> {
        Some(place == 2)
    }

    fn is_scanned(&self, _: Option<&str>, _: &str, _: Option<&str>) -> bool {
        false
    }
}

#[test]
fn a_name_or_a_place_picks_by_a_row_only_where_no_column_is_meant() {
    let asker = Asker::new(ActorKind::Agent, None);
    for (text, verdict) in [
        ("select id from city where city = 'x'", "allow"),
        ("select id from city c where c::text like '%x%'", "hold"),
        ("select id from city order by city.*", "hold"),
        ("select * from city order by 2 limit 1", "allow"),
        ("select * from city order by 3 limit 1", "hold"),
        ("select count(*) from city as c (a, b) where b = 'x'", "allow"),
        ("select count(*) from city as c (a, b, d) where d = 'x'", "hold"),
    ] {
        let facts = facts(text);
        let question = Question { catalog: &Cities, ..asker.question(&facts) };
        let told = default().decide(&question, Stance::Enforced);
        assert_eq!(told.as_str(), verdict, "{text}");
    }
}

fn tables(count: usize) -> String {
    let mut text = String::from("select 1 from t0");
    for number in 1..count {
        let _ = write!(text, ", t{number}");
    }
    text
}

#[test]
fn tables_that_no_policy_tells_apart_are_asked_about_once() {
    let asker = Asker::new(ActorKind::Agent, None);
    let requests = |set: &Set, text: &str| asked(|| drop(asker.ask(set, text)));
    let set = default();
    for count in [1, 2, 50, 500] {
        assert_eq!(requests(&set, &tables(count)), 1, "{count} tables");
    }
    // By action, bound and kind: what policies may tell apart.
    let text = format!("{}; delete from a; delete from b; delete from c where d = 1", tables(9));
    assert_eq!(requests(&set, &text), 4, "each statement by itself");
    let text = "with a as (delete from b), c as (delete from d), e as (insert into f values (1)), \
                g as (insert into h values (2)) select 1 from i, j, k";
    assert_eq!(requests(&set, text), 3);
    // Each, where a policy names one; no more than there are, however often they occur.
    let named = with(
        r#"@id("a") @reason("b") forbid (principal, action == Action::"read", resource is Table)
           when { resource.name == "t7" };"#,
    );
    // A name without a schema may be the server's own, too.
    assert_eq!(requests(&named, &tables(50)), 2 * 50);
    let often = format!("select 1 from {}", vec!["public.t0"; 50].join(" a, "));
    assert_eq!(requests(&named, &often), 1);
    assert_eq!(asker.told(&named, &tables(50)), "refuse a");
}

#[test]
fn however_much_a_text_does_there_is_an_end_to_what_is_asked() {
    let asker = Asker::new(ActorKind::Agent, None);
    let named = with(
        r#"@id("a") @reason("b") forbid (principal, action == Action::"read", resource is Table)
           when { resource.name == "nobody" };"#,
    );
    let requests = asked(|| assert_eq!(asker.told(&named, &tables(1_024)), "allow"));
    assert_eq!(requests, 2_048);
    let requests = asked(|| assert_eq!(asker.told(&named, &tables(1_025)), "refuse TooMuch"));
    assert_eq!(requests, 0);
    // Of all statements of a text together.
    let several = |count: usize| -> String {
        (0..count).map(|n| format!("select 1 from a{n},b{n},c{n},d{n},e{n},f{n};")).collect()
    };
    assert_eq!(asker.told(&named, &several(341)), "allow");
    let requests = asked(|| assert_eq!(asker.told(&named, &several(350)), "refuse TooMuch"));
    assert_eq!(requests, 342 * 12);
}
