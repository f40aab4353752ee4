//! The columns of views: what their definitions make them of.
//!
//! INVARIANT: a view whose definition touches something sensitive in a way that
//! can't be followed is [`Class::Opaque`] in every column.

use std::sync::Arc;

use super::catalog::{Catalog, Relation};
use super::class::Class;
use super::lineage::{Origins, Traced, untold};
use super::names::Evidence;
use crate::sql::{Cell, LexingState};

/// Gives each view's columns their classes. Views stand on views.
pub fn classify(catalog: &mut Catalog) {
    let views: Vec<Arc<Relation>> =
        catalog.relations().filter(|one| one.definition.is_some()).cloned().collect();
    for _ in 0..DEEPEST {
        let before = catalog.generation();
        for view in &views {
            of_view(view, catalog);
        }
        if catalog.generation() == before {
            return;
        }
    }
}

fn of_view(view: &Relation, catalog: &mut Catalog) {
    let Some(text) = view.definition.as_deref() else { return };
    // What is too long to be read here counts by its columns' names.
    let Some(facts) = Cell::quick(text.as_bytes(), &LexingState::default()) else { return };
    let Some(statement) = facts.statements.first() else { return };
    let traced = Origins::of(statement, catalog).traced;
    let traced = traced.filter(|all| all.len() == view.columns.len());
    let classes: Vec<Option<Class>> = match traced {
        Some(all) => all.iter().map(class).collect(),
        None => vec![class(&untold(statement, catalog)); view.columns.len()],
    };
    for (column, class) in view.columns.iter().zip(classes) {
        if let Some(class) = class {
            catalog.classify_made(view.oid, column.number, class);
        }
    }
}

/// Columns of a table that are made of its others, or have a default.
pub fn expressions(relation: u32, all: &[(u16, Box<str>)], catalog: &mut Catalog) {
    let Some(known) = catalog.relation(relation) else { return };
    let [schema, table] = [&known.schema, &known.name].map(|name| name.replace('"', "\"\""));
    for (number, expression) in all {
        let text = format!("SELECT {expression} FROM \"{schema}\".\"{table}\"");
        let Some(facts) = Cell::quick(text.as_bytes(), &LexingState::default()) else { continue };
        let Some(statement) = facts.statements.first() else { continue };
        let origins = Origins::of(statement, catalog);
        let class = match origins.traced.as_deref() {
            Some([one]) => class(one),
            _ => class(&origins.untold),
        };
        if let Some(class) = class {
            catalog.classify(relation, *number, class, Evidence::Lineage);
        }
    }
}

fn class(traced: &Traced) -> Option<Class> {
    let first = traced.sources.first()?.class;
    let same = traced.sources.iter().all(|one| one.class == first);
    Some(if same && !traced.derived { first } else { Class::Opaque })
}

/// Views upon views.
const DEEPEST: usize = 8;
