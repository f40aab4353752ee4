//! What a process may try besides connecting as everybody does.

use std::io::{Error, Read, Write};
use std::mem::size_of;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Connect, Report, Task, connect, say};
use crate::echo::listen;
use crate::sys::{self, RawAddress};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BindReport {
    pub pid: u32,
    /// The errno of each bind or listen; absent: it listens.
    pub errnos: Vec<Option<i32>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FillReport {
    pub pid: u32,
    pub under_way: usize,
    /// EPERM.
    pub refused: usize,
    pub other: Vec<i32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SquatReport {
    pub pid: u32,
    /// listen's.
    pub errno: Option<i32>,
    pub port: u16,
}

/// A socket made here, connected by a child.
pub fn fork(plan: &Connect) -> Result<()> {
    let socket = connect::prepare(plan).map_err(|(step, error)| step_error(step, error))?;
    let plan = Connect { socket: Some(inheritable(socket.as_fd())?), ..plan.clone() };
    child(&plan)
}

/// A socket made and connected here, used by a child.
pub fn pass(plan: &Connect) -> Result<()> {
    let socket = connect::prepare(plan).map_err(|(step, error)| step_error(step, error))?;
    connect::establish(plan, socket.as_fd()).map_err(|(step, error)| step_error(step, error))?;
    let plan =
        Connect { socket: Some(inheritable(socket.as_fd())?), connected: true, ..plan.clone() };
    child(&plan)
}

fn step_error(step: &str, error: Error) -> anyhow::Error {
    anyhow::Error::from(error).context(step.to_string())
}

fn inheritable(socket: BorrowedFd<'_>) -> Result<RawFd> {
    // SAFETY: fcntl(2) takes numbers here.
    sys::check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, 0) })?;
    Ok(socket.as_raw_fd())
}

fn child(plan: &Connect) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    if super::SELF.load(std::sync::atomic::Ordering::Relaxed) {
        command.arg("probe");
    }
    let status = command
        .arg(serde_json::to_string(&Task::Connect(plan.clone()))?)
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "the child failed: {status}");
    Ok(())
}

pub fn bind(at: &[SocketAddr]) -> Result<()> {
    let mut held = Vec::new();
    let mut errnos = Vec::new();
    for address in at {
        match listen(*address, 16) {
            Ok(listener) => {
                held.push(listener);
                errnos.push(None);
            }
            Err(error) => {
                let errno = error.downcast_ref::<Error>().and_then(Error::raw_os_error);
                errnos.push(Some(errno.context("a bind failed without an errno")?));
            }
        }
    }
    say(&BindReport { pid: std::process::id(), errnos })?;
    until_input_ends();
    Ok(())
}

pub fn fill(to: SocketAddr, count: usize) -> Result<()> {
    let raw = RawAddress::from(to);
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut report =
        FillReport { pid: std::process::id(), under_way: 0, refused: 0, other: Vec::new() };
    let mut held: Vec<OwnedFd> = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = sys::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
        match sys::connect(socket.as_fd(), &raw).map_err(|error| error.raw_os_error()) {
            Ok(()) | Err(Some(libc::EINPROGRESS)) => report.under_way += 1,
            Err(Some(libc::EPERM)) => report.refused += 1,
            Err(errno) => report.other.push(errno.unwrap_or_default()),
        }
        held.push(socket);
    }
    say(&report)?;
    until_input_ends();
    Ok(())
}

/// Leaves a connect behind: the socket is closed while the connect is under way.
pub fn leave(to: SocketAddr, source: SocketAddr) -> Result<()> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = sys::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)?;
    sys::bind(socket.as_fd(), source)?;
    let errno = match sys::connect(socket.as_fd(), &RawAddress::from(to)) {
        Ok(()) => None,
        Err(error) => error.raw_os_error(),
    };
    drop(socket);
    say(&BindReport { pid: std::process::id(), errnos: vec![errno] })
}

