//! Nobody hangs for ever on tidegate: what it waits for itself, it waits for so long.
//!
//! The times are those of the product, so all wait together; a minute is what it takes.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::place::Place;
use tidegate_tests::wire::message;
use tidegate_tests::{ports, sys, wait};

/// A login that doesn't come.
const OPENING: Duration = Duration::from_secs(60);
/// An end that nobody takes.
const ENDING: Duration = Duration::from_secs(30);
/// A busy machine is late.
const LATE: Duration = Duration::from_secs(15);

const NO_LOGIN: &str = "its client has not logged in within 60s";
const NO_TLS: &str = "the server has not set up TLS within 60s";
const NOT_TAKEN: &str = "nobody took what was left of it for 30s";

struct Ends {
    client: TcpStream,
    server: TcpStream,
}

impl Ends {
    fn open(dialer: &mut Dialer, listener: &TcpListener) -> Result<Self> {
        let client = dialer.open(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        for one in [&client, &server] {
            one.set_read_timeout(Some(OPENING + LATE))?;
        }
        Ok(Self { client, server })
    }

    /// The client says this, and the server hears it.
    fn asks(&mut self, bytes: &[u8]) -> Result<()> {
        self.client.write_all(bytes)?;
        hears(&mut self.server, bytes)
    }

    fn answers(&mut self, bytes: &[u8]) -> Result<()> {
        self.server.write_all(bytes)?;
        hears(&mut self.client, bytes)
    }

    fn log_in(&mut self) -> Result<()> {
        self.asks(&startup())?;
        self.answers(&welcome())
    }

    /// Whether both have heard that it is over; waits for it.
    fn are_over(&mut self) -> Result<()> {
        for one in [&mut self.client, &mut self.server] {
            match one.read_to_end(&mut Vec::new()) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn hears(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard)?;
    ensure!(heard == bytes, "{}", heard.escape_ascii());
    Ok(())
}

fn startup() -> Vec<u8> {
    message::startup(message::PROTOCOL, &[("user", "app"), ("database", "app")])
}

fn welcome() -> Vec<u8> {
    [message::typed(b'R', &[0; 4]), message::typed(b'Z', b"I")].concat()
}

/// As much as lies on the way to a client that reads nothing.
fn fill(server: &mut TcpStream) -> Result<()> {
    let notice = [&b"SNOTICE\0Mx"[..], &[b'x'; 60_000], b"\0\0"].concat();
    let notices = message::typed(b'N', &notice).repeat(500);
    server.set_nonblocking(true)?;
    let (mut sent, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_secs(1) {
        match server.write(&notices[sent..]) {
            Ok(more) => (sent, last) = (sent + more, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(sent < notices.len(), "the client's side takes all of it");
    Ok(server.set_nonblocking(false)?)
}

#[test]
fn what_is_waited_for_has_an_end() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports::fresh()?))?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([listener.local_addr()?.port()]))?;
    let observer = agent.observe()?;
    let mut dialer = Dialer::start(&Place::new().cgroup(&work))?;
    let mut open = || Ends::open(&mut dialer, &listener);
    let request = message::untyped(message::TLS, &[]);
    let begun = Instant::now();

    let mut silent = open()?;
    let mut half = open()?;
    half.client.write_all(&startup()[..9])?;
    let mut asked = open()?;
    asked.asks(&startup())?;
    asked.answers(&message::typed(b'R', &[0, 0, 0, 3]))?;
    let mut agreed = open()?;
    agreed.asks(&request)?;
    agreed.answers(b"S")?;
    let mut unanswered = open()?;
    unanswered.asks(&request)?;
    let mut full = open()?;
    full.log_in()?;
    full.asks(&message::query("SELECT 1"))?;
    fill(&mut full.server)?;
    let ending = Instant::now();
    sys::reset_on_close(full.server.as_fd())?;
    drop(full.server);
    // Whom nobody hurries: a session that rests, and a server that thinks about a login.
    let mut resting = open()?;
    resting.log_in()?;
    let mut slow = open()?;
    slow.asks(&startup())?;

    let told = || -> Result<BTreeMap<String, usize>> {
        let mut told = BTreeMap::new();
        for event in observer.events()? {
            let Some(closing) = &event.closing else { continue };
            let fault = closing.carried.as_ref().and_then(|carried| carried.fault.clone());
            *told.entry(fault.unwrap_or_default()).or_default() += 1;
        }
        Ok(told)
    };
    wait::until("who takes nothing to be given up", ENDING + LATE, || {
        Ok(told()?.contains_key(NOT_TAKEN).then_some(()))
    })
    .with_context(|| agent.tail())?;
    ensure!(ending.elapsed() >= ENDING, "after {:?}", ending.elapsed());
    ensure!(told()?.len() == 1, "{:?}", told());
    for ends in [&mut silent, &mut half, &mut asked, &mut agreed, &mut unanswered] {
        ends.are_over().with_context(|| agent.tail())?;
        let taken = begun.elapsed();
        ensure!(taken >= OPENING && taken < OPENING + LATE, "after {taken:?}");
    }
    let expected = BTreeMap::from([(NO_LOGIN, 4), (NO_TLS, 1), (NOT_TAKEN, 1)]);
    wait::until("the records", LATE, || {
        let told = told()?;
        let told = told.iter().map(|(fault, count)| (fault.as_str(), *count)).collect();
        Ok((expected == told).then_some(()))
    })
    .with_context(|| format!("{:?}{}", told(), agent.tail()))?;
    slow.answers(&welcome())?;
    for ends in [&mut resting, &mut slow] {
        ends.asks(&message::query("SELECT 1"))?;
    }
    drop((resting, slow, full.client));
    agent.wait_status("every session's end", LATE, |it| it.open == 0)?;
    Ok(())
}
