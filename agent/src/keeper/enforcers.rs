//! The enforcer's processes: started, restarted, replaced, watched.
//!
//! A new one is started beside the old; the old gets no more connections once
//! the new has its fences up, and ends when its last session has, or at its
//! deadline. One that dies is started again, with a growing pause; meanwhile
//! connects are held back.

mod allowance;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::memory::Memory;
use super::notary::Notary;
use super::parsers::{self, Parsers};
use crate::channel::{Channel, ChannelError, Received, ToEnforcer, ToKeeper};
use crate::model::{DatabaseName, EnforcerReport, Fences, Learnt, Timestamp};
pub use allowance::{Allowance, TooOften};

const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// One that has lived so long starts with no pause again.
const PROVEN_AFTER: Duration = Duration::from_secs(10);
/// A leaf is made once for each server and worker, and kept there for hours.
const LEAVES_AT_ONCE: u32 = 256;
const LEAVES_A_SECOND: u32 = 32;
/// Cancels, mostly.
const DIALS_AT_ONCE: u32 = 256;
const DIALS_A_SECOND: u32 = 128;
const MOST_ANSWERS: usize = 512;
/// Room for a worker's whole credit of handovers.
const SEND_BUFFER: usize = 4 << 20;

#[derive(Debug)]
pub struct Worker {
    pub channel: Channel<ToEnforcer, ToKeeper>,
    pub ready: bool,
    pub credits: u32,
    pub open: u64,
    /// It has not been told the terms that hold now.
    owed_terms: bool,
    /// It has not been told all that is kept of what enforcers have learnt.
    owed_kept: bool,
    /// Answers that its channel had no room for.
    answers: VecDeque<(ToEnforcer, Option<OwnedFd>)>,
    /// There were too many of those, and that was told.
    deaf: bool,
    /// How fast it may ask for leaves, and for further connections.
    pub leaves: Allowance,
    pub dials: Allowance,
}

#[derive(Debug)]
pub struct Enforcer {
    pub generation: u32,
    child: Child,
    pub ended: OwnedFd,
    started: Instant,
    started_at: Timestamp,
    version: String,
    fences: Option<Fences>,
    pub workers: Vec<Worker>,
    parsers: Arc<Parsers>,
    pub draining: bool,
}

/// One worker of one enforcer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId {
    pub generation: u32,
    pub worker: u32,
}

/// How enforcers are started.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub binary: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub workers: usize,
    pub log: Option<Notary>,
}

#[derive(Debug)]
pub struct Enforcers {
    recipe: Recipe,
    all: Vec<Enforcer>,
    next_generation: u32,
    restarts: u32,
    pause: Duration,
    start_at: Option<Instant>,
    /// The terms that hold now, sealed.
    terms: Arc<OwnedFd>,
    /// What they have learnt.
    memory: Memory,
}

impl Enforcers {
    pub fn new(recipe: Recipe, terms: OwnedFd, memory: Memory) -> Self {
        Self {
            recipe,
            terms: Arc::new(terms),
            memory,
            all: Vec::new(),
            next_generation: 1,
            restarts: 0,
            pause: Duration::ZERO,
            start_at: None,
        }
    }

    pub fn set_binary(&mut self, binary: &Path) {
        self.recipe.binary = binary.to_owned();
    }

    pub fn binary(&self) -> &Path {
        &self.recipe.binary
    }

    /// Starts one more; gives its generation.
    pub fn start(&mut self) -> io::Result<u32> {
        let generation = self.next_generation;
        let enforcer = spawn(&self.recipe, generation)?;
        self.next_generation = self.next_generation.wrapping_add(1);
        self.all.push(enforcer);
        self.tell_terms();
        Ok(generation)
    }

    /// The terms for whoever is handed over from now on.
    pub fn set_terms(&mut self, terms: OwnedFd) {
        self.terms = Arc::new(terms);
        let serving = self.all.iter_mut().filter(|enforcer| !enforcer.draining);
        for worker in serving.flat_map(|enforcer| enforcer.workers.iter_mut()) {
            worker.owed_terms = true;
        }
        self.tell_terms();
    }

