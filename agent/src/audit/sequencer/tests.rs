//! A disk that takes nothing for a while: what was signed is written down
//! later, what a dead process left is brought in later, and the log is whole.

use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::audit::log::Connection;
use crate::audit::log::tests::{Keeper, Scratch, flow, key, records, small};
use crate::audit::record;
use crate::audit::store::sealed::Sealed;
use crate::audit::store::tests::lose_power;
use crate::audit::store::{Folder, Segments};
use crate::audit::{Statement, Verdict, Verified, Way, verify};
use crate::ledger::{Batch, Checkpoint, Head};
use crate::model::{EventKind, Mode, Process, Timestamp, Workload, samples};

struct Writing {
    log: Log,
    work: Work,
    connection: Connection,
    serial: u64,
}

impl Writing {
    fn start(scratch: &Scratch, keeper: &Keeper) -> Self {
        let welcome = keeper.welcome(small());
        let log = Log::open(&scratch.0, &welcome).unwrap();
        let shared = Arc::clone(log.shared().unwrap());
        let work = Work::new(log.clone(), shared, &welcome, Box::new(keeper.clone())).unwrap();
        let connection = log.connection(flow(7, Mode::Strict));
        Self { log, work, connection, serial: 0 }
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            let statement = Statement::new(self.serial, Way::Query, None, Verdict::Allowed);
            let _ = self.connection.intent(&statement).unwrap();
            self.serial += 1;
        }
    }
}

fn check(folder: &Path) -> Verified {
    verify(&Folder::new(folder), key().verifier(), None).unwrap()
}

fn full_disk(scratch: &Scratch, full: bool) {
    let (tree, away) = (scratch.0.join("tree"), scratch.0.join("away"));
    let (from, to) = if full { (tree, away) } else { (away, tree) };
    std::fs::rename(from, to).unwrap();
}

#[test]
fn what_was_signed_on_a_full_disk_is_written_down_once_there_is_room() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let mut writing = Writing::start(&scratch, &keeper);
    writing.write(10);
    writing.work.turn().unwrap();
    full_disk(&scratch, true);
    // The file of leaves that is open would still take them.
    writing.work.tree = Tree::without_base(&Folder::new(&scratch.0));
    writing.write(10);
    let signed = keeper.0.lock().unwrap().size();
    let _ = writing.work.turn();
    assert!(keeper.0.lock().unwrap().size() > signed, "it was not signed");
    assert!(writing.work.turn().is_err(), "nobody hears of it");
    writing.write(10);
    // Nothing more is signed before that is written down.
    let signed = keeper.0.lock().unwrap().size();
    assert!(writing.work.turn().is_err());
    assert_eq!(keeper.0.lock().unwrap().size(), signed);
    full_disk(&scratch, false);
    writing.work.turn().unwrap();
    let verified = check(&scratch.0);
    assert!(verified.is_whole(), "{verified:#?}");
    assert_eq!(verified.tail, 0);
    assert_eq!(verified.records, keeper.0.lock().unwrap().size());
}

#[test]
fn who_dies_before_it_is_written_down_leaves_it_to_the_next() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let mut dying = Writing::start(&scratch, &keeper);
    dying.write(10);
    dying.work.turn().unwrap();
    full_disk(&scratch, true);
    dying.work.tree = Tree::without_base(&Folder::new(&scratch.0));
    dying.write(10);
    let _ = dying.work.turn();
    full_disk(&scratch, false);
    drop(dying);
    assert!(!check(&scratch.0).is_whole() || check(&scratch.0).tail > 0);
    let mut next = Writing::start(&scratch, &keeper);
    // The disk fills up in the middle of it: it is tried again.
    next.write(1);
    let before = next.work.unfinished.len();
    let sealed = scratch.0.join("segments/000001-000000000000.new");
    std::fs::create_dir(&sealed).unwrap();
    assert!(next.work.turn().is_err());
    assert_eq!(next.work.unfinished.len() + 1, before, "it is given up");
    std::fs::remove_dir(&sealed).unwrap();
    next.work.look_again = Instant::now();
    next.work.turn().unwrap();
    next.work.turn().unwrap();
    assert!(next.work.unfinished.is_empty());
    let verified = check(&scratch.0);
    assert!(verified.is_whole(), "{verified:#?}");
    assert_eq!(verified.tail, 0);
    assert_eq!(verified.records, keeper.0.lock().unwrap().size());
    assert!(next.log.is_on());
}

