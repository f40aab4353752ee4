//! The log as one process writes it: records are made under one lock, copied
//! into the mapped segment, and there they are.

mod connection;
mod disk;
mod flood;
mod group;
mod segments;
mod sums;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};

use super::record::{Body, RecordId, Told};
use super::statement::Reach;
use super::store::live::Spare;
use super::store::{Folder, Live, StoreError};
use super::{Subject, record};
use crate::model::{LogHealth, LogTerms, LogWelcome, Process, TextKept, Timestamp};
use crate::sql::{Facts, Strings};
use disk::Disk;
use flood::{Allowance, Floods};
use sums::Sums;

pub use connection::Connection;
pub(super) use connection::{BRIEF, IN_TRANSACTION};
pub(super) use group::Group;

/// Proof that a statement's intent lies in the log, or that the settings let it
/// go without. Made in this room only, used for one statement.
#[derive(Debug)]
#[must_use = "a statement is let through with it, and its outcome refers to it"]
pub struct Sealed {
    writer: u64,
    position: Option<u64>,
    /// What stands there stands for others too.
    summed: bool,
}

impl Sealed {
    /// `None`: it is not in the log.
    pub fn record(&self) -> Option<RecordId> {
        Some(RecordId { writer: self.writer, position: self.position? })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log can't be written: {0}")]
    Unwritable(String),
    #[error("the record is longer than a record may be")]
    TooLong,
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A handle to the log of this process.
#[derive(Clone, Debug)]
pub struct Log(Option<Arc<Shared>>);

#[derive(Debug)]
pub(super) struct Shared {
    pub folder: Folder,
    pub writer: u64,
    state: Mutex<State>,
    /// Tells the sequencer that there is enough to do.
    pub enough: Condvar,
    /// Records that are missing and not told of yet, and all that ever were.
    lost: AtomicU64,
    lost_ever: AtomicU64,
    disk: Disk,
    /// Of the terms: asked for with each statement.
    kept: AtomicU8,
    /// Before which position the disk has it, and whose turn it is to bring it there.
    on_disk: AtomicU64,
    syncing: Mutex<()>,
    #[cfg(test)]
    syncs: AtomicU64,
    /// Held for as long as the process lives; its end lets go of it.
    _lock: std::fs::File,
}

#[derive(Debug)]
pub(super) struct State {
    pub terms: LogTerms,
    live: Option<Arc<Live>>,
    /// Segments before it that the disk is still to be awaited for.
    left: Vec<Arc<Live>>,
    spare: Option<Spare>,
    /// Segments that the sequencer doesn't know yet.
    handed: Vec<Arc<Live>>,
    /// Of the next record.
    position: u64,
    /// Records since the sequencer last looked.
    waiting: u64,
    /// Where in this segment what stands.
    known: HashMap<u128, u64>,
    words: HashMap<Box<str>, u64>,
    processes: HashMap<crate::model::ProcessKey, connection::Counted>,
    /// How many connections there were.
    connections: u64,
    floods: Floods,
    sums: Sums,
    /// Why there is no next segment.
    trouble: Option<Trouble>,
    /// When a trouble was last told; it outlives the trouble.
    complained: Option<Instant>,
    group: group::Buffers,
}

/// INVARIANT: it is over only once a segment could be made. A record that still fits
/// into the last one proves nothing: the next may not.
#[derive(Debug)]
struct Trouble {
    why: String,
    told: bool,
}

impl Log {
    /// Begins to write under the number that the signer gave.
    pub fn open(folder: impl Into<PathBuf>, welcome: &LogWelcome) -> Result<Self, LogError> {
        let folder = Folder::new(folder);
        folder.prepare()?;
        let path = folder.lock(welcome.writer);
        let lock = std::fs::File::create(&path).map_err(StoreError::io("make", &path))?;
        lock.try_lock().map_err(|_| {
            let why = format!("another process writes as writer {}", welcome.writer);
            LogError::Unwritable(why)
        })?;
        let state = State {
            terms: welcome.terms.clone(),
            live: None,
            left: Vec::new(),
            spare: None,
            handed: Vec::new(),
            position: 0,
            waiting: 0,
            known: HashMap::new(),
            words: HashMap::new(),
            processes: HashMap::new(),
            connections: 0,
            floods: Floods::default(),
            sums: Sums::default(),
            trouble: None,
            complained: None,
            group: group::Buffers::default(),
        };
        let (disk, wanted_rx) = Disk::new();
        let log = Self(Some(Arc::new(Shared {
            folder,
            writer: welcome.writer,
            state: Mutex::new(state),
            enough: Condvar::new(),
            lost: AtomicU64::new(0),
            lost_ever: AtomicU64::new(0),
            disk,
            kept: AtomicU8::new(welcome.terms.text as u8),
            on_disk: AtomicU64::new(0),
            syncing: Mutex::new(()),
            #[cfg(test)]
            syncs: AtomicU64::new(0),
            _lock: lock,
        })));
        if let Some(shared) = &log.0 {
            Disk::start(shared, wanted_rx)?;
            // A log that can't be written says so now, and is tried again with
            // every record.
            let mut state = shared.lock();
            if let Err(error) = state.rotate(shared) {
                state.complain(&error);
            }
        }
        Ok(log)
    }

    /// No log: the settings say so. Nothing is recorded, nothing is refused.
    pub fn off() -> Self {
        Self(None)
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.0.as_ref()
    }

    /// Prepares what is recorded of a text. Keep it with the text's facts.
    pub fn subject(&self, text: &str, strings: Strings, facts: Option<&Facts>) -> Subject {
        Subject::new(text, strings, self.text_kept(), facts)
    }

    /// The same of a text that is too long to be looked at whole: its beginning, and
    /// how many bytes it has.
    pub fn subject_of_long(
        &self,
        head: &str,
        length: usize,
        strings: Strings,
        facts: Option<&Facts>,
    ) -> Subject {
        Subject::of_long(head, length, strings, self.text_kept(), facts)
    }

    /// How much of a text is kept by now.
    pub fn text_kept(&self) -> TextKept {
        self.0.as_ref().map_or(TextKept::Redacted, |shared| shared.text_kept())
    }

    /// New settings.
    pub fn set_terms(&self, terms: LogTerms) {
        if let Some(shared) = &self.0 {
            shared.kept.store(terms.text as u8, Ordering::Relaxed);
            shared.lock().terms = terms;
        }
    }

    /// Records something of the agent.
    pub fn tell(
        &self,
        kind: impl FnOnce(Told) -> Body,
        json: &impl serde::Serialize,
    ) -> Result<RecordId, LogError> {
        self.tell_of(micros(), kind, json)
    }

    /// The same of something that happened at this time.
    pub(super) fn tell_of(
        &self,
        at: u64,
        kind: impl FnOnce(Told) -> Body,
        json: &impl serde::Serialize,
    ) -> Result<RecordId, LogError> {
        let Some(shared) = &self.0 else {
            return Err(LogError::Unwritable("it is switched off".into()));
        };
        let json = serde_json::to_string(json).unwrap_or_default().into();
        let body = kind(Told { at, json });
        let mut state = shared.lock();
        let position = state.append(shared, &mut |group| group.put(|_| body.clone()))?;
        Ok(RecordId { writer: shared.writer, position })
    }

    /// The same of what somebody's connects came to, at the expense of its workload, as all
    /// that its connections write. `None`: that is so far over its rate that it is only
    /// counted. `matters`: it is recorded whatever is owed.
    pub(super) fn tell_observed(
        &self,
        at: u64,
        kind: impl FnOnce(Told) -> Body,
        json: &impl serde::Serialize,
        (process, matters): (Option<&Process>, bool),
    ) -> Result<Option<RecordId>, LogError> {
        let Some(shared) = &self.0 else {
            return Err(LogError::Unwritable("it is switched off".into()));
        };
        let json = serde_json::to_string(json).unwrap_or_default().into();
        let body = kind(Told { at, json });
        let (payer, named) = flood::payer_observed(process);
        let mut state = shared.lock();
        // By the clock: `at` may be long ago.
        let allowance = state.allowance(shared, payer, || named, micros())?;
        if !matters && matches!(allowance, Allowance::Together { reach: Reach::Workload, .. }) {
            state.floods.leave_out(payer);
            return Ok(None);
        }
        let mut written = 0;
        let position = state.append(shared, &mut |group| {
            group.put(|_| body.clone());
            written = flood::cost(group.records(), group.bytes());
        })?;
        state.floods.spend(payer, written);
        Ok(Some(RecordId { writer: shared.writer, position }))
    }

    pub fn health(&self) -> LogHealth {
        let Some(shared) = &self.0 else { return LogHealth::default() };
        let state = shared.lock();
        LogHealth {
            records: state.position,
            lost: shared.lost_ever.load(Ordering::Relaxed),
            trouble: state.trouble.as_ref().map(|trouble| trouble.why.clone()),
        }
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under it can only have left a record that isn't published.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn text_kept(&self) -> TextKept {
        let kept = self.kept.load(Ordering::Relaxed);
        let all = [TextKept::Full, TextKept::Redacted, TextKept::Fingerprint];
        all.into_iter().find(|one| *one as u8 == kept).unwrap_or(TextKept::Fingerprint)
    }

    /// Waits until there is enough to do, or for so long.
    pub fn wait(&self, most: Duration) {
        let state = self.lock();
        if state.waiting < ENOUGH {
            drop(self.enough.wait_timeout(state, most));
        }
    }

    /// A record is missing.
    pub fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.lost_ever.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    pub fn put_back_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }
}

impl State {
    /// Puts records into the log, with what they refer to. Gives the last one's
    /// position. `make` may be called twice and must not remember.
    pub fn append(
        &mut self,
        shared: &Shared,
        make: &mut dyn FnMut(&mut Group<'_>),
    ) -> Result<u64, LogError> {
        let result = self.try_append(shared, make);
        if let Err(error @ (LogError::Unwritable(_) | LogError::Store(_))) = &result {
            self.complain(error);
        }
        result
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some_and(|trouble| trouble.told) {
            tracing::warn!("the log can be written again");
        }
    }

    fn try_append(
        &mut self,
        shared: &Shared,
        make: &mut dyn FnMut(&mut Group<'_>),
    ) -> Result<u64, LogError> {
        for _ in 0..2 {
            if self.live.is_none() {
                self.rotate(shared)?;
            }
            let mut buffers = std::mem::take(&mut self.group);
            let mut group = Group::new(shared.writer, self, &mut buffers);
            make(&mut group);
            let done = group.finish();
            if done.too_long {
                self.group = buffers;
                return Err(LogError::TooLong);
            }
            if let Some(live) = self.live.as_ref().filter(|live| live.fits(done.room)) {
                live.append(buffers.payloads());
                self.position += done.records;
                self.waiting += done.records;
                if self.waiting >= ENOUGH && self.waiting - done.records < ENOUGH {
                    shared.enough.notify_one();
                }
                self.group = buffers;
                return Ok(self.position - 1);
            }
            group::undo(self, &buffers);
            self.group = buffers;
            self.rotate(shared)?;
        }
        Err(LogError::TooLong)
    }

    fn complain(&mut self, error: &LogError) {
        let told = self.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY);
        if told {
            tracing::error!(
                "{error}: statements to strict destinations are refused, those to permissive ones \
                 go through without a record"
            );
            self.complained = Some(Instant::now());
        }
        let told = told || self.trouble.as_ref().is_some_and(|trouble| trouble.told);
        self.trouble = Some(Trouble { why: error.to_string(), told });
    }
}

pub(super) fn micros() -> u64 {
    Timestamp::now().0 / 1_000
}

/// So many records don't wait for the next second.
const ENOUGH: u64 = 1_000;
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// A statement's record is never longer, whatever it refers to.
const _: () = assert!(record_fits());

const fn record_fits() -> bool {
    super::redact::LONGEST * 6 < super::frame::LONGEST
}

pub(super) use record::encode;

#[cfg(test)]
pub(super) mod tests;
