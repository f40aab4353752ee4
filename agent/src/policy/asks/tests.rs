use super::{Ask, Asks, MOST};
use crate::policy::catalog::{Catalog, NoCatalog};
use crate::policy::testing::{facts, target};
use crate::policy::{Scene, Set, Target};
use crate::sql::{Bound, Facts};

fn asked_in(text: &str, prepared: Option<&Facts>, scene: &Scene, catalog: &dyn Catalog) -> String {
    let facts = facts(text);
    let mut all = Vec::new();
    for statement in facts.running() {
        for ask in Asks::of(statement, prepared, scene, catalog).all {
            let one = worded(&ask);
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all.join(", ")
}

fn worded(ask: &Ask) -> String {
    let bound = match ask.bound {
        Bound::NotApplicable => "",
        Bound::Bounded => " some",
        Bound::Weak => " most",
        Bound::Unbounded => " all",
    };
    format!("{} {}{bound}", ask.effect, ask.thing)
}

/// In a session whose path is `public` only.
fn asked(text: &str) -> String {
    let mut target = target(None);
    target.search_path = Some("public".into());
    asked_in(text, None, &Scene::new(target), &NoCatalog)
}

#[test]
fn each_effect_is_asked_for_on_what_it_touches() {
    for (text, expected) in [
        ("select 1", "read the database"),
        ("select * from a, s.b", "read `a` all, read `s.b` all"),
        ("insert into a select * from b", "insert `a`, read `b` all"),
        ("insert into a values (1) on conflict (x) do update set y = 1", "insert `a`, update `a`"),
        ("update a set x = 1 where id = 1", "update `a` some"),
        ("update a set x = (select max(x) from b)", "update `a` all, read `b` all"),
        ("delete from a where id <> 1", "delete `a` most"),
        (
            "with d as (delete from a returning *) update b set x = 1 where id = 1",
            "delete `a` all, update `b` some",
        ),
        (
            "with d as (delete from a returning *) select * from d",
            "delete `a` all, read the database",
        ),
        (
            "with d as (delete from a where id = 1 returning *) delete from a",
            "delete `a` some, delete `a` all, ",
        ),
        (
            "merge into a using b on a.id = b.id when matched then delete",
            "delete `a` some, read `b`",
        ),
        ("truncate a, b", "truncate `a`, truncate `b`"),
        ("copy a to stdout", "read `a` all, export `a` all"),
        ("copy a from stdin", "insert `a`, import `a`"),
        ("create table a (x int)", "create `a`"),
        ("create table a as select * from b", "read `b` all, create `a`"),
        ("alter table a drop column x", "alter `a`, drop `a`"),
        ("drop schema hr", "drop schema `hr`"),
        ("drop function s.f(int)", "drop function `s.f`"),
        ("drop database shop", "drop the database"),
        ("drop database other", "drop database `other`"),
        ("grant select on a to bob", "grant `a`"),
        ("select f(x), s.g() from a", "read `a` all, execute function `f`, execute function `s.g`"),
        ("select lo_put(1, 0, 'x')", "update the database, read the database"),
        ("select lo_unlink(1)", "delete `pg_catalog.pg_largeobject`, read the database"),
        ("select lo_unlink(oid) from a", "delete `pg_catalog.pg_largeobject` all, read `a` all"),
        ("select pg_terminate_backend(1)", "administer the database, read the database"),
        ("select pg_read_file('x')", "read the database, unsafe_io the database"),
        ("commit", ""),
        ("prepare p as delete from a", "delete `a` all"),
        ("explain analyze delete from a", "delete `a` all"),
        ("explain delete from a", "read `a`"),
    ] {
        let found = asked(text);
        assert!(found.starts_with(expected.trim_end_matches(", ")), "{text}\n    {found}");
    }
}

#[test]
fn what_is_read_is_asked_about_with_how_much_of_it() {
    for (text, expected) in [
        ("select * from a where id = 1", "read `a` some"),
        ("select * from a where id <> 1", "read `a` most"),
        ("select * from a limit 10", "read `a` some"),
        ("copy (select * from a where id = 1) to stdout", "export `a` some"),
        ("prepare p as select * from a", "read `a` all"),
        ("explain analyze select * from a", "read `a` all"),
        ("explain select * from a", "read `a`"),
        ("declare c cursor for select * from a where id = 1", "read `a` some"),
        ("create materialized view v as select * from a", "read `a` all"),
        // Whoever reads the view is asked.
        ("create view v as select * from a", "read `a`"),
        // These have a bound of their own.
        ("update a set x = 1 from b where a.id = b.id and a.id = 7", "read `b`"),
        ("delete from a using b where a.id = b.id", "read `b`"),
    ] {
        let facts = facts(text);
        let mut target = target(None);
        target.search_path = Some("public".into());
        let scene = Scene::new(target);
        let mut found = Vec::new();
        for statement in &facts.statements {
            for ask in Asks::of(statement, None, &scene, &NoCatalog).all {
                found.push(worded(&ask));
            }
        }
        assert!(found.iter().any(|one| one == expected), "{text}: {found:?}");
    }
    // One bound for all that a statement reads: no more is asked than there are tables.
    let joined = "select * from a join b using (id) where a.x = 7 and b.y in (select id from c)";
    let asked = asked(joined);
    assert_eq!(asked, "read `a` some, read `b` some, read `c` some");
}

#[test]
fn a_name_that_may_mean_several_is_asked_for_as_each() {
    let scene = Scene::new(target(None));
    let all = Asks::of(&facts("table pg_a").statements[0], None, &scene, &NoCatalog).all;
    assert_eq!(all.len(), 3, "pg_catalog, the role's own, public: {all:?}");

    struct Knows;
    impl Catalog for Knows {
        fn generation(&self) -> u64 {
            1
        }
        fn schema_of(&self, _: &str) -> Option<Box<str>> {
            Some("hr".into())
        }
        fn has_column(&self, _: Option<&str>, _: &str, column: &str) -> Option<bool> {
            Some(!["f", "ctid"].contains(&column))
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
    }
    assert_eq!(asked_in("table a", None, &scene, &Knows), "read `hr.a` all");
    // `a.f` is `f(a)` where `a` has no column `f`.
    assert_eq!(
        asked_in("select a.f, a.x from a", None, &scene, &Knows),
        "read `hr.a` all, execute function `f`"
    );
    assert!(!asked_in("select a.f from a", None, &scene, &NoCatalog).contains("execute"));
    // A bare name never is, nor is what every table has.
    for text in ["select f from a", "select a.ctid from a", "delete from a where f = 1"] {
        assert!(!asked_in(text, None, &scene, &Knows).contains("execute"), "{text}");
    }
    assert!(asked_in("delete from a where a.f = 1", None, &scene, &Knows).contains("execute"));
    // Of a temporary table of one's own nobody has learnt the columns.
    let own = Scene::new(Target { temporary: vec!["a".into()], ..target(None) });
    assert_eq!(asked_in("select a.f from a", None, &own, &Knows), "read `pg_temp.a` all");
}

#[test]
fn what_a_prepared_statement_holds_counts_for_its_execution() {
    let scene = Scene::new(target(None));
    let held = facts("delete from s.a");
    let asked = |text: &str| asked_in(text, Some(&held), &scene, &NoCatalog);
    assert_eq!(asked("execute p(1)"), "delete `s.a` all");
    assert_eq!(
        asked("execute p(f())"),
        "execute function `f`, execute the database, unknown the database, delete `s.a` all"
    );
    assert!(asked_in("execute p", None, &scene, &NoCatalog).contains("unknown the database"));
    // Only what executes takes them.
    assert_eq!(asked("deallocate p"), "");
    let names: Vec<_> = Set::executes(&facts("execute a; deallocate b; explain execute c"))
        .filter_map(|one| one.handle.clone())
        .collect();
    assert_eq!(names, ["a".into(), "c".into()] as [Box<str>; 2]);
}

#[test]
fn what_a_cursor_holds_counts_each_time_rows_are_fetched() {
    let scene = Scene::new(target(None));
    let held = facts("delete from s.b; declare c cursor for select f(x) from s.a");
    let asked = |text: &str| asked_in(text, Some(&held), &scene, &NoCatalog);
    for text in ["fetch c", "move 5 in c"] {
        // What stood beside it in its text has run.
        assert_eq!(asked(text), "read `s.a` all, execute function `f`", "{text}");
        assert_eq!(asked_in(text, None, &scene, &NoCatalog), "read the database", "{text}");
    }
    assert_eq!(asked("close c"), "");
    // A portal that the protocol bound may write as it is read.
    let bound = facts("delete from s.a where id = 1 returning *");
    let found = asked_in("fetch all from p", Some(&bound), &scene, &NoCatalog);
    assert!(found.starts_with("delete `s.a` some"), "{found}");
}

#[test]
fn there_is_an_end_to_asking() {
    let tables: Vec<_> = (0..MOST + 1).map(|number| format!("s.t{number}")).collect();
    let text = format!("truncate {}", tables.join(","));
    let cell = crate::sql::Cell::start(crate::sql::cell::Settings::default()).unwrap();
    let facts = cell.read(text.as_bytes(), &crate::sql::LexingState::default());
    let scene = Scene::new(target(None));
    let asks = Asks::of(&facts.statements[0], None, &scene, &NoCatalog);
    assert!(asks.too_many);
}
