//! The keeper's one loop: kernel events in, handovers out.
//!
//! One thread owns the maps, the namespaces, the attempts and the enforcers'
//! channels, so that nothing here is shared and nothing waits: every socket is
//! non-blocking, every wait is this loop's. It never reads a byte of a
//! database's.
//!
//! The way of a connect: the kernel holds back its SYN and says so
//! (`on_attempt`); the destination is dialled from the same network namespace;
//! once it has answered, the SYN is let go (`release`); the listener accepts
//! (`on_accept`); both sockets go to a worker that has a credit
//! (`place_homeless`).

mod accepting;
mod acquainted;
mod asked;
mod changes;
mod dialling;
mod holds;
mod orders;
mod standing;
mod workers;

pub use changes::Parts as Changeable;
pub use orders::losses;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tidegate_ebpf::{
    Attempt, EVENT_ATTEMPT, EVENT_DIRECT, EVENT_EXEC, EVENT_EXIT, EVENT_GONE, EVENT_NAMESPACE,
    EVENT_REFUSED, Gone, Heartbeat, NamespaceSeen, ProcessSeen, QuotaKey, RawFlow, Verdict,
};

use acquainted::{Acquainted, Asked};

use super::abi::{self, Plain};
use super::attempts::Attempts;
use super::destinations::Destinations;
use super::enforcers::{Enforcers, WorkerId};
use super::hooks::{Hooks, Maps};
use super::namespaces::Namespaces;
use super::observers::Observers;
use super::processes::Processes;
use super::registrar::{Answer, Registrar};
use super::signer::Signer;
use super::teller::Teller;
use super::terms::{Grounds, Prepared};
use super::upstream::Way;
use super::{KeeperError, Tokens, sys};
use crate::config::Settings;
use crate::control;
use crate::identity::Known;
use crate::model::{
    Adopted, Caller, DatabaseName, Enriched, Flow, FlowId, LogCaller, LogNote, Process, ProcessKey,
    StatusReport, Timestamp,
};
use asked::Redials;
use holds::Holds;
use standing::Standing;

/// How often the loop looks at its clocks.
const TICK: Duration = Duration::from_millis(200);
/// Kernel events and accepts handled before others get their turn.
const TURN: usize = 256;
/// An enforcer that lets no canary through for so long is ended.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// Host names and what they resolved to.
pub type Resolved = Vec<(String, Result<Vec<IpAddr>, String>)>;

/// What other threads ask of the gate.
pub enum Order {
    Status(Sender<Box<StatusReport>>),
    Upgrade {
        binary: Option<std::path::PathBuf>,
        drain: Option<Duration>,
        done: Sender<Result<String, String>>,
    },
    /// New settings, with their host names resolved and their files read.
    Settings {
        settings: Box<Settings>,
        resolved: Resolved,
        prepared: Box<Prepared>,
        known: Box<Known>,
        by: Option<LogCaller>,
        done: Sender<Result<String, String>>,
    },
    /// What a table was filled with is to be forgotten, in the databases that fit.
    Forget {
        schema: String,
        table: String,
        of: Box<dyn Fn(&DatabaseName) -> bool + Send>,
        by: LogCaller,
        done: Sender<Result<String, String>>,
    },
    /// Which host names are to be resolved?
    Hosts(Sender<Vec<String>>),
    /// A host name's addresses as they are now.
    Resolved(String, Result<Vec<IpAddr>, String>),
    /// The network namespaces that somebody lives in, and the processes that
    /// could pass around the hooks.
    Census {
        namespaces: HashSet<u64>,
        powerful: Vec<Process>,
    },
    /// A canary came back, or why it didn't.
    Canary(Result<(), String>),
    /// The adopted connections that are still there.
    Adopted(Vec<Adopted>),
    /// Who is behind a connect that is held back.
    Known(Box<Answer>),
    /// What was learnt of a process after its connect.
    Enriched(Box<Enriched>),
    /// What the signer answers a worker.
    Signed {
        worker: WorkerId,
        request: u64,
        leaf: Result<Vec<u8>, String>,
    },
    /// Somebody wants to see or decide what is held.
    Holds(Box<control::Order>, Caller, Sender<control::Answer>),
    /// End: the gate stays shut, or is taken away first.
    Stop {
        detach: bool,
        by: Option<LogCaller>,
        done: Sender<Result<String, String>>,
    },
}

/// The way for other threads to reach the gate.
#[derive(Clone, Debug)]
pub struct Orders {
    orders_tx: Sender<Order>,
    wake: Arc<OwnedFd>,
}

impl Orders {
    pub fn new() -> io::Result<(Self, Receiver<Order>)> {
        let (orders_tx, orders_rx) = std::sync::mpsc::channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok((Self { orders_tx, wake }, orders_rx))
    }

