//! What the `probe` binary does: one small client, in one chosen manner, that
//! tells in one line of JSON what it saw. The task comes as JSON too, so that
//! harness and probe share their types and a label stands in the command line.

mod connect;
mod load;
mod raw;
mod tricks;
mod uring;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::place::Place;

pub use load::{Load, Outcome};
pub use raw::{RawKind, RawReport};
pub use tricks::{BindReport, FillReport, SquatReport};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Task {
    /// Answered by a [`Report`].
    Connect(Connect),
    /// This process makes the socket, a child connects it: [`Report`] of the
    /// child.
    Fork { connect: Connect },
    /// This process connects, a child speaks: [`Report`] of the child.
    Pass { connect: Connect },
    /// Connects until its input ends; an [`Outcome`] a line.
    Load(Load),
    /// Connects on demand and passes the sockets on (see `dialer`).
    Dial,
    /// A SYN by a raw socket: [`RawReport`].
    RawSyn { to: SocketAddr, kind: RawKind },
    /// Binds and listens at each: [`BindReport`]. Stays until its input ends.
    Bind { at: Vec<SocketAddr> },
    /// Connects without waiting: [`FillReport`]. Stays until its input ends.
    Fill { to: SocketAddr, count: usize },
    /// Connects and closes at once, from one source port, without speaking.
    Leave { to: SocketAddr, source: SocketAddr },
    /// Connects, says who it is, and ends without waiting for anything.
    Touch { to: SocketAddr, label: String },
    /// Listens without ever having bound; tells its port, then a line for each
    /// connection that it gets. Stays until its input ends.
    Squat,
    /// One socket, connected to one after another: a [`Report`] of each.
    Reconnect { to: Vec<SocketAddr> },
    /// Connects `count` times one after another: nanoseconds of each, sorted.
    Time { to: SocketAddr, count: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    V4,
    V6,
    /// An IPv6 socket that speaks IPv4.
    Mapped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    Blocking,
    Nonblocking,
    /// sendto(MSG_FASTOPEN).
    Tfo,
    /// TCP_FASTOPEN_CONNECT.
    TfoConnect,
    IoUring,
    /// On a thread of the kernel's.
    IoUringAsync,
    Mptcp,
    /// Bound to a source address.
    Bound,
    /// SO_BINDTODEVICE.
    Device,
    /// SO_MARK.
    Mark,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connect {
    pub to: SocketAddr,
    pub family: Family,
    pub manner: Manner,
    pub label: String,
    /// For [`Manner::Bound`]; its port may be 0.
    pub source: Option<SocketAddr>,
    pub device: Option<String>,
    pub mark: Option<u32>,
    /// Serve the destination first, in this process's own namespace.
    pub serve: bool,
    /// With `serve`: the gate's listener (see `echo`).
    pub gate: Option<u16>,
    /// After making the socket, move to the cgroup whose `cgroup.procs` this is.
    pub leave_to: Option<PathBuf>,
    /// Use this socket, which was inherited.
    pub socket: Option<i32>,
    /// … and is connected already.
    pub connected: bool,
    /// How long an answer may take.
    pub patience_ms: u32,
}

impl Connect {
    pub fn to(to: SocketAddr, label: impl Into<String>) -> Self {
        Self {
            to,
            family: if to.is_ipv4() { Family::V4 } else { Family::V6 },
            manner: Manner::Blocking,
            label: label.into(),
            source: None,
            device: None,
            mark: None,
            serve: false,
            gate: None,
            leave_to: None,
            socket: None,
            connected: false,
            patience_ms: 10_000,
        }
    }

    pub fn source(mut self, source: IpAddr) -> Self {
        self.source = Some(SocketAddr::new(source, 0));
        self
    }
}

/// What one connect came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub label: String,
    pub pid: u32,
    pub parent: u32,
    pub tid: u32,
    pub uid: u32,
    pub netns: u64,
    /// The last step tried: `socket`, `connect`, `send`, `greeting`, `echo`,
    /// or `done`.
    pub step: String,
    pub errno: Option<i32>,
    pub error: Option<String>,
    /// getpeername(2) and getsockname(2).
    pub peer_name: Option<SocketAddr>,
    pub socket_name: Option<SocketAddr>,
    /// Who the server says the client is.
    pub seen_as: Option<SocketAddr>,
    /// What the server says of the way.
    pub direct: Option<bool>,
    /// Until the connection was made or had failed.
    pub connect_us: u64,
}

impl Report {
    /// The connection was made and an answer came back whole.
    pub fn done(&self) -> bool {
        self.step == "done" && self.errno.is_none() && self.error.is_none()
    }

    /// As words for a failing test.
    pub fn summary(&self) -> String {
        match (&self.error, self.errno) {
            (Some(error), _) => format!("{} failed: {error}", self.step),
            (None, Some(errno)) => {
                format!("{} failed: {}", self.step, std::io::Error::from_raw_os_error(errno))
            }
            (None, None) if self.direct == Some(true) => "done, direct".into(),
            (None, None) => format!("{}, through the gate", self.step),
        }
    }
}

/// The binary's whole main.
pub fn main() -> ExitCode {
    let Some(text) = std::env::args().nth(1) else {
        eprintln!("usage: probe TASK (JSON, see `Task` in tests/src/probe.rs)");
        return ExitCode::from(2);
    };
    run_text(&text)
}

/// Carries out a task given as JSON.
pub fn run_text(text: &str) -> ExitCode {
    match serde_json::from_str(text).context("the task cannot be read").and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Connect(plan) => say(&connect::run(&plan)),
        Task::Fork { connect } => tricks::fork(&connect),
        Task::Pass { connect } => tricks::pass(&connect),
        Task::Load(plan) => load::run(&plan),
        Task::Dial => tricks::dial(),
        Task::RawSyn { to, kind } => say(&raw::syn(to, kind)?),
        Task::Bind { at } => tricks::bind(&at),
        Task::Fill { to, count } => tricks::fill(to, count),
        Task::Leave { to, source } => tricks::leave(to, source),
        Task::Touch { to, label } => tricks::touch(to, &label),
        Task::Squat => tricks::squat(),
        Task::Reconnect { to } => say(&tricks::reconnect(&to)?),
        Task::Time { to, count } => say(&tricks::time(to, count)?),
    }
}

