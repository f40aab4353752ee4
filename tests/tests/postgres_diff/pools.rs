//! PgBouncer as what the agent takes for the server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::certificates::{Authority, Key};
use tidegate_tests::diff::{Leg, Stage, Way, to_the_end, trusted};
use tidegate_tests::folder::TempFolder;
use tidegate_tests::pgbouncer::{Legs, Pgbouncer, Pooling};
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::wire::message::{
    self, TEXT, bind, close, copy_data, copy_done, execute, once, parse, query, sync,
};

#[test]
fn pooled_by_pgbouncer() -> Result<()> {
    let folder = TempFolder::fresh()?;
    let authority = Authority::fresh()?;
    let pair = authority.server(folder.path(), &["localhost", "127.0.0.1"], Key::P256)?;
    for pooling in [Pooling::Session, Pooling::TURNS] {
        for leg in Leg::BOTH {
            let postgres = Postgres::setup().auth("scram-sha-256").start()?;
            postgres.admin("app", "CREATE TABLE c (id int)")?;
            let client = (leg == Leg::Tls).then(|| pair.clone());
            let legs = Legs { client, server: false };
            let pgbouncer = Pgbouncer::start(postgres.port(), pooling, &legs)?;
            let stage = Stage::before(postgres, pgbouncer.port())?;
            stage
                .compare(&format!("{pooling:?}"), leg, |way| pooled(way, pooling))
                .with_context(|| pgbouncer.log())?;
        }
    }
    Ok(())
}

/// TLS on each of the three legs, and the server takes nothing else.
#[test]
fn pooled_with_tls_towards_the_pool_and_the_server() -> Result<()> {
    let folder = TempFolder::fresh()?;
    for pooling in [Pooling::Session, Pooling::TURNS] {
        let setup = Postgres::setup().tls(Key::P256);
        let postgres = setup.rule("hostssl all all all scram-sha-256").start()?;
        postgres.admin("app", "CREATE TABLE c (id int)")?;
        let authority = postgres.authority().context("no authority")?;
        let pair = authority.server(folder.path(), &["localhost", "127.0.0.1"], Key::P256)?;
        let legs = Legs { client: Some(pair), server: true };
        let pgbouncer = Pgbouncer::start(postgres.port(), pooling, &legs)?;
        let stage = Stage::before(postgres, pgbouncer.port())?;
        let name = format!("{pooling:?}, TLS throughout");
        stage
            .compare(&name, Leg::Tls, |way| pooled(way, pooling))
            .with_context(|| pgbouncer.log())?;
        stage
            .compare(&name, Leg::Verified, |way| {
                let mut psql = way.command(program("psql")?)?;
                psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1"]);
                for sql in [
                    "CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT 1",
                    "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                    "\\copy (SELECT generate_series(1, 5)) TO STDOUT",
                    "SELECT 1/0",
                ] {
                    psql.args(["-c", sql]);
                }
                psql.arg(way.dsn("app")).env("PGSSLROOTCERT", trusted(&stage, way.led)?);
                let output = to_the_end(&mut psql, Duration::from_secs(60))?;
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                ensure!(said.starts_with("t|TLSv1.3\n1\n2\n") && said.contains("zero"), "{said}");
                way.said("psql", said);
                Ok(())
            })
            .with_context(|| pgbouncer.log())?;
        let mut plain = std::process::Command::new(program("psql")?);
        plain.args(["-XAtqc", "SELECT 1"]).arg(stage.postgres.dsn("app") + " sslmode=disable");
        ensure!(!plain.output()?.status.success(), "the server takes what isn't TLS");
    }
    Ok(())
}

fn pooled(way: &mut Way<'_>, pooling: Pooling) -> Result<()> {
    let mut one = way.open("one")?;
    let mut two = way.open("two")?;
    for sql in ["SELECT 1; SELECT 2", "SELECT 1/0", "", "SET application_name = 'first'"] {
        one.query(sql)?;
        two.query(sql)?;
    }
    // With one server for all, what one sets another sees.
    two.query("SET application_name = 'second'")?;
    one.query("SHOW application_name")?;
    one.query("BEGIN")?;
    one.query("SELECT 1/0")?;
    one.query("ROLLBACK")?;
    two.query("TRUNCATE c")?;
    two.send(&query("COPY c FROM STDIN"))?;
    two.until(b'G')?;
    two.send(&copy_data(b"1\n2\n"))?;
    two.ask(&copy_done())?;
    one.query("COPY c TO STDOUT")?;
    one.ask(&[once("SELECT $1::int + 1", &[Some(b"1")], TEXT), sync()].concat())?;
    one.ask(&[parse("s", "SELECT 'mine'", &[]), sync()].concat())?;
    if pooling == Pooling::TURNS {
        // Not the session's, but the server's.
        two.ask(&[bind("", "s", TEXT, &[], TEXT), execute("", 0), sync()].concat())?;
        two.ask(&[close(b'S', "s"), sync()].concat())?;
    }
    one.ask(&[bind("", "s", TEXT, &[], TEXT), execute("", 0), sync()].concat())?;
    one.query("DEALLOCATE ALL")?;
    one.send(&query("SELECT pg_sleep(30)"))?;
    way.wait_admin("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'", "1")?;
    let mut herald = way.dial("a cancel")?;
    herald.send(&message::cancel(one.pid, &one.key))?;
    herald.rest()?;
    one.until(b'Z')?;
    one.query("DISCARD ALL")?;
    one.leave()?;
    two.leave()?;
    // PgBouncer's own console, and a database that is nowhere.
    let mut nowhere = way.secured("nowhere")?;
    let parameters = [("user", "app"), ("database", "nowhere")];
    nowhere.send(&message::startup(message::PROTOCOL, &parameters))?;
    nowhere.rest()?;
    Ok(())
}
