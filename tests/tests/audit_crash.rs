//! The agent's processes are killed at random moments under load: whatever the
//! server committed has its intent in the log, and the log is whole.
//!
//! `TIDEGATE_SEED` runs the moments of an earlier run again.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::sys;
use tidegate_tests::wait::{until, until_true};

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Enforcer,
    Keeper,
    /// The keeper, and the enforcer a moment later.
    Both,
    Everything,
}

const VICTIMS: [Victim; 4] = [Victim::Enforcer, Victim::Everything, Victim::Keeper, Victim::Both];
/// How pgbench sends its statements.
const MODES: [&str; 3] = ["simple", "prepared", "extended"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

struct Ground {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl Ground {
    fn start() -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        let mut init = Command::new(program("pgbench")?);
        run(init.args(["-i", "-q", "-s", "2"]).arg(postgres.dsn("app")))?;
        postgres.admin("app", "CREATE TABLE marks (id text PRIMARY KEY)")?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let plan = Plan::postgres([postgres.port()])
            .setting("audit.text = \"full\"")
            // Small ones, so that deaths meet their ends too.
            .setting("audit.segment_size = \"4MiB\"");
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres, folder: TempFolder::fresh()? })
    }

    fn client(&self, name: &str) -> Result<Command> {
        let mut command = Place::new().cgroup(&self.work).command(program(name)?)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }

    fn lines(&self, sql: &str) -> Result<Vec<String>> {
        Ok(self.postgres.admin("app", sql)?.lines().map(ToOwned::to_owned).collect())
    }

    /// Two clients at work, with something done already.
    fn load(&self, round: u64, mode: &str) -> Result<Load> {
        self.postgres.admin("app", "TRUNCATE pgbench_history, marks")?;
        let mut pgbench = self.client("pgbench")?;
        pgbench.args(["-n", "-M", mode, "-c", "6", "-j", "2", "-T", "60", "-R", "300"]);
        pgbench.arg(self.postgres.dsn("app"));
        let script = self.folder.path().join("marks.sql");
        let marks: String = (0..20_000)
            .map(|n| format!("INSERT INTO marks SELECT 'mark-{round}-{n}' FROM pg_sleep(0.002);\n"))
            .collect();
        std::fs::write(&script, marks)?;
        let mut psql = self.client("psql")?;
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&script);
        psql.arg(self.postgres.dsn("app"));
        let load = Load(vec![pgbench.spawn()?, psql.spawn()?]);
        let done =
            "SELECT least((SELECT count(*) FROM marks), (SELECT count(*) FROM pgbench_history))";
        until_true("the clients to be at work", Duration::from_secs(20), || {
            self.lines(done).is_ok_and(|count| count[0].parse::<u64>().is_ok_and(|it| it > 5))
        })
        .with_context(|| self.agent.tail())?;
        Ok(load)
    }

    /// Kills, and sees to it that there is an agent again.
    fn kill(&mut self, victim: Victim, random: &mut Random) -> Result<()> {
        let enforcer = self.agent.enforcer()?;
        // The moment is the test.
        std::thread::sleep(Duration::from_micros(random.below(600_000)));
        match victim {
            Victim::Enforcer => {
                sys::signal(enforcer, libc::SIGKILL)?;
                self.agent.wait_status("another enforcer", Duration::from_secs(20), |status| {
                    status.current().is_some_and(|current| current.pid != enforcer)
                })?;
                return Ok(());
            }
            Victim::Keeper => self.agent.kill_keeper()?,
            Victim::Both => {
                self.agent.kill_keeper()?;
                std::thread::sleep(Duration::from_micros(random.below(100_000)));
                self.agent.kill_all()?;
            }
            Victim::Everything => self.agent.kill_all()?,
        }
        self.agent.run_again()?;
        Ok(())
    }

    fn round(&mut self, number: u64, random: &mut Random) -> Result<()> {
        let victim = VICTIMS[number as usize % VICTIMS.len()];
        let mode = MODES[random.below(3) as usize];
        let begun = Instant::now();
        let load = self.load(number, mode)?;
        // As if it had been shipped.
        let held = self.folder.path().join("held");
        std::fs::write(&held, self.agent.checkpoint()?)?;
        self.kill(victim, random)?;
        drop(load);
        until_true("the sessions to end", Duration::from_secs(20), || {
            let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND \
                          backend_type = 'client backend' AND pid <> pg_backend_pid()";
            self.lines(others).is_ok_and(|count| count == ["0"])
        })?;
        self.agent.wait_healthy()?;
        let since = format!("{}s", begun.elapsed().as_secs() + 2);
        let records = self.agent.exported(&since)?;
        let marks = self.committed_marks(&records)?;
        let history = self.committed_history(&records)?;
        no_gap(&records)?;
        let verified = self.agent.verified(&["--since", path(&held)?])?;
        ensure!(verified.findings.is_empty() && verified.held.is_some(), "{verified:?}");
        if verified.tail > 0 {
            let said = verified.remarks.iter().any(|remark| remark.contains("last checkpoint"));
            ensure!(
                said,
                "{} records are not proven, and nobody says so: {verified:?}",
                verified.tail
            );
        }
        eprintln!(
            "round {number}: {victim:?} under -M {mode}; {marks} + {history} transactions, {} \
             records, tail {}, {:.1} s",
            verified.records,
            verified.tail,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Each mark that was committed stands in an intent.
    fn committed_marks(&self, records: &[Value]) -> Result<usize> {
        let intents: Vec<&str> = records.iter().filter_map(text).collect();
        let known: std::collections::HashSet<&str> = intents
            .iter()
            .filter_map(|text| text.strip_prefix("INSERT INTO marks SELECT '")?.split('\'').next())
            .collect();
        let committed = self.lines("SELECT id FROM marks")?;
        let missing: Vec<&String> =
            committed.iter().filter(|id| !known.contains(id.as_str())).collect();
        ensure!(
            missing.is_empty(),
            "{} of {} have no intent, such as {:?}{}",
            missing.len(),
            committed.len(),
            missing.first(),
            self.agent.tail()
        );
        Ok(committed.len())
    }

    /// … and each transaction of pgbench's, by what it wrote into its history.
    fn committed_history(&self, records: &[Value]) -> Result<usize> {
        let mut known: HashMap<String, usize> = HashMap::new();
        for record in records {
            if let Some(values) = history(record)? {
                *known.entry(values).or_default() += 1;
            }
        }
        let committed = self
            .lines("SELECT tid || ' ' || bid || ' ' || aid || ' ' || delta FROM pgbench_history")?;
        for row in &committed {
            match known.get_mut(row) {
                Some(left) if *left > 0 => *left -= 1,
                _ => bail!("the transaction `{row}` has no intent{}", self.agent.tail()),
            }
        }
        Ok(committed.len())
    }
}

/// Clients that are ended at the latest with this.
struct Load(Vec<Child>);

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

fn text(record: &Value) -> Option<&str> {
    record.pointer("/statement/text")?.as_str()
}

/// The values of an INSERT into pgbench's history: in the text, or bound.
fn history(record: &Value) -> Result<Option<String>> {
    let Some(text) = text(record).filter(|text| text.starts_with("INSERT INTO pgbench_history"))
    else {
        return Ok(None);
    };
    let values = text.split_once("VALUES (").context("no values")?.1;
    if !values.contains('$') {
        let values: Vec<&str> = values.split(", ").take(4).collect();
        return Ok(Some(values.join(" ")));
    }
    let bound = record.pointer("/statement/parameters").and_then(Value::as_array);
    let bound = bound.with_context(|| format!("nothing was bound: {record}"))?;
    let bound: Vec<&str> = bound.iter().filter_map(Value::as_str).collect();
    ensure!(bound.len() == 4, "what was bound is not there: {record}");
    Ok(Some(bound.join(" ")))
}

/// A process's records, by one writer, are counted without a gap.
fn no_gap(records: &[Value]) -> Result<()> {
    let mut last: HashMap<(String, String), u64> = HashMap::new();
    for record in records {
        let Some(sequence) = record.get("sequence").and_then(Value::as_u64) else { continue };
        let name = record["record"].as_str().unwrap_or_default();
        let writer = name.split('-').next().unwrap_or_default().to_owned();
        let process = record["process"]["key"].to_string();
        if let Some(before) = last.insert((writer, process), sequence) {
            ensure!(sequence == before + 1, "{sequence} follows {before} at {record}");
        }
    }
    ensure!(!last.is_empty(), "no records at all");
    Ok(())
}

fn rounds(count: u64) -> Result<()> {
    let _alone = alone();
    let seed = match std::env::var("TIDEGATE_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64,
    };
    eprintln!("TIDEGATE_SEED={seed}");
    let mut random = Random(seed | 1);
    let mut ground = Ground::start()?;
    for number in 0..count {
        ground
            .round(number, &mut random)
            .with_context(|| format!("round {number} of TIDEGATE_SEED={seed}"))?;
    }
    // Whoever has died is taken in in the end, and nothing of it was missing.
    let own = ground.agent.verified(&[])?;
    ensure!(own.findings.is_empty(), "{own:?}");
    let told = until("the dead to be taken in", Duration::from_secs(90), || {
        let hits = ground.agent.search(&["--kind", "recovered", "--limit", "1000"])?;
        Ok((hits.len() as u64 >= count).then_some(hits))
    })
    .with_context(|| ground.agent.tail())?;
    for hit in told {
        let facts = &hit["facts"];
        ensure!(facts["missing"] == 0 && facts["damaged"] == Value::Array(vec![]), "{hit}");
    }
    ground.agent.detach()
}

#[test]
fn what_was_committed_is_in_the_log_whoever_is_killed() -> Result<()> {
    rounds(6)
}

/// Longer than the log waits for what it has asked the keeper to sign.
const LATE: Duration = Duration::from_secs(11);

#[test]
fn a_keeper_that_answers_late_goes_on_signing() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let mut pgbench = ground.client("pgbench")?;
    pgbench.args(["-n", "-S", "-c", "1", "-T", "14", "-R", "100"]).arg(ground.postgres.dsn("app"));
    let mut load = Load(vec![pgbench.spawn()?]);
    until_true("its session to be at work", Duration::from_secs(20), || {
        let mine = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT abalance%'";
        ground.lines(mine).is_ok_and(|lines| lines.len() == 1)
    })?;
    let keeper = ground.agent.keeper()?;
    sys::signal(keeper, libc::SIGSTOP)?;
    std::thread::sleep(LATE);
    sys::signal(keeper, libc::SIGCONT)?;
    let ended = load.0[0].wait()?;
    ensure!(ended.success(), "{ended}{}", ground.agent.tail());
    until_true("all to be signed", Duration::from_secs(10), || {
        let told = ground.agent.verified(&[]);
        told.is_ok_and(|it| it.findings.is_empty() && it.tail == 0 && it.records > 1_000)
    })
    .with_context(|| format!("{:?}{}", ground.agent.verified(&[]), ground.agent.tail()))
}

#[test]
#[ignore = "minutes: `cargo xtask test --all`"]
fn what_was_committed_is_in_the_log_fifty_times() -> Result<()> {
    rounds(50)
}
