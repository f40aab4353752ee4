//! The log's signer: it holds the key and the head of the tree, and signs a head
//! only when it is the last one with leaves appended.
//!
//! `enforcers' logs --appends--> notary --signed heads--> enforcers' logs`
//!
//! It sees hashes, never a record. A thread of its own: it waits for disks.
//!
//! Never: to let a signature out before the head that it signs is stored; to go
//! on from a head that it can't read. Then the log is another one, with another
//! key and name.

mod catching_up;
mod files;
mod indexer;
mod slots;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::channel::{Channel, ChannelError, FromLog, ToLog};
use crate::config::Settings;
use crate::ledger::{Head, SigningKey};
use crate::model::{
    LogAnswer, LogAppend, LogHealth, LogNote, LogReport, LogTerms, LogWelcome, Timestamp, Verdict,
};
use files::Files;
pub use files::NotaryError;
use indexer::Indexer;

type LogChannel = Channel<ToLog, FromLog>;

/// The way to the notary's thread, which ends with the last of these.
#[derive(Clone, Debug)]
pub struct Notary(Arc<Door>);

#[derive(Debug)]
struct Door {
    jobs_tx: Mutex<Option<Sender<Job>>>,
    wake: Arc<OwnedFd>,
    folder: PathBuf,
    report: Arc<Mutex<LogReport>>,
}

#[derive(Debug)]
enum Job {
    Join(LogChannel),
    Terms(LogTerms),
    Note(LogNote),
    /// To be answered once nothing waits to be recorded.
    Given(Sender<()>),
}

struct Office {
    files: Files,
    key: SigningKey,
    head: Head,
    terms: LogTerms,
    jobs_rx: Receiver<Job>,
    wake: Arc<OwnedFd>,
    /// The newest last; it gets what is to be recorded.
    writers: Vec<Writer>,
    /// The numbers of those that have a channel. INVARIANT: nobody else speaks for them;
    /// an enforcer that drains, or was taken over, says nothing for the next one.
    present: BTreeSet<u64>,
    /// What those that are gone have told of themselves.
    gone: LogHealth,
    /// Why a writer got no welcome.
    trouble: Option<String>,
    /// When it was last told that the head can't be stored.
    complained: Option<Instant>,
    report: Arc<Mutex<LogReport>>,
    notes: VecDeque<LogNote>,
    /// How many of them are of others' doing: they have a bound of their own.
    observed: usize,
    /// Notes for which there was no room.
    dropped: u64,
    /// Who waits for all of them to be given.
    awaited: Vec<Sender<()>>,
    /// `None` in tests: this binary isn't tidegate.
    indexer: Option<Indexer>,
}

struct Writer {
    channel: LogChannel,
    /// Whose records it brings, beside those that nobody else can bring any more.
    number: u64,
    health: LogHealth,
}

impl Notary {
    /// `None`: the settings want no log.
    pub fn of(settings: &Settings, owner: (u32, u32)) -> Result<Option<Self>, NotaryError> {
        if !settings.audit.enabled {
            return Ok(None);
        }
        let (files, key, head) = files::open(&settings.audit.folder, owner)?;
        let folder = files.log.clone();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(io::Error::from)?);
        let (jobs_tx, jobs_rx) = channel();
        let report = LogReport { enabled: true, ..LogReport::default() };
        let report = Arc::new(Mutex::new(report));
        let mut office = Office {
            files,
            key,
            head,
            terms: settings.audit.terms.clone(),
            jobs_rx,
            wake: Arc::clone(&wake),
            writers: Vec::new(),
            present: BTreeSet::new(),
            gone: LogHealth::default(),
            trouble: None,
            complained: None,
            report: Arc::clone(&report),
            notes: VecDeque::new(),
            observed: 0,
            dropped: 0,
            awaited: Vec::new(),
            indexer: (!cfg!(test)).then(|| Indexer::new(folder.clone(), owner)),
        };
        let version = env!("CARGO_PKG_VERSION").into();
        office.notes.push_back(LogNote::Started { version });
        super::start("notary", move || office.run())?;
        let jobs_tx = Mutex::new(Some(jobs_tx));
        Ok(Some(Self(Arc::new(Door { jobs_tx, wake, folder, report }))))
    }

    /// The folder that the log's writers write in.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// A new writer.
    pub fn join(&self, channel: LogChannel) {
        self.0.ask(Job::Join(channel));
    }

    pub fn set_terms(&self, terms: LogTerms) {
        self.0.ask(Job::Terms(terms));
    }

    /// How the log is doing, as far as its writers have told.
    pub fn report(&self) -> LogReport {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has something recorded by whoever writes now. Waits for nothing.
    pub fn note(&self, note: LogNote) {
        self.0.ask(Job::Note(note));
    }

    /// Has the last word recorded, and waits until a writer was given it with all that
    /// came before, though not for ever.
    pub fn last_word(&self, note: LogNote) {
        let (given_tx, given_rx) = channel();
        self.note(note);
        self.0.ask(Job::Given(given_tx));
        if given_rx.recv_timeout(LAST_WORD_WITHIN).is_err() {
            tracing::warn!("the log doesn't tell of the end: nobody writes it");
        }
    }
}

