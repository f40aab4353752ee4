//! Every trick of `tests/corpora/evasion`, played by an AI agent on a real PostgreSQL
//! behind the real agent: what is refused has changed nothing, and what may pass does.
//!
//! `evasion.rs` is about ways around the kernel's hooks; this about ways around words.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::agent::{Agent, Observer, Plan};
use tidegate_tests::catalog::Catalog;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::scene::alone;
use tidegate_tests::wire::tape::Tape;
use tidegate_tests::wire::{Connection, Message, message};
use toml_edit::DocumentMut;

/// What most of the corpus is aimed at, so that it would hit if it were let.
const VICTIMS: &str = r#"
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, x int, a int, b int, deleted bool DEFAULT false);
INSERT INTO customers SELECT n, 'c' || n, 'c' || n || '@example.com', n, n, n FROM generate_series(1, 100) n;
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, total int, cid int, name text, x int, created_at timestamptz);
INSERT INTO orders SELECT n, n, n FROM generate_series(1, 100) n;
CREATE TABLE t (id int, a int, b int, x int, d date, data jsonb);
INSERT INTO t SELECT n, n, n, n FROM generate_series(1, 100) n;
CREATE TABLE s AS SELECT * FROM customers; CREATE TABLE x AS SELECT * FROM t;
CREATE TABLE log (a text); CREATE TABLE audit (delete int, "update" int); INSERT INTO audit VALUES (1, 2);
CREATE TABLE "Customers" AS SELECT * FROM customers; CREATE TABLE "drop table" AS SELECT 1 AS a;
CREATE VIEW v AS SELECT * FROM customers; CREATE MATERIALIZED VIEW mv AS SELECT * FROM customers;
CREATE INDEX i ON customers (name); CREATE SEQUENCE seq;
CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM f(); RETURN 1; END';
CREATE FUNCTION uuidv7() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE FUNCTION json_value(text, text) RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE PROCEDURE p() LANGUAGE sql AS 'DELETE FROM orders';
CREATE ROLE bob; CREATE ROLE alice LOGIN; CREATE SCHEMA evil; CREATE SCHEMA sales;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.orders; RETURN $1; END';
CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN d AS int;
CREATE TABLE sales.customers AS SELECT * FROM customers;
CREATE FUNCTION initcap(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE FUNCTION gone(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN $1; END';
CREATE AGGREGATE bit_and(text) (sfunc = gone, stype = text);
CREATE OPERATOR # (leftarg = text, rightarg = text, function = gone);
CREATE FUNCTION fine(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN true; END';
CREATE DOMAIN checked AS int CHECK (fine(VALUE)); CREATE DOMAIN over AS checked; CREATE TYPE holder AS (c checked);
CREATE DOMAIN positive AS int CHECK (VALUE > 0 AND length(VALUE::text) < 10);
CREATE TYPE healed AS ENUM ('well');
CREATE FUNCTION heal(int) RETURNS healed LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN ''well''; END';
CREATE CAST (int AS healed) WITH FUNCTION heal(int);
CREATE FUNCTION worth(healed) RETURNS real LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE CAST (healed AS real) WITH FUNCTION worth(healed) AS IMPLICIT;
CREATE TABLE patients AS SELECT 'well'::healed AS state, 1 AS id;
GRANT SELECT ON customers TO bob;
"#;

struct Case {
    place: String,
    sql: String,
    verdict: String,
    /// Settings of the session, and whether they are sent together with the text.
    before: Vec<String>,
    at_once: bool,
    server_major: Option<i64>,
}

fn cases() -> Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora/evasion");
    let mut paths =
        std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let document: DocumentMut = std::fs::read_to_string(&path)?.parse()?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let tables = document["case"].as_array_of_tables().context("no cases")?;
        for (number, table) in tables.iter().enumerate() {
            let text = |key: &str| table.get(key).and_then(|item| item.as_str());
            let mut before = Vec::new();
            if matches!(text("strings"), Some("escaping" | "uncertain")) {
                before.push("SET standard_conforming_strings = off".to_owned());
            }
            before.extend(text("encoding").map(|name| format!("SET client_encoding = '{name}'")));
            before.extend(text("search_path").map(|path| format!("SET search_path = {path}")));
            all.push(Case {
                place: format!("{name} {}", number + 1),
                sql: text("sql").context("no sql")?.to_owned(),
                verdict: text("verdict").context("no verdict")?.to_owned(),
                at_once: text("strings") == Some("uncertain"),
                before,
                server_major: table.get("server_major").and_then(|item| item.as_integer()),
            });
        }
    }
    Ok(all)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Simple,
    Extended,
}

struct Theatre {
    // Dropped in this order: whoever looks, the clients, the agent.
    observer: Observer,
    dialer: Dialer,
    agent: Agent,
    _work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Theatre {
    fn open() -> Result<Self> {
        let setup = Postgres::setup().auth("trust").setting("max_prepared_transactions=10");
        let postgres = setup.setting("statement_timeout=20s").setting("autovacuum=off").start()?;
        postgres.admin("app", VICTIMS)?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy("enforce"))?;
        let observer = agent.observe()?;
        let place = Place::new().cgroup(&work);
        let dialer = Dialer::start_with(&place, &[("GEMINI_CLI", "1")])?;
        Ok(Self { observer, dialer, agent, _work: work, _root: root, postgres })
    }

    fn session(&mut self) -> Result<Connection> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.postgres.port()));
        let stream = self.dialer.open(to)?;
        enter(stream).with_context(|| self.agent.tail())
    }

    /// That the clients are what the verdicts are stated for.
    fn is_played_by_an_agent(&self) -> Result<()> {
        let pid = self.dialer.pid();
        let opened = self.observer.wait_for("the opening", Duration::from_secs(20), |event| {
            event.event == "opened" && event.whose().is_some_and(|who| who.key.tgid == pid)
        })?;
        let flow = opened.flow.context("an opening without a flow")?;
        ensure!(flow.actor.kind == "agent", "{:?}", flow.actor);
        Ok(())
    }
}