    /// Tells the terms to those that don't know them yet, and before them what is kept.
    /// INVARIANT: nothing is handed over to a worker before it was told.
    pub fn tell_terms(&mut self) {
        self.tell_kept();
        let terms = Arc::clone(&self.terms);
        for worker in self.all.iter_mut().flat_map(|enforcer| enforcer.workers.iter_mut()) {
            if !worker.owed_terms || worker.owed_kept {
                continue;
            }
            match worker.channel.send(&ToEnforcer::Terms, &[terms.as_fd()]) {
                Ok(()) => worker.owed_terms = false,
                // It is behind with reading: at the next turn of the clock.
                Err(ChannelError::WouldBlock) => {}
                // Its end is told elsewhere.
                Err(ChannelError::Closed) => {}
                Err(error) => tracing::error!("cannot tell an enforcer its terms: {error}"),
            }
        }
    }

    fn tell_kept(&mut self) {
        let mut owed = self.all.iter_mut().flat_map(|enforcer| enforcer.workers.iter_mut());
        let Some(first) = owed.find(|worker| worker.owed_kept) else { return };
        let (edition, sealed) = match self.memory.sealed() {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!("cannot tell enforcers what is kept: {error}");
                return;
            }
        };
        let owed = std::iter::once(first).chain(owed.filter(|worker| worker.owed_kept));
        for worker in owed {
            match worker.channel.send(&ToEnforcer::Kept { edition }, &[sealed.as_fd()]) {
                Ok(()) => worker.owed_kept = false,
                Err(ChannelError::WouldBlock | ChannelError::Closed) => {}
                Err(error) => tracing::error!("cannot tell an enforcer what is kept: {error}"),
            }
        }
    }

    /// An enforcer has learnt something: it is kept, and all others are told.
    pub fn learnt(&mut self, database: &DatabaseName, learnt: Learnt) {
        let Some(news) = self.memory.take(database, learnt) else { return };
        for worker in self.all.iter_mut().flat_map(|enforcer| enforcer.workers.iter_mut()) {
            if news.forgot || worker.answers.len() >= MOST_ANSWERS {
                worker.owed_kept = true;
            }
            // Who is still to be told all of it is told this too.
            if !worker.owed_kept {
                let (edition, learnt) = (news.edition, Box::new(news.learnt.clone()));
                let database = Box::new(database.clone());
                let told = ToEnforcer::Learnt { edition, database, learnt };
                worker.answers.push_back((told, None));
                worker.tell_answers();
            }
        }
        self.tell_kept();
    }

    /// What a table was filled with is forgotten; how many entries that were.
    pub fn forget(
        &mut self,
        schema: &str,
        table: &str,
        of: impl Fn(&DatabaseName) -> bool,
    ) -> usize {
        let gone = self.memory.forget(schema, table, of);
        for worker in self.all.iter_mut().flat_map(|enforcer| enforcer.workers.iter_mut()) {
            worker.owed_kept |= gone > 0;
        }
        self.tell_kept();
        gone
    }

    /// Has what is kept written anew where that is due.
    pub fn look_after_memory(&mut self) {
        self.memory.look();
    }

    /// Why what they have learnt can't be kept.
    pub fn trouble_of_memory(&self) -> Option<String> {
        self.memory.trouble()
    }

    /// Answers a worker that asked; one that has ended gets none.
    pub fn answer(&mut self, id: WorkerId, message: ToEnforcer, socket: Option<OwnedFd>) {
        let Some(worker) = self.worker_mut(id) else { return };
        if worker.answers.len() >= MOST_ANSWERS {
            if !std::mem::replace(&mut worker.deaf, true) {
                tracing::warn!("a worker asks and does not take its answers: they are dropped");
            }
            return;
        }
        worker.answers.push_back((message, socket));
        worker.tell_answers();
    }

    /// Tells what had no room before.
    pub fn tell_answers(&mut self) {
        for worker in self.all.iter_mut().flat_map(|enforcer| enforcer.workers.iter_mut()) {
            worker.tell_answers();
        }
    }

    pub fn get(&self, generation: u32) -> Option<&Enforcer> {
        self.all.iter().find(|enforcer| enforcer.generation == generation)
    }

    pub fn get_mut(&mut self, generation: u32) -> Option<&mut Enforcer> {
        self.all.iter_mut().find(|enforcer| enforcer.generation == generation)
    }

    pub fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.get_mut(id.generation)?.workers.get_mut(usize::try_from(id.worker).ok()?)
    }

    /// Takes a credit of the worker that has the fewest connections.
    pub fn reserve(&mut self) -> Option<WorkerId> {
        let (id, worker) =
            self.all
                .iter_mut()
                .filter(|enforcer| !enforcer.draining)
                .flat_map(|enforcer| {
                    let generation = enforcer.generation;
                    enforcer.workers.iter_mut().zip(0..).map(move |(worker, index)| {
                        (WorkerId { generation, worker: index }, worker)
                    })
                })
                .filter(|(_, worker)| worker.ready && !worker.owed_terms && worker.credits > 0)
                .min_by_key(|(_, worker)| worker.open)?;
        worker.credits -= 1;
        worker.open += 1;
        Some(id)
    }

    /// Gives back a credit that wasn't used.
    pub fn release(&mut self, id: WorkerId) {
        if let Some(worker) = self.worker_mut(id) {
            worker.credits += 1;
            worker.open = worker.open.saturating_sub(1);
        }
    }

    /// A worker has its fences up. True when its enforcer is now whole: once,
    /// and never for one that was told to drain, whatever it says.
    pub fn hello(&mut self, id: WorkerId, version: String, fences: Fences) -> bool {
        let Some(enforcer) = self.get_mut(id.generation) else { return false };
        let index = usize::try_from(id.worker).unwrap_or(usize::MAX);
        let Some(worker) = enforcer.workers.get_mut(index) else { return false };
        if enforcer.draining || worker.ready {
            return false;
        }
        worker.ready = true;
        enforcer.version = version;
        enforcer.fences = Some(fences);
        enforcer.workers.iter().all(|worker| worker.ready)
    }

    /// Tells every other enforcer to take no more, and to end in time.
    pub fn drain_others(&mut self, generation: u32, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        for enforcer in &mut self.all {
            if enforcer.generation == generation || enforcer.draining {
                continue;
            }
            enforcer.draining = true;
            for worker in &enforcer.workers {
                if let Err(error) = worker.channel.send(&ToEnforcer::Drain { within_ms }, &[]) {
                    tracing::warn!(
                        "cannot tell enforcer {} to drain: {error}",
                        enforcer.child.id()
                    );
                }
            }
        }
    }

    /// Takes an enforcer that has ended out of the list, and plans a new one
    /// where it was the one in use.
    pub fn buried(&mut self, generation: u32) -> Option<Enforcer> {
        let index = self.all.iter().position(|enforcer| enforcer.generation == generation)?;
        let mut enforcer = self.all.remove(index);
        let how = enforcer.child.wait();
        let pid = enforcer.child.id();
        match how {
            _ if enforcer.draining => tracing::info!("enforcer {pid} has drained and ended"),
            Ok(status) => tracing::error!("enforcer {pid} has ended: {status}"),
            Err(error) => tracing::error!("enforcer {pid} has ended: {error}"),
        }
        if self.all.iter().all(|other| other.draining) {
            self.restarts += 1;
            self.pause = if enforcer.started.elapsed() >= PROVEN_AFTER {
                Duration::ZERO
            } else {
                (self.pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE)
            };
            self.start_at = Some(Instant::now() + self.pause);
        }
        Some(enforcer)
    }

    /// Is it time to start one again?
    pub fn start_due(&mut self) -> bool {
        if self.start_at.is_some_and(|at| at <= Instant::now()) {
            self.start_at = None;
            return true;
        }
        false
    }

    pub fn start_failed(&mut self) {
        self.pause = (self.pause * 2).clamp(Duration::from_millis(100), LONGEST_PAUSE);
        self.start_at = Some(Instant::now() + self.pause);
    }

    /// Ends one enforcer at once; its end is then seen like any other.
    pub fn kill(&mut self, generation: u32) {
        if let Some(enforcer) = self.get_mut(generation) {
            let _ = enforcer.child.kill();
        }
    }

    /// Ends the enforcer in use at once: it doesn't answer.
    pub fn kill_active(&mut self) {
        for enforcer in self.all.iter_mut().filter(|enforcer| !enforcer.draining) {
            tracing::error!("enforcer {} does not answer: ending it", enforcer.child.id());
            let _ = enforcer.child.kill();
        }
    }

    pub fn is_serving(&self) -> bool {
        self.all.iter().any(|enforcer| {
            !enforcer.draining && enforcer.workers.iter().any(|worker| worker.ready)
        })
    }

    pub fn reports(&self) -> Vec<EnforcerReport> {
        self.all
            .iter()
            .map(|enforcer| EnforcerReport {
                pid: enforcer.child.id(),
                started: enforcer.started_at,
                version: enforcer.version.clone(),
                draining: enforcer.draining,
                sessions: enforcer.workers.iter().map(|worker| worker.open).sum(),
                restarts: self.restarts,
                fences: enforcer.fences.clone(),
                parsers: enforcer.parsers.report(),
            })
            .collect()
    }
}

