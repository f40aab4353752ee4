//! Behind a pooler a session has no process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::pgbouncer::{Legs, Pgbouncer, Pooling};
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::scene::alone;
use tidegate_tests::wire::message;
use tidegate_tests::wire::message::{TEXT, sync};

use super::Pooled;

#[test]
fn behind_a_pooler_no_table_is_ones_own() -> Result<()> {
    let _alone = alone();
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.psql("app", "CREATE TABLE customers AS SELECT 1 AS id")?;
    let pooler = Pgbouncer::start(postgres.port(), Pooling::TURNS, &Legs::default())?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([pooler.port()]).policy("enforce"))?;
    let mut psql = Place::new().cgroup(&work).command(program("psql")?)?;
    psql.args(["-XAtq"]);
    for statement in [
        "CREATE TEMP TABLE customers AS SELECT 2 AS id",
        "DELETE FROM customers",
        "DROP TABLE customers",
        "SELECT 'after'",
    ] {
        psql.args(["-c", statement]);
    }
    let dsn = format!("host=127.0.0.1 port={} user=app password=tide dbname=app", pooler.port());
    let output = psql.arg(format!("{dsn} sslmode=disable")).output()?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(out.trim() == "after", "{out}{err}{}", agent.tail());
    ensure!(err.matches("tidegate: ").count() == 2, "{err}");
    Ok(())
}

/// Two processes of the server; each knows another statement by the same name.
#[test]
fn behind_a_pooler_a_name_is_whose_process_it_is() -> Result<()> {
    let _alone = alone();
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.psql("app", "CREATE TABLE customers AS SELECT 1 AS id")?;
    let count = || postgres.psql("app", "SELECT count(*) FROM customers");
    let pooler = Pgbouncer::start(postgres.port(), Pooling::Transaction(2), &Legs::default())?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([pooler.port()]).policy("enforce"))?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, pooler.port()));
    let mut led = Dialer::start(&Place::new().cgroup(&work))?;
    let mut one = Pooled::open(led.open(at)?)?;
    let (mut two, mut three) =
        (Pooled::open(TcpStream::connect(at)?)?, Pooled::open(TcpStream::connect(at)?)?);
    one.0.query("BEGIN")?;
    one.prepare("SELECT id FROM customers")?;
    let ours = one.process()?;
    ensure!(one.run()?.starts_with("SELECT 1"), "its own, in its transaction");
    // The other process is all that is left for the next.
    two.prepare("DELETE FROM customers")?;
    let theirs = two.process()?;
    ensure!(ours != theirs, "one process serves both: {ours}");
    one.0.query("COMMIT")?;
    // Somebody keeps the first: what comes now meets the second.
    let keeper = [&mut two, &mut three].into_iter().try_fold(false, |kept, client| {
        if kept {
            return Ok::<_, anyhow::Error>(true);
        }
        client.0.query("BEGIN")?;
        Ok(client.process()? == ours)
    })?;
    ensure!(keeper, "nobody got hold of {ours}");
    for client in [&mut two, &mut three] {
        if client.process()? != ours {
            client.0.query("ROLLBACK")?;
        }
    }
    let said = one.run()?;
    ensure!(said.starts_with("tidegate: "), "{said}\n{}", agent.tail());
    ensure!(count()?.trim() == "1", "another's statement has run");
    // What SQL prepares is no more certain.
    ensure!(one.0.query("EXECUTE s")?.iter().any(|one| one.kind == b'E'), "{}", agent.tail());
    ensure!(count()?.trim() == "1", "another's statement has run");
    // Prepared and run in one, it is its own.
    let once = message::once("SELECT id FROM customers", &[], TEXT);
    let answer = one.0.ask(&[once, sync()].concat())?;
    ensure!(answer.iter().any(|message| message.kind == b'D'), "{answer:?}");
    Ok(())
}
