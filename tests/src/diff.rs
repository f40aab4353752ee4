//! The same client twice, directly and through the agent, and whether it could
//! tell: what it received is compared byte by byte, in order, a connection at a
//! time.
//!
//! INVARIANT: both ways end at one and the same server, the client's process is
//! made in the same manner, and each run shows by the agent's own records that
//! it went the way it is named after.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::agent::{Agent, Observer, Plan};
use crate::cgroup::Cgroup;
use crate::dialer::Dialer;
use crate::folder::TempFolder;
use crate::place::Place;
use crate::postgres::Postgres;
use crate::wire::tape::{Entry, Tape, difference};
use crate::wire::{Connection, Message, message, tls};
use crate::{sys, wait};

/// An agent, a server that it protects, a cgroup for the clients.
pub struct Stage {
    // Dropped in this order: whoever looks, the agent, the clients' home.
    pub observer: Observer,
    pub agent: Agent,
    pub work: Cgroup,
    _root: Cgroup,
    pub postgres: Postgres,
    /// Where clients connect to: the server, or what stands before it.
    pub port: u16,
    folder: TempFolder,
}

impl Stage {
    pub fn new(postgres: Postgres) -> Result<Self> {
        let port = postgres.port();
        Self::before(postgres, port)
    }

    /// Clients connect to `port`, whence it goes on to the server.
    pub fn before(postgres: Postgres, port: u16) -> Result<Self> {
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, plan(&postgres, port))?;
        let observer = agent.observe()?;
        let folder = TempFolder::fresh()?;
        Ok(Self { observer, agent, work, _root: root, postgres, port, folder })
    }

    fn opened(&self) -> Result<usize> {
        Ok(self.observer.events()?.iter().filter(|event| event.event == "opened").count())
    }

    /// Runs a scenario by both ways, and compares.
    pub fn compare(
        &self,
        name: &str,
        leg: Leg,
        scenario: impl Fn(&mut Way<'_>) -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        let mut kept = Vec::new();
        for led in [false, true] {
            let mut way = self.way(leg, led)?;
            let before = self.opened()?;
            scenario(&mut way).with_context(|| {
                let by = if led { "through the agent" } else { "directly" };
                format!("{name} ({leg:?}), {by}{}", self.agent.tail())
            })?;
            if !led {
                ensure!(self.opened()? == before, "{name}: what should be direct was not");
            }
            kept.push(self.received(name, way, before)?);
        }
        self.judge(name, leg, &kept[0], &kept[1])?;
        eprintln!("{name} ({leg:?}): the same, {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// One way only, for what compares by itself.
    pub fn one_way<T>(
        &self,
        name: &str,
        leg: Leg,
        led: bool,
        scenario: impl FnOnce(&Way<'_>) -> Result<T>,
    ) -> Result<T> {
        let before = self.opened()?;
        let way = self.way(leg, led)?;
        let done = scenario(&way).with_context(|| format!("{name}{}", self.agent.tail()))?;
        let now = self.opened()?;
        ensure!((now > before) == led, "{name}: it went another way than it should");
        Ok(done)
    }

    /// For what happens to both at once: the scenario has both ways in hand,
    /// first the direct one.
    pub fn together(
        &self,
        name: &str,
        leg: Leg,
        scenario: impl FnOnce(&Way<'_>, &Way<'_>) -> Result<()>,
    ) -> Result<()> {
        let before = self.opened()?;
        let (direct, led) = (self.way(leg, false)?, self.way(leg, true)?);
        scenario(&direct, &led)
            .with_context(|| format!("{name} ({leg:?}){}", self.agent.tail()))?;
        let direct = self.received(name, direct, before)?;
        let led = self.received(name, led, before)?;
        self.judge(name, leg, &direct, &led)
    }

    fn way(&self, leg: Leg, led: bool) -> Result<Way<'_>> {
        let place = if led { Place::new().cgroup(&self.work) } else { Place::new() };
        let dialer = Mutex::new(Dialer::start(&place)?);
        Ok(Way { stage: self, place, dialer, leg, led, tapes: Mutex::default() })
    }

    /// What the clients of a way received, once all is over.
    fn received(&self, name: &str, way: Way<'_>, before: usize) -> Result<Received> {
        if way.led {
            self.agent.wait_status("every connection to end", Duration::from_secs(15), |it| {
                it.open == 0 && it.connecting == 0
            })?;
            wait::until_true("a connection by the agent", Duration::from_secs(5), || {
                self.opened().is_ok_and(|now| now > before)
            })
            .with_context(|| name.to_string())?;
        }
        let tapes = way.tapes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut received = Vec::new();
        for (label, tape) in tapes {
            let tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(!tape.entries().is_empty(), "{name}: `{label}` received nothing at all");
            received.push((label, tape.entries().to_vec()));
        }
        ensure!(!received.is_empty(), "{name} looks at nothing");
        Ok(received)
    }

    fn judge(&self, name: &str, leg: Leg, direct: &Received, led: &Received) -> Result<()> {
        ensure!(
            direct.len() == led.len(),
            "{name} ({leg:?}): {} connections directly, {} through the agent",
            direct.len(),
            led.len()
        );
        for ((label, one), (_, other)) in direct.iter().zip(led) {
            if let Some(difference) = difference(one, other) {
                let tail = self.agent.tail();
                bail!("{name} ({leg:?}), what `{label}` received: {difference}{tail}");
            }
        }
        Ok(())
    }
}

/// By connection, in the order in which they were made.
type Received = Vec<(String, Vec<Entry>)>;

/// The one place where the suites say how the agent is to carry a server: one
/// that it can verify, where the server has TLS.
pub fn plan(postgres: &Postgres, port: u16) -> Plan {
    match postgres.authority() {
        None => Plan::postgres([port]),
        Some(authority) => {
            let roots = authority.root();
            Plan::postgres(None::<u16>).setting(&format!(
                "[[protect]]\nto = {port}\nverify = \"full\"\nroots = {:?}",
                roots.display().to_string()
            ))
        }
    }
}

/// What a client of that way trusts: the server's authority, or the agent's.
pub fn trusted(stage: &Stage, led: bool) -> Result<PathBuf> {
    if led {
        return Ok(stage.agent.authority());
    }
    Ok(stage.postgres.authority().context("the server has no TLS")?.root())
}

/// What the client's leg carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    Plain,
    Tls,
    /// TLS, and the client verifies chain and name.
    Verified,
}

impl Leg {
    pub const BOTH: [Self; 2] = [Self::Plain, Self::Tls];

    /// As libpq calls it.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Plain => "disable",
            Self::Tls => "require",
            Self::Verified => "verify-full",
        }
    }
}

