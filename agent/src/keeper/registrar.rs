//! Who is behind a connect, found out beside the gate while the client's SYN is
//! held back: its process is still in connect(2), so that even the shortest
//! life can be read whole.
//!
//! ```text
//! gate --connects, execs--> registrar --Order::Known--> gate
//! ```
//!
//! INVARIANT: the gate never waits for this. Reading a process's memory (its
//! arguments, its environment) or its files may hang for as long as the process
//! likes: a worker that hangs is replaced, and who has hung two is not read
//! again while they hang.

mod afterwards;
mod files;
mod kin;
mod logins;
mod memory;
mod names;
mod pods;
mod proc;
mod runtimes;
mod told;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tidegate_ebpf::{FLOW_COMMAND_CUT, RawFlow};

use super::gate::{Order, Orders};
use super::processes::{Cgroups, arguments};
use crate::config::IdentitySettings;
use crate::identity::{self, Directory, Facts, Kinds, Known, Seen, redact};
use crate::model::{
    Actor, MOST_ANCESTORS, Origin, Process, ProcessKey, Relation, Source, Sourced, Workload, cut,
    cut_front,
};
use afterwards::{Afterwards, Open};
use files::{Files, Hashed};
use kin::Kin;
use logins::Logins;
use memory::Memory;
pub(super) use names::Names;
use pods::Pods;
use runtimes::Runtimes;
pub use runtimes::{Greeting, greet};

/// Workers without a reason for more.
const WORKERS: usize = 2;
/// … and with every other one hanging.
const MOST_WORKERS: usize = 16;
/// A worker that is busy for so long doesn't count as one.
const SLOW: Duration = Duration::from_millis(50);
/// Programs that started and wait to be read; more are read at their connect.
const MOST_EXECS: usize = 4096;
/// How long a connect may wait for the hash of a program that is new here.
const HASH_WITHIN: Duration = Duration::from_millis(60);
/// The hook's path of a cgroup, and a program's, as a flow carries them.
const LONGEST_CARRIED: usize = 1024;

/// What was found out for one connect.
#[derive(Debug)]
pub struct Answer {
    pub cookie: u64,
    pub connected_at: u64,
    pub process: Process,
    pub actor: Arc<Actor>,
}

#[derive(Debug)]
pub struct Registrar {
    desk: Arc<Desk>,
}

/// Connects, a user's at a time: one who floods waits for itself.
#[derive(Debug, Default)]
struct Turns {
    waiting: HashMap<u32, VecDeque<Box<RawFlow>>>,
    /// Whose turn comes when; each user once.
    order: VecDeque<u32>,
}

/// What waits to be read, and who reads.
#[derive(Debug, Default)]
struct Pile {
    connects: Turns,
    execs: VecDeque<ProcessKey>,
    /// Since when each worker is busy.
    workers: Vec<Option<Instant>>,
    ended: bool,
}

#[derive(Debug)]
struct Desk {
    pile: Mutex<Pile>,
    more: Condvar,
    orders: Orders,
    office: Office,
    afterwards: Afterwards,
}

/// What is remembered from one reading to the next.
#[derive(Debug)]
struct Office {
    boot: String,
    known: RwLock<Arc<Known>>,
    memory: Memory,
    kin: Kin,
    logins: Logins,
    runtimes: RwLock<Arc<Runtimes>>,
    pods: RwLock<Arc<Pods>>,
    cgroups: Mutex<Cgroups>,
}

/// Reads the files that the settings name. An error is for people.
pub fn known(settings: &IdentitySettings) -> Result<Known, String> {
    let text = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))
    };
    let kinds = match &settings.kinds {
        Some(path) => Kinds::with(&text(path)?, &path.display().to_string()),
        None => Kinds::own(),
    };
    let directory = match &settings.directory {
        Some(path) => Directory::parse(&text(path)?, &path.display().to_string()),
        None => Ok(Directory::default()),
    };
    match (kinds, directory) {
        (Ok(kinds), Ok(directory)) => {
            for warning in kinds.warnings() {
                tracing::warn!("{warning}");
            }
            Ok(Known { kinds, directory })
        }
        (kinds, directory) => {
            let errors = [kinds.err(), directory.err()];
            let lines: Vec<String> = errors.iter().flatten().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
    }
}

