//! With masks on, what holds no person's data arrives as it is: an application's own
//! tables, what tools ask the server's catalog, messages. Direct and led are compared.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::venv;

struct Ground {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Ground {
    fn start() -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        for file in ["leaks/seed.sql", "untouched/seed.sql"] {
            for statement in lines(file)? {
                postgres.psql("app", &statement)?;
            }
        }
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let setting = format!(
            "[[protect]]\nto = {}\nenvironment = \"staging\"\nprotocol = \"postgres\"",
            postgres.port()
        );
        let plan = Plan::postgres(None::<u16>).policy("enforce").setting(&setting);
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres })
    }

    fn place(&self, led: bool) -> Place<'_> {
        if led { Place::new().cgroup(&self.work) } else { Place::new() }
    }
}

/// The statements of a file of the corpora; a line that ends in `\` goes on.
fn lines(file: &str) -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut all = Vec::new();
    let mut open = String::new();
    for line in text.lines().filter(|line| !line.starts_with("--") && !line.trim().is_empty()) {
        match line.strip_suffix('\\') {
            Some(more) => open.push_str(more),
            None => all.push(std::mem::take(&mut open) + line),
        }
    }
    Ok(all)
}

#[test]
fn an_application_and_psql_see_no_difference() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let mut differ = Vec::new();
    let all = lines("untouched/statements.sql")?;
    for statement in &all {
        let answer = |led: bool| -> Result<String> {
            let mut psql = ground.place(led).command(program("psql")?)?;
            psql.arg("-Xat");
            for one in statement.split(" ;; ") {
                psql.args(["-c", one]);
            }
            psql.arg(ground.postgres.dsn("app"));
            let output = psql.output()?;
            // What fails is to fail in the same words.
            Ok([output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat())
        };
        let (direct, led) = (answer(false)?, answer(true)?);
        if direct != led {
            let lines = direct.lines().zip(led.lines()).filter(|(one, other)| one != other);
            let shown: Vec<_> =
                lines.take(3).map(|(one, other)| format!("    - {one}\n    + {other}")).collect();
            differ.push(format!("{statement}\n{}", shown.join("\n")));
        }
    }
    ensure!(
        differ.is_empty(),
        "{} of {} differ:\n{}{}",
        differ.len(),
        all.len(),
        differ.join("\n"),
        ground.agent.tail()
    );
    Ok(())
}

#[test]
fn tools_see_no_difference() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let reflect = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/reflect.py");
    let port = ground.postgres.port().to_string();
    let python = venv::python()?;
    let bench = program("pgbench")?;
    let tools: [(&str, &Path, Vec<&str>); 2] = [
        ("pgbench", &bench, vec!["--initialize", "--quiet"]),
        ("SQLAlchemy's reflection", &python, vec![reflect.to_str().context("a path")?]),
    ];
    for (name, program, arguments) in tools {
        let mut said = Vec::new();
        for led in [false, true] {
            let mut command = ground.place(led).command(program)?;
            command.args(&arguments).env("PGHOST", "127.0.0.1").env("PGPORT", &port);
            command.env("PGUSER", "app").env("PGDATABASE", "app");
            let text = run(&mut command)
                .with_context(|| format!("{name}, led: {led}{}", ground.agent.tail()))?;
            said.push(text);
        }
        let differs = said[0].lines().zip(said[1].lines()).find(|(one, other)| one != other);
        ensure!(said[0] == said[1], "{name} differs: {differs:?}");
        ensure!(
            name == "pgbench" || said[0].len() > 500,
            "{name} said nearly nothing: {}",
            said[0]
        );
    }
    Ok(())
}
