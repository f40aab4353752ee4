use std::os::unix::net::UnixStream;

use super::super::super::effect::Effect;
use super::super::super::facts::{Doubt, Verb};
use super::*;

fn serving() -> (Pipe, thread::JoinHandle<io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || serve_by(no_time, theirs.try_clone().unwrap(), theirs));
    (Pipe::new(ours.into(), 7).unwrap(), server)
}

/// Here many tests share a process.
fn no_time() -> Duration {
    Duration::ZERO
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn asked(pipe: &mut Pipe, text: &str) -> Asked {
    ask(pipe, text.as_bytes(), &LexingState::default(), soon()).unwrap()
}

#[test]
fn it_answers_again_and_again_until_nobody_asks() {
    let (mut pipe, server) = serving();
    let long = format!("delete from customers /* {} */", "x".repeat(100_000));
    let Asked { facts, is_last } = asked(&mut pipe, &long);
    assert_eq!(facts.statements[0].verb, Verb::Delete);
    assert!(facts.understood() && !is_last);
    let state =
        LexingState { search_path: Some("x".repeat(100_000).into()), ..LexingState::default() };
    let second = ask(&mut pipe, b"select 1", &state, soon()).unwrap();
    assert_eq!(second.facts.statements[0].verb, Verb::Select);
    assert!(pipe.is_alive());
    drop(pipe);
    server.join().unwrap().unwrap();
}

#[test]
fn after_a_very_long_text_it_lets_another_take_its_place() {
    let (mut pipe, server) = serving();
    let long = format!("select '{}'", "x".repeat(SERVES_ONE));
    let Asked { facts, is_last } = asked(&mut pipe, &long);
    assert!(facts.understood() && is_last);
    server.join().unwrap().unwrap();
    assert!(!pipe.is_alive());
}

#[test]
fn a_chain_of_a_hundred_thousand_is_read() {
    let (mut pipe, _server) = serving();
    let text = format!("select 1 where 1=1{}", " or 1=1".repeat(100_000));
    let facts = asked(&mut pipe, &text).facts;
    assert_eq!(facts.statements.len(), 1);
    assert!(facts.effects().contains(Effect::Read) || !facts.understood(), "{facts:?}");
}

#[test]
fn facts_that_are_too_many_are_unknown_with_what_they_do() {
    let drop = Facts::unknown(Doubt::Dynamic, super::super::super::Effects::NONE);
    let many = Facts::new(vec![drop.statements[0].clone(); LONGEST_ANSWER / 8]);
    let encoded = encode(many, false).unwrap();
    assert!(encoded.len() < 1024);
    let answer: Answer = postcard::from_bytes(&encoded).unwrap();
    assert_eq!(*answer.facts.statements[0].doubts, [Doubt::TooComplex]);
}

#[test]
fn a_process_of_another_version_is_not_asked() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut pipe = Pipe::new(ours.into(), 7).unwrap();
    send(&mut theirs, b"tidegate cell 0 0.0.1").unwrap();
    let error = ask(&mut pipe, b"select 1", &LexingState::default(), soon()).unwrap_err();
    assert!(error.to_string().contains("tidegate cell 0 0.0.1"), "{error}");
}

#[test]
fn one_that_says_nothing_is_waited_for_until_the_deadline_only() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut pipe = Pipe::new(ours.into(), 7).unwrap();
    let begun = Instant::now();
    let until = begun + Duration::from_millis(100);
    let error = ask(&mut pipe, b"select 1", &LexingState::default(), until).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_deadline_is_for_the_whole_answer_not_for_each_byte() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut pipe = Pipe::new(ours.into(), 7).unwrap();
    let drip = thread::spawn(move || {
        let _ = send(&mut theirs, GREETING);
        let _ = theirs.write_all(&1_000_u32.to_be_bytes());
        while theirs.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let until = Instant::now() + Duration::from_millis(200);
    let error = ask(&mut pipe, b"select 1", &LexingState::default(), until).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(pipe);
    drip.join().unwrap();
}

#[test]
fn it_ends_when_its_asker_has_gone_though_it_reads_yet() {
    let (ours, server) = {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ours, thread::spawn(move || serve_by(no_time, theirs.try_clone().unwrap(), theirs)))
    };
    let mut pipe = Pipe::new(ours.into(), 7).unwrap();
    // More than any machine reads in so short a time.
    let text = format!("select {}", "a+b*c,".repeat(1_000_000)) + "1";
    let until = Instant::now() + Duration::from_millis(50);
    let outcome = ask(&mut pipe, text.as_bytes(), &LexingState::default(), until);
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(pipe);
    // Whether in the middle of the text or of its reading.
    let _ = server.join().unwrap();
}

#[test]
fn what_takes_too_much_processor_time_is_unknown_and_the_process_makes_room() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let spent = std::sync::atomic::AtomicU64::new(0);
    // A second each time that it is asked.
    let spent =
        move || Duration::from_secs(spent.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let server = thread::spawn(move || serve_by(spent, theirs.try_clone().unwrap(), theirs));
    let mut pipe = Pipe::new(ours.into(), 7).unwrap();
    // More than any machine reads in so few looks.
    let text = format!("drop table t; select {}1", "a+b*c,".repeat(150_000));
    let Asked { facts, is_last } = asked(&mut pipe, &text);
    assert!(is_last && matches!(facts.statements[0].doubts[0], Doubt::Parser(_)), "{facts:?}");
    assert!(facts.effects().contains(Effect::Drop));
    server.join().unwrap().unwrap();
}

#[test]
fn a_request_out_of_bounds_ends_the_server_with_an_error() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || serve_by(no_time, theirs.try_clone().unwrap(), theirs));
    ours.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(server.join().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
}
