use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn database(name: &str) -> DatabaseName {
    DatabaseName { destination: "db:5432".into(), system: "7".into(), database: name.into() }
}

fn filled(relation: &str, columns: &[(&str, &str)]) -> Filled {
    let columns = columns.iter().map(|(name, class)| ((*name).into(), (*class).into())).collect();
    Filled { schema: None, relation: relation.into(), columns, ..Filled::default() }
}

fn tell(book: &mut Book, at: u64, filled: Filled) -> Taken {
    book.take(&database("app"), Learnt::Filled(filled), Timestamp(at)).unwrap()
}

fn parsed(text: &str) -> Found {
    file::parse(text.as_bytes()).unwrap()
}

#[test]
fn what_is_told_twice_is_kept_once_and_more_is_added() {
    let mut book = Book::default();
    let first = filled("t2", &[("a", "person_name")]);
    let new = tell(&mut book, 1_000, first.clone()).new;
    assert_eq!(new, Some(Learnt::Filled(first.clone())));
    let bytes = book.bytes;
    assert_eq!(tell(&mut book, 2_000, first), Taken::default());
    assert_eq!((book.tables(), book.bytes), (1, bytes));
    let both = filled("t2", &[("a", "person_name"), ("b", "email")]);
    let new = tell(&mut book, 3_000, filled("t2", &[("b", "email")])).new;
    assert_eq!(new, Some(Learnt::Filled(both)));
    // Two classes for one column: nobody knows which.
    let new = tell(&mut book, 4_000, filled("t2", &[("a", "phone")])).new;
    let opaque = filled("t2", &[("a", "opaque"), ("b", "email")]);
    assert_eq!(new, Some(Learnt::Filled(opaque.clone())));
    assert_eq!(tell(&mut book, 5_000, filled("t2", &[("a", "person_name")])).new, None);
    assert_eq!(book.of(&database("app")), [Learnt::Filled(opaque)]);
    assert_eq!(book.of(&database("other")), []);
    // By guess it is another thing, and so is a table of a schema.
    let guess = Filled { guessed: true, ..filled("t2", &[("a", "opaque")]) };
    let there = Filled { schema: Some("s".into()), ..filled("t2", &[("a", "email")]) };
    assert!(tell(&mut book, 6_000, guess).new.is_some());
    assert!(tell(&mut book, 6_000, there).new.is_some());
    assert_eq!(book.tables(), 3);
}

#[test]
fn only_what_is_well_formed_is_taken() {
    let mut book = Book::default();
    let long = "x".repeat(257);
    let many: Vec<(String, String)> = (0..65).map(|n| (format!("c{n}"), "email".into())).collect();
    let cases = [
        filled("", &[("a", "email")]),
        filled(&long, &[("a", "email")]),
        filled("t", &[]),
        filled("t", &[("", "email")]),
        filled("t", &[("a\0", "email")]),
        filled("t", &[("a", "")]),
        filled("t", &[("a", "Xandra Canarybird")]),
        Filled { schema: Some(long.clone()), ..filled("t", &[("a", "email")]) },
        Filled { others: Some("\n".into()), ..filled("t", &[]) },
        Filled { columns: many, ..filled("t", &[]) },
    ];
    for case in cases {
        let taken = book.take(&database("app"), Learnt::Filled(case.clone()), Timestamp(1));
        assert!(taken.is_err(), "{case:?}");
    }
    let good = || Learnt::Filled(filled("t", &[("a", "email")]));
    assert!(book.take(&database(&long), good(), Timestamp(1)).is_err());
    let names = |count: usize| Learnt::There(vec!["t".into(); count]);
    assert!(book.take(&database("app"), names(65), Timestamp(1)).is_err());
    assert!(book.is_empty());
    book.take(&database("app"), names(64), Timestamp(1)).unwrap();
    assert!(book.is_empty());
    book.take(&database("app"), good(), Timestamp(1)).unwrap();
    assert!(!book.is_empty());
}

