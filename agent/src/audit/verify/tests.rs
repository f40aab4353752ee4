use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::audit::log::tests::{Keeper, Scratch, flow, key, small};
use crate::audit::sequencer::Work;
use crate::audit::store::{Segment, segments};
use crate::audit::{Ending, Log, Outcome, Sequencer, Statement, frame};
use crate::ledger::Batch;
use crate::model::{LogTerms, LogWelcome, Mode, TextKept};
use crate::sql::Strings;

/// Writes statements to a log and has it signed in some batches.
pub(super) fn write(
    scratch: &Scratch,
    keeper: &Keeper,
    statements: u64,
    terms: &LogTerms,
) -> LogWelcome {
    let welcome = keeper.welcome(terms.clone());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    let mut work = Work::new(
        log.clone(),
        Arc::clone(log.shared().unwrap()),
        &welcome,
        Box::new(keeper.clone()),
    )
    .unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    for serial in 0..statements {
        let subject = log.subject(&format!("SELECT {}", serial % 3), Strings::Standard, None);
        let statement = Statement::new(
            serial,
            super::super::Way::Query,
            Some(&subject),
            super::super::Verdict::Allowed,
        );
        let sealed = connection.intent(&statement).unwrap();
        connection.outcome(&sealed, &Outcome::new(Ending::Complete));
        if serial % 5 == 4 {
            work.turn().unwrap();
        }
    }
    work.turn().unwrap();
    drop((work, connection, log));
    // Without the room for more, reading it a thousand times is quicker.
    let path = Folder::new(&scratch.0).live(welcome.writer, 0);
    let (_, places) = frames(&path);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(*places.last().unwrap() as u64 + 64).unwrap();
    welcome
}

pub(super) fn check(folder: &Path, held: Option<&str>) -> Verified {
    verify(&Folder::new(folder), key().verifier(), held).unwrap()
}

/// A copy that can be tampered with.
pub(super) fn copy(of: &Path) -> Scratch {
    let scratch = Scratch::new();
    for part in ["segments", "tree"] {
        std::fs::create_dir_all(scratch.0.join(part)).unwrap();
        for entry in std::fs::read_dir(of.join(part)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, scratch.0.join(part).join(path.file_name().unwrap())).unwrap();
        }
    }
    scratch
}

pub(super) fn segment(folder: &Path) -> PathBuf {
    let paths = segments::paths(&Folder::new(folder)).unwrap();
    assert_eq!(paths.len(), 1);
    paths[0].clone()
}

pub(super) fn notes(folder: &Path) -> Vec<String> {
    Tree::open(&Folder::new(folder)).unwrap().notes().unwrap()
}

/// A live segment's records, each with its head.
pub(super) fn frames(path: &Path) -> (Vec<Vec<u8>>, Vec<usize>) {
    let bytes = std::fs::read(path).unwrap();
    let (mut places, end) = segments::places(&bytes, frame::SEGMENT_HEAD);
    places.push(end);
    let frames = places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
    (frames, places)
}

pub(super) fn put(path: &Path, frames: &[Vec<u8>]) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.truncate(frame::SEGMENT_HEAD);
    bytes.extend(frames.iter().flatten());
    bytes.resize(bytes.len() + 64, 0);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let verified = check(&scratch.0, None);
    assert!(verified.is_whole(), "{verified:#?}");
    assert_eq!(verified.records, keeper.0.lock().unwrap().size());
    assert_eq!((verified.checkpoints, verified.tail), (3, 0));
}

#[test]
fn every_bit_that_is_changed_in_a_record_is_found_and_the_record_is_named() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 3, &small());
    let path = segment(&scratch.0);
    let (frames, places) = frames(&path);
    let whole = std::fs::read(&path).unwrap();
    for (number, frame) in frames.iter().enumerate() {
        for byte in 0..frame.len() {
            // All bits of the head and of short records, one of each byte in long ones.
            let bits = if byte < 48 { 0..8 } else { byte % 8..byte % 8 + 1 };
            for bit in bits {
                let mut changed = whole.clone();
                changed[places[number] + byte] ^= 1 << bit;
                std::fs::write(&path, &changed).unwrap();
                let verified = check(&scratch.0, None);
                let padding = byte >= frame::HEAD
                    && byte - frame::HEAD
                        >= u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
                if padding {
                    // No part of a record.
                    assert!(verified.is_whole());
                    continue;
                }
                let first = verified.findings.first().unwrap_or_else(|| {
                    panic!("record {number}, byte {byte}, bit {bit} is not found")
                });
                assert_eq!(first.record, Some(RecordId { writer: 1, position: number as u64 }));
                // The record's own checksum made right again changes nothing.
                if byte >= frame::HEAD {
                    let start = places[number];
                    let length = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
                    let payload = &changed[start + frame::HEAD..start + frame::HEAD + length];
                    let sum = frame::head(payload).1.to_le_bytes();
                    changed[start + 4..start + 8].copy_from_slice(&sum);
                    std::fs::write(&path, &changed).unwrap();
                    let verified = check(&scratch.0, None);
                    let named = verified.findings.first().and_then(|first| first.record);
                    assert_eq!(named, Some(RecordId { writer: 1, position: number as u64 }));
                }
            }
        }
    }
    std::fs::write(&path, whole).unwrap();
    assert!(check(&scratch.0, None).is_whole());
}