/// One run of a scenario.
pub struct Way<'a> {
    pub stage: &'a Stage,
    pub leg: Leg,
    pub led: bool,
    place: Place<'a>,
    dialer: Mutex<Dialer>,
    tapes: Mutex<Vec<(String, Arc<Mutex<Tape>>)>>,
}

impl Way<'_> {
    fn tape(&self, label: &str) -> Arc<Mutex<Tape>> {
        let tape = Arc::new(Mutex::new(Tape::default()));
        let mut tapes = self.tapes.lock().unwrap_or_else(PoisonError::into_inner);
        tapes.push((label.into(), Arc::clone(&tape)));
        tape
    }

    /// Connected, nothing said yet.
    pub fn dial(&self, label: &str) -> Result<Connection> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.stage.port));
        let mut dialer = self.dialer.lock().unwrap_or_else(PoisonError::into_inner);
        Connection::new(dialer.open(to)?, self.tape(label))
    }

    /// Connected, and looked at by the test alone: an answer that may differ.
    pub fn apart(&self) -> Result<Connection> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.stage.port));
        let mut dialer = self.dialer.lock().unwrap_or_else(PoisonError::into_inner);
        Connection::new(dialer.open(to)?, Arc::default())
    }

    /// … and within TLS, where the leg is.
    pub fn secured(&self, label: &str) -> Result<Connection> {
        let mut connection = self.dial(label)?;
        if self.leg != Leg::Plain {
            ensure!(connection.ask_for_tls(&tls::Terms::any()?)?, "the server has no TLS");
        }
        Ok(connection)
    }

    /// Logged in as somebody, with more parameters; what came meanwhile.
    pub fn enter(
        &self,
        label: &str,
        user: &str,
        password: &str,
        more: &[(&str, &str)],
    ) -> Result<(Connection, Vec<Message>)> {
        let mut connection = self.secured(label)?;
        // Over TLS, who ends it may have to ask in another way than the server.
        connection.tape().forget_login = self.leg != Leg::Plain;
        let parameters = [&[("user", user), ("database", "app")], more].concat();
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        let messages = connection.login(user, password)?;
        Ok((connection, messages))
    }

    /// Logged in as `app`.
    pub fn open(&self, label: &str) -> Result<Connection> {
        self.open_with(label, &[])
    }

    pub fn open_with(&self, label: &str, more: &[(&str, &str)]) -> Result<Connection> {
        let (connection, messages) = self.enter(label, "app", "tide", more)?;
        let ready = messages.last().is_some_and(|message| message.kind == b'Z');
        ensure!(ready, "no login: {:?}", messages.last());
        Ok(connection)
    }

    /// A tool, where the client is.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = self.place.command(program)?;
        // None of a person's own settings, nor the machine's.
        for name in ["PGSERVICE", "PGPASSFILE", "PGHOST", "PGUSER", "PGOPTIONS", "PGSSLMODE"] {
            command.env_remove(name);
        }
        command.env("HOME", "/nonexistent").env("PGPASSWORD", "tide");
        Ok(command)
    }

    /// As libpq takes it.
    pub fn dsn(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=app dbname={database} connect_timeout=20 sslmode={} \
             gssencmode=disable",
            self.stage.port,
            self.leg.mode()
        )
    }

    /// Keeps what a tool printed, to be compared.
    pub fn said(&self, label: &str, text: impl Into<String>) {
        let tape = self.tape(label);
        tape.lock().unwrap_or_else(PoisonError::into_inner).add(Entry::Said(text.into()));
    }

    /// Runs a tool to its end; exit and output are compared.
    pub fn tool(&self, label: &str, command: &mut Command) -> Result<String> {
        let output = to_the_end(command, TOOL)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        self.said(label, format!("{}\n{text}{errors}", output.status));
        ensure!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
        Ok(text)
    }

    /// The server's own word, past every gate.
    pub fn admin(&self, sql: &str) -> Result<String> {
        Ok(self.stage.postgres.admin("app", sql)?.trim().to_owned())
    }

    /// Waits until the server says so.
    pub fn wait_admin(&self, sql: &str, wanted: &str) -> Result<()> {
        wait::until(&format!("`{sql}` to give {wanted}"), Duration::from_secs(20), || {
            Ok((self.admin(sql)? == wanted).then_some(()))
        })
    }

    /// A file of this run's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.stage.folder.path().join(format!("{name}-{}", if self.led { "led" } else { "direct" }))
    }
}

/// Longer than any tool of the suites takes.
const TOOL: Duration = Duration::from_secs(150);

/// Runs a command to its end, or ends it when its time is over.
pub fn to_the_end(command: &mut Command, within: Duration) -> Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let pid = child.id();
    let (output_tx, output) = mpsc::channel();
    std::thread::spawn(move || output_tx.send(child.wait_with_output()));
    match output.recv_timeout(within) {
        Ok(output) => Ok(output?),
        Err(_) => {
            sys::signal(pid, libc::SIGKILL)?;
            let said = output.recv_timeout(Duration::from_secs(10)).map(|it| it.ok());
            bail!("{command:?} did not end within {within:?}; it said {said:?}")
        }
    }
}

/// Whether the long suites run too (`cargo xtask test --all`).
pub fn all() -> bool {
    std::env::var_os("TIDEGATE_ALL").is_some_and(|value| value != "0")
}
