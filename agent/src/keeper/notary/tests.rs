use super::*;
use crate::ledger::merkle::leaf;
use crate::ledger::{Range, VerifierKey};
use crate::model::LogAppend;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tg-notary-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.audit.folder.clone_from(&self.0);
        settings
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

type Writer = Channel<FromLog, ToLog>;

fn join(notary: &Notary) -> (Writer, LogWelcome) {
    let (ours, theirs) = crate::channel::pair().unwrap();
    notary.join(ours);
    let writer = Channel::new(theirs);
    let ToLog::Welcome(welcome) = next(&writer) else { panic!("no welcome") };
    (writer, *welcome)
}

fn next(writer: &Writer) -> ToLog {
    let mut waited = [PollFd::new(writer, PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut waited, Some(&timeout)), Ok(1), "nothing came");
    writer.receive().unwrap().message
}

fn answer(writer: &Writer) -> LogAnswer {
    loop {
        if let ToLog::Answer(answer) = next(writer) {
            return answer;
        }
    }
}

fn append(writer: u64, first: u64, at: u64, count: u64) -> FromLog {
    let mut range = Range::empty(at);
    for number in first..first + count {
        range.push(leaf(&number.to_be_bytes()));
    }
    FromLog::Append(LogAppend { writer, first, count, at, hashes: range.hashes() })
}

