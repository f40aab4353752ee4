//! `[audit] text`: what a record holds of a statement and of what was bound to it, and
//! what no byte of the log may hold. A real psql, a real driver.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::{venv, wait};

struct Told {
    /// Of the statement that psql sent, of the one that psycopg bound values to.
    sent: Value,
    bound: Value,
    /// Every byte of every segment.
    bytes: Vec<u8>,
}

impl Told {
    /// What is told where `[audit] text` is this.
    fn with(text: &str) -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        for sql in
            ["CREATE TABLE customers (id bigint, email text, note text)", "CREATE ROLE clerk LOGIN"]
        {
            postgres.admin("app", sql)?;
        }
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let plan = Plan::postgres([postgres.port()]).setting(&format!("audit.text = \"{text}\""));
        let agent = Agent::start(&root, plan)?;
        let place = Place::new().cgroup(&work);
        // Nothing of it stands in a command line.
        let folder = TempFolder::fresh()?;
        let sql = folder.path().join("sent.sql");
        std::fs::write(
            &sql,
            "SELECT note FROM customers WHERE id = 471147114711 AND note = 'blue whale' \
             AND email = 'bob@shop.example' -- the nightly one\n\
             -- AND email = 'ann@shop.example' AND note = 'red fox'\n;\n\
             ALTER ROLE clerk PASSWORD 'hunter2';\n",
        )?;
        let mut psql = place.command(program("psql")?)?;
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&sql).arg(postgres.dsn("app"));
        run(psql.stdin(Stdio::null())).with_context(|| agent.tail())?;
        let script = folder.path().join("bound.py");
        std::fs::write(
            &script,
            "import sys, psycopg\n\
             with psycopg.connect(sys.argv[1], autocommit=True) as c:\n\
             \x20   c.execute('SELECT id FROM customers WHERE email = %s AND note = %s AND id = %s',\n\
             \x20             ('ann@shop.example', 'grey seal', 815081508150))\n",
        )?;
        let mut python = place.command(venv::python()?)?;
        run(python.arg(&script).arg(postgres.dsn("app"))).with_context(|| agent.tail())?;

        let statements: Vec<Value> = agent
            .exported("1h")?
            .iter_mut()
            .filter_map(|record| Some(record.get_mut("statement")?.take()))
            .filter(|statement| statement["touched"][0]["table"] == "customers")
            .collect();
        let [sent, bound] = <[Value; 2]>::try_from(statements)
            .map_err(|all| anyhow::anyhow!("not two statements: {all:?}"))?;
        ensure!(bound["way"] == "bind", "{bound}");
        let mut bytes = Vec::new();
        for log in std::fs::read_dir(agent.log_folder())?.flatten() {
            let Ok(segments) = std::fs::read_dir(log.path().join("segments")) else { continue };
            for segment in segments.flatten() {
                bytes.extend(std::fs::read(segment.path())?);
            }
        }
        let told = Self { sent, bound, bytes };
        // Whatever is kept: the table is, and no password is.
        ensure!(told.holds("customers"), "the segments weren't read");
        ensure!(!told.holds("hunter2"), "a password is in the log");
        ensure!(!told.holds("bob@shop") && !told.holds("ann@shop"), "an address is in the log");
        Ok(told)
    }

    fn holds(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

#[test]
fn full_keeps_literals_but_those_that_a_name_tells() -> Result<()> {
    let _alone = alone();
    let told = Told::with("full")?;
    let text = told.sent["text"].as_str().context("no text")?;
    for word in ["471147114711", "'blue whale'", "email = [email]", "-- the nightly one"] {
        ensure!(text.contains(word), "no {word} in {text}");
    }
    let bound = &told.bound["parameters"];
    ensure!(*bound == json!(["[email]", "grey seal", "815081508150"]), "{bound}");
    Ok(())
}

#[test]
fn redacted_keeps_the_text_without_literals() -> Result<()> {
    let _alone = alone();
    let told = Told::with("redacted")?;
    let text = told.sent["text"].as_str().context("no text")?;
    for word in ["id = ? AND note = ?", "-- the nightly one"] {
        ensure!(text.contains(word), "no {word} in {text}");
    }
    for word in ["471147114711", "blue whale", "red fox", "grey seal", "815081508150"] {
        ensure!(!told.holds(word), "{word} is in the log");
    }
    let bound = &told.bound["parameters"];
    ensure!(*bound == json!(["[email]", "?", "?"]), "{bound}");
    Ok(())
}

#[test]
fn fingerprint_keeps_no_text_at_all() -> Result<()> {
    let _alone = alone();
    let told = Told::with("fingerprint")?;
    ensure!(told.sent.get("text").is_none(), "{}", told.sent);
    let hash = told.sent["fingerprint"].as_str().context("no fingerprint")?;
    ensure!(hash.len() == 16 && told.holds(hash), "{hash}");
    // Nor what stands around names: only these are told.
    for word in ["471147114711", "blue whale", "grey seal", "815081508150", "nightly", "WHERE"] {
        ensure!(!told.holds(word), "{word} is in the log");
    }
    let bound = &told.bound["parameters"];
    ensure!(*bound == json!(["[email]", "?", "?"]), "{bound}");
    Ok(())
}

/// One statement stays prepared, the other is sent anew.
const TWICE: &str = "\
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as c:
    for _ in range(2):
        c.execute(\"SELECT id FROM customers WHERE note = 'blue whale'\", prepare=True)
        c.execute(\"SELECT id FROM customers WHERE note = 'grey seal'\", prepare=False)
        print('ready', flush=True)
        sys.stdin.readline()
";

#[test]
fn what_is_no_longer_to_be_kept_is_not_from_the_next_statement_on() -> Result<()> {
    let _alone = alone();
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.admin("app", "CREATE TABLE customers (id bigint, email text, note text)")?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let plan = Plan::postgres([postgres.port()]).setting("audit.text = \"full\"");
    let agent = Agent::start(&root, plan)?;
    let mut python = Place::new().cgroup(&work).command(venv::python()?)?;
    python.args(["-c", TWICE]).arg(postgres.dsn("app"));
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(python.stdout.take().context("no output")?).lines();
    let mut go_on = python.stdin.take().context("no input")?;
    ensure!(said.next().context("it ended")?? == "ready");
    let file = agent.settings_file();
    let settings = std::fs::read_to_string(&file)?;
    ensure!(settings.contains("audit.text = \"full\""), "{settings}");
    std::fs::write(&file, settings.replace("audit.text = \"full\"", "audit.text = \"redacted\""))?;
    agent.must(&["reload"])?;
    wait::until_true("the log to have the new settings", Duration::from_secs(10), || {
        !agent.search(&["--kind", "changed"]).unwrap_or_default().is_empty()
    })?;
    writeln!(go_on)?;
    ensure!(said.next().context("it ended")?? == "ready");
    writeln!(go_on)?;
    ensure!(python.wait()?.success(), "{}", agent.tail());
    let statements: Vec<Value> = agent
        .exported("1h")?
        .iter_mut()
        .filter_map(|record| Some(record.get_mut("statement")?.take()))
        .filter(|statement| statement["touched"][0]["table"] == "customers")
        .collect();
    let texts: Vec<_> = statements.iter().map(|one| one["text"].as_str()).collect();
    let full = |note: &str| Some(format!("SELECT id FROM customers WHERE note = '{note}'"));
    ensure!(
        texts
            == [
                full("blue whale").as_deref(),
                full("grey seal").as_deref(),
                // Whoever prepared it has the text, the log hasn't.
                None,
                Some("SELECT id FROM customers WHERE note = ?"),
            ],
        "{texts:?}"
    );
    ensure!(statements.iter().all(|one| one["fingerprint"] == statements[0]["fingerprint"]));
    Ok(())
}
