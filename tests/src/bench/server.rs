//! The server that every path ends at: one thread, one epoll. A connection
//! begins with what is wanted of it:
//!
//! - `e` and a size (u32): for every so many bytes, as many come back;
//! - `d` and a number (u64): so many bytes come;
//! - `u` and a number (u64): so many bytes are taken, then one comes back;
//! - `f`: one byte comes back.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::echo::listen;
use crate::sys;

pub struct Server {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    pub fn start(port: u16) -> Result<Self> {
        let listener = listen((Ipv4Addr::LOCALHOST, port).into(), 4096)?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || serve(&listener, &stopping));
        Ok(Self { port, stop, thread: Some(thread) })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the bench's server failed: {error:#}");
        }
    }
}

enum Wanted {
    /// The header so far.
    Unknown(Vec<u8>),
    Echo {
        size: usize,
        taken: usize,
    },
    Give {
        left: u64,
    },
    Take {
        left: u64,
    },
    Nothing,
}

struct Connection {
    stream: TcpStream,
    wanted: Wanted,
    /// Bytes of an answer that the socket had no room for.
    owed: u64,
    writable: bool,
}

fn serve(listener: &TcpListener, stop: &AtomicBool) -> Result<()> {
    // SAFETY: epoll_create1(2) takes a number; what it returns is ours.
    let epoll = unsafe { OwnedFd::from_raw_fd(sys::check(libc::epoll_create1(0))?) };
    watch(&epoll, listener.as_raw_fd(), libc::EPOLLIN, libc::EPOLL_CTL_ADD)?;
    let mut connections: HashMap<RawFd, Connection> = HashMap::new();
    let mut buffer = vec![0; 256 * 1024];
    let zeroes = vec![0; 256 * 1024];
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: room for as many events as said.
        let count = unsafe {
            libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 100)
        };
        for event in events.iter().take(usize::try_from(count).unwrap_or(0)) {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let fd = stream.as_raw_fd();
                    watch(&epoll, fd, libc::EPOLLIN, libc::EPOLL_CTL_ADD)?;
                    let wanted = Wanted::Unknown(Vec::new());
                    connections.insert(fd, Connection { stream, wanted, owed: 0, writable: false });
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&fd) else { continue };
            if !step(connection, &mut buffer, &zeroes) {
                connections.remove(&fd);
                continue;
            }
            let writable = connection.owed > 0 || matches!(connection.wanted, Wanted::Give { .. });
            if writable != connection.writable {
                connection.writable = writable;
                let interest =
                    if writable { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
                watch(&epoll, fd, interest, libc::EPOLL_CTL_MOD).context("epoll")?;
            }
        }
    }
    Ok(())
}

fn watch(epoll: &OwnedFd, fd: RawFd, interest: i32, operation: i32) -> Result<()> {
    let mut event = libc::epoll_event { events: interest as u32, u64: fd as u64 };
    // SAFETY: one event.
    sys::check(unsafe {
        libc::epoll_ctl(epoll.as_fd().as_raw_fd(), operation, fd, &raw mut event)
    })?;
    Ok(())
}

/// False: it is over.
fn step(connection: &mut Connection, buffer: &mut [u8], zeroes: &[u8]) -> bool {
    // One read a turn: a bulk sender must not starve the others.
    match connection.stream.read(buffer) {
        Ok(0) => return false,
        Ok(length) => {
            if !take(connection, buffer.get(..length).unwrap_or_default()) {
                return false;
            }
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return false,
    }
    if let Wanted::Give { left } = &mut connection.wanted {
        connection.owed += std::mem::take(left);
        connection.wanted = Wanted::Nothing;
    }
    while connection.owed > 0 {
        let length = zeroes.len().min(usize::try_from(connection.owed).unwrap_or(usize::MAX));
        match connection.stream.write(zeroes.get(..length).unwrap_or_default()) {
            Ok(written) => connection.owed -= written as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return false,
        }
    }
    true
}

/// Takes what came; false where it makes no sense.
fn take(connection: &mut Connection, mut bytes: &[u8]) -> bool {
    while let Wanted::Unknown(header) = &mut connection.wanted {
        let Some((first, rest)) = bytes.split_first() else { return true };
        header.push(*first);
        bytes = rest;
        let number = |length: usize| -> Option<u64> {
            let digits = header.get(1..=length)?;
            Some(digits.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        connection.wanted = match header.first() {
            Some(b'e') => match number(4) {
                Some(size) => Wanted::Echo { size: size as usize, taken: 0 },
                None => continue,
            },
            Some(b'd') => match number(8) {
                Some(left) => Wanted::Give { left },
                None => continue,
            },
            Some(b'u') => match number(8) {
                Some(left) => Wanted::Take { left },
                None => continue,
            },
            Some(b'f') => {
                connection.owed += 1;
                Wanted::Nothing
            }
            _ => return false,
        };
    }
    match &mut connection.wanted {
        Wanted::Echo { size, taken } => {
            *taken += bytes.len();
            connection.owed += (*taken / *size * *size) as u64;
            *taken %= *size;
        }
        Wanted::Take { left } => {
            *left = left.saturating_sub(bytes.len() as u64);
            if *left == 0 {
                connection.owed += 1;
                connection.wanted = Wanted::Nothing;
            }
        }
        Wanted::Unknown(_) | Wanted::Give { .. } | Wanted::Nothing => {}
    }
    true
}
