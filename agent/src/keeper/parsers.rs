//! The parser processes of one enforcer: started, handed to it, and started again
//! when they end.
//!
//! `keeper --connected parser processes--> enforcer's cell --those given up--> keeper`
//!
//! The enforcer may start nothing, so each process comes from here, and is the
//! enforcer's from then on: it ends with the enforcer's end of the socket, also when
//! the keeper is gone. A thread for each enforcer; it ends with it.
//!
//! Never: a byte of a statement in here. The keeper lets go of both ends at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::channel::{Channel, ChannelError, FromCell, ToCell};
use crate::model::ParsersReport;

type CellChannel = Channel<ToCell, FromCell>;

/// How they are started.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub binary: PathBuf,
    pub uid: u32,
    pub gid: u32,
}

/// What is known of them from outside their thread.
#[derive(Debug, Default)]
pub struct Parsers {
    pids: [AtomicU32; LANES],
    lost: AtomicU32,
    trouble: Mutex<Option<String>>,
}

/// Starts them, and again and again, until the enforcer has closed the channel.
pub fn keep(recipe: Recipe, channel: CellChannel) -> io::Result<Arc<Parsers>> {
    let parsers = Arc::new(Parsers::default());
    let told = Arc::clone(&parsers);
    let lanes = [0, 1].map(Lane::new);
    super::start("parsers", move || Nursery { recipe, channel, lanes, told }.run())?;
    Ok(parsers)
}

impl Parsers {
    pub fn report(&self) -> ParsersReport {
        let pids = self.pids.iter().map(|pid| pid.load(Ordering::Relaxed));
        ParsersReport {
            pids: pids.filter(|pid| *pid != 0).collect(),
            lost: self.lost.load(Ordering::Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn note(&self, lane: u8, pid: u32) {
        if let Some(slot) = self.pids.get(usize::from(lane)) {
            slot.store(pid, Ordering::Relaxed);
        }
    }

    fn say(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

struct Nursery {
    recipe: Recipe,
    channel: CellChannel,
    lanes: [Lane; LANES],
    told: Arc<Parsers>,
}

struct Lane {
    number: u8,
    process: Option<Process>,
    start_at: Instant,
    pause: Duration,
}

struct Process {
    child: Child,
    ended: OwnedFd,
    started: Instant,
}

impl Lane {
    fn new(number: u8) -> Self {
        Self { number, process: None, start_at: Instant::now(), pause: Duration::ZERO }
    }
}

impl Nursery {
    fn run(mut self) {
        loop {
            if let Err(error) = self.start_due() {
                if !matches!(error, ChannelError::Closed) {
                    tracing::error!("parser processes can't be handed over: {error}");
                }
                return;
            }
            if !self.wait() || !self.hear() {
                return;
            }
            self.bury();
        }
    }

    /// Starts one for each lane that has none, if it is time.
    fn start_due(&mut self) -> Result<(), ChannelError> {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if lane.process.is_some() || lane.start_at > now {
                continue;
            }
            match Process::start(&self.recipe) {
                Ok((process, socket)) => {
                    let pid = process.child.id();
                    let message = ToCell::Parser { lane: lane.number, pid };
                    self.told.note(lane.number, pid);
                    lane.process = Some(process);
                    match self.channel.send(&message, &[socket.as_fd()]) {
                        // So far behind, it gets another one later: this one has
                        // nobody at its other end, and ends.
                        Ok(()) | Err(ChannelError::WouldBlock) => {}
                        Err(error) => return Err(error),
                    }
                    self.told.say(None);
                }
                Err(error) => {
                    lane.pause = (lane.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                    lane.start_at = now + lane.pause;
                    let trouble = format!("cannot start a parser process: {error}");
                    if self.told.report().trouble.is_none() {
                        tracing::error!("{trouble}; long statements are refused meanwhile");
                    }
                    self.told.say(Some(trouble));
                }
            }
        }
        Ok(())
    }

    /// Waits until something is to be done. False: it can't.
    fn wait(&self) -> bool {
        let vacant = self.lanes.iter().filter(|lane| lane.process.is_none());
        let next = vacant.map(|lane| lane.start_at).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        // Upwards, or the last millisecond would be spun away.
        let left = left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
        let mut waited = vec![PollFd::new(&self.channel, PollFlags::IN)];
        let ended = self.lanes.iter().filter_map(|lane| lane.process.as_ref());
        waited.extend(ended.map(|process| PollFd::new(&process.ended, PollFlags::IN)));
        match poll(&mut waited, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => true,
            Err(error) => {
                tracing::error!("parser processes are not looked after any more: {error}");
                false
            }
        }
    }

    /// Ends what the enforcer has given up: it may hang. False: the enforcer is gone.
    fn hear(&mut self) -> bool {
        for _ in 0..TURN {
            match self.channel.receive() {
                Ok(received) => {
                    let FromCell::GivenUp { pid } = received.message;
                    let processes = self.lanes.iter_mut().filter_map(|one| one.process.as_mut());
                    for process in processes.filter(|process| process.child.id() == pid) {
                        let _ = process.child.kill();
                    }
                }
                Err(ChannelError::WouldBlock) => return true,
                Err(ChannelError::Closed) => return false,
                Err(error) => {
                    tracing::error!("an enforcer's channel for parsers failed: {error}");
                    return false;
                }
            }
        }
        true
    }

    fn bury(&mut self) {
        for lane in &mut self.lanes {
            let Some(process) = &mut lane.process else { continue };
            let (served, how) = match process.child.try_wait() {
                Ok(None) => continue,
                Ok(Some(status)) => (status.success(), status.to_string()),
                Err(error) => (false, error.to_string()),
            };
            let lived = process.started.elapsed();
            lane.process = None;
            self.told.note(lane.number, 0);
            lane.pause = if served || lived >= PROVEN_AFTER {
                Duration::ZERO
            } else {
                (lane.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
            };
            lane.start_at = Instant::now() + lane.pause;
            if !served {
                self.told.lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("a parser process was lost ({how}): what it read is refused");
            }
        }
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        for process in self.lanes.iter_mut().filter_map(|lane| lane.process.as_mut()) {
            // It would end by itself; this is for one that computes.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Process {
    /// A new one, and the other end of its standard input and output.
    fn start(recipe: &Recipe) -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut command = Command::new(&recipe.binary);
        command
            .arg("parse-cell")
            .arg("--user")
            .arg(format!("{}:{}", recipe.uid, recipe.gid))
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .env_clear()
            .current_dir("/");
        let child = {
            let _alone = super::spawning();
            command.spawn()?
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let ended = pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?;
        Ok((Self { child, ended, started: Instant::now() }, ours))
    }
}

/// Messages that are heard at once.
const TURN: usize = 64;
/// One for each of the enforcer's lanes.
const LANES: usize = 2;
const PROVEN_AFTER: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Less than texts wait for a process: one that is fatal to each costs only itself.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
