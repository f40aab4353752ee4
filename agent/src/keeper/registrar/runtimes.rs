//! Asks container runtimes about containers, over their sockets.
//!
//! INVARIANT: a socket is believed only if it belongs to root, or, for the
//! containers in a user's own slice, to that user; and what a user's runtime
//! says never makes a container a service.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::identity::runtime;
use crate::model::Workload;

/// For one question, all in all.
const WITHIN: Duration = Duration::from_millis(150);
/// … where no connect waits for the answer.
const PATIENTLY: Duration = Duration::from_secs(3);
/// How long an answer, or the want of one, holds.
const FRESH: Duration = Duration::from_secs(300);
const ASK_AGAIN: Duration = Duration::from_secs(10);
const MOST_KNOWN: usize = 4096;

/// The way to a runtime: its socket's path, a question, its whole answer.
pub(super) trait Ask: std::fmt::Debug + Send {
    /// Who owns the socket; nothing where there is none.
    fn owner(&self, socket: &Path) -> Option<u32>;
    fn ask(&self, socket: &Path, question: &str) -> io::Result<Vec<u8>>;
}

#[derive(Debug)]
pub(super) struct Runtimes {
    sockets: Vec<PathBuf>,
    way: Box<dyn Ask>,
    /// By container: what it is, if anybody knew.
    known: HashMap<String, (Instant, Option<Workload>)>,
    /// Sockets that didn't answer in time.
    silent: HashMap<PathBuf, Instant>,
}

impl Runtimes {
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self::by(sockets, Box::new(OverSocket { within: WITHIN }))
    }

    /// For who has the time: a runtime that is slow is heard out.
    pub fn patient(sockets: Vec<PathBuf>) -> Self {
        Self::by(sockets, Box::new(OverSocket { within: PATIENTLY }))
    }

    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// What somebody more patient was told of a container.
    pub fn keep(&mut self, found: &Workload) {
        if let Some(container) = &found.container {
            self.known.insert(container.clone(), (Instant::now(), Some(found.clone())));
        }
    }

    fn by(sockets: Vec<PathBuf>, way: Box<dyn Ask>) -> Self {
        Self { sockets, way, known: HashMap::new(), silent: HashMap::new() }
    }

    /// A workload with what its runtime says of its container.
    pub fn describe(&mut self, workload: Workload) -> Workload {
        let Some(container) = workload.container.clone().filter(|_| !self.sockets.is_empty())
        else {
            return workload;
        };
        if !container.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return workload;
        }
        if let Some((asked_at, known)) = self.known.get(&container) {
            let holds = if known.is_some() { FRESH } else { ASK_AGAIN };
            if asked_at.elapsed() < holds {
                return known.clone().unwrap_or(workload);
            }
        }
        let found = self.ask(&container, &workload);
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(container, (Instant::now(), found.clone()));
        found.unwrap_or(workload)
    }

    fn ask(&mut self, container: &str, workload: &Workload) -> Option<Workload> {
        let question = runtime::request(container);
        let (sockets, owner) = match workload.user_slice {
            None => (self.sockets.clone(), 0),
            Some(uid) => {
                let own = PathBuf::from(format!("/run/user/{uid}"));
                (vec![own.join("docker.sock"), own.join("podman/podman.sock")], uid)
            }
        };
        for socket in sockets {
            let silent = self.silent.get(&socket).is_some_and(|at| at.elapsed() < ASK_AGAIN);
            if silent || self.way.owner(&socket) != Some(owner) {
                continue;
            }
            let answer = match self.way.ask(&socket, &question) {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::debug!("{} does not answer: {error}", socket.display());
                    self.silent.insert(socket, Instant::now());
                    continue;
                }
            };
            let mut found = workload.clone();
            let described =
                runtime::body(&answer).and_then(|body| runtime::describe(&body, &mut found));
            match described {
                Ok(()) => {
                    if owner != 0 {
                        found.managed = None;
                    }
                    return Some(found);
                }
                Err(error) => tracing::debug!("{}: {error}", socket.display()),
            }
        }
        None
    }
}

#[derive(Debug)]
struct OverSocket {
    within: Duration,
}

impl Ask for OverSocket {
    fn owner(&self, socket: &Path) -> Option<u32> {
        // /run/docker.sock may be a link that root made.
        let data = std::fs::metadata(socket).ok()?;
        data.file_type().is_socket().then(|| data.uid())
    }

    fn ask(&self, path: &Path, question: &str) -> io::Result<Vec<u8>> {
        let until = Instant::now() + self.within;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Where its backlog is full this fails instead of waiting.
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let mut stream = UnixStream::from(socket);
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(self.within))?;
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        let mut block = [0; 16 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            let read = stream.read(&mut block)?;
            answer.extend_from_slice(block.get(..read).unwrap_or_default());
            match runtime::is_whole(&answer) {
                Ok(false) if read > 0 => {}
                // What is wrong with it is said by who reads it.
                _ => return Ok(answer),
            }
        }
    }
}

#[cfg(test)]
mod tests;
