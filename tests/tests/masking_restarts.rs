//! What tables were filled with is masked after the end of the enforcer, after an upgrade,
//! and after the end of the whole agent: neither names nor days of birth have a form.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::staging::Staging;
use tidegate_tests::sys;
use tidegate_tests::wait::until_true;

const SEED: &[&str] = &["leaks/seed.sql"];

/// Ways in which a table gets names and days of birth under names that say nothing.
const FILLING: &[&str] = &[
    "CREATE TABLE staff2 AS SELECT id AS n, full_name AS a, born AS b FROM customers",
    "SELECT full_name AS a INTO into2 FROM customers",
    "INSERT INTO jot SELECT full_name FROM customers",
    "UPDATE kept SET x = (SELECT full_name FROM customers WHERE id = 1)",
    "CREATE MATERIALIZED VIEW frozen2 AS SELECT reverse(full_name) AS a FROM customers",
    "DO $$ BEGIN INSERT INTO by_code SELECT full_name FROM customers; END $$",
    "CREATE TABLE third AS SELECT a AS c FROM staff2",
    "CREATE TABLE \"Odd.Table\" AS SELECT full_name AS \"Odd \"\"Column\" FROM customers",
    "SELECT lo_from_bytea(4712, convert_to(full_name, 'UTF8')) FROM customers WHERE id = 1",
];

/// … which are these …
const FILLED: &[&str] = &["staff2", "into2", "jot", "kept", "frozen2", "by_code", "third", "Odd."];

/// … and what would show them.
const SHOWING: &[&str] = &[
    "SELECT a FROM staff2",
    "SELECT b FROM staff2 ORDER BY n",
    "SELECT upper(a) FROM staff2",
    "SELECT to_json(s)->>'a' FROM staff2 s",
    "COPY staff2 TO STDOUT",
    "SELECT a FROM into2",
    "SELECT x FROM jot",
    "SELECT x FROM kept",
    "SELECT a FROM frozen2",
    "SELECT x FROM by_code",
    "SELECT c FROM third",
    "SELECT \"Odd \"\"Column\" FROM \"Odd.Table\"",
    "SELECT convert_from(lo_get(4712), 'UTF8')",
];

fn start() -> Result<Staging> {
    let ground = Staging::start(SEED, "")?;
    for statement in [
        "CREATE TABLE jot (x text)",
        "CREATE TABLE kept (x text)",
        "INSERT INTO kept VALUES ('plain')",
        "CREATE TABLE by_code (x text)",
        "CREATE TABLE open (x text)",
        "INSERT INTO open VALUES ('plain')",
    ] {
        ground.postgres.psql("app", statement)?;
    }
    Ok(ground)
}

fn fill(ground: &Staging) -> Result<()> {
    for statement in FILLING {
        ground.psql(&[statement])?;
    }
    Ok(())
}

/// Nothing of the name is shown, in neither direction, nor the day of birth.
fn leaked(shown: &str) -> bool {
    ["anary", "ANARY", "yranaC", "1984-03-17"].iter().any(|part| shown.contains(part))
}

fn masked(ground: &Staging, when: &str) -> Result<()> {
    for statement in SHOWING {
        let shown = ground.psql(&[statement]).with_context(|| format!("{when}: {statement}"))?;
        ensure!(!shown.trim().is_empty(), "{when}: {statement}: nothing");
        ensure!(!leaked(&shown), "{when}: {statement}\nshown: {shown}{}", ground.agent.tail());
    }
    // And not simply everything.
    let shown = ground.psql(&["SELECT x FROM open"])?;
    ensure!(shown.trim() == "plain", "{when}: {shown}");
    // A name is a name still, and no longer text of any kind.
    let shown = ground.psql(&["SELECT DISTINCT a FROM staff2"])?;
    ensure!(shown.trim() == "X••• C•••", "{when}: {shown}");
    Ok(())
}

fn kill_enforcer(ground: &Staging) -> Result<()> {
    let before = ground.agent.enforcer()?;
    sys::signal(before, libc::SIGKILL)?;
    until_true("another enforcer", Duration::from_secs(20), || {
        ground.agent.status().is_ok_and(|status| {
            status.verdict != "failing"
                && status.current().is_some_and(|current| current.pid != before)
        })
    })
    .with_context(|| ground.agent.tail())
}

/// What was learnt is kept a moment later, which on a slow disk is a long one.
fn start_again(ground: &mut Staging, kept: &[&str]) -> Result<()> {
    let file = ground.agent.settings_file().with_file_name("filled.jsonl");
    until_true("what was learnt to be on the disk", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        kept.iter().all(|name| text.contains(&format!("\"{name}")))
    })
    .with_context(|| ground.agent.tail())?;
    ground.agent.kill_all()?;
    ground.agent.run_again()?;
    ground.agent.wait_healthy()?;
    Ok(())
}

