//! Other people's suites, directly and then through the agent: test by test,
//! the outcome is the same. They are long: `cargo xtask test --all` fetches and
//! runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::agent::target_folder;
use tidegate_tests::certificates::Key;
use tidegate_tests::diff::{Leg, Stage, Way, to_the_end};
use tidegate_tests::folder::TempFolder;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::venv;

/// By name: `ok`, `FAILED`, or how else it ended.
type Outcomes = BTreeMap<String, String>;

/// Whatever a suite does, it ends.
const LONG: Duration = Duration::from_secs(1_800);

/// Tests whose outcome says how much the way holds in its buffers, not what it
/// carries: asyncpg's counts how many rows its client could still write before
/// it heard of an error in the first.
const OF_BUFFERS: &[&str] =
    &["tests.test_execute.TestExecuteMany.test_executemany_server_failure_during_writes"];

/// How much of a suite must be ok, either way.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    AtLeast(usize),
    /// That many, and there are no others.
    All(usize),
}

fn same(
    name: &str,
    leg: Leg,
    stage: impl Fn() -> Result<Stage>,
    wanted: Wanted,
    suite: impl Fn(&Way<'_>) -> Result<(Outcomes, String)>,
) -> Result<()> {
    let mut both = Vec::new();
    for led in [false, true] {
        // A server of its own each time: suites leave things behind.
        let stage = stage()?;
        let begun = Instant::now();
        let (outcomes, said) = stage.one_way(name, leg, led, |way| suite(way))?;
        let losses = stage.agent.status()?.losses;
        let said = format!("{said}\n{losses:?}{}", stage.agent.tail());
        let ok = outcomes.values().filter(|outcome| *outcome == "ok").count();
        eprintln!(
            "{name}, {}: {ok} of {} ok in {:.0} s",
            if led { "through the agent" } else { "directly" },
            outcomes.len(),
            begun.elapsed().as_secs_f64()
        );
        for (test, outcome) in outcomes.iter().filter(|(_, outcome)| *outcome != "ok") {
            eprintln!("    {test}: {outcome}");
        }
        let enough = match wanted {
            Wanted::AtLeast(least) => ok >= least,
            Wanted::All(all) => ok == all && outcomes.len() == all,
        };
        let of = outcomes.len();
        ensure!(enough, "{name}: {ok} of {of} tests were ok, {wanted:?} are to be\n{said}");
        both.push((outcomes, said));
    }
    let [(direct, _), (led, said)] = both.as_slice() else { bail!("two ways") };
    let others: Vec<String> = direct
        .iter()
        .filter(|(test, outcome)| led.get(*test) != Some(*outcome))
        .filter(|(test, _)| !OF_BUFFERS.contains(&test.as_str()))
        .map(|(test, outcome)| format!("{test}: {outcome} directly, {:?} through", led.get(test)))
        .collect();
    ensure!(others.is_empty() && direct.len() == led.len(), "{}\n{said}", others.join("\n"));
    Ok(())
}

/// Made by `cargo xtask test --all`.
fn fetched(name: &str) -> Result<PathBuf> {
    let folder = target_folder().join("suites/postgresql").join(name);
    ensure!(
        folder.is_dir(),
        "{} is not there: `cargo xtask test --all` fetches it",
        folder.display()
    );
    Ok(folder)
}

/// Its own copy, where the server can read and write.
fn unfolded(name: &str, into: &TempFolder) -> Result<PathBuf> {
    let folder = into.path().join(name);
    run(Command::new("cp").arg("-r").arg(fetched(name)?).arg(&folder))?;
    // Made by who tests, it would not be the server's to write in.
    std::fs::create_dir_all(folder.join("results"))?;
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(into.path()))?;
    Ok(folder)
}

/// The program from Debian's own package.
fn installed(path: &str) -> Result<PathBuf> {
    let server = program("postgres")?;
    let release = server.parent().and_then(Path::parent).context("no release")?;
    let file = release.join("lib/pgxs/src/test").join(path);
    ensure!(file.is_file(), "{} is not there: install postgresql", file.display());
    Ok(file)
}