/// Past every gate.
fn direct(postgres: &Postgres) -> Result<Connection> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres.port()))?;
    enter(stream)
}

fn enter(stream: TcpStream) -> Result<Connection> {
    let mut connection = Connection::new(stream, Arc::new(Mutex::new(Tape::default())))?;
    let parameters = [("user", "app"), ("database", "app")];
    connection.send(&message::startup(message::PROTOCOL, &parameters))?;
    let said = connection.login("app", "tide")?;
    ensure!(said.last().is_some_and(|last| last.kind == b'Z'), "no session: {said:?}");
    Ok(connection)
}

/// Sends a text, and takes all that is answered, up to the last ReadyForQuery.
fn play(session: &mut Connection, case: &Case, protocol: Protocol) -> Result<Vec<Message>> {
    let text = match protocol {
        Protocol::Simple => message::query(&case.sql),
        Protocol::Extended => {
            [message::once(&case.sql, &[], message::TEXT), message::sync()].concat()
        }
    };
    let mut left = 1;
    if case.at_once {
        let before: Vec<u8> = case.before.iter().flat_map(|one| message::query(one)).collect();
        left += case.before.len();
        session.send(&[before, text].concat())?;
    } else {
        for one in &case.before {
            ensure!(error(&session.query(one)?).is_none(), "{one} failed");
        }
        session.send(&text)?;
    }
    let mut all = Vec::new();
    while left > 0 {
        let Some(next) = session.receive()? else { return Ok(all) };
        match next.kind {
            b'Z' => left -= 1,
            b'G' => {
                session.send(&message::copy_fail("nothing to send"))?;
                if protocol == Protocol::Extended {
                    session.send(&message::sync())?;
                }
            }
            _ => {}
        }
        all.push(next);
    }
    Ok(all)
}

fn error(answer: &[Message]) -> Option<(String, String)> {
    let error = answer.iter().find(|message| message.kind == b'E')?;
    Some((error.field(b'C')?, error.field(b'M')?))
}

fn is_ours(answer: &[Message]) -> bool {
    error(answer).is_some_and(|(code, text)| code == "42501" && text.starts_with("tidegate: "))
}

/// Whether it is the same session, and rests.
fn goes_on(session: &mut Connection) -> Result<bool> {
    let answer = session.query("SELECT 'still here'")?;
    let rests = answer.last().is_some_and(|last| last.kind == b'Z' && last.body == b"I");
    Ok(rests && error(&answer).is_none() && answer.iter().any(|message| message.kind == b'D'))
}

