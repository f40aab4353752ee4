//! Sessions whose server is a pooler: what they may lean on.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::pgbouncer::{Legs, Pgbouncer, Pooling};
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::wire::Connection;
use tidegate_tests::wire::message::{self, TEXT, bind, execute, parse, sync};

#[test]
fn behind_a_pooler_no_table_is_ones_own() -> Result<()> {
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

/// A client of the pool's, on a connection of the process that the dialer is.
struct Pooled(Connection);

impl Pooled {
    fn open(stream: TcpStream) -> Result<Self> {
        let mut connection = Connection::new(stream, Arc::default())?;
        let parameters = [("user", "app"), ("database", "app")];
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        connection.login("app", "tide")?;
        Ok(Self(connection))
    }

    /// Which process of the server is behind it now.
    fn process(&mut self) -> Result<String> {
        self.0.value("SELECT pg_backend_pid()")
    }

    /// Prepares a text under the name of the others.
    fn prepare(&mut self, text: &str) -> Result<()> {
        let answer = self.0.ask(&[parse("s", text, &[]), sync()].concat())?;
        ensure!(answer.iter().any(|message| message.kind == b'1'), "{answer:?}");
        Ok(())
    }

    /// Runs what goes by that name, and says how it ended.
    fn run(&mut self) -> Result<String> {
        let run = [bind("", "s", TEXT, &[], TEXT), execute("", 0), sync()].concat();
        let answer = self.0.ask(&run)?;
        let end = answer.iter().find(|message| matches!(message.kind, b'C' | b'E'));
        let end = end.context("it had no end")?;
        Ok(end.field(b'M').unwrap_or_else(|| String::from_utf8_lossy(&end.body).into_owned()))
    }
}

/// Two processes of the server; each knows another statement by the same name.
#[test]
fn behind_a_pooler_a_name_is_whose_process_it_is() -> Result<()> {
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

/// A server of one's own is asked once, and names stay what they are.
#[test]
fn what_a_session_has_prepared_is_run_again_and_again() -> Result<()> {
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.psql("app", "CREATE TABLE customers AS SELECT 1 AS id")?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy("enforce"))?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port()));
    let mut led = Dialer::start(&Place::new().cgroup(&work))?;
    let mut one = Pooled::open(led.open(at)?)?;
    one.prepare("SELECT id FROM customers")?;
    for _ in 0..3 {
        let said = one.run()?;
        ensure!(said.starts_with("SELECT 1"), "{said}\n{}", agent.tail());
    }
    one.0.query("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM customers")?;
    let rows = one.0.query("FETCH ALL FROM c")?;
    ensure!(rows.iter().any(|message| message.kind == b'D'), "{rows:?}");
    ensure!(one.0.value("SELECT count(*) FROM pg_prepared_statements")? == "1", "ours is left");
    Ok(())
}

/// A pooler, and before it an agent that is told this of it.
struct Before {
    postgres: Postgres,
    pooler: Pgbouncer,
    agent: Agent,
    led: Dialer,
    _root: Cgroup,
    _work: Cgroup,
}

impl Before {
    fn start(pooling: Pooling, said: &str) -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        postgres.psql("app", "CREATE TABLE customers AS SELECT 1 AS id")?;
        let pooler = Pgbouncer::start(postgres.port(), pooling, &Legs::default())?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let none: [u16; 0] = [];
        let protect = format!("[[protect]]\nto = {}\npooling = \"{said}\"\n", pooler.port());
        let agent = Agent::start(&root, Plan::postgres(none).policy("enforce").setting(&protect))?;
        let led = Dialer::start(&Place::new().cgroup(&work))?;
        Ok(Self { postgres, pooler, agent, led, _root: root, _work: work })
    }

    /// A session through the agent.
    fn open(&mut self) -> Result<Pooled> {
        Pooled::open(self.led.open(self.at())?)
    }

    /// One that it knows nothing of.
    fn beside(&self) -> Result<Pooled> {
        Pooled::open(TcpStream::connect(self.at())?)
    }

    fn at(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.pooler.port()))
    }

    fn customers(&self) -> Result<String> {
        Ok(self.postgres.psql("app", "SELECT count(*) FROM customers")?.trim().to_owned())
    }

    /// Why the settings were doubted, once in each session that did.
    fn doubted(&self) -> Result<Vec<String>> {
        let records = self.agent.exported("10m")?;
        let doubted = records.iter().filter(|record| record["kind"] == "doubted");
        Ok(doubted.map(|record| record["doubted"]["why"].to_string()).collect())
    }
}

