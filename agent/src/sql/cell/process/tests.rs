use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::super::super::facts::{Doubt, Verb};
use super::super::{Cell, Settings};
use super::*;

fn serving() -> (UnixStream, thread::JoinHandle<io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let server = thread::spawn(move || serve(theirs.try_clone().unwrap(), theirs));
    (ours, server)
}

fn long(statement: &str) -> String {
    format!("{statement} /* {} */", "x".repeat(100_000))
}

#[test]
fn a_long_text_is_read_by_the_process() {
    let (ours, server) = serving();
    let cell = Cell::start(Settings::default()).unwrap();
    cell.attach(ours);
    let facts = cell.read(long("delete from customers").as_bytes(), &LexingState::default());
    assert_eq!(facts.statements[0].verb, Verb::Delete);
    assert!(facts.understood());
    assert!(cell.attached());
    // And another over the same pipe.
    let facts = cell.read(long("select 1").as_bytes(), &LexingState::default());
    assert_eq!(facts.statements[0].verb, Verb::Select);
    drop(cell);
    server.join().unwrap().unwrap();
}

#[test]
fn a_lost_process_is_one_refusal() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let cell = Cell::start(Settings::default()).unwrap();
    cell.attach(ours);
    let text = long("drop table customers");
    let facts = cell.read(text.as_bytes(), &LexingState::default());
    assert!(matches!(facts.statements[0].doubts[0], Doubt::Parser(_)));
    assert!(facts.effects().writes());
    assert!(!cell.attached());
    // A new one is taken into use.
    let (ours, _server) = serving();
    cell.attach(ours);
    assert!(cell.read(text.as_bytes(), &LexingState::default()).understood());
}

#[test]
fn a_process_that_talks_nonsense_or_nothing_is_dropped() {
    for nonsense in [&[0xff; 64][..], &[0, 0, 0, 2, 0xff, 0xff], &[0, 0]] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        theirs.write_all(nonsense).unwrap();
        let cell = Cell::start(Settings::default()).unwrap();
        cell.attach(ours);
        let reader = thread::spawn(move || io::copy(&mut theirs, &mut io::sink()));
        let facts = cell.read(long("select 1").as_bytes(), &LexingState::default());
        assert!(!facts.understood());
        assert!(!cell.attached());
        // Reset or closed: gone in either case.
        let _ = reader.join().unwrap();
    }
}

#[test]
fn a_request_out_of_bounds_ends_the_server_with_an_error() {
    let (mut ours, server) = serving();
    ours.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(server.join().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
}
