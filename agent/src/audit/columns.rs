//! What the database's catalog knows of a text beyond its words: the columns that a `*`
//! stands for, or an INSERT without names fills, and the classes that no name tells: by
//! content, by lineage, by an operator's word.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Subject;
use super::beside::Beside;
use super::touched::{class_beside, touched_by};
use crate::mask::Catalog;
use crate::sql::Facts;

/// What is recorded of texts, by what is known of their database: made once.
#[derive(Debug, Default)]
pub struct Resolved {
    known: Mutex<HashMap<u64, Known>>,
    hashing: RandomState,
}

/// INVARIANT: a catalog that is held, if only weakly, is never changed in place, nor is
/// another found at its address.
#[derive(Debug)]
struct Known {
    subject: Arc<Subject>,
    catalog: Weak<Catalog>,
    resolved: Option<Arc<Subject>>,
}

impl Known {
    fn is_of(&self, subject: &Arc<Subject>, catalog: &Arc<Catalog>) -> bool {
        Arc::ptr_eq(&self.subject, subject) && self.catalog.as_ptr() == Arc::as_ptr(catalog)
    }
}

impl Resolved {
    /// `None`: the catalog knows no more than the text says itself.
    pub fn of(
        &self,
        subject: &Arc<Subject>,
        facts: &Facts,
        catalog: &Arc<Catalog>,
    ) -> Option<Arc<Subject>> {
        let addresses = (Arc::as_ptr(subject).addr(), Arc::as_ptr(catalog).addr());
        let hash = self.hashing.hash_one(addresses);
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&hash).filter(|known| known.is_of(subject, catalog)) {
            return known.resolved.clone();
        }
        let resolved = resolve(subject, facts, catalog).map(Arc::new);
        let mut all = lock();
        // What is met again is made again.
        if all.len() >= MOST {
            all.clear();
        }
        let known = Known {
            subject: Arc::clone(subject),
            catalog: Arc::downgrade(catalog),
            resolved: resolved.clone(),
        };
        all.insert(hash, known);
        resolved
    }
}

fn resolve(subject: &Subject, facts: &Facts, catalog: &Catalog) -> Option<Subject> {
    let class = |beside: &Beside<'_>| class_beside(facts, catalog, beside);
    let touched = touched_by(facts, catalog);
    let text = subject.text_without(&class);
    let parameters = subject.parameters.knowing(&class);
    let is_new =
        text.is_some() || parameters.is_some() || touched != touched_by(facts, &Catalog::default());
    is_new.then(|| subject.knowing(&touched, parameters, text))
}

const MOST: usize = 1_024;

#[cfg(test)]
mod tests;
