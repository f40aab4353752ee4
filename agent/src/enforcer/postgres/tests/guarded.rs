//! What goes on between a client that is guarded and a server that tells nothing of its
//! catalog.

use std::os::fd::AsFd;

use super::*;
use crate::channel::{ToEnforcer, seal_terms};
use crate::enforcer::rig::unread_terms;
use crate::model::{PolicyTerms, Terms};

/// The server's end, frame by frame.
struct Server(TcpStream);

impl Server {
    /// The next message that is none of our own questions. Those fail.
    fn asked(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (tag, body) = self.next();
            let has = |word: &[u8]| body.windows(word.len()).any(|it| it == word);
            match tag {
                b'Q' if has(b"pg_catalog") => {}
                b'C' if has(b"tidegate asks") => while self.next().0 != b'S' {},
                _ => return (tag, body),
            }
            self.says(&[message(b'E', b"SERROR\0C42501\0Mno\0\0"), message(b'Z', b"I")]);
        }
    }

    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn says(&mut self, messages: &[Vec<u8>]) {
        self.0.write_all(&messages.concat()).unwrap();
    }
}

/// A session whose actor the default policies hold for.
fn guarded(rig: &mut Rig) -> (TcpStream, Server) {
    let terms = Terms { policy: PolicyTerms::default(), ..unread_terms() };
    let terms = seal_terms(&terms).unwrap();
    rig.keeper.send(&ToEnforcer::Terms, &[terms.as_fd()]).unwrap();
    let ends = session(rig);
    (ends.client, Server(ends.server))
}

fn columns(names: &[&str]) -> Vec<u8> {
    let of = |name: &&str| {
        [name.as_bytes(), b"\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"].concat()
    };
    let all: Vec<u8> = names.iter().flat_map(of).collect();
    message(b'T', &[&u16::try_from(names.len()).unwrap().to_be_bytes()[..], &all].concat())
}

/// A rule may answer one INSERT with two SELECTs, of different widths.
#[test]
fn each_description_begins_an_answer() {
    let mut rig = Rig::ready();
    let (mut client, mut server) = guarded(&mut rig);
    client.write_all(&message(b'Q', b"INSERT INTO t VALUES (1)\0")).unwrap();
    assert_eq!(server.asked(), (b'Q', b"INSERT INTO t VALUES (1)\0".to_vec()));
    let null = b"\xff\xff\xff\xff";
    let answer = [
        columns(&["a"]),
        message(b'D', &[b"\0\x01", &null[..]].concat()),
        columns(&["b", "c"]),
        message(b'D', &[b"\0\x02", &null[..], null].concat()),
        message(b'C', b"INSERT 0 1\0"),
        message(b'Z', b"I"),
    ];
    server.says(&answer);
    hears(&mut client, &answer.concat());
}

/// The server joins what stands before and behind a Flush.
#[test]
fn a_mask_that_comes_back_in_two_pieces_is_found_across_a_flush() {
    let mut rig = Rig::ready();
    let (mut client, mut server) = guarded(&mut rig);
    let copy = b"COPY customers (id, email) FROM STDIN\0";
    client.write_all(&message(b'Q', copy)).unwrap();
    assert_eq!(server.asked(), (b'Q', copy.to_vec()));
    let begins = message(b'G', b"\0\0\x02\0\0\0\0");
    server.says(std::slice::from_ref(&begins));
    hears(&mut client, &begins);
    let row = "12\tj•••@example.com\n".as_bytes();
    // Within the second dot.
    let (one, other) = row.split_at(8);
    let data = [message(b'd', one), message(b'H', b""), message(b'd', other), message(b'c', b"")];
    client.write_all(&data.concat()).unwrap();
    assert_eq!(server.next(), (b'd', one.to_vec()));
    assert_eq!(server.next(), (b'H', Vec::new()));
    assert_eq!(server.next().0, b'f', "the COPY is given up");
}