#[test]
fn dropped_swapped_doubled_and_cut_records_are_named() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 7, &small());
    let path = segment(&scratch.0);
    let (frames, _) = frames(&path);
    let named = |frames: &[Vec<u8>]| {
        put(&path, frames);
        let verified = check(&scratch.0, None);
        let first = verified.findings.first().unwrap_or_else(|| panic!("nothing is found"));
        (first.record.unwrap().position as usize, first.what.clone())
    };
    for number in 0..frames.len() {
        let mut dropped = frames.clone();
        dropped.remove(number);
        assert_eq!(named(&dropped).0, number);
        // The copy behind its original is the wrong one.
        if number + 1 < frames.len() {
            let mut doubled = frames.clone();
            doubled.insert(number, frames[number].clone());
            let (at, what) = named(&doubled);
            assert_eq!(at, number + 1);
            assert!(what.contains("stands in its place"), "{what}");
        }
        assert_eq!(named(&frames[..number]).0, number);
        for other in number + 1..frames.len() {
            let mut swapped = frames.clone();
            swapped.swap(number, other);
            assert_eq!(named(&swapped).0, number);
        }
    }
}

#[test]
fn who_changes_a_record_and_its_hash_is_found_too() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    let path = segment(&scratch.0);
    let (mut all, _) = frames(&path);
    let length = u32::from_le_bytes(all[9][..4].try_into().unwrap()) as usize;
    let mut payload = all[9][frame::HEAD..frame::HEAD + length].to_vec();
    *payload.last_mut().unwrap() ^= 1;
    all[9].clear();
    frame::push(&payload, &mut all[9]);
    put(&path, &all);
    let folder = Folder::new(&scratch.0);
    Tree::open(&folder).unwrap().write(9, &[merkle::leaf(&payload)]).unwrap();
    let verified = check(&scratch.0, None);
    let first = verified.findings.first().unwrap();
    // Which of those that one head brought in, nobody can say; so none is named.
    let mut all = notes(&scratch.0).into_iter().map(|note| key().verifier().open(&note).unwrap());
    let head = all.find(|head| head.leaf_of(1, 9).is_some()).unwrap();
    let (from, to) = (head.batch.first, head.batch.first + head.batch.count - 1);
    let what = format!("one of the records 1-{from} to 1-{to} was changed together with its hash");
    assert_eq!(first, &Finding { record: None, leaf: Some(from), what });
}

#[test]
fn heads_that_are_changed_missing_or_of_others_are_found() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 23, &small());
    let heads = scratch.0.join("tree/checkpoints");
    let text = std::fs::read_to_string(&heads).unwrap();
    let all = notes(&scratch.0);
    assert!(all.len() > 3);
    for missing in 0..all.len() - 1 {
        let mut fewer = all.clone();
        fewer.remove(missing);
        std::fs::write(&heads, fewer.join("\n") + "\n").unwrap();
        let verified = check(&scratch.0, None);
        assert!(verified.findings[0].what.contains("is missing"), "{verified:?}");
    }
    for at in (0..text.len()).step_by(7) {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        std::fs::write(&heads, &changed).unwrap();
        assert!(!check(&scratch.0, None).is_whole(), "byte {at}");
        // No text at all.
        changed[at] ^= 0x81;
        std::fs::write(&heads, changed).unwrap();
        assert!(!check(&scratch.0, None).is_whole(), "byte {at}");
    }
    std::fs::write(&heads, &text).unwrap();
    let other = crate::ledger::SigningKey::from_seed("tidegate/host-1", &[1; 32]).unwrap();
    let verified = verify(&Folder::new(&scratch.0), other.verifier(), None).unwrap();
    assert!(!verified.is_whole());
}

