//! Facts by the exact text and everything its reading depends on. Bounded in bytes.
//!
//! INVARIANT: a hit is for the same bytes and the same lexing state, compared, not only
//! hashed, but for numbers that the facts were seen not to hang on ([`super::numbers`]).
//! Never for a fingerprint: equal ones hide what decides.
//!
//! What a text means hangs on no catalog: names are as they are written, and which things
//! they are is asked when a decision is made. So a catalog's change puts nothing out.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;

use super::facts::{Doubt, Facts};
use super::numbers::Mould;
use super::state::LexingState;

/// What is kept: facts, or something made of them.
pub trait Reading {
    fn facts(&self) -> &Facts;

    /// Which of its text's numbers it doesn't hang on.
    fn free(&self) -> &[u16];

    /// About how much memory it holds.
    fn weight(&self) -> usize;
}

impl Reading for Facts {
    fn facts(&self) -> &Facts {
        self
    }

    fn free(&self) -> &[u16] {
        &self.free
    }

    fn weight(&self) -> usize {
        Facts::weight(self)
    }
}

/// Shared by all sessions of an agent.
#[derive(Debug)]
pub struct Cache<R = Facts> {
    shards: Box<[Mutex<Shard<R>>]>,
    hashing: RandomState,
    /// What one half of a shard may weigh.
    half: usize,
}

/// Two halves: what the young one can't hold any more becomes the old one, and what
/// isn't asked for again goes with it.
#[derive(Debug)]
struct Shard<R> {
    young: HashMap<u64, Entry<R>, Hashed>,
    old: HashMap<u64, Entry<R>, Hashed>,
    weight: usize,
}

impl<R> Default for Shard<R> {
    fn default() -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), weight: 0 }
    }
}

#[derive(Debug)]
struct Entry<R> {
    text: Box<[u8]>,
    /// Of a mould.
    fixed: Option<Fixed>,
    state: LexingState,
    read: Arc<R>,
    weight: usize,
}

/// Those of its numbers that aren't free, by their indices.
type Fixed = Box<[(usize, Box<[u8]>)]>;

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted<'w> {
    text: &'w [u8],
    /// The text is this one's.
    mould: Option<(&'w [u8], &'w Mould)>,
    state: &'w LexingState,
}

impl<'w> Wanted<'w> {
    fn exact(text: &'w [u8], state: &'w LexingState) -> Self {
        Self { text, mould: None, state }
    }

    fn moulded(text: &'w [u8], mould: &'w Mould, state: &'w LexingState) -> Self {
        Self { text: &mould.text, mould: Some((text, mould)), state }
    }
}

impl<R> Entry<R> {
    fn is_for(&self, wanted: Wanted<'_>) -> bool {
        let same = match (&self.fixed, wanted.mould) {
            (None, None) => true,
            (Some(fixed), Some((text, mould))) => {
                fixed.iter().all(|(index, number)| mould.number(text, *index) == Some(&**number))
            }
            _ => false,
        };
        same && *self.text == *wanted.text && self.state == *wanted.state
    }
}

impl<R: Reading> Cache<R> {
    /// `bytes`: what all of it may weigh, texts and facts.
    pub fn new(bytes: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashing: RandomState::default(),
            half: bytes / SHARDS / 2,
        }
    }

    fn hash(&self, wanted: Wanted<'_>) -> u64 {
        let mut hasher = self.hashing.build_hasher();
        hasher.write(wanted.text);
        hasher.write_u16(wanted.state.server_major.unwrap_or_default());
        if let Some(path) = &wanted.state.search_path {
            hasher.write(path.as_bytes());
        }
        hasher.finish()
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard<R>>> {
        self.shards.get((hash >> 57) as usize % SHARDS)
    }

    pub fn get(&self, text: &[u8], state: &LexingState) -> Option<Arc<R>> {
        // Never kept: not worth hashing.
        if text.len() > self.heaviest() {
            return None;
        }
        self.find(Wanted::exact(text, state)).or_else(|| {
            let mould = Mould::of(text)?;
            self.find(Wanted::moulded(text, &mould, state))
        })
    }

    fn find(&self, wanted: Wanted<'_>) -> Option<Arc<R>> {
        let hash = self.hash(wanted);
        let mut shard = self.shard(hash)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.young.get(&hash) {
            return entry.is_for(wanted).then(|| Arc::clone(&entry.read));
        }
        if !shard.old.get(&hash)?.is_for(wanted) {
            return None;
        }
        let entry = shard.old.remove(&hash)?;
        let read = Arc::clone(&entry.read);
        shard.keep(hash, entry, self.half);
        Some(read)
    }

    /// Keeps facts, unless they are about a failure that may not come again, or
    /// weigh more than is worth keeping.
    pub fn put(&self, text: &[u8], state: &LexingState, read: &Arc<R>) {
        if text.len() > self.heaviest() {
            return;
        }
        let passing = |doubt: &Doubt| matches!(doubt, Doubt::Parser(_));
        let facts = read.facts();
        if facts.statements.iter().any(|statement| statement.doubts.iter().any(passing)) {
            return;
        }
        self.keep(Wanted::exact(text, state), None, read);
        let free = read.free();
        if let Some(mould) = Mould::of(text).filter(|_| !free.is_empty()) {
            // Both are in order.
            let mut free = free.iter().map(|index| usize::from(*index)).peekable();
            let numbers = 0..mould.numbers.len();
            let number = |index| Some((index, mould.number(text, index)?.into()));
            let fixed = numbers.filter(|index| free.next_if_eq(index).is_none());
            let fixed = fixed.filter_map(number).collect();
            self.keep(Wanted::moulded(text, &mould, state), Some(fixed), read);
        }
    }

    fn keep(&self, wanted: Wanted<'_>, fixed: Option<Fixed>, read: &Arc<R>) {
        let fixed_weight = fixed.as_ref().map_or(0, |fixed| fixed.len() * 48);
        let weight = wanted.text.len() + fixed_weight + read.weight() + size_of::<Entry<R>>() + 64;
        if weight > self.heaviest() {
            return;
        }
        let hash = self.hash(wanted);
        let entry = Entry {
            text: wanted.text.into(),
            fixed,
            state: wanted.state.clone(),
            read: Arc::clone(read),
            weight,
        };
        if let Some(shard) = self.shard(hash) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).keep(hash, entry, self.half);
        }
    }

    /// What one entry may weigh.
    fn heaviest(&self) -> usize {
        self.half / 4
    }

    /// What it holds now, in bytes.
    pub fn weight(&self) -> usize {
        let of = |shard: &Mutex<Shard<R>>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.values().chain(shard.old.values()).map(|entry| entry.weight).sum::<usize>()
        };
        self.shards.iter().map(of).sum()
    }
}

impl<R> Shard<R> {
    fn keep(&mut self, hash: u64, entry: Entry<R>, half: usize) {
        if self.weight + entry.weight > half {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += entry.weight;
        if let Some(before) = self.young.insert(hash, entry) {
            self.weight = self.weight.saturating_sub(before.weight);
        }
    }
}

/// The keys are hashes already.
#[derive(Clone, Debug, Default)]
struct Hashed;

impl BuildHasher for Hashed {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests;
