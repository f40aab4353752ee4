use std::cell::RefCell;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use crate::audit::index::{Born, Index};
use crate::audit::log::tests::Scratch;
use crate::audit::search::Query;
use crate::audit::store::Folder;

thread_local! {
    /// How SQLite goes about each choice.
    static PLANS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn note_plan<'v>(
    database: &Connection,
    sql: &str,
    values: impl Iterator<Item = &'v Sql>,
) -> rusqlite::Result<()> {
    let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let mut steps = plan.query(params_from_iter(values))?;
    while let Some(step) = steps.next()? {
        PLANS.with_borrow_mut(|plans| plans.push(step.get(3).unwrap()));
    }
    Ok(())
}

/// A host of short-lived processes has millions of rows in each of these tables.
#[test]
fn no_choice_goes_through_a_whole_table() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.0.join("segments")).unwrap();
    let index = Index::open(&Folder::new(&scratch.0)).unwrap();
    // Of a process that is nobody's ancestor nothing is looked for.
    index.database.execute("INSERT INTO ancestors VALUES (7, 9000000000, 1)", []).unwrap();
    let text = |words: &str| vec![words.to_owned()];
    let born = |one: &str| vec![one.parse::<Born>().unwrap()];
    let usual = || Query { limit: 10, ..Query::default() };
    for query in [
        Query { user: text("ann"), ..usual() },
        Query { exe: text("psql"), ..usual() },
        Query { unit: text("job"), ..usual() },
        Query { container: text("0f0e"), ..usual() },
        Query { pod: text("shop/web-1"), ..usual() },
        Query { agent: text("claude-code"), ..usual() },
        Query { command: text("manage.py import"), ..usual() },
        Query { user: text("ann"), pod: text("web-1"), command: text("import"), ..usual() },
        Query { database: text("shop"), user: text("ann"), ..usual() },
        Query { role: text("app"), exe: text("psql"), ..usual() },
        Query { process: born("7"), ..usual() },
        Query { process: born("7@9000000000@0f0e"), database: text("shop"), ..usual() },
        Query { tree: born("7"), ..usual() },
        Query { tree: born("7@9000000000"), user: text("ann"), ..usual() },
        Query { table: text("orders"), column: text("id"), ..usual() },
        Query { words: Some("orders".into()), trace: text("4bf9"), ..usual() },
        Query { words: Some("orders".into()), ..usual() },
        Query { class: text("email"), ..usual() },
    ] {
        index.search(&query).unwrap();
        let plan = PLANS.with_borrow_mut(std::mem::take);
        assert!(!plan.is_empty(), "{query:?}");
        // By its words is the way of one with words; and of places there are few.
        let whole = plan.iter().filter(|step| step.starts_with("SCAN") && *step != "SCAN places");
        let whole: Vec<_> = whole.filter(|step| !step.contains("VIRTUAL TABLE")).collect();
        assert!(whole.is_empty(), "{whole:?} of {plan:#?}: {query:?}");
    }
}
