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

// ---- what is kept ---------------------------------------------------------------

fn filled(relation: &str, column: &str, class: crate::mask::Class) -> Carried {
    Carried {
        schema: None,
        relation: relation.into(),
        named: vec![(column.into(), class)],
        others: None,
        guessed: false,
        passing: false,
    }
}

/// Tells another enforcer, as the keeper does.
fn pass_on(from: &Catalogs, edition: u64, to: &Catalogs) -> usize {
    let news = from.take_news();
    let count = news.len();
    for ((database, learnt), edition) in news.into_iter().zip(edition..) {
        to.recall_one(edition, database, learnt);
    }
    count
}

#[test]
fn what_tables_were_filled_with_is_told_once_and_known_to_the_next() {
    use crate::mask::Class;
    let (before, after) = (Catalogs::default(), Catalogs::default());
    let known = before.of(identity("db", "app"));
    known.carry(filled("t", "code", Class::PersonName));
    known.carry(filled("t", "code", Class::PersonName));
    let temporary = Carried { passing: true, ..filled("tmp", "code", Class::PersonName) };
    known.carry(temporary.clone());
    assert!(known.catalog().knows(&temporary));
    known.spread_to(false, true);
    known.spread_to(false, true);
    // Known before it comes, and while it is known.
    let early = after.of(identity("db", "app"));
    learn(&early);
    assert_eq!(class(&early), None);
    assert_eq!(pass_on(&before, 2, &after), 2);
    let renewed = Identity { certificate: Some([7; 32]), ..identity("db", "app") };
    for known in [&early, &after.of(renewed)] {
        learn(known);
        assert_eq!(class(known).as_deref(), Some("person_name"));
        assert!(known.spread().large_objects.load(Ordering::Relaxed));
        assert!(!known.spread().notifications.load(Ordering::Relaxed));
    }
    // What it was told it does not tell again.
    early.carry(filled("t", "code", Class::PersonName));
    early.spread_to(false, true);
    assert_eq!(pass_on(&after, 2, &before), 0);
    for elsewhere in [identity("else", "app"), identity("db", "other")] {
        let known = after.of(elsewhere);
        learn(&known);
        assert_eq!(class(&known), None);
    }
    // What operators say is above it.
    let public = [word(None, None)];
    after.correct(4, &public);
    assert_eq!(class(&early), None);
    assert!(early.catalog().is_exempt(20_000, 1));
}

#[test]
fn a_worker_that_is_late_takes_back_nothing_that_is_kept() {
    use crate::mask::Class;
    let catalogs = Catalogs::default();
    let name = identity("db", "app").name();
    let told = |relation: &str| {
        Learnt::Filled(filled(relation, "code", Class::PersonName).told().unwrap())
    };
    catalogs.recall(5, vec![(name.clone(), vec![told("x")])]);
    catalogs.recall_one(6, name.clone(), told("t"));
    catalogs.recall(5, Vec::new());
    catalogs.recall_one(6, name, told("y"));
    let known = catalogs.of(identity("db", "app"));
    learn(&known);
    assert_eq!(class(&known).as_deref(), Some("person_name"));
    assert!(known.catalog().is_made(None, "x") && !known.catalog().is_made(None, "y"));
}

#[test]
fn what_is_called_otherwise_now_is_told_under_its_new_name() {
    use crate::mask::Class;
    use crate::mask::learn::{Learner, Question};
    let catalogs = Catalogs::default();
    let known = catalogs.of(identity("db", "app"));
    let called = |table: &str, columns: [&str; 2]| {
        let mut learner = Learner::default();
        for (number, column) in ["1", "2"].iter().zip(columns) {
            let row = ["20000", "public", table, "r", number, column, "25", "-1", ""];
            learner.row(Question::Columns, row.map(|value| Some(value.as_bytes())));
        }
        known.update(|catalog| learner.finish(catalog));
        let news = catalogs.take_news().into_iter().map(|(_, learnt)| match learnt {
            Learnt::Filled(filled) => (filled.relation, filled.columns),
            other => panic!("{other:?}"),
        });
        news.collect::<Vec<_>>()
    };
    known.carry(filled("t2", "a", Class::PersonName));
    assert_eq!(catalogs.take_news().len(), 1);
    assert_eq!(called("t2", ["a", "email"]), []);
    let class = |name: &str, class: &str| (name.to_owned(), class.to_owned());
    // What its name tells anybody isn't told.
    let moved = [("t3".to_owned(), vec![class("a", "person_name")])];
    assert_eq!(called("t3", ["a", "email"]), moved);
    let renamed = [("t3".to_owned(), vec![class("b", "person_name"), class("m", "email")])];
    assert_eq!(called("t3", ["b", "m"]), renamed);
    assert_eq!(called("t3", ["b", "m"]), []);
}

