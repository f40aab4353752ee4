//! The columns of views: what their definitions make them of.
//!
//! INVARIANT: a view whose definition touches something sensitive in a way that
//! can't be followed is [`Class::Opaque`] in every column.

use std::sync::Arc;

use super::catalog::{Catalog, Relation};
use super::class::Class;
use super::lineage::{Traced, trace, untold};
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
    let traced = trace(statement, catalog).filter(|all| all.len() == view.columns.len());
    let classes: Vec<Option<Class>> = match traced {
        Some(all) => all.iter().map(class).collect(),
        None => vec![class(&untold(statement, catalog)); view.columns.len()],
    };
    for (column, class) in view.columns.iter().zip(classes) {
        if let Some(class) = class {
            catalog.classify(view.oid, column.number, class, Evidence::Lineage);
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
