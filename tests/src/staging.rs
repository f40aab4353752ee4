//! A database with secrets in it, behind an agent with its default policies, in an
//! environment in which nothing but its secrets is kept from anybody.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::agent::{Agent, Plan};
use crate::cgroup::Cgroup;
use crate::dialer::Dialer;
use crate::place::Place;
use crate::postgres::{Postgres, program, run};
use crate::wire::{Connection, message};

pub struct Staging {
    dialer: RefCell<Dialer>,
    pub agent: Agent,
    pub work: Cgroup,
    _root: Cgroup,
    pub postgres: Postgres,
}

impl Staging {
    /// `seeds`: files of the corpora that are run first. `policies`: what else
    /// holds.
    pub fn start(seeds: &[&str], policies: &str) -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        for file in seeds {
            for statement in statements(file)? {
                postgres.psql("app", &statement)?;
            }
        }
        Self::before(postgres, policies)
    }

    pub fn before(postgres: Postgres, policies: &str) -> Result<Self> {
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let setting = format!(
            "[[protect]]\nto = {}\nenvironment = \"staging\"\nprotocol = \"postgres\"",
            postgres.port()
        );
        let plan = Plan::postgres(None::<u16>).policy("enforce").setting(&setting);
        let agent = Agent::start(&root, plan)?;
        let dialer = Dialer::start(&Place::new().cgroup(&work))?.into();
        let staging = Self { dialer, agent, work, _root: root, postgres };
        if !policies.is_empty() {
            staging.rule(policies)?;
        }
        Ok(staging)
    }

    /// From now on these policies hold beside the default ones.
    pub fn rule(&self, policies: &str) -> Result<()> {
        std::fs::write(self.agent.policies().join("own.cedar"), policies)?;
        self.agent.must(&["reload"])?;
        Ok(())
    }

    pub fn place(&self, led: bool) -> Place<'_> {
        if led { Place::new().cgroup(&self.work) } else { Place::new() }
    }

    /// A connection that goes through the agent.
    pub fn connect(&self) -> Result<Connection> {
        let stream = self.dialer.borrow_mut().open(self.address())?;
        self.log_in(stream)
    }

    /// One that doesn't.
    pub fn connect_directly(&self) -> Result<Connection> {
        self.log_in(TcpStream::connect(self.address())?)
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.postgres.port()).into()
    }

    fn log_in(&self, stream: TcpStream) -> Result<Connection> {
        let mut connection = Connection::new(stream, Arc::default())?;
        let parameters = [("user", "app"), ("database", "app")];
        connection.send(&message::startup(0x0003_0000, &parameters))?;
        connection.login("app", "tide").with_context(|| self.agent.tail())?;
        Ok(connection)
    }

    /// A psql that runs these statements, one after the other.
    pub fn psql_command(&self, led: bool, statements: &[&str]) -> Result<Command> {
        let mut psql = self.place(led).command(program("psql")?)?;
        psql.arg("-XAtq");
        for statement in statements {
            psql.args(["-c", statement]);
        }
        psql.arg(self.postgres.dsn("app"));
        Ok(psql)
    }

    pub fn psql(&self, statements: &[&str]) -> Result<String> {
        run(&mut self.psql_command(true, statements)?).with_context(|| self.agent.tail())
    }
}

/// The statements of a file of the corpora; a line that ends in `\` goes on.
pub fn statements(file: &str) -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut statements = Vec::new();
    let mut open = String::new();
    for line in text.lines().filter(|line| !line.starts_with("--") && !line.trim().is_empty()) {
        match line.strip_suffix('\\') {
            Some(more) => open.push_str(more),
            None => statements.push(std::mem::take(&mut open) + line),
        }
    }
    Ok(statements)
}