#[test]
fn what_is_refused_has_changed_nothing() -> Result<()> {
    let _alone = alone();
    let mut theatre = Theatre::open()?;
    let mut session = theatre.session()?;
    theatre.is_played_by_an_agent()?;
    let mut admin = direct(&theatre.postgres)?;
    let mut before = Catalog::read(|sql| admin.rows(sql))?;
    let (mut played, mut later, mut failures) = (0, 0, Vec::new());
    for case in cases()?.into_iter().filter(|case| case.verdict != "allow") {
        // What a later version's server is not trusted with, this one's isn't either; how
        // earlier ones read it is told by the units.
        if case.server_major.is_some_and(|major| major < 15) {
            continue;
        }
        later += usize::from(case.server_major.is_some_and(|major| major > 15));
        for protocol in [Protocol::Simple, Protocol::Extended] {
            let what = format!("{} ({protocol:?}): {:?}", case.place, case.sql);
            if !case.before.is_empty() {
                session = theatre.session()?;
            }
            let answer = play(&mut session, &case, protocol);
            let answer = answer.with_context(|| format!("{what}{}", theatre.agent.tail()))?;
            played += 1;
            // To be prepared harms nobody: the server may be the first to object.
            let ran = answer.iter().filter(|one| matches!(one.kind, b'2' | b'C' | b'D')).count();
            let settings = if case.at_once { case.before.len() } else { 0 };
            let fails =
                protocol == Protocol::Extended && error(&answer).is_some() && ran == settings;
            if !is_ours(&answer) && !fails {
                failures.push(format!("{what}\n    was not refused: {:?}", error(&answer)));
            }
            if !goes_on(&mut session).unwrap_or(false) {
                failures.push(format!("{what}\n    the session doesn't go on"));
                session = theatre.session()?;
            }
            let after = Catalog::read(|sql| admin.rows(sql))?;
            let changes = after.changes(&before);
            if !changes.is_empty() {
                failures.push(format!("{what}\n    has changed {}", changes.join(", ")));
                before = after;
            }
            if !case.before.is_empty() {
                session = theatre.session()?;
            }
        }
    }
    ensure!(failures.is_empty(), "{} of {played}\n{}", failures.len(), failures.join("\n"));
    eprintln!("{played} times something was refused, and nothing was changed");
    ensure!(played >= 600, "only {played} were played");
    ensure!(later >= 3, "only {later} of what later versions bring");
    Ok(())
}

#[test]
fn near_misses_and_all_that_may_reach_the_server() -> Result<()> {
    let _alone = alone();
    let mut theatre = Theatre::open()?;
    let (mut played, mut worked, mut by_value, mut failures) = (0, 0, 0, Vec::new());
    for case in cases()?.into_iter().filter(|case| case.verdict == "allow") {
        if case.server_major.is_some_and(|major| major != 15) {
            continue;
        }
        for protocol in [Protocol::Simple, Protocol::Extended] {
            // They may leave a transaction open, a role set, a session ended.
            let mut session = theatre.session()?;
            let answer = play(&mut session, &case, protocol);
            let answer =
                answer.with_context(|| format!("{}{}", case.place, theatre.agent.tail()))?;
            played += 1;
            worked += usize::from(error(&answer).is_none());
            let said = error(&answer).map(|(_, text)| text).unwrap_or_default();
            // The corpus knows no classes; here the server's own columns have some.
            by_value += usize::from(said.contains(BY_VALUE));
            if said.starts_with("tidegate") && !said.contains(BY_VALUE) {
                let said = error(&answer);
                failures.push(format!("{} ({protocol:?}): {:?}: {said:?}", case.place, case.sql));
            }
        }
    }
    ensure!(failures.is_empty(), "{} of {played}\n{}", failures.len(), failures.join("\n"));
    ensure!(by_value <= 24, "{by_value} times rows were picked by what is sensitive");
    eprintln!(
        "{played} times something was let through, but {by_value} times for its values; \
         {worked} times the server had nothing against it"
    );
    Ok(())
}

/// Another rule, with tests of its own.
const BY_VALUE: &str = "picks rows by a value that it may not see";

/// A digest that sees nothing would make the first test one that cannot fail.
#[test]
fn the_digest_sees_what_is_done() -> Result<()> {
    let setup = Postgres::setup().auth("trust").setting("autovacuum=off");
    let postgres = setup.start()?;
    postgres.admin("app", VICTIMS)?;
    let mut admin = direct(&postgres)?;
    for done in [
        "DELETE FROM orders WHERE id = 7",
        "UPDATE t SET a = a + 1",
        "TRUNCATE log, s",
        "INSERT INTO log VALUES ('x')",
        "DROP INDEX i",
        "DROP TABLE x",
        "ALTER TABLE t ADD COLUMN z int",
        "CREATE TABLE fresh (a int)",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "GRANT ALL ON t TO bob",
        "ALTER ROLE bob SUPERUSER",
        "ALTER ROLE bob SET search_path = evil",
        "CREATE ROLE eve",
        "COMMENT ON TABLE t IS 'x'",
        "SELECT nextval('seq')",
        "SELECT setval('seq', 99)",
        "SELECT lo_create(4711)",
        "ALTER DATABASE app SET work_mem = '1MB'",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "REFRESH MATERIALIZED VIEW mv WITH NO DATA",
        "CLUSTER customers USING customers_pkey",
        "CREATE DATABASE other",
    ] {
        let before = Catalog::read(|sql| admin.rows(sql))?;
        let again = Catalog::read(|sql| admin.rows(sql))?.changes(&before);
        ensure!(again.is_empty(), "it changes by itself: {again:?}");
        postgres.admin("app", done)?;
        if Catalog::read(|sql| admin.rows(sql))?.changes(&before).is_empty() {
            bail!("nobody sees `{done}`");
        }
    }
    Ok(())
}