fn pg_regress(
    way: &Way<'_>,
    tester: &str,
    folder: &str,
    schedule: &str,
) -> Result<(Outcomes, String)> {
    let place = TempFolder::fresh()?;
    let input = unfolded(folder, &place)?;
    let lib = unfolded("lib", &place)?;
    let mut command = way.command(installed(tester)?)?;
    command.arg(format!("--inputdir={}", input.display()));
    command.arg(format!("--outputdir={}", input.display()));
    command.arg(format!("--schedule={}", input.join(schedule).display()));
    command.arg(format!("--dlpath={}", lib.display()));
    command.arg(format!("--bindir={}", program("psql")?.parent().context("no folder")?.display()));
    command.args(["--host=127.0.0.1", "--user=app", "--max-concurrent-tests=20"]);
    command.arg(format!("--port={}", way.stage.port)).current_dir(&input);
    command.env("PGSSLMODE", "disable");
    let output = to_the_end(&mut command, LONG)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut outcomes = Outcomes::new();
    for line in said.lines() {
        let Some((name, outcome)) = line.split_once(" ... ") else { continue };
        let name = name.trim().trim_start_matches("test ").trim();
        let outcome = outcome.split_whitespace().next().unwrap_or("nothing");
        outcomes.insert(name.into(), outcome.into());
    }
    let diffs = std::fs::read_to_string(input.join("regression.diffs")).unwrap_or_default();
    // Kept for who wants to know why.
    let kept =
        target_folder().join("suites").join(if way.led { "led.diffs" } else { "direct.diffs" });
    std::fs::write(kept, &diffs)?;
    let diffs: Vec<&str> = diffs.lines().take(200).collect();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((outcomes, format!("{said}{errors}\n{}", diffs.join("\n"))))
}

fn server() -> Result<Stage> {
    let setup =
        Postgres::setup().tls(Key::P256).auth("trust").setting("max_prepared_transactions=10");
    Stage::new(setup.setting("shared_buffers=128MB").start()?)
}

#[test]
#[ignore = "long: cargo xtask test --all"]
fn postgresql_regression() -> Result<()> {
    let _alone = alone();
    same("PostgreSQL's regression tests", Leg::Plain, server, Wanted::All(217), |way| {
        pg_regress(way, "regress/pg_regress", "regress", "parallel_schedule")
    })
}

#[test]
#[ignore = "long: cargo xtask test --all"]
fn postgresql_isolation() -> Result<()> {
    let _alone = alone();
    same("PostgreSQL's isolation tests", Leg::Plain, server, Wanted::All(115), |way| {
        pg_regress(way, "isolation/pg_isolation_regress", "isolation", "isolation_schedule")
    })
}

/// A source package of PyPI's, unpacked: what of it is named, or all.
fn unpacked(package: &str, version: &str, parts: &[&str]) -> Result<PathBuf> {
    let folder = target_folder().join("suites").join(package);
    let name = format!("{package}-{version}");
    let whole = folder.join(format!("{name}.whole"));
    if !whole.is_file() {
        std::fs::create_dir_all(&folder)?;
        let mut pip = Command::new(venv::python()?);
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]);
        run(pip.arg(format!("{package}=={version}")).arg("-d").arg(&folder))?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(folder.join(format!("{name}.tar.gz")));
        tar.arg("--strip-components=1").args(parts.iter().map(|part| format!("{name}/{part}")));
        run(tar.current_dir(&folder))?;
        std::fs::write(whole, "")?;
    }
    Ok(folder)
}

/// The source packages of asyncpg and SQLAlchemy bring their tests. Those of psycopg 3
/// and node-postgres don't; tokio-postgres' want a server at port 5433 with users of
/// their own, and sqlx' a crate that isn't published.
#[test]
#[ignore = "long: cargo xtask test --all"]
fn asyncpg_itself() -> Result<()> {
    asyncpg("asyncpg's own tests", Leg::Plain)
}

/// The same within TLS on both legs: the server takes nobody without.
#[test]
#[ignore = "long: cargo xtask test --all"]
fn asyncpg_itself_within_tls() -> Result<()> {
    asyncpg("asyncpg's own tests, within TLS", Leg::Tls)
}

