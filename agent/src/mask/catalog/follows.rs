//! What the server does by itself when a row is written: it works columns out, runs
//! triggers, writes a key's new value wherever it is referred to.
//!
//! INVARIANT: what a table was filled with is known with all that follows from it,
//! before the statement that fills it is answered.

use std::sync::Arc;

use super::Catalog;
use crate::mask::functions::{self, Body};
use crate::mask::names::Evidence;
use crate::mask::views;

/// What follows for one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follows {
    /// Columns that are made of others, or have a default, by number.
    pub expressions: Vec<(u16, Box<str>)>,
    /// The functions that its triggers run.
    pub triggers: Vec<Arc<Body>>,
    /// Columns that others refer to.
    pub references: Vec<Reference>,
}

/// A column whose values are those of another table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    pub of: u16,
    pub relation: u32,
    pub column: u16,
}

impl Catalog {
    pub fn set_follows(&mut self, all: impl IntoIterator<Item = (u32, Follows)>) {
        self.follows = all.into_iter().map(|(oid, one)| (oid, Arc::new(one))).collect();
    }

    /// A table got what it hadn't.
    pub(super) fn follow(&mut self, relation: u32) {
        let Some(follows) = self.follows.get(&relation).cloned() else { return };
        for body in &follows.triggers {
            functions::run_trigger(body, relation, self);
        }
        views::expressions(relation, &follows.expressions, self);
    }

    /// Who refers to a column holds what is in it.
    pub(super) fn share_with_references(&mut self) {
        let all: Vec<(u32, Arc<Follows>)> =
            self.follows.iter().map(|(oid, one)| (*oid, Arc::clone(one))).collect();
        for (of, follows) in all {
            for reference in &follows.references {
                let class = self.column(of, reference.of).and_then(|column| column.class);
                if let Some((class, _)) = class {
                    let Reference { relation, column, .. } = *reference;
                    self.classify(relation, column, class, Evidence::Lineage);
                }
            }
        }
    }
}
