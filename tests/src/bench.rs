//! The measurements: direct, through tidegate and through HAProxy beside each
//! other, interleaved, the median of several rounds.
//!
//! INVARIANT: what is compared runs in one call, against one server, by the
//! same client; only the way between them differs. tidegate's client lives in
//! the cgroup that the agent is attached to, the others' outside of it.

pub mod client;
mod haproxy;
pub mod log;
pub mod masks;
pub mod postgres;
mod server;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::agent::{Agent, Plan};
use crate::cgroup::Cgroup;
use crate::kernel::memory_kib;
use crate::place::Place;
use crate::probe::{self, Task};
use crate::{ports, sys};
use client::{Answer, Direction, Job, Running};
use haproxy::Haproxy;
use server::Server;

/// The names that can be asked for.
pub const NAMES: &[&str] =
    &["memory", "relay", "bulk", "connect", "hook", "postgres", "log", "masks"];

#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    pub bench: String,
    pub case: String,
    pub path: String,
    pub metric: String,
    pub value: f64,
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Direct,
    Tidegate,
    Haproxy,
}

impl Path {
    const ALL: [Self; 3] = [Self::Direct, Self::Tidegate, Self::Haproxy];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tidegate => "tidegate",
            Self::Haproxy => "haproxy",
        }
    }
}

/// Everything that is measured against, up at once.
pub struct Bench {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    haproxy: Haproxy,
    server: Server,
    rounds: usize,
}

type Samples = BTreeMap<(String, usize, String, &'static str), Vec<f64>>;

impl Bench {
    pub fn start(rounds: usize) -> Result<Self> {
        let server = Server::start(ports::fresh()?)?;
        let haproxy = Haproxy::start(server.port())?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::unread([server.port()]))?;
        let bench = Self { agent, work, _root: root, haproxy, server, rounds };
        bench.check_ways()?;
        Ok(bench)
    }

    pub fn run(&self, name: &str, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
        match name {
            "relay" => self.relay(tell),
            "bulk" => self.bulk(tell),
            "connect" => self.connect(tell),
            "hook" => self.hook(tell),
            "memory" => self.memory(tell),
            other => bail!("there is no bench `{other}`: there are {}", NAMES.join(", ")),
        }
    }

    fn place(&self, path: Path) -> Place<'_> {
        match path {
            Path::Tidegate => Place::new().cgroup(&self.work),
            Path::Direct | Path::Haproxy => Place::new(),
        }
    }

    fn to(&self, path: Path) -> SocketAddr {
        let port = if path == Path::Haproxy { self.haproxy.port() } else { self.server.port() };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn ask(&self, path: Path, job: &Job) -> Result<Answer> {
        Running::start(&self.place(path), self.to(path), job)?.answer()
    }

    /// tidegate's way is the one that is told of, and nobody else's.
    fn check_ways(&self) -> Result<()> {
        let observer = self.agent.observe()?;
        for path in Path::ALL {
            let job = Job::Idle { connections: 1 };
            let (running, _) = Running::start(&self.place(path), self.to(path), &job)?.ready()?;
            if path == Path::Tidegate {
                observer.wait_of("opened", running.pid())?;
            }
        }
        let opened = observer.events()?.iter().filter(|event| event.event == "opened").count();
        ensure!(opened == 1, "{opened} of the three ways are tidegate's");
        Ok(())
    }

    fn relay(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
        let mut samples = Samples::new();
        let mut order = 0;
        for size in [100, 1024] {
            for connections in [1, 8, 32] {
                order += 1;
                let case = format!("{size} B, {connections} connections");
                tell(&case);
                let job = Job::Turns { size, connections, milliseconds: 1_000 };
                for _ in 0..self.rounds {
                    for path in Path::ALL {
                        let answer = self.ask(path, &job)?;
                        let mut add = |metric: &str, value| {
                            let key = (case.clone(), order, metric.to_string(), path.name());
                            samples.entry(key).or_default().push(value);
                        };
                        add("1 throughput/req\u{2044}s", answer.per_second);
                        add("2 p50/µs", answer.p50_us);
                        add("3 p99/µs", answer.p99_us);
                    }
                }
            }
        }
        Ok(medians("relay", samples))
    }

    fn bulk(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
        const GIB: u64 = 1 << 30;
        let mut samples = Samples::new();
        for (order, direction) in [Direction::Up, Direction::Down].into_iter().enumerate() {
            let case = format!("1 GiB {}", if direction == Direction::Up { "up" } else { "down" });
            tell(&case);
            for _ in 0..self.rounds {
                for path in Path::ALL {
                    let answer = self.ask(path, &Job::Bulk { direction, bytes: GIB })?;
                    samples
                        .entry((case.clone(), order, "throughput/MiB\u{2044}s".into(), path.name()))
                        .or_default()
                        .push(answer.per_second / f64::from(1 << 20));
                }
            }
        }
        Ok(medians("bulk", samples))
    }

    fn connect(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
        let mut samples = Samples::new();
        for (order, parallel) in [1, 8].into_iter().enumerate() {
            let case =
                if parallel == 1 { "one by one".into() } else { format!("{parallel} at a time") };
            tell(&case);
            let job = Job::Connects { count: 1_000, parallel };
            for _ in 0..self.rounds {
                for path in Path::ALL {
                    let answer = self.ask(path, &job)?;
                    for (metric, value) in [
                        ("1 connect+first byte p50/µs", answer.p50_us),
                        ("2 connect+first byte p99/µs", answer.p99_us),
                        ("3 connections/s⁻¹", answer.per_second),
                    ] {
                        samples
                            .entry((case.clone(), order, metric.into(), path.name()))
                            .or_default()
                            .push(value);
                    }
                }
            }
        }
        Ok(medians("connect", samples))
    }

    /// connect(2) to a closed port that nobody protects, in and out of the
    /// cgroup.
    fn hook(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
        tell("connect(2) to an unprotected port");
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::fresh()?));
        let mut samples = Samples::new();
        let mut costs = Vec::new();
        for _ in 0..self.rounds.max(5) {
            let mut once = |path: Path| -> Result<f64> {
                let task = Task::Time { to, count: 20_000 };
                let times: Vec<u64> = probe::ask(&self.place(path), &task)?;
                let median = *times.get(times.len() / 2).context("no times")? as f64;
                let key = ("unprotected".into(), 0, "1 connect(2) p50/ns".into(), path.name());
                samples.entry(key).or_default().push(median);
                Ok(median)
            };
            let (direct, led) = (once(Path::Direct)?, once(Path::Tidegate)?);
            costs.push(led - direct);
        }
        samples.insert(("unprotected".into(), 0, "2 hook cost/ns".into(), "tidegate"), costs);
        Ok(medians("hook", samples))
    }

    /// Once, and before all else: memory that an earlier bench has left with the
    /// processes would hide what a connection takes.
    fn memory(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
        const FIRST: usize = 2_000;
        const IDLE: usize = 4_000;
        tell("6,000 idle connections");
        let mut samples = Samples::new();
        for path in [Path::Tidegate, Path::Haproxy] {
            let processes = match path {
                Path::Haproxy => vec![self.haproxy.pid()],
                _ => self.agent.processes()?,
            };
            let resident =
                || -> u64 { processes.iter().filter_map(|pid| memory_kib(*pid).ok()).sum() };
            let open = |connections| -> Result<Running> {
                let idle = Job::Idle { connections };
                Ok(Running::start(&self.place(path), self.to(path), &idle)?.ready()?.0)
            };
            // The first ones fill what the start has left free.
            let first = open(FIRST)?;
            let before = resident();
            let more = open(IDLE)?;
            let grown = resident().saturating_sub(before);
            drop((first, more));
            if path == Path::Tidegate {
                self.agent.wait_status("the idle ones to end", Duration::from_secs(20), |it| {
                    it.open == 0
                })?;
            }
            let key = ("idle".into(), 0, "resident per connection/KiB".into(), path.name());
            samples.entry(key).or_default().push(grown as f64 / IDLE as f64);
        }
        Ok(medians("memory", samples))
    }
}

