use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use super::*;
use crate::enforcer::means::Shared;
use crate::enforcer::relay::{Buffers, Progress, Ready, Side, Socket};
use crate::enforcer::rig::{connection, flow, unread_terms};

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

struct Bench {
    carriage: Carriage<Socket>,
    means: Means,
    buffers: Buffers,
    client: TcpStream,
    server: TcpStream,
}

impl Bench {
    fn new() -> Self {
        let means = Means::new(Shared::new().unwrap(), &unread_terms(), None).unwrap();
        let (client, accepted) = connection();
        let (upstream, server) = connection();
        let [accepted, upstream] =
            [accepted, upstream].map(|it| Socket::checked(OwnedFd::from(it)).unwrap());
        let flow = Arc::new(flow(1, "elsewhere"));
        let carriage = Carriage::new(accepted, upstream, flow, &means);
        Self { carriage, means, buffers: Buffers::new(), client, server }
    }

    /// One side says this, and the other hears as much.
    fn say(&mut self, side: Side, bytes: &[u8]) {
        let (from, to) = match side {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Upstream => (&mut self.server, &mut self.client),
        };
        from.write_all(bytes).unwrap();
        self.carriage.notice(side, Ready { read: true, write: true, ..Ready::default() });
        let mut asks = Vec::new();
        let mut turn = Turn { buffers: &mut self.buffers, means: &self.means, asks: &mut asks };
        while matches!(self.carriage.advance(&mut turn), Progress::More) {}
        let mut heard = vec![0; bytes.len()];
        to.read_exact(&mut heard).unwrap();
        assert_eq!(heard, bytes);
    }
}

#[test]
fn of_a_password_nothing_is_left_where_others_read_next() {
    let mut bench = Bench::new();
    let startup = [&[0, 3, 0, 0][..], b"user\0app\0\0"].concat();
    let length = u32::try_from(startup.len() + 4).unwrap();
    bench.say(Side::Client, &[&length.to_be_bytes()[..], &startup].concat());
    bench.say(Side::Upstream, &message(b'R', &[0, 0, 0, 3]));
    bench.say(Side::Client, &message(b'p', b"ein langes geheimnis\0"));
    let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    bench.say(Side::Upstream, &welcome);
    assert!(bench.carriage.stage.is_session());
    bench.say(Side::Client, &message(b'Q', b"x\0"));
    let lent = &bench.buffers.frames;
    assert!(!lent.is_empty(), "the session keeps its buffer");
    for buffer in lent {
        assert!(!buffer.windows(9).any(|bytes| bytes == b"geheimnis"), "it is lent on");
    }
}