impl Door {
    fn ask(&self, job: Job) {
        let jobs_tx = self.jobs_tx.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs_tx.as_ref().is_some_and(|jobs_tx| jobs_tx.send(job).is_ok()) {
            self.ring();
        }
    }

    fn ring(&self) {
        // A full counter wakes it as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.jobs_tx.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.ring();
    }
}

impl Office {
    fn run(&mut self) {
        loop {
            let mut waited = vec![PollFd::new(&self.wake, PollFlags::IN)];
            waited.extend(self.writers.iter().map(|it| PollFd::new(&it.channel, PollFlags::IN)));
            match poll(&mut waited, Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!("the log is not signed any more: {error}");
                    return;
                }
            }
            drop(waited);
            if let Some(indexer) = &mut self.indexer {
                indexer.look_after();
            }
            let mut counter = [0; 8];
            let _ = rustix::io::read(self.wake.as_fd(), &mut counter);
            loop {
                match self.jobs_rx.try_recv() {
                    Ok(job) => self.take(job),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let mut writers = std::mem::take(&mut self.writers);
            writers.retain_mut(|writer| self.hear(writer));
            self.writers = writers;
            self.tell_notes();
            self.account();
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Join(writer) => self.welcome(writer),
            Job::Terms(terms) => {
                for writer in &self.writers {
                    // A writer that is behind keeps the terms it began with.
                    let _ = writer.channel.send(&ToLog::Terms(terms.clone()), &[]);
                }
                self.terms = terms;
            }
            Job::Note(note) => {
                let observed = note.is_observed();
                if (if observed { self.observed } else { self.own() }) >= MOST_NOTES {
                    self.dropped += 1;
                    return;
                }
                self.observed += usize::from(observed);
                self.notes.push_back(note);
            }
            Job::Given(given_tx) => self.awaited.push(given_tx),
        }
    }

    fn welcome(&mut self, writer: LogChannel) {
        let before = self.head.clone();
        let number = self.head.enlist();
        if let Err(error) = self.files.store_now(&self.head) {
            self.head = before;
            tracing::error!("an enforcer gets no log: {error}");
            self.trouble = Some(format!("an enforcer gets no log: {error}"));
            return;
        }
        let welcome = LogWelcome {
            origin: self.head.origin.clone(),
            writer: number,
            size: self.head.size(),
            unfinished: self.head.unfinished(),
            terms: self.terms.clone(),
        };
        match writer.send(&ToLog::Welcome(Box::new(welcome)), &[]) {
            Ok(()) => {
                self.trouble = None;
                self.present.insert(number);
                let health = LogHealth::default();
                self.writers.push(Writer { channel: writer, number, health });
            }
            Err(error) => tracing::error!("an enforcer gets no log: {error}"),
        }
    }

    /// Puts together what writers tell of themselves.
    fn account(&self) {
        let all = || self.writers.iter().map(|writer| &writer.health);
        let report = LogReport {
            enabled: true,
            records: self.gone.records + all().map(|health| health.records).sum::<u64>(),
            lost: self.gone.lost + all().map(|health| health.lost).sum::<u64>(),
            // Of those that write now the newest counts first.
            trouble: all()
                .rev()
                .find_map(|health| health.trouble.clone())
                .or_else(|| self.trouble.clone()),
        };
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Hears a writer out, within bounds. False: it is gone.
    fn hear(&mut self, writer: &mut Writer) -> bool {
        for _ in 0..TURN {
            let answer = match writer.channel.receive() {
                Ok(received) => match received.message {
                    FromLog::Append(asked) => Some(self.append(writer.number, &asked)),
                    FromLog::Finish { writer: finished } => {
                        self.finish(writer.number, finished);
                        None
                    }
                    FromLog::Health(health) => {
                        writer.health = health;
                        None
                    }
                },
                Err(ChannelError::WouldBlock) => return true,
                Err(error) => {
                    if !matches!(error, ChannelError::Closed) {
                        tracing::error!("a log's channel failed: {error}");
                    }
                    return self.has_gone(writer);
                }
            };
            if let Some(answer) = answer
                && let Err(error) = writer.channel.send(&ToLog::Answer(answer), &[])
            {
                tracing::error!("a log could not be answered: {error}");
                return self.has_gone(writer);
            }
        }
        true
    }

    fn has_gone(&mut self, writer: &Writer) -> bool {
        self.gone.records += writer.health.records;
        self.gone.lost += writer.health.lost;
        self.present.remove(&writer.number);
        false
    }

    /// Whether one writer may speak for another: the records of one that died are brought
    /// in by the next.
    fn may_speak(&self, from: u64, of: u64) -> bool {
        from == of || !self.present.contains(&of)
    }

    fn append(&mut self, from: u64, asked: &LogAppend) -> LogAnswer {
        let before = self.head.clone();
        let answer = if self.may_speak(from, asked.writer) {
            self.head.append(asked, &self.key, Timestamp::now())
        } else {
            let of = asked.writer;
            let why = format!("writer {from} tells of records of writer {of}, which is still here");
            LogAnswer::Refused { why }
        };
        if let LogAnswer::Refused { why } = &answer {
            tracing::error!("a head of the log was refused a signature: {why}");
        }
        match self.store_since(before) {
            Ok(()) => answer,
            Err(why) => LogAnswer::Refused { why },
        }
    }

    fn finish(&mut self, from: u64, writer: u64) {
        if !self.may_speak(from, writer) {
            let why = "which is still here";
            tracing::error!("writer {from} of the log wanted to finish writer {writer}, {why}");
            return;
        }
        let before = self.head.clone();
        self.head.finish(writer);
        let _ = self.store_since(before);
    }

    /// What can't be stored has not happened.
    fn store_since(&mut self, before: Head) -> Result<(), String> {
        if self.head == before {
            return Ok(());
        }
        self.files.store(&self.head).map_err(|error| {
            self.head = before;
            if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
                tracing::error!("the log is not signed: {error}");
                self.complained = Some(Instant::now());
            }
            error.to_string()
        })
    }

    /// Notes of the agent's own that wait.
    fn own(&self) -> usize {
        self.notes.len() - self.observed
    }

    /// Gives what is to be recorded to the newest writer.
    fn tell_notes(&mut self) {
        let Some(writer) = self.writers.last() else { return };
        if self.dropped > 0 && self.own() < MOST_NOTES {
            let why = format!("{} events found no room and are not in the log", self.dropped);
            self.notes.push_back(LogNote::Degraded { verdict: Verdict::Degraded, why });
            self.dropped = 0;
        }
        while let Some(note) = self.notes.front() {
            match writer.channel.send(&ToLog::Note(note.clone()), &[]) {
                // It is behind; the next turn, or the next writer, takes it.
                Err(ChannelError::WouldBlock | ChannelError::Closed) => return,
                Err(error) => tracing::error!("an event of the agent is not in the log: {error}"),
                Ok(()) => {}
            }
            self.observed -= usize::from(note.is_observed());
            self.notes.pop_front();
        }
        for given_tx in self.awaited.drain(..) {
            let _ = given_tx.send(());
        }
    }
}

/// How often the index's process is looked after.
const LOOK: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
const TURN: usize = 64;
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);
const MOST_NOTES: usize = 10_000;

#[cfg(test)]
mod tests;