#[test]
fn columns_that_are_too_many_are_one_class_for_the_whole_table() {
    let mut book = Book::default();
    for number in 0..=MOST_COLUMNS {
        tell(&mut book, 1, filled("wide", &[(&format!("c{number}"), "email")]));
    }
    let whole = Filled { others: Some("email".into()), ..filled("wide", &[]) };
    assert_eq!(book.of(&database("app")), [Learnt::Filled(whole)]);
    for number in 0..=MOST_COLUMNS {
        tell(&mut book, 1, filled("wide", &[(&format!("d{number}"), "phone")]));
    }
    let whole = Filled { others: Some("opaque".into()), ..filled("wide", &[]) };
    assert_eq!(book.of(&database("app")), [Learnt::Filled(whole)]);
    // Of classes that differ too.
    let known: Vec<_> = book.databases[&database("app")].tables.values().collect();
    assert_eq!(known.len(), 1);
}

#[test]
fn where_there_is_no_room_those_go_that_nobody_has_seen() {
    let bounds = Bounds { databases: 2, tables: 8, bytes: 1 << 20, all_bytes: 1 << 20 };
    let mut book = Book::within(bounds);
    for number in 0..8_u64 {
        let name = format!("t{number}");
        assert_eq!(tell(&mut book, 10 + number, filled(&name, &[("a", "email")])).forgotten, 0);
    }
    // The oldest of all, but it is there.
    book.take(&database("app"), Learnt::There(vec!["t0".into()]), Timestamp(50)).unwrap();
    let taken = tell(&mut book, 60, filled("t8", &[("a", "email")]));
    assert!(taken.new.is_some());
    assert_eq!(taken.forgotten, 3);
    let left: Vec<String> = book
        .of(&database("app"))
        .into_iter()
        .filter_map(|one| match one {
            Learnt::Filled(filled) => Some(filled.relation),
            _ => None,
        })
        .collect();
    assert_eq!(left, ["t0", "t4", "t5", "t6", "t7", "t8"]);
    // A database more than there is room for.
    let another = |book: &mut Book, name: &str, at: u64| {
        let one = Learnt::Filled(filled("x", &[("a", "email")]));
        book.take(&database(name), one, Timestamp(at)).unwrap().forgotten
    };
    assert_eq!(another(&mut book, "b", 5), 0);
    assert_eq!(another(&mut book, "c", 70), 1);
    assert!(book.of(&database("b")).is_empty());
    assert_eq!(book.of(&database("app")).len(), 6);
}

#[test]
fn bytes_are_bounded_and_wide_tables_are_folded_first() {
    let bounds = Bounds { databases: 9, tables: 900, bytes: 20_000, all_bytes: 30_000 };
    let mut book = Book::within(bounds);
    let wide: Vec<(String, String)> =
        (0..60).map(|number| (format!("column_{number}"), "email".into())).collect();
    for number in 0..200 {
        for name in ["app", "b", "c"] {
            let one = Filled { columns: wide.clone(), ..filled(&format!("t{number}"), &[]) };
            let forgotten =
                book.take(&database(name), Learnt::Filled(one), Timestamp(number)).unwrap();
            assert!(number > 20 || forgotten.forgotten == 0, "{number}: {forgotten:?}");
            assert!(book.bytes <= bounds.all_bytes, "{} bytes", book.bytes);
        }
    }
    let counted: usize = book.databases.values().map(|one| one.bytes).sum();
    let real: usize = book
        .databases
        .values()
        .flat_map(|one| one.tables.iter().map(|(key, table)| size(key, table)))
        .sum();
    assert_eq!((book.bytes, counted), (real, real));
    // Folded, not forgotten: whatever column it is.
    let all = book.of(&database("c"));
    let whole = |one: &&Learnt| matches!(one, Learnt::Filled(one) if one.others.is_some());
    assert!(all.iter().filter(whole).count() > 50, "{all:?}");
}

