use super::*;
use crate::mask::class::Class;
use crate::mask::postgres::form::Form;
use crate::mask::postgres::plan::Unrevealed;

fn tell(learner: &mut Learner, question: Question, rows: &[&[Option<&str>]]) {
    for row in rows {
        learner.row(question, row.iter().map(|value| value.map(str::as_bytes)));
    }
}

#[test]
fn answers_become_a_catalog() {
    let mut learner = Learner::default();
    let some = |words: [&'static str; 9]| words.map(Some);
    tell(
        &mut learner,
        Question::Types,
        &[
            &some(["16400", "public", "mood", "e", "E", "0", "0", "-1", "0"]),
            &some(["16401", "public", "_mood", "b", "A", "16400", "0", "-1", "0"]),
            &some(["16402", "public", "email_address", "d", "S", "0", "25", "-1", "0"]),
            &some(["16403", "public", "customers", "c", "C", "0", "0", "-1", "16500"]),
        ],
    );
    tell(
        &mut learner,
        Question::Columns,
        &[
            &some(["16500", "public", "customers", "r", "1", "id", "23", "-1", ""]),
            &some(["16500", "public", "customers", "r", "2", "email", "25", "-1", ""]),
            &some(["16500", "public", "customers", "r", "4", "c4", "16402", "-1", ""]),
            &[Some("broken")],
        ],
    );
    tell(
        &mut learner,
        Question::Columns,
        &[&[
            Some("16501"),
            Some("public"),
            Some("part"),
            Some("r"),
            Some("1"),
            Some("email"),
            Some("25"),
            Some("-1"),
            None,
        ]],
    );
    tell(&mut learner, Question::Parents, &[&[Some("16501"), Some("16500")]]);
    assert_eq!(learner.unread(), 1);
    let mut catalog = Catalog::default();
    learner.finish(&mut catalog);
    let class = |relation, number| catalog.column(relation, number).unwrap().class.map(|c| c.0);
    assert_eq!(class(16500, 1), None);
    assert_eq!(class(16500, 2), Some(Class::Email));
    assert_eq!(class(16500, 4), Some(Class::Email), "by its domain's name");
    assert_eq!(class(16501, 1), Some(Class::Email));
    assert_eq!(catalog.named(None, "customers").map(|one| one.oid).collect::<Vec<_>>(), [16500]);
    assert_eq!(catalog.form(16400, -1, &Unrevealed), Form::Enum);
    assert!(matches!(catalog.form(16401, -1, &Unrevealed), Form::Array(_)));
    assert!(matches!(catalog.form(16402, -1, &Unrevealed), Form::Text { .. }));
    assert!(matches!(catalog.form(16403, -1, &Unrevealed), Form::Composite(_)));
}

/// The questions must themselves be pure reads of the server's own.
#[test]
fn questions_name_everything_with_its_schema() {
    use crate::sql::{Cell, LexingState};
    for question in Question::ALL {
        let text = question.sql();
        let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
        assert!(facts.understood(), "{text}");
        let settings: Vec<_> = facts.session().map(|one| &*one.setting).collect();
        assert!(settings.iter().all(|one| *one == "lock_timeout"), "{text}: {settings:?}");
        assert!(facts.effects().is_pure_read(), "{text}: {:?}", facts.effects());
        for statement in facts.running() {
            for object in &statement.objects {
                assert_eq!(object.schema.as_deref(), Some("pg_catalog"), "{object:?}");
            }
            for call in &statement.calls {
                assert_eq!(call.schema.as_deref(), Some("pg_catalog"), "{call:?}");
            }
            for one in &statement.meets {
                assert!(one.qualified, "{one:?}");
            }
        }
    }
}

fn one_table(learner: &mut Learner, name: &'static str) {
    let row = ["16500", "public", name, "v", "1", "mail", "25", "-1"].map(Some);
    learner.row(Question::Columns, row.map(|value| value.map(str::as_bytes)));
}

/// A view whose table somebody is changing: its definition can't be read now.
#[test]
fn what_is_not_answered_stays_as_it_was() {
    let mut catalog = Catalog::default();
    let mut learner = Learner::default();
    one_table(&mut learner, "seen");
    let view = [Some("16500"), Some("SELECT 1 AS mail")];
    learner.row(Question::Views, view.map(|value| value.map(str::as_bytes)));
    assert!(learner.is_whole());
    learner.finish(&mut catalog);

    let mut learner = Learner::default();
    one_table(&mut learner, "renamed");
    learner.fail(Question::Views);
    assert!(!learner.is_whole());
    learner.finish(&mut catalog);
    let known = catalog.relation(16_500).unwrap();
    assert_eq!((&*known.name, known.definition.is_some()), ("renamed", true));

    // And where the tables aren't, they are those that are known.
    let mut learner = Learner::default();
    learner.fail(Question::Columns);
    learner.finish(&mut catalog);
    assert_eq!(&*catalog.relation(16_500).unwrap().name, "renamed");
}
