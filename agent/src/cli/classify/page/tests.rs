use std::sync::Arc;

use super::*;
use crate::cli::tests::snapshot;
use crate::mask::Corrections;
use crate::mask::learn::{Learner, Question};
use crate::model::ColumnWord;

fn catalog() -> Catalog {
    let word = |column: &str, class: Option<&str>| ColumnWord {
        schema: "public".into(),
        table: "customers".into(),
        column: column.into(),
        class: class.map(str::to_owned),
        ..ColumnWord::default()
    };
    let words = [word("code", Some("phone")), word("phone", None)];
    let mut catalog = Catalog::default();
    catalog.correct(&Arc::new(Corrections::of(1, &words, None, "app").unwrap()));
    let mut learner = Learner::default();
    let mut column = |oid: &str, schema: &str, table: &str, number: &str, name: &str| {
        let row = [oid, schema, table, "r", number, name, "25", "-1", ""];
        learner.row(Question::Columns, row.map(|value| Some(value.as_bytes())));
    };
    column("20001", "public", "customers", "1", "id");
    column("20001", "public", "customers", "2", "email");
    column("20001", "public", "customers", "3", "code");
    column("20001", "public", "customers", "4", "phone");
    column("20002", "Sales", "or\u{1b}der", "1", "note");
    column("20002", "Sales", "or\u{1b}der", "2", "contactEmail");
    column("1260", "pg_catalog", "pg_authid", "1", "rolpassword");
    for (name, source) in [("mails", "SELECT email FROM customers"), ("one", "SELECT 1")] {
        let row = ["public", name, "sql", source];
        learner.row(Question::Functions, row.map(|value| Some(value.as_bytes())));
    }
    learner.finish(&mut catalog);
    catalog
}

fn text(filter: Option<&str>, all: bool) -> String {
    let catalog = catalog();
    let types: Types = [((20_001, 2), "character varying(80)".into())].into();
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    let mut out = Vec::new();
    let report = Report::of(&catalog, &types, filter.as_ref(), all);
    report.write(&mut out, Page { width: None, colour: false }).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn it_looks_like_this() {
    snapshot("classify", &text(None, false));
    snapshot("classify-all", &text(None, true));
}

#[test]
fn tables_are_chosen_by_name() {
    let columns = |filter: &str| text(Some(filter), true).lines().count().saturating_sub(1);
    assert_eq!(columns("customers"), 4);
    assert_eq!(columns("public.*"), 4);
    assert_eq!(columns("cust*s"), 4);
    assert_eq!(columns("public.cust"), 0);
    // The server's own only when they are asked for.
    assert_eq!(columns("pg_catalog.pg_*"), 1);
    for wrong in ["", "a.b.c", ".b", "a."] {
        assert!(Filter::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn stars_stand_for_any_signs() {
    for (pattern, text, fits) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*b*c", "aXbXc", true),
        ("a*b*c", "acb", false),
        ("ab*ba", "aba", false),
    ] {
        assert_eq!(like(pattern, text), fits, "{pattern} {text}");
    }
}