impl Worker {
    fn tell_answers(&mut self) {
        while let Some((message, socket)) = self.answers.front() {
            let rights: Vec<BorrowedFd<'_>> = socket.iter().map(AsFd::as_fd).collect();
            match self.channel.send(message, &rights) {
                Ok(()) => self.deaf = false,
                Err(ChannelError::WouldBlock) => return,
                Err(ChannelError::Closed) => {
                    self.answers.clear();
                    return;
                }
                Err(error) => tracing::error!("cannot answer an enforcer: {error}"),
            }
            self.answers.pop_front();
        }
    }

    pub fn receive(&self) -> Result<Received<ToKeeper>, ChannelError> {
        self.channel.receive()
    }

    pub fn hand_over(
        &self,
        message: &ToEnforcer,
        client: BorrowedFd<'_>,
        upstream: BorrowedFd<'_>,
    ) -> Result<(), ChannelError> {
        self.channel.send(message, &[client, upstream])
    }
}

fn spawn(recipe: &Recipe, generation: u32) -> io::Result<Enforcer> {
    let count = match recipe.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let mut command = Command::new(&recipe.binary);
    command
        .arg("enforcer")
        .arg("--user")
        .arg(format!("{}:{}", recipe.uid, recipe.gid))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .current_dir("/");
    let mut workers = Vec::new();
    let mut theirs = Vec::new();
    let alone = super::spawning();
    for _ in 0..count {
        let (channel, their_end) = crate::channel::pair()?;
        // The enforcer's end is for it alone: no other child is started while
        // it may be inherited.
        fcntl_setfd(&their_end, FdFlags::empty())?;
        let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&channel, SEND_BUFFER);
        command.arg("--channel").arg(their_end.as_raw_fd().to_string());
        theirs.push(their_end);
        workers.push(Worker {
            channel,
            ready: false,
            credits: 0,
            open: 0,
            owed_terms: true,
            owed_kept: true,
            answers: VecDeque::new(),
            deaf: false,
            leaves: Allowance::new(LEAVES_AT_ONCE, LEAVES_A_SECOND),
            dials: Allowance::new(DIALS_AT_ONCE, DIALS_A_SECOND),
        });
    }
    // Joined only once the child is there: a number is used by one writer.
    let log = match &recipe.log {
        Some(notary) => {
            let (channel, their_end) = crate::channel::pair()?;
            fcntl_setfd(&their_end, FdFlags::empty())?;
            let folder = notary.folder().display();
            command.arg("--log").arg(format!("{},{folder}", their_end.as_raw_fd()));
            theirs.push(their_end);
            Some((notary, channel))
        }
        None => None,
    };
    let (cell, their_end) = crate::channel::pair()?;
    fcntl_setfd(&their_end, FdFlags::empty())?;
    command.arg("--parsers").arg(their_end.as_raw_fd().to_string());
    theirs.push(their_end);
    let child = command.spawn()?;
    drop(theirs);
    drop(alone);
    if let Some((notary, channel)) = log {
        notary.join(channel);
    }
    let Recipe { binary, uid, gid, .. } = recipe.clone();
    let parsers = parsers::keep(parsers::Recipe { binary, uid, gid }, cell)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?;
    tracing::info!("enforcer {} started from {}", child.id(), recipe.binary.display());
    Ok(Enforcer {
        generation,
        child,
        ended,
        started: Instant::now(),
        started_at: Timestamp::now(),
        version: String::new(),
        fences: None,
        workers,
        parsers,
        draining: false,
    })
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
