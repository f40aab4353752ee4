//! The unprivileged process that carries the connections.
//!
//! `keeper --handovers--> enforcer --ends--> keeper`
//!
//! It locks itself in before it reads a message, and runs one worker to a
//! channel. It can reach nothing: the sockets that it relays between are given
//! to it, connected. It outlives the keeper for as long as a session lasts.

mod askings;
mod cancels;
mod carriage;
mod catalogs;
mod fences;
mod hashing;
mod inherited;
mod log;
mod means;
mod parser;
mod postgres;
mod relay;
#[cfg(test)]
mod rig;
mod seats;
mod tls;
mod worker;

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use fences::FenceError;
pub use inherited::{channels, log_channel, parsers_channel};
use means::Shared;
pub use parser::parse;
pub use worker::WorkerError;
use worker::{Patience, Start, Worker};

use crate::wire::postgres::scram::keys_are_locked;

#[derive(Debug)]
pub struct Options {
    /// Who it runs as.
    pub uid: u32,
    pub gid: u32,
    /// The only folders in which it may write.
    pub writable: Vec<PathBuf>,
    /// Where its log lies, and the channel to whoever signs it. `None`: the
    /// settings want no log.
    pub log: Option<(OwnedFd, PathBuf)>,
    /// By which parser processes come. `None`: long texts are refused.
    pub parsers: Option<OwnedFd>,
    /// One for each worker.
    pub channels: Vec<OwnedFd>,
}

#[derive(Debug, thiserror::Error)]
pub enum EnforcerError {
    #[error("descriptor {number} can't be a channel: {why}; only the keeper starts an enforcer")]
    Inherited { number: RawFd, why: &'static str },
    #[error("no channel was given; only the keeper starts an enforcer")]
    NoChannel,
    #[error("{open} open files are too few for {workers} workers; raise the limit (LimitNOFILE=)")]
    TooFewFiles { open: u64, workers: usize },
    #[error("the fences are not up: {0}")]
    Fences(#[from] FenceError),
    #[error("the log can't be opened: {0}")]
    Log(String),
    #[error("cannot make a key for certificates: {0}")]
    Leaves(String),
    #[error("the parser process: {0}")]
    Parser(std::io::Error),
    #[error("cannot start worker {number}: {error}; see the limit on threads")]
    Thread { number: u32, error: std::io::Error },
    #[error("worker {number}: {error}")]
    Worker { number: u32, error: WorkerError },
    #[error("worker {number} panicked, and its sessions are lost; this is a defect")]
    Panicked { number: u32 },
}

/// Locks the process in and carries connections until every worker is drained,
/// or its keeper and its sessions are gone.
pub fn run(options: Options) -> Result<(), EnforcerError> {
    let Options { uid, gid, mut writable, log, parsers, channels } = options;
    writable.extend(log.iter().map(|(_, folder)| folder.clone()));
    if channels.is_empty() {
        return Err(EnforcerError::NoChannel);
    }
    let capacity = capacity(raise_open_files(), channels.len())?;
    // A terminal's Ctrl-C is for the keeper; this outlives it. Not a session of
    // its own: the kernel would schedule that as a rival of its clients. Fails
    // only when it leads a group already.
    let _ = rustix::process::setpgid(None, None);
    let fences = fences::raise(fences::User { uid, gid }, &writable)?;
    if !keys_are_locked() {
        tracing::warn!(
            "keys of logins may be swapped to a disk: the limit on locked memory is too low \
             (LimitMEMLOCK=)"
        );
    }
    let mut shared = Shared::new().map_err(EnforcerError::Leaves)?;
    parser::take(parsers, shared.cell.lanes())?;
    let (log, sequencer) = log::open(log)?;
    shared.log = log;
    let mut workers = Vec::new();
    for (number, channel) in (0..).zip(channels) {
        let failed = |error| EnforcerError::Worker { number, error };
        let start = Start {
            number,
            fences: fences.clone(),
            capacity,
            shared: shared.clone(),
            patience: Patience::default(),
        };
        let worker = Worker::new(channel, start).map_err(failed)?;
        let thread = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || worker.run())
            .map_err(|error| EnforcerError::Thread { number, error })?;
        workers.push((number, thread));
    }
    let mut outcome = Ok(());
    // The others are carried to their end before the first failure is told.
    for (number, thread) in workers {
        let ended = match thread.join() {
            Ok(ended) => ended.map_err(|error| EnforcerError::Worker { number, error }),
            Err(_) => Err(EnforcerError::Panicked { number }),
        };
        outcome = outcome.and(ended);
    }
    // The last records are brought into the tree.
    drop(sequencer);
    outcome
}

/// How many files may be open, after asking for as many as are to be had.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What fails leaves the limit as it was.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The sessions that one worker may have: a descriptor for each side.
fn capacity(open_files: u64, workers: usize) -> Result<u32, EnforcerError> {
    let share = open_files.saturating_sub(OWN_FILES) / 2 / workers.max(1) as u64;
    match u32::try_from(share).unwrap_or(u32::MAX).min(MOST_SESSIONS) {
        0 => Err(EnforcerError::TooFewFiles { open: open_files, workers }),
        capacity => Ok(capacity),
    }
}

/// Descriptors for all that isn't a session.
const OWN_FILES: u64 = 128;
/// Of one worker; its memory is bounded by it.
const MOST_SESSIONS: u32 = 1 << 20;

#[cfg(test)]
mod tests;
