use super::*;
use crate::audit::redact::tokens;
use crate::sql::Strings;

/// Of each parameter and number, what stands beside it.
fn beside_each(sql: &str) -> Vec<String> {
    let tokens = tokens(sql, Strings::Standard);
    let told = |beside: &Beside<'_>| {
        let table = beside.table.map(|(schema, table)| match schema {
            Some(schema) => format!("{schema}.{table}:"),
            None => format!("{table}:"),
        });
        let column = match beside.column {
            Which::Named(name) => name.to_owned(),
            Which::Nth(place) => place.to_string(),
        };
        format!("{}{column}", table.unwrap_or_default())
    };
    let columns = columns(&tokens);
    let values = tokens.iter().zip(&columns).filter(|(token, _)| is_value(token));
    values.map(|(_, all)| all.iter().map(told).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn what_is_inserted_stands_beside_its_column_named_or_not() {
    for (sql, expected) in [
        (
            "INSERT INTO c VALUES ($1, $2), ($3, f(1, $4))",
            &["c:0", "c:1", "c:0", "* c:1", "* c:1"][..],
        ),
        (
            "INSERT INTO s.c AS x (a, \"B\", arr[1]) VALUES ($1, $2, $3)",
            &["arr", "s.c:a", "s.c:\"B\"", "s.c:arr"],
        ),
        ("INSERT INTO c (a, b) SELECT $1, $2 FROM d WHERE e = $3", &["* c:a", "* c:b", "e"]),
        ("INSERT INTO c (SELECT $1, $2)", &["* c:0", "* c:1"]),
        ("INSERT INTO c WITH w AS (SELECT $1) SELECT 2, $2", &["* c:0", "* c:0", "* c:1"]),
        ("INSERT INTO c DEFAULT VALUES RETURNING 1", &["*"]),
        ("INSERT INTO c (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = $2", &["c:a", "b"]),
        (
            "MERGE INTO c USING d ON d.id = $1 WHEN NOT MATCHED THEN INSERT (a, b) VALUES (d.id, $2)",
            &["id", "c:b"],
        ),
        ("INSERT INTO c VALUES ($1); SELECT a FROM b WHERE d = $2", &["c:0", "d"]),
        ("WITH w AS (INSERT INTO c VALUES ($1) RETURNING id) SELECT 2 FROM w", &["c:0", "*"]),
    ] {
        let found = beside_each(sql);
        assert_eq!(found.len(), expected.len(), "{sql}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            // `*`: words that are nobody's column may stand there too.
            let fits = match expected.strip_prefix('*') {
                Some(end) => found.ends_with(end.trim()),
                None => found == expected,
            };
            assert!(fits, "{sql}: `{found}` isn't `{expected}`");
        }
    }
}

#[test]
fn what_is_compared_or_set_stands_beside_its_column() {
    for (sql, column) in [
        ("SELECT 'a' FROM t WHERE note = $1", "note"),
        ("SELECT 'a' FROM t WHERE t.note >= lower($1)", "note"),
        ("SELECT 'a' FROM t WHERE note = coalesce(nullif($1, 'x'), 'y')", "note"),
        ("SELECT 'a' FROM t WHERE $1 = t.note", "note"),
        ("SELECT 'a' FROM t WHERE $1::text = lower(note)", "note"),
        ("SELECT 'a' FROM t WHERE note = ANY (ARRAY[$1])", "note"),
        ("SELECT 'a' FROM t WHERE (id, note) = (1, $1)", "note"),
        ("SELECT 'a' FROM t WHERE lower(note) LIKE '%' || $1", "note"),
        ("UPDATE t SET (id, note) = ROW(1, $1)", "note"),
        ("UPDATE t SET id = 1, note = $1", "note"),
        ("UPDATE t SET id = 1, note = f($1, 2) WHERE id = 2", "note"),
    ] {
        let tokens = tokens(sql, Strings::Standard);
        let place = tokens.iter().position(|one| one.text == "$1").unwrap();
        let found = &columns(&tokens)[place];
        assert!(found.contains(&named(column)), "{sql}: {found:?}");
    }
    // What nothing stands beside, and what is beside another.
    for sql in [
        "SELECT note FROM t LIMIT $1",
        "SELECT note FROM t WHERE note IS NULL AND (id = $1)",
        "SELECT note FROM t WHERE note > 'a' AND pg_sleep($1) IS NULL",
    ] {
        let tokens = tokens(sql, Strings::Standard);
        let place = tokens.iter().position(|one| one.text == "$1").unwrap();
        let found = &columns(&tokens)[place];
        assert!(!found.contains(&named("note")), "{sql}: {found:?}");
    }
}

#[test]
fn no_text_breaks_it() {
    for sql in [
        "INSERT",
        "INSERT INTO",
        "INSERT INTO t (",
        "INSERT INTO t (a",
        "INSERT INTO t VALUES",
        "VALUES ($1",
        ") $1",
        "MERGE INTO",
        "MERGE INTO t WHEN NOT MATCHED THEN INSERT",
        "$1 ::",
        "$1 = f(",
        "$1 = .",
        "(((($1))))",
        "INSERT INTO t ) SELECT ) $1",
    ] {
        let _ = beside_each(sql);
    }
}
