//! What is found out only once a connect has gone on: names that the host asks
//! others for, what the journal says of a login, a runtime that takes its time, the
//! hash of a large program.
//!
//! ```text
//! readers --what is open--> afterwards --Order::Enriched--> gate --note--> log
//! ```
//!
//! INVARIANT: a connection's actor stays what it was judged by; what is learnt is a
//! record of its own, and what later connects begin with. Nobody waits for this
//! thread, and what it is too far behind for is left out.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::files::Hashed;
use super::logins::LoginKey;
use super::runtimes::Runtimes;
use super::told::told;
use super::{Desk, Office};
use crate::identity::journal::accepted_in;
use crate::identity::{Accepted, Facts};
use crate::keeper::gate::Order;
use crate::model::{
    Actor, Attribute, Confidence, Enriched, LONGEST_VALUE, MOST_ATTRIBUTES, Origin, Process,
    ProgramFile, Sourced, Timestamp, Workload, cut,
};

const MOST_WAITING: usize = 1024;
/// For the journal, and for a program's hash.
const JOURNAL_WITHIN: Duration = Duration::from_secs(2);
const HASH_WITHIN: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: u64 = 256 * 1024;
/// A login that the journal doesn't know is not asked for again so soon.
const ASK_AGAIN: Duration = Duration::from_secs(60);
const MOST_KNOWN: usize = 1024;

/// A process of which something wasn't known in time.
#[derive(Debug)]
pub(super) struct Open {
    process: Process,
    actor: Arc<Actor>,
    user: bool,
    login_uid: Option<u32>,
    login: Option<LoginKey>,
    workload: bool,
    /// Of the process and of those that it descends from, what is being hashed.
    files: Vec<ProgramFile>,
}

impl Open {
    /// Nothing, where all is known.
    pub fn of(
        facts: &Facts,
        process: &Process,
        actor: &Arc<Actor>,
        login: Option<LoginKey>,
        files: Vec<ProgramFile>,
    ) -> Option<Self> {
        let (seen, workload) = (&facts.process, &facts.workload);
        let unlogged = facts.login.as_ref().is_some_and(|login| login.logged.is_none());
        let open = Self {
            user: seen.user.is_none() && workload.container.is_none(),
            login_uid: seen.login_uid.filter(|_| seen.login_user.is_none()),
            login: login.filter(|_| unlogged),
            workload: workload.container.is_some()
                && workload.image.is_none()
                && workload.container_name.is_none(),
            files,
            process: process.clone(),
            actor: Arc::clone(actor),
        };
        let any = open.user
            || open.workload
            || open.login_uid.is_some()
            || open.login.is_some()
            || !open.files.is_empty();
        any.then_some(open)
    }
}

/// Where logins are asked for: all that the journal has of these sshds.
pub(super) trait Journal: Send {
    fn lines(&self, sshds: &[u32]) -> Option<String>;
}

#[derive(Debug)]
pub(super) struct Afterwards {
    open_tx: SyncSender<Open>,
}

impl Afterwards {
    pub fn new() -> (Self, Receiver<Open>) {
        let (open_tx, open_rx) = sync_channel(MOST_WAITING);
        (Self { open_tx }, open_rx)
    }

    pub fn find_out(&self, open: Open) {
        if self.open_tx.try_send(open).is_err() {
            tracing::debug!("what is still open of a process is left so: too many wait");
        }
    }
}

pub(super) fn start(desk: &Arc<Desk>, open_rx: Receiver<Open>) -> io::Result<()> {
    let desk = Arc::downgrade(desk);
    crate::keeper::start("afterwards", move || run(&desk, &open_rx, Box::new(Journalctl)))?;
    Ok(())
}

fn run(desk: &Weak<Desk>, open_rx: &Receiver<Open>, journal: Box<dyn Journal>) {
    let mut seeker = Seeker { journal, asked: HashMap::new(), runtimes: None };
    while let Ok(open) = open_rx.recv() {
        let Some(desk) = desk.upgrade() else { return };
        let facts = seeker.facts(&open, &desk.office);
        if facts.is_empty() {
            continue;
        }
        let Open { process, actor, .. } = open;
        let enriched = Enriched { process, boot: actor.boot.clone(), facts };
        if !desk.orders.send(Order::Enriched(Box::new(enriched))) {
            return;
        }
    }
}

struct Seeker {
    journal: Box<dyn Journal>,
    /// Logins that the journal was asked for.
    asked: HashMap<LoginKey, Instant>,
    /// With more patience than the readers', and the sockets that they ask.
    runtimes: Option<(Vec<PathBuf>, Runtimes)>,
}

