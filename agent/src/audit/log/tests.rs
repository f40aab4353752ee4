use std::sync::Mutex as StdMutex;

use super::*;
use crate::audit::record::decode;
use crate::audit::store::Segments;
use crate::audit::{Ending, Outcome, Parameter, Sequencer, Signer, Statement, Verdict, Way};
use crate::ledger::{Head, SigningKey};
use crate::model::{Carried, Grounds, LogAnswer, LogAppend, Mode, samples};

/// A folder that goes with the test.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        use std::sync::atomic::AtomicU32;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tg-log-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The keeper's part, in this process.
#[derive(Clone, Debug)]
pub struct Keeper(pub Arc<StdMutex<Head>>);

pub fn key() -> SigningKey {
    SigningKey::from_seed("tidegate/host-1", &[9; 32]).unwrap()
}

impl Keeper {
    pub fn new() -> Self {
        Self(Arc::new(StdMutex::new(Head::new("tidegate/host-1".into()))))
    }

    pub fn welcome(&self, terms: LogTerms) -> LogWelcome {
        let mut head = self.0.lock().unwrap();
        let writer = head.enlist();
        LogWelcome {
            origin: head.origin.clone(),
            writer,
            size: head.size(),
            unfinished: head.unfinished(),
            terms,
        }
    }
}

impl Signer for Keeper {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        Ok(self.0.lock().unwrap().append(asked, &key(), Timestamp::now()))
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        self.0.lock().unwrap().finish(writer);
        Ok(())
    }

    fn heard(&mut self) -> Vec<crate::audit::Heard> {
        Vec::new()
    }
}

pub fn small() -> LogTerms {
    LogTerms { segment: SMALL, text: TextKept::Full, ..LogTerms::default() }
}

/// The smallest that there is.
pub const SMALL: u64 = 1;

pub fn flow(pid: u32, mode: Mode) -> Arc<crate::model::Flow> {
    let mut flow = samples::flow();
    flow.process.key.tgid = pid;
    flow.id.cookie = u64::from(pid);
    flow.mode = mode;
    Arc::new(flow)
}

pub fn closing() -> crate::model::Closing {
    crate::model::Closing {
        flow: samples::flow().id,
        bytes_up: 1,
        bytes_down: 2,
        duration_us: 3,
        end: crate::model::End::Closed,
        carried: None,
    }
}

/// All records, in order.
pub fn records(folder: &Folder) -> Vec<(RecordId, Body)> {
    let mut all = Vec::new();
    for segment in Segments::read(folder).unwrap().iter() {
        segment.each(0, |_, payload| all.push(decode(payload).unwrap())).unwrap();
    }
    all
}

#[test]
fn a_session_is_recorded_and_refers_to_what_was_told_once() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    let subject = log.subject("SELECT 1", Strings::Standard, None);
    let grounds = Grounds::new("{}".into());
    for serial in 0..3 {
        let statement = Statement {
            grounds: Some(&grounds),
            ..Statement::new(serial, Way::Query, Some(&subject), Verdict::Allowed)
        };
        let sealed = connection.intent(&statement).unwrap();
        let outcome =
            Outcome { rows: 5, masked: &[("email", 5)], ..Outcome::new(Ending::Complete) };
        connection.outcome(&sealed, &outcome);
        let id = sealed.record().unwrap();
        let all = records(&Folder::new(&scratch.0));
        let (_, Body::Intent(intent)) = &all[id.position as usize] else { panic!("{all:?}") };
        assert_eq!(intent.serial, serial);
        let (_, Body::Outcome(outcome)) = all.last().unwrap() else { panic!("{all:?}") };
        assert_eq!(all.last().unwrap().0.position - outcome.intent, id.position);
        let at = |back: u64| &all[(id.position - back) as usize].1;
        assert!(matches!(at(intent.head.flow), Body::Flow(_)));
        let Body::Statement(json) = at(intent.statement) else { panic!("{all:?}") };
        assert!(json.contains("SELECT 1"));
        assert_eq!(at(intent.grounds), &Body::Grounds("{}".into()));
    }
    let all = records(&Folder::new(&scratch.0));
    let count = |code: u8| all.iter().filter(|(_, body)| body.code() == code).count();
    assert_eq!((count(1), count(2), count(3), count(4), count(5)), (1, 1, 1, 1, 1));
    let sequences: Vec<u64> =
        all.iter().filter_map(|(_, body)| body.head().map(|head| head.sequence)).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4, 5, 6]);
    for ((id, _), position) in all.iter().zip(0..) {
        assert_eq!(*id, RecordId { writer: 1, position });
    }
}

