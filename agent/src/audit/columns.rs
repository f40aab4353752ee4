//! The columns that a `*` stands for: the text doesn't say them, the database's
//! catalog does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::Subject;
use super::statement::{Touched, named, touched_by};
use crate::mask::Catalog;
use crate::mask::catalog::Relation;
use crate::sql::Facts;
use crate::sql::facts::{Object, ObjectKind};

/// What is recorded of texts with a `*`, by what its tables are: made once.
#[derive(Debug, Default)]
pub struct Resolved {
    known: Mutex<HashMap<u64, Known>>,
    hashing: RandomState,
}

#[derive(Debug)]
struct Known {
    subject: Arc<Subject>,
    relations: Vec<Arc<Relation>>,
    resolved: Arc<Subject>,
}

impl Known {
    fn is_of(&self, subject: &Arc<Subject>, relations: &[&Arc<Relation>]) -> bool {
        Arc::ptr_eq(&self.subject, subject)
            && self.relations.len() == relations.len()
            && self.relations.iter().zip(relations).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

impl Resolved {
    /// `None`: there is nothing that the text doesn't say itself, or the catalog knows
    /// no more either.
    pub fn of(
        &self,
        subject: &Arc<Subject>,
        facts: &Facts,
        catalog: &Catalog,
    ) -> Option<Arc<Subject>> {
        if !subject.has_star {
            return None;
        }
        let mut relations = Vec::new();
        for statement in facts.running() {
            for column in statement.columns.iter().filter(|column| column.name.is_none()) {
                relations.extend(
                    named(statement, column.relation)
                        .into_iter()
                        .flat_map(|object| in_catalog(object, catalog)),
                );
            }
        }
        relations.truncate(MOST_RELATIONS);
        if relations.is_empty() {
            return None;
        }
        let pointers: Vec<usize> = relations.iter().map(|one| Arc::as_ptr(one).addr()).collect();
        let hash = self.hashing.hash_one((Arc::as_ptr(subject).addr(), pointers));
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&hash).filter(|known| known.is_of(subject, &relations)) {
            return Some(Arc::clone(&known.resolved));
        }
        let touched = touched_by(facts, &|object| columns(object, catalog));
        let resolved = Arc::new(subject.touching(touched));
        // What is met again is made again.
        if all.len() >= MOST {
            all.clear();
        }
        let known = Known {
            subject: Arc::clone(subject),
            relations: relations.into_iter().map(Arc::clone).collect(),
            resolved: Arc::clone(&resolved),
        };
        all.insert(hash, known);
        Some(resolved)
    }
}

/// Of a bare name that several tables have, each: which one it is only the server knows.
fn in_catalog<'c>(
    object: &'c Object,
    catalog: &'c Catalog,
) -> impl Iterator<Item = &'c Arc<Relation>> {
    let table = object.kind == ObjectKind::Relation && object.catalog.is_none();
    table.then(|| catalog.named(object.schema.as_deref(), &object.name)).into_iter().flatten()
}

fn columns(object: &Object, catalog: &Catalog) -> Vec<Touched> {
    let relations = in_catalog(object, catalog).take(MOST_RELATIONS);
    let columns = relations.flat_map(|one| one.columns.iter().map(move |column| (one, column)));
    let touched = columns.map(|(one, column)| Touched {
        table: format!("{}.{}", one.schema, one.name).into(),
        column: Some(column.name.clone()),
        class: column.class.map(|(class, _)| class.as_str().into()),
        uses: Vec::new(),
    });
    touched.collect()
}

const MOST: usize = 1_024;
const MOST_RELATIONS: usize = 16;

#[cfg(test)]
mod tests;
