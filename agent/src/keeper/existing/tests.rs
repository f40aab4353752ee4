use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn lists_are_read_as_the_kernel_writes_them() {
    let line = "   1: 0100007F:D2F0 0100007F:1538 01 00000000:00000000 00:00000000 00000000  1000        0 48211 1 0000000000000000 20 4 30 10 -1";
    let listed = parse(line).unwrap();
    assert_eq!(listed.local, "127.0.0.1:54000".parse().unwrap());
    assert_eq!(listed.remote, "127.0.0.1:5432".parse().unwrap());
    assert_eq!(listed.inode, 48211);
    assert_eq!(
        address("00000000000000000000000001000000:1538"),
        Some("[::1]:5432".parse().unwrap())
    );
    assert_eq!(
        address("0000000000000000FFFF00000100007F:1538"),
        Some("127.0.0.1:5432".parse().unwrap())
    );
    assert_eq!(parse(&line.replace(" 01 ", " 0A ")), None);
}

#[test]
fn a_connection_of_this_process_is_listed_and_can_be_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let local = client.local_addr().unwrap();
    let listed = listed_in("/proc/self/net").into_iter().find(|l| l.local == local).unwrap();
    assert_eq!(listed.remote, listener.local_addr().unwrap());
    end(&OwnedFd::from(client), &listed);
    let mut buffer = [0; 1];
    // Reset by SOCK_DESTROY, or at its end by shutdown: never still open.
    let ended = match std::io::Read::read(&mut server, &mut buffer) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    assert!(ended);
}
