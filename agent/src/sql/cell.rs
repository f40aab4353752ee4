//! The padded cell: where texts of strangers are parsed. A parser's stack overflow
//! or want of memory can't be caught, so each text is read where it can do no harm:
//!
//! ```text
//! small      --> the caller's own thread, under bounds that any stack carries
//! up to 64 K --> a worker thread with a large stack, mapped as it is used
//! larger     --> a process of its own, handed in as a connected pipe
//! ```
//!
//! The tree is made, walked and dropped there; only flat facts come back.
//!
//! INVARIANT: every text gets an answer. Whatever goes wrong is `unknown` with its
//! reason; a panic, a lost worker or a lost process is one refusal, never the end of
//! the agent.

pub mod process;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::facts::{Doubt, Facts};
use super::read::{self, Bounds};
use super::state::LexingState;

/// The stack of a worker: room for [`Bounds::LARGE`] and as much again. Only what is
/// touched takes memory.
pub const STACK: usize = 256 * 1024 * 1024;

/// Whom to give the facts.
pub type Reply = Box<dyn FnOnce(Facts) + Send>;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub workers: usize,
    /// Texts that may wait; more are refused.
    pub waiting: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { workers: 2, waiting: 256 }
    }
}

struct Job {
    text: Box<[u8]>,
    state: LexingState,
    reply: Reply,
}

type Pipe = Box<dyn process::Duplex>;

/// Handle to the workers. Dropping it ends them once the queue is empty.
pub struct Cell {
    /// caller --jobs--> workers
    jobs_tx: SyncSender<Job>,
    /// caller --large jobs--> the thread that speaks with the process
    large_tx: SyncSender<Job>,
    /// keeper's pipe --> that thread
    pipe: Arc<Mutex<Option<Pipe>>>,
}

impl Cell {
    pub fn start(settings: Settings) -> io::Result<Self> {
        let (jobs_tx, jobs_rx) = mpsc::sync_channel(settings.waiting);
        let (large_tx, large_rx) = mpsc::sync_channel(settings.waiting.div_ceil(16));
        let jobs_rx = Arc::new(Mutex::new(jobs_rx));
        for number in 0..settings.workers.max(1) {
            let jobs_rx = Arc::clone(&jobs_rx);
            thread::Builder::new()
                .name(format!("sql-cell-{number}"))
                .stack_size(STACK)
                .spawn(move || work(&jobs_rx))?;
        }
        let pipe = Arc::new(Mutex::new(None));
        let pipe_of_thread = Arc::clone(&pipe);
        thread::Builder::new()
            .name("sql-cell-large".into())
            .spawn(move || speak(&large_rx, &pipe_of_thread))?;
        Ok(Self { jobs_tx, large_tx, pipe })
    }

    /// Connects the parser process. The pipe should have time limits of its own for
    /// reading and writing: one that runs out counts as a lost process.
    pub fn attach(&self, pipe: impl process::Duplex + 'static) {
        *self.pipe.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(pipe));
    }

    /// Whether a parser process is connected; after it was lost, a new one is due.
    pub fn attached(&self) -> bool {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Reads a small text on the caller's stack. `None`: it is for the workers.
    pub fn quick(text: &[u8], state: &LexingState) -> Option<Facts> {
        if text.len() > Bounds::SMALL.bytes {
            return None;
        }
        let facts = attempt(text, state, Bounds::SMALL);
        let exceeded = facts.statements.iter().any(|statement| {
            statement.doubts.iter().any(|d| matches!(d, Doubt::TooDeep | Doubt::TooComplex))
        });
        (!exceeded).then_some(facts)
    }

    /// Answers through `reply`, at once or from another thread. Never blocks.
    pub fn submit(&self, text: &[u8], state: &LexingState, reply: Reply) {
        let queue = if text.len() <= Bounds::LARGE.bytes {
            &self.jobs_tx
        } else if text.len() <= Bounds::PROCESS.bytes {
            &self.large_tx
        } else {
            reply(attempt(text, state, Bounds::PROCESS));
            return;
        };
        let job = Job { text: text.into(), state: state.clone(), reply };
        let (job, why) = match queue.try_send(job) {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, "too many statements wait to be read"),
            Err(TrySendError::Disconnected(job)) => (job, "the parser's threads have ended"),
        };
        (job.reply)(refusal(&job.text, &job.state, why));
    }

    /// The facts of a text, waiting for them. Not for threads that must not block.
    pub fn read(&self, text: &[u8], state: &LexingState) -> Facts {
        if let Some(facts) = Self::quick(text, state) {
            return facts;
        }
        // worker --facts--> here
        let (facts_tx, facts_rx) = mpsc::sync_channel(1);
        self.submit(
            text,
            state,
            Box::new(move |facts| {
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

fn work(jobs_rx: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs_rx.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        (job.reply)(attempt(&job.text, &job.state, Bounds::LARGE));
    }
}

fn speak(large_rx: &Receiver<Job>, pipe: &Mutex<Option<Pipe>>) {
    while let Ok(job) = large_rx.recv() {
        // Taken out while it is in use: lost with whatever goes wrong.
        let taken = pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let facts = match taken {
            None => refusal(&job.text, &job.state, "no parser process for a text of this length"),
            Some(mut taken) => match process::ask(&mut taken, &job.text, &job.state) {
                Ok(facts) => {
                    let mut slot = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                    slot.get_or_insert(taken);
                    facts
                }
                Err(error) => refusal(
                    &job.text,
                    &job.state,
                    &format!("the parser process was lost over this text: {error}"),
                ),
            },
        };
        (job.reply)(facts);
    }
}

#[cfg(test)]
mod tests;
