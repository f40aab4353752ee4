use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::pki_types::ServerName;

use super::*;
use crate::channel::ToKeeper;
use crate::enforcer::rig::{Ends, Rig, reset};
use crate::model::{Closing, End};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3600);

fn rig(opening: Duration, ending: Duration) -> Rig {
    let rig = Rig::with(10_000, Patience { opening, ending });
    assert!(matches!(rig.told(), ToKeeper::Hello { .. }));
    assert!(matches!(rig.told(), ToKeeper::Credit { .. }));
    rig
}

/// PostgreSQL is spoken there: no terms say otherwise.
fn connect(rig: &mut Rig) -> Ends {
    rig.connect_for("elsewhere")
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn startup() -> Vec<u8> {
    let body = [&[0, 3, 0, 0][..], b"user\0app\0\0"].concat();
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

fn hears(stream: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, bytes);
}

fn log_in(ends: &mut Ends) {
    ends.client.write_all(&startup()).unwrap();
    hears(&mut ends.server, &startup());
    let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    ends.server.write_all(&welcome).unwrap();
    hears(&mut ends.client, &welcome);
}

/// The end of a connection that nobody but the worker gives up.
fn end_of(rig: &Rig, ends: Ends, end: End) -> Closing {
    let closing = rig.closed();
    assert_eq!((closing.flow, closing.end), (ends.flow, end));
    // Both sides learn it.
    for mut stream in [ends.client, ends.server] {
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.unwrap_err().kind() == ErrorKind::ConnectionReset);
    }
    closing
}

fn fault(closing: &Closing) -> &str {
    closing.carried.as_ref().unwrap().fault.as_deref().unwrap_or_default()
}

#[test]
fn who_says_nothing_or_half_of_it_is_given_up() {
    let mut rig = rig(SHORT, LONG);
    for said in [&[][..], &startup()[..9]] {
        let mut ends = connect(&mut rig);
        ends.client.write_all(said).unwrap();
        let closing = end_of(&rig, ends, End::Fault);
        assert_eq!(fault(&closing), "its client has not logged in within 300ms");
        assert!(closing.duration_us >= 300_000);
    }
}

#[test]
fn who_is_asked_for_a_password_and_gives_none_is_given_up() {
    let mut rig = rig(SHORT, LONG);
    let mut ends = connect(&mut rig);
    ends.client.write_all(&startup()).unwrap();
    hears(&mut ends.server, &startup());
    ends.server.write_all(&message(b'R', &[0, 0, 0, 3])).unwrap();
    hears(&mut ends.client, &message(b'R', &[0, 0, 0, 3]));
    assert!(fault(&end_of(&rig, ends, End::Fault)).contains("not logged in"));
}

#[test]
fn a_server_that_takes_its_time_over_a_login_and_a_session_that_rests_are_not() {
    let mut rig = rig(SHORT, SHORT);
    let mut slow = connect(&mut rig);
    slow.client.write_all(&startup()).unwrap();
    hears(&mut slow.server, &startup());
    let mut there = connect(&mut rig);
    log_in(&mut there);
    // As long as one that is given up.
    for _ in 0..2 {
        let given_up = connect(&mut rig);
        end_of(&rig, given_up, End::Fault);
    }
    let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    slow.server.write_all(&welcome).unwrap();
    hears(&mut slow.client, &welcome);
    for ends in [&mut slow, &mut there] {
        ends.client.write_all(&message(b'X', b"")).unwrap();
        hears(&mut ends.server, &message(b'X', b""));
    }
}

/// What a client's request for TLS and the server's yes to it look like.
fn agree_on_tls(ends: &mut Ends) {
    let request = [0, 0, 0, 8, 4, 210, 22, 47];
    ends.client.write_all(&request).unwrap();
    hears(&mut ends.server, &request);
    ends.server.write_all(b"S").unwrap();
    hears(&mut ends.client, b"S");
}

fn client() -> rustls::ClientConnection {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap()
}

/// The server's part of a handshake, to its end.
fn shake(server: &mut TcpStream) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], der)
        .unwrap();
    let mut tls = rustls::ServerConnection::new(std::sync::Arc::new(config)).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(server).unwrap();
    }
}

/// Before its first message, within it, and before its last.
#[test]
fn a_client_that_stalls_in_its_handshake_is_given_up() {
    let mut rig = rig(SHORT, LONG);
    let mut hello = Vec::new();
    client().write_tls(&mut hello).unwrap();
    for said in [0, 1, 5, 60, hello.len()] {
        let mut ends = connect(&mut rig);
        agree_on_tls(&mut ends);
        ends.client.write_all(&hello[..said]).unwrap();
        if said == hello.len() {
            shake(&mut ends.server);
            // Its answer has come, and nothing comes back.
            ends.client.read_exact(&mut [0; 5]).unwrap();
        }
        let closing = end_of(&rig, ends, End::Fault);
        assert_eq!(fault(&closing), "its client has not logged in within 300ms", "{said}");
    }
}

#[test]
fn a_server_that_stalls_before_there_is_tls_is_given_up_and_named() {
    let mut rig = rig(SHORT, LONG);
    for hello in [false, true] {
        let mut ends = connect(&mut rig);
        if hello {
            agree_on_tls(&mut ends);
            client().write_tls(&mut ends.client).unwrap();
        } else {
            ends.client.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
        }
        ends.server.read_exact(&mut [0; 5]).unwrap();
        let closing = end_of(&rig, ends, End::Fault);
        assert_eq!(fault(&closing), "the server has not set up TLS within 300ms", "{hello}");
    }
}

/// The server goes while TLS is set up: the client would be told so within TLS, and never
/// goes on with it.
#[test]
fn a_doomed_client_that_stalls_in_its_handshake_is_given_up() {
    let mut rig = rig(LONG, SHORT);
    let mut ends = connect(&mut rig);
    agree_on_tls(&mut ends);
    client().write_tls(&mut ends.client).unwrap();
    // Its own hello to the server has come.
    ends.server.read_exact(&mut [0; 5]).unwrap();
    ends.server.shutdown(Shutdown::Both).unwrap();
    let closing = end_of(&rig, ends, End::Fault);
    assert_eq!(fault(&closing), "nobody took what was left of it for 300ms");
}

#[test]
fn a_client_that_never_reads_what_a_server_left_is_given_up() {
    let mut rig = rig(LONG, SHORT);
    let mut ends = connect(&mut rig);
    log_in(&mut ends);
    ends.client.write_all(&message(b'Q', b"select\0")).unwrap();
    hears(&mut ends.server, &message(b'Q', b"select\0"));
    ends.server.set_nonblocking(true).unwrap();
    let notice = message(b'N', &[&b"Mx"[..], &[b'x'; 60_000], b"\0\0"].concat());
    let notices = notice.repeat(500);
    let (mut sent, mut last) = (0, Instant::now());
    // As much as lies on the way.
    while last.elapsed() < SHORT {
        if let Ok(more) = ends.server.write(&notices[sent..]) {
            (sent, last) = (sent + more, Instant::now());
        }
    }
    let (_kept, server) = (ends.client, ends.server);
    reset(server);
    let closing = rig.closed();
    assert_eq!(closing.end, End::UpstreamReset);
    assert_eq!(fault(&closing), "nobody took what was left of it for 300ms");
}
