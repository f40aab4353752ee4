use super::*;

fn identity(destination: &str, database: &str) -> Identity {
    Identity {
        destination: destination.into(),
        certificate: None,
        system: "7".into(),
        database: database.into(),
    }
}

fn word(server: Option<&str>, class: Option<&str>) -> ColumnWord {
    ColumnWord {
        server: server.map(str::to_owned),
        schema: "public".into(),
        table: "t".into(),
        column: "code".into(),
        class: class.map(str::to_owned),
        ..ColumnWord::default()
    }
}

fn learn(known: &Known) {
    use crate::mask::learn::{Learner, Question};
    let mut learner = Learner::default();
    let row = ["20000", "public", "t", "r", "1", "code", "25", "-1", ""];
    learner.row(Question::Columns, row.map(|value| Some(value.as_bytes())));
    known.update(|catalog| learner.finish(catalog));
}

fn class(known: &Known) -> Option<String> {
    known.catalog().column(20_000, 1).unwrap().class.map(|(class, _)| class.to_string())
}

#[test]
fn what_operators_say_holds_for_what_is_learnt_before_and_after() {
    let catalogs = Catalogs::default();
    let before = catalogs.of(identity("db", "app"));
    learn(&before);
    before.end(before.begin(), Duration::ZERO);
    assert!(!before.is_due(true));
    let version = before.version();
    catalogs.correct(2, &[word(Some("db"), Some("phone"))]);
    assert_eq!(class(&before).as_deref(), Some("phone"));
    // Sessions take it up, and functions are read again.
    assert!(before.version() > version && before.is_due(true));
    let after = catalogs.of(identity("db", "other"));
    learn(&after);
    assert_eq!(class(&after).as_deref(), Some("phone"));
    let elsewhere = catalogs.of(identity("else", "app"));
    learn(&elsewhere);
    assert_eq!(class(&elsewhere), None);
}

#[test]
fn a_worker_that_is_late_takes_nothing_back() {
    let catalogs = Catalogs::default();
    let known = catalogs.of(identity("db", "app"));
    learn(&known);
    catalogs.correct(3, &[word(None, Some("phone"))]);
    let version = known.version();
    catalogs.correct(3, &[word(None, Some("phone"))]);
    catalogs.correct(2, &[]);
    assert_eq!(known.version(), version);
    assert_eq!(class(&known).as_deref(), Some("phone"));
    catalogs.correct(4, &[]);
    assert_eq!(class(&known), None);
}

#[test]
fn nobody_is_masked_by_what_another_is_only_learning() {
    let known = Known::default();
    assert!(known.is_due(true) && known.is_due(false));
    let one = known.begin();
    // In shadow nothing depends on it.
    assert!(known.is_due(true) && !known.is_due(false));
    known.end(one, Duration::from_millis(400));
    assert!(!known.is_due(true) && !known.is_due(false));
    assert_eq!(known.patience(), Duration::from_secs(8));
    known.note_change();
    assert!(known.is_due(true));
    known.begin();
    assert!(!known.is_due(true));
    known.fail();
    assert!(known.is_due(true));
}