impl Registrar {
    pub fn start(
        known: Known,
        settings: &IdentitySettings,
        cgroup_mount: &Path,
        orders: Orders,
    ) -> io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let names = Names::start()?;
        let office = Office {
            boot: boot.trim().to_owned(),
            known: RwLock::new(Arc::new(known)),
            memory: Memory::default(),
            kin: Kin::new(names, Files::start()?),
            logins: Logins::default(),
            runtimes: RwLock::new(Arc::new(Runtimes::new(settings.runtimes.clone()))),
            pods: RwLock::new(pods(settings)),
            cgroups: Mutex::new(Cgroups::new(cgroup_mount)),
        };
        let (afterwards, open_rx) = Afterwards::new();
        let (pile, more) = (Mutex::default(), Condvar::new());
        let desk = Arc::new(Desk { pile, more, orders, office, afterwards });
        afterwards::start(&desk, open_rx)?;
        for _ in 0..WORKERS {
            hire(&desk, &mut lock(&desk.pile))?;
        }
        Ok(Self { desk })
    }

    /// A connect is held back: who is it?
    pub fn ask(&self, flow: &RawFlow) {
        lock(&self.desk.pile).connects.push(Box::new(*flow));
        self.desk.more.notify_one();
        self.look();
    }

    /// A program has started: read it before it, or its parent, can end.
    pub fn started(&self, key: ProcessKey) {
        let mut pile = lock(&self.desk.pile);
        if pile.execs.len() >= MOST_EXECS {
            pile.execs.pop_front();
        }
        pile.execs.push_back(key);
        drop(pile);
        self.desk.more.notify_one();
    }

    /// Sees to it that somebody reads, however many hang.
    pub fn look(&self) {
        let mut pile = lock(&self.desk.pile);
        let waiting = !pile.connects.is_empty();
        let free = pile
            .workers
            .iter()
            .filter(|busy| busy.is_none_or(|since| since.elapsed() < SLOW))
            .count();
        if waiting && free == 0 && pile.workers.len() < MOST_WORKERS {
            tracing::debug!("every reader of processes hangs: one more");
            if let Err(error) = hire(&self.desk, &mut pile) {
                tracing::warn!("cannot start a reader of processes: {error}");
            }
        }
    }

    /// New files from here on.
    pub fn set(&self, known: Known, settings: &IdentitySettings) {
        *self.desk.office.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        *self.desk.office.runtimes.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Runtimes::new(settings.runtimes.clone()));
        *self.desk.office.pods.write().unwrap_or_else(PoisonError::into_inner) = pods(settings);
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        lock(&self.desk.pile).ended = true;
        self.desk.more.notify_all();
    }
}

impl Turns {
    fn push(&mut self, flow: Box<RawFlow>) {
        let uid = flow.uid;
        let queue = self.waiting.entry(uid).or_default();
        if queue.is_empty() {
            self.order.push_back(uid);
        }
        queue.push_back(flow);
    }

    fn pop(&mut self) -> Option<Box<RawFlow>> {
        let uid = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&uid)?;
        let flow = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&uid);
        } else {
            self.order.push_back(uid);
        }
        flow
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hire(desk: &Arc<Desk>, pile: &mut Pile) -> io::Result<()> {
    let number = pile.workers.len();
    let shared = Arc::clone(desk);
    super::start("registrar", move || shared.work(number))?;
    pile.workers.push(None);
    Ok(())
}

