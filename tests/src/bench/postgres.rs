//! PostgreSQL's own load, directly, through tidegate, through tidegate with the
//! default policies and masks in force, through PgBouncer in session mode and through
//! HAProxy's plain relay.
//!
//! INVARIANT: one server, one client program and one table for all ways; each
//! row goes by all ways before the next row begins. With TLS, tidegate and
//! PgBouncer end it on both legs and HAProxy hands it on.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::haproxy::Haproxy;
use super::{Measure, Samples, medians};
use crate::agent::{Agent, Plan};
use crate::certificates::Key;
use crate::cgroup::Cgroup;
use crate::dialer::Dialer;
use crate::diff::plan;
use crate::folder::TempFolder;
use crate::kernel::memory_kib;
use crate::pgbouncer::{Legs, Pgbouncer, Pooling};
use crate::place::Place;
use crate::postgres::{Postgres, program, run as run_command};
use crate::wire::{Connection, message, tls};

/// Which rows, and how long each takes.
#[derive(Clone, Debug)]
pub struct Rows {
    pub seconds: u64,
    /// Only rows whose name contains this.
    pub only: String,
    pub rounds: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self { seconds: 5, only: String::new(), rounds: 1 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Tidegate,
    /// The same, with all that decides and masks by default.
    Deciding,
    Pgbouncer,
    Haproxy,
}

impl Way {
    const ALL: [Self; 5] =
        [Self::Direct, Self::Tidegate, Self::Deciding, Self::Pgbouncer, Self::Haproxy];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tidegate => "tidegate",
            Self::Deciding => "tidegate, default policies",
            Self::Pgbouncer => "pgbouncer",
            Self::Haproxy => "haproxy",
        }
    }
}

/// An agent, and a cgroup of what it leads.
struct Led {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
}

impl Led {
    fn start(plan: Plan) -> Result<Self> {
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        Ok(Self { agent: Agent::start(&root, plan)?, work, _root: root })
    }
}

struct Ground {
    /// Without policies, and with the default ones.
    led: [Led; 2],
    haproxy: Haproxy,
    /// Without TLS, and with it on both legs.
    pgbouncers: [Pgbouncer; 2],
    postgres: Postgres,
    folder: TempFolder,
}

/// Rows × columns of the large result.
const WIDE: u32 = 1_000_000;
const IDLE: usize = 600;