#[test]
fn connections_of_a_process_keep_one_text_of_it() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let [one, same, other] = [7, 7, 8].map(|pid| log.connection(flow(pid, Mode::Strict)));
    assert!(Arc::ptr_eq(one.process(), same.process()));
    assert!(!Arc::ptr_eq(one.process(), other.process()));
    // More is known of it than before.
    let mut known = (*flow(7, Mode::Strict)).clone();
    known.process.user = Some("somebody".into());
    let later = log.connection(Arc::new(known));
    assert!(later.process().contains("somebody") && !one.process().contains("somebody"));
}

#[test]
fn what_a_session_calls_itself_is_told_without_secrets() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let secret = "postgres://u:hunter2@h/db";
    for application in ["psql", secret] {
        let application = Some(application.to_owned());
        connection.session(&Carried { application, ..Carried::default() }).unwrap();
    }
    connection.renamed("nightly");
    connection.renamed(secret);
    let told: Vec<String> = records(&Folder::new(&scratch.0))
        .into_iter()
        .filter_map(|(_, body)| match body {
            Body::Session(event) | Body::Renamed(event) => Some(event.json),
            _ => None,
        })
        .map(|json| crate::audit::render::parsed(&json)["application"].as_str().unwrap().into())
        .collect();
    assert_eq!(told, ["psql", "***", "nightly", "***"]);
}

