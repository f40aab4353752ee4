use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::rc::Rc;

use super::super::rig::Dice;
use super::*;

/// The far end of a leg, as the test holds it.
#[derive(Default)]
struct Far {
    /// What the session will read, and then the end.
    says: VecDeque<u8>,
    says_no_more: bool,
    then_fails: bool,
    heard: Vec<u8>,
    heard_end: bool,
    /// How much it takes before it is full.
    room: usize,
    calls: usize,
}

/// An end that reads and writes as little as the dice say.
struct Near(Rc<RefCell<Far>>, Dice);

impl Io for Near {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut far = self.0.borrow_mut();
        far.calls += 1;
        if far.says.is_empty() {
            return match (far.then_fails, far.says_no_more) {
                (true, _) => Err(ErrorKind::ConnectionReset.into()),
                (_, true) => Ok(0),
                _ => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let read = (1 + self.1.below(into.len())).min(far.says.len());
        for place in into.iter_mut().take(read) {
            *place = far.says.pop_front().unwrap();
        }
        Ok(read)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut far = self.0.borrow_mut();
        far.calls += 1;
        assert!(!bytes.is_empty() && !far.heard_end);
        if far.room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let written = (1 + self.1.below(bytes.len())).min(far.room);
        far.room -= written;
        far.heard.extend(&bytes[..written]);
        Ok(written)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.0.borrow_mut().heard_end = true;
        Ok(())
    }

    fn failure(&mut self) -> Option<Error> {
        self.0.borrow().then_fails.then(|| ErrorKind::ConnectionReset.into())
    }

    fn sent(&mut self) -> bool {
        true
    }

    fn abort(&mut self) {}
}

type FarEnd = Rc<RefCell<Far>>;

fn session(seed: u64) -> (Session<Near>, FarEnd, FarEnd) {
    let (client, upstream) = (FarEnd::default(), FarEnd::default());
    let near = |far: &FarEnd, seed| Near(Rc::clone(far), Dice::new(seed));
    let session = Session::new(near(&client, seed), near(&upstream, seed + 1));
    (session, client, upstream)
}

const READ: Ready = Ready { read: true, write: false, hung_up: false, failed: false };
const WRITE: Ready = Ready { read: false, write: true, hung_up: false, failed: false };
const END: Ready = Ready { read: true, write: false, hung_up: true, failed: false };

#[test]
fn whatever_the_cuts_and_stalls_the_bytes_are_the_same() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut buffers = Buffers::new();
        let (mut session, client, upstream) = session(seed);
        let words = [dice.bytes(300_000), dice.bytes(90_000)];
        let mut said = [0, 0];
        let ends = [(Side::Client, &client), (Side::Upstream, &upstream)];
        let mut over = None;
        for _ in 0..100_000 {
            let which = dice.below(2);
            let (side, far) = ends[which];
            if dice.below(2) == 0 {
                // It says more, or that this was all.
                let now = dice.below(100_000).min(words[which].len() - said[which]);
                let ready = {
                    let mut far = far.borrow_mut();
                    far.says.extend(&words[which][said[which]..said[which] + now]);
                    said[which] += now;
                    far.says_no_more = said[which] == words[which].len();
                    if far.says_no_more { END } else { READ }
                };
                session.notice(side, ready);
            } else {
                // It hears more.
                far.borrow_mut().room += dice.below(70_000);
                session.notice(side, WRITE);
            }
            match session.advance(&mut buffers) {
                Progress::Wait | Progress::More => {}
                Progress::Over(end) => {
                    over = Some(end);
                    break;
                }
            }
            assert!(session.held() <= 2 * SCRATCH * 2, "seed {seed} holds {}", session.held());
        }
        assert_eq!(over, Some(End::Closed), "seed {seed}");
        assert!(upstream.borrow().heard == words[0], "seed {seed}: up");
        assert!(client.borrow().heard == words[1], "seed {seed}: down");
        assert!(upstream.borrow().heard_end && client.borrow().heard_end);
        assert_eq!((session.bytes_up(), session.bytes_down()), (300_000, 90_000));
        assert_eq!(session.held(), 0, "seed {seed}: a buffer is kept");
    }
}