#[test]
fn a_loss_of_power_takes_no_head_but_the_last() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let folder = Folder::new(&scratch.0);
    let mut dying = Writing::start(&scratch, &keeper);
    for _ in 0..4 {
        dying.write(10);
        dying.work.turn().unwrap();
    }
    // The last one is signed, and not written down.
    full_disk(&scratch, true);
    dying.work.tree = Tree::without_base(&folder);
    dying.write(10);
    let _ = dying.work.turn();
    full_disk(&scratch, false);
    drop(dying);
    lose_power(&folder);
    let mut next = Writing::start(&scratch, &keeper);
    next.work.turn().unwrap();
    next.work.turn().unwrap();
    let verified = check(&scratch.0);
    assert!(verified.is_whole(), "{verified:#?}");
    assert_eq!(verified.tail, 0);
    assert_eq!(verified.records, keeper.0.lock().unwrap().size());
}

/// As in an upgrade: the one before goes on for a while, and ends in order or dies.
#[test]
fn who_was_there_before_may_go_on_and_end_later() {
    for in_order in [true, false] {
        let (scratch, keeper) = (Scratch::new(), Keeper::new());
        let mut before = Writing::start(&scratch, &keeper);
        before.write(10);
        before.work.turn().unwrap();
        let mut next = Writing::start(&scratch, &keeper);
        next.write(10);
        next.work.turn().unwrap();
        before.write(10);
        before.work.turn().unwrap();
        if in_order {
            before.work.shared.lock().end();
            before.work.turn().unwrap();
            before.work.finish().unwrap();
        }
        drop(before);
        for _ in 0..3 {
            next.work.look_again = Instant::now();
            next.work.turn().unwrap();
        }
        assert!(next.work.unfinished.is_empty());
        assert!(keeper.0.lock().unwrap().unfinished().iter().all(|left| left.writer != 1));
        let verified = check(&scratch.0);
        assert!(verified.is_whole(), "{verified:#?}");
        assert_eq!(verified.tail, 0);
        let all = records(&Folder::new(&scratch.0));
        let told = all.iter().any(|(_, body)| matches!(body, Body::Recovered(_)));
        assert_eq!(told, !in_order);
    }
}

/// Signs, and says so too late, or says something else.
struct Late {
    keeper: Keeper,
    says: Arc<StdMutex<Says>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Says {
    Nothing,
    /// What it said to somebody else.
    Another,
    What,
}

impl Signer for Late {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        let answer = self.keeper.append(asked)?;
        match *self.says.lock().unwrap() {
            Says::Nothing => Err("the keeper doesn't answer".into()),
            Says::Another => {
                let mut head = Head::new("tidegate/host-1".into());
                let count = asked.count + 1;
                let hashes = vec![[7; 32]; count.count_ones() as usize];
                let asked = LogAppend { writer: head.enlist(), first: 0, count, at: 0, hashes };
                Ok(head.append(&asked, &key(), Timestamp::now()))
            }
            Says::What => Ok(answer),
        }
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        self.keeper.finish(writer)
    }

    fn heard(&mut self) -> Vec<Heard> {
        Vec::new()
    }
}

#[test]
fn what_was_signed_without_an_answer_is_asked_for_again_and_all_goes_on() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let mut writing = Writing::start(&scratch, &keeper);
    let says = Arc::new(StdMutex::new(Says::What));
    writing.work.signer = Box::new(Late { keeper: keeper.clone(), says: Arc::clone(&says) });
    for wrong in [Says::Nothing, Says::Another] {
        writing.write(10);
        *says.lock().unwrap() = wrong;
        assert!(writing.work.turn().is_err());
        // More comes meanwhile, from others too.
        writing.write(10);
        let mut other = Writing::start(&scratch, &keeper);
        other.write(3);
        other.work.turn().unwrap();
        // It tells of the one before it.
        other.work.turn().unwrap();
        assert!(writing.work.turn().is_err());
        // It has asked for somebody else's since.
        writing.work.size = keeper.0.lock().unwrap().size();
        *says.lock().unwrap() = Says::What;
        writing.work.turn().unwrap();
        let verified = check(&scratch.0);
        assert!(verified.is_whole(), "{verified:#?}");
        assert_eq!(verified.tail, 0);
        assert_eq!(verified.records, keeper.0.lock().unwrap().size());
    }
}

