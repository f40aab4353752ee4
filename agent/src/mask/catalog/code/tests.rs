use super::Runs;
use crate::mask::Catalog;
use crate::mask::catalog::{Column, Relation, Type, TypeSort};
use crate::model::code::Kind;

fn runs(kind: Kind, name: &str, known: bool, oid: u32) -> Runs {
    Runs { kind, schema: "public".into(), name: name.into(), known, oid }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let sorts = [
        ("checked", TypeSort::Domain { of: 23, modifier: -1 }),
        ("_checked", TypeSort::Array { of: 20_000 }),
        ("over", TypeSort::Domain { of: 20_001, modifier: -1 }),
        ("row", TypeSort::Composite { relation: 30_000 }),
        ("plain", TypeSort::Domain { of: 23, modifier: -1 }),
        ("mood", TypeSort::Enum),
        ("vector", TypeSort::Base),
        ("near", TypeSort::Domain { of: 20_006, modifier: -1 }),
    ];
    for ((name, sort), oid) in sorts.into_iter().zip(20_000..) {
        catalog.learn_type(Type { oid, schema: "public".into(), name: name.into(), sort });
    }
    let column = |number, type_oid| Column {
        number,
        name: "x".into(),
        type_oid,
        modifier: -1,
        comment: None,
        class: None,
    };
    catalog.learn(Relation {
        oid: 30_000,
        schema: "public".into(),
        name: "row".into(),
        kind: 'c',
        columns: vec![column(1, 23), column(2, 20_002)],
        definition: None,
        parents: Vec::new(),
    });
    catalog
}

#[test]
fn a_type_runs_what_the_types_in_it_run() {
    let mut catalog = catalog();
    catalog.set_code(&[
        runs(Kind::Type, "checked", false, 20_000),
        runs(Kind::Type, "vector", true, 20_006),
        // A cast to the server's own.
        Runs { schema: "pg_catalog".into(), ..runs(Kind::Type, "int4", false, 23) },
    ]);
    let known = |name: &str| {
        let all = catalog.code().named(Kind::Type, name);
        all.iter().map(|one| (one.schema.as_deref().unwrap(), one.known)).collect::<Vec<_>>()
    };
    for name in ["checked", "_checked", "over", "row"] {
        assert_eq!(known(name), [("public", false)], "{name}");
    }
    for name in ["vector", "near"] {
        assert_eq!(known(name), [("public", true)], "{name}");
    }
    assert_eq!(known("int4"), [("pg_catalog", false)]);
    assert_eq!(known("mood"), []);
    assert_eq!(catalog.running(20_002), Some(("public", "over")));
    assert_eq!((catalog.running(20_006), catalog.running(23)), (None, None));
}

#[test]
fn a_table_is_told_by_what_its_columns_are_converted_by() {
    let mut catalog = catalog();
    catalog.set_code(&[runs(Kind::Row, "", false, 20_000)]);
    let code = catalog.code();
    assert_eq!(code.named(Kind::Row, "row").len(), 1);
    assert!(code.named(Kind::Row, "checked").is_empty(), "no table");
    assert!(code.named(Kind::Type, "row").is_empty(), "a cast to it runs nothing");
}

#[test]
fn plain_domains_and_enums_run_nothing() {
    let mut catalog = catalog();
    let before = catalog.generation();
    catalog.set_code(&[]);
    assert_eq!(catalog.generation(), before);
    for name in ["checked", "plain", "mood", "row"] {
        assert!(catalog.code().named(Kind::Type, name).is_empty(), "{name}");
    }
}

#[test]
fn only_names_of_the_servers_are_kept_and_a_new_one_is_news() {
    let mut catalog = catalog();
    let mut all = vec![
        runs(Kind::Function, "lower", false, 0),
        runs(Kind::Function, "away", false, 0),
        runs(Kind::Operator, "+", false, 0),
        runs(Kind::Operator, "<~~~>", false, 0),
    ];
    let before = catalog.generation();
    catalog.set_code(&all);
    let named = |catalog: &Catalog, kind, name: &str| catalog.code().named(kind, name).len();
    assert_eq!(named(&catalog, Kind::Function, "lower"), 1);
    assert_eq!(named(&catalog, Kind::Function, "away"), 0);
    assert_eq!(named(&catalog, Kind::Operator, "+"), 1);
    assert_eq!(named(&catalog, Kind::Operator, "<~~~>"), 0);
    assert_eq!(catalog.generation(), before + 1);
    catalog.set_code(&all);
    assert_eq!(catalog.generation(), before + 1);
    all.push(Runs { schema: "app".into(), ..runs(Kind::Function, "lower", false, 0) });
    catalog.set_code(&all);
    assert_eq!(catalog.generation(), before + 2);
    // A server tells it in whichever order.
    all.reverse();
    catalog.set_code(&all);
    assert_eq!(catalog.generation(), before + 2);
}
