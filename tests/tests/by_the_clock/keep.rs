//! Retention as a running agent does it: what takes up too much goes first, what is too
//! old goes later, and what is left is still proven.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, run};
use tidegate_tests::venv;
use tidegate_tests::wait::until_true;

/// The least that may be set. One workload may write a tenth of it before it is told
/// together; so there are many.
const KEEP_SIZE: u64 = 64 << 20;
const WORKLOADS: usize = 20;

/// Values that compress by a quarter at most, some thirty thousand bytes a statement.
const FILL: &str = "import base64, os, sys, psycopg\n\
    with psycopg.connect(sys.argv[1], autocommit=True) as c:\n\
    \x20   sql = 'SELECT ' + ', '.join(['%s::text'] * 30)\n\
    \x20   for _ in range(220):\n\
    \x20       c.execute(sql, [base64.b64encode(os.urandom(750)).decode() for _ in range(30)])\n";

fn sealed(agent: &Agent) -> Result<u64> {
    let mut bytes = 0;
    for log in std::fs::read_dir(agent.log_folder())?.flatten() {
        let Ok(segments) = std::fs::read_dir(log.path().join("segments")) else { continue };
        for segment in segments.flatten() {
            if segment.path().extension().is_some_and(|extension| extension == "sealed") {
                bytes += segment.metadata().map_or(0, |it| it.len());
            }
        }
    }
    Ok(bytes)
}

/// What the log says of removals: how many for their age, and for their size.
fn removed(agent: &Agent) -> (u64, u64) {
    let told = agent.search(&["--kind", "removed"]).unwrap_or_default();
    let sum = |name: &str| -> u64 {
        let number = |hit: &Value| hit["facts"][name].as_u64();
        told.iter().filter_map(number).sum()
    };
    (sum("for_age"), sum("for_size"))
}

#[test]
fn the_log_keeps_to_its_size_and_to_its_time() -> Result<()> {
    let postgres = Postgres::setup().auth("trust").start()?;
    let root = Cgroup::fresh()?;
    let system = root.child("system.slice")?;
    let plan = Plan::postgres([postgres.port()])
        .setting("audit.text = \"full\"")
        .setting("audit.segment_size = \"4MiB\"")
        .setting("audit.keep_size = \"64MiB\"")
        .setting("audit.keep = \"1m\"");
    let agent = Agent::start(&root, plan)?;
    let folder = TempFolder::fresh()?;
    let script = folder.path().join("fill.py");
    std::fs::write(&script, FILL)?;
    for number in 0..WORKLOADS {
        let unit = system.child(&format!("fill-{number}.service"))?;
        let mut python = Place::new().cgroup(&unit).command(venv::python()?)?;
        run(python.arg(&script).arg(postgres.dsn("app"))).with_context(|| agent.tail())?;
    }

    // It is looked once a minute.
    let patience = Duration::from_secs(150);
    until_true("what is too much to go", patience, || removed(&agent) != (0, 0))?;
    until_true("it to be gone", patience, || sealed(&agent).is_ok_and(|bytes| bytes <= KEEP_SIZE))?;
    ensure!(removed(&agent).1 > 0, "{:?}", removed(&agent));
    let whole = agent.verified(&[])?;
    ensure!(whole.findings.is_empty(), "{whole:?}");
    until_true("what is too old to go", patience, || removed(&agent).0 > 0)?;
    until_true("all that is old to be gone", patience, || {
        sealed(&agent).is_ok_and(|bytes| bytes < 16 << 20)
    })?;
    let whole = agent.verified(&[])?;
    ensure!(whole.findings.is_empty() && whole.records > 0, "{whole:?}");
    Ok(())
}
