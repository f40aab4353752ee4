//! What the log costs: each part's processor time a statement at the rate of a busy
//! small host, records a second on one core, bytes on disk a record, searches, and how
//! far the index is behind at which rate. `TIDEGATE_BENCH_RECORDS` says how many records
//! (10 million unless it says so), and `TIDEGATE_BENCH_PROCESSES` of how many processes
//! the second log is, that of a host of short-lived ones (a million).
//!
//! `cargo xtask bench audit [--check]`: the last fails where a promise is broken.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "shared/promises.rs"]
mod promises;
#[path = "shared/short_lived.rs"]
mod short_lived;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use promises::Promises;
use tidegate::audit::index::{Born, Index};
use tidegate::audit::search::Query;
use tidegate::audit::{
    Connection, Ending, Folder, Heard, Log, Outcome, Sequencer, Signer, Statement, Subject,
    Touched, Verdict, Way, verify,
};
use tidegate::ledger::{Head, SigningKey};
use tidegate::model::{
    Carried, Flow, Grounds, Kind, LogAnswer, LogAppend, LogTerms, LogWelcome, Timestamp,
};
use tidegate::sql::Strings;

/// As of nearly all statements: nobody had anything to say.
static GROUNDS: LazyLock<Grounds> =
    LazyLock::new(|| Grounds::new(r#"{"generation":"0f3a9c5512d4e860"}"#.into()));

/// As of those that are refused.
static WHY: LazyLock<Grounds> = LazyLock::new(|| {
    let told = r#"{"generation":"0f3a9c5512d4e860","why":[{"policy":"default/drop"}]}"#;
    Grounds::new(told.into())
});

struct Local(Arc<Mutex<Head>>);

fn key() -> SigningKey {
    SigningKey::from_seed("tidegate/bench", &[5; 32]).expect("a key")
}

impl Signer for Local {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        Ok(self.0.lock().expect("no panic").append(asked, &key(), Timestamp::now()))
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        self.0.lock().expect("no panic").finish(writer);
        Ok(())
    }

    fn heard(&mut self) -> Vec<Heard> {
        Vec::new()
    }
}

fn flow(pid: u32) -> Arc<Flow> {
    let mut flow: Flow = serde_json::from_str(include_str!("../tests/flow.json")).expect("a flow");
    flow.process.key.tgid = pid;
    flow.id.cookie = u64::from(pid);
    flow.process.comm = format!("app-{}", pid % 50);
    Arc::new(flow)
}

fn subjects(log: &Log) -> Vec<Subject> {
    (0..1_000)
        .map(|number| {
            let (table, class) = match number % 500 {
                0 => ("public.customers", Some("email")),
                n if n < 5 => ("public.payments", Some("iban")),
                _ => ("public.orders", None),
            };
            let sql = format!("SELECT c{number}, status FROM {table} WHERE id = $1 AND s = 'x'");
            let touched = Touched {
                table: table.into(),
                column: Some(format!("c{number}").into()),
                class: class.map(Into::into),
                uses: vec!["read"],
            };
            log.subject(&sql, Strings::Standard, None).touching(vec![touched])
        })
        .collect()
}

fn size(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .sum()
}

/// Of the thread: what this core did for it.
fn cpu() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn process_cpu() -> Duration {
    clock(rustix::time::ClockId::ProcessCPUTime)
}

fn clock(which: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(which);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn told(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let wanted = told("TIDEGATE_BENCH_RECORDS", 10_000_000);
    let processes = told("TIDEGATE_BENCH_PROCESSES", wanted / 10);
    let mut promises = Promises::new();
    let path = std::env::temp_dir().join(format!("tg-bench-audit-{}", std::process::id()));
    let fresh = || {
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
    };
    if !promises.check {
        costs();
    }
    fresh();
    run(&path, wanted, &mut promises);
    if !promises.check {
        lag();
    }
    fresh();
    short_lived::run(&path, wanted, processes, &mut promises);
    std::fs::remove_dir_all(&path).expect("the folder goes");
    promises.outcome()
}

fn run(path: &Path, wanted: u64, promises: &mut Promises) {
    let head = Arc::new(Mutex::new(Head::new("tidegate/bench".into())));
    let welcome = welcome(&mut head.lock().expect("no panic"));
    let log = Log::open(path, &welcome).expect("a log");
    let signer = Box::new(Local(Arc::clone(&head)));
    let sequencer = Sequencer::start(&log, &welcome, signer).expect("a thread");
    let subjects = subjects(&log);
    let connections: Vec<_> = (0..1_000)
        .map(|pid| {
            let connection = log.connection(flow(1_000 + pid));
            connection.opened().expect("written");
            let carried = Carried {
                database: Some(if pid % 100 == 7 { "billing" } else { "shop" }.into()),
                role: Some("app".into()),
                ..Carried::default()
            };
            connection.session(&carried).expect("written");
            connection
        })
        .collect();
    let (began, began_cpu) = (Instant::now(), cpu());
    let mut intents = Duration::ZERO;
    let statements = wanted / 2;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    // The promise is held against the best round: others may keep a core busy.
    let (mut best, mut round) = (Duration::MAX, cpu());
    let in_round = (statements / ROUNDS).max(1);
    for serial in 0..statements {
        if serial > 0 && serial % in_round == 0 {
            best = best.min(cpu() - round);
            round = cpu();
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let connection = connections.get((random % 1_000) as usize).expect("one of them");
        let subject = subjects.get((random >> 20) as usize % 1_000).expect("one of them");
        let refused = random >> 40 & 0xffff == 0;
        let verdict = if refused { Verdict::Refused } else { Verdict::Allowed };
        let statement = Statement {
            grounds: Some(if refused { &WHY } else { &GROUNDS }),
            ..Statement::new(serial, Way::Execute, Some(subject), verdict)
        };
        let sealed = if serial % 1024 == 0 {
            let at = Instant::now();
            let sealed = connection.intent(&statement).expect("written");
            intents += at.elapsed();
            sealed
        } else {
            connection.intent(&statement).expect("written")
        };
        let masked: &[(&str, u64)] = if random >> 50 == 3 { &[("email", 12)] } else { &[] };
        let outcome = Outcome {
            tag: Some("SELECT"),
            rows: random & 0xff,
            bytes: random >> 8 & 0xffff,
            latency_us: random >> 16 & 0xfff,
            masked,
            ..Outcome::new(Ending::Complete)
        };
        connection.outcome(&sealed, &outcome);
    }
    let (took, took_cpu) = (began.elapsed(), cpu() - began_cpu);
    let per_second = |time: Duration| (statements * 2) as f64 / time.as_secs_f64();
    println!("records                     {}", statements * 2);
    println!("records/s, one core         {:.0} (its thread's own time)", per_second(took_cpu));
    promises.at_least("records/s, best round", (in_round * 2) as f64 / best.as_secs_f64(), RATE);
    println!(
        "records/s, by the clock     {:.0} (sequencer and sealing beside it)",
        per_second(took)
    );
    println!(
        "an intent, mean             {} ns",
        intents.as_nanos() / u128::from(statements / 1024 + 1)
    );
    let sealing = Instant::now();
    drop(sequencer);
    println!("until all is sealed         {:.1} s more", sealing.elapsed().as_secs_f64());
    let folder = Folder::new(path);
    let sealed = size(&folder.segments());
    let tree = size(&folder.tree());
    let bytes = (sealed + tree) as f64 / (statements * 2) as f64;
    promises.at_most("bytes a sealed record", bytes, SEALED);
    println!(
        "… of these                  {:.1} segments, {:.1} hashes and heads",
        sealed as f64 / (statements * 2) as f64,
        tree as f64 / (statements * 2) as f64,
    );
    let began = Instant::now();
    let verified = verify(&folder, key().verifier(), None).expect("a log");
    assert!(verified.is_whole(), "{verified:?}");
    println!("verify                      {:.1} s", began.elapsed().as_secs_f64());
    let index = indexed(&folder, statements * 2);
    searches(&index, promises);
    drop(index);
    drop(log);
}

fn indexed(folder: &Folder, records: u64) -> Index {
    let began = Instant::now();
    let mut index = Index::open(folder).expect("an index");
    let taken = index.catch_up(&mut || true).expect("built").records;
    let built = began.elapsed().as_secs_f64();
    println!("index built                 {built:.1} s, {:.0} records/s", taken as f64 / built);
    println!(
        "index                       {:.0} MiB, {:.1} bytes a record",
        size(&folder.index()) as f64 / 1048576.0,
        size(&folder.index()) as f64 / records as f64
    );
    index
}

/// How far the index is behind, at which rate: written by one thread, taken in
/// by another that looks each second, as the agent's own does.
fn lag() {
    let mut kept_up = 0;
    for rate in [25_000, 50_000, 100_000, 150_000, 200_000, 300_000] {
        let lag = lag_at(rate);
        println!("index lag                   {:.2} s at {rate} records/s", lag.as_secs_f64());
        if lag > Duration::from_secs(2) {
            break;
        }
        kept_up = rate;
    }
    println!("index lag at most 2 s       up to {kept_up} records/s");
}

/// What one statement costs whom: written by one thread at 20,000 a second, as few
/// clients with one text do it, and taken in as the agent does.
fn costs() {
    let before = process_cpu();
    let paced = paced(40_000, 8, 1);
    let all = process_cpu() - before;
    let statements = 20_000 * LAG_SECONDS;
    let each = |time: Duration| time.as_nanos() as u64 / statements;
    println!("a statement, index          {} ns", each(paced.index));
    println!("a statement, sequencer      {} ns", each(all - paced.index - paced.writing));
    println!("a statement, worker         {} ns", each(paced.writing));
    println!("a statement, worker, cold   {} ns", cold());
}

/// Where other work has had the caches meanwhile, as it has between two statements.
fn cold() -> u64 {
    let path = std::env::temp_dir().join(format!("tg-bench-cold-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    let log = Log::open(&path, &welcome(&mut Head::new("tidegate/bench".into()))).expect("a log");
    let subjects = subjects(&log);
    let connections: Vec<_> = (0..8).map(|pid| log.connection(flow(1_000 + pid))).collect();
    let mut others = vec![0_u64; 1 << 18];
    let mut took: Vec<u64> = (0..20_000)
        .map(|serial| {
            others.iter_mut().for_each(|one| *one += serial);
            let connection = &connections[serial as usize % 8];
            let began = Instant::now();
            one(connection, &subjects[0], serial);
            u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    assert!(std::hint::black_box(&others).iter().all(|one| *one > 0));
    took.sort_unstable();
    std::fs::remove_dir_all(&path).expect("the folder goes");
    took[took.len() / 2]
}

fn one(connection: &Connection, subject: &Subject, serial: u64) {
    let statement = Statement {
        grounds: Some(&GROUNDS),
        ..Statement::new(serial, Way::Execute, Some(subject), Verdict::Allowed)
    };
    let sealed = connection.intent(&statement).expect("written");
    let outcome = Outcome {
        tag: Some("SELECT"),
        rows: 1,
        bytes: 14,
        latency_us: 300 + serial % 50,
        ..Outcome::new(Ending::Complete)
    };
    connection.outcome(&sealed, &outcome);
}

fn lag_at(rate: u64) -> Duration {
    paced(rate, 200, 1_000).lag
}

struct Paced {
    lag: Duration,
    /// Of the thread that takes in, and of the one that writes.
    index: Duration,
    writing: Duration,
}

fn welcome(head: &mut Head) -> LogWelcome {
    LogWelcome {
        origin: head.origin.clone(),
        writer: head.enlist(),
        size: 0,
        unfinished: head.unfinished(),
        terms: LogTerms { flood_burst: 1 << 40, keep_bytes: 1 << 60, ..LogTerms::default() },
    }
}

fn paced(rate: u64, clients: u32, texts: usize) -> Paced {
    let path = std::env::temp_dir().join(format!("tg-bench-lag-{}-{rate}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    let mut head = Head::new("tidegate/bench".into());
    let welcome = welcome(&mut head);
    let log = Log::open(&path, &welcome).expect("a log");
    let signer = Box::new(Local(Arc::new(Mutex::new(head))));
    let sequencer = Sequencer::start(&log, &welcome, signer).expect("a thread");
    let over = Arc::new(AtomicBool::new(false));
    let indexing = std::thread::Builder::new().name("index".into()).spawn({
        let (over, folder) = (Arc::clone(&over), Folder::new(&path));
        move || {
            let mut index = Index::open(&folder).expect("an index");
            let mut worst = Duration::ZERO;
            let mut before = Instant::now();
            let began = cpu();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                index.catch_up(&mut || true).expect("taken in");
                // What was written just after it last looked has waited longest.
                worst = worst.max(before.elapsed());
                before = begun;
                std::thread::sleep(Duration::from_secs(1));
            }
            (worst, cpu() - began)
        }
    });
    let indexing = indexing.expect("a thread");
    let subjects = subjects(&log);
    let connections: Vec<_> = (0..clients).map(|pid| log.connection(flow(1_000 + pid))).collect();
    let (began, began_cpu) = (Instant::now(), cpu());
    for serial in 0..rate / 2 * LAG_SECONDS {
        let at = usize::try_from(serial).expect("it fits");
        let connection = &connections[at % connections.len()];
        one(connection, &subjects[at * 7 % texts], serial);
        // In steps of a hundredth of a second.
        if serial % (rate / 200) == 0 {
            let due = Duration::from_secs_f64(serial as f64 * 2.0 / rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    let writing = cpu() - began_cpu;
    over.store(true, Ordering::Relaxed);
    let (lag, index) = indexing.join().expect("no panic");
    drop(sequencer);
    std::fs::remove_dir_all(&path).expect("the folder goes");
    Paced { lag, index, writing }
}

const LAG_SECONDS: u64 = 6;

fn searches(index: &Index, promises: &mut Promises) {
    let usual = || Query { limit: 100, ..Query::default() };
    let text = |words: &str| vec![words.to_owned()];
    let rare = Query { words: Some("c500".into()), exe: text("app-7"), ..usual() };
    let all = [
        ("a word that is rare", Query { words: Some("customers".into()), ..usual() }),
        ("a word that is everywhere", Query { words: Some("orders".into()), ..usual() }),
        ("a class", Query { class: text("email"), ..usual() }),
        ("refused", Query { verdict: vec![Verdict::Refused], ..usual() }),
        ("a policy", Query { policy: text("default/drop"), ..usual() }),
        ("a policy that nobody met", Query { policy: text("default/grant"), ..usual() }),
        ("a kind of actor", Query { actor: vec![Kind::Unplaced], ..usual() }),
        ("a kind that never came", Query { actor: vec![Kind::Notebook], ..usual() }),
        (
            "first touch of a table",
            Query { table: text("customers"), oldest: true, limit: 1, ..usual() },
        ),
        (
            "a process tree",
            Query { tree: vec![Born { pid: 1_042, started: None, boot: None }], ..usual() },
        ),
        ("a program and a word", rare),
        (
            "a database and a class",
            Query { database: text("billing"), class: text("iban"), ..usual() },
        ),
        (
            "an answer that is empty",
            Query { words: Some("orders".into()), class: text("ssn"), ..usual() },
        ),
        (
            "everything of one database",
            Query { database: text("billing"), limit: 1_000, ..usual() },
        ),
    ];
    for (what, query) in &all {
        search(index, what, query, promises);
    }
}

/// The best of three, and how many were found.
fn search(index: &Index, what: &str, query: &Query, promises: &mut Promises) -> usize {
    let (mut best, mut hits) = (Duration::MAX, 0);
    for _ in 0..3 {
        let began = Instant::now();
        // As the command does it.
        index.ambiguous(query).expect("an answer");
        hits = index.search(query).expect("an answer").len();
        best = best.min(began.elapsed());
    }
    let what = format!("search: {what} ({hits} hits) [ms]");
    promises.at_most(&what, best.as_secs_f64() * 1e3, SEARCH);
    hits
}

const ROUNDS: u64 = 5;
/// What is promised: records a second of one core's, bytes of a sealed record with its
/// share of the tree, and milliseconds of a search.
const RATE: f64 = 200_000.0;
const SEALED: f64 = 300.0;
const SEARCH: f64 = 1_000.0;
