//! The canary: a connection of our own, twice a second, to a protected
//! destination of our own. It proves that the hooks catch, that the keeper
//! turns and that the enforcer carries bytes; nothing else refreshes the
//! heartbeat.
//!
//! Its socket must be made in a cgroup below the one attached to. Where the
//! keeper itself isn't there, a small child process is.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::gate::{Order, Orders};

const PATIENCE: Duration = Duration::from_secs(1);
const NONCE: usize = 16;
const MOST_GUESTS: usize = 64;
/// The canary's cgroup, below the one attached to, where the keeper is outside.
const CGROUP: &str = "tidegate-canary";

/// The canary's destination: gives back what it gets, to whoever asks.
#[derive(Debug)]
pub struct Perch {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Perch {
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Answers until the process ends; who dawdles holds nobody up.
    pub fn serve(self) {
        let guests = Arc::new(AtomicUsize::new(0));
        for connection in self.listener.incoming().flatten() {
            if guests.fetch_add(1, Ordering::Relaxed) >= MOST_GUESTS {
                guests.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let leaving = Arc::clone(&guests);
            let work = move || {
                if let Err(error) = answer(connection) {
                    tracing::debug!("a canary did not finish: {error}");
                }
                leaving.fetch_sub(1, Ordering::Relaxed);
            };
            if super::start("perch", work).is_err() {
                guests.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Gives back a nonce, within one patience in all.
fn answer(mut connection: TcpStream) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut nonce = [0; NONCE];
    let mut read = 0;
    while read < NONCE {
        let left = until.saturating_duration_since(Instant::now());
        connection.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match connection.read(nonce.get_mut(read..).unwrap_or_default())? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    connection.set_write_timeout(Some(PATIENCE))?;
    // Whom it sees is the other half of the proof.
    let mut answer = nonce.to_vec();
    answer.extend(connection.peer_addr()?.port().to_be_bytes());
    connection.write_all(&answer)
}

/// One crossing. An error says what didn't hold.
pub fn cross(to: SocketAddr) -> Result<(), String> {
    let mut connection =
        TcpStream::connect_timeout(&to, PATIENCE).map_err(tell("it could not connect"))?;
    connection.set_read_timeout(Some(PATIENCE)).map_err(tell("no timeout"))?;
    connection.set_write_timeout(Some(PATIENCE)).map_err(tell("no timeout"))?;
    let own = connection.local_addr().map_err(tell("no address"))?.port();
    let mut nonce = [0; NONCE];
    rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| format!("no randomness: {error}"))?;
    connection.write_all(&nonce).map_err(tell("it could not write"))?;
    let mut answer = [0; NONCE + 2];
    connection.read_exact(&mut answer).map_err(tell("it got no answer"))?;
    let (back, port) = answer.split_at(NONCE);
    if back != nonce {
        return Err("it came back altered".into());
    }
    if port == own.to_be_bytes() {
        return Err("it went direct: the hooks do not catch this cgroup's connects".into());
    }
    Ok(())
}

fn tell(what: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Where the canary's sockets are made.
#[derive(Debug)]
pub enum Nest {
    /// The keeper is below the cgroup attached to.
    Here,
    Child(Box<Outside>),
}

/// The canary's process, below the cgroup that the keeper isn't in.
#[derive(Debug)]
pub struct Outside {
    process: Child,
    ask: ChildStdin,
    hear: BufReader<ChildStdout>,
    cgroup: PathBuf,
}

impl Nest {
    pub fn new(cgroup: &Path, keeper_is_inside: bool, to: SocketAddr) -> io::Result<Self> {
        if keeper_is_inside {
            return Ok(Self::Here);
        }
        Outside::new(cgroup, to).map(|outside| Self::Child(Box::new(outside)))
    }

    /// Whose connects are canaries.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Here => std::process::id(),
            Self::Child(outside) => outside.process.id(),
        }
    }

    fn cross(&mut self, to: SocketAddr) -> Result<(), String> {
        match self {
            Self::Here => cross(to),
            Self::Child(outside) => outside.cross(),
        }
    }

    /// A canary whose process has died gets another.
    fn mend(&mut self, to: SocketAddr) {
        if let Self::Child(outside) = self
            && matches!(outside.process.try_wait(), Ok(Some(_)))
            && let Some(cgroup) = outside.cgroup.parent()
        {
            match Outside::new(cgroup, to) {
                Ok(another) => **outside = another,
                Err(error) => tracing::error!("the canary has no process: {error}"),
            }
        }
    }
}

impl Outside {
    fn new(cgroup: &Path, to: SocketAddr) -> io::Result<Self> {
        let folder = cgroup.join(CGROUP);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let _alone = super::spawning();
        let mut process = Command::new("/proc/self/exe")
            .args(["canary", "--to", &to.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .spawn()?;
        std::fs::write(folder.join("cgroup.procs"), process.id().to_string())?;
        let (Some(ask), Some(hear)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the canary's process has no pipes"));
        };
        Ok(Self { process, ask, hear: BufReader::new(hear), cgroup: folder })
    }

    fn cross(&mut self) -> Result<(), String> {
        let lost = |error: io::Error| format!("its process is gone: {error}");
        self.ask.write_all(b"go\n").map_err(lost)?;
        let mut line = String::new();
        self.hear.read_line(&mut line).map_err(lost)?;
        match line.trim_end() {
            "ok" => Ok(()),
            "" => Err("its process is gone".into()),
            error => Err(error.into()),
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir(&self.cgroup);
    }
}

/// Takes away the cgroup that a canary's process left.
pub fn tidy(cgroup: &Path) {
    let _ = std::fs::remove_dir(cgroup.join(CGROUP));
}

/// Crosses again and again, until the gate has ended.
pub fn fly(mut nest: Nest, to: SocketAddr, every: Duration, pid: &AtomicU32, orders: &Orders) {
    loop {
        let started = Instant::now();
        let outcome = nest.cross(to);
        if outcome.is_err() {
            nest.mend(to);
            pid.store(nest.pid(), Ordering::Relaxed);
        }
        if !orders.send(Order::Canary(outcome)) {
            return;
        }
        std::thread::sleep(every.saturating_sub(started.elapsed()));
    }
}

/// The child's side: a crossing for each line, its outcome as a line.
pub fn child(to: SocketAddr) -> io::Result<()> {
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        let outcome = cross(to).err().unwrap_or_else(|| "ok".into());
        let mut out = io::stdout();
        writeln!(out, "{}", outcome.replace('\n', " "))?;
        out.flush()?;
        line.clear();
    }
    Ok(())
}