impl Seeker {
    fn facts(&mut self, open: &Open, office: &Office) -> Vec<Attribute> {
        let mut facts = Learnt::default();
        if open.user
            && let Some(name) = office.kin.names.wait_for_user(open.process.uid)
        {
            facts.add("user", &name, Origin::Host, Confidence::Certain);
        }
        let person = open.actor.person.as_ref();
        let surer = |known: Option<&Sourced<String>>| {
            known.is_none_or(|known| known.confidence < Confidence::Certain)
        };
        if let Some(uid) = open.login_uid
            && let Some(name) = office.kin.names.wait_for_user(uid)
            && surer(person.and_then(|person| person.user.as_ref()))
        {
            facts.add("person.user", &name, Origin::Host, Confidence::Certain);
        }
        if let Some(key) = &open.login
            && let Some(Accepted { user, address, key }) = self.login(key, office)
        {
            let mut add = |name: &str, value: &str, known: Option<&Sourced<String>>| {
                if surer(known) {
                    facts.add(name, value, Origin::Log, Confidence::Certain);
                }
            };
            add("person.user", &user, person.and_then(|person| person.user.as_ref()));
            add("person.address", &address, person.and_then(|person| person.address.as_ref()));
            if let Some(key) = key {
                add("person.key", &key, person.and_then(|person| person.key.as_ref()));
            }
        }
        if open.workload
            && let Some(found) = self.workload(&open.process.workload, office)
        {
            facts.add_workload(&found);
        }
        let until = Instant::now() + HASH_WITHIN;
        let own = open.actor.program.file.as_ref().map(|file| (file.device, file.inode));
        for file in &open.files {
            let left = until.saturating_duration_since(Instant::now());
            let Hashed::Known(sha256) = office.kin.files.hash(file, Vec::new, left) else {
                continue;
            };
            let place = (file.device, file.inode);
            let name = match own {
                Some(own) if own == place => "sha256".to_owned(),
                _ => format!("sha256.{}:{}", file.device, file.inode),
            };
            facts.add(&name, &sha256, Origin::Kernel, Confidence::Certain);
        }
        facts.0
    }

    /// By the journal; kept for those who come by the same login.
    fn login(&mut self, key: &LoginKey, office: &Office) -> Option<Accepted> {
        if self.asked.get(key).is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return office.logins.logged(key);
        }
        if self.asked.len() >= MOST_KNOWN {
            self.asked.clear();
        }
        self.asked.insert(key.clone(), Instant::now());
        let sshds: Vec<u32> = key.0.iter().map(|(pid, _)| *pid).collect();
        let lines = self.journal.lines(&sshds)?;
        let booted = booted()?;
        let found = key.0.iter().find_map(|(pid, started)| {
            accepted_in(&lines, *pid, booted.saturating_add(started / 1_000))
        })?;
        office.logins.keep(key, &found);
        Some(found)
    }

    fn workload(&mut self, workload: &Workload, office: &Office) -> Option<Workload> {
        let sockets = office.runtimes().sockets().to_vec();
        let patient = match &mut self.runtimes {
            Some((known, patient)) if *known == sockets => patient,
            other => {
                let patient = Runtimes::patient(sockets.clone());
                &mut other.insert((sockets, patient)).1
            }
        };
        let found = patient.describe(workload.clone());
        if found == *workload {
            return None;
        }
        office.runtimes().keep(&found);
        Some(found)
    }
}

#[derive(Default)]
struct Learnt(Vec<Attribute>);

impl Learnt {
    fn add(&mut self, name: &str, value: &str, origin: Origin, confidence: Confidence) {
        if self.0.len() < MOST_ATTRIBUTES && !self.0.iter().any(|known| known.name == name) {
            let value = cut(value, LONGEST_VALUE);
            self.0.push(Attribute { name: name.to_owned(), value, origin, confidence });
        }
    }

    fn add_workload(&mut self, found: &Workload) {
        // A user's own runtime may say anything.
        let confidence = match found.user_slice {
            None => Confidence::Certain,
            Some(_) => Confidence::Claimed,
        };
        let named = [
            ("image", &found.image),
            ("image_digest", &found.image_digest),
            ("image_id", &found.image_id),
            ("container_name", &found.container_name),
            ("namespace", &found.namespace),
            ("pod_name", &found.pod_name),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                self.add(name, value, Origin::Runtime, confidence);
            }
        }
        for (label, value) in &found.labels {
            self.add(&format!("label.{label}"), value, Origin::Runtime, confidence);
        }
    }
}

/// Microseconds since 1970 at which this host was started.
fn booted() -> Option<u64> {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = u64::try_from(up.tv_sec).ok()? * 1_000_000 + u64::try_from(up.tv_nsec).ok()? / 1_000;
    (Timestamp::now().0 / 1_000).checked_sub(up)
}

struct Journalctl;

impl Journal for Journalctl {
    fn lines(&self, sshds: &[u32]) -> Option<String> {
        // Of one field any, of several all: journald's own fields, this boot, the
        // newest first.
        let mut asked: Vec<String> =
            ["-o", "json", "-q", "--no-pager", "-b", "-r", "-n", "50"].map(str::to_owned).into();
        asked.extend(["_UID=0", "_COMM=sshd", "_COMM=sshd-session"].map(str::to_owned));
        asked.extend(sshds.iter().map(|pid| format!("_PID={pid}")));
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let answer = told("journalctl", &asked, JOURNAL_WITHIN, LONGEST_ANSWER)?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[cfg(test)]
mod tests;
