use std::sync::Arc;

use super::*;
use crate::mask::Catalog;
use crate::mask::catalog::{Column, Function, Relation};

const TEXT: u32 = 25;

fn relation(oid: u32, name: &str, columns: &[&str]) -> Relation {
    let columns = columns.iter().zip(1..).map(|(name, number)| Column {
        number,
        name: (*name).into(),
        type_oid: TEXT,
        modifier: -1,
        comment: None,
        class: None,
    });
    Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: 'r',
        columns: columns.collect(),
        definition: None,
        parents: Vec::new(),
    }
}

fn word(place: &str, class: Option<&str>) -> ColumnWord {
    let mut names = place.split('.').map(str::to_owned);
    let mut name = || names.next().unwrap();
    ColumnWord {
        server: None,
        database: None,
        schema: name(),
        table: name(),
        column: name(),
        class: class.map(str::to_owned),
    }
}

fn corrections(generation: u32, words: &[(&str, Option<&str>)]) -> Arc<Corrections> {
    let words: Vec<ColumnWord> = words.iter().map(|(place, class)| word(place, *class)).collect();
    Arc::new(Corrections::of(generation, &words, None, "app").unwrap())
}

fn class(catalog: &Catalog, relation: u32, number: u16) -> Option<(Class, Evidence)> {
    catalog.column(relation, number).unwrap().class
}

const BY_POLICY: Option<(Class, Evidence)> = Some((Class::Phone, Evidence::Policy));
const BY_NAME: Option<(Class, Evidence)> = Some((Class::Email, Evidence::Name));

#[test]
fn a_word_holds_on_what_is_known_and_on_what_comes_and_can_be_taken_back() {
    let mut catalog = Catalog::default();
    catalog.learn(relation(1, "t", &["code", "email"]));
    let said = corrections(1, &[("public.t.code", Some("phone")), ("public.t.email", None)]);
    assert!(catalog.correct(&said));
    assert!(!catalog.correct(&said));
    assert_eq!(class(&catalog, 1, 1), BY_POLICY);
    assert_eq!(class(&catalog, 1, 2), None);
    assert!(catalog.is_exempt(1, 2) && !catalog.is_exempt(1, 1));
    // Learnt anew, and another of the name.
    catalog.learn(relation(1, "t", &["code", "email"]));
    catalog.learn(relation(2, "t", &["email", "code"]));
    for (oid, code, email) in [(1, 1, 2), (2, 2, 1)] {
        assert_eq!(class(&catalog, oid, code), BY_POLICY);
        assert!(catalog.is_exempt(oid, email));
        assert_eq!(catalog.found(oid, email), BY_NAME);
    }
    // What is found meanwhile lies behind the word.
    catalog.classify(1, 1, Class::Iban, Evidence::Content);
    assert_eq!(class(&catalog, 1, 1), BY_POLICY);
    assert!(catalog.correct(&corrections(2, &[])));
    assert_eq!(class(&catalog, 1, 1), Some((Class::Iban, Evidence::Content)));
    assert_eq!(class(&catalog, 1, 2), BY_NAME);
    assert!(!catalog.is_exempt(1, 2));
}

#[test]
fn older_words_change_nothing() {
    let mut catalog = Catalog::default();
    catalog.learn(relation(1, "t", &["code"]));
    assert!(catalog.correct(&corrections(5, &[("public.t.code", Some("phone"))])));
    assert!(!catalog.correct(&corrections(4, &[])));
    assert_eq!(class(&catalog, 1, 1), BY_POLICY);
}

#[test]
fn a_class_stays_under_another_name_and_an_exemption_does_not() {
    let mut catalog = Catalog::default();
    catalog.correct(&corrections(1, &[("public.t.code", Some("phone")), ("public.t.email", None)]));
    catalog.learn(relation(1, "t", &["code", "email"]));
    catalog.learn(relation(1, "renamed", &["kode", "email"]));
    assert_eq!(class(&catalog, 1, 1), BY_POLICY);
    assert_eq!(class(&catalog, 1, 2), BY_NAME);
    // Also when something else is said meanwhile; not once it is taken back.
    catalog.correct(&corrections(2, &[("public.t.code", Some("phone"))]));
    assert_eq!(class(&catalog, 1, 1), BY_POLICY);
    catalog.correct(&corrections(3, &[]));
    assert_eq!(class(&catalog, 1, 1), None);
}

