use super::*;
use crate::mask::catalog::Column;
use crate::sql::{Cell, LexingState};

pub fn catalog() -> Catalog {
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
        ("select email::text from customers", vec![SAME]),
        // Cut here and there, the parts that stay come to the whole.
        ("select email::varchar(9) from customers", vec![MADE]),
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

/// `q.f` is `f(q)` where no table within `q` has a column of that name.
#[test]
fn a_function_of_a_querys_row_shows_its_row() {
    for (text, touched) in [
        ("select q.quote_literal from (select * from customers) q", true),
        ("select q.to_json from (select * from customers c join orders o on c.id = o.id) q", true),
        ("select q.lower from (select id as lower from customers) q", false),
        ("select q.count from (select id, count(*) over () from customers) q", false),
        ("select q.state from (select * from customers c join orders o on c.id = o.id) q", false),
        ("select q.unknown from (select * from customers) q", false),
    ] {
        let found: Vec<bool> = traced(text).unwrap().iter().map(|one| one.0).collect();
        assert_eq!(found, [touched], "{text}");
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
fn what_the_server_calls_its_own_things_is_nobodys_name() {
    let mut catalog = Catalog::default();
    let mut is_sensitive = |oid, schema: &str, type_oid| {
        let name = "collname".into();
        let column = Column { number: 1, name, type_oid, modifier: -1, comment: None, class: None };
        catalog.learn(Relation {
            oid,
            schema: schema.into(),
            name: "pg_collation".into(),
            kind: 'r',
            columns: vec![column],
            definition: None,
            parents: Vec::new(),
        });
        catalog.relation(oid).unwrap().columns[0].class.is_some()
    };
    assert!(!is_sensitive(3_456, "pg_catalog", 19));
    assert!(is_sensitive(3_457, "pg_catalog", 25));
    assert!(is_sensitive(16_500, "pg_catalog", 19));
    assert!(is_sensitive(16_501, "public", 19));
}
