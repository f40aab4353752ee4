use std::fs;
use std::path::Path;

use super::super::tests::{check, copy, frames, notes, put, segment, write};
use super::*;
use crate::audit::export::{Form, export};
use crate::audit::frame;
use crate::audit::log::tests::{Keeper, Scratch, key, small};
use crate::audit::store::{Folder, sealed, segments};
use crate::audit::verify::{Verified, VerifyError, verify};

/// A log of one segment that is full.
fn sealed_log(statements: u64) -> Scratch {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, statements, &small());
    let live = segment(&scratch.0);
    let bytes = fs::read(&live).unwrap();
    sealed::seal(&Folder::new(&scratch.0), &live, &bytes).unwrap();
    assert!(check(&scratch.0, None).is_whole());
    scratch
}

/// The same segment, with one record told otherwise and every sum right.
fn forged(path: &Path) -> Vec<u8> {
    let (all, _) = frames(path);
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(frame::SEGMENT_HEAD);
    for one in all {
        let length = u32::from_le_bytes(one[..4].try_into().unwrap()) as usize;
        let payload = &one[frame::HEAD..frame::HEAD + length];
        let text = String::from_utf8_lossy(payload).contains("SELECT");
        let mut payload = payload.to_vec();
        if text {
            let at = payload.windows(6).position(|word| word == b"SELECT").unwrap();
            payload[at..at + 6].copy_from_slice(b"FORGED");
        }
        frame::push(&payload, &mut bytes);
    }
    bytes
}

fn told(folder: &Path) -> String {
    let mut out = Vec::new();
    export(&Folder::new(folder), Form::Jsonl, (None, None), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn finds(verified: &Verified, what: &str) {
    let found = verified.findings.iter().any(|finding| finding.what.contains(what));
    assert!(found, "`{what}`: {verified:#?}");
}

#[test]
fn a_segment_under_anothers_name_is_found() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let (folder, live) = (Folder::new(&scratch.0), segment(&scratch.0));
    // What was signed lies there, and what others read by its name is not that.
    let true_one = fs::read(&live).unwrap();
    fs::write(&live, forged(&live)).unwrap();
    assert!(told(&scratch.0).contains("FORGED"));
    fs::write(folder.live(2, 0), true_one).unwrap();
    finds(&check(&scratch.0, None), "than its name says");
}

#[test]
fn no_two_files_are_called_for_the_same_segment() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let live = segment(&scratch.0);
    fs::copy(&live, live.with_file_name("1-0.live")).unwrap();
    fs::write(&live, forged(&live)).unwrap();
    assert!(!check(&scratch.0, None).is_whole());
    fs::rename(live.with_file_name("1-0.live"), &live).unwrap();
    for odd in ["+1-0.live", "1-0.sealed", "000001-0.live", "-.live", "1-.sealed", "999-x.live"] {
        fs::write(live.with_file_name(odd), b"").unwrap();
    }
    let verified = check(&scratch.0, None);
    assert!(verified.is_whole(), "{verified:#?}");
}

#[test]
fn records_that_lie_in_two_segments_are_found() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let live = segment(&scratch.0);
    let (all, _) = frames(&live);
    let second = frame::Start { writer: 1, first: 5, created: 0 };
    let mut bytes = second.to_bytes().to_vec();
    bytes.extend(all[5..].iter().flatten());
    bytes.extend([0; 64]);
    fs::write(Folder::new(&scratch.0).live(1, 5), bytes).unwrap();
    let verified = check(&scratch.0, None);
    finds(&verified, "two segments");
    assert_eq!(verified.findings[0].record, Some(RecordId { writer: 1, position: 5 }));
}

#[test]
fn a_record_behind_the_last_head_stands_in_its_own_place_too() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let path = segment(&scratch.0);
    let (mut all, _) = frames(&path);
    let place = all.len() as u64;
    all.push(all.last().unwrap().clone());
    put(&path, &all);
    let verified = check(&scratch.0, None);
    finds(&verified, "stands in its place");
    assert_eq!(verified.findings[0].record, Some(RecordId { writer: 1, position: place }));
    assert_eq!(verified.tail, 1);
    // Who reads the log isn't told it twice.
    let last = format!("\"record\":\"1-{}\"", place - 1);
    assert_eq!(told(&scratch.0).matches(&last).count(), 1);
}

#[test]
fn a_sealed_segment_that_hides_its_records_behind_another_time_is_found() {
    let scratch = sealed_log(12);
    let path = segment(&scratch.0);
    let whole = fs::read(&path).unwrap();
    let (from, length) = (16, u64::from_le_bytes(whole[8..16].try_into().unwrap()) as usize);
    type Header = (u64, u64, u64, u64, u64, u64, [u8; 32], Vec<(u64, u64, u64, u32)>);
    let header: Header = postcard::from_bytes(&whole[from..from + length]).unwrap();
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = header.clone();
        change(&mut header);
        let header = postcard::to_stdvec(&header).unwrap();
        let mut bytes = whole[..8].to_vec();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(&whole[from + length + 4..]);
        fs::write(&path, bytes).unwrap();
        check(&scratch.0, None)
    };
    assert!(with(&|_| {}).is_whole());
    finds(&with(&|header| header.5 = header.4), "of another time");
    finds(&with(&|header| header.4 = header.5), "of another time");
    // Records that nobody ever wrote are none, however many.
    for count in [header.3 + 1, u64::MAX, u64::MAX / 2] {
        let verified = with(&|header| header.3 = count);
        finds(&verified, "says that it holds");
        assert_eq!(verified.tail, 0);
    }
    finds(&with(&|header| header.3 -= 1), "missing");
    // Two that claim all there could be.
    let second = Folder::new(&scratch.0).sealed(2, 0);
    with(&|header| (header.0, header.3) = (2, u64::MAX));
    fs::rename(&path, second).unwrap();
    assert!(!with(&|header| header.3 = u64::MAX).is_whole());
}

