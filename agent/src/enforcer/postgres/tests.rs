//! A client and a server in the hand, and what each hears when a session can't go on.

mod guarded;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::enforcer::rig::{Ends, Rig};

/// So long that it goes by in pieces, and so much of it has come.
const LONG: usize = 300_000;
const COME: usize = 100_000;

const NONSENSE: &[u8] = b"!\0\0\0\x0cnonsense";

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A row, or a COPY's data, of one long value.
fn long(tag: u8) -> Vec<u8> {
    let value = vec![b'x'; LONG];
    let length = u32::try_from(LONG).unwrap().to_be_bytes();
    let head: &[u8] = if tag == b'D' { b"\0\x01" } else { b"" };
    let length: &[u8] = if tag == b'D' { &length } else { b"" };
    message(tag, &[head, length, &value].concat())
}

fn hears(stream: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).unwrap();
    assert!(heard == bytes, "it heard something else");
}

/// All that still comes, to the end or a reset.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    heard
}

/// A session that has begun, where nothing is looked at.
fn session(rig: &mut Rig) -> Ends {
    let mut ends = rig.connect_for("elsewhere");
    let startup = [&[0, 0, 0, 18, 0, 3, 0, 0][..], b"user\0app\0\0"].concat();
    ends.client.write_all(&startup).unwrap();
    hears(&mut ends.server, &startup);
    let key = message(b'K', b"\0\0\0\x07key!");
    let welcome = [message(b'R', &[0; 4]), key, message(b'Z', b"I")].concat();
    ends.server.write_all(&welcome).unwrap();
    hears(&mut ends.client, &welcome);
    ends
}

/// The answer to a query is under way.
fn answering(rig: &mut Rig, head: &[u8]) -> Ends {
    let mut ends = session(rig);
    let query = message(b'Q', b"select\0");
    ends.client.write_all(&query).unwrap();
    hears(&mut ends.server, &query);
    ends.server.write_all(head).unwrap();
    hears(&mut ends.client, head);
    ends
}

fn row_head() -> Vec<u8> {
    message(b'T', b"\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
}

fn copy_head() -> Vec<u8> {
    message(b'H', b"\0\0\x01\0\0")
}

#[test]
fn words_of_ours_never_become_what_lies_in_the_database() {
    let mut rig = Rig::ready();
    for (head, tag) in [(row_head(), b'D'), (copy_head(), b'd')] {
        let mut ends = answering(&mut rig, &head);
        let long = long(tag);
        ends.server.write_all(&long[..COME]).unwrap();
        hears(&mut ends.client, &long[..COME]);
        ends.client.write_all(NONSENSE).unwrap();
        assert_eq!(rest(ends.client), b"", "within {:?}", char::from(tag));
        assert_eq!(rest(ends.server), b"");
        let fault = rig.closed().carried.unwrap().fault.unwrap();
        assert!(fault.contains("(client)"), "{fault}");
    }
}

/// … and are heard as soon as they can be.
#[test]
fn between_messages_the_client_is_told_why() {
    let mut rig = Rig::ready();
    let told = |client: TcpStream| {
        let heard = rest(client);
        assert!(heard.starts_with(b"E") && heard.windows(5).any(|it| it == b"08P01"), "{heard:?}");
    };
    let mut ends = answering(&mut rig, &row_head());
    let long = long(b'D');
    ends.server.write_all(&long).unwrap();
    hears(&mut ends.client, &long);
    ends.client.write_all(NONSENSE).unwrap();
    told(ends.client);
    // Of what belongs to no request nothing has reached the client.
    let mut ends = session(&mut rig);
    ends.server.write_all(&long[..COME]).unwrap();
    told(ends.client);
    assert_eq!(rest(ends.server), b"");
}

/// Data of a COPY that is over already are read to their end.
#[test]
fn a_server_hears_no_goodbye_within_a_message() {
    let mut rig = Rig::ready();
    let mut ends = session(&mut rig);
    let long = long(b'd');
    ends.client.write_all(&long[..COME]).unwrap();
    hears(&mut ends.server, &long[..COME]);
    rig.drain(Duration::ZERO);
    assert_eq!(rest(ends.server), b"");
}

/// As the server reads it: one without a name is the user's, and what is too long is cut.
#[test]
fn a_session_is_in_the_database_that_the_server_takes_it_to() {
    let mut rig = Rig::ready();
    let long = "d".repeat(70);
    let cut = "d".repeat(63);
    for (given, taken) in [("", "app"), ("other", "other"), (long.as_str(), cut.as_str())] {
        let mut ends = rig.connect_for("elsewhere");
        let parameters = format!("user\0app\0database\0{given}\0\0");
        let length = u32::try_from(parameters.len() + 8).unwrap().to_be_bytes();
        let startup = [&length[..], &[0, 3, 0, 0], parameters.as_bytes()].concat();
        ends.client.write_all(&startup).unwrap();
        hears(&mut ends.server, &startup);
        drop((ends.client, ends.server));
        let carried = rig.closed().carried.unwrap();
        assert_eq!(carried.database.as_deref(), Some(taken));
        assert_eq!(carried.role.as_deref(), Some("app"));
    }
}
