//! What is known of the databases behind the destinations, for all sessions of
//! this process.
//!
//! A database is told by its server's own identifier, the certificate that the
//! server was verified by, and its name. Sessions learn it (`postgres::learning`),
//! and hold a snapshot of it.
//!
//! INVARIANT: what another server says never changes what is known of this one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::mask::filling::Carried;
use crate::mask::{Catalog, Corrections};
use crate::model::ColumnWord;

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The destination's name: what is verified there, and how.
    pub destination: Box<str>,
    /// The verified certificate's hash.
    pub certificate: Option<[u8; 32]>,
    /// As the server says.
    pub system: Box<str>,
    pub database: Box<str>,
}

/// Of the certificate at the begin of a chain.
pub fn certificate_hash<C: AsRef<[u8]>>(chain: Option<&[C]>) -> Option<[u8; 32]> {
    let first = chain?.first()?;
    digest(&SHA256, first.as_ref()).as_ref().try_into().ok()
}

#[derive(Debug, Default)]
pub struct Catalogs(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    known: HashMap<Identity, Arc<Known>>,
    /// What operators say, and under which terms.
    words: Arc<[ColumnWord]>,
    generation: u32,
}

/// One database.
#[derive(Debug)]
pub struct Known {
    catalog: Mutex<Arc<Catalog>>,
    /// Changes with the catalog; looked at without the lock.
    version: AtomicU64,
    /// Since this is counted.
    began: Instant,
    /// When it is to be learnt anew, in milliseconds.
    due: AtomicU64,
    /// How often somebody began to learn it, and which of these was the last that
    /// ended with nothing missing.
    begun: AtomicU64,
    ended: AtomicU64,
    /// How long that took, in milliseconds.
    took: AtomicU64,
    /// Something was defined since, or turned up that isn't known.
    changed: AtomicBool,
    /// What is sensitive was put where it has no column.
    spread: Spread,
}

/// Places without columns into which something sensitive was put.
#[derive(Debug, Default)]
pub struct Spread {
    pub notifications: AtomicBool,
    pub large_objects: AtomicBool,
}

impl Catalogs {
    pub fn of(&self, identity: Identity) -> Arc<Known> {
        let mut all = lock(&self.0);
        if let Some(known) = all.known.get(&identity) {
            return Arc::clone(known);
        }
        let known = Arc::new(Known::default());
        known.correct(all.corrections(&identity));
        if all.known.len() >= MOST_DATABASES {
            // Those that no session holds any more.
            all.known.retain(|_, known| Arc::strong_count(known) > 1);
        }
        if all.known.len() < MOST_DATABASES {
            all.known.insert(identity, Arc::clone(&known));
        }
        known
    }

    /// Takes what operators say, for all databases. Every worker does, and one of
    /// them may be late.
    pub fn correct(&self, generation: u32, words: &[ColumnWord]) {
        let mut all = lock(&self.0);
        if generation < all.generation || *all.words == *words {
            return;
        }
        all.generation = generation;
        all.words = words.into();
        let known: Vec<_> = all
            .known
            .iter()
            .map(|(identity, known)| (Arc::clone(known), all.corrections(identity)))
            .collect();
        drop(all);
        for (known, corrections) in known {
            known.correct(corrections);
        }
    }
}

impl All {
    fn corrections(&self, identity: &Identity) -> Arc<Corrections> {
        let Identity { destination, database, .. } = identity;
        let made = Corrections::of(self.generation, &self.words, Some(destination), database);
        Arc::new(made.unwrap_or_else(|why| {
            // They were checked before they came here.
            tracing::error!("what operators say of `{database}` is not taken: {why}");
            Corrections::default()
        }))
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            catalog: Mutex::default(),
            version: AtomicU64::new(0),
            began: Instant::now(),
            due: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            took: AtomicU64::new(0),
            changed: AtomicBool::new(false),
            spread: Spread::default(),
        }
    }
}

impl Known {
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&lock(&self.catalog))
    }

    /// Whether it is to be learnt: now for the first time, or anew. `masked`: for
    /// somebody who mustn't go on with nothing, though another is learning it.
    #[inline]
    pub fn is_due(&self, masked: bool) -> bool {
        masked && self.ended() == 0
            || self.changed.load(Ordering::Relaxed)
            || self.now() >= self.due.load(Ordering::Relaxed)
    }

    /// Whoever learns it says so first: the others go on with what is there, unless
    /// no more is heard of it.
    pub fn begin(&self) -> u64 {
        self.changed.store(false, Ordering::Relaxed);
        self.due.store(self.now() + millis(PATIENCE), Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// It was learnt with nothing missing.
    pub fn end(&self, begun: u64, took: Duration) {
        self.took.store(millis(took), Ordering::Relaxed);
        self.due.store(self.now() + millis(LASTS), Ordering::Relaxed);
        self.ended.fetch_max(begun, Ordering::AcqRel);
    }

    /// It could not be learnt whole: another session may try.
    pub fn fail(&self) {
        self.due.store(self.now(), Ordering::Relaxed);
    }

    /// What is done now is known once a learning after this one has ended.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// After a session has learnt it, it lets others do so for so long: the server
    /// has other work.
    pub fn patience(&self) -> Duration {
        SOON.max(Duration::from_millis(self.took.load(Ordering::Relaxed)) * SHARE)
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Something was defined, or turned up that isn't known.
    pub fn note_change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    pub fn update(&self, change: impl FnOnce(&mut Catalog)) {
        let mut catalog = lock(&self.catalog);
        let before = catalog.generation();
        change(Arc::make_mut(&mut catalog));
        if catalog.generation() != before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What operators say of its columns. What functions read is asked again.
    fn correct(&self, corrections: Arc<Corrections>) {
        let mut changed = false;
        self.update(|catalog| changed = catalog.correct(&corrections));
        if changed {
            self.note_change();
        }
    }

    /// A statement fills a table with what is sensitive.
    pub fn carry(&self, carried: Carried) {
        if !self.catalog().knows(&carried) {
            self.update(|catalog| {
                catalog.carry(carried);
            });
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Databases that are remembered.
const MOST_DATABASES: usize = 1_024;
/// A catalog is believed for so long.
const LASTS: Duration = Duration::from_secs(600);
/// For who learns it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What changed is learnt no sooner, and takes no more of a session's time than one
/// in so many.
const SOON: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

#[cfg(test)]
mod tests;
