//! Refusals that an agent meets on the wire: of its session, of code that runs by being
//! planned, of a function called by its number, of a portal that new policies forbid.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::drivers;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, run};
use tidegate_tests::wire::tape::Tape;
use tidegate_tests::wire::{Connection, Message, message};

struct Ground {
    // Dropped in this order: the clients, the agent, their home, the server.
    dialer: Dialer,
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Ground {
    fn new(mode: &str) -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        for made in [
            "CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 100) n",
            "CREATE FUNCTION gone() RETURNS void LANGUAGE sql AS 'DELETE FROM orders'",
            // What it is labelled as forbids it to delete, but not to call.
            "CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql IMMUTABLE AS \
             'BEGIN PERFORM gone(); RETURN 1; END'",
        ] {
            postgres.admin("app", made)?;
        }
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy(mode))?;
        let dialer = Dialer::start_with(&Place::new().cgroup(&work), &[("GEMINI_CLI", "1")])?;
        Ok(Self { dialer, agent, work, _root: root, postgres })
    }

    fn own(&self, policies: &str) -> Result<()> {
        std::fs::write(self.agent.policies().join("own.cedar"), policies)?;
        self.agent.must(&["reload"]).map(drop)
    }

    /// What a login is answered with.
    fn login(&mut self) -> Result<(Connection, Vec<Message>)> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.postgres.port()));
        let tape = Arc::new(Mutex::new(Tape::default()));
        let mut connection = Connection::new(self.dialer.open(to)?, tape)?;
        let parameters = [("user", "app"), ("database", "app")];
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        let mut said = Vec::new();
        while let Some(message) = connection.receive()? {
            let last = message.kind == b'Z';
            said.push(message);
            if last {
                break;
            }
        }
        Ok((connection, said))
    }

    fn session(&mut self) -> Result<Connection> {
        let (connection, said) = self.login()?;
        let ready = said.last().is_some_and(|last| last.kind == b'Z');
        ensure!(ready, "no session: {said:?}{}", self.agent.tail());
        Ok(connection)
    }

    fn rows(&self) -> Result<String> {
        Ok(self.postgres.admin("app", "SELECT count(*) FROM orders")?.trim().to_owned())
    }
}

fn error(said: &[Message]) -> Option<[String; 3]> {
    let error = said.iter().find(|message| message.kind == b'E')?;
    Some([b'C', b'M', b'D'].map(|field| error.field(field).unwrap_or_default()))
}

/// Refused by us, by this policy; and the session goes on.
fn is_refused(session: &mut Connection, said: &[Message], policy: &str) -> Result<()> {
    let [code, text, detail] = error(said).with_context(|| format!("no error: {said:?}"))?;
    let ours = code == "42501" && text.starts_with("tidegate: ") && detail.contains(policy);
    ensure!(ours, "{code} {text} {detail}");
    let after = session.query("SELECT 'still here'")?;
    let rests = after.last().is_some_and(|last| last.kind == b'Z' && last.body == b"I");
    ensure!(rests && error(&after).is_none(), "it doesn't go on: {after:?}");
    Ok(())
}

const NO_SESSIONS: &str = "@id(\"own/agents\") @reason(\"agents have no business here\") \
    @severity(\"high\") @advice(\"ask the team that owns it\") \
    forbid (principal in Kind::\"agent\", action == Action::\"connect\", resource);";

#[test]
fn who_may_not_connect_has_no_session() -> Result<()> {
    let mut ground = Ground::new("enforce")?;
    drop(ground.session()?);
    ground.own(NO_SESSIONS)?;
    let (_, said) = ground.login()?;
    let fatal = said.first().filter(|_| said.len() == 1).context("not one answer")?;
    let field = |field| fatal.field(field).unwrap_or_default();
    ensure!(field(b'S') == "FATAL" && field(b'C') == "42501", "{said:?}");
    ensure!(field(b'M').ends_with("is refused: agents have no business here"), "{said:?}");
    ensure!(field(b'D').starts_with("policy own/agents ("), "{said:?}");
    ensure!(field(b'H') == "ask the team that owns it", "{said:?}");
    let sessions = ground.agent.search(&["--kind", "session", "--limit", "1"])?;
    let facts = &sessions[0]["facts"];
    ensure!(facts["admission"]["refused"] == true, "{facts}");
    ensure!(facts["admission"]["policies"][0] == "own/agents", "{facts}");
    ensure!(facts["refused_login"] == "42501" && facts["role"] == "app", "{facts}");
    // Somebody else may.
    let mut psql = Place::new().cgroup(&ground.work).command("psql")?;
    psql.args(["-XAtqc", "SELECT 'in'"]).arg(ground.postgres.dsn("app"));
    ensure!(run(&mut psql)?.trim() == "in", "{}", ground.agent.tail());
    Ok(())
}

