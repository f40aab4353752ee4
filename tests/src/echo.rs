//! A server that knows from where every byte came.
//!
//! A client begins with one line, `tg1 <behaviour> <label> <from>`, where
//! `from` is its own address; or `-`, and then its address in a second line
//! (a client whose first bytes travel with its SYN knows it only afterwards).
//! The server answers `tg1 <peer> <gated|direct>` and behaves as asked.
//!
//! INVARIANT: a connection is direct when the server's peer is the client's
//! own address. The gate's own socket may have that number by coincidence (the
//! kernel shares ports between connections to different places); then, and
//! only then, a connection from that address to the gate exists too.

mod behaviour;
mod record;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};

pub use behaviour::Behaviour;
pub use record::Record;

use crate::namespace::Namespace;
use crate::{ports, sys};

pub struct Echo {
    port: u16,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    accepting: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    records: Mutex<Vec<Arc<Record>>>,
    open: Mutex<HashMap<u64, TcpStream>>,
    next: AtomicU64,
    stopping: AtomicBool,
    gate: Mutex<Option<u16>>,
}

impl Echo {
    /// On every loopback address of the harness's namespace, at a fresh port.
    pub fn start() -> Result<Self> {
        Self::start_at(ports::fresh()?)
    }

    pub fn start_at(port: u16) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (mut listeners, mut accepting) = (Vec::new(), Vec::new());
        for address in
            [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), (Ipv6Addr::UNSPECIFIED, port).into()]
        {
            let listener = listen(address, 4096)
                .with_context(|| format!("the test's server cannot listen at {address}"))?;
            listeners.push(listener.try_clone()?);
            let shared = Arc::clone(&shared);
            accepting.push(std::thread::spawn(move || accept(&listener, &shared)));
        }
        Ok(Self { port, shared, listeners, accepting })
    }

    pub fn start_in(namespace: &Namespace, port: u16) -> Result<Self> {
        namespace.within(|| Self::start_at(port))
    }

    /// The gate's listener, which settles a coincidence of ports.
    pub fn gate_is(&self, port: u16) {
        *lock(&self.shared.gate) = Some(port);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn v4(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn v6(&self) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.port).into()
    }

    /// Every connection there was.
    pub fn records(&self) -> Vec<Arc<Record>> {
        lock(&self.shared.records).clone()
    }

    pub fn open(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// The connections that brought a byte, and did not come through the gate
    /// or did not say who they were.
    pub fn trespassers(&self) -> Vec<Arc<Record>> {
        self.records().into_iter().filter(|record| record.trespassed()).collect()
    }

    pub fn forget(&self) {
        lock(&self.shared.records).clear();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for listener in &self.listeners {
            // SAFETY: shutdown(2) on a descriptor that is ours wakes accept(2).
            unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
        }
        for thread in self.accepting.drain(..) {
            let _ = thread.join();
        }
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A listener with a backlog of its own, IPv6 without IPv4.
pub fn listen(address: SocketAddr, backlog: i32) -> Result<TcpListener> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = sys::socket(family, libc::SOCK_STREAM, 0)?;
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)?;
    if address.is_ipv6() {
        sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1_i32)?;
    }
    sys::bind(socket.as_fd(), address)?;
    // SAFETY: listen(2) takes numbers; the descriptor is a socket and ours.
    unsafe {
        sys::check(libc::listen(socket.as_raw_fd(), backlog))?;
        Ok(TcpListener::from_raw_fd(socket.into_raw_fd()))
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            if shared.stopping.load(Ordering::SeqCst) {
                return;
            }
            continue;
        };
        let record = Arc::new(Record::new(sys::plain(peer)));
        lock(&shared.records).push(Arc::clone(&record));
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        if let Ok(copy) = stream.try_clone() {
            lock(&shared.open).insert(id, copy);
        }
        let handed = Arc::clone(shared);
        let started = Builder::new().stack_size(192 * 1024).spawn(move || {
            let outcome = serve(stream, &record, &handed);
            lock(&handed.open).remove(&id);
            record.finish(outcome.err().map(|error| format!("{error:#}")));
        });
        if let Err(error) = started {
            lock(&shared.open).remove(&id);
            eprintln!("the test's server cannot start a thread: {error}");
        }
    }
}

fn serve(stream: TcpStream, record: &Record, shared: &Shared) -> Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
    let mut line = String::new();
    let read = reader.read_line(&mut line);
    record.received(line.len() as u64);
    read?;
    let mut words = line.trim_end().split(' ');
    let (Some("tg1"), Some(behaviour), Some(label), Some(from)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Ok(()); // nobody's header: a trespasser if it brought a byte
    };
    let behaviour: Behaviour = behaviour.parse()?;
    let mut second = String::new();
    let from = if from == "-" {
        reader.read_line(&mut second)?;
        record.received(second.len() as u64);
        second.trim_end()
    } else {
        from
    };
    let from = sys::plain(from.parse()?);
    let direct = from == record.peer && !through_gate(from, *lock(&shared.gate))?;
    record.introduced(label, from, direct);
    let mut writer = stream;
    if behaviour != Behaviour::Mute {
        let word = if direct { "direct" } else { "gated" };
        writer.write_all(format!("tg1 {} {word}\n", record.peer).as_bytes())?;
    }
    behaviour.act(reader, writer, record)
}

/// Whether `from` has a connection to the gate: /proc/net/tcp of the thread's
/// own namespace says it.
fn through_gate(from: SocketAddr, gate: Option<u16>) -> Result<bool> {
    let Some(gate) = gate else { return Ok(false) };
    let local = format!(":{:04X}", from.port());
    let remote = format!(":{gate:04X}");
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        for line in std::fs::read_to_string(table)?.lines().skip(1) {
            let mut words = line.split_whitespace().skip(1);
            if let (Some(from), Some(to)) = (words.next(), words.next())
                && from.ends_with(&local)
                && to.ends_with(&remote)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