fn asyncpg(name: &str, leg: Leg) -> Result<()> {
    let _alone = alone();
    let python = venv::python()?;
    // Only the tests, so that what they import is the installed one.
    let folder = unpacked("asyncpg", "0.30.0", &["tests"])?;
    let stage = || {
        let setup = Postgres::setup().setting("max_connections=200");
        let setup = match leg {
            Leg::Plain => setup.auth("trust"),
            _ => setup.tls(Key::P256).rule("hostssl all all all trust"),
        };
        Stage::new(setup.start()?)
    };
    same(name, leg, stage, Wanted::AtLeast(150), |way| {
        let mut command = way.command(&python)?;
        // The two left out are about its source's style and its own build.
        command.args([
            "-m",
            "unittest",
            "discover",
            "-v",
            "-s",
            "tests",
            "-t",
            ".",
            "-p",
            "test_*.py",
        ]);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", way.stage.port.to_string());
        command.env("PGUSER", "app").env("PGDATABASE", "app").env("PGPASSWORD", "tide");
        if leg != Leg::Plain {
            command.env("PGSSLMODE", leg.mode());
        }
        command.env("PYTHONHASHSEED", "0").current_dir(&folder);
        let output = to_the_end(&mut command, LONG)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut outcomes = Outcomes::new();
        for line in said.lines() {
            // `test_x (tests.test_y.TestZ.test_x) ... ok`
            let Some((name, outcome)) = line.split_once(" ... ") else { continue };
            let Some((_, name)) = name.split_once('(') else { continue };
            let outcome = outcome.split_whitespace().next().unwrap_or("nothing");
            outcomes.insert(name.trim_end_matches(')').into(), outcome.trim_matches('\'').into());
        }
        let from = said.len().saturating_sub(6_000);
        Ok((outcomes, said.get(from..).unwrap_or_default().into()))
    })
}

/// Its tests of the dialect, and those that each dialect must pass.
#[test]
#[ignore = "long: cargo xtask test --all"]
fn sqlalchemy_itself() -> Result<()> {
    let _alone = alone();
    let python = venv::python()?;
    let folder = unpacked("sqlalchemy", "2.0.43", &[])?;
    let stage = || {
        let setup = Postgres::setup().auth("trust").setting("max_prepared_transactions=10");
        let postgres = setup.start()?;
        // As its README.unittests wants them.
        for made in
            ["SCHEMA test_schema", "SCHEMA test_schema_2", "EXTENSION hstore", "EXTENSION citext"]
        {
            postgres.admin("app", &format!("CREATE {made}"))?;
        }
        postgres.admin("app", "GRANT ALL ON SCHEMA public, test_schema, test_schema_2 TO app")?;
        Stage::new(postgres)
    };
    same("SQLAlchemy's own tests", Leg::Plain, stage, Wanted::AtLeast(11_000), |way| {
        let mut command = way.command(&python)?;
        command.args(["-m", "pytest", "test/dialect/postgresql", "test/dialect/test_suite.py"]);
        command.args(["-v", "--color=no", "-p", "no:logging", "-p", "no:cacheprovider"]);
        let port = way.stage.port;
        command
            .arg(format!("--dburi=postgresql+psycopg://app@127.0.0.1:{port}/app?sslmode=disable"));
        command.env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        let output = to_the_end(command.current_dir(&folder), LONG)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut outcomes = Outcomes::new();
        for line in said.lines() {
            // `test/x.py::TestY::test_z PASSED  [ 12%]`; why it was skipped stands behind.
            let words = ["PASSED", "FAILED", "SKIPPED", "ERROR", "XFAIL"];
            let ended = words.into_iter().find(|word| line.contains(&format!(" {word} ")));
            let Some(word) = ended else { continue };
            let Some((name, _)) = line.split_once(&format!(" {word} ")) else { continue };
            if name.starts_with("test/") {
                let outcome = if word == "PASSED" { "ok" } else { word };
                outcomes.insert(name.into(), outcome.into());
            }
        }
        let from = said.len().saturating_sub(6_000);
        Ok((outcomes, said.get(from..).unwrap_or_default().into()))
    })
}
