//! Unmodified clients of a real PostgreSQL, plain and with TLS, as a relay must
//! carry them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Observer, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::venv;

struct Database {
    observer: Observer,
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Database {
    fn start(tls: bool) -> Result<Self> {
        let postgres = if tls { Postgres::with_tls()? } else { Postgres::start()? };
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::postgres([postgres.port()]))?;
        let observer = agent.observe()?;
        Ok(Self { observer, agent, work, _root: root, postgres })
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        Place::new().cgroup(&self.work).command(program)
    }

    /// That the server's client port was the gate's, not the client's.
    fn was_led(&self, comm: &str, port: u16) -> Result<()> {
        let event = self.observer.wait_for(
            &format!("the opening by {comm}"),
            Duration::from_secs(5),
            |event| {
                event.event == "opened"
                    && event.whose().is_some_and(|process| process.comm.starts_with(comm))
            },
        )?;
        let flow = event.flow.context("no flow")?;
        ensure!(flow.client.port() != port, "the server saw {comm}'s own port: it was direct");
        ensure!(flow.destination.port() == self.postgres.port(), "{flow:?}");
        Ok(())
    }
}

#[test]
fn psql_selects_and_copies_plain_and_with_tls() -> Result<()> {
    let _alone = alone();
    for tls in [false, true] {
        let database = Database::start(tls)?;
        let mode = if tls { "require" } else { "disable" };
        let dsn = format!("{} sslmode={mode}", database.postgres.dsn("app"));
        let psql = |lines: &[&str]| -> Result<String> {
            let mut command = database.command(program("psql")?)?;
            command.args(["-XAtq", "-v", "ON_ERROR_STOP=1"]);
            for line in lines {
                command.args(["-c", line]);
            }
            run(command.arg(&dsn)).with_context(|| database.agent.tail())
        };
        let port = psql(&["SELECT inet_client_port()"])?.trim().parse()?;
        database.was_led("psql", port)?;
        let ssl = psql(&["SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"])?;
        ensure!(ssl.trim() == if tls { "t" } else { "f" }, "ssl is {ssl}");
        psql(&["CREATE TABLE t AS SELECT n, md5(n::text) AS h FROM generate_series(1, 200000) n"])?;
        let direct =
            database.postgres.psql("app", "SELECT md5(string_agg(h, '' ORDER BY n)) FROM t")?;
        let led = psql(&["SELECT md5(string_agg(h, '' ORDER BY n)) FROM t"])?;
        ensure!(led == direct, "{led} for {direct}");
        let file = format!("/tmp/tidegate-copy-{}-{tls}", std::process::id());
        let copied = psql(&[
            &format!("\\copy t TO '{file}'"),
            "CREATE TABLE u (LIKE t)",
            &format!("\\copy u FROM '{file}'"),
            "SELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM u) d",
        ]);
        std::fs::remove_file(&file)?;
        ensure!(copied?.trim() == "0", "the copies differ");
        ensure!(database.postgres.psql("app", "SELECT count(*) FROM u")?.trim() == "200000");
    }
    Ok(())
}

#[test]
fn psycopg_transacts_and_cancels() -> Result<()> {
    let _alone = alone();
    let database = Database::start(true)?;
    let script = r#"
import sys, threading, psycopg
dsn = sys.argv[1]
with psycopg.connect(dsn) as connection:
    print(connection.info.host, connection.info.port, connection.pgconn.ssl_in_use)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE p (id int, name text)")
        cursor.executemany("INSERT INTO p VALUES (%s, %s)", [(i, str(i)) for i in range(1000)])
        with cursor.copy("COPY p FROM STDIN") as copy:
            for i in range(1000, 5000):
                copy.write_row((i, str(i)))
        cursor.execute("SELECT count(*), sum(id) FROM p WHERE name = id::text", prepare=True)
        print(*cursor.fetchone())
        threading.Timer(0.3, connection.cancel).start()
        try:
            cursor.execute("SELECT pg_sleep(30)")
            print("not cancelled")
        except psycopg.errors.QueryCanceled:
            print("cancelled")
    connection.rollback()
with psycopg.connect(dsn) as connection:
    print(connection.execute("SELECT to_regclass('p') IS NULL, inet_client_port()").fetchone())
"#;
    let mut python = database.command(venv::python()?)?;
    python.args(["-c", script]).arg(format!("{} sslmode=require", database.postgres.dsn("app")));
    let said = run(&mut python).with_context(|| database.agent.tail())?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == 4, "{said}");
    ensure!(lines[0] == format!("127.0.0.1 {} True", database.postgres.port()), "{said}");
    ensure!(lines[1] == "5000 12497500" && lines[2] == "cancelled", "{said}");
    let port = lines[3]
        .trim_start_matches("(True, ")
        .trim_end_matches(')')
        .parse()
        .with_context(|| said.clone())?;
    database.was_led("python", port)
}
