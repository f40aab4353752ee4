//! The padded cell: where texts of strangers are parsed. A parser's stack overflow
//! or want of memory can't be caught, so each text is read where it can do no harm:
//!
//! ```text
//! small           --> the caller's own thread, under bounds that any stack carries
//! up to 64 K      --> a worker thread with a large stack, mapped as it is used
//! larger, deeper  --> a process of its own, handed in as a connected socket
//! ```
//!
//! The tree is made, walked and dropped there; only flat facts come back.
//!
//! INVARIANT: every text gets an answer. Whatever goes wrong is `unknown` with its
//! reason; a panic, a lost worker or a lost process is one refusal, never the end of
//! the agent.

pub mod lanes;
pub mod process;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::facts::{Doubt, Facts};
use super::read::{self, Bounds};
use super::state::LexingState;
use lanes::Lanes;

/// The stack of a worker: room for [`Bounds::LARGE`] and as much again. Only what is
/// touched takes memory.
pub const STACK: usize = 256 * 1024 * 1024;

/// Whom to give the facts, with the text that they are of.
pub type Reply = Box<dyn FnOnce(&[u8], Facts) + Send>;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub workers: usize,
    /// Texts that may wait; more are refused.
    pub waiting: usize,
    /// Whether parser processes are going to be attached. Without them what is long
    /// is refused at once.
    pub processes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { workers: 2, waiting: 256, processes: false }
    }
}

/// A text that waits to be read. INVARIANT: it is answered once, whatever becomes
/// of the thread that has it.
struct Job {
    text: Box<[u8]>,
    state: LexingState,
    reply: Option<Reply>,
}

impl Job {
    fn answer(mut self, facts: Facts) {
        self.give(facts);
    }

    fn refuse(self, why: &str) {
        let facts = refusal(&self.text, &self.state, why);
        self.answer(facts);
    }

    fn give(&mut self, facts: Facts) {
        if let Some(reply) = self.reply.take() {
            // What the asker does with them is no reason for this thread to end.
            let told = catch_unwind(AssertUnwindSafe(|| reply(&self.text, facts)));
            drop(told);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.reply.is_some() {
            let facts = refusal(&self.text, &self.state, "the parser's thread was lost");
            self.give(facts);
        }
    }
}

/// Handle to the workers. Dropping it ends them once the queue is empty.
pub struct Cell {
    /// caller --jobs--> workers
    jobs_tx: SyncSender<Job>,
    lanes: Option<Arc<Lanes>>,
}

impl Cell {
    pub fn start(settings: Settings) -> io::Result<Self> {
        let lanes = match settings.processes {
            true => Some(Arc::new(Lanes::start()?)),
            false => None,
        };
        let (jobs_tx, jobs_rx) = mpsc::sync_channel(settings.waiting);
        let jobs_rx = Arc::new(Mutex::new(jobs_rx));
        for number in 0..settings.workers.max(1) {
            let (jobs_rx, lanes) = (Arc::clone(&jobs_rx), lanes.clone());
            thread::Builder::new()
                .name(format!("sql-cell-{number}"))
                .stack_size(STACK)
                .spawn(move || work(&jobs_rx, lanes.as_deref()))?;
        }
        Ok(Self { jobs_tx, lanes })
    }

    /// The processes that read what is long, if there are to be any.
    pub fn lanes(&self) -> Option<&Arc<Lanes>> {
        self.lanes.as_ref()
    }

    /// Reads a small text on the caller's stack, and refuses one that nobody reads.
    /// `None`: it is for the workers.
    pub fn quick(text: &[u8], state: &LexingState) -> Option<Facts> {
        if text.len() > Bounds::PROCESS.bytes {
            return Some(attempt(text, state, Bounds::PROCESS));
        }
        if text.len() > Bounds::SMALL.bytes {
            return None;
        }
        let facts = attempt(text, state, Bounds::SMALL);
        (!exceeds(&facts)).then_some(facts)
    }

    /// Answers through `reply`, at once or from another thread. Never blocks. For what
    /// [`Cell::quick`] didn't read.
    pub fn submit(&self, text: Box<[u8]>, state: &LexingState, reply: Reply) {
        let job = Job { text, state: state.clone(), reply: Some(reply) };
        if job.text.len() <= Bounds::LARGE.bytes {
            match self.jobs_tx.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => job.refuse("too many statements wait to be read"),
                Err(TrySendError::Disconnected(job)) => {
                    job.refuse("the parser's threads have ended");
                }
            }
        } else {
            match &self.lanes {
                _ if job.text.len() > Bounds::PROCESS.bytes => {
                    job.refuse("nobody reads a text of this length");
                }
                Some(lanes) => lanes.submit(job),
                None => job.refuse("no parser process for a text of this length"),
            }
        }
    }

    /// The facts of a text, waiting for them. Not for threads that must not block.
    pub fn read(&self, text: &[u8], state: &LexingState) -> Facts {
        if let Some(facts) = Self::quick(text, state) {
            return facts;
        }
        // worker --facts--> here
        let (facts_tx, facts_rx) = mpsc::sync_channel(1);
        self.submit(
            text.into(),
            state,
            Box::new(move |_, facts| {
                // Nobody waits any more: fine.
                let _ = facts_tx.send(facts);
            }),
        );
        facts_rx.recv().unwrap_or_else(|_| refusal(text, state, "the parser's thread was lost"))
    }
}

fn refusal(text: &[u8], state: &LexingState, why: &str) -> Facts {
    let hints = read::hints_of(text, state);
    Facts::unknown(Doubt::Parser(why.into()), hints)
}

/// Whether it was not understood only for want of room.
fn exceeds(facts: &Facts) -> bool {
    facts.statements.iter().any(|statement| {
        statement.doubts.iter().any(|d| matches!(d, Doubt::TooDeep | Doubt::TooComplex))
    })
}

/// Reads on this thread; a panic becomes a doubt.
pub(super) fn attempt(text: &[u8], state: &LexingState, bounds: Bounds) -> Facts {
    let attempt = || match read::weigh(text, state, bounds) {
        Ok(readable) => read::read(&readable, state, bounds),
        Err(facts) => *facts,
    };
    // Nothing is shared with the attempt but what it only reads.
    catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|_| refusal(text, state, "the parser failed on this text"))
}

fn work(jobs_rx: &Mutex<Receiver<Job>>, lanes: Option<&Lanes>) {
    loop {
        let job = jobs_rx.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let facts = attempt(&job.text, &job.state, Bounds::LARGE);
        match lanes {
            Some(lanes) if exceeds(&facts) => lanes.submit(job),
            _ => job.answer(facts),
        }
    }
}

#[cfg(test)]
mod tests;