/// As a taken-over enforcer could once have had it signed.
#[test]
fn a_head_of_more_records_than_there_can_be_is_told_and_not_gone_through() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 23, &small());
    let last = key().verifier().open(notes(&scratch.0).last().unwrap()).unwrap();
    let batch = Batch { writer: 1, first: last.batch.first + last.batch.count, count: 1 << 60 };
    let huge = Checkpoint { size: last.size + batch.count, batch, ..last.clone() };
    Tree::open(&Folder::new(&scratch.0)).unwrap().note(&key().sign(&huge)).unwrap();
    let verified = check(&scratch.0, None);
    assert_eq!((verified.last_size(), verified.findings.len()), (last.size, 1), "{verified:#?}");
    let finding = &verified.findings[0];
    let record = RecordId { writer: 1, position: batch.first };
    assert_eq!((finding.record, finding.leaf), (Some(record), Some(last.size)));
    assert!(finding.what.contains("at once"), "{finding:?}");
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_a_cut_end_and_another_history() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 23, &small());
    let all = notes(&scratch.0);
    for note in &all {
        let verified = check(&scratch.0, Some(note));
        assert!(verified.is_whole() && verified.held.is_some(), "{verified:?}");
    }
    let last = all.last().unwrap();
    let cut = copy(&scratch.0);
    let heads = cut.0.join("tree/checkpoints");
    std::fs::write(&heads, all[..all.len() - 1].join("\n") + "\n").unwrap();
    // In itself it is whole: only what was kept elsewhere tells.
    assert!(check(&cut.0, None).is_whole());
    let verified = check(&cut.0, Some(last));
    assert!(verified.findings[0].what.contains("cut off"), "{verified:?}");
    // Another history under the same key: what a signer with a lost head might do.
    let fork = Scratch::new();
    write(&fork, &Keeper::new(), 24, &LogTerms { text: TextKept::Redacted, ..small() });
    assert!(check(&fork.0, None).is_whole());
    let verified = check(&fork.0, Some(&all[0]));
    assert!(!verified.is_whole(), "{verified:?}");
    // A checkpoint of nobody's.
    let wrong = last.replace("batch", "patch");
    assert!(verify(&Folder::new(&scratch.0), key().verifier(), Some(&wrong)).is_err());
}

#[test]
fn every_byte_of_a_sealed_segment_counts() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 12, &small());
    // The next process takes up what this one left, and seals it.
    let welcome = keeper.welcome(small());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    drop(Sequencer::start(&log, &welcome, Box::new(keeper.clone())).unwrap());
    drop(log);
    assert!(check(&scratch.0, None).is_whole(), "{:?}", check(&scratch.0, None));
    let sealed: Vec<PathBuf> = segments::paths(&Folder::new(&scratch.0)).unwrap();
    let path = &sealed[0];
    assert_eq!(path.extension().unwrap(), "sealed");
    let whole = std::fs::read(path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(path, &changed).unwrap();
        let verified = check(&scratch.0, None);
        assert!(!verified.is_whole(), "byte {at} of {}", whole.len());
        let named = verified.findings.iter().find_map(|finding| finding.record);
        assert_eq!(named, Some(RecordId { writer: 1, position: 0 }), "{verified:?}");
    }
    std::fs::remove_file(path).unwrap();
    let verified = check(&scratch.0, None);
    assert_eq!(verified.findings[0].record, Some(RecordId { writer: 1, position: 0 }));
    assert_eq!(verified.findings[0].what, "it is missing");
}

