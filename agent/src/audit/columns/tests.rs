use super::*;
use crate::audit::log::tests::{Keeper, Scratch};
use crate::audit::parameters::Place;
use crate::audit::{Log, Subjects};
use crate::mask::catalog::{Column, Relation};
use crate::mask::names::Evidence;
use crate::mask::{Class, Corrections};
use crate::model::{ColumnWord, LogTerms, TextKept};
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
        Self::keeping(TextKept::Redacted)
    }

    fn keeping(text: TextKept) -> Self {
        let scratch = Scratch::new();
        let terms = LogTerms { text, ..LogTerms::default() };
        let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
        Self { log, subjects: Subjects::default(), alike: Alike::default(), _scratch: scratch }
    }

    fn resolved(&self, text: &str, catalog: &Arc<Catalog>) -> Option<Arc<Subject>> {
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        let facts = self.alike.of(facts);
        let subject = self.subjects.of(&self.log, text, Strings::Standard, &facts);
        self.subjects.knowing(&subject, &facts, catalog)
    }

    fn touched(&self, text: &str, catalog: &Arc<Catalog>) -> Value {
        let subject = self.resolved(text, catalog).unwrap();
        serde_json::from_str::<Value>(&subject.json).unwrap()["touched"].take()
    }
}

#[test]
fn a_star_is_the_columns_that_the_catalog_knows() {
    let known = Known::new();
    let mut catalog = Arc::new(Catalog::default());
    let text = "SELECT *, o.id FROM customers, orders o";
    assert!(known.resolved(text, &catalog).is_none());
    Arc::make_mut(&mut catalog).learn(relation(20_001, "public", "customers", &["id", "email"]));
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
    // A text whose columns' names tell all that is known says it all.
    assert!(known.resolved("SELECT email FROM customers", &catalog).is_none());
}