fn medians(bench: &str, samples: Samples) -> Vec<Measure> {
    let mut measures: Vec<(usize, Measure)> = samples
        .into_iter()
        .map(|((case, order, metric, path), mut values)| {
            values.sort_by(f64::total_cmp);
            let (metric, unit) = metric.split_once('/').unwrap_or((&metric, ""));
            let measure = Measure {
                bench: bench.into(),
                case,
                path: path.into(),
                metric: metric.into(),
                value: values.get(values.len() / 2).copied().unwrap_or_default(),
                unit: unit.replace('\u{2044}', "/"),
            };
            (order, measure)
        })
        .collect();
    measures.sort_by(|(a, one), (b, two)| (a, &one.metric).cmp(&(b, &two.metric)));
    measures
        .into_iter()
        .map(|(_, mut measure)| {
            // A digit in front only gives the order.
            if let Some((digit, rest)) = measure.metric.split_once(' ')
                && digit.len() == 1
                && digit.chars().all(|c| c.is_ascii_digit())
            {
                measure.metric = rest.into();
            }
            measure
        })
        .collect()
}

/// For people: one line a case and metric, the paths beside each other.
pub fn table(measures: &[Measure]) -> String {
    let mut rows: Vec<(String, String, BTreeMap<&str, f64>)> = Vec::new();
    for measure in measures {
        let name = format!("{}: {}", measure.bench, measure.case);
        let metric = format!("{} [{}]", measure.metric, measure.unit);
        match rows.iter_mut().find(|row| row.0 == name && row.1 == metric) {
            Some(row) => {
                row.2.insert(&measure.path, measure.value);
            }
            None => rows.push((name, metric, BTreeMap::from([(&*measure.path, measure.value)]))),
        }
    }
    let mut text = format!(
        "{:<44} {:<30} {:>9} {:>9} {:>9} {:>9}  {:>6} {:>6}\n",
        "", "", "direct", "tidegate", "pgbouncer", "haproxy", "t : p", "t : h"
    );
    for (name, metric, values) in rows {
        let cell = |path: &str| {
            values.get(path).map_or_else(
                || "-".into(),
                |value| match value.abs() {
                    large if large >= 1000.0 => format!("{value:.0}"),
                    _ => format!("{value:.1}"),
                },
            )
        };
        let ratio = |path: &str| match (values.get("tidegate"), values.get(path)) {
            (Some(ours), Some(theirs)) if *theirs > 0.0 => format!("{:.2}", ours / theirs),
            _ => "-".into(),
        };
        text.push_str(&format!(
            "{name:<44} {metric:<30} {:>9} {:>9} {:>9} {:>9}  {:>6} {:>6}\n",
            cell("direct"),
            cell("tidegate"),
            cell("pgbouncer"),
            cell("haproxy"),
            ratio("pgbouncer"),
            ratio("haproxy"),
        ));
    }
    text
}

/// The child's side of [`Running`], in the same binary.
pub fn client_main(text: &str) -> Result<()> {
    client::main(text)
}

/// Keeps a process's inherited streams in one place.
fn piped(command: &mut std::process::Command) -> &mut std::process::Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit())
}

/// As many descriptors as the hard limit gives.
pub fn raise_descriptors() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit, read and written.
    unsafe {
        sys::check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        sys::check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
    }
    Ok(())
}