#[test]
fn every_segment_tells_what_it_speaks_of() {
    let scratch = Scratch::new();
    let keeper = Keeper::new();
    let welcome = keeper.welcome(small());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    let sequencer = Sequencer::start(&log, &welcome, Box::new(keeper.clone())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let parameter = "x".repeat(900);
    let parameters: Vec<_> =
        (0..8).map(|_| crate::audit::Parameter::Value((&*parameter).into())).collect();
    for serial in 0..3_000 {
        let sql = format!("SELECT $1, $2, $3, $4, $5, $6, $7, $8, {serial}");
        let subject = log.subject(&sql, Strings::Standard, None);
        let statement = Statement {
            parameters: &parameters,
            ..Statement::new(serial, Way::Query, Some(&subject), Verdict::Allowed)
        };
        let _ = connection.intent(&statement).unwrap();
    }
    drop(sequencer);
    let folder = Folder::new(&scratch.0);
    let segments = Segments::read(&folder).unwrap();
    assert!(segments.iter().count() > 3, "{}", segments.iter().count());
    for segment in segments.iter() {
        assert!(matches!(segment, crate::audit::store::Segment::Sealed(_)), "{segment:?}");
        let first = segment.start().first;
        segment
            .each(0, |position, payload| {
                let (id, body) = decode(payload).unwrap();
                assert_eq!(id.position, position);
                for back in body.refers() {
                    assert!(position - back >= first, "{body:?}");
                }
            })
            .unwrap();
    }
    let head = keeper.0.lock().unwrap();
    assert_eq!(head.size(), records(&folder).len() as u64);
    assert!(head.unfinished().is_empty());
}

#[test]
fn a_text_that_was_read_under_other_settings_tells_no_more_than_they_let_by_now() {
    let sql = "SELECT 'hunter2' /* why='because' */";
    for (before, after, told) in [
        (TextKept::Full, TextKept::Redacted, None),
        (TextKept::Full, TextKept::Fingerprint, None),
        (TextKept::Redacted, TextKept::Fingerprint, None),
        (TextKept::Redacted, TextKept::Full, Some("SELECT ?")),
    ] {
        let scratch = Scratch::new();
        let terms = |text| LogTerms { text, ..small() };
        let log = Log::open(&scratch.0, &Keeper::new().welcome(terms(before))).unwrap();
        let subject = log.subject(sql, Strings::Standard, None);
        log.set_terms(terms(after));
        assert_eq!(log.text_kept(), after);
        let connection = log.connection(flow(7, Mode::Strict));
        let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
        let _ = connection.intent(&statement).unwrap();
        let kept = records(&Folder::new(&scratch.0)).into_iter().find_map(|(_, body)| match body {
            Body::Statement(json) => Some(json),
            _ => None,
        });
        let kept: serde_json::Value = serde_json::from_str(&kept.unwrap()).unwrap();
        let begins = |text: &str| kept["text"].as_str().unwrap().starts_with(text);
        match told {
            Some(text) => assert!(begins(text), "{kept}"),
            None => assert!(kept.get("text").is_none() && kept.get("says").is_none(), "{kept}"),
        }
        assert_eq!(kept["fingerprint"], *subject.fingerprint);
        assert!(!kept.to_string().contains("hunter2"));
    }
}

#[test]
fn parameters_are_recorded_as_the_settings_and_their_places_say() {
    use crate::audit::Parameter::{Null, Unread, Value};
    let sql = "UPDATE users SET email = $1, n = $2, note = $3 WHERE id = $4 AND x = $5 AND p = $6";
    let given = ["a@b.example", "7", "postgres://u:hunter2@h/db"].map(|one| Value(one.into()));
    let given: Vec<_> =
        given.into_iter().chain([Null, Unread, Value("x".repeat(2_000).into())]).collect();
    let long = format!("{}…", "x".repeat(1024));
    for (text, expected) in [
        (TextKept::Full, ["[email]", "7", "[secret]", "NULL", "?", long.as_str()]),
        (TextKept::Redacted, ["[email]", "?", "?", "NULL", "?", "?"]),
        (TextKept::Fingerprint, ["[email]", "?", "?", "NULL", "?", "?"]),
    ] {
        let scratch = Scratch::new();
        let terms = LogTerms { text, ..small() };
        let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
        let subject = log.subject(sql, Strings::Standard, None);
        assert_eq!(subject.keeps_values(), text == TextKept::Full);
        let connection = log.connection(flow(7, Mode::Strict));
        for subject in [Some(&subject), None] {
            let statement = Statement::new(1, Way::Bind, subject, Verdict::Allowed);
            let _ = connection.intent(&Statement { parameters: &given, ..statement }).unwrap();
        }
        let mut intents = records(&Folder::new(&scratch.0)).into_iter().filter_map(|(_, body)| {
            let Body::Intent(intent) = body else { return None };
            Some(intent.parameters.into_iter().map(|one| one.unwrap_or("NULL".into())).collect())
        });
        let known: Vec<Box<str>> = intents.next().unwrap();
        assert_eq!(known.iter().map(|one| &**one).collect::<Vec<_>>(), expected);
        // Of a text that nobody knows nothing is shown.
        let unknown: Vec<Box<str>> = intents.next().unwrap();
        assert_eq!(
            unknown.iter().map(|one| &**one).collect::<Vec<_>>(),
            ["?", "?", "?", "NULL", "?", "?"]
        );
    }
}

#[test]
fn many_long_parameters_never_make_a_record_too_long() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let numbers: Vec<String> = (1..=300).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT f({})", numbers.join(", "));
    let subject = log.subject(&sql, Strings::Standard, None);
    let given: Vec<_> =
        (0..300).map(|_| crate::audit::Parameter::Value("ä".repeat(5_000).into())).collect();
    let statement = Statement::new(1, Way::Bind, Some(&subject), Verdict::Allowed);
    let _ = connection.intent(&Statement { parameters: &given, ..statement }).unwrap();
    let all = records(&Folder::new(&scratch.0));
    let Some((_, Body::Intent(intent))) = all.last() else { panic!("{all:?}") };
    let bytes: usize = intent.parameters.iter().flatten().map(|one| one.len()).sum();
    assert!(bytes < 40_000, "{bytes}");
}