#[test]
fn a_bare_name_is_each_table_of_it_and_each_database_has_its_own() {
    let known = Known::new();
    let (mut one, mut other) = (Arc::new(Catalog::default()), Arc::new(Catalog::default()));
    Arc::make_mut(&mut one).learn(relation(20_001, "public", "t", &["a"]));
    Arc::make_mut(&mut one).learn(relation(20_002, "app", "t", &["b"]));
    Arc::make_mut(&mut other).learn(relation(20_001, "public", "t", &["c"]));
    let columns = |text: &str, catalog: &Arc<Catalog>| {
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
    let ask = |catalog: &Arc<Catalog>| known.resolved("SELECT * FROM t", catalog).unwrap();
    assert!(Arc::ptr_eq(&ask(&other), &ask(&other)));
    let before = ask(&other);
    Arc::make_mut(&mut other).learn(relation(20_001, "public", "t", &["c", "d"]));
    assert!(!Arc::ptr_eq(&before, &ask(&other)));
    assert_eq!(columns("SELECT * FROM t", &other), ["public.t.c", "public.t.d"]);
}

#[test]
fn wide_tables_are_cut_and_a_record_still_fits() {
    let known = Known::new();
    let mut catalog = Arc::new(Catalog::default());
    let names: Vec<String> = (0..1_600).map(|number| format!("{number:>063}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Arc::make_mut(&mut catalog).learn(relation(20_001, &"s".repeat(63), &"t".repeat(63), &names));
    let text = format!("SELECT * FROM {}", "t".repeat(63));
    let subject = known.resolved(&text, &catalog).unwrap();
    assert!(subject.json.len() < crate::audit::frame::LONGEST / 2);
}

/// `customers (id, email, note, code)`: `note` by content, `code` by an operator's word.
fn customers() -> Arc<Catalog> {
    let mut catalog = Catalog::default();
    catalog.learn(relation(20_001, "public", "customers", &["id", "email", "note", "code"]));
    catalog.classify(20_001, 3, Class::Phone, Evidence::Content);
    let word = ColumnWord {
        schema: "public".into(),
        table: "customers".into(),
        column: "code".into(),
        class: Some("api_key".into()),
        ..ColumnWord::default()
    };
    catalog.correct(&Arc::new(Corrections::of(1, &[word], None, "app").unwrap()));
    Arc::new(catalog)
}

#[test]
fn classes_that_no_name_tells_are_told_of_what_is_touched() {
    let (known, catalog) = (Known::new(), customers());
    let class = |text: &str, column: &str| {
        let touched = known.touched(text, &catalog);
        let all = touched.as_array().unwrap();
        let found = all.iter().find(|one| one["column"] == column);
        found.and_then(|one| Some(one["class"].as_str()?.to_owned()))
    };
    for (text, column, expected) in [
        ("UPDATE customers SET note = $1 WHERE code = $2", "note", "phone"),
        ("UPDATE customers SET note = $1 WHERE code = $2", "code", "api_key"),
        ("SELECT id FROM customers WHERE public.customers.note = 'x'", "note", "phone"),
        ("INSERT INTO customers VALUES (1, 'a', 'b', 'c')", "note", "phone"),
        ("DELETE FROM customers WHERE code IS NULL", "code", "api_key"),
    ] {
        assert_eq!(class(text, column).as_deref(), Some(expected), "{text}");
    }
    // Another table's column of that name is nothing.
    assert!(known.resolved("SELECT note FROM orders WHERE code = 'x'", &catalog).is_none());
}

#[test]
fn parameters_are_of_the_class_that_the_catalog_knows() {
    for kept in [TextKept::Redacted, TextKept::Full, TextKept::Fingerprint] {
        let (known, catalog) = (Known::keeping(kept), customers());
        for (text, expected) in [
            ("UPDATE customers SET note = $1 WHERE code = $2 AND id = $3", "phone api_key plain"),
            ("INSERT INTO customers VALUES ($1, $2, $3, lower($4))", "plain email phone api_key"),
            ("INSERT INTO Public.\"customers\" (CODE, id) SELECT $1, $2", "api_key plain"),
            ("SELECT 1 FROM customers c WHERE $1::text = c.note LIMIT $2", "phone plain"),
            ("UPDATE customers SET note = $1, code = $1 WHERE id = $1", "phone"),
        ] {
            let subject = known.resolved(text, &catalog).unwrap();
            let places: Vec<&str> = (0..expected.split(' ').count())
                .map(|index| match subject.parameters.of(index) {
                    Place::Secret => "secret",
                    Place::Class(class) => class.as_str(),
                    Place::Plain => "plain",
                })
                .collect();
            assert_eq!(places.join(" "), expected, "{text}");
        }
    }
}

#[test]
fn literals_are_redacted_by_the_class_that_the_catalog_knows() {
    let (known, catalog) = (Known::keeping(TextKept::Full), customers());
    for (text, expected) in [
        (
            "UPDATE customers SET note = 'blue' WHERE code = 'seal' AND id = 7 -- why",
            "UPDATE customers SET note = [phone] WHERE code = [api_key] AND id = 7 -- why",
        ),
        (
            "INSERT INTO customers VALUES (1, 'a@b.example', 'blue', 'seal'), (2, 'x', 'y', $1)",
            "INSERT INTO customers VALUES (1, [email], [phone], [api_key]), (2, [email], [phone], $1)",
        ),
    ] {
        let subject = known.resolved(text, &catalog).unwrap();
        let kept: Value = serde_json::from_str(&subject.json).unwrap();
        assert_eq!(kept["text"], expected);
        assert!(kept.get("cut_of").is_none(), "{kept}");
    }
    // Longer than it was: it is cut as any other.
    let rows = vec!["(1, 'a', 2, 3)"; 1_000].join(", ");
    let text = format!("INSERT INTO customers VALUES {rows}");
    let subject = known.resolved(&text, &catalog).unwrap();
    let kept: Value = serde_json::from_str(&subject.json).unwrap();
    let long = kept["text"].as_str().unwrap();
    assert!(long.len() <= crate::audit::redact::LONGEST && !long.contains("'a'"), "{long}");
    assert_eq!(kept["cut_of"], text.len());
    assert!(known.resolved("SELECT 1 FROM customers WHERE id = 7", &catalog).is_none());
}

#[test]
fn what_an_operator_says_is_nothing_has_no_class_and_no_value_comes_back_for_it() {
    let known = Known::keeping(TextKept::Full);
    let mut catalog = Catalog::default();
    catalog.learn(relation(20_001, "public", "customers", &["id", "email"]));
    let word = ColumnWord {
        schema: "public".into(),
        table: "customers".into(),
        column: "email".into(),
        ..ColumnWord::default()
    };
    catalog.correct(&Arc::new(Corrections::of(1, &[word], None, "app").unwrap()));
    let subject = known
        .resolved("SELECT id FROM customers WHERE email = 'a@b.example'", &Arc::new(catalog))
        .unwrap();
    let kept: Value = serde_json::from_str(&subject.json).unwrap();
    assert!(kept["text"].as_str().unwrap().ends_with("email = [email]"), "{kept}");
    let touched = kept["touched"].as_array().unwrap();
    assert!(touched.iter().all(|one| one.get("class").is_none()), "{kept}");
}