    /// False once the gate has ended.
    pub fn send(&self, order: Order) -> bool {
        if self.orders_tx.send(order).is_err() {
            return false;
        }
        // A full counter wakes it as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        true
    }
}

/// A connection that an enforcer has.
#[derive(Debug)]
struct Open {
    flow: Arc<Flow>,
    way: Way,
    worker: WorkerId,
}

/// One that waits for a worker that can take it.
#[derive(Debug)]
struct Homeless {
    flow: Box<Flow>,
    way: Way,
    client: OwnedFd,
    upstream: OwnedFd,
}

#[derive(Debug, Default)]
struct Canary {
    crossed: u64,
    failed: u64,
    last: Option<Timestamp>,
    last_error: Option<String>,
    last_crossed: Option<Instant>,
    /// Since when an enforcer owes the sight of one.
    unseen_since: Option<Instant>,
    /// An enforcer has told that it carries one.
    seen: bool,
    /// The canary itself came back.
    returned: bool,
}

struct Upgrading {
    generation: u32,
    drain: Duration,
    /// The binary to go back to if it fails, and until when it may try.
    before: std::path::PathBuf,
    until: Instant,
    done: Sender<Result<String, String>>,
}

/// Everything the gate is made of when it starts.
pub struct Parts {
    pub settings: Settings,
    pub maps: Maps,
    pub hooks: Hooks,
    pub destinations: Destinations,
    pub namespaces: Namespaces,
    pub processes: Processes,
    pub registrar: Registrar,
    pub enforcers: Enforcers,
    pub observers: Arc<Observers>,
    pub teller: Teller,
    /// Events lost before this keeper.
    pub lost_before: u64,
    /// The process whose connects to the canary's destination are canaries.
    pub canary_pid: Arc<AtomicU32>,
    pub adopted: Vec<Adopted>,
    pub cgroup: String,
    pub generation: u32,
    /// What new settings are held against.
    pub changeable: Changeable,
    /// What leaves are signed by.
    pub grounds: Arc<Grounds>,
    /// What was found when the settings' files were read.
    pub notes: Vec<String>,
    /// `None`: the settings want no log.
    pub notary: Option<super::notary::Notary>,
    pub programs_log: Option<Box<dyn FnMut() + Send>>,
}

pub struct Gate {
    parts: Parts,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    orders_rx: Receiver<Order>,
    attempts: Attempts,
    /// Reached their destination, and wait for a credit.
    waiting: VecDeque<u64>,
    homeless: VecDeque<Homeless>,
    /// Whose process is being asked about, the longest asked first.
    asked: VecDeque<Asked>,
    acquainted: Acquainted,
    open: HashMap<FlowId, Open>,
    signer: Signer,
    /// Further dials under way for connections that are open.
    redials: Redials,
    holds: Holds,
    settled: HashMap<QuotaKey, u64>,
    /// Attempts whose SYN could not be read, settled already.
    unread: HashSet<(u64, u64)>,
    canary: Canary,
    powerful: Vec<Process>,
    upgrading: Option<Upgrading>,
    started: Timestamp,
    next_tick: Instant,
    next_cleanup: Instant,
    stopping: Option<Sender<Result<String, String>>>,
    stopped_by: Option<LogCaller>,
    standing: Standing,
    detach: bool,
}

/// What an epoll event is about, in the upper byte of its data.
#[derive(Clone, Copy)]
enum Source {
    Ring,
    Wake,
    Listener4,
    Listener6,
    Upstream,
    Redial,
    Channel,
    Ended,
}

fn data(source: Source, id: u64) -> epoll::EventData {
    epoll::EventData::new_u64((source as u64) << 56 | id & ((1 << 56) - 1))
}

impl Gate {
    pub fn new(parts: Parts, orders: &Orders, orders_rx: Receiver<Order>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let read = epoll::EventFlags::IN;
        epoll::add(&epoll, &orders.wake, data(Source::Wake, 0), read)?;
        epoll::add(&epoll, parts.maps.events.as_fd(), data(Source::Ring, 0), read)?;
        let now = Instant::now();
        let signer = Signer::start(orders.clone())?;
        let holds = Holds::new(&parts.settings.approvals);
        Ok(Self {
            parts,
            signer,
            redials: Redials::default(),
            holds,
            epoll,
            wake: Arc::clone(&orders.wake),
            orders_rx,
            attempts: Attempts::default(),
            waiting: VecDeque::new(),
            homeless: VecDeque::new(),
            asked: VecDeque::new(),
            acquainted: Acquainted::default(),
            open: HashMap::new(),
            settled: HashMap::new(),
            unread: HashSet::new(),
            canary: Canary::default(),
            powerful: Vec::new(),
            upgrading: None,
            started: Timestamp::now(),
            next_tick: now,
            next_cleanup: now,
            stopping: None,
            stopped_by: None,
            standing: Standing::default(),
            detach: false,
        })
    }