/// The shortest life of a client.
pub fn touch(to: SocketAddr, label: &str) -> Result<()> {
    let mut stream = TcpStream::connect(to)?;
    let own = sys::plain(stream.local_addr()?);
    stream.write_all(format!("tg1 mute {label} {own}\n").as_bytes())?;
    Ok(())
}

/// The kernel chooses the port of a socket that listens unbound: no bind hook
/// sees it.
pub fn squat() -> Result<()> {
    let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    // SAFETY: listen(2) takes numbers.
    let errno = match sys::check(unsafe { libc::listen(socket.as_raw_fd(), 16) }) {
        Ok(_) => None,
        Err(error) => error.raw_os_error(),
    };
    let port = sys::socket_name(socket.as_fd())?.port();
    say(&SquatReport { pid: std::process::id(), errno, port })?;
    let listener = TcpListener::from(socket);
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(b"squatted\n");
            let _ = say(&peer);
        }
    });
    until_input_ends();
    Ok(())
}

pub fn reconnect(to: &[SocketAddr]) -> Result<Vec<Report>> {
    let family = to.first().context("nowhere to connect to")?;
    let socket =
        connect::prepare(&Connect::to(*family, "")).map_err(|(step, e)| step_error(step, e))?;
    let mut reports = Vec::new();
    for (index, to) in to.iter().enumerate() {
        let plan = Connect::to(*to, format!("reconnect-{index}"));
        let mut report = connect::introduce(&plan);
        let done = connect::establish(&plan, socket.as_fd())
            .and_then(|spoken| Ok((spoken, socket.try_clone().map_err(|e| ("dup", e))?)))
            .and_then(|(spoken, copy)| connect::speak(&plan, copy, spoken, &mut report));
        if let Err((step, error)) = done {
            report.step = step.into();
            report.errno = error.raw_os_error();
            report.error = Some(error.to_string());
        }
        reports.push(report);
        sys::connect(socket.as_fd(), &RawAddress::unspecified())?;
    }
    Ok(reports)
}

/// What connect(2) itself costs, whatever comes of it, each on a new socket.
pub fn time(to: SocketAddr, count: usize) -> Result<Vec<u64>> {
    let raw = RawAddress::from(to);
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = sys::socket(family, libc::SOCK_STREAM, 0)?;
        let started = Instant::now();
        let done = sys::connect(socket.as_fd(), &raw);
        times.push(started.elapsed().as_nanos() as u64);
        if done.is_ok() {
            sys::reset_on_close(socket.as_fd())?;
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// The far end of a `Dialer`: an address a message in, a socket or an errno out.
pub fn dial() -> Result<()> {
    let line = std::io::stdin();
    let line = line.as_fd();
    let mut buffer = [0_u8; 128];
    loop {
        // SAFETY: the buffer is as long as said.
        let length =
            unsafe { libc::recv(line.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let length = usize::try_from(length).map_err(|_| Error::last_os_error())?;
        if length == 0 {
            return Ok(());
        }
        let to: SocketAddr = std::str::from_utf8(&buffer[..length])?.parse()?;
        let plan = Connect::to(to, "dial");
        let made = connect::prepare(&plan).and_then(|socket| {
            connect::establish(&plan, socket.as_fd())?;
            Ok(socket)
        });
        match made {
            Ok(socket) => send(line, 0, Some(socket.as_fd()))?,
            Err((_, error)) => send(line, error.raw_os_error().unwrap_or(libc::EIO), None)?,
        }
    }
}

/// One errno, and a descriptor beside it.
fn send(line: BorrowedFd<'_>, errno: i32, passed: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut bytes = errno.to_ne_bytes();
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = [0_u64; 4];
    // SAFETY: the message points at locals that outlive the call; the control
    // buffer has room for one descriptor.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if let Some(passed) = passed {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(passed.as_raw_fd());
        }
        sys::check(libc::sendmsg(line.as_raw_fd(), &raw const message, 0) as i32)?;
    }
    Ok(())
}

fn until_input_ends() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
