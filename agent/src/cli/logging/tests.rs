use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_journal_gets_the_level_and_no_control_characters() {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .event_format(Journal)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(target: "room", "one\ntwo \u{1b}[2J");
        tracing::info!(target: "room", count = 3, "three");
        tracing::debug!(target: "room", "four");
        tracing::trace!(target: "room", "five");
    });
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let starts: Vec<&str> = text.lines().map(|line| line.get(..12).unwrap()).collect();
    assert_eq!(starts, ["<3>room: one", "<3>room: two", "<6>room: thr", "<7>room: fou"]);
    assert!(text.contains("three count=3"), "{text}");
}

#[test]
fn a_wrong_level_is_a_wrong_argument() {
    let failure = Logging { log_level: "tidegate=loud".into() }.install().unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let text = failure.error.unwrap().to_string();
    assert!(text.starts_with("`tidegate=loud` is not a log level"), "{text}");
}
