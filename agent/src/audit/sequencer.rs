//! Brings records into the tree: hashes them, has the head signed, writes both
//! down, seals what is full, takes up what dead processes left, lets old
//! segments go.
//!
//! Runs beside the workers and never holds them up: it reads what they have
//! announced.

mod keeping;
mod notes;
mod recovery;

#[cfg(test)]
pub(super) use notes::tell as tell_note;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::frame::{self, Found, SEGMENT_HEAD};
use super::log::{Log, LogError, Shared, micros};
use super::record::Body;
use super::store::live::Spare;
use super::store::sealed;
use super::store::{Live, StoreError, Tree};
use crate::ledger::merkle::{self, Hash, Range};
use crate::ledger::{Checkpoint, MOST_AT_ONCE, note};
use crate::model::{LogAnswer, LogAppend, LogHealth, LogNote, LogTerms, LogWelcome};

/// Whoever signs. What it says to an append is all that counts as order.
pub trait Signer: Send {
    /// Waits for the answer, though not for ever.
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String>;
    /// A writer's records are all in.
    fn finish(&mut self, writer: u64) -> Result<(), String>;
    /// What the signer said meanwhile; waits for nothing.
    fn heard(&mut self) -> Vec<Heard>;
    /// How the log is doing, for whoever is asked about it. False: it was not
    /// told.
    fn health(&mut self, _health: &LogHealth) -> bool {
        true
    }
}

#[derive(Debug)]
pub enum Heard {
    Terms(LogTerms),
    Note(LogNote),
}