/// One line of JSON, at once.
fn say<T: Serialize>(value: &T) -> Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    Ok(())
}

// ---- the harness's side -------------------------------------------------------

/// A command that carries out a task in a place. A program that has the probe
/// within itself (the `matrix` binary) is its own probe.
pub fn command(place: &Place<'_>, task: &Task) -> Result<Command> {
    let mut command = place.command(binary()?)?;
    if SELF.load(Ordering::Relaxed) {
        command.arg("probe");
    }
    command.arg(serde_json::to_string(task)?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Carries out a task and reads the one line that it answers with.
pub fn ask<T: for<'de> Deserialize<'de>>(place: &Place<'_>, task: &Task) -> Result<T> {
    answer(command(place, task)?.spawn().context("cannot start the probe")?)
}

/// The answer of a probe that was started.
pub fn answer<T: for<'de> Deserialize<'de>>(child: Child) -> Result<T> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "the probe failed ({}): {}{text}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(text.lines().next().unwrap_or_default())
        .with_context(|| format!("the probe's answer cannot be read: `{text}`"))
}

/// A probe that stays, with the first line of its answer.
pub struct Staying {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Staying {
    pub fn start<T: for<'de> Deserialize<'de>>(
        place: &Place<'_>,
        task: &Task,
    ) -> Result<(Self, T)> {
        let mut child = command(place, task)?
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the probe")?;
        let out = BufReader::new(child.stdout.take().context("the probe has no output")?);
        let mut staying = Self { child, out };
        let mut line = String::new();
        staying.out.read_line(&mut line)?;
        let answer = serde_json::from_str(&line)
            .with_context(|| format!("the probe's answer cannot be read: `{line}`"))?;
        Ok((staying, answer))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and gives what else it said.
    pub fn end(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        self.child.wait()?;
        Ok(rest)
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connect of a probe.
pub fn connect(place: &Place<'_>, plan: &Connect) -> Result<Report> {
    ask(place, &Task::Connect(plan.clone()))
}

/// Says that the running program is its own probe: `<program> probe TASK`.
pub fn i_am_the_probe() {
    SELF.store(true, Ordering::Relaxed);
}

static SELF: AtomicBool = AtomicBool::new(false);

/// The probe beside the running program: tests lie in target/*/deps.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    if SELF.load(Ordering::Relaxed) {
        return Ok(own);
    }
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("probe"))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("no `probe` beside {}: build the tests' binaries", own.display()))
}