impl Ground {
    fn start() -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let postgres = Postgres::setup()
            .tls(Key::P256)
            .auth("trust")
            .setting("max_connections=2000")
            .setting("shared_buffers=512MB")
            .setting("max_wal_size=4GB")
            .setting("autovacuum=off")
            .start()?;
        let authority = postgres.authority().context("no authority")?;
        let pair = authority.server(folder.path(), &["localhost", "127.0.0.1"], Key::P256)?;
        let with_tls = Legs { client: Some(pair), server: true };
        let pgbouncers = [
            Pgbouncer::start(postgres.port(), Pooling::Session, &Legs::default())?,
            Pgbouncer::start(postgres.port(), Pooling::Session, &with_tls)?,
        ];
        let haproxy = Haproxy::start(postgres.port())?;
        let carried = plan(&postgres, postgres.port());
        let led = [Led::start(carried.clone())?, Led::start(carried.policy("enforce"))?];
        Ok(Self { led, haproxy, pgbouncers, postgres, folder })
    }

    fn led(&self, way: Way) -> Option<&Led> {
        match way {
            Way::Tidegate => Some(&self.led[0]),
            Way::Deciding => Some(&self.led[1]),
            Way::Direct | Way::Pgbouncer | Way::Haproxy => None,
        }
    }

    fn place(&self, way: Way) -> Place<'_> {
        match self.led(way) {
            Some(led) => Place::new().cgroup(&led.work),
            None => Place::new(),
        }
    }

    fn port(&self, way: Way, secured: bool) -> u16 {
        match way {
            Way::Direct | Way::Tidegate | Way::Deciding => self.postgres.port(),
            Way::Pgbouncer => self.pgbouncers[usize::from(secured)].port(),
            Way::Haproxy => self.haproxy.port(),
        }
    }

    fn dsn(&self, way: Way, secured: bool) -> String {
        format!(
            "host=127.0.0.1 port={} user=app dbname=app gssencmode=disable sslmode={}",
            self.port(way, secured),
            if secured { "require" } else { "disable" }
        )
    }

    /// Transactions per second, and the 99th of a hundred in milliseconds: where each has
    /// a connection of its own, with that.
    fn pgbench(&self, way: Way, secured: bool, rows: &Rows, load: &[&str]) -> Result<(f64, f64)> {
        let log = TempFolder::fresh()?;
        let anew = load.contains(&"-C");
        let mut pgbench: Command = self.place(way).command(program("pgbench")?)?;
        pgbench.args(["-n", "-T", &rows.seconds.to_string()]).args(load);
        pgbench.arg("-l").current_dir(log.path());
        if !anew {
            pgbench.arg("--sampling-rate=0.2");
        }
        pgbench.env("PGPASSWORD", "tide").arg(self.dsn(way, secured));
        let said = run_command(&mut pgbench)?;
        let number = |start: &str| -> Result<f64> {
            let line = said.lines().find(|line| line.starts_with(start));
            let word = line.and_then(|line| line.strip_prefix(start)?.split_whitespace().next());
            Ok(word.with_context(|| format!("no `{start}` in {said}"))?.parse()?)
        };
        ensure!(number("number of failed transactions:")? == 0.0, "{said}");
        let mut times = Vec::new();
        for file in std::fs::read_dir(log.path())?.flatten() {
            let text = std::fs::read_to_string(file.path())?;
            times.extend(if anew { turns(&text)? } else { latencies(&text)? });
        }
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).context("nothing was logged")?;
        Ok((number("tps =")?, *p99 as f64 / 1000.0))
    }

    fn connect(&self, dialer: &mut Dialer, way: Way, secured: bool) -> Result<Connection> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(way, secured)));
        let mut connection = Connection::new(dialer.open(to)?, Default::default())?;
        if secured {
            ensure!(connection.ask_for_tls(&tls::Terms::any()?)?, "no TLS");
        }
        let who = [("user", "app"), ("database", "app")];
        connection.send(&message::startup(message::PROTOCOL, &who))?;
        connection.login("app", "tide")?;
        Ok(connection)
    }

    /// Bytes per second of an answer, read and not looked at.
    fn answer(&self, way: Way, secured: bool, sql: &str) -> Result<f64> {
        let mut dialer = Dialer::start(&self.place(way))?;
        let mut connection = self.connect(&mut dialer, way, secured)?;
        connection.query("SELECT 1")?;
        let begun = Instant::now();
        let bytes = connection.drain(&message::query(sql))?;
        let time = begun.elapsed();
        ensure!(bytes > 50_000_000, "{bytes} bytes are no bulk");
        Ok(bytes as f64 / time.as_secs_f64())
    }

    /// Resident KiB of a further idle session.
    fn idle(&self, way: Way, secured: bool) -> Result<f64> {
        let processes = match way {
            Way::Direct => anyhow::bail!("there is nobody to ask"),
            Way::Tidegate => self.led[0].agent.processes()?,
            Way::Deciding => self.led[1].agent.processes()?,
            Way::Pgbouncer => vec![self.pgbouncers[usize::from(secured)].pid()],
            Way::Haproxy => vec![self.haproxy.pid()],
        };
        // The index follows the log when nobody else wants to, and grows by records.
        let indexes = |pid: &u32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.windows(12).any(|words| words == b"audit\0index\0")
        };
        let processes: Vec<u32> = processes.into_iter().filter(|pid| !indexes(pid)).collect();
        let resident = || -> u64 { processes.iter().filter_map(|pid| memory_kib(*pid).ok()).sum() };
        let mut dialer = Dialer::start(&self.place(way))?;
        let mut open = |count: usize| -> Result<Vec<Connection>> {
            let one = |_| {
                let mut connection = self.connect(&mut dialer, way, secured)?;
                // What a session is that has done something.
                if way != Way::Pgbouncer {
                    connection.query("SELECT 1")?;
                }
                Ok(connection)
            };
            (0..count).map(one).collect()
        };
        // The first ones fill what the start has left free.
        let first = open(IDLE / 3)?;
        let before = resident();
        let more = open(IDLE)?;
        let grown = resident().saturating_sub(before);
        drop((first, more));
        if let Some(led) = self.led(way) {
            led.agent.wait_status("the idle ones to end", Duration::from_secs(20), |status| {
                status.open == 0
            })?;
        }
        Ok(grown as f64 / IDLE as f64)
    }
}