/// Writes a record whenever something is signed.
struct Busy {
    keeper: Keeper,
    connection: Connection,
    signed: Arc<AtomicU64>,
}

impl Signer for Busy {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        let serial = self.signed.fetch_add(1, Ordering::Relaxed);
        assert!(serial < 100, "it signs for as long as records come");
        let statement = Statement::new(serial, Way::Query, None, Verdict::Allowed);
        let _ = self.connection.intent(&statement).unwrap();
        self.keeper.append(asked)
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        self.keeper.finish(writer)
    }

    fn heard(&mut self) -> Vec<Heard> {
        Vec::new()
    }
}

#[test]
fn what_comes_while_a_head_is_signed_waits_for_the_next() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let mut writing = Writing::start(&scratch, &keeper);
    let signed = Arc::new(AtomicU64::new(0));
    let connection = writing.log.connection(flow(8, Mode::Strict));
    let busy = Busy { keeper: keeper.clone(), connection, signed: Arc::clone(&signed) };
    writing.work.signer = Box::new(busy);
    writing.write(10);
    writing.work.turn().unwrap();
    assert_eq!(signed.load(Ordering::Relaxed), 1);
    writing.work.turn().unwrap();
    assert_eq!(signed.load(Ordering::Relaxed), 2);
}

#[test]
fn the_oldest_go_once_all_take_up_too_much_and_no_more_than_that() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    // Three that have died, each with a segment.
    for _ in 0..3 {
        let mut writing = Writing::start(&scratch, &keeper);
        writing.write(50);
        writing.work.turn().unwrap();
    }
    let mut writing = Writing::start(&scratch, &keeper);
    writing.work.turn().unwrap();
    let folder = Folder::new(&scratch.0);
    let there = || [1, 2, 3].map(|writer| folder.sealed(writer, 0).exists());
    let size = |writer| std::fs::metadata(folder.sealed(writer, 0)).unwrap().len();
    let total: u64 = [1, 2, 3].map(size).iter().sum();
    let mut keep = |keep_bytes: u64| {
        writing.log.set_terms(LogTerms { keep_bytes, keep_ms: 0, ..small() });
        // Told, then brought in and carried out.
        for _ in 0..2 {
            writing.work.look_again = Instant::now();
            writing.work.turn().unwrap();
        }
    };
    // What fits stays, however old.
    keep(total);
    assert_eq!(there(), [true, true, true]);
    keep(total - 1);
    assert_eq!(there(), [false, true, true]);
    let verified = check(&scratch.0);
    assert!(verified.is_whole() && verified.removed > 50, "{verified:#?}");
    let told: Vec<serde_json::Value> = records(&folder)
        .into_iter()
        .filter_map(|(_, body)| match body {
            Body::Removed(told) => serde_json::from_str(&told.json).ok(),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["for_size"], &told[0]["for_age"]), (&json!(1), &json!(0)));
}

/// By what its last record says, and whatever room there is.
#[test]
fn the_oldest_go_once_they_are_too_old_and_no_more_than_those() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let folder = Folder::new(&scratch.0);
    let latest = |writer| Sealed::open(&folder.sealed(writer, 0)).unwrap().latest;
    for writer in [1, 2] {
        let mut writing = Writing::start(&scratch, &keeper);
        writing.write(50);
        writing.work.turn().unwrap();
        drop(writing);
        // Their ages are to be told apart.
        while writer == 1 && micros() < first_moment(&folder) + 2_000_000 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut writing = Writing::start(&scratch, &keeper);
    writing.work.turn().unwrap();
    let there = || [1, 2].map(|writer| folder.sealed(writer, 0).exists());
    assert_eq!(there(), [true, true]);
    let mut keep = |keep_ms: u64| {
        writing.log.set_terms(LogTerms { keep_ms, keep_bytes: 1 << 40, ..small() });
        for _ in 0..2 {
            writing.work.look_again = Instant::now();
            writing.work.turn().unwrap();
        }
    };
    keep(86_400_000);
    assert_eq!(there(), [true, true]);
    keep((micros() - latest(2)) / 1_000 + 1_000);
    assert_eq!(there(), [false, true]);
    keep(1);
    assert_eq!(there(), [false, false]);
    let verified = check(&scratch.0);
    assert!(verified.is_whole() && verified.removed > 100, "{verified:#?}");
    let told: Vec<serde_json::Value> = records(&folder)
        .into_iter()
        .filter_map(|(_, body)| match body {
            Body::Removed(told) => serde_json::from_str(&told.json).ok(),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|told| told["for_size"] == 0 && told["for_age"] == 1), "{told:?}");
}

