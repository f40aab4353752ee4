//! Rulings by everything that they hang on. Bounded in number.
//!
//! INVARIANTS
//! - A hit is for the very same facts (the same allocation, kept alive by the entry),
//!   an equal actor, an equal place and the same policies, compared, not only hashed.
//! - What hangs on the hour, on bound values, on approvals or on a lifted refusal is not
//!   kept; what it hangs on is told by all that was asked, also where only the catalog
//!   knows of it.
//! - The stance is no part of a ruling: it is applied to what comes out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::asks;
use super::context::Transaction;
use super::decide::{Question, verdict};
use super::permit::{Ruling, Stance, Verdict};
use super::scene::{Scene, Subject};
use super::set::{Generation, Set};
use super::vocabulary::{Fact, FactSet};
use crate::model::Trace;
use crate::sql::{Effect, Effects, Facts};

/// Shared by all sessions of an agent.
#[derive(Debug)]
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    /// What one half of a shard may hold.
    half: usize,
}

/// Two halves: when the young one is full it becomes the old one, and what isn't
/// asked for again goes with it.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    generation: Generation,
    subject: Subject,
    scene: Scene,
    facts: Arc<Facts>,
    prepared: Box<[Option<Arc<Facts>>]>,
    /// What was read for it, and what of that is passing.
    reads: FactSet,
    passing: Passing,
    catalog: u64,
    ruling: Arc<Ruling>,
}

/// What changes from one request to the next, as far as the policies ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passing {
    transaction: Transaction,
    carries: Trace,
}

impl Cache {
    /// `rulings`: how many it may hold.
    pub fn new(rulings: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            half: (rulings / SHARDS / 2).max(1),
        }
    }

    /// Decides, by a ruling that is known where there is one.
    pub fn decide(&self, set: &Set, question: &Question<'_>, stance: Stance) -> Verdict {
        let reads = set.reads(effects(question));
        let ruling = match Self::passing(reads, question) {
            Some(passing) => self.ruling(set, question, (reads, passing)),
            None => Arc::new(set.rule(question)),
        };
        verdict(ruling, question, stance)
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(of).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of the key that the policies decide about: where the transaction
    /// stands counts only if one of them asks, and so does what is carried. `None`:
    /// not to be kept.
    fn passing(reads: FactSet, question: &Question<'_>) -> Option<Passing> {
        let circumstances = &question.circumstances;
        let fleeting = reads.contains(Fact::Hour)
            || reads.contains(Fact::Weekday)
            || reads.contains(Fact::Approvals) && !circumstances.approvals.is_empty()
            || reads.contains(Fact::Parameters) && circumstances.parameters != Some(&[])
            || !circumstances.lifted.is_empty();
        if fleeting {
            return None;
        }
        let asked = reads.contains(Fact::Transaction) || reads.contains(Fact::InTransaction);
        Some(Passing {
            transaction: if asked { circumstances.transaction } else { Transaction::Idle },
            carries: if reads.contains(Fact::WritesMasked) {
                circumstances.carries
            } else {
                Trace::None
            },
        })
    }

    fn ruling(
        &self,
        set: &Set,
        question: &Question<'_>,
        (reads, passing): (FactSet, Passing),
    ) -> Arc<Ruling> {
        let catalog = question.catalog.generation();
        let hash = hash(set, question, passing, catalog);
        let at = (hash >> 57) as usize % SHARDS;
        let Some(shard) = self.shards.get(at) else { return Arc::new(set.rule(question)) };
        let fits = |entry: &Entry| {
            entry.generation == set.generation()
                && Arc::ptr_eq(&entry.facts, question.facts)
                && Self::passing(entry.reads, question) == Some(entry.passing)
                && entry.catalog == catalog
                && entry.subject == *question.subject
                && entry.scene == *question.scene
                && entry.prepared.len() == question.prepared.len()
                && entry.prepared.iter().zip(question.prepared).all(|pair| match pair {
                    (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                    (one, other) => one.is_none() && other.is_none(),
                })
        };
        {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = shard.young.get(&hash).filter(|entry| fits(entry)) {
                return Arc::clone(&entry.ruling);
            }
            if shard.old.get(&hash).is_some_and(fits)
                && let Some(entry) = shard.old.remove(&hash)
            {
                let ruling = Arc::clone(&entry.ruling);
                shard.keep(hash, entry, self.half);
                return ruling;
            }
        }
        // Not under the lock: others decide meanwhile.
        let ruling = Arc::new(set.rule(question));
        // The catalog may have brought in what the facts don't tell.
        let reads = reads.union(set.reads(ruling.asked));
        let Some(passing) = Self::passing(reads, question) else { return ruling };
        let entry = Entry {
            generation: set.generation(),
            subject: question.subject.clone(),
            scene: question.scene.clone(),
            facts: Arc::clone(question.facts),
            prepared: question.prepared.into(),
            reads,
            passing,
            catalog,
            ruling: Arc::clone(&ruling),
        };
        shard.lock().unwrap_or_else(PoisonError::into_inner).keep(hash, entry, self.half);
        ruling
    }
}

impl Shard {
    fn keep(&mut self, hash: u64, entry: Entry, half: usize) {
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}

/// All that a text does, as far as it tells.
fn effects(question: &Question<'_>) -> Effects {
    let prepared = question.prepared.iter().flatten();
    let effects =
        prepared.map(|facts| facts.effects()).fold(question.facts.effects(), Effects::union);
    let effects = if gropes(question) { effects.with(Effect::Unknown) } else { effects };
    question.facts.later().fold(effects, |all, one| all.union(one.effects))
}

/// Whether it fetches from what nobody knows, which is asked about as if it did anything.
fn gropes(question: &Question<'_>) -> bool {
    let mut prepared = question.prepared.iter().map(Option::as_deref);
    Set::executes(question.facts).any(|one| asks::gropes(one, prepared.next().flatten()))
}

fn hash(set: &Set, question: &Question<'_>, passing: Passing, catalog: u64) -> u64 {
    let address = |facts: &Arc<Facts>| Arc::as_ptr(facts) as usize as u64;
    let mut hash = address(question.facts);
    let parts = [
        set.generation().value(),
        question.subject.hash(),
        question.scene.hash(),
        passing.transaction as u64 | (passing.carries as u64) << 8,
        catalog,
    ];
    let prepared = question.prepared.iter().map(|facts| facts.as_ref().map_or(0, address));
    for part in parts.into_iter().chain(prepared) {
        hash = (hash.rotate_left(5) ^ part).wrapping_mul(MIX);
    }
    // The high bits choose the shard.
    hash ^ hash >> 29
}

/// An odd number with no pattern in its bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

const SHARDS: usize = 16;

#[cfg(test)]
mod tests;