#[test]
fn in_shadow_a_session_that_would_be_refused_is_recorded() -> Result<()> {
    let mut ground = Ground::new("shadow")?;
    ground.own(NO_SESSIONS)?;
    let mut session = ground.session()?;
    ensure!(session.value("SELECT 7")? == "7", "{}", ground.agent.tail());
    let sessions = ground.agent.search(&["--kind", "session", "--limit", "1"])?;
    let facts = &sessions[0]["facts"];
    ensure!(facts["admission"]["refused"] == false, "{facts}");
    ensure!(facts["admission"]["policies"][0] == "own/agents", "{facts}");
    Ok(())
}

/// PostgreSQL runs what is labelled so when it plans: at Bind, and under EXPLAIN.
#[test]
fn code_that_runs_by_being_planned_never_gets_there() -> Result<()> {
    let mut ground = Ground::new("enforce")?;
    let mut session = ground.session()?;
    for sql in ["select wipe()", "explain select wipe()", "select 1 where wipe() = 2"] {
        let said = session.query(sql)?;
        is_refused(&mut session, &said, "default/agent-code").context(sql)?;
        let once = [message::once(sql, &[], message::TEXT), message::sync()].concat();
        let said = session.ask(&once)?;
        ensure!(!said.iter().any(|one| matches!(one.kind, b'2' | b'C' | b'D')), "{sql}: {said:?}");
        is_refused(&mut session, &said, "default/agent-code").context(sql)?;
        ensure!(ground.rows()? == "100", "{sql} was run");
    }
    // The server itself would have run it.
    ground.postgres.admin("app", "explain select wipe()")?;
    ensure!(ground.rows()? == "0", "nothing would have happened");
    Ok(())
}

#[test]
fn a_function_called_by_its_number_is_refused() -> Result<()> {
    let mut ground = Ground::new("enforce")?;
    let mut victim = ground.session()?;
    let pid = victim.value("SELECT pg_backend_pid()")?;
    let mut session = ground.session()?;
    let said =
        session.ask(&message::function_call(PG_TERMINATE_BACKEND, &[Some(pid.as_bytes())]))?;
    is_refused(&mut session, &said, "default/unknown")?;
    ensure!(victim.value("SELECT 'alive'")? == "alive", "{}", ground.agent.tail());
    Ok(())
}

const PG_TERMINATE_BACKEND: u32 = 2_096;

#[test]
fn a_portal_obeys_the_policies_of_each_execution() -> Result<()> {
    let mut ground = Ground::new("enforce")?;
    let mut session = ground.session()?;
    let begun = [
        message::parse("", "SELECT id FROM orders ORDER BY id", &[]),
        message::bind("", "", message::TEXT, &[], message::TEXT),
        message::execute("", 1),
        message::flush(),
    ];
    session.send(&begun.concat())?;
    let said = session.until(b's')?;
    ensure!(said.iter().filter(|one| one.kind == b'D').count() == 1, "{said:?}");
    ground.own(NO_ORDERS)?;
    let said = session.ask(&[message::execute("", 1), message::sync()].concat())?;
    ensure!(!said.iter().any(|one| matches!(one.kind, b'D' | b's' | b'C')), "{said:?}");
    is_refused(&mut session, &said, "own/orders").with_context(|| ground.agent.tail())
}