#[test]
fn heads_are_signed_and_outlive_the_keeper() {
    let scratch = Scratch::new("heads");
    let notary = Notary::of(&scratch.settings(), owner()).unwrap().unwrap();
    let (writer, welcome) = join(&notary);
    assert_eq!((welcome.writer, welcome.size), (1, 0));
    // What is to be recorded comes to the first writer.
    assert!(matches!(next(&writer), ToLog::Note(LogNote::Started { .. })));
    writer.send(&append(1, 0, 0, 10), &[]).unwrap();
    let LogAnswer::Signed { note } = answer(&writer) else { panic!("not signed") };
    let public = std::fs::read_to_string(scratch.0.join("key.pub")).unwrap();
    let key: VerifierKey = public.parse().unwrap();
    assert_eq!(key.open(&note).unwrap().size, 10);
    assert_eq!(key.name, welcome.origin);
    // Another keeper can't have it meanwhile.
    let second = Notary::of(&scratch.settings(), owner());
    assert!(matches!(second, Err(NotaryError::InUse(_))));
    drop(notary);
    let notary = loop {
        // The thread ends a moment later.
        match Notary::of(&scratch.settings(), owner()) {
            Ok(notary) => break notary.unwrap(),
            Err(NotaryError::InUse(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    let (writer, welcome) = join(&notary);
    assert_eq!((welcome.writer, welcome.size), (2, 10));
    assert_eq!(welcome.unfinished.len(), 2);
    assert_eq!(welcome.unfinished[0].note.as_ref(), Some(&note));
    // The old one's records, told anew: a fork.
    writer.send(&append(1, 0, 10, 5), &[]).unwrap();
    assert!(matches!(answer(&writer), LogAnswer::Refused { .. }));
    writer.send(&append(1, 10, 10, 5), &[]).unwrap();
    assert!(matches!(answer(&writer), LogAnswer::Signed { .. }));
}

#[test]
fn a_writer_speaks_for_itself_and_for_those_that_are_gone_alone() {
    let scratch = Scratch::new("bound");
    let notary = Notary::of(&scratch.settings(), owner()).unwrap().unwrap();
    let (draining, _) = join(&notary);
    let (writer, _) = join(&notary);
    writer.send(&append(2, 0, 0, 10), &[]).unwrap();
    assert!(matches!(answer(&writer), LogAnswer::Signed { .. }));
    draining.send(&append(2, 10, 10, 5), &[]).unwrap();
    assert!(matches!(answer(&draining), LogAnswer::Refused { .. }));
    draining.send(&FromLog::Finish { writer: 2 }, &[]).unwrap();
    // Its own it may bring, and that is heard behind what it said before.
    draining.send(&append(1, 0, 10, 5), &[]).unwrap();
    assert!(matches!(answer(&draining), LogAnswer::Signed { .. }));
    writer.send(&append(2, 10, 15, 5), &[]).unwrap();
    assert!(matches!(answer(&writer), LogAnswer::Signed { .. }), "it was finished");
    // What a dead one left is brought in by the next, once its channel is gone.
    drop(draining);
    let signed = (0..1_000).any(|_| {
        writer.send(&append(1, 5, 20, 3), &[]).unwrap();
        matches!(answer(&writer), LogAnswer::Signed { .. })
    });
    assert!(signed);
    writer.send(&FromLog::Finish { writer: 1 }, &[]).unwrap();
    writer.send(&append(1, 8, 23, 3), &[]).unwrap();
    assert!(matches!(answer(&writer), LogAnswer::Refused { .. }), "it was not finished");
}

#[test]
fn what_others_do_pushes_out_no_note_of_the_agents_own() {
    let scratch = Scratch::new("own");
    let notary = Notary::of(&scratch.settings(), owner()).unwrap().unwrap();
    for _ in 0..=MOST_NOTES {
        notary.note(LogNote::Observed { event: "{}".into() });
    }
    notary.note(LogNote::Whole);
    let (writer, _) = join(&notary);
    let mut told = Vec::new();
    while !matches!(told.last(), Some(LogNote::Degraded { .. })) {
        let ToLog::Note(note) = next(&writer) else { continue };
        told.push(note);
        // Wakes it, which has more.
        let _ = writer.send(&FromLog::Health(LogHealth::default()), &[]);
    }
    let own: Vec<_> = told.iter().filter(|note| !note.is_observed()).collect();
    assert!(
        matches!(own[..], [LogNote::Started { .. }, LogNote::Whole, LogNote::Degraded { .. }]),
        "{own:?}"
    );
    assert_eq!(told.len() - own.len(), MOST_NOTES);
}

#[test]
fn what_the_key_is_in_is_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("modes");
    let _notary = Notary::of(&scratch.settings(), owner()).unwrap().unwrap();
    let mode =
        |path: &str| std::fs::metadata(scratch.0.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("keeper"), 0o700);
    assert_eq!(mode("keeper/key"), 0o600);
    assert_eq!(mode("keeper/head"), 0o600);
    assert_eq!(mode("keeper/head.2"), 0o600);
}

#[test]
fn a_lost_head_is_never_signed_on() {
    for broken in ["head", "key"] {
        let scratch = Scratch::new(broken);
        let (files, key, _) = files::open(&scratch.0, owner()).unwrap();
        drop(files);
        for path in slots::paths(&scratch.0.join("keeper"), broken) {
            if path.exists() {
                std::fs::write(path, "nothing").unwrap();
            }
        }
        let (_, other, head) = files::open(&scratch.0, owner()).unwrap();
        assert_ne!(key.verifier(), other.verifier());
        assert_ne!(key.verifier().name, head.origin);
        assert_eq!(head.size(), 0);
    }
}

/// As after a loss of power that took the last stored heads.
#[test]
fn what_was_signed_is_never_contradicted_by_an_older_head() {
    let scratch = Scratch::new("power");
    let (mut files, key, mut head) = files::open(&scratch.0, owner()).unwrap();
    let tree = files.log.join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    let writer = head.enlist();
    files.store_now(&head).unwrap();
    let own = scratch.0.join("keeper");
    let older = slots::paths(&own, "head").map(|path| std::fs::read(path).unwrap());
    let put_back = || {
        for (path, bytes) in slots::paths(&own, "head").iter().zip(&older) {
            std::fs::write(path, bytes).unwrap();
        }
    };
    let mut notes = String::new();
    let mut leaves = Vec::new();
    for first in [0, 10] {
        let FromLog::Append(asked) = append(writer, first, head.size(), 10) else { return };
        leaves.extend((first..first + 10).flat_map(|number| leaf(&number.to_be_bytes())));
        let LogAnswer::Signed { note } = head.append(&asked, &key, Timestamp::now()) else {
            panic!("not signed")
        };
        notes.push_str(&format!("{note}\n"));
    }
    std::fs::write(tree.join("checkpoints"), &notes).unwrap();
    std::fs::write(tree.join("leaves-00000000"), &leaves).unwrap();
    files.store_now(&head).unwrap();
    drop(files);
    put_back();
    let (files, same, caught_up) = files::open(&scratch.0, owner()).unwrap();
    assert_eq!(same.verifier(), key.verifier());
    assert_eq!(caught_up, head);
    drop(files);
    // A head that can't be reached any more is not signed on: another log begins.
    put_back();
    std::fs::write(tree.join("leaves-00000000"), [7; 640]).unwrap();
    let (files, other, begun) = files::open(&scratch.0, owner()).unwrap();
    assert_ne!(other.verifier(), key.verifier());
    assert_eq!(begun.size(), 0);
    // Nor does anything that lies there keep the keeper waiting.
    let tree = files.log.join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    drop(files);
    let (mode, kind) = (rustix::fs::Mode::RUSR, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, tree.join("checkpoints"), kind, mode, 0).unwrap();
    let (_, third, _) = files::open(&scratch.0, owner()).unwrap();
    assert_ne!(third.verifier(), other.verifier());
}
