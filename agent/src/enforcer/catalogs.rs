//! What is known of the databases behind the destinations, for all sessions of
//! this process.
//!
//! A database is told by its server's own identifier, the certificate that the
//! server was verified by, and its name. Sessions learn it (`postgres::learning`),
//! and hold a snapshot of it.
//!
//! What tables were filled with no server can tell: it goes on to the keeper (`news`),
//! which gives it to every enforcer, and holds for a database at its destination
//! whatever certificate is shown there.
//!
//! INVARIANT: what another server says never changes what is known of this one. What is
//! kept by the keeper only adds.

mod doubts;
mod news;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::mask::filling::Carried;
use crate::mask::{Catalog, Corrections};
use crate::model::{ColumnWord, DatabaseName, Learnt, MOST_THERE};
use doubts::Doubts;
use news::News;

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
pub struct Catalogs {
    all: Mutex<All>,
    news: Arc<News>,
}

#[derive(Debug, Default)]
struct All {
    known: HashMap<Identity, Arc<Known>>,
    /// What operators say, and under which terms.
    words: Arc<[ColumnWord]>,
    generation: u32,
    /// What the keeper keeps, and which edition of it.
    kept: HashMap<DatabaseName, Vec<Learnt>>,
    edition: u64,
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
    /// What sessions have defined that nobody has learnt yet.
    doubts: Doubts,
    /// As whom what is learnt of it is told; nobody where it isn't known who it is.
    told_as: Option<(DatabaseName, Arc<News>)>,
    /// Filled tables of which it was told that they are there, and since when.
    there: Mutex<(u64, HashSet<Box<str>>)>,
}

/// Places without columns into which something sensitive was put.
#[derive(Debug, Default)]
pub struct Spread {
    pub notifications: AtomicBool,
    pub large_objects: AtomicBool,
}

impl Catalogs {
    pub fn of(&self, identity: Identity) -> Arc<Known> {
        let mut all = lock(&self.all);
        if let Some(known) = all.known.get(&identity) {
            return Arc::clone(known);
        }
        let name = identity.name();
        let kept = all.kept.get(&name).cloned().unwrap_or_default();
        let told_as = Some((name, Arc::clone(&self.news)));
        let known = Arc::new(Known { told_as, ..Known::default() });
        known.correct(all.corrections(&identity));
        known.recall(&kept);
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
        let mut all = lock(&self.all);
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

    /// What was learnt here and the keeper doesn't know yet.
    #[inline]
    pub fn take_news(&self) -> Vec<(DatabaseName, Learnt)> {
        self.news.take()
    }

    /// All that the keeper keeps. Every worker takes it, and one of them may be late.
    pub fn recall(&self, edition: u64, kept: Vec<(DatabaseName, Vec<Learnt>)>) {
        let mut all = lock(&self.all);
        if edition <= all.edition {
            return;
        }
        all.edition = edition;
        all.kept = kept.into_iter().collect();
        let known: Vec<_> = all
            .known
            .iter()
            .filter_map(|(identity, known)| {
                Some((Arc::clone(known), all.kept.get(&identity.name())?.clone()))
            })
            .collect();
        drop(all);
        for (known, kept) in known {
            known.recall(&kept);
        }
    }

    /// One thing more that the keeper keeps: this enforcer has learnt it, or another.
    pub fn recall_one(&self, edition: u64, database: DatabaseName, learnt: Learnt) {
        let mut all = lock(&self.all);
        if edition <= all.edition {
            return;
        }
        all.edition = edition;
        let known: Vec<_> = all
            .known
            .iter()
            .filter(|(identity, _)| identity.name() == database)
            .map(|(_, known)| Arc::clone(known))
            .collect();
        let kept = all.kept.entry(database).or_default();
        kept.retain(|one| !same_table(one, &learnt));
        kept.push(learnt.clone());
        drop(all);
        for known in known {
            known.recall(std::slice::from_ref(&learnt));
        }
    }
}

/// Whether one takes the place of the other.
fn same_table(one: &Learnt, other: &Learnt) -> bool {
    match (one, other) {
        (Learnt::Filled(one), Learnt::Filled(other)) => {
            (&one.relation, &one.schema, one.guessed)
                == (&other.relation, &other.schema, other.guessed)
        }
        _ => one == other,
    }
}

impl Identity {
    /// Without the certificate: that is renewed, and each server of a pair has its own.
    fn name(&self) -> DatabaseName {
        let [destination, system, database] =
            [&self.destination, &self.system, &self.database].map(|text| text.to_string());
        DatabaseName { destination, system, database }
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
            doubts: Doubts::default(),
            told_as: None,
            there: Mutex::default(),
        }
    }
}

