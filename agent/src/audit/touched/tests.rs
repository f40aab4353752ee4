use super::*;
use crate::mask::catalog::{Column, Relation};
use crate::policy::testing::facts;

#[test]
fn names_are_as_the_server_reads_them() {
    for (text, name) in [
        ("Note", "note"),
        ("note", "note"),
        ("\"Note\"", "Note"),
        ("\"a\"\"b\"", "a\"b"),
        ("\"", "\""),
    ] {
        assert_eq!(folded(text), name);
    }
    assert_eq!(folded(&"é".repeat(40)), "é".repeat(31));
}

#[test]
fn a_column_that_is_named_by_its_place_is_that_one() {
    let mut catalog = Catalog::default();
    let columns = [(1, "id"), (2, "email")].map(|(number, name)| Column {
        number,
        name: name.into(),
        type_oid: 25,
        modifier: -1,
        comment: None,
        class: None,
    });
    catalog.learn(Relation {
        oid: 16_500,
        schema: "public".into(),
        name: "c".into(),
        kind: 'r',
        columns: columns.into(),
        definition: None,
        parents: Vec::new(),
    });
    let picked = |text: &str| -> Vec<String> {
        let touched = touched_by(&facts(text), &catalog);
        let picked = touched.iter().filter(|one| one.uses.contains(&"filtered"));
        picked.filter_map(|one| one.column.as_deref().map(Into::into)).collect()
    };
    assert_eq!(picked("select * from c order by 2"), ["email"]);
    assert_eq!(picked("select count(*) from c as x (a, b) where a = '1'"), ["id"]);
    assert_eq!(picked("select id from c order by c.*"), ["id", "email"]);
}
