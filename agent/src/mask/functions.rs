//! Functions that somebody wrote: whether what they give may be sensitive,
//! whatever goes into them. Told by the words of their bodies.
//!
//! INVARIANT: a body that can't be read, or runs text of its own making, may give
//! anything.

use std::collections::{HashMap, HashSet};

use super::catalog::{Catalog, Function};
use super::lineage;
use crate::sql::{Cell, LexingState};

/// One function, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub language: Box<str>,
    pub source: Box<str>,
}

/// Reads all bodies against what is sensitive in the catalog.
pub fn read(bodies: &[Body], catalog: &mut Catalog) {
    let sensitive = sensitive_names(catalog);
    let words: Vec<Option<HashSet<Box<str>>>> = bodies.iter().map(words).collect();
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
    let mut functions: HashMap<Box<str>, Vec<Function>> = HashMap::new();
    for (body, tells) in bodies.iter().zip(tells) {
        let function = Function { schema: body.schema.clone(), tells };
        functions.entry(body.name.clone()).or_default().push(function);
    }
    catalog.set_functions(functions);
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
    let runs_text = ["execute", "dblink", "query_to_xml", "cursor_to_xml", "table_to_xml"];
    (!runs_text.iter().any(|word| words.contains(*word))).then_some(words)
}

/// As much of a body is asked for.
pub const LONGEST: usize = 65_536;
/// Functions that call functions.
const DEEPEST: usize = 16;
