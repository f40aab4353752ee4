use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use super::super::super::facts::{Doubt, Facts, Verb};
use super::super::super::state::LexingState;
use super::super::{Cell, Settings};
use super::*;

fn cell() -> Cell {
    Cell::start(Settings { processes: true, ..Settings::default() }).unwrap()
}

/// A process's place taken by a thread.
fn attach(cell: &Cell, lane: u8) -> JoinHandle<io::Result<()>> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        process::serve_by(|| Duration::ZERO, theirs.try_clone().unwrap(), theirs)
    });
    cell.lanes().unwrap().attach(lane, ours.into(), 7).unwrap();
    server
}

fn read(cell: &Cell, text: &str) -> Facts {
    cell.read(text.as_bytes(), &LexingState::default())
}

fn long(statement: &str) -> String {
    format!("{statement} /* {} */", "x".repeat(100_000))
}

fn very_long(statement: &str) -> String {
    format!("{statement} /* {} */", "x".repeat(process::SHORT))
}

fn lost(facts: &Facts) -> bool {
    matches!(&facts.statements[0].doubts[0], Doubt::Parser(_))
}

#[test]
fn a_long_text_is_read_by_the_process_of_its_lane() {
    let cell = cell();
    let servers = [attach(&cell, 0), attach(&cell, 1)];
    for text in [long("delete from customers"), very_long("delete from customers")] {
        let facts = read(&cell, &text);
        assert_eq!(facts.statements[0].verb, Verb::Delete);
        assert!(facts.understood());
    }
    assert_eq!(read(&cell, &long("select 1")).statements[0].verb, Verb::Select);
    drop(cell);
    for server in servers {
        server.join().unwrap().unwrap();
    }
}

#[test]
fn what_is_too_deep_for_a_worker_is_read_by_a_process() {
    let cell = cell();
    let _server = attach(&cell, 0);
    // No deeper than the grammar's own stack takes it.
    let text = format!("select {}x", "not ".repeat(5_000));
    assert!(text.len() < 64 * 1024);
    let alone = Cell::start(Settings::default()).unwrap();
    assert_eq!(*read(&alone, &text).statements[0].doubts, [Doubt::TooDeep]);
    assert!(read(&cell, &text).understood());
}

#[test]
fn a_process_that_is_lost_over_a_text_is_one_refusal_and_the_next_one_is_waited_for() {
    let cell = cell();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    cell.lanes().unwrap().attach(0, ours.into(), 7).unwrap();
    let dies = thread::spawn(move || {
        process::greet(&mut theirs).unwrap();
        // It dies as soon as it has begun to read.
        std::io::Read::read_exact(&mut theirs, &mut [0; 1]).unwrap();
    });
    let text = long("drop table customers");
    let asked = read(&cell, &text);
    dies.join().unwrap();
    assert!(lost(&asked), "{asked:?}");
    // What it begins with is told all the same.
    assert!(asked.effects().writes());
    let next = thread::scope(|scope| {
        let next = scope.spawn(|| read(&cell, &text));
        thread::sleep(Duration::from_millis(100));
        let _server = attach(&cell, 0);
        next.join().unwrap()
    });
    assert!(next.understood(), "{next:?}");
}

#[test]
fn a_process_that_died_idle_costs_nobody_a_refusal() {
    let cell = cell();
    let (ours, theirs) = UnixStream::pair().unwrap();
    cell.lanes().unwrap().attach(0, ours.into(), 7).unwrap();
    drop(theirs);
    let text = long("select 1");
    let facts = thread::scope(|scope| {
        let facts = scope.spawn(|| read(&cell, &text));
        thread::sleep(Duration::from_millis(100));
        let _server = attach(&cell, 0);
        facts.join().unwrap()
    });
    assert!(facts.understood(), "{facts:?}");
}

#[test]
fn one_that_talks_nonsense_is_dropped() {
    for nonsense in [&[0xff; 64][..], &[0, 0, 0, 2, 0xff, 0xff], &[0, 0]] {
        let cell = cell();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(nonsense).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        cell.lanes().unwrap().attach(0, ours.into(), 7).unwrap();
        cell.lanes().unwrap().abandon();
        let reader = thread::spawn(move || io::copy(&mut theirs, &mut io::sink()));
        assert!(!read(&cell, &long("select 1")).understood());
        drop(cell);
        // Reset or closed: gone in either case.
        let _ = reader.join().unwrap();
    }
}

#[test]
fn where_no_process_will_come_nobody_waits() {
    let cell = cell();
    cell.lanes().unwrap().abandon();
    let begun = Instant::now();
    assert!(lost(&read(&cell, &long("select 1"))));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

#[test]
fn one_slow_text_costs_itself_and_not_the_other_lane() {
    let cell = cell();
    // Takes the text and never answers.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    cell.lanes().unwrap().attach(0, ours.into(), 7).unwrap();
    let hangs = thread::spawn(move || {
        process::greet(&mut theirs).unwrap();
        io::copy(&mut theirs, &mut io::sink())
    });
    let (told_tx, told_rx) = std::sync::mpsc::channel();
    cell.lanes().unwrap().tell_given_up(Box::new(move |number| told_tx.send(number).unwrap()));
    let _server = attach(&cell, 1);
    let (slow, other) = (long("select 1"), very_long("select 1"));
    thread::scope(|scope| {
        let begun = Instant::now();
        let slow = scope.spawn(|| read(&cell, &slow));
        assert!(read(&cell, &other).understood());
        assert!(begun.elapsed() < process::SHORT_MAY_TAKE * BY_THE_CLOCK, "{:?}", begun.elapsed());
        assert!(lost(&slow.join().unwrap()));
        assert!(
            begun.elapsed() < process::SHORT_MAY_TAKE * BY_THE_CLOCK * 2,
            "{:?}",
            begun.elapsed()
        );
    });
    // So that who started it can end it.
    assert_eq!(told_rx.try_iter().collect::<Vec<_>>(), [7]);
    drop(cell);
    hangs.join().unwrap().unwrap();
}

#[test]
fn more_than_may_wait_is_refused() {
    let cell = cell();
    let lanes = cell.lanes().unwrap();
    lanes.waiting.store(MOST_WAITING + 1, Ordering::Relaxed);
    assert!(lost(&read(&cell, &long("select 1"))));
    // What was refused doesn't count.
    assert_eq!(lanes.waiting.load(Ordering::Relaxed), MOST_WAITING + 1);
}
