//! A server or a client that fails at every single byte of a recorded session:
//! the other side learns it at once, and the agent keeps nothing of it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::certificates::Key;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::diff::all;
use tidegate_tests::kernel::descriptors;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::recorded::{Fault, PATIENCE, Session, Side, is_beginning, play};
use tidegate_tests::seen::Status;
use tidegate_tests::wire::{Connection, message, tls};
use tidegate_tests::{ports, wait};

struct Ground {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    listener: TcpListener,
}

impl Ground {
    fn start() -> Result<Self> {
        let port = ports::fresh()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::postgres([port]))?;
        Ok(Self { agent, work, _root: root, listener })
    }

    /// One session by way of `dialer`, in which `failing` fails at byte `at`.
    fn once(
        &self,
        dialer: &mut Dialer,
        session: &Session,
        fault: Option<(Side, Fault, usize)>,
    ) -> Result<()> {
        let of = |side| fault.and_then(|(by, how, at)| (by == side).then_some((how, at)));
        let begun = Instant::now();
        let client = dialer.open(self.listener.local_addr()?)?;
        let (server, _) = self.listener.accept()?;
        let (client, server) = std::thread::scope(|scope| {
            let server =
                scope.spawn(|| side(server, session, Side::Server, of(Side::Server), fault));
            let client = side(client, session, Side::Client, of(Side::Client), fault);
            (client, server.join())
        });
        let server = server.map_err(|_| anyhow!("the server's thread panicked"))?;
        for (who, seen, other) in
            [(Side::Client, client, Side::Server), (Side::Server, server, Side::Client)]
        {
            let seen = seen.with_context(|| format!("the {who:?}'s side"))?;
            is_beginning(&seen.received, &session.said_by(other))
                .map_err(|why| anyhow!("the {who:?} received: {why}"))?;
            if fault.is_none() {
                let all = session.said_by(other).len();
                ensure!(seen.received.len() == all, "the {who:?} received a part only");
            }
        }
        ensure!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
        Ok(())
    }

    /// Both ends of a session that has begun.
    fn session(&self, dialer: &mut Dialer) -> Result<(Connection, TcpStream)> {
        let stream = dialer.open(self.listener.local_addr()?)?;
        let mut client = Connection::new(stream, Arc::default())?;
        let (mut server, _) = self.listener.accept()?;
        server.set_read_timeout(Some(PATIENCE))?;
        let parameters = [("user", "app"), ("database", "app")];
        let startup = message::startup(message::PROTOCOL, &parameters);
        client.send(&startup)?;
        server.read_exact(&mut vec![0; startup.len()])?;
        let welcome = [
            message::typed(b'R', &[0; 4]),
            message::typed(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]),
            message::typed(b'Z', b"I"),
        ];
        server.write_all(&welcome.concat())?;
        client.until(b'Z')?;
        Ok((client, server))
    }

    /// Every session is over, nobody has died, and no more is held than before.
    fn is_as_before(&self, before: &BTreeMap<u32, usize>) -> Result<()> {
        let over = |it: &Status| it.open == 0 && it.enforcers.iter().all(|one| one.sessions == 0);
        let status =
            self.agent.wait_status("every session's end", Duration::from_secs(15), over)?;
        ensure!(status.enforcers.len() == 1, "{:?}", status.enforcers);
        ensure!(status.enforcers[0].restarts == 0, "the enforcer died: {status:?}");
        wait::until("descriptors to be where they were", Duration::from_secs(15), || {
            let now = self.held()?;
            // The canary's own connection may be under way.
            let same =
                before.iter().all(|(pid, was)| now.get(pid).is_none_or(|now| *now <= *was + 4));
            Ok(same.then_some(()))
        })
        .with_context(|| format!("before: {before:?}, now: {:?}", self.held()))
    }

    fn held(&self) -> Result<BTreeMap<u32, usize>> {
        let mut held = BTreeMap::new();
        for pid in self.agent.processes()? {
            if let Ok(count) = descriptors(pid) {
                held.insert(pid, count);
            }
        }
        Ok(held)
    }
}

/// Who is stalled gives up waiting before the harness does.
fn side(
    stream: std::net::TcpStream,
    session: &Session,
    who: Side,
    mine: Option<(Fault, usize)>,
    fault: Option<(Side, Fault, usize)>,
) -> Result<tidegate_tests::recorded::Seen> {
    let stalled = matches!(fault, Some((by, Fault::Stall, _)) if by != who);
    if !stalled {
        return play(stream, session, who, mine);
    }
    let watched = stream.try_clone()?;
    let hurry = std::thread::spawn(move || {
        // As soon as nothing more has come for a moment.
        std::thread::sleep(Duration::from_millis(15));
        let _ = watched.shutdown(std::net::Shutdown::Both);
    });
    let seen = play(stream, session, who, mine);
    hurry.join().map_err(|_| anyhow!("a thread panicked"))?;
    seen
}