#[test]
fn filled_tables_that_are_there_are_told_of_once() {
    use crate::mask::Class;
    let catalogs = Catalogs::default();
    let known = catalogs.of(identity("db", "app"));
    learn(&known);
    known.carry(filled("t", "code", Class::PersonName));
    known.carry(filled("gone", "code", Class::PersonName));
    catalogs.take_news();
    known.end(known.begin(), Duration::ZERO);
    let there: Vec<_> = catalogs.take_news().into_iter().map(|(_, learnt)| learnt).collect();
    assert_eq!(there, [Learnt::There(vec!["t".into()])]);
    known.end(known.begin(), Duration::ZERO);
    assert!(catalogs.take_news().is_empty());
}

#[test]
fn what_is_told_is_of_a_form_that_the_keeper_takes() {
    use crate::mask::Class;
    let many = |count: usize, name: &str| Carried {
        named: (0..count).map(|n| (format!("{name}{n}").into(), Class::Email)).collect(),
        ..filled("t", "a", Class::Email)
    };
    let long = "x".repeat(300);
    for carried in [many(1, "a"), many(64, "a"), many(65, "a"), many(3, &long)] {
        let told = carried.told().unwrap();
        assert!(Learnt::Filled(told.clone()).is_well_formed(), "{told:?}");
        assert_eq!(told.columns.is_empty(), told.others.is_some());
        let back = Carried::from(&told);
        assert!(back == carried || back.others == Some(Class::Email), "{back:?}");
    }
    assert!(filled(&long, "a", Class::Email).told().is_none());
    // The longest is one that the channel carries.
    let name = "y".repeat(254);
    let widest = many(64, &name[..252]).told().unwrap();
    let database = DatabaseName {
        destination: "d".repeat(256),
        system: "s".repeat(256),
        database: "b".repeat(256),
    };
    let (keeper, theirs) =
        crate::channel::pair::<crate::channel::ToEnforcer, crate::channel::ToKeeper>().unwrap();
    let enforcer =
        crate::channel::Channel::<crate::channel::ToKeeper, crate::channel::ToEnforcer>::new(
            theirs,
        );
    let (database, learnt) = (Box::new(database), Box::new(Learnt::Filled(widest)));
    enforcer.send(&crate::channel::ToKeeper::Learnt { database, learnt }, &[]).unwrap();
    assert!(keeper.receive().is_ok());
    // A class that this version doesn't know.
    let mut newer = filled("t", "a", Class::Email).told().unwrap();
    newer.columns[0].1 = "shoe_size".into();
    assert_eq!(Carried::from(&newer).named[0].1, Class::Opaque);
    assert_eq!(Class::Opaque.as_str(), crate::model::OPAQUE);
}

#[test]
fn a_table_that_is_filled_in_many_ways_is_told_as_a_whole() {
    use crate::mask::Class;
    let catalogs = Catalogs::default();
    let known = catalogs.of(identity("db", "app"));
    for number in 0..100 {
        known.carry(filled("t", &format!("c{number}"), Class::PersonName));
    }
    let news = catalogs.take_news();
    assert_eq!(news.len(), 65);
    let Some((_, Learnt::Filled(last))) = news.last() else { panic!("{news:?}") };
    assert_eq!(last.others.as_deref(), Some("opaque"));
    learn(&known);
    assert_eq!(class(&known).as_deref(), Some("opaque"));
}