    /// Makes this namespace's listeners, and starts the first enforcer.
    pub fn prepare(&mut self) -> Result<(), KeeperError> {
        let own = self.parts.namespaces.own_cookie();
        self.open_namespace(own, std::process::id(), std::process::id())
            .map_err(|error| KeeperError::Listen(error.to_string()))?;
        self.start_enforcer().map_err(KeeperError::Enforcer)?;
        self.tick();
        Ok(())
    }

    /// Turns until it is told to stop.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(256);
        while self.stopping.is_none() {
            let wait = self.next_tick.saturating_duration_since(Instant::now());
            let wait =
                if self.homeless.is_empty() { wait } else { wait.min(Duration::from_millis(5)) };
            let wait = self.patience_left().map_or(wait, |left| wait.min(left));
            let timeout = Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0),
                tv_nsec: i64::from(wait.subsec_nanos()),
            };
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!("the gate cannot wait for events: {error}");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            for event in &events {
                self.on_event(event.data.u64());
            }
            self.drain_ring();
            self.place_homeless();
            self.lose_patience();
            if self.next_tick <= Instant::now() {
                self.tick();
            }
        }
        self.end();
    }

    fn on_event(&mut self, data: u64) {
        let id = data & ((1 << 56) - 1);
        match data >> 56 {
            x if x == Source::Ring as u64 => {}
            x if x == Source::Wake as u64 => self.on_orders(),
            x if x == Source::Listener4 as u64 => self.on_accept(id, false),
            x if x == Source::Listener6 as u64 => self.on_accept(id, true),
            x if x == Source::Upstream as u64 => self.on_upstream(id),
            x if x == Source::Redial as u64 => self.on_redial(id),
            x if x == Source::Channel as u64 => {
                self.on_channel(worker_id(id));
            }
            _ => self.on_ended(u32::try_from(id).unwrap_or(u32::MAX)),
        }
    }

    fn drain_ring(&mut self) {
        for _ in 0..TURN {
            if self.next_tick <= Instant::now() {
                self.tick();
            }
            let Some(item) = self.parts.maps.events.next() else { return };
            let Some(kind) = abi::kind(&item) else { continue };
            match kind {
                EVENT_ATTEMPT => {
                    if let Some(attempt) = abi::read::<Attempt>(&item) {
                        drop(item);
                        self.on_attempt(&attempt);
                    }
                }
                EVENT_GONE => {
                    if let Some(gone) = abi::read::<Gone>(&item) {
                        drop(item);
                        self.forget(gone.cookie);
                    }
                }
                EVENT_REFUSED | EVENT_DIRECT => {
                    if let Some(verdict) = abi::read::<Verdict>(&item) {
                        drop(item);
                        self.parts.teller.tell(verdict);
                    }
                }
                EVENT_NAMESPACE => {
                    if let Some(seen) = abi::read::<NamespaceSeen>(&item) {
                        drop(item);
                        self.on_namespace(&seen);
                    }
                }
                EVENT_EXEC | EVENT_EXIT => {
                    if let Some(seen) = abi::read::<ProcessSeen>(&item) {
                        drop(item);
                        self.on_process(kind, &seen);
                    }
                }
                other => tracing::warn!("the kernel sent an event of unknown kind {other}"),
            }
        }
    }

    fn on_process(&mut self, kind: u32, seen: &ProcessSeen) {
        if kind == EVENT_EXEC {
            let key = ProcessKey { tgid: seen.tgid, started: seen.started, exec: seen.exec };
            self.parts.registrar.started(key);
        }
    }

    fn on_namespace(&mut self, seen: &NamespaceSeen) {
        if self.parts.namespaces.get(seen.netns).is_none()
            && self.parts.namespaces.is_near(seen.netns, seen.tgid, seen.tid)
            && let Err(error) = self.open_namespace(seen.netns, seen.tgid, seen.tid)
        {
            // Its connects will be held back and try again.
            tracing::debug!("no listener in network namespace {} yet: {error}", seen.netns);
        }
    }

    fn open_namespace(&mut self, cookie: u64, tgid: u32, tid: u32) -> io::Result<()> {
        let Parts { namespaces, maps, .. } = &mut self.parts;
        if namespaces.get(cookie).is_none() {
            let mut tokens = Tokens(maps);
            namespaces.open(cookie, tgid, tid, &mut |socket, token| tokens.bind(socket, token))?;
        }
        let watched = self.watch_namespace(cookie);
        if watched.is_err() {
            self.parts.namespaces.forget(cookie);
        }
        watched
    }

    fn watch_namespace(&mut self, cookie: u64) -> io::Result<()> {
        let Parts { namespaces, maps, .. } = &mut self.parts;
        let namespace = namespaces.get(cookie).ok_or(io::ErrorKind::NotFound)?;
        let read = epoll::EventFlags::IN;
        epoll::add(&self.epoll, &namespace.listen4, data(Source::Listener4, cookie), read)?;
        if let Some(listen6) = &namespace.listen6 {
            epoll::add(&self.epoll, listen6, data(Source::Listener6, cookie), read)?;
        }
        let ready = tidegate_ebpf::Namespace {
            state: tidegate_ebpf::NAMESPACE_READY,
            reserved: 0,
            asked_at: 0,
        };
        maps.namespaces.insert(cookie, Plain(ready), 0).map_err(io::Error::other)
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.next_tick = now + TICK;
        self.beat();
        if self.parts.enforcers.start_due()
            && let Err(error) = self.start_enforcer()
        {
            tracing::error!("cannot start the enforcer: {error}");
            self.parts.enforcers.start_failed();
        }
        // Only a canary that was the enforcer's to carry speaks against it.
        if self.canary.unseen_since.is_some_and(|since| since.elapsed() > HUNG_AFTER) {
            self.canary.unseen_since = None;
            self.parts.enforcers.kill_active();
        }
        if self.upgrading.as_ref().is_some_and(|upgrading| upgrading.until <= now)
            && let Some(upgrading) = &self.upgrading
        {
            self.parts.enforcers.kill(upgrading.generation);
        }
        self.parts.enforcers.tell_terms();
        self.end_old_redials();
        self.expire_holds();
        self.parts.enforcers.tell_answers();
        self.release_waiting();
        self.parts.registrar.look();
        self.note_standing();
        if let Some(log) = &mut self.parts.programs_log {
            log();
        }
        if self.next_cleanup <= now {
            self.next_cleanup = now + Duration::from_secs(5);
            for cookie in self.attempts.too_old() {
                self.forget(cookie);
            }
            self.clean_quotas();
            self.parts.enforcers.look_after_memory();
        }
    }

    /// Shows the kernel that this loop turns, and when a canary last crossed.
    fn beat(&mut self) {
        let now = sys::monotonic();
        let since = self.canary.last_crossed.map(|at| at.elapsed());
        let beat = since.map_or(0, |since| {
            now.saturating_sub(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
        });
        let heartbeat = Heartbeat { beat, keeper: now };
        if let Err(error) = self.parts.maps.heartbeat.set(0, Plain(heartbeat), 0) {
            tracing::error!("cannot write the heartbeat: {error}");
        }
    }

    /// Counts an attempt as done with, for both of its quotas.
    fn settle(&mut self, flow: &RawFlow) {
        let user = QuotaKey { netns: flow.netns, cgroup: 0, uid: flow.uid, reserved: 0 };
        let cgroup = QuotaKey { netns: 0, cgroup: flow.cgroup, uid: u32::MAX, reserved: 0 };
        for key in [user, cgroup] {
            let settled = self.settled.entry(key).or_default();
            *settled += 1;
            if let Err(error) = self.parts.maps.settled.insert(Plain(key), *settled, 0) {
                tracing::warn!("cannot settle an attempt with its quota: {error}");
            }
        }
    }

    /// Takes out the counters of owners that have nothing under way.
    fn clean_quotas(&mut self) {
        let maps = &mut self.parts.maps;
        self.settled.retain(|key, settled| {
            let published = maps.published.get(&Plain(*key), 0).unwrap_or(0);
            if published != *settled {
                return true;
            }
            let _ = maps.published.remove(&Plain(*key));
            let _ = maps.settled.remove(&Plain(*key));
            false
        });
    }

    fn end(mut self) {
        let detach = self.detach;
        let done = self.stopping.take();
        if let Some(notary) = &self.parts.notary {
            notary.last_word(LogNote::Stopping { by: self.stopped_by.take() });
        }
        let result = if detach {
            self.parts
                .hooks
                .detach()
                .map(|removed| format!("detached; {} pins removed", removed.len()))
        } else {
            Ok("stopped; the gate stays shut (`tidegate detach` takes it away)".into())
        };
        // What is open goes on: an enforcer without a keeper carries its
        // connections to their end.
        if let Some(done) = done {
            let _ = done.send(result.map_err(|error| error.to_string()));
        }
    }
}

fn worker_id(id: u64) -> WorkerId {
    WorkerId {
        generation: u32::try_from(id >> 16).unwrap_or(u32::MAX),
        worker: u32::try_from(id & 0xffff).unwrap_or(u32::MAX),
    }
}

fn channel_data(worker: WorkerId) -> epoll::EventData {
    data(Source::Channel, u64::from(worker.generation) << 16 | u64::from(worker.worker))
}

fn ended_data(generation: u32) -> epoll::EventData {
    data(Source::Ended, u64::from(generation))
}