#[test]
fn a_part_has_the_word_of_its_whole() {
    let mut catalog = Catalog::default();
    let part = |oid: u32, name: &str, parent: u32| Relation {
        parents: vec![parent],
        ..relation(oid, name, &["code", "email"])
    };
    // Parts may have lower numbers than their whole.
    catalog.learn(relation(9, "t", &["code", "email"]));
    catalog.learn(part(5, "t_2024", 9));
    catalog.learn(part(2, "t_2024_05", 5));
    catalog.correct(&corrections(1, &[("public.t.code", Some("phone")), ("public.t.email", None)]));
    for oid in [9, 5, 2] {
        assert_eq!(class(&catalog, oid, 1), BY_POLICY, "{oid}");
        assert!(catalog.is_exempt(oid, 2), "{oid}");
    }
    // Its own word comes first.
    let said = [("public.t.code", Some("phone")), ("public.t_2024_05.code", Some("iban"))];
    catalog.correct(&corrections(2, &said));
    assert_eq!(class(&catalog, 2, 1), Some((Class::Iban, Evidence::Policy)));
    assert_eq!(class(&catalog, 5, 1), BY_POLICY);
    assert_eq!(class(&catalog, 2, 2), BY_NAME);
}

#[test]
fn views_follow_what_they_are_made_of() {
    let mut catalog = Catalog::default();
    catalog.learn(relation(1, "t", &["code"]));
    let view = Relation {
        definition: Some("SELECT t.code AS note FROM public.t".into()),
        kind: 'v',
        ..relation(2, "v", &["note"])
    };
    catalog.learn(view);
    catalog.correct(&corrections(1, &[("public.t.code", Some("phone"))]));
    assert_eq!(class(&catalog, 2, 1), Some((Class::Phone, Evidence::Lineage)));
    catalog.correct(&corrections(2, &[]));
    assert_eq!(class(&catalog, 2, 1), None);
}

#[test]
fn until_they_are_learnt_again_functions_may_read_what_is_sensitive_now() {
    let mut catalog = Catalog::default();
    let function = Function { schema: "public".into(), tells: false, writes: [].into() };
    catalog.set_functions([("f".into(), vec![function])].into());
    catalog.correct(&corrections(1, &[("public.t.email", None)]));
    assert!(!catalog.tells(None, "f", true));
    catalog.correct(&corrections(2, &[]));
    assert!(catalog.tells(None, "f", true));
}

#[test]
fn where_nothing_could_be_learnt_a_class_holds_by_the_names_of_the_statement() {
    let mut catalog = Catalog::default();
    catalog.correct(&corrections(1, &[("public.t.code", Some("phone")), ("public.t.x", None)]));
    let sources = |sql: &str| {
        let facts = crate::sql::Cell::quick(sql.as_bytes(), &Default::default()).unwrap();
        let traced = crate::mask::lineage::trace(&facts.statements[0], &catalog).unwrap();
        traced[0].sources.iter().map(|one| one.class).collect::<Vec<_>>()
    };
    assert_eq!(sources("SELECT code FROM public.t"), [Class::Phone]);
    assert_eq!(sources("SELECT lower(a.code) FROM t AS a"), [Class::Phone]);
    assert_eq!(sources("SELECT code FROM other.t"), []);
    assert_eq!(sources("SELECT x FROM t"), []);
}

#[test]
fn who_says_more_about_where_is_heard() {
    let at = |server: Option<&str>, database: Option<&str>, class: &str| ColumnWord {
        server: server.map(str::to_owned),
        database: database.map(str::to_owned),
        ..word("public.t.code", Some(class))
    };
    let words = [
        at(Some("db"), Some("app"), "phone"),
        at(None, Some("app"), "email"),
        at(Some("db"), None, "iban"),
        at(None, None, "npi"),
    ];
    let of = |server: Option<&str>, database: &str| {
        let made = Corrections::of(1, &words, server, database).unwrap();
        made.on(&["public", "t", "code"].map(Box::from)).unwrap().unwrap()
    };
    assert_eq!(of(Some("db"), "app"), Class::Phone);
    assert_eq!(of(Some("db"), "other"), Class::Iban);
    assert_eq!(of(Some("else"), "app"), Class::Email);
    assert_eq!(of(None, "other"), Class::Npi);
    assert!(Corrections::of(1, &[word("a.b.c", Some("emial"))], None, "app").is_err());
}