#[test]
fn nothing_is_read_for_a_reader_that_is_full_and_one_buffer_at_most_is_held() {
    let mut buffers = Buffers::new();
    let (mut session, client, upstream) = session(1);
    client.borrow_mut().says.extend(std::iter::repeat_n(7, 10_000_000));
    upstream.borrow_mut().room = 1_000;
    session.notice(Side::Client, READ);
    while session.advance(&mut buffers) == Progress::More {}
    let left = client.borrow().says.len();
    assert!(left >= 10_000_000 - 1_000 - SCRATCH);
    assert!(session.held() > 0 && session.held() <= 2 * SCRATCH);
    for _ in 0..100 {
        session.notice(Side::Client, READ);
        assert_eq!(session.advance(&mut buffers), Progress::Wait);
    }
    assert_eq!(client.borrow().says.len(), left);
}

#[test]
fn a_turn_is_bounded_and_asks_for_another() {
    let mut buffers = Buffers::new();
    let (mut session, client, upstream) = session(1);
    client.borrow_mut().says.extend(std::iter::repeat_n(7, 10_000_000));
    upstream.borrow_mut().room = usize::MAX;
    session.notice(Side::Client, Ready { hung_up: true, ..READ });
    assert_eq!(session.advance(&mut buffers), Progress::More);
    assert!(upstream.borrow().heard.len() <= BUDGET + SCRATCH);
}

#[test]
fn a_short_read_is_the_last_until_the_next_edge() {
    let mut buffers = Buffers::new();
    let (mut session, client, upstream) = session(3);
    upstream.borrow_mut().room = usize::MAX;
    client.borrow_mut().says.extend(b"SELECT 1");
    session.notice(Side::Client, READ);
    while session.advance(&mut buffers) == Progress::More {}
    let calls = client.borrow().calls;
    assert_eq!(session.advance(&mut buffers), Progress::Wait);
    assert_eq!(client.borrow().calls, calls);
}

#[test]
fn after_a_reset_what_was_sent_before_goes_on_and_no_orderly_end() {
    for failed in [true, false] {
        let mut buffers = Buffers::new();
        let (mut session, client, upstream) = session(5);
        client.borrow_mut().room = 10;
        upstream.borrow_mut().says.extend(std::iter::repeat_n(3, 100_000));
        upstream.borrow_mut().then_fails = true;
        // With the kernel's word of it, or found out by reading.
        session.notice(Side::Upstream, Ready { failed, hung_up: failed, ..READ });
        assert_eq!(session.advance(&mut buffers), Progress::Wait);
        client.borrow_mut().room = usize::MAX;
        session.notice(Side::Client, WRITE);
        let mut progress = session.advance(&mut buffers);
        for _ in 0..100_000 {
            session.notice(Side::Upstream, READ);
            progress = session.advance(&mut buffers);
            if matches!(progress, Progress::Over(_)) {
                break;
            }
        }
        assert_eq!(progress, Progress::Over(End::UpstreamReset));
        assert_eq!(client.borrow().heard.len(), 100_000);
        assert!(!client.borrow().heard_end);
    }
}

/// What an application asks of its own socket ends at our listener.
#[test]
fn a_connection_is_kept_alive_from_the_start() {
    use rustix::net::sockopt;
    let (near, _far) = super::super::rig::connection();
    let shown = near.try_clone().unwrap();
    let _socket = Socket::checked(near.into()).unwrap();
    assert!(sockopt::socket_keepalive(&shown).unwrap());
    let idle = sockopt::tcp_keepidle(&shown).unwrap().as_secs();
    assert!((30..=120).contains(&idle), "{idle}");
    let after = sockopt::tcp_keepintvl(&shown).unwrap() * sockopt::tcp_keepcnt(&shown).unwrap();
    assert!((60..=600).contains(&after.as_secs()), "{after:?}");
    assert_eq!(sockopt::tcp_user_timeout(&shown).unwrap(), 0, "who only rests isn't dead");
}