#[test]
fn what_was_removed_and_lies_there_again_is_told() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 50, &small());
    let old = segment(&scratch.0);
    let forged = forged(&old);
    let welcome = keeper.welcome(crate::model::LogTerms { keep_ms: 1, ..small() });
    let log = crate::audit::Log::open(&scratch.0, &welcome).unwrap();
    let shared = std::sync::Arc::clone(log.shared().unwrap());
    let keeper = Box::new(keeper.clone());
    let mut work =
        crate::audit::sequencer::Work::new(log.clone(), shared, &welcome, keeper).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    work.turn().unwrap();
    work.turn().unwrap();
    let verified = check(&scratch.0, None);
    assert!(verified.is_whole() && verified.removed > 50 && verified.unproven == 0);
    // Nothing is left that could tell it from what was there.
    fs::write(&old, forged).unwrap();
    let verified = check(&scratch.0, None);
    let loose = verified.unproven + verified.tail;
    assert!(loose > 50 && verified.remarks.iter().any(|remark| remark.contains("nothing is")));
}

#[test]
fn nobody_is_kept_waiting_by_a_pipe_or_led_out_of_the_folder() {
    let scratch = sealed_log(12);
    let folder = Folder::new(&scratch.0);
    let places = [
        ("segments/000001-000000000000.sealed", "it is missing"),
        ("tree/leaves-00000000", "the stored hash"),
        ("tree/base", "base"),
        ("segments/000007-000000000000.live", "000007"),
        ("segments/000007-000000000000.sealed", "000007"),
    ];
    for (place, what) in places {
        let elsewhere = Scratch::new();
        let there = elsewhere.0.join("it");
        let copied = copy(&scratch.0);
        let path = copied.0.join(place);
        let _ = fs::rename(&path, &there);
        let pipe = |path: &Path| {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        };
        let makes: [&dyn Fn(&Path); 3] =
            [&pipe, &|path: &Path| fs::create_dir(path).unwrap(), &|path: &Path| {
                std::os::unix::fs::symlink(&there, path).unwrap()
            }];
        for make in makes {
            make(&path);
            finds(&check(&copied.0, None), what);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
    }
    // The lock of who adds heads: a copy has none, and it's nothing to wait for.
    let lock = folder.tree().join("lock");
    let _ = fs::remove_file(&lock);
    fs::create_dir(&lock).unwrap();
    assert!(check(&scratch.0, None).is_whole());
}

#[test]
fn a_file_that_claims_to_be_huge_takes_no_memory() {
    let scratch = sealed_log(12);
    let huge = 1_u64 << 40;
    for place in ["segments/000007-000000000000.live", "tree/base", "tree/leaves-00000000"] {
        let copied = copy(&scratch.0);
        let path = copied.0.join(place);
        let file = fs::File::options().create(true).truncate(false).write(true).open(path).unwrap();
        file.set_len(huge).unwrap();
        let verified = check(&copied.0, None);
        assert_eq!(verified.is_whole(), place.contains("leaves"), "{place}: {verified:#?}");
    }
    let copied = copy(&scratch.0);
    let heads = copied.0.join("tree/checkpoints");
    fs::File::options().write(true).open(heads).unwrap().set_len(64 << 20).unwrap();
    finds(&check(&copied.0, None), "not a signed checkpoint");
}

#[test]
fn a_checkpoint_is_held_as_it_lies_in_the_log() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let last = notes(&scratch.0).pop().unwrap();
    for held in [format!("{last}\n"), format!("{last}\n\n"), last.replace('\n', "\r\n")] {
        assert!(check(&scratch.0, Some(&held)).held.is_some());
    }
    let all = fs::read_to_string(scratch.0.join("tree/checkpoints")).unwrap();
    let many = verify(&Folder::new(&scratch.0), key().verifier(), Some(&all));
    assert!(matches!(many, Err(VerifyError::Many(3))), "{many:?}");
    let none = verify(&Folder::new(&scratch.0), key().verifier(), Some(" \n"));
    assert!(matches!(none, Err(VerifyError::Held(_))), "{none:?}");
    assert_eq!(segments::files(&Folder::new(&scratch.0)).unwrap().len(), 1);
}

#[test]
fn a_log_of_which_nothing_is_left_is_not_taken_for_one_that_is_proven() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let last = notes(&scratch.0).pop().unwrap();
    fs::remove_dir_all(scratch.0.join("tree")).unwrap();
    let tail = check(&scratch.0, None);
    assert!(tail.tail > 12 && tail.remarks[0].contains("nothing is proven at all"), "{tail:#?}");
    fs::remove_file(segment(&scratch.0)).unwrap();
    let verified = check(&scratch.0, None);
    assert!(verified.remarks[0].contains("nothing is proven at all"), "{verified:#?}");
    finds(&check(&scratch.0, Some(&last)), "cut off");
}
