//! What is masked while a session is open and the world changes: policies, settings,
//! views, other people's locks.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidegate_tests::staging::Staging;
use tidegate_tests::wire::{Connection, message};

const SEED: &[&str] = &["leaks/seed.sql"];
const REVEAL: &str =
    "@id(\"own/see\")\npermit (principal, action == Action::\"reveal\", resource);\n";

/// Prepares a statement and has it described, to be run by [`run`].
fn prepare(connection: &mut Connection, statement: &str) -> Result<()> {
    let parse = [
        message::parse("again", statement, &[]),
        message::describe(b'S', "again"),
        message::sync(),
    ]
    .concat();
    let answered = connection.ask(&parse)?;
    ensure!(answered.iter().any(|one| one.kind == b'1'), "{statement}: {answered:?}");
    Ok(())
}

/// The first column of what it gives, without being described again.
fn run(connection: &mut Connection) -> Result<Vec<String>> {
    let run = [
        message::bind("", "again", message::TEXT, &[], message::TEXT),
        message::execute("", 0),
        message::sync(),
    ];
    let answered = connection.ask(&run.concat())?;
    let rows = answered.iter().filter(|one| one.kind == b'D');
    let first = |row: &tidegate_tests::wire::Message| {
        let value = row.columns().ok()?.into_iter().next().flatten();
        Some(String::from_utf8_lossy(&value?).into_owned())
    };
    Ok(rows.map(|row| first(row).unwrap_or_default()).collect())
}

#[test]
fn a_policy_holds_for_a_prepared_statement_from_the_next_time_it_runs() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut connection = ground.connect()?;
    prepare(&mut connection, "SELECT full_name FROM customers WHERE id = 1")?;
    for round in 0..2 {
        ground.rule("")?;
        let shown = run(&mut connection)?;
        ensure!(shown == ["X••• C•••"], "round {round}, masked: {shown:?}");
        ground.rule(REVEAL)?;
        let shown = run(&mut connection)?;
        ensure!(shown == ["Xandra Canarybird"], "round {round}, revealed: {shown:?}");
    }
    Ok(())
}

#[test]
fn a_prepared_reading_of_a_setting_is_masked_once_it_holds_a_secret() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut connection = ground.connect()?;
    prepare(&mut connection, "SELECT current_setting('my.word', true)")?;
    connection.query("SET my.word = 'plain'")?;
    let shown = run(&mut connection)?;
    ensure!(shown == ["plain"], "{shown:?}");
    connection.query(
        "SELECT set_config('my.word', full_name, false) IS NULL FROM customers WHERE id = 1",
    )?;
    let shown = run(&mut connection)?;
    ensure!(!shown.concat().contains("anary"), "{shown:?}");
    Ok(())
}

#[test]
fn a_prepared_reading_of_a_large_object_is_masked_once_it_holds_a_secret() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    ground.postgres.psql("app", "SELECT lo_from_bytea(4711, 'plain')")?;
    let mut connection = ground.connect()?;
    prepare(&mut connection, "SELECT convert_from(lo_get(4711), 'UTF8')")?;
    let shown = run(&mut connection)?;
    ensure!(shown == ["plain"], "{shown:?}");
    let put = "SELECT lo_put(4711, 0, convert_to(full_name, 'UTF8')) FROM customers WHERE id = 1";
    // By another session, as by the same.
    ground.connect()?.query(put)?;
    let shown = run(&mut connection)?;
    ensure!(!shown.concat().contains("anary"), "{shown:?}");
    Ok(())
}

#[test]
fn a_view_that_is_replaced_within_a_transaction_is_what_it_is_now() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    ground.postgres.psql("app", "CREATE VIEW sight AS SELECT 'plain'::text AS word")?;
    let mut connection = ground.connect()?;
    prepare(&mut connection, "SELECT word FROM sight")?;
    let shown = run(&mut connection)?;
    ensure!(shown == ["plain"], "{shown:?}");
    connection.query("BEGIN")?;
    connection
        .query("CREATE OR REPLACE VIEW sight AS SELECT full_name::text AS word FROM customers")?;
    let shown = run(&mut connection)?;
    ensure!(shown.len() == 3 && !shown.concat().contains("anary"), "{shown:?}");
    connection.query("COMMIT")?;
    let shown = run(&mut connection)?;
    ensure!(shown.len() == 3 && !shown.concat().contains("anary"), "{shown:?}");
    // Whoever comes later too, and whoever was there before.
    let shown = ground.psql(&["SELECT word FROM sight"])?;
    ensure!(!shown.contains("anary"), "{shown}");
    Ok(())
}

/// Definitions can't be read while somebody changes their table. Nobody waits for that.
#[test]
fn who_comes_while_a_table_is_being_changed_is_not_kept_waiting() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut holder = ground.connect_directly()?;
    holder.query("BEGIN")?;
    holder.query("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")?;
    let began = Instant::now();
    let shown = ground.psql(&["SELECT 'canary.wren@secret-mail.example', 7"])?;
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(10), "it took {took:?}");
    ensure!(shown.trim() == "c•••@s•••.example|7", "{shown}");
    // Nor does who came then see through a view whose definition nobody could read.
    let mut early = ground.connect()?;
    early.query("SELECT 1")?;
    holder.query("ROLLBACK")?;
    let shown = early.rows("SELECT label FROM contacts")?;
    ensure!(!shown.is_empty() && !shown.contains("anary"), "{shown}");
    let shown = ground.psql(&["SELECT full_name FROM customers WHERE id = 1"])?;
    ensure!(shown.trim() == "X••• C•••", "{shown}");
    Ok(())
}
