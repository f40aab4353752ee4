//! A newer server: TLS from the first byte, protocol 3.2, long keys.

use anyhow::{Context, Result, ensure};
use tidegate_tests::diff::{Leg, Stage, Way, trusted};
use tidegate_tests::newer;
use tidegate_tests::postgres::program;
use tidegate_tests::wire::Connection;
use tidegate_tests::wire::{message, tls};

use super::open_house;

#[test]
fn a_newer_server() -> Result<()> {
    let stage = Stage::new(open_house().newer().start()?)?;
    let version = stage.postgres.admin("app", "SHOW server_version_num")?;
    ensure!(version.trim().parse::<u32>()? >= 180_000, "it is {version}");
    for leg in Leg::BOTH {
        stage.compare("long keys", leg, long_keys)?;
    }
    for (name, scenario) in [
        ("TLS from the first byte", direct as fn(&mut Way<'_>) -> Result<()>),
        ("no ALPN", unnamed),
    ] {
        stage.compare(name, Leg::Plain, scenario)?;
    }
    // libpq's own words for both.
    for more in [
        "sslmode=require sslnegotiation=direct",
        "sslmode=require sslnegotiation=direct max_protocol_version=3.2 min_protocol_version=3.2",
        "sslmode=disable max_protocol_version=latest",
    ] {
        stage.compare(more, Leg::Plain, |way| psql(way, more))?;
    }
    stage.compare("verified in full", Leg::Plain, |way| {
        let roots = trusted(way.stage, way.led)?;
        let more = "host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslnegotiation=direct";
        psql(way, &format!("{more} sslrootcert={}", roots.display()))
    })?;
    for (name, scenario) in super::simple::SCENARIOS.iter().chain(super::extended::SCENARIOS) {
        stage.compare(name, Leg::Tls, scenario)?;
    }
    Ok(())
}

fn psql(way: &Way<'_>, more: &str) -> Result<()> {
    let mut psql = way.command(program("psql")?)?;
    newer::libpq(&mut psql)?;
    psql.args(["-XAtc", "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]);
    psql.arg(format!("{} {more}", way.dsn("app")));
    let said = way.tool("psql", &mut psql)?;
    ensure!(said.starts_with(if more.contains("disable") { "f" } else { "t" }), "{said}");
    Ok(())
}

const APP: [(&str, &str); 2] = [("user", "app"), ("database", "app")];

/// With protocol 3.2 a key has 32 bytes; each of them counts.
fn long_keys(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.secured("one")?;
    one.send(&message::startup((3 << 16) + 2, &APP))?;
    one.until(b'Z')?;
    ensure!(one.key.len() == 32, "a key of {} bytes", one.key.len());
    let mut wrong = one.key.clone();
    wrong[31] ^= 1;
    let short = one.key[..4].to_vec();
    for key in [wrong, short] {
        one.mark("another key cancels nothing");
        one.send(&message::query("SELECT pg_sleep(0.4)"))?;
        sleeps(way)?;
        herald(way, &one, &key)?;
        let messages = one.until(b'Z')?;
        ensure!(messages.iter().any(|it| it.kind == b'D'), "{messages:?}");
    }
    one.mark("to be cancelled");
    one.send(&message::query("SELECT pg_sleep(30)"))?;
    sleeps(way)?;
    let key = one.key.clone();
    herald(way, &one, &key)?;
    let messages = one.until(b'Z')?;
    ensure!(messages.iter().any(|it| it.field(b'C').as_deref() == Some("57014")), "{messages:?}");
    one.leave()
}

fn sleeps(way: &Way<'_>) -> Result<()> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE \
               'SELECT pg_sleep(%'";
    way.wait_admin(sql, "1")
}

fn herald(way: &Way<'_>, one: &Connection, key: &[u8]) -> Result<()> {
    let mut herald = way.secured("a cancel")?;
    herald.send(&message::cancel(one.pid, key))?;
    herald.rest()?;
    Ok(())
}

/// No request before it: both sides name the protocol instead.
fn direct(way: &mut Way<'_>) -> Result<()> {
    let terms = tls::Terms::any()?.protocols(&["postgresql"]);
    let mut one = way.dial("one")?;
    one.secure(&terms)?;
    ensure!(one.protocol()?.as_deref() == Some(b"postgresql".as_slice()), "another protocol");
    one.send(&message::startup((3 << 16) + 2, &APP))?;
    one.until(b'Z')?;
    let encrypted = one.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")?;
    ensure!(encrypted == "t", "the server's leg has no TLS");
    one.mark("to be cancelled");
    one.send(&message::query("SELECT pg_sleep(30)"))?;
    sleeps(way)?;
    let mut herald = way.dial("a cancel")?;
    herald.secure(&terms)?;
    herald.send(&message::cancel(one.pid, &one.key))?;
    herald.rest()?;
    one.until(b'Z')?;
    one.leave()
}

/// Who names no protocol, or another one, is turned down as the server does it.
fn unnamed(way: &mut Way<'_>) -> Result<()> {
    for protocols in [&[][..], &["http/1.1"]] {
        let mut one = way.dial(&format!("{protocols:?}"))?;
        let terms = tls::Terms::any()?.protocols(protocols);
        let refused = match one.secure(&terms) {
            Err(_) => true,
            Ok(()) => {
                one.send_anyway(&message::startup(message::PROTOCOL, &APP));
                !one.rest()?.iter().any(|it| it.kind == b'Z')
            }
        };
        ensure!(refused, "{protocols:?} was let in");
    }
    way.open("afterwards").context("nobody is let in any more")?.leave()
}