impl Known {
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    pub fn doubts(&self) -> &Doubts {
        &self.doubts
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
        self.doubts.learnt(self.ended());
        self.tell_there();
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
        let changed = Arc::make_mut(&mut catalog);
        change(changed);
        let renamed = changed.take_renamed();
        if catalog.generation() != before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        drop(catalog);
        for one in &renamed {
            self.tell_filled(one);
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

    /// A statement fills a table with what is sensitive. `true`: with something new.
    pub fn carry(&self, carried: Carried) -> bool {
        if self.catalog().knows(&carried) {
            return false;
        }
        let mut new = None;
        self.update(|catalog| new = catalog.carry(carried));
        new.iter().for_each(|one| self.tell_filled(one));
        new.is_some()
    }

    /// A statement puts something sensitive where it has no column.
    pub fn spread_to(&self, notifications: bool, large_objects: bool) {
        let Spread { notifications: notified, large_objects: stored } = &self.spread;
        for (put, flag, learnt) in [
            (notifications, notified, Learnt::Notifications),
            (large_objects, stored, Learnt::LargeObjects),
        ] {
            if put && !flag.swap(true, Ordering::Relaxed) {
                self.tell(learnt);
            }
        }
    }

    // ---- what is kept ---------------------------------------------------------

    fn tell(&self, learnt: Learnt) {
        if let Some((database, news)) = &self.told_as {
            news.tell(database, learnt);
        }
    }

    fn tell_filled(&self, carried: &Carried) {
        if let Some(filled) = carried.told().filter(|_| !carried.passing) {
            self.tell(Learnt::Filled(filled));
        }
    }

    /// Tells once a day which filled tables are there: where the keeper has no room, it
    /// forgets others first.
    fn tell_there(&self) {
        let catalog = self.catalog();
        let mut there = lock(&self.there);
        if self.now() >= there.0 {
            *there = (self.now() + millis(DAY), HashSet::new());
        }
        let new: Vec<&str> =
            catalog.made_and_there().filter(|name| !there.1.contains(*name)).collect();
        there.1.extend(new.iter().map(|name| Box::from(*name)));
        for names in new.chunks(MOST_THERE) {
            self.tell(Learnt::There(names.iter().map(|name| (*name).to_owned()).collect()));
        }
    }

    /// Takes what the keeper keeps of it.
    fn recall(&self, kept: &[Learnt]) {
        let filled: Vec<Carried> = kept
            .iter()
            .filter_map(|one| match one {
                Learnt::Filled(filled) => Some(Carried::from(filled)),
                _ => None,
            })
            .collect();
        let catalog = self.catalog();
        let new: Vec<Carried> = filled.into_iter().filter(|one| !catalog.knows(one)).collect();
        drop(catalog);
        if !new.is_empty() {
            self.update(|catalog| new.into_iter().for_each(|one| drop(catalog.carry(one))));
            // What functions read is asked again.
            self.note_change();
        }
        for one in kept {
            match one {
                Learnt::Notifications => self.spread.notifications.store(true, Ordering::Relaxed),
                Learnt::LargeObjects => self.spread.large_objects.store(true, Ordering::Relaxed),
                Learnt::Filled(_) | Learnt::There(_) => {}
            }
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
const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests;