/// What pgbench calls a transaction's latency, in microseconds: it begins once there is
/// a connection.
fn latencies(log: &str) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for line in log.lines() {
        all.push(line.split(' ').nth(2).context("a short line of the log")?.parse()?);
    }
    Ok(all)
}

/// From the end of a client's transaction to that of its next: with the connection that
/// it makes between them.
fn turns(log: &str) -> Result<Vec<u64>> {
    let mut ends = HashMap::new();
    let mut all = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [client, _, _, _, seconds, micros, ..] = words[..] else {
            bail!("a short line of the log: {line}")
        };
        let end = seconds.parse::<u64>()? * 1_000_000 + micros.parse::<u64>()?;
        if let Some(before) = ends.insert(client, end) {
            all.push(end.saturating_sub(before));
        }
    }
    Ok(all)
}

/// What is promised and doesn't hang on how busy the machine is: what a further idle
/// session takes, without TLS and with it.
const MOST_KIB: [f64; 2] = [32.0, 64.0];
const RESIDENT: &str = "resident per session/KiB";

/// Measures what is promised.
pub fn promised(tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
    let mut samples = Samples::new();
    for (order, secured) in [false, true].into_iter().enumerate() {
        // What earlier sessions have left would hide what later ones take.
        let ground = Ground::start()?;
        let case = idle(secured);
        tell(&case);
        for way in [Way::Tidegate, Way::Deciding] {
            let key = (case.clone(), order, RESIDENT.into(), way.name());
            samples.entry(key).or_default().push(ground.idle(way, secured)?);
        }
    }
    Ok(medians("postgres", samples))
}

/// Which promises these measures break.
pub fn broken(measures: &[Measure]) -> Vec<String> {
    let over = |measure: &&Measure| {
        let most =
            [false, true].into_iter().zip(MOST_KIB).find(|(leg, _)| idle(*leg) == measure.case);
        most.is_some_and(|(_, most)| measure.value > most)
    };
    let told = |one: &Measure| format!("{}, {}: {:.1} {}", one.case, one.path, one.value, one.unit);
    measures.iter().filter(over).map(told).collect()
}

fn idle(secured: bool) -> String {
    format!("idle sessions, {}", leg(secured))
}

