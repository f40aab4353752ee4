//! Asks container runtimes about containers, over their sockets.
//!
//! INVARIANT: a socket is believed only if it, and who listens on it, belong to root,
//! or, for the containers in a user's own slice, to that user; and what a user's
//! runtime says never makes a container a service.
//!
//! INVARIANT: an answer holds for whose runtime gave it alone: users name cgroups below
//! their own slice as they like, also by the id of a container of root's. And nothing
//! of where a process runs is taken from an answer.
//!
//! INVARIANT: a runtime that hangs, or says what it likes, costs its own answer, at
//! most [`WITHIN`], and nobody else's: nothing is locked while it is asked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use super::lock;
use crate::identity::runtime::{AnswerError, Described, Exchange, Heard, Question, Tongue};
use crate::model::Workload;

/// While a connect waits for it.
const WITHIN: Duration = Duration::from_millis(150);
/// Nobody's connect waits for this one.
const WITHIN_GREETING: Duration = Duration::from_secs(5);
/// … where no connect waits for the answer.
const PATIENTLY: Duration = Duration::from_secs(3);
/// How long an answer, or the want of one, holds.
const FRESH: Duration = Duration::from_secs(300);
const ASK_AGAIN: Duration = Duration::from_secs(10);
const MOST_KNOWN: usize = 4096;

/// The way to a runtime: its socket's path, a question, its whole answer.
pub(super) trait Ask: std::fmt::Debug + Send + Sync {
    /// Who owns the socket; nothing where there is none.
    fn owner(&self, socket: &Path) -> Option<u32>;
    fn ask(
        &self,
        socket: &Path,
        owner: u32,
        question: &Question,
        until: Instant,
    ) -> Result<Vec<u8>, AnswerError>;
}

#[derive(Debug)]
pub(super) struct Runtimes {
    sockets: Vec<PathBuf>,
    /// For one container, all in all.
    within: Duration,
    way: Box<dyn Ask>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// What it is, if anybody knew, and until when that holds.
    known: HashMap<Named, (Instant, Option<Workload>)>,
    /// Sockets that didn't answer in time.
    silent: HashMap<PathBuf, Instant>,
}

/// In whose slice, and the container's id.
type Named = (Option<u32>, String);

impl Memory {
    fn keep(&mut self, named: Named, until: Instant, found: Option<Workload>) {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(named, (until, found));
    }
}

impl Runtimes {
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self::by(sockets, Box::new(OverSocket))
    }

    /// For who has the time: a runtime that is slow is heard out.
    pub fn patient(sockets: Vec<PathBuf>) -> Self {
        Self { within: PATIENTLY, ..Self::new(sockets) }
    }

    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// What somebody more patient was told of a container.
    pub fn keep(&self, found: &Workload) {
        if let Some(container) = &found.container {
            let named = (found.user_slice, container.clone());
            lock(&self.memory).keep(named, Instant::now() + FRESH, Some(found.clone()));
        }
    }

    fn by(sockets: Vec<PathBuf>, way: Box<dyn Ask>) -> Self {
        Self { sockets, within: WITHIN, way, memory: Mutex::default() }
    }

    /// A workload with what its runtime says of its container.
    pub fn describe(&self, workload: Workload) -> Workload {
        // A container in another has its runtime in there. Were this host's asked, who may
        // make cgroups in a container could pass for any other by the name of one.
        let asked = workload.outer.is_empty() && !self.sockets.is_empty();
        let Some(container) = workload.container.clone().filter(|_| asked) else {
            return workload;
        };
        if !container.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return workload;
        }
        let named = (workload.user_slice, container);
        let now = Instant::now();
        if let Some((until, known)) = lock(&self.memory).known.get(&named)
            && now < *until
        {
            return described(workload, known.as_ref());
        }
        let found = self.ask(&workload, now + self.within);
        let whole = found.as_ref().is_some_and(|found| found.whole);
        let until = now + if whole { FRESH } else { ASK_AGAIN };
        let found = found.map(|found| found.workload);
        lock(&self.memory).keep(named, until, found.clone());
        described(workload, found.as_ref())
    }

    fn ask(&self, workload: &Workload, until: Instant) -> Option<Described> {
        let (mut sockets, owner) = match workload.user_slice {
            None => (self.sockets.clone(), 0),
            Some(uid) => {
                let own = PathBuf::from(format!("/run/user/{uid}"));
                (vec![own.join("docker.sock"), own.join("podman/podman.sock")], uid)
            }
        };
        // Who is likely to know is asked first.
        sockets.sort_by_key(|socket| !Tongue::of(socket).suits(workload));
        for socket in sockets {
            if self.is_silent(&socket) || self.way.owner(&socket) != Some(owner) {
                continue;
            }
            let mut ask = |question: &Question| {
                let answer = self.way.ask(&socket, owner, question, until);
                if let Err(AnswerError::Silent(error)) = &answer {
                    tracing::debug!("{} does not answer: {error}", socket.display());
                    lock(&self.memory).silent.insert(socket.clone(), Instant::now());
                }
                answer
            };
            match Tongue::of(&socket).describe(workload, &mut ask) {
                Ok(mut found) => {
                    // Of the kubelet's paths some don't say whose container it is.
                    let runtime = &mut found.workload.runtime;
                    *runtime =
                        runtime.take().or_else(|| Tongue::runtime(&socket).map(str::to_owned));
                    if workload.user_slice.is_some() {
                        found.workload.managed = None;
                    }
                    return Some(found);
                }
                Err(error) => tracing::debug!("{}: {error}", socket.display()),
            }
        }
        None
    }

    fn is_silent(&self, socket: &Path) -> bool {
        lock(&self.memory).silent.get(socket).is_some_and(|at| at.elapsed() < ASK_AGAIN)
    }
}