#[test]
fn what_is_written_is_read_again() {
    let mut book = Book::default();
    let mut lines = String::new();
    let told = [
        Learnt::Filled(filled("t2", &[("a", "person_name"), ("b", "opaque")])),
        Learnt::Filled(Filled {
            schema: Some("odd \"one\"\n".into()),
            others: Some("email".into()),
            guessed: true,
            ..filled("T.2", &[])
        }),
        Learnt::Notifications,
        Learnt::LargeObjects,
        Learnt::Filled(filled("t2", &[("c", "phone")])),
    ];
    for (learnt, at) in told.into_iter().zip(1..) {
        let database = database("app");
        // Times are kept to the microsecond.
        let new = book.take(&database, learnt, Timestamp(at * 1_000)).unwrap().new.unwrap();
        let line = book.line(&database, &new);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        lines += &line;
    }
    let found = parsed(&lines);
    assert_eq!((&found.book, found.damage.len()), (&book, 0));
    // Two lines are about the same table.
    assert!(found.stale);
    book.take(&database("app"), Learnt::There(vec!["t2".into()]), Timestamp(9_000)).unwrap();
    let text = book.text();
    assert_eq!(text.lines().count(), book.lines());
    let found = parsed(&text);
    assert_eq!((&found.book, found.damage.len(), found.stale), (&book, 0, false));
    let first = r#"{"v":1,"destination":"db:5432","system":"7","database":"app","notifications":true,"large_objects":true}"#;
    assert_eq!(text.lines().next(), Some(first));
    let third = r#"{"v":1,"destination":"db:5432","system":"7","database":"app","filled":{"schema":null,"table":"t2","columns":[["a","person_name"],["b","opaque"],["c","phone"]],"told":"1970-01-01T00:00:00.000005Z","there":"1970-01-01T00:00:00.000009Z"}}"#;
    assert_eq!(text.lines().nth(1), Some(third));
}

#[test]
fn a_damaged_line_is_told_and_the_others_are_read() {
    let mut book = Book::default();
    for name in ["one", "two", "three"] {
        tell(&mut book, 1_000, filled(name, &[("a", "email")]));
    }
    let text = book.text();
    let lines: Vec<&str> = text.lines().collect();
    let newer = lines[1].replace("\"v\":1", "\"v\":2");
    let bad = lines[1].replace("email", "E mail");
    let torn = &lines[2][..lines[2].len() / 2];
    let damaged = format!("{}\nnonsense\n\u{0}\n{newer}\n{bad}\n{}\n{torn}", lines[0], lines[2]);
    let found = parsed(&damaged);
    let told: Vec<&str> = found.damage.iter().map(|one| &one[..7]).collect();
    assert_eq!(told, ["line 2:", "line 3:", "line 4:", "line 5:", "line 7:"]);
    assert!(found.damage[2].contains("version 2") && found.damage[4].contains("to its end"));
    assert!(found.stale);
    assert_eq!(found.book.tables(), 2);
    let found = parsed(&"x\n".repeat(40));
    assert_eq!(found.damage.len(), 6);
    assert_eq!(found.damage[5], "35 more lines");
}

#[test]
fn the_file_is_roots_alone_and_whole_or_not_there() {
    let folder = std::env::temp_dir().join(format!("tidegate-filled-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let path = folder.join("state/filled.jsonl");
    let found = read(&path).unwrap();
    assert!(found.book.is_empty() && !found.stale);
    let mut book = Book::default();
    tell(&mut book, 1_000, filled("t2", &[("a", "email")]));
    replace(&path, &book.text()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    tell(&mut book, 1_000, filled("t3", &[("a", "email")]));
    let line = book.line(&database("app"), &Learnt::Filled(filled("t3", &[])));
    append(&path, &line).unwrap();
    let found = read(&path).unwrap();
    assert_eq!((&found.book, found.damage.len(), found.stale), (&book, 0, false));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let found = read(&path).unwrap();
    assert!(found.stale && found.damage[0].contains("others could write it"));
    assert!(read(&folder).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_forgotten_on_demand_is_gone() {
    let mut book = Book::default();
    tell(&mut book, 1, filled("t2", &[("a", "email")]));
    tell(&mut book, 1, Filled { schema: Some("s".into()), ..filled("t2", &[("a", "email")]) });
    tell(&mut book, 1, filled("t3", &[("a", "email")]));
    assert_eq!(book.forget("public", "t2", |name| name.database == "other"), 0);
    assert_eq!(book.forget("public", "t2", |_| true), 1);
    assert_eq!(book.tables(), 2);
    assert_eq!(book.forget("s", "t2", |_| true), 1);
    assert_eq!(book.forget("public", "t3", |_| true), 1);
    assert!(book.is_empty() && book.bytes == 0);
}