fn every_byte(names: &[&str], step: usize) -> Result<()> {
    let ground = Ground::start()?;
    for led in [false, true] {
        let place = if led { Place::new().cgroup(&ground.work) } else { Place::new() };
        let mut dialer = Dialer::start(&place)?;
        let way = if led { "through the agent" } else { "directly" };
        // What is taken once is taken now.
        for name in names {
            ground.once(&mut dialer, &Session::read(name)?, None).context(way)?;
        }
        let before = ground.held()?;
        let mut count = 0;
        for name in names {
            let session = Session::read(name)?;
            for failing in [Side::Client, Side::Server] {
                let length = session.said_by(failing).len();
                for fault in Fault::ALL {
                    // A stall takes its time; it has nothing to do with bytes'
                    // values, so every seventh is enough.
                    let step = if fault == Fault::Stall { step * 7 } else { step };
                    for at in (1..length).step_by(step) {
                        ground
                            .once(&mut dialer, &session, Some((failing, fault, at)))
                            .with_context(|| {
                                format!(
                                    "{name}, {way}: {failing:?} {fault:?} at byte {at}{}",
                                    ground.agent.tail()
                                )
                            })?;
                        count += 1;
                    }
                }
            }
        }
        eprintln!("{count} faults {way}");
        if led {
            ground.is_as_before(&before)?;
        }
    }
    Ok(())
}

#[test]
fn a_fault_at_every_byte_of_a_session() -> Result<()> {
    every_byte(&["raw_copy"], 1)
}

#[test]
fn a_fault_at_some_bytes_of_other_sessions() -> Result<()> {
    // Not `refused`: its server answers only once it has all of a pipeline of several
    // Syncs, and tidegate hands on what stands behind a Sync when that is answered.
    let names = ["raw_pipeline", "login_scram", "psycopg_notify"];
    every_byte(&names, if all() { 1 } else { 29 })
}

/// A server that is not there, or that ends at once, says so to the client.
#[test]
fn a_server_that_says_nothing() -> Result<()> {
    let ground = Ground::start()?;
    let to: SocketAddr = ground.listener.local_addr()?;
    for led in [false, true] {
        let place = if led { Place::new().cgroup(&ground.work) } else { Place::new() };
        let mut dialer = Dialer::start(&place)?;
        for _ in 0..50 {
            let client = dialer.open(to)?;
            drop(ground.listener.accept()?);
            let session = Session::read("raw_copy")?;
            let seen = play(client, &session, Side::Client, None)?;
            is_beginning(&seen.received, b"").map_err(|why| anyhow!(why))?;
        }
    }
    Ok(())
}

/// Carries bytes one way, and fails after so many.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    cut: Option<(Fault, usize)>,
) -> std::io::Result<usize> {
    let mut buffer = [0; 4096];
    let mut moved = 0;
    loop {
        let left = cut.map_or(usize::MAX, |(_, at)| at - moved);
        let room = buffer.len().min(left);
        let read = from.read(&mut buffer[..room]).unwrap_or(0);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return Ok(moved);
        }
        moved += read;
        if let Some((fault, at)) = cut
            && at == moved
        {
            match fault {
                Fault::Close => {
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                }
                Fault::Reset => {
                    for one in [&from, &to] {
                        tidegate_tests::sys::reset_on_close(one.as_fd())?;
                        // The other direction's thread lets go of it.
                        let _ = one.shutdown(Shutdown::Read);
                    }
                }
                Fault::HalfClose => {
                    let _ = to.shutdown(Shutdown::Write);
                }
                // Nobody's patience is as short as this one's.
                Fault::Stall => {
                    std::thread::sleep(Duration::from_millis(20));
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                }
            }
            // What still comes is heard by nobody.
            while from.read(&mut buffer).unwrap_or(0) > 0 {}
            return Ok(moved);
        }
    }
}