pub fn run(rows: &Rows, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
    let mut samples = Samples::new();
    let mut order = 0;
    let mut row = |case: String,
                   ways: &[Way],
                   once: &mut dyn FnMut(Way) -> Result<Vec<(&'static str, f64)>>|
     -> Result<()> {
        order += 1;
        if !case.contains(&rows.only) {
            return Ok(());
        }
        tell(&case);
        for _ in 0..rows.rounds {
            for way in ways {
                for (metric, value) in once(*way).with_context(|| format!("{case}, {way:?}"))? {
                    let key = (case.clone(), order, metric.into(), way.name());
                    samples.entry(key).or_default().push(value);
                }
            }
        }
        Ok(())
    };
    for secured in [false, true] {
        // What earlier sessions have left would hide what later ones take.
        let ground = Ground::start()?;
        row(idle(secured), &Way::ALL[1..], &mut |way| {
            Ok(vec![(RESIDENT, ground.idle(way, secured)?)])
        })?;
    }
    let ground = Ground::start()?;
    let mut init = Command::new(program("pgbench")?);
    run_command(init.args(["-i", "-q", "-s", "20"]).arg(ground.dsn(Way::Direct, false)))?;
    for secured in [false, true] {
        for script in ["select-only", "tpcb-like"] {
            for mode in ["simple", "extended", "prepared"] {
                for clients in ["1", "8", "32"] {
                    let threads = if clients == "1" { "1" } else { "2" };
                    let load = ["-M", mode, "-b", script, "-c", clients, "-j", threads];
                    let case = format!("{script} -M {mode} -c {clients}, {}", leg(secured));
                    row(case, &Way::ALL, &mut |way| {
                        let (tps, p99) = ground.pgbench(way, secured, rows, &load)?;
                        Ok(vec![("1 transactions/s⁻¹", tps), ("2 p99/ms", p99)])
                    })?;
                }
            }
        }
        // It connects one client of a thread after the other, and so each has its own.
        let churn = ["-C", "-b", "select-only", "-c", "8", "-j", "8"];
        row(format!("churn (-C) -c 8, {}", leg(secured)), &Way::ALL, &mut |way| {
            let (tps, p99) = ground.pgbench(way, secured, rows, &churn)?;
            Ok(vec![("1 transactions/s⁻¹", tps), ("2 p99/ms", p99)])
        })?;
    }
    let wide = ["1 M rows × 10 columns", "COPY out"];
    let legs = [false, true].map(leg);
    let wanted = |case: &&str| legs.iter().any(|leg| format!("{case}, {leg}").contains(&rows.only));
    if wide.iter().any(wanted) {
        ground.postgres.admin("app", &format!(
            "CREATE UNLOGGED TABLE wide AS SELECT n, n * 7 AS b, n::bigint << 20 AS c, n / 3.0 AS d, \
             md5(n::text) AS e, 'name ' || n AS f, now() AS g, n % 2 = 0 AS h, NULL::int AS i, \
             repeat('x', n % 40) AS j FROM generate_series(1, {WIDE}) n"
        ))?;
        ground.postgres.admin("app", "SELECT count(*) FROM wide")?;
    }
    for secured in [false, true] {
        for (case, sql) in [(wide[0], "SELECT * FROM wide"), (wide[1], "COPY wide TO STDOUT")] {
            row(format!("{case}, {}", leg(secured)), &Way::ALL, &mut |way| {
                let rate = ground.answer(way, secured, sql)?;
                Ok(vec![("throughput/MiB\u{2044}s", rate / f64::from(1 << 20))])
            })?;
        }
    }
    drop(ground.folder);
    Ok(medians("postgres", samples))
}

fn leg(secured: bool) -> &'static str {
    if secured { "TLS" } else { "plain" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_the_connection_in_it_and_a_latency_has_not() -> Result<()> {
        // client, its how manieth, latency, script, end in seconds, and microseconds
        let log = "0 1 500 0 1700000000 999000\n\
                   1 1 700 0 1700000000 999500\n\
                   0 2 500 0 1700000001 2000\n\
                   1 2 800 0 1700000001 4500\n\
                   0 3 600 0 1700000001 4000\n";
        assert_eq!(latencies(log)?, [500, 700, 500, 800, 600]);
        assert_eq!(turns(log)?, [3000, 5000, 2000]);
        assert!(turns("0 1 500").is_err());
        Ok(())
    }

    #[test]
    fn more_memory_than_promised_is_told() {
        let measure = |case: &str, value| Measure {
            bench: "postgres".into(),
            case: case.into(),
            path: "tidegate".into(),
            metric: "resident per session".into(),
            value,
            unit: "KiB".into(),
        };
        let kept = [measure("idle sessions, plain", 32.0), measure("idle sessions, TLS", 63.9)];
        assert_eq!(broken(&kept), Vec::<String>::new());
        let all = [
            measure("idle sessions, plain", 32.1),
            measure("idle sessions, TLS", 65.0),
            measure("COPY out, TLS", 900.0),
        ];
        assert_eq!(
            broken(&all),
            ["idle sessions, plain, tidegate: 32.1 KiB", "idle sessions, TLS, tidegate: 65.0 KiB"]
        );
    }
}
