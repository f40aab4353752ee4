//! With masks on, what holds no person's data arrives as it is: an application's own
//! tables, what tools ask the server's catalog, messages. Direct and led are compared.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tidegate_tests::postgres::{program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::staging::{Staging, statements};
use tidegate_tests::venv;

const SEED: &[&str] = &["leaks/seed.sql", "untouched/seed.sql"];

#[test]
fn an_application_and_psql_see_no_difference() -> Result<()> {
    let _alone = alone();
    let ground = Staging::start(SEED, "")?;
    let mut differ = Vec::new();
    let all = statements("untouched/statements.sql")?;
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
    let ground = Staging::start(SEED, "")?;
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