/// A session with TLS by way of the agent and of a line that fails, to the client or to
/// the server; how much went up and down that line, and whether the session came to its end.
fn by_a_line(
    ground: &Ground,
    dialer: &mut Dialer,
    server: u16,
    line: Side,
    cuts: [Option<(Fault, usize)>; 2],
) -> Result<([usize; 2], Result<()>)> {
    let led = dialer.open(ground.listener.local_addr()?)?;
    let (near, _) = ground.listener.accept()?;
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let (client, mut lines) = match line {
        Side::Server => (led, vec![(near, far, cuts)]),
        Side::Client => {
            let between = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let client = TcpStream::connect(between.local_addr()?)?;
            let (own, _) = between.accept()?;
            (client, vec![(own, led, cuts), (near, far, [None; 2])])
        }
    };
    std::thread::scope(|scope| {
        let mut pumps = Vec::new();
        for (near, far, cuts) in lines.drain(..) {
            let (one, other) = (near.try_clone()?, far.try_clone()?);
            pumps.push(scope.spawn(move || pump(one, other, cuts[0])));
            pumps.push(scope.spawn(move || pump(far, near, cuts[1])));
        }
        let client = secured_session(client);
        let mut moved = [0; 2];
        for (pump, count) in pumps.into_iter().zip(0..) {
            let bytes = pump.join().map_err(|_| anyhow!("a thread panicked"))??;
            if let Some(moved) = moved.get_mut(count) {
                *moved = bytes;
            }
        }
        Ok((moved, client))
    })
}

fn secured_session(stream: TcpStream) -> Result<()> {
    let mut one = Connection::new(stream, Arc::default())?;
    one.socket()?.set_read_timeout(Some(PATIENCE))?;
    ensure!(one.ask_for_tls(&tls::Terms::any()?)?, "no TLS");
    one.send(&message::startup(message::PROTOCOL, &[("user", "app"), ("database", "app")]))?;
    one.until(b'Z')?;
    one.query("SELECT repeat('tide', 700)")?;
    one.leave()
}

/// Within the handshake, the records, the end of a leg's TLS: closed without its farewell,
/// reset, cut in a record, or gone silent.
fn a_line_that_fails(line: Side) -> Result<()> {
    let postgres = Postgres::setup().tls(Key::P256).auth("trust").start()?;
    let ground = Ground::start()?;
    let mut dialer = Dialer::start(&Place::new().cgroup(&ground.work))?;
    let mut once = |cuts| by_a_line(&ground, &mut dialer, postgres.port(), line, cuts);
    let mut totals = [0; 2];
    for _ in 0..5 {
        let (moved, client) = once([None; 2])?;
        client.with_context(|| ground.agent.tail())?;
        totals = moved;
    }
    let before = ground.held()?;
    let step = if all() { 7 } else { 149 };
    let (mut count, mut whole) = (0, 0);
    for (direction, total) in totals.into_iter().enumerate() {
        for fault in Fault::ALL {
            for at in (1..total).step_by(step) {
                let mut cuts = [None; 2];
                cuts[direction] = Some((fault, at));
                let began = Instant::now();
                let (_, client) = once(cuts)?;
                let context = || format!("{fault:?} at {at} of {total}{}", ground.agent.tail());
                ensure!(began.elapsed() < PATIENCE, "it took {:?}: {}", began.elapsed(), context());
                match client {
                    // The last bytes are a farewell that nobody waits for.
                    Ok(()) => whole += 1,
                    Err(error) => {
                        let told = format!("{error:#}");
                        ensure!(!told.contains("nothing came"), "{told}: {}", context());
                    }
                }
                count += 1;
            }
        }
    }
    eprintln!("{count} faults, {whole} sessions came to their end all the same");
    ensure!(whole * 4 < count, "{whole} of {count} took no harm");
    ground.is_as_before(&before)?;
    once([None; 2])?.1.with_context(|| ground.agent.tail())
}

#[test]
fn a_line_to_the_server_that_fails_within_tls() -> Result<()> {
    a_line_that_fails(Side::Server)
}

#[test]
fn a_line_to_the_client_that_fails_within_tls() -> Result<()> {
    a_line_that_fails(Side::Client)
}

