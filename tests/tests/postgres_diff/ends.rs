//! How a connection ends, or breaks.

use std::net::Shutdown;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::diff::{Leg, Stage, Way};
use tidegate_tests::sys;
use tidegate_tests::wire::message::{self, query};

use super::{open_house, scenarios};

#[test]
fn time_is_up() -> Result<()> {
    let stage = Stage::new(open_house().start()?)?;
    scenarios(
        &stage,
        &[
            ("time-outs of a statement", statement_timeout),
            ("time-outs of who is idle", idle_timeouts),
            ("terminated", terminated),
            ("a client that leaves", leaving),
        ],
    )?;
    stage.compare("a client that has said all", Leg::Plain, said_all)
}

fn statement_timeout(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("SET statement_timeout = '100ms'")?;
    one.query("SELECT pg_sleep(20)")?;
    one.ask(&[message::once("SELECT pg_sleep(20)", &[], message::TEXT), message::sync()].concat())?;
    one.query("BEGIN; SELECT 1; SELECT pg_sleep(20)")?;
    one.query("ROLLBACK")?;
    one.mark("between two messages of a pipeline: it is told with the second");
    one.send(&message::parse("", "SELECT 1", &[]))?;
    std::thread::sleep(Duration::from_millis(300));
    one.send(&message::flush())?;
    one.until(b'E')?;
    one.ask(&[message::once("SELECT 'skipped'", &[], message::TEXT), message::sync()].concat())?;
    one.query("SELECT 'usable'")?;
    one.leave()
}

fn idle_timeouts(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("in a transaction")?;
    one.query("SET idle_in_transaction_session_timeout = '150ms'")?;
    one.query("BEGIN")?;
    let messages = one.rest()?;
    ensure!(messages.iter().any(|it| it.field(b'C').as_deref() == Some("25P03")), "{messages:?}");
    let mut two = way.open("in none")?;
    two.query("SET idle_session_timeout = '150ms'")?;
    let messages = two.rest()?;
    ensure!(messages.iter().any(|it| it.field(b'C').as_deref() == Some("57P05")), "{messages:?}");
    Ok(())
}

fn terminated(way: &mut Way<'_>) -> Result<()> {
    let end = |name: &str| {
        way.admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
        ))
    };
    let mut idle = way.open_with("idle", &[("application_name", "idle one")])?;
    ensure!(end("idle one")? == "t");
    idle.rest()?;
    let mut busy = way.open_with("busy", &[("application_name", "busy one")])?;
    busy.send(&query("SELECT pg_sleep(40)"))?;
    way.wait_admin(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(40)'",
        "1",
    )?;
    ensure!(end("busy one")? == "t");
    busy.rest()?;
    let mut copying = way.open_with("copying", &[("application_name", "copying one")])?;
    copying.send(&query("CREATE TEMP TABLE t (a text); COPY t FROM STDIN"))?;
    copying.until(b'G')?;
    copying.send(&message::copy_data(b"row\n"))?;
    ensure!(end("copying one")? == "t");
    copying.rest()?;
    Ok(())
}

/// In mid-result, in mid-copy, in mid-message: the server notices each time.
fn leaving(way: &mut Way<'_>) -> Result<()> {
    let mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaving'";
    let open = |label| way.open_with(label, &[("application_name", "leaving")]);
    let mut reading = open("in mid-result")?;
    reading.send(&query("SELECT repeat('r', 1000) FROM generate_series(1, 10000000)"))?;
    for _ in 0..100 {
        reading.receive()?;
    }
    drop(reading);
    way.wait_admin(mine, "0")?;
    let mut copying = open("in mid-copy")?;
    copying.send(&query("CREATE TEMP TABLE t (a text); COPY t FROM STDIN"))?;
    copying.until(b'G')?;
    copying.send(&message::copy_data(b"row\n"))?;
    drop(copying);
    way.wait_admin(mine, "0")?;
    let mut speaking = open("in mid-message")?;
    speaking.send(&query("SELECT 'never ended'")[..12])?;
    drop(speaking);
    way.wait_admin(mine, "0")?;
    drop(open("at rest")?);
    way.wait_admin(mine, "0")
}

/// The answer still comes after the client has ended its side.
fn said_all(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.send(&query("SELECT n, repeat('a', 100) FROM generate_series(1, 20000) n"))?;
    one.socket()?.shutdown(Shutdown::Write)?;
    let messages = one.rest()?;
    ensure!(messages.iter().filter(|message| message.kind == b'D').count() == 20_000);
    Ok(())
}

#[test]
fn a_server_that_crashes_or_restarts() -> Result<()> {
    let mut stage = Stage::new(open_house().start()?)?;
    scenarios(&stage, &[("a backend is killed", killed)])?;
    for (signal, name) in [(libc::SIGINT, "in order"), (libc::SIGQUIT, "at once")] {
        for leg in Leg::BOTH {
            stage.together(name, leg, |direct, led| {
                let mut open = Vec::new();
                for way in [direct, led] {
                    let mut idle = way.open("idle")?;
                    let mut busy = way.open("busy")?;
                    idle.query("SELECT 1")?;
                    busy.mark("at work");
                    busy.send(&query("SELECT pg_sleep(50)"))?;
                    open.extend([idle, busy]);
                }
                let working =
                    "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(50)'";
                led.wait_admin(working, "2")?;
                sys::signal(stage.postgres.pid(), signal)?;
                open.iter_mut().try_for_each(|one| one.rest().map(drop))
            })?;
            stage.postgres.restart(libc::SIGQUIT).context(name)?;
            stage.compare("afterwards", leg, |way| {
                let mut one = way.open("one")?;
                one.query("SELECT 'back'")?;
                one.leave()
            })?;
        }
    }
    Ok(())
}

/// SIGKILL: the victim just ends, the others are told.
fn killed(way: &mut Way<'_>) -> Result<()> {
    let mut victim = way.open_with("victim", &[("application_name", "victim")])?;
    let mut witness = way.open("witness")?;
    witness.query("SELECT 1")?;
    let pid = way.admin("SELECT pid FROM pg_stat_activity WHERE application_name = 'victim'")?;
    victim.send(&query("SELECT pg_sleep(60)"))?;
    way.wait_admin(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'",
        "1",
    )?;
    sys::signal(pid.parse()?, libc::SIGKILL)?;
    victim.rest()?;
    witness.rest()?;
    way.stage.postgres.wait_back()
}
