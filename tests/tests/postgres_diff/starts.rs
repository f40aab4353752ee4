//! How a connection begins: encryption asked for, versions, refusals, cancels.

use std::net::Shutdown;

use anyhow::{Result, ensure};
use tidegate_tests::diff::{Leg, Stage, Way};
use tidegate_tests::postgres::Postgres;
use tidegate_tests::wire::{message, tls};

use super::{Scenario, open_house, scenarios};

#[test]
fn starts() -> Result<()> {
    let stage = Stage::new(open_house().start()?)?;
    scenarios(
        &stage,
        &[
            ("versions", versions),
            ("refused starts", refused),
            ("replication's own commands", replication),
        ],
    )?;
    for (name, scenario) in [
        ("direct TLS", direct_tls as Scenario),
        ("broken starts", broken),
        ("the longest starts", longest),
        ("GSS encryption", gss),
        ("words before TLS", early_words),
    ] {
        stage.compare(name, Leg::Plain, scenario)?;
    }
    Ok(())
}

const APP: [(&str, &str); 2] = [("user", "app"), ("database", "app")];

fn versions(way: &mut Way<'_>) -> Result<()> {
    // The last three are to be refused.
    for version in [3 << 16, (3 << 16) + 2, (3 << 16) + 9999, 2 << 16, 4 << 16, 1] {
        let mut one = way.secured(&format!("{}.{}", version >> 16, version & 0xffff))?;
        one.send(&message::startup(version, &APP))?;
        if version >> 16 == 3 {
            one.until(b'Z')?;
            one.query("SELECT 1")?;
            one.leave()?;
        } else {
            one.rest()?;
        }
    }
    // No database is the user's own, and so is an empty one.
    for database in [&[("database", "")][..], &[]] {
        let mut one = way.secured(&format!("the user's own of {}", database.len()))?;
        one.send(&message::startup(3 << 16, &[&[("user", "app")], database].concat()))?;
        one.until(b'Z')?;
        one.query("SELECT current_database()")?;
        one.leave()?;
    }
    let mut one = way.secured("options of a later protocol")?;
    let more = [("_pq_.unheard", "of"), ("_pq_.second", "")];
    one.send(&message::startup((3 << 16) + 1, &[&APP[..], &more].concat()))?;
    one.until(b'Z')?;
    one.leave()
}

fn refused(way: &mut Way<'_>) -> Result<()> {
    for (label, parameters) in [
        ("no such database", [("user", "app"), ("database", "none")].as_slice()),
        ("no such role", &[("user", "nobody"), ("database", "app")]),
        ("no user", &[("database", "app")]),
        ("a bad setting", &[("user", "app"), ("database", "app"), ("DateStyle", "wrong")]),
        ("an unknown setting", &[("user", "app"), ("database", "app"), ("no_such", "x")]),
        ("bad options", &[("user", "app"), ("database", "app"), ("options", "-c nothing=1")]),
        ("a bad encoding", &[("user", "app"), ("database", "app"), ("client_encoding", "EBCDIC")]),
    ] {
        let mut one = way.secured(label)?;
        one.send(&message::startup(message::PROTOCOL, parameters))?;
        let messages = one.rest()?;
        ensure!(messages.last().is_some_and(|last| last.kind == b'E'), "{label}: {messages:?}");
    }
    Ok(())
}

fn replication(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open_with("one", &[("replication", "database")])?;
    for line in ["SHOW wal_level", "SELECT 1", "CREATE_REPLICATION_SLOT", "IDENTIFY_SYSTEM extra"] {
        one.query(line)?;
    }
    one.leave()?;
    let mut two = way.open_with("two", &[("replication", "true")])?;
    two.query("TIMELINE_HISTORY 7")?;
    two.query("SELECT 1")?;
    two.leave()
}

/// A server of before 17 takes it for a broken startup.
fn direct_tls(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.dial("one")?;
    let outcome = one.secure(&tls::Terms::any()?.protocols(&["postgresql"]));
    ensure!(outcome.is_err(), "it was accepted");
    Ok(())
}

fn broken(way: &mut Way<'_>) -> Result<()> {
    for (label, bytes) in [
        ("a length that is too small", [0, 0, 0, 3, 0, 3, 0, 0].as_slice()),
        ("a length that is too large", &[0x7f, 0, 0, 0, 0, 3, 0, 0]),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: db\r\n\r\n"),
        ("parameters without an end", &[0, 0, 0, 13, 0, 3, 0, 0, b'u', b's', b'e', b'r', b'x']),
        ("a part of a startup", &[0, 0, 0, 50, 0, 3]),
        ("a part of a length", &[0, 0]),
        ("nothing", &[]),
    ] {
        let mut one = way.dial(label)?;
        one.send_anyway(bytes);
        one.socket()?.shutdown(Shutdown::Write)?;
        one.rest()?;
    }
    Ok(())
}

