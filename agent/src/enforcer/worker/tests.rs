use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;

use super::super::rig::{Dice, Ends, PATIENCE, Rig, connection, ended, exchange, flow, reset};
use super::*;
use crate::enforcer::relay::Io;

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn bytes_cut_at_random_arrive_unchanged_both_ways_at_once() {
    let mut rig = Rig::ready();
    for seed in 0..6 {
        let Ends { flow, client, server } = rig.connect();
        let mut dice = Dice::new(seed);
        let up = dice.bytes(400_000);
        let down = dice.bytes(700_000);
        let send = |mut stream: TcpStream, bytes: Vec<u8>, seed| {
            std::thread::spawn(move || {
                let mut dice = Dice::new(seed);
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let most = [1, 10, 1_000, 100_000, 300_000][dice.below(5)];
                    let (now, later) = rest.split_at((1 + dice.below(most)).min(rest.len()));
                    stream.write_all(now).unwrap();
                    rest = later;
                }
                stream.shutdown(Shutdown::Write).unwrap();
            })
        };
        let receive = |mut stream: TcpStream| std::thread::spawn(move || read_to_end(&mut stream));
        let senders = [
            send(client.try_clone().unwrap(), up.clone(), seed + 100),
            send(server.try_clone().unwrap(), down.clone(), seed + 200),
        ];
        let (at_server, at_client) = (receive(server), receive(client));
        assert!(at_server.join().unwrap() == up, "seed {seed}: up");
        assert!(at_client.join().unwrap() == down, "seed {seed}: down");
        for sender in senders {
            sender.join().unwrap();
        }
        let closing = rig.closed();
        assert_eq!(closing.flow, flow);
        assert_eq!(closing.end, End::Closed);
        assert_eq!((closing.bytes_up, closing.bytes_down), (400_000, 700_000));
        assert!(closing.duration_us > 0);
    }
}

#[test]
fn a_half_close_lets_the_other_half_go_on() {
    for client_first in [true, false] {
        let mut rig = Rig::ready();
        let Ends { client, server, .. } = rig.connect();
        let (mut first, mut second) =
            if client_first { (client, server) } else { (server, client) };
        first.write_all(b"last words").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut second), b"last words");
        for _ in 0..100 {
            exchange(&mut second, &mut first, b"still here");
        }
        drop(second);
        assert_eq!(read_to_end(&mut first), b"");
        assert_eq!(rig.closed().end, End::Closed);
    }
}

#[test]
fn a_reset_is_a_reset_on_the_other_side_after_the_bytes_before_it() {
    for by_client in [true, false] {
        let mut rig = Rig::ready();
        let Ends { mut client, mut server, .. } = rig.connect();
        exchange(&mut client, &mut server, b"hello");
        let (mut breaks, mut other) = if by_client { (client, server) } else { (server, client) };
        // Sent and delivered before the reset.
        exchange(&mut breaks, &mut other, b"fatal: ");
        reset(breaks);
        let error = other.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let end = if by_client { End::ClientReset } else { End::UpstreamReset };
        assert_eq!(rig.closed().end, end);
    }
}

