//! What a process has recorded is there after its sudden death.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate::audit::{
    Ending, Folder, Heard, Log, Outcome, Sequencer, Signer, Statement, Verdict, Way, verify,
};
use tidegate::ledger::{Head, SigningKey};
use tidegate::model::{Flow, LogAnswer, LogAppend, LogTerms, LogWelcome, TextKept, Timestamp};
use tidegate::sql::Strings;

const ROUNDS: u64 = 50;

fn key() -> SigningKey {
    SigningKey::from_seed("tidegate/kill", &[5; 32]).unwrap()
}

fn terms() -> LogTerms {
    // The smallest segments, so that deaths meet their ends too.
    LogTerms { segment: 1, text: TextKept::Full, ..LogTerms::default() }
}

fn flow() -> Arc<Flow> {
    let json = include_str!("flow.json");
    Arc::new(serde_json::from_str(json).expect("a flow as docs/observe.md describes it"))
}

/// The signer, at the other end of two pipes.
struct Parent;

impl Signer for Parent {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        say("A", &serde_json::to_string(asked).unwrap());
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(read) if read > 0 => serde_json::from_str(&line).map_err(|e| e.to_string()),
            _ => Err("gone".into()),
        }
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        say("F", &writer.to_string());
        Ok(())
    }

    fn heard(&mut self) -> Vec<Heard> {
        Vec::new()
    }
}

/// One write, so that lines stay whole.
fn say(what: &str, rest: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{what} {rest}\n").as_bytes()).and_then(|()| out.flush());
}

/// The process that dies: it says which record it was given, once it was.
fn write_for_ever(folder: &str, welcome: &str) -> ! {
    let welcome: LogWelcome = serde_json::from_str(welcome).unwrap();
    let log = Log::open(folder, &welcome).unwrap();
    let _sequencer = Sequencer::start(&log, &welcome, Box::new(Parent)).unwrap();
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let log = log.clone();
            std::thread::spawn(move || {
                let connection = log.connection(flow());
                for serial in 0.. {
                    let sql =
                        format!("SELECT '{}' /* {worker} */", "x".repeat(serial as usize % 3000));
                    let subject = log.subject(&sql, Strings::Standard, None);
                    let statement =
                        Statement::new(serial, Way::Query, Some(&subject), Verdict::Allowed);
                    let sealed = connection.intent(&statement).unwrap();
                    say("P", &sealed.record().unwrap().to_string());
                    connection.outcome(&sealed, &Outcome::new(Ending::Complete));
                }
            })
        })
        .collect();
    for worker in workers {
        let _ = worker.join();
    }
    std::process::exit(1)
}

struct Local(Arc<Mutex<Head>>);

impl Signer for Local {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        Ok(self.0.lock().unwrap().append(asked, &key(), Timestamp::now()))
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        self.0.lock().unwrap().finish(writer);
        Ok(())
    }

    fn heard(&mut self) -> Vec<Heard> {
        Vec::new()
    }
}

fn welcome(head: &Mutex<Head>) -> LogWelcome {
    let mut head = head.lock().unwrap();
    let writer = head.enlist();
    LogWelcome {
        origin: head.origin.clone(),
        writer,
        size: head.size(),
        unfinished: head.unfinished(),
        terms: terms(),
    }
}

/// Ends it whatever happens here.
struct Dying(Child);

impl Drop for Dying {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lets it write for a while and kills it; gives the records that it was given.
fn live_and_die(folder: &Path, head: &Arc<Mutex<Head>>, lines: u64) -> Vec<String> {
    let welcome = serde_json::to_string(&welcome(head)).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_record_that_was_given_survives_a_sudden_death", "--nocapture"])
        .env("TIDEGATE_TEST_WRITER", folder)
        .env("TIDEGATE_TEST_WELCOME", welcome)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut dying = Dying(child);
    let mut answers = dying.0.stdin.take().unwrap();
    let output = BufReader::new(dying.0.stdout.take().unwrap());
    let mut given = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    for line in output.lines().map_while(Result::ok) {
        assert!(Instant::now() < deadline, "it hangs");
        match line.split_once(' ') {
            Some(("A", asked)) => {
                let asked: LogAppend = serde_json::from_str(asked).unwrap();
                let answer = head.lock().unwrap().append(&asked, &key(), Timestamp::now());
                let answer = serde_json::to_string(&answer).unwrap();
                // It may be dead already.
                let _ = answers.write_all(format!("{answer}\n").as_bytes());
            }
            Some(("P", record)) if record.contains('-') => {
                given.push(record.to_owned());
                if given.len() as u64 == lines {
                    dying.0.kill().unwrap();
                }
            }
            _ => {}
        }
    }
    given
}

#[test]
fn every_record_that_was_given_survives_a_sudden_death() {
    if let (Ok(folder), Ok(welcome)) =
        (std::env::var("TIDEGATE_TEST_WRITER"), std::env::var("TIDEGATE_TEST_WELCOME"))
    {
        write_for_ever(&folder, &welcome);
    }
    let path = std::env::temp_dir().join(format!("tg-kill-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    let scratch = Scratch(path);
    let head = Arc::new(Mutex::new(Head::new("tidegate/kill".into())));
    let mut random = Timestamp::now().0 | 1;
    for round in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lines = 1 + random % 2000;
        let given = live_and_die(&scratch.0, &head, lines);
        assert!(given.len() as u64 >= lines, "round {round}: it ended by itself");
        // The next process takes up what it left.
        let welcome = welcome(&head);
        let log = Log::open(&scratch.0, &welcome).unwrap();
        drop(Sequencer::start(&log, &welcome, Box::new(Local(Arc::clone(&head)))).unwrap());
        drop(log);
        let folder = Folder::new(&scratch.0);
        // All that was written so far; it grows.
        if round % 10 == 9 {
            let verified = verify(&folder, key().verifier(), None).unwrap();
            assert!(verified.is_whole(), "round {round}, {lines} lines: {verified:#?}");
            assert_eq!(verified.tail, 0, "round {round}: {verified:#?}");
        }
        let mut segments = tidegate::audit::store::Segments::read(&folder).unwrap();
        for record in given {
            let id = record.parse().unwrap();
            let found = segments.payload(id);
            assert!(
                matches!(found, tidegate::audit::store::segments::Lookup::Payload(_)),
                "round {round}: record {record} is lost: {found:?}"
            );
        }
    }
}
