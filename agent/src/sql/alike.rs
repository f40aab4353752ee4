//! Equal facts are kept once: texts that differ in their literals alone mean the
//! same, and what was decided for one of them is found again for the next.
//!
//! INVARIANT: only facts that are equal, compared, not only hashed, become one. A
//! statement's place in its text is no part of them where it stands there alone, nor are
//! the numbers that they don't hang on.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;

use super::facts::Facts;

/// Shared by all sessions of an agent.
#[derive(Debug)]
pub struct Alike {
    shards: Box<[Mutex<Shard>]>,
    hashing: RandomState,
}

/// Two halves: when the young one is full it becomes the old one, and what isn't
/// met again goes with it.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<u64, Arc<Facts>>,
    old: HashMap<u64, Arc<Facts>>,
}

impl Default for Alike {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashing: RandomState::default(),
        }
    }
}

impl Alike {
    /// These facts, or the equal ones that were met before.
    pub fn of(&self, mut facts: Facts) -> Arc<Facts> {
        let [statement] = facts.statements.as_mut_slice() else { return Arc::new(facts) };
        statement.span = None;
        facts.free = Box::default();
        let hash = self.hash(&facts);
        let Some(shard) = self.shards.get((hash >> 57) as usize % SHARDS) else {
            return Arc::new(facts);
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.young.get(&hash).filter(|known| ***known == facts) {
            return Arc::clone(known);
        }
        let old = shard.old.remove(&hash).filter(|known| **known == facts);
        let kept = old.unwrap_or_else(|| Arc::new(facts));
        if shard.young.len() >= HALF {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(hash, Arc::clone(&kept));
        kept
    }

    /// Of what differs most: the rest is compared.
    fn hash(&self, facts: &Facts) -> u64 {
        let mut hasher = self.hashing.build_hasher();
        for statement in &facts.statements {
            statement.verb.hash(&mut hasher);
            statement.bound.hash(&mut hasher);
            statement.reads.hash(&mut hasher);
            statement.objects.hash(&mut hasher);
            statement.columns.hash(&mut hasher);
            statement.calls.hash(&mut hasher);
            statement.meets.hash(&mut hasher);
            statement.returns.hash(&mut hasher);
            statement.handle.hash(&mut hasher);
        }
        hasher.finish()
    }
}

const SHARDS: usize = 16;
/// Facts in half a shard.
const HALF: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Cell, LexingState};

    fn facts(text: &str) -> Facts {
        Cell::quick(text.as_bytes(), &LexingState::default()).unwrap()
    }

    #[test]
    fn texts_that_differ_in_literals_alone_are_one() {
        let alike = Alike::default();
        let one = alike.of(facts("select a from t where id = 1"));
        assert!(Arc::ptr_eq(&one, &alike.of(facts("select a from t where id = 23456"))));
        assert!(Arc::ptr_eq(&one, &alike.of(facts("SELECT a  FROM t WHERE id = 'x'"))));
        for other in [
            "select b from t where id = 1",
            "select a from u where id = 1",
            "delete from t where id = 1",
            "select a from t",
            "select a from t where id = 1; select 1",
        ] {
            assert!(!Arc::ptr_eq(&one, &alike.of(facts(other))), "{other}");
        }
        // Conditions that bound nothing are no part of a literal.
        let bounded = alike.of(facts("delete from t where id = 1"));
        assert!(!Arc::ptr_eq(&bounded, &alike.of(facts("delete from t where 1 = 1"))));
    }

    #[test]
    fn what_a_statement_names_is_no_literal() {
        let alike = Alike::default();
        let one = alike.of(facts("set search_path = a"));
        assert!(!Arc::ptr_eq(&one, &alike.of(facts("set search_path = b"))));
        let one = alike.of(facts("execute p"));
        assert!(!Arc::ptr_eq(&one, &alike.of(facts("execute q"))));
    }
}
