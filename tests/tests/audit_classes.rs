//! What is kept of values that go into, or are compared with, columns whose names tell
//! nothing: an operator has said what one holds, the other's content gave it away.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_tests::agent::{Agent, Plan, binary};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::venv;

const SEED: &str = "CREATE TABLE visits (id bigint, remark text, code text);
INSERT INTO visits SELECT n, 'user' || n || '@shop.example', 'KESTREL-' || n
FROM generate_series(1, 60) n";

const SENT: &str = "\
UPDATE visits SET remark = 'blue whale' WHERE code = 'KESTREL-77' AND id = 471147114711;
INSERT INTO visits VALUES (900, 'grey seal', 'KESTREL-900');
";

const BOUND: &str = "\
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as c:
    c.execute('UPDATE visits SET remark = %s WHERE code = %s AND id = %s',
              ('blue whale', 'KESTREL-78', 815081508150))
    c.execute('INSERT INTO visits VALUES (%s, %s, %s)', (901, 'grey seal', 'KESTREL-901'))
";

struct Told {
    agent: Agent,
    /// In the order in which they came.
    statements: Vec<Value>,
    /// Every byte of every segment.
    bytes: Vec<u8>,
    _root: Cgroup,
}

fn told(text: &str) -> Result<Told> {
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.psql("app", SEED)?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let protect = format!(
        "[[protect]]\nto = {}\nenvironment = \"staging\"\nprotocol = \"postgres\"",
        postgres.port()
    );
    let plan = Plan::postgres(None::<u16>)
        .policy("enforce")
        .setting(&format!("audit.text = \"{text}\""))
        .setting(&protect);
    let agent = Agent::start(&root, plan)?;
    let config = agent.settings_file().display().to_string();
    let mut set = Place::new().command(binary()?)?;
    run(set.args(["classify", "set", "--config", &config, "public.visits.code", "api_key"]))?;
    agent.must(&["reload"])?;

    let place = Place::new().cgroup(&work);
    let folder = TempFolder::fresh()?;
    let psql = |sql: &str| -> Result<()> {
        let file = folder.path().join("sent.sql");
        std::fs::write(&file, sql)?;
        let mut psql = place.command(program("psql")?)?;
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).arg(postgres.dsn("app"));
        run(psql.stdin(Stdio::null()).stdout(Stdio::null())).with_context(|| agent.tail())?;
        Ok(())
    };
    // An answer shows what is in the one.
    psql("SELECT remark FROM visits;\n")?;
    psql(SENT)?;
    let script = folder.path().join("bound.py");
    std::fs::write(&script, BOUND)?;
    let mut python = place.command(venv::python()?)?;
    run(python.arg(&script).arg(postgres.dsn("app"))).with_context(|| agent.tail())?;

    let statements: Vec<Value> = agent
        .exported("1h")?
        .iter_mut()
        .filter_map(|record| Some(record.get_mut("statement")?.take()))
        .filter(|statement| {
            statement["verbs"] == json!(["update"]) || statement["verbs"] == json!(["insert"])
        })
        .collect();
    ensure!(statements.len() == 4, "not four: {statements:?}");
    let mut bytes = Vec::new();
    for log in std::fs::read_dir(agent.log_folder())?.flatten() {
        let Ok(segments) = std::fs::read_dir(log.path().join("segments")) else { continue };
        for segment in segments.flatten() {
            bytes.extend(std::fs::read(segment.path())?);
        }
    }
    Ok(Told { agent, statements, bytes, _root: root })
}

impl Told {
    fn holds(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Whatever is kept: no such value is, and the classes are told and found.
    fn is_redacted_by_class(&self) -> Result<()> {
        ensure!(self.holds("visits"), "the segments weren't read");
        for value in ["blue whale", "grey seal", "KESTREL"] {
            ensure!(!self.holds(value), "{value} is in the log");
        }
        for statement in &self.statements {
            let touched = statement["touched"].as_array().context("nothing touched")?;
            for (column, class) in [("remark", "email"), ("code", "api_key")] {
                let is = |one: &&Value| one["column"] == column && one["class"] == class;
                ensure!(touched.iter().any(|one| is(&one)), "{column}: {statement}");
            }
        }
        for class in ["email", "api_key"] {
            let hits = self.agent.search(&["--class", class, "--kind", "statement"])?;
            ensure!(hits.len() >= 4, "--class {class} finds {}", hits.len());
        }
        Ok(())
    }

    fn parameters(&self) -> Vec<&Value> {
        self.statements.iter().map(|one| &one["parameters"]).collect()
    }
}

#[test]
fn full_keeps_no_value_of_a_column_that_is_of_a_class_by_word_or_by_content() -> Result<()> {
    let _alone = alone();
    let told = told("full")?;
    told.is_redacted_by_class()?;
    let text = |at: usize| told.statements[at]["text"].as_str().unwrap_or_default();
    ensure!(
        text(0).contains("SET remark = [email] WHERE code = [api_key] AND id = 471147114711"),
        "{}",
        text(0)
    );
    ensure!(text(1).contains("VALUES (900, [email], [api_key])"), "{}", text(1));
    let bound = &told.parameters()[2..];
    ensure!(*bound[0] == json!(["[email]", "[api_key]", "815081508150"]), "{bound:?}");
    ensure!(*bound[1] == json!(["901", "[email]", "[api_key]"]), "{bound:?}");
    Ok(())
}

#[test]
fn redacted_tells_of_which_class_a_value_was() -> Result<()> {
    let _alone = alone();
    let told = told("redacted")?;
    told.is_redacted_by_class()?;
    let bound = &told.parameters()[2..];
    ensure!(*bound[0] == json!(["[email]", "[api_key]", "?"]), "{bound:?}");
    ensure!(*bound[1] == json!(["?", "[email]", "[api_key]"]), "{bound:?}");
    Ok(())
}