/// A record may say of itself what it likes, and a clock may be wrong for a while.
#[test]
fn no_record_from_the_future_keeps_what_is_behind_it() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let folder = Folder::new(&scratch.0);
    for writer in [1, 2] {
        let mut writing = Writing::start(&scratch, &keeper);
        writing.write(50);
        if writer == 1 {
            writing.log.tell_of(u64::MAX >> 1, Body::Agent, &json!({ "what": "whole" })).unwrap();
        }
        writing.work.turn().unwrap();
    }
    let mut writing = Writing::start(&scratch, &keeper);
    writing.work.turn().unwrap();
    let there = || [1, 2].map(|writer| folder.sealed(writer, 0).exists());
    let size = |writer| std::fs::metadata(folder.sealed(writer, 0)).unwrap().len();
    let mut keep = |keep_bytes, keep_ms| {
        writing.log.set_terms(LogTerms { keep_ms, keep_bytes, ..small() });
        for _ in 0..2 {
            writing.work.look_again = Instant::now();
            writing.work.turn().unwrap();
        }
    };
    keep(size(1) + size(2) - 1, 0);
    assert_eq!(there(), [false, true]);
    keep(1 << 40, 1);
    assert_eq!(there(), [false, false]);
    assert!(check(&scratch.0).is_whole());
}

#[test]
fn when_a_segment_was_written_is_known_by_heads_where_its_own_word_is_none() {
    let batch = Batch { writer: 1, first: 0, count: 1 };
    let head = |second: u64| Checkpoint {
        origin: "x".into(),
        size: 1,
        root: [0; 32],
        batch,
        at: Timestamp(second * 1_000_000_000),
    };
    let moment = |latest: u64, behind: &[u64]| {
        let behind: Vec<Checkpoint> = behind.iter().map(|second| head(*second)).collect();
        keeping::moment(latest * 1_000_000, &behind, 1_000 * 1_000_000) / 1_000_000
    };
    // Of what isn't in the tree nothing else is known.
    assert_eq!(moment(700, &[]), 700);
    assert_eq!(moment(700, &[701, 702]), 700);
    // A record that is later than its head.
    assert_eq!(moment(900, &[701, 702]), 701);
    // The clock was ahead for a while, and behind after that: what came first counts.
    assert_eq!(moment(5_000, &[5_001, 5_002, 800, 10]), 800);
    // It was behind, later: nothing gets older by that.
    assert_eq!(moment(700, &[701, 3]), 700);
    assert_eq!(moment(5_000, &[5_001]), 1_000);
}

/// Refused connects cost the kernel little and the log a record each: who makes cgroups
/// of his own for them gets no more room than with statements.
#[test]
fn what_somebodys_connects_come_to_is_at_his_expense() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let mut writing = Writing::start(&scratch, &keeper);
    writing.log.set_terms(LogTerms { flood_rate: 1, flood_burst: 100_000, ..small() });
    let refused = |cgroup: u64, change: &dyn Fn(&mut Process)| {
        let mut event = samples::events().into_iter().find_map(|event| match &event.kind {
            EventKind::Refused { .. } => Some(event),
            _ => None,
        });
        let EventKind::Refused { process, .. } = &mut event.as_mut().unwrap().kind else {
            unreachable!()
        };
        process.cgroup_id = cgroup;
        change(process);
        Heard::Note(LogNote::Observed { event: serde_json::to_string(&event).unwrap() })
    };
    let of = |unit: &str| Workload { unit: Some(unit.into()), ..Workload::default() };
    let one = |process: &mut Process| process.workload = of("one.service");
    let other = |process: &mut Process| process.workload = of("other.service");
    // It had ended before anybody could see where it ran.
    let ended = |process: &mut Process| {
        (process.workload, process.cgroup) = (Workload::default(), None);
        (process.uid, process.comm) = (0, process.cgroup_id.to_string());
    };
    for cgroup in 0..4_900 {
        writing.work.hear(refused(cgroup, &one));
        writing.work.hear(refused(cgroup, &ended));
    }
    writing.work.hear(refused(5_000, &other));
    writing.work.hear(Heard::Note(LogNote::Whole));
    writing.work.tell_notes();
    let all = records(&Folder::new(&scratch.0));
    let mut bytes = [0; 3];
    for (_, body) in &all {
        let Body::Observed(told) = body else { continue };
        let unit = ["one.service", "other.service"].map(|unit| told.json.contains(unit));
        let of = unit.iter().position(|is| *is).unwrap_or(2);
        bytes[of] += told.json.len();
    }
    let [one, other, ended] = bytes;
    assert!(one > 100_000 && one < 1 << 20, "{one}");
    assert!(ended > 100_000 && ended < 1 << 20, "{ended}");
    assert!(other > 0);
    assert!(all.iter().any(|(_, body)| matches!(body, Body::Flood(_))));
    assert!(all.iter().any(|(_, body)| matches!(body, Body::Agent(_))));
}