/// The server takes so much and not a byte more.
fn longest(way: &mut Way<'_>) -> Result<()> {
    for (label, length) in [("as long as may be", 10_000), ("a byte more", 10_001)] {
        let short = message::startup(message::PROTOCOL, &[APP[0], APP[1], ("options", "")]);
        let options = " ".repeat(length + 4 - short.len());
        let mut one = way.dial(label)?;
        one.send_anyway(&message::startup(
            message::PROTOCOL,
            &[APP[0], APP[1], ("options", &options)],
        ));
        if length == 10_000 {
            one.until(b'Z')?;
            one.leave()?;
        } else {
            one.rest()?;
        }
    }
    Ok(())
}

/// Who ends TLS cannot carry GSS on. It may say `N` where the server says `G`;
/// either way the client gets in as libpq would.
fn gss(way: &mut Way<'_>) -> Result<()> {
    let mut asking = way.apart()?;
    asking.send(&message::untyped(message::GSS, &[]))?;
    let answer = asking.byte()?;
    ensure!(matches!(answer, Some(b'G' | b'N')), "{answer:?}");
    let label = "after GSS";
    if answer == Some(b'N') {
        ensure!(asking.ask_for_tls(&tls::Terms::any()?)?, "no TLS after GSS");
        asking.send(&message::startup(message::PROTOCOL, &APP))?;
        asking.until(b'Z')?;
        asking.leave()?;
    }
    way.open(label)?.leave()
}

/// What is said in clear after a request for TLS must never count as said
/// within it (CVE-2021-23214).
fn early_words(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.apart()?;
    let early = message::startup(message::PROTOCOL, &APP);
    one.send(&[message::untyped(message::TLS, &[]), early].concat())?;
    one.byte()?;
    if one.secure(&tls::Terms::any()?).is_ok() {
        let messages = one.rest()?;
        let entered = messages.iter().any(|message| message.kind == b'Z');
        ensure!(!entered, "words in clear were taken for the client's: {messages:?}");
    }
    way.open("afterwards")?.leave()
}

#[test]
fn a_server_without_tls_says_so() -> Result<()> {
    let stage = Stage::new(Postgres::setup().auth("trust").start()?)?;
    stage.compare("TLS refused", Leg::Plain, |way| {
        let mut one = way.dial("one")?;
        ensure!(!one.ask_for_tls(&tls::Terms::any()?)?, "it has TLS");
        // Twice is an error.
        one.send(&message::startup(message::PROTOCOL, &APP))?;
        one.until(b'Z')?;
        one.query("SELECT 1")?;
        one.leave()
    })
}

#[test]
fn too_many_connections() -> Result<()> {
    let stage = Stage::new(open_house().setting("max_connections=4").start()?)?;
    scenarios(
        &stage,
        &[("too many connections", |way| {
            way.wait_admin(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
                "1",
            )?;
            let held: Vec<_> =
                (0..4).map(|n| way.open(&format!("held {n}"))).collect::<Result<_>>()?;
            let (mut extra, messages) = way.enter("one too many", "app", "tide", &[])?;
            let code = messages.last().and_then(|message| message.field(b'C'));
            ensure!(code.as_deref() == Some("53300"), "{messages:?}");
            extra.rest()?;
            held.into_iter().try_for_each(|one| one.leave())
        })],
    )
}

#[test]
fn cancels() -> Result<()> {
    let stage = Stage::new(open_house().start()?)?;
    scenarios(&stage, &[("cancels", cancel)])
}

fn cancel(way: &mut Way<'_>) -> Result<()> {
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE \
                   'SELECT pg_sleep(3%'";
    let mut one = way.open("one")?;
    let mut other = way.open("other")?;
    // Plain and over TLS, whatever the session's own leg is.
    for (round, secured) in [false, true].into_iter().enumerate() {
        for extended in [false, true] {
            one.mark("to be cancelled");
            let sql = "SELECT pg_sleep(30)";
            if extended {
                let once = message::once(sql, &[], message::TEXT);
                one.send(&[once, message::sync()].concat())?;
            } else {
                one.send(&message::query(sql))?;
            }
            way.wait_admin(running, "1")?;
            let mut herald = way.dial(&format!("cancel {round} {extended}"))?;
            if secured {
                ensure!(herald.ask_for_tls(&tls::Terms::any()?)?, "no TLS");
            }
            herald.send(&message::cancel(one.pid, &one.key))?;
            herald.rest()?;
            let messages = one.until(b'Z')?;
            let cancelled = messages.iter().any(|it| it.field(b'C').as_deref() == Some("57014"));
            ensure!(cancelled, "{messages:?}");
        }
    }
    one.mark("a wrong key cancels nothing");
    one.send(&message::query("SELECT pg_sleep(3.01 - 2.5)"))?;
    way.wait_admin(running, "1")?;
    let wrong: Vec<u8> = one.key.iter().map(|byte| byte ^ 0x55).collect();
    let mut herald = way.dial("a wrong key")?;
    herald.send(&message::cancel(one.pid, &wrong))?;
    herald.rest()?;
    one.until(b'Z')?;
    one.mark("nor does another session's");
    one.send(&message::query("SELECT pg_sleep(3.01 - 2.5)"))?;
    way.wait_admin(running, "1")?;
    let mut herald = way.dial("another session's key")?;
    herald.send(&message::cancel(other.pid, &other.key))?;
    herald.rest()?;
    one.until(b'Z')?;
    other.query("SELECT 'not mine'")?;
    one.leave()?;
    other.leave()
}
