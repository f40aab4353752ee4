//! What lies in the log's folder, written by somebody else.
//!
//! The first byte says what the rest is: a payload, a live segment, a sealed one,
//! or the signed text of a head. Checksums are made right, or nothing would be
//! read. Whatever is there, nothing panics, and what is read is written back to
//! what reads the same.
#![no_main]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::audit::frame::{self, Found, Start};
use tidegate::audit::record;
use tidegate::audit::redact::Grammar;
use tidegate::audit::store::Folder;
use tidegate::audit::store::segments::{Lookup, Segment, Segments};
use tidegate::audit::{RecordId, redact};
use tidegate::ledger::{Head, note};
use tidegate::model::TextKept;
use tidegate::sql::Strings;

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 6 {
        0 => payload(rest),
        1 => frames(rest),
        2 => live(rest),
        3 => sealed(rest),
        4 => notes(rest),
        _ => text(rest),
    }
});

fn payload(bytes: &[u8]) {
    let told = record::identify(bytes);
    let Ok((id, body)) = record::decode(bytes) else { return };
    assert_eq!(told.map(|(id, _)| id), Ok(id));
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!(body.refers().iter().all(|back| *back > 0));
    let _ = (body.at(), body.is_definition());
    let written = record::encode(id, &body, Vec::new());
    assert_eq!(record::decode(&written), Ok((id, body)));
}

/// Frames as they are, and payloads put into frames.
fn frames(bytes: &[u8]) {
    let mut place = 0;
    while let Found::Record { payload: one, next } = frame::at(bytes, place) {
        assert!(next > place);
        payload(one);
        place = next;
    }
    let framed = framed(bytes);
    let (places, end) = tidegate::audit::store::segments::places(&framed, 0);
    assert_eq!(end, framed.len());
    assert_eq!(places.len(), pieces(bytes).filter(|piece| !piece.is_empty()).count());
}

/// Each begins with its length.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        Some(piece)
    })
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    for piece in pieces(bytes).filter(|piece| !piece.is_empty()) {
        frame::push(piece, &mut framed);
    }
    framed
}

/// A live segment: writer, first position, then records and what tore.
fn live(bytes: &[u8]) {
    let Some((numbers, rest)) = numbers::<2>(bytes) else { return };
    let [writer, first] = numbers;
    let (torn, rest) = rest.split_first().unwrap_or((&0, &[]));
    let mut file = Start { writer, first, created: 0 }.to_bytes().to_vec();
    file.extend(framed(rest));
    file.extend(rest.iter().take(usize::from(*torn & 15)));
    file.resize(file.len() + usize::from(*torn >> 4), 0);
    let path = Folder::new(HERE.clone()).live(writer, first);
    read_back(&path, &file, RecordId { writer, position: first });
}

/// A sealed segment: the header's numbers, how its blocks are cut, the blocks.
fn sealed(bytes: &[u8]) {
    let Some((numbers, rest)) = numbers::<6>(bytes) else { return };
    let [writer, first, created, count, earliest, latest] = numbers;
    let (blocks, rest) = rest.split_first().unwrap_or((&0, &[]));
    let Ok(raw) = pieces_of_block(rest, blocks & 1 == 0) else { return };
    let mut header = Vec::new();
    for number in [writer, first, created, count, earliest, latest] {
        header.extend(postcard::to_stdvec(&number).unwrap_or_default());
    }
    header.extend([0; 32]);
    // The same block, told of as often as the input wants, from there on.
    let times = u64::from(blocks >> 6);
    header.extend(postcard::to_stdvec(&(times + 1)).unwrap_or_default());
    for number in 0..=times {
        let at = first.wrapping_add(number.wrapping_mul(u64::from(blocks >> 1 & 31)));
        let cut = (at, raw.1, raw.0.len() as u64);
        header.extend(postcard::to_stdvec(&cut).unwrap_or_default());
    }
    let mut file = b"TGSEAL\r\n".to_vec();
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header);
    file.extend(crc32fast::hash(&file).to_le_bytes());
    for _ in 0..=times {
        file.extend_from_slice(&raw.0);
    }
    let path = Folder::new(HERE.clone()).sealed(writer, first);
    read_back(&path, &file, RecordId { writer, position: first.wrapping_add(count / 2) });
}

/// A block as it is stored and its raw length: compressed here, or as it came.
fn pieces_of_block(bytes: &[u8], right: bool) -> std::io::Result<(Vec<u8>, u64)> {
    if !right {
        return Ok((bytes.to_vec(), 4096));
    }
    let raw = framed(bytes);
    Ok((zstd::bulk::compress(&raw, 1)?, raw.len() as u64))
}

static HERE: LazyLock<PathBuf> = LazyLock::new(|| {
    let here = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(here.join("segments")).expect("a folder for segments cannot be made");
    here
});

/// Everything that readers of the log ask of a segment.
fn read_back(path: &Path, bytes: &[u8], wanted: RecordId) {
    let folder = Folder::new(HERE.clone());
    std::fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .expect("a segment cannot be written");
    if let Ok(segment) = Segment::open(path) {
        let positions = segment.positions();
        let _ = segment.each(positions.start, |_, one| payload(one));
        let _ = segment.each(wanted.position, |position, _| assert!(position >= wanted.position));
        if let Segment::Sealed(sealed) = &segment {
            let _ = (sealed.check(), sealed.block_of(wanted.position));
        }
    }
    let mut segments = Segments::read(&folder).expect("the folder cannot be read");
    if let Lookup::Payload(one) = segments.payload(wanted) {
        payload(one);
    }
    let _ = segments.around(wanted).map(Segment::count);
    std::fs::remove_file(path).expect("the segment cannot be removed");
}

fn numbers<const COUNT: usize>(bytes: &[u8]) -> Option<([u64; COUNT], &[u8])> {
    let (mut numbers, mut rest) = ([0; COUNT], bytes);
    for number in &mut numbers {
        let (bytes, behind) = rest.split_first_chunk()?;
        (*number, rest) = (u64::from_le_bytes(*bytes), behind);
    }
    Some((numbers, rest))
}

fn notes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = note::peek(&text);
    for note in note::split(&text) {
        let _ = note::peek(&note);
    }
    if let Ok(head) = Head::from_text(&text) {
        let again = Head::from_text(&head.to_text()).expect("a head cannot be read back");
        assert_eq!(again.to_text(), head.to_text());
    }
}

/// What is kept of a statement's text.
fn text(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let strings = match how & 3 {
        0 | 1 => Strings::Standard,
        2 => Strings::Escaping,
        _ => Strings::Uncertain,
    };
    let grammar = if how & 4 == 0 { Grammar::Took } else { Grammar::Refused };
    let text = String::from_utf8_lossy(bytes);
    let forms = [TextKept::Full, TextKept::Redacted, TextKept::Fingerprint];
    let made = forms.map(|kept| redact::text(&text, strings, grammar, kept));
    assert!(made.iter().all(|one| one.fingerprint == made[0].fingerprint));
    for one in made.iter().filter_map(|one| one.text.as_ref()) {
        assert!(one.len() <= redact::LONGEST + "…".len());
    }
    // Only its end can be missing, and it is less than a character's bytes more.
    let most = usize::from(*how);
    let cut = redact::cut(&text, most);
    assert!(text.starts_with(cut) && cut.len() <= most);
    assert!(cut.len() + 3 >= most.min(text.len()));
}
