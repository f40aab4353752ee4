//! Functions that somebody wrote: whether what they give may be sensitive,
//! whatever goes into them. Told by the words of their bodies.
//!
//! INVARIANT: a body that can't be read, or runs text of its own making, may give
//! anything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::catalog::{Catalog, Function, Relation};
use super::class::Class;
use super::filling::Carried;
use super::lineage;
use super::written;
use crate::sql::{Cell, LexingState};

/// One function, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub language: Box<str>,
    pub source: Box<str>,
}

/// What runs without being called by name: it names a function, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hidden {
    Trigger { relation: u32, function: Box<str> },
    EventTrigger { function: Box<str> },
    Cast { function: Box<str> },
}

/// Reads all bodies against what is sensitive in the catalog.
pub fn read(bodies: &[Body], hidden: &[Hidden], catalog: &mut Catalog) {
    let sensitive = sensitive_names(catalog);
    let mut words: Vec<Option<HashSet<Box<str>>>> = bodies.iter().map(words).collect();
    // A trigger's own table is in it without being named.
    let mut run_for: HashMap<&str, Vec<u32>> = HashMap::new();
    for one in hidden {
        if let Hidden::Trigger { relation, function } = one {
            run_for.entry(function).or_default().push(*relation);
        }
    }
    let of_trigger = |name: &str, catalog: &Catalog| -> Vec<Arc<Relation>> {
        let relations = run_for.get(name).into_iter().flatten();
        relations.filter_map(|oid| catalog.relation(*oid).cloned()).collect()
    };
    for (body, words) in bodies.iter().zip(&mut words) {
        if let Some(words) = words {
            words.extend(of_trigger(&body.name, catalog).into_iter().map(|one| one.name.clone()));
        }
    }
    let mut tells: Vec<bool> = bodies
        .iter()
        .zip(&words)
        .map(|(body, words)| match words {
            Some(words) if !words.iter().any(|word| sensitive.contains(word)) => false,
            Some(_) => gives(body, catalog).unwrap_or(true),
            None => true,
        })
        .collect();
    // Who calls one that tells, tells.
    for _ in 0..DEEPEST {
        let named: HashSet<&str> = bodies
            .iter()
            .zip(&tells)
            .filter(|(_, tells)| **tells)
            .map(|(body, _)| &*body.name)
            .collect();
        let mut changed = false;
        for (tell, words) in tells.iter_mut().zip(&words) {
            let calls = || words.iter().flatten().any(|word| named.contains(&**word));
            if !*tell && calls() {
                *tell = true;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let telling: HashSet<Box<str>> = bodies
        .iter()
        .zip(&tells)
        .filter(|(body, tells)| **tells && !body.name.is_empty())
        .map(|(body, _)| body.name.clone())
        .collect();
    let writes = writes(bodies, &words, catalog);
    let mut functions: HashMap<Box<str>, Vec<Function>> = HashMap::new();
    for ((body, tells), writes) in bodies.iter().zip(&tells).zip(writes) {
        let function = Function { schema: body.schema.clone(), tells: *tells, writes };
        functions.entry(body.name.clone()).or_default().push(function);
    }
    catalog.set_functions(functions);
    for (body, _) in bodies.iter().zip(&tells).filter(|(_, tells)| **tells) {
        let words = written::words(&body.source);
        let shows = shows(&words, &telling, catalog);
        let tables = of_trigger(&body.name, catalog);
        for table in &tables {
            triggered(&words, shows, table, &telling, catalog);
        }
        if shows && tables.is_empty() {
            for one in written::targets(&words, catalog, None) {
                catalog.carry(one);
            }
        }
    }
    let casts = hidden
        .iter()
        .any(|one| matches!(one, Hidden::Cast { function } if telling.contains(function)));
    let triggers = hidden
        .iter()
        .any(|one| matches!(one, Hidden::Trigger { function, .. } if telling.contains(function)))
        || bodies.iter().zip(&tells).any(|(body, tells)| *tells && body.name.is_empty());
    let events = hidden
        .iter()
        .any(|one| matches!(one, Hidden::EventTrigger { function } if telling.contains(function)));
    catalog.set_tellers(casts, triggers, events);
}

/// Where each function may write what it is given, and those that it calls.
fn writes(
    bodies: &[Body],
    words: &[Option<HashSet<Box<str>>>],
    catalog: &Catalog,
) -> Vec<Arc<[Carried]>> {
    let may = |words: &Option<HashSet<Box<str>>>| match words {
        Some(words) => WRITES.iter().any(|word| words.contains(*word)),
        None => true,
    };
    let mut all: Vec<Vec<Carried>> = bodies
        .iter()
        .zip(words)
        .map(|(body, words)| match may(words) {
            true => written::targets(&written::words(&body.source), catalog, None),
            false => Vec::new(),
        })
        .collect();
    for _ in 0..DEEPEST {
        let mut by_name: HashMap<&str, Vec<Carried>> = HashMap::new();
        for (body, writes) in bodies.iter().zip(&all).filter(|(_, writes)| !writes.is_empty()) {
            by_name.entry(&body.name).or_default().extend(writes.iter().cloned());
        }
        let mut changed = false;
        for (writes, words) in all.iter_mut().zip(words) {
            let called = words.iter().flatten().filter_map(|word| by_name.get(&**word));
            for one in called.flatten() {
                if writes.len() < MOST_WRITTEN && !writes.contains(one) {
                    writes.push(one.clone());
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    all.into_iter().map(Into::into).collect()
}

/// What a block of code that nobody follows fills with what is sensitive, itself or by
/// the functions that it calls.
pub fn filled_by(text: &str, catalog: &Catalog) -> Vec<Carried> {
    let words = written::words(text);
    let telling = catalog.telling_names();
    if !shows(&words, &telling, catalog) {
        return Vec::new();
    }
    let mut all = written::targets(&words, catalog, None);
    let named: HashSet<&str> = words.iter().map(|word| &**word).collect();
    all.extend(named.into_iter().flat_map(|name| catalog.writes(None, name)).cloned());
    all
}

/// A row is written of a table that runs this, and something sensitive may be in it.
pub fn run_trigger(body: &Body, relation: u32, catalog: &mut Catalog) {
    if let Some(table) = catalog.relation(relation).cloned() {
        let (words, telling) = (written::words(&body.source), catalog.telling_names());
        let shows = shows(&words, &telling, catalog);
        triggered(&words, shows, &table, &telling, catalog);
    }
}

/// A trigger's own table is in its words without being named. `shows`: they show
/// something sensitive whatever is in it.
fn triggered(
    words: &[Box<str>],
    shows: bool,
    table: &Relation,
    telling: &HashSet<Box<str>>,
    catalog: &mut Catalog,
) {
    let sensitive = table.columns.iter().any(|column| column.class.is_some());
    let own_shows = || {
        let mut around = written::with_transitions(words, &table.name, catalog);
        around.extend(["from".into(), table.name.clone()]);
        written::takes_row(words) || self::shows(&around, telling, catalog)
    };
    if !(shows || sensitive && own_shows()) {
        return;
    }
    let row = written::Row { table, catalog };
    let (own, any) = (written::assigned_new(words, row), written::gives_other_row(words, row));
    let mut into = written::targets(words, catalog, Some(row));
    if any || !own.is_empty() {
        into.push(Carried {
            schema: Some(table.schema.clone()),
            relation: table.name.clone(),
            named: own.iter().map(|name| (name.clone(), Class::Opaque)).collect(),
            others: any.then_some(Class::Opaque),
            guessed: true,
            passing: false,
        });
    }
    for one in into {
        catalog.carry(one);
    }
}

/// Whether code can put something sensitive elsewhere: it names a sensitive column
/// with its table, takes whole rows of one, or calls what tells.
fn shows(words: &[Box<str>], telling: &HashSet<Box<str>>, catalog: &Catalog) -> bool {
    let named: HashSet<&str> = words.iter().map(|word| &**word).collect();
    let whole = words.windows(2).any(|pair| match pair {
        [before, star] => {
            &**star == "*" && matches!(&**before, "select" | "," | "." | "returning" | "all")
        }
        _ => false,
    }) || WHOLE_ROWS.iter().any(|word| named.contains(*word));
    if named.iter().any(|word| telling.contains(*word)) {
        return true;
    }
    named.iter().flat_map(|name| catalog.named(None, name)).any(|relation| {
        let mut sensitive =
            relation.columns.iter().filter(|column| column.class.is_some()).peekable();
        &*relation.schema != "information_schema"
            && sensitive.peek().is_some()
            && (whole
                || sensitive.any(|column| named.contains(&*column.name))
                || written::takes_rows_of(words, &relation.name))
    })
}

/// Whether the last query of a body of SQL gives something sensitive; nothing
/// where that can't be followed.
fn gives(body: &Body, catalog: &Catalog) -> Option<bool> {
    if &*body.language != "sql" {
        return None;
    }
    let facts = Cell::quick(body.source.as_bytes(), &LexingState::default())?;
    let last = facts.running().last().filter(|_| facts.understood())?;
    let traced = lineage::trace(last, catalog)?;
    Some(traced.iter().any(|one| !one.sources.is_empty()))
}

/// The names of what holds something sensitive, and of what holds that.
fn sensitive_names(catalog: &Catalog) -> HashSet<Box<str>> {
    let own = catalog.relations().filter(|one| &*one.schema != "information_schema");
    own.filter(|one| one.columns.iter().any(|column| column.class.is_some()))
        .map(|one| one.name.clone())
        .collect()
}

/// The words of a body; nothing where that can't be told.
fn words(body: &Body) -> Option<HashSet<Box<str>>> {
    let written = match &*body.language {
        // What is compiled passes on what goes into it.
        "c" | "internal" if READS.contains(&&*body.name) => return None,
        "c" | "internal" => return Some(HashSet::new()),
        "sql" | "plpgsql" => &*body.source,
        _ => return None,
    };
    if written.is_empty() || written.len() >= LONGEST {
        return None;
    }
    let words: HashSet<Box<str>> = crate::sql::tokens(written)
        .map(|(text, _)| match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\"").into(),
            None => text.to_lowercase().into(),
        })
        .collect();
    // Names that are written in code points.
    if written.contains("U&\"") || written.contains("u&\"") {
        return None;
    }
    let runs_text = ["execute", "dblink", "query_to_xml", "cursor_to_xml", "table_to_xml"];
    (!runs_text.iter().any(|word| words.contains(*word))).then_some(words)
}

/// What makes one value of a row.
const WHOLE_ROWS: &[&str] = &[
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "hstore",
    "array_agg",
    "table",
];
/// Of the server's own extensions: what reads tables as they lie on the disk, or by
/// a name that is a value.
const READS: &[&str] = &[
    "get_raw_page",
    "heap_page_items",
    "heap_page_item_attrs",
    "tuple_data_split",
    "bt_page_items",
    "bt_multi_page_stats",
    "gist_page_items",
    "gist_page_items_bytea",
    "hash_page_items",
    "brin_page_items",
    "gin_leafpage_items",
    "pg_get_wal_record_info",
    "pg_get_wal_records_info",
    "pg_get_wal_records_info_till_end_of_wal",
    "pg_get_wal_block_info",
    "pg_get_wal_fpi_info",
    "dblink",
    "dblink_fetch",
    "dblink_get_result",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "crosstabn",
    "connectby",
    "xpath_table",
];
/// What a body says that writes somewhere.
const WRITES: &[&str] = &["insert", "update", "merge", "copy", "create"];
/// Tables that one function writes.
const MOST_WRITTEN: usize = 64;
/// As much of a body is asked for.
pub const LONGEST: usize = 65_536;
/// Functions that call functions.
const DEEPEST: usize = 16;
