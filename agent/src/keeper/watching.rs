//! What goes on beside the gate: names resolved again, namespaces and
//! processes counted, signals taken.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::gate::{self, Order, Orders};
use super::processes::Processes;
use super::serving::{self, SharedReload};
use super::{existing, namespaces, sys};
use crate::host;
use crate::model::{Adopted, Process};

const SIGNALS: [i32; 5] = [libc::SIGHUP, libc::SIGUSR2, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];
const CENSUS_EVERY: Duration = Duration::from_secs(5);
/// A name server that doesn't answer must not hold the start up for long.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// A name that didn't resolve is tried again sooner.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// To be called before any thread is started.
pub fn block_signals() -> io::Result<()> {
    sys::block_signals(&SIGNALS)
}

pub fn signals(orders: &Orders, reload: &SharedReload) {
    loop {
        let signal = match sys::wait_signal(&SIGNALS) {
            Ok(signal) => signal,
            Err(error) => {
                tracing::error!("cannot wait for signals: {error}");
                return;
            }
        };
        let outcome = match signal {
            libc::SIGHUP => serving::reread(orders, reload, None),
            libc::SIGUSR2 => serving::ask(orders, |done| Order::Upgrade {
                binary: own_binary(),
                drain: None,
                done,
            }),
            _ => serving::ask(orders, |done| Order::Stop { detach: false, by: None, done }),
        };
        match outcome {
            Ok(message) => tracing::info!("{message}"),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// The file this process was started from, or what has been put in its place.
fn own_binary() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    let text = path.to_str()?;
    Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text)))
}

type Answer = Result<Vec<IpAddr>, String>;

/// Resolves every name at once, and waits a while for them.
pub fn resolve_all(hosts: &[String]) -> Vec<(String, Answer)> {
    let (answers_tx, answers_rx) = channel();
    for host in hosts {
        let (host, answers_tx) = (host.clone(), answers_tx.clone());
        let work = move || {
            let answer = resolve(&host);
            // Nobody waits any more: it is resolved again later.
            let _ = answers_tx.send((host, answer));
        };
        if let Err(error) = std::thread::Builder::new().name("resolver".into()).spawn(work) {
            tracing::error!("cannot start a resolver: {error}");
        }
    }
    drop(answers_tx);
    let until = Instant::now() + RESOLVE_WITHIN;
    let mut answers = Vec::new();
    while let Ok(answer) = answers_rx.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        answers.push(answer);
    }
    for host in hosts {
        if !answers.iter().any(|(answered, _)| answered == host) {
            answers.push((host.clone(), Err("no answer from the resolver yet".into())));
        }
    }
    answers
}

fn resolve(host: &str) -> Answer {
    let addresses: Vec<IpAddr> = (host, 0)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?
        .map(|address| address.ip())
        .collect();
    if addresses.is_empty() { Err("it has no address".into()) } else { Ok(addresses) }
}

/// The slow round.
#[derive(Debug)]
pub struct Watch {
    /// The cgroup attached to, below the mount of cgroup2.
    pub below: String,
    pub mount: PathBuf,
    pub adopted: Vec<Adopted>,
    pub resolve_every: Duration,
    /// Every name had an answer at the start.
    pub all_resolved: bool,
}

impl Watch {
    pub fn run(mut self, orders: &Orders) {
        let mut resolved_at = Instant::now();
        let mut all_well = self.all_resolved;
        loop {
            let powerful = self.powerful();
            let census = Order::Census { namespaces: namespaces::alive(), powerful };
            if !orders.send(census) {
                return;
            }
            if !self.adopted.is_empty() {
                self.adopted = existing::still_there(&self.adopted);
                orders.send(Order::Adopted(self.adopted.clone()));
            }
            let every = if all_well { self.resolve_every } else { RESOLVE_AGAIN };
            if resolved_at.elapsed() >= every {
                resolved_at = Instant::now();
                all_well = self.resolve(orders);
            }
            std::thread::sleep(CENSUS_EVERY.min(self.resolve_every));
        }
    }

    /// True when every name has resolved.
    fn resolve(&self, orders: &Orders) -> bool {
        let (hosts_tx, hosts_rx) = channel();
        if !orders.send(gate::Order::Hosts(hosts_tx)) {
            return true;
        }
        let Ok(hosts) = hosts_rx.recv_timeout(RESOLVE_WITHIN) else { return false };
        let mut all_well = true;
        for (host, answer) in resolve_all(&hosts) {
            all_well &= answer.is_ok();
            orders.send(Order::Resolved(host, answer));
        }
        all_well
    }

    /// Processes under the cgroup that could pass around the hooks, the
    /// agent's own left out.
    fn powerful(&self) -> Vec<Process> {
        let own = std::process::id();
        let mut processes = Processes::new(&self.mount);
        let all = host::processes(Path::new("/"));
        host::powerful(&all, Some(&self.below))
            .filter(|running| running.pid != own && running.parent != own)
            .filter_map(|running| processes.of_pid(running.pid))
            .collect()
    }
}