#[test]
fn what_was_sent_before_a_reset_reaches_a_client_that_reads_late() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect();
    exchange(&mut client, &mut server, b"hello");
    // More than the client's own buffers take: some is held on the way.
    let words = Dice::new(9).bytes(30_000_000);
    server.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let deadline = Instant::now() + PATIENCE;
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < Duration::from_millis(300) {
        assert!(Instant::now() < deadline);
        match server.write(&words[sent..]) {
            Ok(written) => {
                sent += written;
                idle_since = Instant::now();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    // What the server's kernel had not sent when it reset is lost on a direct
    // connection too; all that the enforcer's had received must arrive.
    reset(server);
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(words.starts_with(&got));
    let closing = rig.closed();
    assert_eq!(closing.end, End::UpstreamReset);
    assert_eq!(closing.bytes_down, got.len() as u64);
    assert!(got.len() > 1_000_000, "only {} bytes were on their way", got.len());
}

#[test]
fn a_client_that_writes_without_reading_learns_of_a_reset() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect();
    exchange(&mut client, &mut server, b"hello");
    server.set_nonblocking(true).unwrap();
    // Fill the way to the client.
    let block = [7; 100_000];
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < Duration::from_millis(300) {
        if server.write(&block).is_ok() {
            idle_since = Instant::now();
        }
    }
    reset(server);
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        match client.write_all(&block) {
            Ok(()) => assert!(Instant::now() < deadline, "it writes into the void"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert_eq!(rig.closed().end, End::UpstreamReset);
}

#[test]
fn a_peer_that_is_gone_resets_the_one_that_goes_on_writing() {
    // Closed in order with nothing unread: the reset comes with the next bytes.
    let mut rig = Rig::ready();
    let Ends { client, mut server, .. } = rig.connect();
    drop(client);
    assert_eq!(read_to_end(&mut server), b"");
    let deadline = Instant::now() + PATIENCE;
    while server.write(b"anybody?").is_ok() {
        assert!(Instant::now() < deadline, "nobody told the server");
    }
    assert_eq!(rig.closed().end, End::ClientReset);
}

#[test]
fn one_busy_connection_does_not_hold_up_another() {
    let mut rig = Rig::ready();
    let Ends { client: mut flood, server: mut drain, .. } = rig.connect();
    let Ends { mut client, mut server, .. } = rig.connect();
    flood.set_write_timeout(None).unwrap();
    let writer = std::thread::spawn(move || {
        let block = vec![1; 1 << 20];
        while flood.write_all(&block).is_ok() {}
    });
    let reader = std::thread::spawn(move || {
        let mut block = vec![0; 1 << 20];
        let mut read = 0;
        while read < 200 << 20 {
            read += drain.read(&mut block).unwrap();
        }
        reset(drain);
    });
    let mut longest = Duration::ZERO;
    while !reader.is_finished() {
        let began = Instant::now();
        exchange(&mut client, &mut server, b"ping");
        exchange(&mut server, &mut client, b"pong");
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(2), "a round trip took {longest:?}");
    writer.join().unwrap();
}

#[test]
fn the_canary_is_reported_once_when_bytes_have_crossed_and_others_are_not() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect_for("5432");
    exchange(&mut client, &mut server, b"no canary");
    let mut canary = rig.connect_for("canary");
    exchange(&mut canary.client, &mut canary.server, b"tweet");
    assert!(matches!(rig.told(), ToKeeper::Seen { flow } if flow == canary.flow));
    exchange(&mut canary.server, &mut canary.client, b"tweet");
    let id = canary.flow;
    drop((canary.client, canary.server));
    assert_eq!(rig.closed().flow, id);
}

#[test]
fn what_is_no_handover_is_dropped_and_told_and_harms_nothing() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect();
    let socket = || OwnedFd::from(connection().0);
    let pipe = || OwnedFd::from(std::io::pipe().unwrap().0);
    let udp = || OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let unix = || OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0);
    for descriptors in [
        vec![],
        vec![socket()],
        vec![socket(), pipe()],
        vec![pipe(), socket()],
        vec![udp(), socket()],
        vec![socket(), unix()],
    ] {
        let flow = rig.flow("5432");
        let id = flow.id;
        rig.hand_over(flow, &descriptors).unwrap();
        let closing = rig.closed();
        assert_eq!((closing.flow, closing.end), (id, End::Inside));
        exchange(&mut client, &mut server, b"goes on");
    }
}

#[test]
fn a_message_that_can_t_be_read_ends_the_channel_but_no_session() {
    let three = |rig: &mut Rig| {
        // By hand, since a channel refuses to send three.
        let (a, b) = connection();
        let (c, _d) = connection();
        let rights = [a.as_fd(), b.as_fd(), c.as_fd()];
        send_raw(rig, &[0; 8], &rights);
    };
    let garbage = |rig: &mut Rig| send_raw(rig, &[0xff; 40], &[]);
    for send in [&three as &dyn Fn(&mut Rig), &garbage] {
        let mut rig = Rig::ready();
        let Ends { mut client, mut server, .. } = rig.connect();
        exchange(&mut client, &mut server, b"before");
        send(&mut rig);
        assert!(matches!(rig.try_told(), Err(ChannelError::Closed)));
        exchange(&mut client, &mut server, b"after");
        drop((client, server));
        assert!(matches!(rig.join(), Err(WorkerError::Channel(ChannelError::Malformed(_)))));
    }
}

fn send_raw(rig: &Rig, bytes: &[u8], rights: &[std::os::fd::BorrowedFd<'_>]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !rights.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(rights)));
    }
    let bytes = [std::io::IoSlice::new(bytes)];
    sendmsg(&rig.keeper, &bytes, &mut control, SendFlags::empty()).unwrap();
}

#[test]
fn credits_bound_what_may_come_and_are_renewed_as_it_does() {
    let mut rig = Rig::new(100);
    assert!(matches!(rig.told(), ToKeeper::Hello { .. }));
    let ToKeeper::Credit { more: mut credit } = rig.told() else { panic!("no credit") };
    assert_eq!(credit, 100);
    // 300 connections, 30 at a time, never more than there is credit for.
    let mut open = std::collections::VecDeque::new();
    let mut closed = 0;
    for _ in 0..300 {
        while credit == 0 || open.len() == 30 {
            if open.len() == 30 {
                drop(open.pop_front());
            }
            match rig.told() {
                ToKeeper::Credit { more } => credit += more,
                ToKeeper::Closed(closing) => {
                    assert_eq!(closing.end, End::Closed);
                    closed += 1;
                }
                other => panic!("{other:?}"),
            }
            assert!(credit as usize + open.len() <= 100 + 30);
        }
        open.push_back(rig.connect());
        credit -= 1;
    }
    open.clear();
    while closed < 300 {
        assert_eq!(rig.closed().end, End::Closed);
        closed += 1;
    }
}

