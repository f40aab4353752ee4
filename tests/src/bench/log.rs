//! What the log costs: pgbench through two agents that differ in nothing but
//! `[audit]`, one recording (`durability = "process"`), one not; and, by itself, what is
//! left where each statement waits for the disk (`durability = "power"`).
//!
//! Nothing is decided and nothing masked: what is left is the least that a
//! statement takes, so that the log's part in it is largest.
//!
//! INVARIANT: one server for the whole run; the two ways take turns, and which goes
//! first changes with each round. One start of an agent differs from the next by as
//! much as is to be shown, so both are started anew every few rounds.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Measure;
use super::postgres::Rows;
use crate::agent::{Agent, Plan};
use crate::cgroup::Cgroup;
use crate::place::Place;
use crate::postgres::{Postgres, program, run as run_command};

/// One agent, with the cgroup of its clients.
struct Way {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
}

impl Way {
    fn start(postgres: &Postgres, log: &str) -> Result<Self> {
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let plan = Plan::postgres([postgres.port()])
            .setting(log)
            // Nobody is limited here.
            .setting("audit.flood_rate = \"1GiB\"")
            .setting("audit.flood_burst = \"1TiB\"");
        Ok(Self { agent: Agent::start(&root, plan)?, work, _root: root })
    }

    /// Transactions per second.
    fn pgbench(&self, postgres: &Postgres, seconds: u64, clients: &str) -> Result<f64> {
        let mut pgbench: Command = Place::new().cgroup(&self.work).command(program("pgbench")?)?;
        pgbench.args(["-n", "-M", "prepared", "-b", "select-only", "-j", "2"]);
        pgbench.args(["-c", clients, "-T", &seconds.to_string()]);
        pgbench.arg(format!("{} gssencmode=disable sslmode=disable", postgres.dsn("app")));
        let said = run_command(&mut pgbench).with_context(|| self.agent.tail())?;
        let number = |start: &str| -> Result<f64> {
            let line = said.lines().find_map(|line| line.strip_prefix(start));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            Ok(word.with_context(|| format!("no `{start}` in {said}"))?.parse()?)
        };
        ensure!(number("number of failed transactions:")? == 0.0, "{said}");
        number("tps =")
    }
}

pub fn run(rows: &Rows, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
    let postgres = Postgres::setup()
        .auth("trust")
        .setting("shared_buffers=512MB")
        .setting("max_connections=200")
        .setting("autovacuum=off")
        .start()?;
    let mut init = Command::new(program("pgbench")?);
    run_command(init.args(["-i", "-q", "-s", "20"]).arg(postgres.dsn("app")))?;
    let mut measures = Vec::new();
    for clients in ["8", "32"] {
        let case = format!("select-only -M prepared -c {clients}, plain");
        if !case.contains(&rows.only) {
            continue;
        }
        tell(&case);
        let mut samples = [Vec::new(), Vec::new()];
        let mut ratios = Vec::new();
        while ratios.len() < rows.rounds {
            let turns = OF_ONE_START.min(rows.rounds - ratios.len());
            let ways = [Way::start(&postgres, ON)?, Way::start(&postgres, OFF)?];
            let before = ways[0].agent.status()?.log.records;
            for way in &ways {
                // What the first seconds fill isn't measured.
                way.pgbench(&postgres, 1, clients)?;
            }
            for _ in 0..turns {
                let order = if ratios.len() % 2 == 0 { [0, 1] } else { [1, 0] };
                let mut tps = [0.0; 2];
                for way in order {
                    tps[way] = ways[way].pgbench(&postgres, rows.seconds, clients)?;
                    samples[way].push(tps[way]);
                }
                ratios.push(tps[0] / tps[1]);
                tell(&format!("  on {:.0}, off {:.0}: {:.3}", tps[0], tps[1], tps[0] / tps[1]));
            }
            // What was compared is what it is called.
            let patience = Duration::from_secs(5);
            let recorded =
                ways[0].agent.wait_status("the records", patience, |it| it.log.records > before)?;
            ensure!(recorded.log.lost == 0, "{} records were lost", recorded.log.lost);
            ensure!(!ways[1].agent.status()?.log.enabled, "both agents recorded");
        }
        let way = Way::start(&postgres, POWER)?;
        way.pgbench(&postgres, 1, clients)?;
        let power = way.pgbench(&postgres, rows.seconds, clients)?;
        tell(&format!("  on, each statement on the disk first: {power:.0}"));
        drop(way);
        let (low, high) = bounds_of_median(&mut ratios);
        let [on, off] = samples;
        for (path, metric, unit, value) in [
            ("log on", "transactions", "/s", median(on)),
            ("log off", "transactions", "/s", median(off)),
            ("log on, power", "transactions", "/s", power),
            ("log on", RATIO, "", median(ratios)),
            ("log on", LOW, "", low),
            ("log on", HIGH, "", high),
        ] {
            measures.push(Measure {
                bench: "log".into(),
                case: case.clone(),
                path: path.into(),
                metric: metric.into(),
                value,
                unit: unit.into(),
            });
        }
    }
    Ok(measures)
}

/// Between which of the rounds their true middle lies, by 95 of 100: by their order
/// alone, however they are spread.
fn bounds_of_median(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let beyond = ((count - 1.96 * count.sqrt()) / 2.0).max(0.0) as usize;
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    (at(beyond), at(values.len().saturating_sub(1 + beyond)))
}

const ON: &str = "audit.durability = \"process\"";
const POWER: &str = "audit.durability = \"power\"";
const OFF: &str = "audit.enabled = false";
/// What recording must leave of the transactions at least.
const PROMISED: f64 = 0.95;
/// Rounds before both agents are started anew.
const OF_ONE_START: usize = 4;
const RATIO: &str = "on : off, median of the rounds";
const LOW: &str = "on : off, at least";
const HIGH: &str = "on : off, at most";

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A promise is broken where even the best that the rounds allow is less. What else the
/// host is busy with makes both ways slower.
pub fn kept(measures: &[Measure]) -> Result<()> {
    let mut broken = Vec::new();
    for one in measures.iter().filter(|one| one.bench == "log" && one.metric == HIGH) {
        if one.value < PROMISED {
            broken.push(format!("{}: {:.3}, not {PROMISED}", one.case, one.value));
        }
    }
    ensure!(broken.is_empty(), "the log costs more than is promised: {}", broken.join("; "));
    Ok(())
}

/// For people.
pub fn table(measures: &[Measure]) -> String {
    let value = |case: &str, metric: &str, path: &str| {
        let is = |one: &&Measure| one.case == case && one.metric == metric && one.path == path;
        measures.iter().find(is).map_or(0.0, |measure| measure.value)
    };
    let mut text = format!(
        "{:<44} {:>9} {:>9}  {:>8}  {:<11}  {:>8}  {:>9}\n",
        "", "log on", "log off", "on : off", "95 of 100", "promised", "power"
    );
    let mut cases: Vec<&str> = measures.iter().map(|measure| &*measure.case).collect();
    cases.dedup();
    for case in cases {
        text.push_str(&format!(
            "{:<44} {:>9.0} {:>9.0}  {:>8.3}  {:.3}–{:.3}  {:>8}  {:>9.0}\n",
            format!("log: {case} [/s]"),
            value(case, "transactions", "log on"),
            value(case, "transactions", "log off"),
            value(case, RATIO, "log on"),
            value(case, LOW, "log on"),
            value(case, HIGH, "log on"),
            format!("≥ {PROMISED}"),
            value(case, "transactions", "log on, power"),
        ));
    }
    text
}