/// The thread. Dropped, it does the rest and ends.
#[derive(Debug)]
pub struct Sequencer {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The work itself, turn by turn.
pub(super) struct Work {
    log: Log,
    shared: Arc<Shared>,
    signer: Box<dyn Signer>,
    tree: Tree,
    /// The tree's size, as far as is known.
    size: u64,
    /// Of this writer's records, how many are in the tree.
    sequenced: u64,
    segments: VecDeque<Reading>,
    unfinished: Vec<crate::model::LogWriter>,
    look_again: Instant,
    /// Writers that had no lock when they were looked for.
    without_lock: HashSet<u64>,
    removing: Option<keeping::Removal>,
    refused: bool,
    /// Signed, and not yet written down.
    owed: Option<Owed>,
    /// Why the last turn was not whole.
    trouble: Option<String>,
    told: LogHealth,
    /// What the keeper wants to have recorded, and since when.
    untold: VecDeque<(u64, LogNote)>,
    /// How many of these are of others' doing: they have a bound of their own.
    observed: usize,
}

/// What a head brought into the tree. INVARIANT: no further one is asked for
/// before this is on the disk, so the signer's last note is all that a dead
/// process, or a loss of power, can owe.
struct Owed {
    at: u64,
    leaves: Vec<Hash>,
    note: String,
}

/// A segment of our own, read up to a place.
struct Reading {
    live: Arc<Live>,
    place: usize,
    position: u64,
}

impl Sequencer {
    pub fn start(
        log: &Log,
        welcome: &LogWelcome,
        signer: Box<dyn Signer>,
    ) -> Result<Option<Self>, LogError> {
        let Some(shared) = log.shared().cloned() else { return Ok(None) };
        let mut work = Work::new(log.clone(), Arc::clone(&shared), welcome, signer)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("sequencer".into())
            .spawn({
                let stop = Arc::clone(&stop);
                move || work.run(&stop)
            })
            .map_err(|error| LogError::Unwritable(format!("its thread doesn't start: {error}")))?;
        Ok(Some(Self { stop, shared, thread: Some(thread) }))
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.shared.enough.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Work {
    pub fn new(
        log: Log,
        shared: Arc<Shared>,
        welcome: &LogWelcome,
        signer: Box<dyn Signer>,
    ) -> Result<Self, LogError> {
        let tree = Tree::open(&shared.folder)?;
        Ok(Self {
            tree,
            log,
            shared,
            signer,
            size: welcome.size,
            sequenced: 0,
            segments: VecDeque::new(),
            unfinished: welcome.unfinished.clone(),
            look_again: Instant::now(),
            without_lock: HashSet::new(),
            removing: None,
            refused: false,
            owed: None,
            trouble: None,
            told: LogHealth::default(),
            untold: VecDeque::new(),
            observed: 0,
        })
    }

    fn run(&mut self, stop: &AtomicBool) {
        // Its bursts come between the turns of those who have clients. Of a thread, on
        // Linux; where it isn't allowed, nothing is lost.
        let _ = rustix::process::nice(NICENESS);
        let mut told: Option<Instant> = None;
        let mut headed: Option<Instant> = None;
        while !stop.load(Ordering::Relaxed) {
            // What a head covers is on the disk before it is signed, and the disk is
            // the databases' too: one a second, however much there is.
            if headed.is_some_and(|at| at.elapsed() < EVERY) {
                self.make_room();
            } else {
                headed = Some(Instant::now());
                let turned = self.turn();
                self.trouble = turned.as_ref().err().map(ToString::to_string);
                if let Err(error) = turned
                    && told.is_none_or(|at| at.elapsed() > TELL_EVERY)
                {
                    tracing::error!("records wait for their signature: {error}");
                    told = Some(Instant::now());
                }
            }
            self.tell_health();
            if !stop.load(Ordering::Relaxed) {
                std::thread::sleep(BREATH);
            }
            self.shared.wait(EVERY.saturating_sub(BREATH));
        }
        // What is told of others while they are brought in comes before the end.
        let others = self.turn();
        let _ = self.shared.end_sums(None);
        self.shared.lock().end();
        let ended = others
            .and_then(|()| self.turn())
            .and_then(|()| if self.is_done() { self.finish() } else { Ok(()) });
        if let Err(error) = ended {
            tracing::warn!("the log's last records wait for the next process: {error}");
        }
    }

    /// Everything that is to be done now.
    pub fn turn(&mut self) -> Result<(), LogError> {
        for heard in self.signer.heard() {
            self.hear(heard);
        }
        self.tell_notes();
        self.tell_lost();
        // What can't be told now waits for the next turn.
        let _ = self.shared.end_sums(Some(micros()));
        self.make_room();
        // On a full disk one thing may fail and another free some room.
        let mut results = vec![self.pay().and_then(|()| self.sequence_own()), self.seal_full()];
        if self.look_again <= Instant::now() {
            self.look_again = Instant::now() + LOOK_EVERY;
            results.push(self.recover_others());
            results.push(self.let_go());
        }
        results.push(self.removed());
        results.into_iter().collect()
    }

    /// Nothing of this process's is left to be brought in.
    fn is_done(&self) -> bool {
        self.segments.is_empty() && self.owed.is_none()
    }

    fn tell_health(&mut self) {
        let mut health = self.log.health();
        health.trouble = health.trouble.or_else(|| self.trouble.clone());
        if health != self.told && self.signer.health(&health) {
            self.told = health;
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Terms(terms) => self.log.set_terms(terms),
            Heard::Note(note) => {
                let waiting = match note.is_observed() {
                    true => self.observed,
                    false => self.untold.len() - self.observed,
                };
                if waiting >= MOST_UNTOLD {
                    tracing::error!("an event of the agent is not in the log: too many wait");
                    return;
                }
                self.observed += usize::from(note.is_observed());
                self.untold.push_back((micros(), note));
            }
        }
    }

    /// What can't be recorded waits: that there is no room is among it.
    fn tell_notes(&mut self) {
        while let Some((at, note)) = self.untold.front() {
            match notes::tell(&self.log, *at, note) {
                Err(LogError::Unwritable(_) | LogError::Store(_)) => return,
                Err(error) => tracing::error!("an event of the agent is not in the log: {error}"),
                Ok(_) => {}
            }
            self.observed -= usize::from(note.is_observed());
            self.untold.pop_front();
        }
    }

    /// Statements that went through without a record are recorded as a number.
    fn tell_lost(&mut self) {
        let lost = self.shared.take_lost();
        if lost > 0 && self.log.tell(Body::Lost, &json!({ "records": lost })).is_err() {
            self.shared.put_back_lost(lost);
        }
    }

    /// The next segment is made ready while there is still room in this one.
    fn make_room(&mut self) {
        let Some(size) = self.shared.lock().wants_spare() else { return };
        match Spare::make(&self.shared.folder, self.shared.writer, size) {
            Ok(spare) => self.shared.lock().take_spare(spare),
            Err(error) => self.shared.lock().no_spare(&error.into()),
        }
    }

    /// All that this process had written when it was called: what comes meanwhile
    /// waits for its second, or a busy host would sync and sign without a pause.
    fn sequence_own(&mut self) -> Result<(), LogError> {
        for live in self.shared.lock().hand_over() {
            let position = live.start().first;
            self.segments.push_back(Reading { live, place: SEGMENT_HEAD, position });
        }
        loop {
            let (leaves, read) = self.read_own(MOST_AT_ONCE);
            if leaves.is_empty() {
                return Ok(());
            }
            for (reading, _) in self.segments.iter().zip(&read) {
                reading.live.sync()?;
            }
            let taken = self.sequence(self.shared.writer, self.sequenced, &leaves)?;
            self.sequenced += taken as u64;
            let read = if taken < leaves.len() { self.read_own(taken).1 } else { read };
            for (reading, (place, position)) in self.segments.iter_mut().zip(read) {
                reading.place = place;
                reading.position = position;
            }
            if taken == leaves.len() && taken < MOST_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Leaves of what is new, at most so many, and how far each segment was read for them.
    fn read_own(&self, most: usize) -> (Vec<Hash>, Vec<(usize, u64)>) {
        let mut leaves = Vec::new();
        let mut read = Vec::new();
        for reading in &self.segments {
            // A later one may hold records while this one is still read.
            let bytes = reading.live.written();
            let (mut place, mut position) = (reading.place, reading.position);
            while leaves.len() < most
                && let Found::Record { payload, next } = frame::at(bytes, place)
            {
                leaves.push(merkle::leaf(payload));
                place = next;
                position += 1;
            }
            read.push((place, position));
            if leaves.len() >= most || place < bytes.len() {
                break;
            }
        }
        (leaves, read)
    }

    /// Has leaves of a writer put behind the tree, and writes down what that
    /// came to. How many it took: fewer, where the first of them were signed before.
    fn sequence(&mut self, writer: u64, first: u64, leaves: &[Hash]) -> Result<usize, LogError> {
        self.pay()?;
        for _ in 0..TRIES {
            let mut range = Range::empty(self.size);
            for leaf in leaves {
                range.push(*leaf);
            }
            let asked = LogAppend {
                writer,
                first,
                count: leaves.len() as u64,
                at: self.size,
                hashes: range.hashes(),
            };
            match self.signer.append(&asked).map_err(LogError::Unwritable)? {
                LogAnswer::Signed { note } => {
                    let Some((at, taken)) = taken(&asked, &note)
                        .and_then(|(at, count)| Some((at, leaves.get(..count)?.to_vec())))
                    else {
                        let why = "the keeper signed a head of other records than it was asked for";
                        return Err(LogError::Unwritable(why.into()));
                    };
                    let count = taken.len();
                    self.owed = Some(Owed { at, leaves: taken, note });
                    self.size = self.size.max(at + count as u64);
                    // They are in the tree, whatever the disk says; what fails
                    // is tried again, and told by whoever needs it next.
                    let _ = self.pay();
                    return Ok(count);
                }
                LogAnswer::Moved { size } => self.size = size,
                LogAnswer::Refused { why } => {
                    if !std::mem::replace(&mut self.refused, true) {
                        tracing::error!("the log's head is not signed: {why}");
                    }
                    return Err(LogError::Unwritable(why));
                }
            }
        }
        Err(LogError::Unwritable("others always come first; it is tried again".into()))
    }

    /// Writes down what was signed: leaves before the head that covers them, each on the
    /// disk before what leans on it.
    fn pay(&mut self) -> Result<(), LogError> {
        if let Some(owed) = &self.owed {
            self.tree.write(owed.at, &owed.leaves)?;
            self.tree.note(&owed.note)?;
            self.owed = None;
        }
        Ok(())
    }

    fn seal_full(&mut self) -> Result<(), LogError> {
        while let Some(reading) = self.segments.front() {
            if !reading.live.is_full() || reading.position < reading.live.next() {
                return Ok(());
            }
            if reading.live.count() == 0 {
                let path = reading.live.path();
                std::fs::remove_file(path).map_err(StoreError::io("remove", path))?;
            } else {
                sealed::seal(&self.shared.folder, reading.live.path(), reading.live.written())?;
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    /// No record of this process will follow.
    fn finish(&mut self) -> Result<(), LogError> {
        self.signer.finish(self.shared.writer).map_err(LogError::Unwritable)?;
        let _ = std::fs::remove_file(self.shared.folder.lock(self.shared.writer));
        Ok(())
    }
}

/// The leaf that the first record asked for has become, and how many were taken with it.
/// `None`: the head is of others.
fn taken(asked: &LogAppend, note: &str) -> Option<(u64, usize)> {
    let Checkpoint { size, batch, .. } = note::peek(note)?;
    let asked_for = (batch.writer, batch.first) == (asked.writer, asked.first)
        && (1..=asked.count).contains(&batch.count);
    let count = usize::try_from(batch.count).ok().filter(|_| asked_for)?;
    Some((size.checked_sub(batch.count)?, count))
}

const NICENESS: i32 = 5;
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the next segment is wanted, at most.
const BREATH: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_secs(60);
const TELL_EVERY: Duration = Duration::from_secs(60);
const MOST_UNTOLD: usize = 10_000;
const TRIES: usize = 100;

#[cfg(test)]
mod tests;
