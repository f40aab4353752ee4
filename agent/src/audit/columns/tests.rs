use super::*;
use crate::audit::log::tests::{Keeper, Scratch};
use crate::audit::{Log, Subjects};
use crate::mask::catalog::Column;
use crate::model::LogTerms;
use crate::sql::{Alike, Cell, LexingState, Strings};
use serde_json::{Value, json};

fn relation(oid: u32, schema: &str, name: &str, columns: &[&str]) -> Relation {
    let column = |(name, number): (&&str, u16)| Column {
        number,
        name: (*name).into(),
        type_oid: 25,
        modifier: -1,
        comment: None,
        class: None,
    };
    Relation {
        oid,
        schema: schema.into(),
        name: name.into(),
        kind: 'r',
        columns: columns.iter().zip(1..).map(column).collect(),
        definition: None,
        parents: Vec::new(),
    }
}

struct Known {
    log: Log,
    subjects: Subjects,
    alike: Alike,
    _scratch: Scratch,
}

impl Known {
    fn new() -> Self {
        let scratch = Scratch::new();
        let log = Log::open(&scratch.0, &Keeper::new().welcome(LogTerms::default())).unwrap();
        Self { log, subjects: Subjects::default(), alike: Alike::default(), _scratch: scratch }
    }

    fn resolved(&self, text: &str, catalog: &Catalog) -> Option<Arc<Subject>> {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        let facts = self.alike.of(facts);
        let subject = self.subjects.of(&self.log, text, Strings::Standard, &facts);
        self.subjects.knowing(&subject, &facts, catalog)
    }

    fn touched(&self, text: &str, catalog: &Catalog) -> Value {
        let subject = self.resolved(text, catalog).unwrap();
        serde_json::from_str::<Value>(&subject.json).unwrap()["touched"].take()
    }
}

#[test]
fn a_star_is_the_columns_that_the_catalog_knows() {
    let known = Known::new();
    let mut catalog = Catalog::default();
    let text = "SELECT *, o.id FROM customers, orders o";
    assert!(known.resolved(text, &catalog).is_none());
    catalog.learn(relation(20_001, "public", "customers", &["id", "email"]));
    let touched = known.touched(text, &catalog);
    let column = |name: &str| {
        let all = touched.as_array().unwrap().iter();
        all.filter(|one| one["column"] == name).cloned().collect::<Vec<_>>()
    };
    let [email] = &column("email")[..] else { panic!("{touched}") };
    assert_eq!((&email["table"], &email["class"]), (&json!("public.customers"), &json!("email")));
    assert_eq!(column("id").len(), 2);
    // Of the other nothing is known.
    assert_eq!(column("*").iter().map(|one| &one["table"]).collect::<Vec<_>>(), ["orders"]);
    // A text that names its columns says it all.
    assert!(known.resolved("SELECT email FROM customers", &catalog).is_none());
}

#[test]
fn a_bare_name_is_each_table_of_it_and_each_database_has_its_own() {
    let known = Known::new();
    let (mut one, mut other) = (Catalog::default(), Catalog::default());
    one.learn(relation(20_001, "public", "t", &["a"]));
    one.learn(relation(20_002, "app", "t", &["b"]));
    other.learn(relation(20_001, "public", "t", &["c"]));
    let columns = |text: &str, catalog: &Catalog| {
        let touched = known.touched(text, catalog);
        let mut all: Vec<String> = touched
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| {
                Some(format!("{}.{}", one["table"].as_str()?, one["column"].as_str()?))
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(columns("SELECT * FROM t", &one), ["app.t.b", "public.t.a"]);
    assert_eq!(columns("SELECT * FROM app.t", &one), ["app.t.b"]);
    assert_eq!(columns("SELECT * FROM t", &other), ["public.t.c"]);
    // Made once, until a table is another.
    let ask = |catalog: &Catalog| known.resolved("SELECT * FROM t", catalog).unwrap();
    assert!(Arc::ptr_eq(&ask(&other), &ask(&other)));
    let before = ask(&other);
    other.learn(relation(20_001, "public", "t", &["c", "d"]));
    assert!(!Arc::ptr_eq(&before, &ask(&other)));
    assert_eq!(columns("SELECT * FROM t", &other), ["public.t.c", "public.t.d"]);
}

#[test]
fn wide_tables_are_cut_and_a_record_still_fits() {
    let known = Known::new();
    let mut catalog = Catalog::default();
    let names: Vec<String> = (0..1_600).map(|number| format!("{number:>063}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    catalog.learn(relation(20_001, &"s".repeat(63), &"t".repeat(63), &names));
    let text = format!("SELECT * FROM {}", "t".repeat(63));
    let subject = known.resolved(&text, &catalog).unwrap();
    assert!(subject.json.len() < crate::audit::frame::LONGEST / 2);
}
