use super::*;
use crate::mask::lineage::tests::catalog;
use crate::sql::{Cell, LexingState};

#[test]
fn what_fills_a_table_is_carried_over() {
    let all = |text: &str| {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        carried(&facts, &catalog())
    };
    let opaque = Class::Opaque;
    type Named = (&'static str, Class);
    let cases: &[(&str, &[Named], Option<Class>)] = &[
        ("create table copy as select email from customers", &[("email", Class::Email)], None),
        ("create table copy as select email as x, id from customers", &[("x", Class::Email)], None),
        ("create table copy (y) as select email from customers", &[("y", Class::Email)], None),
        ("create table copy as select reverse(email) as x from customers", &[("x", opaque)], None),
        ("create table copy as select * from customers", &[("email", Class::Email)], None),
        ("select email into copy from customers", &[("email", Class::Email)], None),
        ("create view copy as select email as z from customers", &[("z", Class::Email)], None),
        ("insert into copy (a, b) select id, email from customers", &[("b", Class::Email)], None),
        // Which column is its second isn't known.
        ("insert into copy select id, email from customers", &[], Some(Class::Email)),
        ("update copy set k = (select email from customers limit 1)", &[("k", Class::Email)], None),
        ("insert into orders select id, id, email from customers", &[], Some(Class::Email)),
    ];
    for (text, named, others) in cases {
        let carried = all(text);
        let [carried] = carried.as_slice() else { panic!("{text}: {carried:?}") };
        let found: Vec<(&str, Class)> =
            carried.named.iter().map(|(name, class)| (&**name, *class)).collect();
        if text.contains("orders") {
            assert_eq!(found, [("state", Class::Email)], "{text}");
            continue;
        }
        assert_eq!((found.as_slice(), carried.others), (*named, *others), "{text}");
    }
    assert_eq!(all("create table copy as select id from customers"), []);
    assert_eq!(all("insert into copy values (1, 'x')"), []);
}

#[test]
fn what_needs_to_be_kept_is_told_from_what_doesnt() {
    for (text, passing) in [
        ("create table copy as select email from customers", false),
        ("create materialized view copy as select email from customers", false),
        ("insert into copy select email from customers", false),
        ("create view copy as select email from customers", true),
        ("create temp table copy as select email from customers", true),
        ("select email into temp copy from customers", true),
        ("insert into pg_temp.copy select email from customers", true),
    ] {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        let carried = carried(&facts, &catalog());
        let found: Vec<bool> = carried.iter().map(|one| one.passing).collect();
        assert_eq!(found, [passing], "{text}");
    }
}