/// A cursor's rows are made when they are asked for, and skipped rows are made too.
#[test]
fn an_open_cursor_obeys_the_policies_of_each_fetch() -> Result<()> {
    let mut ground = Ground::new("enforce")?;
    let mut session = ground.session()?;
    let bound = [
        message::parse("", "SELECT id FROM orders ORDER BY id", &[]),
        message::bind("c", "", message::TEXT, &[], message::TEXT),
        message::sync(),
    ];
    let by_protocol = bound.concat();
    let by_sql = message::query("DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id");
    let once = |sql: &str| [message::once(sql, &[], message::TEXT), message::sync()].concat();
    for opens in [&by_sql, &by_protocol] {
        for runs in [message::query("FETCH 1 FROM c"), once("FETCH 1 FROM c"), once("MOVE 1 IN c")]
        {
            ground.own("// Nothing yet.\n")?;
            for bytes in [&message::query("BEGIN"), opens, &message::query("FETCH 1 FROM c"), &runs]
            {
                let said = session.ask(bytes)?;
                ensure!(error(&said).is_none(), "{said:?}{}", ground.agent.tail());
            }
            ground.own(NO_ORDERS)?;
            let said = session.ask(&runs)?;
            ensure!(!said.iter().any(|one| matches!(one.kind, b'D' | b'C')), "{said:?}");
            let [code, _, detail] = error(&said).with_context(|| ground.agent.tail())?;
            ensure!(code == "42501" && detail.contains("own/orders"), "{code} {detail}");
            session.query("ROLLBACK")?;
        }
    }
    ground.own("// Nothing yet.\n")?;
    for bytes in [&message::query("BEGIN"), &by_sql] {
        session.ask(bytes)?;
    }
    ground.own(NO_ORDERS)?;
    let closed = session.query("CLOSE c")?;
    ensure!(error(&closed).is_none(), "{closed:?}");
    // One that nobody knows may be of any table.
    ground.own("// Nothing yet.\n")?;
    let opened = "DECLARE d CURSOR FOR SELECT 7; SAVEPOINT s; ROLLBACK TO s";
    for sql in [opened, "FETCH 1 FROM d"] {
        let said = session.query(sql)?;
        ensure!(error(&said).is_none(), "{said:?}{}", ground.agent.tail());
    }
    ground.own(NO_ORDERS)?;
    let said = session.query("FETCH 1 FROM d")?;
    let [code, _, detail] = error(&said).with_context(|| format!("{said:?}"))?;
    ensure!(code == "42501" && detail.contains("own/orders"), "{code} {detail}");
    Ok(())
}

const NO_ORDERS: &str = "@id(\"own/orders\") @reason(\"no more\") \
    forbid (principal, action == Action::\"read\", resource is Table) \
    when { resource.name == \"orders\" };";

/// Each value that is bound decides, whether it comes as text or as bytes.
#[test]
fn what_is_bound_decides() -> Result<()> {
    let mut ground = Ground::new("enforce")?;
    ground.own(
        "@id(\"own/first\") @reason(\"only the first ten\") \
         forbid (principal, action == Action::\"delete\", resource) \
         unless { context.parameters.count == 1 && context.parameters has p1 \
                  && context.parameters.p1 has number && context.parameters.p1.number <= 10 };",
    )?;
    let mut session = ground.session()?;
    let parsed = message::parse("s", "DELETE FROM orders WHERE id = $1", &[INT4]);
    let said = session.ask(&[parsed, message::sync()].concat())?;
    ensure!(error(&said).is_none(), "{said:?}{}", ground.agent.tail());
    let bytes = |number: i32| number.to_be_bytes().to_vec();
    for (value, format, passes) in [
        (b"7".to_vec(), 0, true),
        (b"70".to_vec(), 0, false),
        (bytes(8), 1, true),
        (bytes(80), 1, false),
    ] {
        let bound = message::bind("", "s", format, &[Some(&value)], message::TEXT);
        let said = session.ask(&[bound, message::execute("", 0), message::sync()].concat())?;
        if passes {
            ensure!(error(&said).is_none(), "{value:?}: {said:?}{}", ground.agent.tail());
        } else {
            is_refused(&mut session, &said, "own/first").with_context(|| format!("{value:?}"))?;
        }
    }
    ensure!(ground.rows()? == "98", "{}", ground.rows()?);
    Ok(())
}

const INT4: u32 = 23;

#[test]
fn pools_of_node_and_java_stay_healthy() -> Result<()> {
    let ground = Ground::new("enforce")?;
    let programs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/refused");
    let folder = drivers::node()?;
    std::fs::copy(programs.join("node_pool.mjs"), folder.join("node_pool.mjs"))?;
    let inside = || Place::new().cgroup(&ground.work);
    let mut node = inside().command("node")?;
    node.arg(folder.join("node_pool.mjs"));
    let mut java = inside().command("java")?;
    java.args(["-cp", &drivers::class_path()?]).arg(programs.join("JdbcPool.java"));
    for mut command in [node, java] {
        command.env("PGHOST", "127.0.0.1").env("PGPORT", ground.postgres.port().to_string());
        command.env("PGUSER", "app").env("PGDATABASE", "app").env("PGPASSWORD", "tide");
        let said = run(&mut command).with_context(|| ground.agent.tail())?;
        // Each time on the pool's one connection.
        let expected = "42501 100\n42501 100\n42501 100\ntransaction 42501 25P02 100\nsame true\n";
        ensure!(said == expected, "{command:?}: {said}{}", ground.agent.tail());
    }
    ensure!(ground.rows()? == "100", "{}", ground.rows()?);
    Ok(())
}