#[test]
fn filled_tables_stay_masked_after_the_enforcer_and_after_the_agent() -> Result<()> {
    let mut ground = start()?;
    fill(&ground)?;
    masked(&ground, "at once")?;
    kill_enforcer(&ground)?;
    masked(&ground, "with a new enforcer")?;
    start_again(&mut ground, FILLED)?;
    masked(&ground, "with a new agent")?;
    // What lies on the disk has names, and no value.
    let file = ground.agent.settings_file().with_file_name("filled.jsonl");
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("\"staff2\"") && text.contains("person_name"), "{text}");
    ensure!(!leaked(&text), "{text}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file)?);
    ensure!(mode & 0o7777 == 0o600, "{mode:o}");
    // A file that is damaged costs what was in that line, and no start.
    let torn = format!("{text}{}", &text[..40]);
    ground.agent.kill_all()?;
    std::fs::write(&file, torn)?;
    ground.agent.run_again()?;
    ground.agent.wait_healthy()?;
    masked(&ground, "with a torn file")?;
    ensure!(ground.agent.log().contains("can't be read"), "{}", ground.agent.tail());
    Ok(())
}

#[test]
fn what_the_old_enforcer_learns_is_known_to_the_new_one() -> Result<()> {
    let ground = start()?;
    let mut old = ground.connect()?;
    old.query("SELECT 1")?;
    let before = ground.agent.enforcer()?;
    ground.agent.must(&["upgrade"])?;
    let new = ground.agent.enforcer()?;
    ensure!(new != before, "the enforcer is the same");
    // The new one knows the database by now.
    let mut early = ground.connect()?;
    early.query("SELECT x FROM jot")?;
    for statement in FILLING {
        old.query(statement)?;
    }
    let shown = early.rows("SELECT x FROM jot")?;
    ensure!(!shown.is_empty() && !leaked(&shown), "{shown}");
    masked(&ground, "while the old one drains")?;
    let status = ground.agent.status()?;
    ensure!(status.enforcers.iter().any(|one| one.pid == before), "it is gone: {status:#?}");
    Ok(())
}

#[test]
fn a_table_that_is_renamed_stays_masked() -> Result<()> {
    let mut ground = start()?;
    fill(&ground)?;
    ground.psql(&["ALTER TABLE staff2 RENAME TO crew", "SELECT 1"])?;
    ground.psql(&["ALTER TABLE crew RENAME COLUMN a TO x", "SELECT 1"])?;
    // Its class came by its name alone.
    ground.psql(&["ALTER TABLE parts RENAME COLUMN full_name TO z", "SELECT 1"])?;
    for when in ["before", "after"] {
        for statement in ["SELECT x FROM crew", "SELECT b FROM crew", "SELECT z FROM parts"] {
            let shown = ground.psql(&[statement])?;
            ensure!(!shown.is_empty() && !leaked(&shown), "{when}: {statement}: {shown}");
        }
        start_again(&mut ground, &["crew", "x", "z"])?;
    }
    Ok(())
}

#[test]
fn an_operator_sees_why_and_has_the_last_word() -> Result<()> {
    let mut ground = start()?;
    fill(&ground)?;
    let config = ground.agent.settings_file().display().to_string();
    let dsn = format!(
        "host=127.0.0.1 port={} user=app dbname=app sslmode=disable",
        ground.postgres.port()
    );
    let classify = |ground: &Staging, words: &[&str]| -> Result<String> {
        let all = [&["classify"], words, &["--config", &config]].concat();
        let mut command = ground.place(false).command(tidegate_tests::agent::binary()?)?;
        let output = command.args(&all).env("NO_COLOR", "1").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{all:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // What is learnt is on the disk a moment later, and `classify` reads it there.
    let mut told = String::new();
    until_true("staff2 among the filled", Duration::from_secs(20), || {
        told = classify(&ground, &["--db", &dsn, "--table", "staff2"]).unwrap_or_default();
        told.contains("public.staff2.b")
    })
    .with_context(|| format!("{told}{}", ground.agent.tail()))?;
    let line = |column: &str| told.lines().find(|line| line.contains(column)).unwrap_or_default();
    let a = line("public.staff2.a");
    ensure!(a.contains("person_name") && a.contains("lineage (filled)"), "{told}");
    ensure!(!told.contains("public.staff2.n"), "{told}");
    // Shown on an operator's word, also by whoever begins later.
    classify(&ground, &["set", "public.staff2.a", "none"])?;
    ground.agent.must(&["reload"])?;
    for when in ["at once", "with a new agent"] {
        let shown = ground.psql(&["SELECT DISTINCT a FROM staff2"])?;
        ensure!(shown.trim() == "Xandra Canarybird", "{when}: {shown}");
        let shown = ground.psql(&["SELECT b FROM staff2"])?;
        ensure!(!leaked(&shown), "{when}: {shown}");
        start_again(&mut ground, FILLED)?;
    }
    classify(&ground, &["unset", "public.staff2.a"])?;
    ground.agent.must(&["reload"])?;
    masked(&ground, "without the word")?;
    // It is told of all of them, and can be forgotten for good.
    let listed = classify(&ground, &["filled"])?;
    ensure!(listed.contains("staff2") && listed.contains("\"Odd.Table\""), "{listed}");
    ground.agent.must(&["classify", "forget", "public.staff2"])?;
    kill_enforcer(&ground)?;
    let shown = ground.psql(&["SELECT DISTINCT a FROM staff2"])?;
    ensure!(shown.trim() == "Xandra Canarybird", "{shown}");
    let shown = ground.psql(&["SELECT c FROM third"])?;
    ensure!(!leaked(&shown), "{shown}");
    Ok(())
}
