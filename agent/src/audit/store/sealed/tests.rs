use super::*;
use crate::audit::log::tests::Scratch;
use crate::audit::record::RecordId;
use crate::audit::store::segments::{Lookup, Segment, Segments};

/// A sealed segment that says of itself what it likes, its checksum right.
fn forged(first: u64, count: u64, blocks: &[(u64, u64, u64)], stored: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(stored);
    let header = Header {
        writer: 1,
        first,
        created: 0,
        count,
        earliest: 0,
        latest: 0,
        sum: [0; 32],
        blocks: blocks.iter().map(|&(first, raw, length)| (first, raw, length, sum)).collect(),
    };
    let encoded = postcard::to_stdvec(&header).unwrap();
    let mut file = MAGIC.to_vec();
    file.extend((encoded.len() as u64).to_le_bytes());
    file.extend(encoded);
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file.extend_from_slice(stored);
    file
}

fn opened(first: u64, bytes: &[u8]) -> (Scratch, Result<Segment, StoreError>) {
    let scratch = Scratch::new();
    let folder = Folder::new(&scratch.0);
    folder.prepare().unwrap();
    let path = folder.sealed(1, first);
    std::fs::write(&path, bytes).unwrap();
    let segment = Segment::open(&path);
    (scratch, segment)
}

#[test]
fn positions_that_would_overflow_are_no_segment() {
    let (_scratch, segment) = opened(u64::MAX, &forged(u64::MAX, 2, &[], &[]));
    assert!(matches!(segment, Err(StoreError::NoSegment { .. })), "{segment:?}");
    // Nor is a live one whose records would.
    let scratch = Scratch::new();
    let mut live = Start { writer: 1, first: u64::MAX, created: 0 }.to_bytes().to_vec();
    frame::push(b"one", &mut live);
    let path = Folder::new(&scratch.0).live(1, u64::MAX);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &live).unwrap();
    let segment = Segment::open(&path);
    assert!(matches!(segment, Err(StoreError::NoSegment { .. })), "{segment:?}");
}

#[test]
fn blocks_that_do_not_follow_one_another_are_no_segment() {
    for blocks in [[(5, 8, 8), (4, 8, 8)], [(4, 8, 8), (5, 8, 8)], [(5, 8, 8), (9, 8, 8)]] {
        let (_scratch, segment) = opened(5, &forged(5, 3, &blocks, &[0; 16]));
        assert!(matches!(segment, Err(StoreError::NoSegment { .. })), "{blocks:?}: {segment:?}");
    }
}

#[test]
fn more_records_than_the_head_counts_are_not_read() {
    let mut raw = Vec::new();
    for payload in [b"one", b"two", b"six"] {
        frame::push(payload, &mut raw);
    }
    let stored = zstd::bulk::compress(&raw, 1).unwrap();
    let first = u64::MAX - 2;
    let blocks = [(first, raw.len() as u64, stored.len() as u64)];
    let (scratch, segment) = opened(first, &forged(first, 2, &blocks, &stored));
    let mut seen = Vec::new();
    segment.unwrap().each(0, |position, payload| seen.push((position, payload.to_vec()))).unwrap();
    assert_eq!(seen, [(first, b"one".to_vec()), (first + 1, b"two".to_vec())]);
    let mut segments = Segments::read(&Folder::new(&scratch.0)).unwrap();
    let found = segments.payload(RecordId { writer: 1, position: first + 1 });
    assert!(matches!(found, Lookup::Payload(b"two")), "{found:?}");
    let beyond = segments.payload(RecordId { writer: 1, position: u64::MAX });
    assert!(matches!(beyond, Lookup::Absent), "{beyond:?}");
}