/// What is no TLS, where the client's is to be: before the handshake, within it, and behind
/// it. The server hears of nothing but the end.
#[test]
fn what_is_no_tls_ends_the_session_and_is_recorded() -> Result<()> {
    let postgres = Postgres::setup().tls(Key::P256).auth("trust").start()?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([postgres.port()]))?;
    let mut dialer = Dialer::start(&Place::new().cgroup(&work))?;
    let mut open = || dialer.open(SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port())));
    // A record, with the beginning of what such a message has.
    let hello = [&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 250]].concat();
    let long = [&[23, 3, 3, 0xff, 0xff][..], &[0; 0xffff]].concat();
    let garbage: [(&str, Vec<u8>); 5] = [
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("zeros", vec![0; 300]),
        ("a message that is none", hello),
        ("a record before its time", [&[23, 3, 3, 0, 32][..], &[1; 32]].concat()),
        ("a record that is too long", long),
    ];
    let observer = agent.observe()?;
    let mut cases = 0;
    for (what, bytes) in &garbage {
        for within in [false, true] {
            let context = || format!("{what}, within a session: {within}{}", agent.tail());
            let mut one = Connection::new(open()?, Arc::default())?;
            if within {
                ensure!(one.ask_for_tls(&tls::Terms::any()?)?, "no TLS");
                let parameters = [("user", "app"), ("database", "app")];
                one.send(&message::startup(message::PROTOCOL, &parameters))?;
                one.until(b'Z')?;
            } else {
                one.send(&message::untyped(message::TLS, &[]))?;
                ensure!(one.byte()? == Some(b'S'), "no TLS");
            }
            let began = Instant::now();
            let mut raw = one.socket()?.try_clone()?;
            let _ = raw.write_all(bytes);
            raw.set_read_timeout(Some(PATIENCE))?;
            // An alert at most, and the end.
            let mut heard = Vec::new();
            let ended = raw.read_to_end(&mut heard);
            let timed_out = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            ensure!(!timed_out && heard.len() < 64, "{heard:?}: {}", context());
            ensure!(began.elapsed() < PATIENCE, "{:?}: {}", began.elapsed(), context());
            cases += 1;
        }
    }
    wait::until("the records", Duration::from_secs(10), || {
        let events = observer.events()?;
        let closed = events.iter().filter_map(|event| event.closing.as_ref()?.carried.as_ref());
        let faults = closed.filter_map(|carried| carried.fault.as_deref());
        let ours = faults.filter(|fault| fault.starts_with("TLS with the client failed: "));
        Ok((ours.count() == cases).then_some(()))
    })
    .with_context(|| format!("{:?}", observer.events()))?;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND \
                backend_type = 'client backend'";
    wait::until("the server's sessions to be over", Duration::from_secs(10), || {
        Ok((postgres.admin("app", left)?.trim() == "0").then_some(()))
    })?;
    let status = agent.status()?;
    ensure!(status.enforcers.len() == 1 && status.enforcers[0].restarts == 0, "{status:?}");
    Ok(())
}

/// What one side may say that nobody knows; nothing of it reaches the other.
#[derive(Clone, Copy, Debug)]
enum Nonsense {
    /// A message of a kind that doesn't exist.
    Unknown,
    /// A length that can't be.
    Length,
    /// A message that fits nothing that was asked.
    OutOfPlace,
}

impl Nonsense {
    fn bytes(self, by: Side) -> Vec<u8> {
        match (self, by) {
            (Self::Unknown, _) => message::typed(b'!', b"nonsense"),
            (Self::Length, _) => [&b"D\0\0\0\x03"[..], b"nonsense"].concat(),
            (Self::OutOfPlace, Side::Server) => message::typed(b'D', b"\0\x01\0\0\0\x08nonsense"),
            (Self::OutOfPlace, Side::Client) => message::typed(b'p', b"nonsense\0"),
        }
    }
}

#[test]
fn what_nobody_knows_ends_the_session_on_both_sides_and_is_recorded() -> Result<()> {
    let ground = Ground::start()?;
    let mut dialer = Dialer::start(&Place::new().cgroup(&ground.work))?;
    let mut cases = 0;
    for by in [Side::Server, Side::Client] {
        for nonsense in [Nonsense::Unknown, Nonsense::Length, Nonsense::OutOfPlace] {
            cases += 1;
            let context = || format!("{nonsense:?} by the {by:?}{}", ground.agent.tail());
            let (mut client, mut server) = ground.session(&mut dialer)?;
            match by {
                Side::Server => server.write_all(&nonsense.bytes(by))?,
                Side::Client => client.send(&nonsense.bytes(by))?,
            }
            let heard = client.rest().with_context(context)?;
            let last = heard.last().with_context(context)?;
            ensure!(heard.len() == 1 && last.kind == b'E', "{heard:?}: {}", context());
            ensure!(last.field(b'C').as_deref() == Some("08P01"), "{last:?}: {}", context());
            ensure!(last.field(b'S').as_deref() == Some("FATAL"), "{last:?}: {}", context());
            let mut reached = Vec::new();
            server.read_to_end(&mut reached).with_context(context)?;
            ensure!(reached.is_empty(), "{}: {}", reached.escape_ascii(), context());
        }
    }
    wait::until("the records", Duration::from_secs(10), || {
        let hits = ground.agent.search(&["--kind", "closed"])?;
        let faults = hits.iter().filter(|hit| hit.to_string().contains("\"fault\":\"")).count();
        Ok((faults == cases).then_some(()))
    })?;
    let status = ground.agent.status()?;
    ensure!(status.enforcers.len() == 1 && status.enforcers[0].restarts == 0, "{status:?}");
    Ok(())
}

