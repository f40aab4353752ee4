//! What policies refuse never reaches the server, and the connection goes on.

#[path = "guardrails/code.rs"]
mod code;
#[path = "guardrails/refusing.rs"]
mod refusing;
#[path = "guardrails/session.rs"]
mod session;
#[path = "guardrails/shadow.rs"]
mod shadow;

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, run};
use tidegate_tests::venv;
use tidegate_tests::wire::Connection;
use tidegate_tests::wire::message;

struct Guarded {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Guarded {
    fn start(mode: &str) -> Result<Self> {
        let postgres = Postgres::with_tls()?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy(mode))?;
        let made = "CREATE TABLE customers AS SELECT n AS id, 'c' || n AS name \
                    FROM generate_series(1, 100) n";
        postgres.psql("app", made)?;
        Ok(Self { agent, work, _root: root, postgres })
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        Place::new().cgroup(&self.work).command(program)
    }

    /// With these policies too.
    fn own(&self, policies: &str) -> Result<()> {
        std::fs::write(self.agent.policies().join("own.cedar"), policies)?;
        self.agent.must(&["reload"])?;
        Ok(())
    }

    fn dsn(&self) -> String {
        format!("{} sslmode=require", self.postgres.dsn("app"))
    }

    fn rows(&self) -> Result<String> {
        let count = self.postgres.psql("app", "SELECT count(*), min(name) FROM customers")?;
        Ok(count.trim().to_owned())
    }

    fn python(&self, script: &str) -> Result<String> {
        let mut python = self.command(venv::python()?)?;
        python.args(["-c", script]).arg(self.dsn());
        run(&mut python).with_context(|| self.agent.tail())
    }
}

/// A session on a connection of the process that the dialer is.
fn opened(stream: TcpStream) -> Result<Connection> {
    let mut connection = Connection::new(stream, Arc::default())?;
    let parameters = [("user", "app"), ("database", "app")];
    connection.send(&message::startup(message::PROTOCOL, &parameters))?;
    connection.login("app", "tide")?;
    Ok(connection)
}