/// A workload with what was told of its container.
fn described(workload: Workload, told: Option<&Workload>) -> Workload {
    let Some(told) = told.cloned() else { return workload };
    Workload {
        pod: workload.pod.or(told.pod),
        runtime: workload.runtime.or(told.runtime),
        image: told.image,
        image_digest: told.image_digest,
        image_id: told.image_id,
        container_name: told.container_name,
        pod_name: told.pod_name,
        namespace: told.namespace,
        managed: told.managed,
        labels: told.labels,
        unit: workload.unit,
        container: workload.container,
        slice: workload.slice,
        user_slice: workload.user_slice,
        outer: workload.outer,
        qos: workload.qos,
    }
}

/// What comes of asking a socket whether it answers at all.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting {
    Absent,
    /// It belongs to this user: what it says would not be believed.
    Others(u32),
    Answered,
    Failed(AnswerError),
}

pub fn greet(socket: &Path, owner: u32) -> Greeting {
    match OverSocket.owner(socket) {
        None => return Greeting::Absent,
        Some(other) if other != owner => return Greeting::Others(other),
        Some(_) => {}
    }
    let question = Tongue::of(socket).greeting();
    match OverSocket.ask(socket, owner, &question, Instant::now() + WITHIN_GREETING) {
        Ok(_) => Greeting::Answered,
        Err(error) => Greeting::Failed(error),
    }
}

#[derive(Debug)]
struct OverSocket;

impl Ask for OverSocket {
    fn owner(&self, socket: &Path) -> Option<u32> {
        // /run/docker.sock may be a link that root made.
        let data = std::fs::metadata(socket).ok()?;
        data.file_type().is_socket().then(|| data.uid())
    }

    fn ask(
        &self,
        socket: &Path,
        owner: u32,
        question: &Question,
        until: Instant,
    ) -> Result<Vec<u8>, AnswerError> {
        let silent = |error: io::Error| AnswerError::Silent(error.to_string());
        let mut exchange = question.exchange();
        let mut stream = connected(socket, owner, until).map_err(silent)?;
        say(&mut stream, exchange.opening(), until).map_err(silent)?;
        hear(&mut stream, &mut exchange, until)
    }
}

fn connected(path: &Path, owner: u32, until: Instant) -> io::Result<UnixStream> {
    left(until)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Where its backlog is full this fails instead of waiting.
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    // The path may have been made to lead elsewhere meanwhile.
    if sockopt::socket_peercred(&socket)?.uid.as_raw() != owner {
        return Err(io::Error::other("somebody else listens there"));
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn say(stream: &mut UnixStream, bytes: &[u8], until: Instant) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let written = stream.write(rest)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn hear(
    stream: &mut UnixStream,
    exchange: &mut Exchange,
    until: Instant,
) -> Result<Vec<u8>, AnswerError> {
    let silent = |error: io::Error| AnswerError::Silent(error.to_string());
    let mut block = [0; 16 * 1024];
    loop {
        stream.set_read_timeout(Some(left(until).map_err(silent)?)).map_err(silent)?;
        let read = stream.read(&mut block).map_err(silent)?;
        if read == 0 {
            return Err(AnswerError::Short);
        }
        match exchange.take(block.get(..read).unwrap_or_default())? {
            Heard::All(answer) => return Ok(answer),
            Heard::More(reply) => say(stream, &reply, until).map_err(silent)?,
        }
    }
}

/// What is left of the time; an error where none is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests;