/// Who has the log's owner's rights can write a segment anew, with every sum in
/// it right: only the tree tells.
#[test]
fn a_sealed_segment_made_anew_is_found_and_the_record_is_named() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 1_500, &small());
    let welcome = keeper.welcome(small());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    drop(Sequencer::start(&log, &welcome, Box::new(keeper.clone())).unwrap());
    drop(log);
    assert!(check(&scratch.0, None).is_whole());
    let folder = Folder::new(&scratch.0);
    let segment = Segment::open(&folder.sealed(1, 0)).unwrap();
    let Segment::Sealed(sealed) = &segment else { panic!("{segment:?}") };
    assert!(sealed.blocks() > 1, "it is of one block");
    let mut payloads = Vec::new();
    segment.each(0, |_, payload| payloads.push(payload.to_vec())).unwrap();
    let named = |payloads: &[Vec<u8>]| {
        let mut bytes = segment.start().to_bytes().to_vec();
        for payload in payloads {
            frame::push(payload, &mut bytes);
        }
        let live = folder.live(1, 0);
        std::fs::write(&live, &bytes).unwrap();
        crate::audit::store::sealed::seal(&folder, &live, &bytes).unwrap();
        let verified = check(&scratch.0, None);
        assert!(verified.findings.len() < 101);
        verified.findings.first().and_then(|first| first.record).map(|record| record.position)
    };
    assert_eq!(named(&payloads), None, "the same again is the same");
    let count = payloads.len();
    let mut random = 7_u64;
    for _ in 0..12 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (random >> 33) as usize % (count - 2);
        let mut changed = payloads.clone();
        let byte = (random >> 17) as usize % changed[at].len();
        changed[at][byte] ^= 1 << (random % 8);
        // A record that is none any more ends its segment there.
        assert_eq!(named(&changed), Some(at as u64), "byte {byte} of {at}");
        let mut dropped = payloads.clone();
        dropped.remove(at);
        assert_eq!(named(&dropped), Some(at as u64), "{at} dropped");
        let mut doubled = payloads.clone();
        doubled.insert(at, payloads[at].clone());
        assert_eq!(named(&doubled), Some(at as u64 + 1), "{at} doubled");
        let mut swapped = payloads.clone();
        swapped.swap(at, count - 1);
        assert_eq!(named(&swapped), Some(at as u64), "{at} swapped");
        assert_eq!(named(&payloads[..at]), Some(at as u64), "cut at {at}");
    }
}

#[test]
fn what_was_removed_in_order_leaves_a_log_that_is_whole() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 50, &small());
    let before = notes(&scratch.0);
    let welcome = keeper.welcome(LogTerms { keep_ms: 1, ..small() });
    let log = Log::open(&scratch.0, &welcome).unwrap();
    let shared = Arc::clone(log.shared().unwrap());
    let mut work = Work::new(log.clone(), shared, &welcome, Box::new(keeper.clone())).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    // Recovered and told; sequenced and removed.
    work.turn().unwrap();
    work.turn().unwrap();
    let verified = check(&scratch.0, None);
    assert!(verified.is_whole(), "{verified:#?}");
    assert!(verified.removed > 50, "{verified:#?}");
    assert!(!Folder::new(&scratch.0).sealed(1, 0).exists());
    // The last head before it still holds; older ones can't be judged, and it is said.
    let held = check(&scratch.0, before.last().map(String::as_str));
    assert!(held.is_whole() && held.held.is_some(), "{held:#?}");
    let old = check(&scratch.0, before.first().map(String::as_str));
    assert!(old.is_whole() && old.held.is_none());
    assert!(old.remarks.iter().any(|remark| remark.contains("removed since")));
    // What is left is proven on.
    let id = RecordId { writer: welcome.writer, position: 0 };
    let proof = prove(&Folder::new(&scratch.0), key().verifier(), id).unwrap();
    proof.verify(key().verifier()).unwrap();
    // Gone without a word: the record of the removal is missing.
    std::fs::write(scratch.0.join("tree/base"), "0\n").unwrap();
    assert!(!check(&scratch.0, None).is_whole());
}

#[test]
fn a_proof_stands_alone_and_no_changed_one_does() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    write(&scratch, &keeper, 40, &small());
    let folder = Folder::new(&scratch.0);
    let size = keeper.0.lock().unwrap().size();
    for position in 0..size {
        let id = RecordId { writer: 1, position };
        let proof = prove(&folder, key().verifier(), id).unwrap();
        let proven = proof.verify(key().verifier()).unwrap();
        assert_eq!(proven.record["record"], id.to_string());
        if proven.record["kind"] == "statement" {
            assert!(proven.record["statement"]["text"].as_str().unwrap().starts_with("SELECT"));
            assert_eq!(proven.record["process"]["comm"], "psql");
        }
    }
    let id = RecordId { writer: 1, position: size - 2 };
    let proof = prove(&folder, key().verifier(), id).unwrap();
    let text = serde_json::to_string(&proof).unwrap();
    let mut found = 0;
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = serde_json::from_slice::<Proof>(&changed) else { continue };
        if let Ok(proven) = changed.verify(key().verifier()) {
            panic!("byte {at}: {proven:?}");
        }
        found += 1;
    }
    assert!(found > 100);
    let late = prove(&folder, key().verifier(), RecordId { writer: 1, position: size });
    assert!(matches!(late, Err(ProofError::Absent(_))));
}