#[test]
fn what_others_do_waits_beside_the_agents_own_notes() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let mut writing = Writing::start(&scratch, &keeper);
    for _ in 0..MOST_UNTOLD + 10 {
        writing.work.hear(Heard::Note(LogNote::Observed { event: "{}".into() }));
    }
    writing.work.hear(Heard::Note(LogNote::Whole));
    assert_eq!(writing.work.untold.len(), MOST_UNTOLD + 1);
    writing.work.tell_notes();
    assert_eq!((writing.work.untold.len(), writing.work.observed), (0, 0));
}

/// The next one can't be begun: the last one is still written.
#[test]
fn a_segment_is_left_only_once_there_is_another() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let folder = Folder::new(&scratch.0);
    let mut writing = Writing::start(&scratch, &keeper);
    let in_its_way: Vec<_> = (1..200).map(|first| folder.live(1, first)).collect();
    in_its_way.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    let long = json!({ "why": "x".repeat(60_000) });
    let mut told = 0;
    while writing.log.tell(Body::Agent, &long).is_ok() {
        told += 1;
    }
    assert!((1..150).contains(&told), "{told}");
    writing.work.turn().unwrap();
    writing.write(10);
    in_its_way.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    writing.work.turn().unwrap();
    let verified = check(&scratch.0);
    assert!(verified.is_whole(), "{verified:#?}");
    let all = records(&folder);
    let intents = all.iter().filter(|(_, body)| matches!(body, Body::Intent(_))).count();
    assert_eq!(intents, 10);
    let left = std::fs::read_dir(folder.segments())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "spare"));
    assert!(left.count() <= 1, "what wasn't used lies around");
}

/// When the first writer last wrote, before anybody has sealed it.
fn first_moment(folder: &Folder) -> u64 {
    let segments = Segments::written_by(folder, 1).unwrap();
    let mut last = 0;
    for segment in segments.of_writer(1) {
        let _ = segment.each(0, |_, payload| last = last.max(record::moment(payload).unwrap_or(0)));
    }
    last
}

/// A loss of power may take the name that a segment was given, and not its records.
#[test]
fn a_segment_that_lost_its_name_is_taken_for_what_it_is() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let folder = Folder::new(&scratch.0);
    let mut dying = Writing::start(&scratch, &keeper);
    dying.write(50);
    dying.work.turn().unwrap();
    let size = keeper.0.lock().unwrap().size();
    drop(dying);
    std::fs::rename(folder.live(1, 0), folder.spare(1, 9)).unwrap();
    // One that was never used.
    Spare::make(&folder, 1, 4 << 20).unwrap();
    let mut next = Writing::start(&scratch, &keeper);
    next.work.turn().unwrap();
    next.work.turn().unwrap();
    assert!(folder.sealed(1, 0).exists());
    let verified = check(&scratch.0);
    assert!(verified.is_whole() && verified.records > size, "{verified:#?}");
    let spares = std::fs::read_dir(folder.segments()).unwrap().flatten().filter(|entry| {
        entry.file_name().to_string_lossy().starts_with("000001-")
            && entry.path().extension().is_some_and(|extension| extension == "spare")
    });
    assert_eq!(spares.count(), 0);
}