impl Desk {
    fn work(&self, number: usize) {
        loop {
            let mut pile = lock(&self.pile);
            if let Some(busy) = pile.workers.get_mut(number) {
                *busy = None;
            }
            while pile.connects.is_empty() && pile.execs.is_empty() && !pile.ended {
                pile = self.more.wait(pile).unwrap_or_else(PoisonError::into_inner);
            }
            if pile.ended {
                return;
            }
            if let Some(busy) = pile.workers.get_mut(number) {
                *busy = Some(Instant::now());
            }
            // Who connects is waited for; who started can wait.
            let Some(flow) = pile.connects.pop() else {
                let key = pile.execs.pop_front();
                drop(pile);
                if let Some(key) = key {
                    self.office.kin.remember(key, &self.office.memory);
                }
                continue;
            };
            drop(pile);
            let (process, actor, open) = self.office.find_out(&flow);
            let (cookie, connected_at) = (flow.cookie, flow.connected_at);
            let answer = Answer { cookie, connected_at, process, actor };
            if !self.orders.send(Order::Known(Box::new(answer))) {
                return;
            }
            // Of the one who was told of, not before.
            if let Some(open) = open {
                self.afterwards.find_out(open);
            }
        }
    }
}

impl Office {
    fn runtimes(&self) -> Arc<Runtimes> {
        Arc::clone(&self.runtimes.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn find_out(&self, flow: &RawFlow) -> (Process, Arc<Actor>, Option<Open>) {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let key = ProcessKey { tgid: flow.tgid, started: flow.started, exec: flow.exec };
        let line = self.kin.line(key, &self.memory);
        let mut line = line.into_iter();
        let first = line.next();
        let mut complete = first.as_ref().is_some_and(|seen| !seen.ended);
        let mut seen = first.unwrap_or_default();
        let mut ancestors: Vec<Seen> = line.collect();
        // The hook's word: it was there.
        seen.pid = flow.tgid;
        if seen.real_uid == seen.uid {
            seen.real_uid = flow.uid;
        }
        (seen.uid, seen.gid) = (flow.uid, flow.gid);
        seen.user = match seen.workload.container {
            None => self.kin.names.user_of_host(flow.uid),
            Some(_) => self.kin.names.user(flow.uid),
        };
        seen.group = self.kin.names.group(flow.gid);
        if flow.started != 0 {
            seen.started = flow.started;
        }
        let process = self.process(flow, &seen);
        if seen.comm.is_empty() {
            seen.comm.clone_from(&process.comm);
        }
        if seen.arguments.is_empty() {
            seen.arguments.clone_from(&process.command);
        }

        let environment = self
            .memory
            .read(flow.tgid, flow.uid, || proc::environment(flow.tgid, &seen, &known.kinds))
            .flatten();
        let environment_read = environment.is_some();
        complete &= environment_read;
        let mut later = Vec::new();
        let found = self.hash(&mut seen, flow.tgid, HASH_WITHIN);
        complete &= found != Hashed::Unknown;
        if found == Hashed::Later {
            later.extend(seen.file.clone());
        }
        for ancestor in ancestors.iter_mut().take(MOST_ANCESTORS) {
            let found = self.hash(ancestor, flow.tgid, Duration::ZERO);
            // The kernel's own have no program.
            complete &= found != Hashed::Unknown || ancestor.exe.is_none();
            if found == Hashed::Later {
                later.extend(ancestor.file.clone());
            }
        }
        let mut process = process;
        process.workload = self.runtimes().describe(process.workload.clone());
        let (key, login) = self.logins.of(&seen, &ancestors, &self.memory).unzip();
        let by_runtime = process.workload.pod_name.is_some();
        let account = self.look_at_pod(flow, &mut process.workload);
        let pod_named_by = if by_runtime { Origin::Runtime } else { Origin::Kubelet };
        let facts = Facts {
            boot: self.boot.clone(),
            login,
            process: seen,
            ancestors,
            environment: environment.unwrap_or_default(),
            workload: process.workload.clone(),
            pod_named_by: Some(pod_named_by),
            command: process.command_source,
            account,
            environment_read,
            complete,
        };
        let actor = Arc::new(identity::actor(&facts, &known));
        let open = Open::of(&facts, &process, &actor, key, later);
        (process, actor, open)
    }

    /// What the node itself says of its pod; what the runtime has said stays.
    fn look_at_pod(&self, flow: &RawFlow, workload: &mut Workload) -> Option<Sourced<String>> {
        let uid = workload.pod.clone()?;
        let pods = Arc::clone(&self.pods.read().unwrap_or_else(PoisonError::into_inner));
        let pod = pods.of(workload);
        if workload.namespace.is_none() && workload.pod_name.is_none() {
            (workload.namespace, workload.pod_name) = (pod.namespace, pod.name);
        }
        // A process's own files may hang.
        let claimed = || {
            let claimed = self.memory.read(flow.tgid, flow.uid, || pods::claimed(flow.tgid, &uid));
            claimed.flatten()
        };
        pod.account.or_else(claimed)
    }

    /// What is in the file of its program. `beside`: a process that runs, where its own
    /// may have ended.
    fn hash(&self, seen: &mut Seen, beside: u32, patience: Duration) -> Hashed {
        let Some(file) = &seen.file else { return Hashed::Unknown };
        let places = || {
            let runs = !seen.ended && seen.relation != Relation::Before;
            let own = runs.then(|| PathBuf::from(format!("/proc/{}/exe", seen.pid)));
            let exe = seen.exe.as_deref().and_then(|exe| exe.strip_prefix("/").ok());
            let roots = [PathBuf::from(format!("/proc/{beside}/root")), PathBuf::from("/")];
            let by_path = roots.iter().filter_map(|root| Some(root.join(exe?)));
            own.into_iter().chain(by_path).collect()
        };
        let read = || self.kin.files.hash(file, places, patience);
        let found = self.memory.read(seen.pid, seen.uid, read).unwrap_or(Hashed::Unknown);
        if let (Hashed::Known(sha256), Some(file)) = (&found, &mut seen.file) {
            file.sha256 = Some(sha256.clone());
        }
        found
    }

    fn process(&self, flow: &RawFlow, seen: &Seen) -> Process {
        let length = usize::try_from(flow.command_length).unwrap_or_default();
        let block = flow.command.get(..length).unwrap_or_default();
        let command_cut = flow.flags & FLOW_COMMAND_CUT != 0;
        let end = flow.comm.iter().position(|byte| *byte == 0).unwrap_or(flow.comm.len());
        let comm = flow.comm.get(..end).unwrap_or_default();
        let cgroup = lock(&self.cgroups).path(flow.cgroup, flow.tgid);
        let by_id = cgroup.as_deref().map(identity::cgroup::of_path).unwrap_or_default();
        let workload = identity::cgroup::fuller(by_id, seen.workload.clone());
        let (command, command_cut, command_source) = if block.is_empty() {
            let source = if seen.arguments.is_empty() { Source::Missing } else { Source::Proc };
            (seen.arguments.clone(), false, source)
        } else {
            (redact::command(&arguments(block), command_cut), command_cut, Source::Kernel)
        };
        Process {
            key: ProcessKey { tgid: flow.tgid, started: flow.started, exec: flow.exec },
            tid: flow.tid,
            uid: flow.uid,
            gid: flow.gid,
            user: seen.user.clone(),
            comm: String::from_utf8_lossy(comm).into_owned(),
            command,
            command_cut,
            command_source,
            exe: seen.exe.as_ref().map(|exe| carried(exe)),
            parent: (seen.parent != 0).then_some(seen.parent),
            login_uid: seen.login_uid,
            cgroup_id: flow.cgroup,
            cgroup: cgroup.map(|path| cut(&path, LONGEST_CARRIED)),
            workload,
        }
    }
}

fn pods(settings: &IdentitySettings) -> Arc<Pods> {
    Arc::new(Pods::new(settings.kubelet.clone(), settings.pod_logs.clone()))
}

/// A path as a flow carries it.
pub(super) fn carried(path: &Path) -> PathBuf {
    if path.as_os_str().len() <= LONGEST_CARRIED {
        return path.to_owned();
    }
    cut_front(&path.to_string_lossy(), LONGEST_CARRIED).into()
}

#[cfg(test)]
mod tests;