#[test]
fn what_cannot_be_written_is_refused_or_counted() {
    let scratch = Scratch::new();
    let keeper = Keeper::new();
    let welcome = keeper.welcome(small());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    // The folder is gone when the segment is full: so it is on a full disk.
    std::fs::rename(scratch.0.join("segments"), scratch.0.join("away")).unwrap();
    let strict = log.connection(flow(7, Mode::Strict));
    let permissive = log.connection(flow(8, Mode::Permissive));
    let text = "x".repeat(10_000);
    let mut error = None;
    for serial in 0..2_000 {
        let sql = format!("SELECT '{text}', {serial}");
        let subject = log.subject(&sql, Strings::Standard, None);
        let statement = Statement::new(serial, Way::Query, Some(&subject), Verdict::Allowed);
        match strict.intent(&statement) {
            Ok(sealed) => assert!(sealed.record().is_some()),
            Err(found) => {
                error = Some(found.to_string());
                break;
            }
        }
    }
    let error = error.expect("a segment has an end");
    assert!(error.contains("cannot make"), "{error}");
    // What still fits proves nothing: the trouble lasts until there is a next segment.
    let statement = Statement::new(1, Way::Query, None, Verdict::Allowed);
    assert!(strict.intent(&statement).unwrap().record().is_some());
    assert!(log.health().trouble.is_some());
    let big = log.subject(&format!("SELECT '{text}'"), Strings::Standard, None);
    let statement = Statement { subject: Some(&big), ..statement };
    let sealed = permissive.intent(&statement).unwrap();
    assert_eq!(sealed.record(), None);
    let health = log.health();
    assert_eq!(health.lost, 1);
    assert!(health.trouble.is_some());
    std::fs::rename(scratch.0.join("away"), scratch.0.join("segments")).unwrap();
    assert!(strict.intent(&statement).unwrap().record().is_some());
    assert_eq!(log.health().trouble, None);
    let mut work = crate::audit::sequencer::Work::new(
        log.clone(),
        Arc::clone(log.shared().unwrap()),
        &welcome,
        Box::new(keeper),
    )
    .unwrap();
    work.turn().unwrap();
    let told = records(&Folder::new(&scratch.0))
        .into_iter()
        .any(|(_, body)| matches!(body, Body::Lost(told) if &*told.json == r#"{"records":1}"#));
    assert!(told);
}

/// What is left of a workload's statements: those told by themselves, and those that
/// others stand for.
fn told_of(folder: &Folder) -> (u64, u64) {
    let all = records(folder);
    let single = all.iter().filter(|(_, body)| matches!(body, Body::Intent(_))).count() as u64;
    let times = |(_, body): &(RecordId, Body)| match body {
        Body::Summed(summed) => summed.times,
        _ => 0,
    };
    (single, all.iter().map(times).sum())
}

#[test]
fn a_workload_that_floods_is_named_and_told_together_and_never_refused() {
    let scratch = Scratch::new();
    let terms = LogTerms { flood_rate: 1, flood_burst: 20_000, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let mut other = samples::flow();
    other.process.workload.user_slice = None;
    other.process.workload.unit = Some("shop.service".into());
    other.id.cookie = 1 << 40;
    let other = log.connection(Arc::new(other));
    // Always new texts, always new connections: nothing is like anything before.
    let (mut statements, mut bytes) = (0_u64, 0);
    for pid in 0..600 {
        let connection = log.connection(flow(pid, Mode::Strict));
        connection.opened().unwrap();
        for name in 0..4 {
            let sql = format!("SELECT c{pid}_{name} AS {}", "x".repeat(1_500));
            let subject = log.subject(&sql, Strings::Standard, None);
            let statement = Statement::new(name, Way::Query, Some(&subject), Verdict::Allowed);
            let sealed = connection.intent(&statement).unwrap();
            assert!(sealed.record().is_some());
            connection.outcome(&sealed, &Outcome::new(Ending::Complete));
            connection.transaction(crate::audit::TransactionEnd::Committed, 1);
            statements += 1;
            bytes += sql.len();
        }
        connection.closed(&closing()).unwrap();
    }
    let shared = log.shared().unwrap();
    shared.end_sums(None).unwrap();
    let written = std::fs::read(Folder::new(&scratch.0).live(1, 0)).unwrap();
    let written = written.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    assert!(bytes > 3 << 20 && written < 3 << 19, "{written} of {bytes}");
    // All of them are counted. Of transactions the statements are, too.
    let all = records(&Folder::new(&scratch.0));
    let (single, summed) = told_of(&Folder::new(&scratch.0));
    let committed: u64 = all
        .iter()
        .map(|(_, body)| match body {
            Body::Summed(summed) => summed.transactions.iter().map(|(_, count)| count).sum(),
            Body::Transaction(_) => 1,
            _ => 0,
        })
        .sum();
    assert_eq!(committed, statements);
    let of_transactions = all.iter().filter_map(|(_, body)| match body {
        Body::Summed(summed) if summed.intent == 0 => Some(summed.times),
        _ => None,
    });
    assert_eq!(single + summed - of_transactions.sum::<u64>(), statements);
    let reaches: std::collections::BTreeSet<u8> = all
        .iter()
        .filter_map(|(_, body)| match body {
            Body::Standing(standing) => Some(standing.reach),
            _ => None,
        })
        .collect();
    assert_eq!(reaches.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    let told = all.iter().find_map(|(_, body)| match body {
        Body::Flood(told) => Some(told.json.clone()),
        _ => None,
    });
    assert!(told.unwrap().contains("user-1000.slice"));
    // The others notice nothing.
    other.opened().unwrap();
    let statement = Statement::new(1, Way::Query, None, Verdict::Allowed);
    let sealed = other.intent(&statement).unwrap();
    other.outcome(&sealed, &Outcome::new(Ending::Complete));
    let last = records(&Folder::new(&scratch.0));
    let kinds: Vec<u8> = last[all.len()..].iter().map(|(_, body)| body.code()).collect();
    assert_eq!(kinds, [1, 2, 16, 32, 35]);
}

#[test]
fn statements_that_are_alike_are_told_together_with_all_that_came_of_them() {
    let scratch = Scratch::new();
    let terms = LogTerms { flood_rate: 1, flood_burst: 1, text: TextKept::Redacted, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    let seal = |id: u64, verdict| {
        let sql = format!("SELECT email FROM users WHERE id = {id} -- {id}");
        let subject = log.subject(&sql, Strings::Standard, None);
        connection.intent(&Statement::new(id, Way::Query, Some(&subject), verdict)).unwrap()
    };
    let seals: Vec<Sealed> = (0..100).map(|id| seal(id, Verdict::Allowed)).collect();
    for (id, sealed) in (0_u64..).zip(&seals) {
        assert_eq!(sealed.record(), seals[0].record());
        let outcome = if id % 10 == 3 {
            Outcome { sqlstate: Some("57014"), ..Outcome::new(Ending::Failed) }
        } else {
            Outcome {
                rows: 2,
                bytes: 30,
                latency_us: 5,
                seen: &[("email", 2)],
                ..Outcome::new(Ending::Complete)
            }
        };
        connection.outcome(sealed, &outcome);
    }
    // What was refused stands by itself, each time.
    let refused: Vec<_> =
        (0..3).map(|id| seal(id, Verdict::Refused).record().unwrap().position).collect();
    assert!(refused[0] < refused[1] && refused[1] < refused[2], "{refused:?}");
    let late = seal(1, Verdict::Allowed);
    connection.closed(&closing()).unwrap();
    // Its sum has ended by then.
    connection.outcome(&late, &Outcome::new(Ending::Lost));
    let all = records(&Folder::new(&scratch.0));
    let standing: Vec<_> = all
        .iter()
        .filter_map(|(id, body)| match body {
            Body::Standing(standing) => Some((id.position, standing)),
            _ => None,
        })
        .collect();
    let [(position, standing)] = standing.as_slice() else { panic!("{standing:?}") };
    assert_eq!(Some(*position), seals[0].record().map(|id| id.position));
    assert!(standing.until >= standing.intent.head.at + 1_000_000);
    let summed: Vec<_> = all
        .iter()
        .filter_map(|(id, body)| match body {
            Body::Summed(summed) => Some((id.position - summed.intent, summed)),
            _ => None,
        })
        .collect();
    let [(of, summed)] = summed.as_slice() else { panic!("{summed:?}") };
    assert_eq!(of, position);
    assert_eq!((summed.times, summed.rows, summed.bytes, summed.latency_us), (101, 180, 2700, 450));
    assert_eq!(summed.endings, [(0, 90), (5, 10)]);
    assert_eq!(summed.failures, [("57014".into(), 10)]);
    assert_eq!(summed.seen.iter().map(|(_, cells)| *cells).collect::<Vec<_>>(), [180]);
    let Some((id, Body::Outcome(late))) = all.last() else { panic!("{all:?}") };
    assert_eq!(id.position - late.intent, *position);
}

#[test]
fn many_ends_of_one_text_are_told_together_too() {
    let scratch = Scratch::new();
    let terms = LogTerms { flood_rate: 1, flood_burst: 4_000, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let statement = Statement::new(1, Way::Query, None, Verdict::Allowed);
    let sealed = connection.intent(&statement).unwrap();
    for index in 0..10_000 {
        connection.outcome(&sealed, &Outcome { index, rows: 1, ..Outcome::new(Ending::Complete) });
    }
    connection.closed(&closing()).unwrap();
    let all = records(&Folder::new(&scratch.0));
    let ends: Vec<u64> = all
        .iter()
        .filter_map(|(_, body)| match body {
            Body::Outcome(outcome) => Some(outcome.rows),
            Body::Summed(summed) => Some(summed.rows),
            _ => None,
        })
        .collect();
    assert!(ends.len() < 200, "{}", ends.len());
    assert_eq!(ends.iter().sum::<u64>(), 10_000);
}

#[test]
fn the_disk_is_awaited_where_it_is_asked_for() {
    let scratch = Scratch::new();
    let terms = LogTerms { durability: crate::model::Durability::PowerForWrites, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let mut subject = log.subject("SELECT 1", Strings::Standard, None);
    subject.writes = false;
    let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
    let _ = connection.intent(&statement).unwrap();
    assert_eq!(connection.owes(), None);
    let mut writes = subject.clone();
    writes.writes = true;
    let statement = Statement { subject: Some(&writes), ..statement };
    let position = connection.intent(&statement).unwrap().record().unwrap().position;
    assert_eq!(connection.owes(), Some(position));
    // Whatever else it does, it owes that.
    let _ = connection.intent(&Statement { subject: Some(&subject), ..statement }).unwrap();
    assert_eq!(connection.owes(), Some(position));
    on_disk(&log, position).recv().unwrap().unwrap();
    assert_eq!(connection.owes(), None);
}

fn on_disk(log: &Log, position: u64) -> std::sync::mpsc::Receiver<Result<(), String>> {
    let (done_tx, done_rx) = std::sync::mpsc::channel();
    log.on_disk(position, Box::new(move |done| drop(done_tx.send(done))));
    done_rx
}

#[test]
fn nobody_waits_for_the_disk_and_it_serves_all_at_once() {
    let scratch = Scratch::new();
    let terms = LogTerms { durability: crate::model::Durability::Power, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let shared = log.shared().unwrap();
    let connections: Vec<_> = (0..8).map(|pid| log.connection(flow(pid, Mode::Strict))).collect();
    let asked = |connection: &Connection| {
        let mut subject = log.subject("SELECT 1", Strings::Standard, None);
        // Reads too.
        subject.writes = false;
        let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
        connection.intent(&statement).unwrap().record().unwrap().position
    };
    let first = asked(&connections[0]);
    on_disk(&log, first).recv().unwrap().unwrap();
    assert_eq!(shared.syncs.load(Ordering::Relaxed), 1);
    // While the disk is busy with one, the others come: none of them is held up here.
    let busy = shared.syncing.lock().unwrap();
    let one = on_disk(&log, asked(&connections[0]));
    let rest: Vec<_> = connections.iter().map(|it| on_disk(&log, asked(it))).collect();
    assert!(connections.iter().all(|connection| connection.owes().is_some()));
    assert!(rest.iter().chain([&one]).all(|done| done.try_recv().is_err()));
    drop(busy);
    for done in rest.iter().chain([&one]) {
        done.recv().unwrap().unwrap();
    }
    assert!(connections.iter().all(|connection| connection.owes().is_none()));
    let syncs = shared.syncs.load(Ordering::Relaxed);
    assert!((2..=3).contains(&syncs), "{syncs}");
}

/// A disk that takes nothing: strict sessions go no further, permissive ones are counted.
#[test]
fn without_a_disk_only_permissive_destinations_go_on() {
    let scratch = Scratch::new();
    let terms = LogTerms { durability: crate::model::Durability::Power, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let ask = |mode: Mode| {
        let connection = log.connection(flow(7, mode));
        let statement = Statement::new(1, Way::Query, None, Verdict::Allowed);
        let _ = connection.intent(&statement).unwrap();
        connection
    };
    let strict = ask(Mode::Strict);
    assert!(!strict.goes_on_without_disk() && strict.owes().is_some());
    assert_eq!(log.health().lost, 0);
    let permissive = ask(Mode::Permissive);
    assert!(permissive.goes_on_without_disk() && permissive.owes().is_none());
    assert_eq!(log.health().lost, 1);
}

/// A statement behind the end of a segment has the disk bring all before it as well.
#[test]
fn segments_that_were_left_are_brought_to_the_disk_too() {
    let scratch = Scratch::new();
    let terms = LogTerms { durability: crate::model::Durability::Power, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let shared = log.shared().unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    let mut last = 0;
    while shared.lock().left.len() < 2 {
        let subject = log.subject(&format!("SELECT '{last}'"), Strings::Standard, None);
        let long = [Parameter::Value("x".repeat(1000).into())];
        let statement = Statement {
            parameters: &long,
            ..Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed)
        };
        last = connection.intent(&statement).unwrap().record().unwrap().position;
    }
    let left = shared.lock().left.clone();
    assert!(left.iter().all(|live| !live.is_on_disk()));
    on_disk(&log, last).recv().unwrap().unwrap();
    assert!(left.iter().all(|live| live.is_on_disk()));
    assert!(shared.lock().left.is_empty());
}

/// What the bench and the tests of whole processes write.
#[test]
fn the_flow_that_others_take_is_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flow.json");
    let current = serde_json::to_string_pretty(&samples::flow()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &current).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), current);
}
