//! The parser processes, one to a lane, and the texts that wait for them.
//!
//! ```text
//! short lane: up to 1 MiB   --> process 0, at most 2 s of processor time a text
//! long lane:  up to 16 MiB  --> process 1, at most 8 s
//! ```
//!
//! The process itself keeps to that; one that doesn't, for it hangs or its host is
//! busy beyond measure, is given up after three times as long by the clock.
//! So a bulk load never stands before an ordinary long statement, and a text that
//! takes too long costs its process and itself, not those behind it: whoever starts
//! the processes attaches another one.
//!
//! INVARIANT: a text goes to one process, once. One that took its process with it is
//! not tried again.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Job;
use super::process::{self, Asked, Pipe};

/// As many processes are to be attached.
pub const LANES: u8 = 2;

/// Who is told that nobody waits for a process any more, by its number.
pub type GivenUp = Box<dyn Fn(u32) + Send + Sync>;

/// The lanes' queues. Dropping it ends their threads once these are empty.
pub struct Lanes {
    short: Lane,
    long: Lane,
    /// Bytes of texts that wait or are being read.
    waiting: Arc<AtomicUsize>,
    given_up: Arc<OnceLock<GivenUp>>,
}

struct Lane {
    /// callers --jobs--> the lane's thread
    jobs_tx: SyncSender<Queued>,
    door: Arc<Door>,
}

struct Queued {
    job: Job,
    since: Instant,
    _weight: Weight,
}

/// A text's part of what waits.
struct Weight(Arc<AtomicUsize>, usize);

impl Drop for Weight {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Where the process comes in.
#[derive(Default)]
struct Door {
    process: Mutex<Process>,
    came: Condvar,
}

#[derive(Default)]
enum Process {
    /// Another one is on its way.
    #[default]
    Awaited,
    Here(Pipe),
    /// Nobody is there to start one.
    Never,
}

impl Lanes {
    pub fn start() -> io::Result<Self> {
        let given_up = Arc::<OnceLock<GivenUp>>::default();
        Ok(Self {
            short: Lane::start(
                "sql-lane-short",
                process::SHORT_MAY_TAKE * BY_THE_CLOCK,
                &given_up,
            )?,
            long: Lane::start("sql-lane-long", process::LONG_MAY_TAKE * BY_THE_CLOCK, &given_up)?,
            waiting: Arc::default(),
            given_up,
        })
    }

    /// One that hangs would otherwise stay for good. Told once.
    pub fn tell_given_up(&self, to: GivenUp) {
        // Whoever came first goes on being told.
        let _ = self.given_up.set(to);
    }

    /// A process, fresh from its start, for a lane: it takes the place of the one
    /// before. `number` is what it is known by to who started it.
    pub fn attach(&self, lane: u8, socket: OwnedFd, number: u32) -> io::Result<()> {
        let pipe = Pipe::new(socket, number)?;
        let door = if lane == 0 { &self.short.door } else { &self.long.door };
        door.set(Process::Here(pipe));
        Ok(())
    }

    /// No process will come any more; those that are there go on.
    pub fn abandon(&self) {
        for lane in [&self.short, &self.long] {
            let mut process = lane.door.lock();
            if matches!(*process, Process::Awaited) {
                *process = Process::Never;
            }
            drop(process);
            lane.door.came.notify_all();
        }
    }

    pub(super) fn submit(&self, job: Job) {
        let bytes = job.text.len();
        let lane = if bytes <= process::SHORT { &self.short } else { &self.long };
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let weight = Weight(Arc::clone(&self.waiting), bytes);
        if before > MOST_WAITING {
            return job.refuse("too many long statements wait to be read");
        }
        match lane.jobs_tx.try_send(Queued { job, since: Instant::now(), _weight: weight }) {
            Ok(()) => {}
            Err(TrySendError::Full(queued)) => {
                queued.job.refuse("too many long statements wait to be read");
            }
            Err(TrySendError::Disconnected(queued)) => {
                queued.job.refuse("the parser's threads have ended");
            }
        }
    }
}

impl Lane {
    fn start(
        name: &str,
        may_take: Duration,
        given_up: &Arc<OnceLock<GivenUp>>,
    ) -> io::Result<Self> {
        let (jobs_tx, jobs_rx) = sync_channel(MOST_QUEUED);
        let door = Arc::new(Door::default());
        let (of_thread, given_up) = (Arc::clone(&door), Arc::clone(given_up));
        thread::Builder::new()
            .name(name.into())
            .spawn(move || serve(&jobs_rx, &of_thread, may_take, &given_up))?;
        Ok(Self { jobs_tx, door })
    }
}

impl Door {
    fn lock(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, process: Process) {
        *self.lock() = process;
        self.came.notify_all();
    }

    /// Takes the process out, waiting a little for one that is on its way. It comes
    /// back only from a text that it survived.
    fn take(&self) -> Option<Pipe> {
        let until = Instant::now() + PATIENCE;
        let mut process = self.lock();
        loop {
            match std::mem::take(&mut *process) {
                Process::Here(pipe) if pipe.is_alive() => return Some(pipe),
                // It ended with nobody's text in it: the next one is due.
                Process::Here(_) | Process::Awaited => {}
                Process::Never => {
                    *process = Process::Never;
                    return None;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            process =
                self.came.wait_timeout(process, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, pipe: Pipe) {
        let mut process = self.lock();
        // A newer one may have come meanwhile.
        if !matches!(*process, Process::Here(_)) {
            *process = Process::Here(pipe);
        }
    }
}

fn serve(
    jobs_rx: &Receiver<Queued>,
    door: &Door,
    may_take: Duration,
    given_up: &OnceLock<GivenUp>,
) {
    while let Ok(Queued { job, since, _weight }) = jobs_rx.recv() {
        if since.elapsed() > LONGEST_WAIT {
            job.refuse("it waited too long for its turn to be read");
            continue;
        }
        let Some(mut pipe) = door.take() else {
            job.refuse("no parser process for a text of this length");
            continue;
        };
        match process::ask(&mut pipe, &job.text, &job.state, Instant::now() + may_take) {
            Ok(Asked { facts, is_last }) => {
                if !is_last {
                    door.give_back(pipe);
                }
                job.answer(facts);
            }
            Err(error) => {
                if let Some(tell) = given_up.get() {
                    tell(pipe.number());
                }
                drop(pipe);
                if error.kind() == io::ErrorKind::TimedOut {
                    job.refuse("the parser process took too long over this text");
                } else {
                    job.refuse(&format!("the parser process was lost over this text: {error}"));
                }
            }
        }
    }
}

const BY_THE_CLOCK: u32 = 3;
/// Of one lane.
const MOST_QUEUED: usize = 256;
/// Bytes of text in both lanes.
const MOST_WAITING: usize = 256 * 1024 * 1024;
/// A text that comes to its turn later than this is refused: whoever sent it has
/// most likely gone.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A process is started in a few milliseconds; this is for a busy host.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
