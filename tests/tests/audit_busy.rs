//! An application that writes more records than its workload may: it is never refused,
//! its records take no more room than they should, and none of its statements is
//! forgotten. The others notice nothing.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;

const RATE: u64 = 16 << 10;
const BURST: u64 = 256 << 10;
/// What may be owed before all that a workload does is told together.
const DEBT: u64 = 512 << 10;
const MANY: u64 = 6_000;
const CONNECTIONS: u64 = 40;

struct Ground {
    agent: Agent,
    busy: Cgroup,
    calm: Cgroup,
    _above: [Cgroup; 2],
    postgres: Postgres,
    folder: TempFolder,
    begun: Instant,
}

impl Ground {
    fn start() -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        for sql in [
            "CREATE TABLE customers (id int, email text)",
            "INSERT INTO customers VALUES (1, 'ann@shop.example'), (2, 'bob@shop.example')",
        ] {
            postgres.admin("app", sql)?;
        }
        let root = Cgroup::fresh()?;
        let system = root.child("system.slice")?;
        let (busy, calm) = (system.child("busy.service")?, system.child("calm.service")?);
        let plan = Plan::postgres([postgres.port()])
            .policy("shadow")
            .setting(&format!("audit.flood_rate = \"{RATE}\""))
            .setting(&format!("audit.flood_burst = \"{BURST}\""));
        let agent = Agent::start(&root, plan)?;
        let folder = TempFolder::fresh()?;
        let begun = Instant::now();
        Ok(Self { agent, busy, calm, _above: [system, root], postgres, folder, begun })
    }

    /// Each of so many transactions is one statement, and none of them fails.
    fn pgbench(&self, script: &str, arguments: &[&str], transactions: u64) -> Result<()> {
        let file = self.folder.path().join("script.sql");
        std::fs::write(&file, script)?;
        let mut pgbench: Command = Place::new().cgroup(&self.busy).command(program("pgbench")?)?;
        pgbench.args(["-n", "-c", "4", "-t", &(transactions / 4).to_string()]).args(arguments);
        pgbench.arg("-f").arg(file).arg(self.postgres.dsn("app"));
        let said = run(&mut pgbench).with_context(|| self.agent.tail())?;
        let all = format!("number of transactions actually processed: {transactions}/");
        ensure!(said.contains(&all), "{said}");
        ensure!(said.contains("number of failed transactions: 0 "), "{said}");
        Ok(())
    }

    fn calm(&self) -> Result<()> {
        let mut psql: Command = Place::new().cgroup(&self.calm).command(program("psql")?)?;
        run(psql.args(["-XAtqc", "SELECT 'calm'"]).arg(self.postgres.dsn("app")))?;
        Ok(())
    }

    /// Bytes that lie in segments; none is full, so none is compressed.
    fn written(&self) -> Result<u64> {
        let mut bytes = 0;
        for log in std::fs::read_dir(self.agent.log_folder())?.flatten() {
            let Ok(segments) = std::fs::read_dir(log.path().join("segments")) else { continue };
            for segment in segments.flatten() {
                let content = std::fs::read(segment.path())?;
                bytes += content.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
            }
        }
        Ok(bytes)
    }

    /// No more than the settings say, with what is owed. Most records count for less than
    /// they take before they are compressed.
    fn is_within(&self, debt: u64) -> Result<()> {
        let (written, seconds) = (self.written()?, self.begun.elapsed().as_secs() + 1);
        let most = (BURST + RATE * seconds + debt) * 2;
        ensure!(written < most, "{written} bytes in {seconds} s, not {most}");
        Ok(())
    }
}

fn number(record: &Value, pointer: &str) -> u64 {
    record.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn is(record: &Value, pointer: &str, word: &str) -> bool {
    record.pointer(pointer).and_then(Value::as_str) == Some(word)
}

#[test]
fn a_busy_application_is_told_together_and_never_refused() -> Result<()> {
    let _alone = alone();
    let mut ground = Ground::start()?;
    let reads = "\\set id random(1, 2)\nSELECT email FROM customers WHERE id = :id;\n";
    ground.pgbench(reads, &["-M", "simple"], MANY)?;
    ground.calm()?;
    ground.pgbench(reads, &["-M", "prepared"], MANY)?;
    // One shape, four connections: that comes back to its rate at once.
    ground.is_within(64 << 10)?;
    // Always another text, then always another connection.
    let texts = "\\set n random(1, 1000000000)\nSELECT :n AS c:n;\n";
    ground.pgbench(texts, &["-M", "simple"], MANY)?;
    ground.pgbench(texts, &["-M", "simple", "-C"], CONNECTIONS)?;
    // Each would be refused, if it weren't a service, and is told by itself as long as
    // that can be.
    let harm = "\\set n random(1, 1000000000)\nDELETE FROM customers AS c:n;\n";
    ground.pgbench(harm, &["-M", "simple"], MANY)?;
    ground.is_within(DEBT)?;
    ground.calm()?;
    let hits = ground.agent.search(&["--seen", "email", "--unit", "busy"])?;
    let times: u64 = hits.iter().map(|hit| number(hit, "/times").max(1)).sum();
    ensure!(times > 0, "nobody saw e-mail addresses: {hits:?}");

    // What is still open is told when the agent ends.
    ground.agent.detach()?;
    let records = ground.agent.exported("1h")?;
    let busy: Vec<&Value> = records
        .iter()
        .filter(|record| is(record, "/process/workload/unit", "busy.service"))
        .collect();
    let (mut alone, mut together, mut seen) = (0, 0, 0);
    for record in &busy {
        if is(record, "/kind", "statement") && record.pointer("/statement/until").is_none() {
            alone += 1;
        }
        if record.pointer("/summed/of").is_some_and(|of| !of.is_null()) {
            together += number(record, "/summed/times");
        }
        seen += number(record, "/outcome/seen/email") + number(record, "/summed/seen/email");
    }
    let all = 4 * MANY + CONNECTIONS;
    ensure!(alone + together == all, "{alone} alone and {together} together, not {all}");
    ensure!(together > all / 2, "{together} of {all}: nobody was over the rate");
    ensure!(seen == 2 * MANY, "{seen} addresses, not {}", 2 * MANY);
    let ended: u64 = busy
        .iter()
        .map(|record| {
            let alone = u64::from(is(record, "/outcome/ending", "complete"));
            alone + number(record, "/summed/endings/complete")
        })
        .sum();
    ensure!(ended == all, "{ended} ended, not {all}");
    for reach in ["shape", "effects", "workload"] {
        ensure!(
            busy.iter().any(|record| is(record, "/statement/reach", reach)),
            "nothing was told by {reach}"
        );
    }
    let named = |record: &&Value| is(record, "/flood/workload", "busy.service");
    ensure!(records.iter().any(|record| named(&record)), "it isn't named");

    // The other's are whole.
    let kinds: Vec<&str> = records
        .iter()
        .filter(|record| is(record, "/process/workload/unit", "calm.service"))
        .filter_map(|record| record.pointer("/kind")?.as_str())
        .collect();
    let whole = ["opened", "session", "statement", "outcome", "closed"];
    ensure!(kinds == [whole, whole].concat(), "{kinds:?}");
    ensure!(ground.agent.verified(&[])?.findings.is_empty());
    Ok(())
}