#[test]
fn a_handover_beyond_the_credits_is_refused() {
    let mut rig = Rig::new(2);
    assert!(matches!(rig.told(), ToKeeper::Hello { .. }));
    assert!(matches!(rig.told(), ToKeeper::Credit { more: 2 }));
    let mut kept = [rig.connect(), rig.connect()];
    let beyond = rig.connect();
    let closing = rig.closed();
    assert_eq!((closing.flow, closing.end), (beyond.flow, End::Inside));
    for Ends { client, server, .. } in &mut kept {
        exchange(client, server, b"mine");
    }
}

#[test]
fn a_keeper_that_does_not_read_loses_no_end_and_holds_up_no_session() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect();
    // Each ends at once; nothing is read from the channel meanwhile.
    let mut flows = Vec::new();
    for _ in 0..255 {
        flows.push(rig.connect().flow);
    }
    exchange(&mut client, &mut server, b"goes on");
    let mut closed: Vec<_> = flows.iter().map(|_| rig.closed().flow).collect();
    closed.sort();
    assert_eq!(closed, flows);
}

#[test]
fn a_drained_worker_ends_when_its_last_session_has() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect();
    exchange(&mut client, &mut server, b"before");
    rig.drain(Duration::from_secs(3600));
    exchange(&mut client, &mut server, b"during");
    drop((client, server));
    assert_eq!(rig.closed().end, End::Closed);
    assert!(matches!(rig.try_told(), Err(ChannelError::Closed)));
    rig.join().unwrap();
}

#[test]
fn what_is_left_at_the_deadline_is_reset_and_told() {
    let mut rig = Rig::ready();
    let mut all: Vec<_> = (0..5).map(|_| rig.connect()).collect();
    for Ends { client, server, .. } in &mut all {
        exchange(client, server, b"before");
    }
    let began = Instant::now();
    rig.drain(Duration::from_millis(200));
    for _ in &all {
        assert_eq!(rig.closed().end, End::Drained);
    }
    assert!(began.elapsed() >= Duration::from_millis(200));
    for Ends { client, server, .. } in &mut all {
        for end in [client, server] {
            let error = end.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
    rig.join().unwrap();
}

#[test]
fn the_keeper_s_death_ends_no_session_and_the_last_one_ends_the_worker() {
    let mut rig = Rig::ready();
    let Ends { mut client, mut server, .. } = rig.connect();
    exchange(&mut client, &mut server, b"before");
    let worker = rig.orphan();
    for _ in 0..100 {
        exchange(&mut client, &mut server, b"orphaned");
        exchange(&mut server, &mut client, b"orphaned");
    }
    assert!(!worker.is_finished());
    drop((client, server));
    ended(worker).unwrap();
}

fn unread() -> Means {
    Means::new(Shared::new().unwrap(), &crate::enforcer::rig::unread_terms(), None).unwrap()
}

/// An end that panics as soon as it is read.
struct Trap(u8);

impl Io for Trap {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        assert!(self.0 != 13, "a defect in a session");
        into[0] = self.0;
        Ok(1)
    }
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
    fn finish(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn failure(&mut self) -> Option<std::io::Error> {
        None
    }
    fn sent(&mut self) -> bool {
        true
    }
    fn abort(&mut self) {}
}

#[test]
fn a_panic_ends_its_own_session_as_a_fault_inside_and_no_other() {
    let mut sessions = Sessions::new(unread(), Mailbox::new().unwrap().post());
    for number in [1, 13, 2] {
        sessions
            .begin(Box::new(flow(number, "5432")), Trap(number as u8), Trap(0), |_, _, _| Ok(()))
            .unwrap();
    }
    let ready = Ready { read: true, write: true, ..Ready::default() };
    for key in sessions.live.keys() {
        sessions.notice(key, Side::Client, ready);
    }
    let told: Vec<_> = sessions.told.drain(..).collect();
    let [ToKeeper::Closed(closing)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((closing.flow.cookie, closing.end), (13, End::Inside));
    assert_eq!(sessions.len(), 2);
    for key in sessions.live.keys() {
        assert!(sessions.live.get_mut(key).unwrap().carriage.bytes_up() > 0);
    }
}