impl Pooled {
    /// Whether what this asks is answered, and not refused.
    fn takes(&mut self, sql: &str) -> Result<bool> {
        Ok(self.0.query(sql)?.iter().all(|message| message.kind != b'E'))
    }
}

#[test]
fn where_the_settings_say_that_a_session_keeps_its_server_names_and_tables_are_its_own()
-> Result<()> {
    for (said, kept) in [("session", true), ("auto", false)] {
        let mut before = Before::start(Pooling::Session, said)?;
        // More than there are processes in the pool, one after the other.
        for round in 0..3 {
            let (mut one, mut two) = (before.open()?, before.open()?);
            one.prepare("SELECT id FROM customers")?;
            two.prepare("SELECT 'another'")?;
            for _ in 0..5 {
                let (said, other) = (one.run()?, two.run()?);
                let ran = said.starts_with("SELECT 1") && other.starts_with("SELECT 1");
                ensure!(ran == kept, "{round}: {said} {other}\n{}", before.agent.tail());
            }
            ensure!(one.takes("CREATE TEMP TABLE customers AS SELECT 2 AS id")?, "temporary");
            ensure!(one.takes("DELETE FROM customers")? == kept, "{round}");
            ensure!(!two.takes("DELETE FROM customers")?, "everybody's");
            ensure!(before.customers()? == "1", "everybody's table was meant");
            one.0.leave()?;
            two.0.leave()?;
        }
        ensure!(before.doubted()?.is_empty(), "{:?}", before.doubted()?);
    }
    Ok(())
}

/// The pooler gives a session another process than the one that it has named things at.
#[test]
fn a_session_that_is_said_to_keep_its_server_and_does_not_is_doubted_and_recorded() -> Result<()> {
    let mut before = Before::start(Pooling::Transaction(2), "session")?;
    let mut one = before.open()?;
    let (mut two, mut three) = (before.beside()?, before.beside()?);
    one.0.query("BEGIN")?;
    one.prepare("SELECT id FROM customers")?;
    let ours = one.process()?;
    ensure!(one.run()?.starts_with("SELECT 1"), "its own, in its transaction");
    two.prepare("DELETE FROM customers")?;
    ensure!(two.process()? != ours, "one process serves both: {ours}");
    one.0.query("COMMIT")?;
    // Whoever gets our process keeps it.
    for client in [&mut two, &mut three] {
        client.0.query("BEGIN")?;
        if client.process()? != ours {
            client.0.query("ROLLBACK")?;
        }
    }
    for _ in 0..3 {
        let said = one.run()?;
        ensure!(said.starts_with("tidegate: "), "{said}\n{}", before.agent.tail());
    }
    ensure!(before.customers()? == "1", "another's statement has run");
    let why = before.doubted()?;
    ensure!(why.len() == 1 && why[0].contains("another process of the server"), "{why:?}");
    // Prepared and run in one, it is its own.
    let once = message::once("SELECT id FROM customers", &[], TEXT);
    let answer = one.0.ask(&[once, sync()].concat())?;
    ensure!(answer.iter().any(|message| message.kind == b'D'), "{answer:?}");
    Ok(())
}

/// One process for all is always the same one; that two have it at once gives it away.
#[test]
fn two_sessions_at_one_process_are_both_doubted_and_recorded() -> Result<()> {
    let mut before = Before::start(Pooling::TURNS, "session")?;
    let (mut one, mut two) = (before.open()?, before.open()?);
    one.prepare("SELECT id FROM customers")?;
    ensure!(one.run()?.starts_with("SELECT 1"), "nobody else has come yet");
    ensure!(two.takes("CREATE TEMP TABLE customers AS SELECT 2 AS id")?, "temporary");
    // What is there by that name is this one's, or everybody's: nobody can say.
    ensure!(!two.takes("DELETE FROM customers")?, "{}", before.agent.tail());
    let said = one.run()?;
    ensure!(said.starts_with("tidegate: "), "{said}\n{}", before.agent.tail());
    let why = before.doubted()?;
    ensure!(why.len() == 2 && why.iter().all(|why| why.contains("another session")), "{why:?}");
    Ok(())
}