/// A row that goes by in pieces has no place for words of ours: the client would take them
/// for what lies in the database.
#[test]
fn a_session_that_ends_within_a_row_ends_without_a_word() -> Result<()> {
    let ground = Ground::start()?;
    let mut dialer = Dialer::start(&Place::new().cgroup(&ground.work))?;
    let value = [&[0, 1][..], &300_000_u32.to_be_bytes(), &[b'x'; 300_000]].concat();
    let row = message::typed(b'D', &value);
    let columns =
        message::typed(b'T', b"\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    for (come, told) in [(100_000, false), (299_999, false), (row.len(), true)] {
        let context = || format!("{come} bytes of the row{}", ground.agent.tail());
        let (mut client, mut server) = ground.session(&mut dialer)?;
        let query = message::query("SELECT x");
        client.send(&query)?;
        server.read_exact(&mut vec![0; query.len()])?;
        server.write_all(&columns)?;
        server.write_all(&row[..come])?;
        let mut raw = client.socket()?.try_clone()?;
        let mut heard = vec![0; columns.len() + come];
        raw.read_exact(&mut heard).with_context(context)?;
        client.send(&Nonsense::Unknown.bytes(Side::Client))?;
        let mut rest = Vec::new();
        raw.read_to_end(&mut rest).with_context(context)?;
        ensure!(rest.starts_with(b"E") == told, "{}: {}", rest.escape_ascii(), context());
        ensure!(told || rest.is_empty(), "{}: {}", rest.escape_ascii(), context());
        let mut reached = Vec::new();
        server.read_to_end(&mut reached).with_context(context)?;
        ensure!(reached.is_empty(), "{}: {}", reached.escape_ascii(), context());
    }
    Ok(())
}

/// Where a side ends is in the record if that is in the middle of a message, and only then.
#[test]
fn a_message_that_is_cut_is_in_the_record() -> Result<()> {
    let ground = Ground::start()?;
    let observer = ground.agent.observe()?;
    let mut dialer = Dialer::start(&Place::new().cgroup(&ground.work))?;
    let notice = message::typed(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mnews\0\0");
    let query = message::query("SELECT 1");
    for by in [Side::Server, Side::Client] {
        for cut in [Some(9), Some(3), None] {
            let context = || format!("{cut:?} by the {by:?}{}", ground.agent.tail());
            let ended = || -> Result<usize> {
                Ok(observer.events()?.iter().filter(|event| event.event == "closed").count())
            };
            let before = ended()?;
            let (mut client, mut server) = ground.session(&mut dialer)?;
            let words = if by == Side::Server { &notice } else { &query };
            let said = &words[..cut.unwrap_or(words.len())];
            match by {
                Side::Server => {
                    server.write_all(said)?;
                    drop(server);
                    let heard = client.rest().with_context(context)?;
                    ensure!(heard.len() == usize::from(cut.is_none()), "{heard:?}: {}", context());
                    drop(client);
                }
                Side::Client => {
                    client.send(said)?;
                    client.socket()?.shutdown(Shutdown::Write)?;
                    let mut heard = Vec::new();
                    server.read_to_end(&mut heard).with_context(context)?;
                    let whole = cut.is_none();
                    ensure!(heard.len() == if whole { said.len() } else { 0 }, "{}", context());
                    drop(server);
                    client.rest().with_context(context)?;
                }
            }
            let closing = wait::until("the record", Duration::from_secs(10), || {
                let events = observer.events()?;
                let closed = events.iter().filter(|event| event.event == "closed").nth(before);
                Ok(closed.and_then(|event| event.closing.clone()))
            })?;
            // They have ended it themselves.
            ensure!(closing.end == "closed", "{closing:?}: {}", context());
            let fault = closing.carried.and_then(|carried| carried.fault);
            let side = if by == Side::Server { "server" } else { "client" };
            let missing = cut.map_or(0, |cut| if cut < 5 { 5 - cut } else { words.len() - cut });
            let told = format!(
                "PG-0007 ({side}): the connection ended inside a message: {missing} bytes are missing"
            );
            ensure!(fault == cut.map(|_| told), "{fault:?}: {}", context());
        }
    }
    Ok(())
}
