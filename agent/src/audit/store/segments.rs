//! All segments of a folder, to read records by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::sealed::{Raw, Sealed};
use super::{Folder, StoreError, look_into};
use crate::audit::frame::{self, Found, SEGMENT_HEAD, Start};
use crate::audit::record::RecordId;

/// One segment as it lies there.
#[derive(Debug)]
pub enum Segment {
    Sealed(Sealed),
    /// Its bytes up to now, with the place of each record.
    Live {
        path: PathBuf,
        start: Start,
        bytes: Vec<u8>,
        places: Vec<usize>,
        /// Bytes behind the last whole record that are no record.
        torn: bool,
    },
}

#[derive(Debug, Default)]
pub struct Segments {
    /// By writer and first position.
    all: BTreeMap<(u64, u64), Segment>,
    /// The last block that was read.
    block: Option<(u64, u64, usize, Vec<usize>, Raw)>,
    /// Files that are no segments although they are called so.
    pub broken: Vec<StoreError>,
}

/// Where a record's bytes are, or why not.
#[derive(Debug)]
pub enum Lookup<'s> {
    Payload(&'s [u8]),
    /// No segment has it.
    Absent,
    /// A segment should have it, and can't be read there.
    Damaged(String),
}

/// Gives every record of a segment from a place on, up to what is written by now,
/// and tells that place.
pub fn follow(
    path: &Path,
    mut place: usize,
    mut take: impl FnMut(&[u8]),
) -> Result<usize, StoreError> {
    let failed = || StoreError::io("read", path);
    let file = look_into(path).map_err(failed())?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read_at(&mut buffer, place as u64).map_err(failed())?;
        let bytes = buffer.get(..read).unwrap_or_default();
        let mut at = 0;
        let found = loop {
            match frame::at(bytes, at) {
                Found::Record { payload, next } => {
                    take(payload);
                    at = next;
                }
                other => break other,
            }
        };
        place += at;
        match found {
            Found::End if read < buffer.len() || at + frame::HEAD <= read => return Ok(place),
            // It goes on behind what was read, or isn't whole yet.
            _ if at > 0 => {}
            _ if buffer.len() < LONGEST => buffer.resize(LONGEST, 0),
            _ => return Ok(place),
        }
    }
}

impl Segment {
    /// INVARIANT: it is the one that its file is called for; readers that know only the
    /// name and those that know only the head see the same.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let segment = if path.extension().is_some_and(|extension| extension == "sealed") {
            Self::Sealed(Sealed::open(path)?)
        } else {
            Self::open_live(path)?
        };
        let Start { writer, first, .. } = segment.start();
        if start_of(path).is_some_and(|named| named != (writer, first)) {
            let why = "it is another one, by its head, than its name says";
            return Err(StoreError::NoSegment { path: path.to_owned(), why });
        }
        Ok(segment)
    }

    fn open_live(path: &Path) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let file = look_into(path).map_err(StoreError::io("open", path))?;
        let length = file.metadata().map_err(StoreError::io("look at", path))?.len();
        if length > LARGEST {
            let why = "it is longer than a segment can be";
            return Err(StoreError::NoSegment { path: path.to_owned(), why });
        }
        file.take(LARGEST).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
        let start = Start::from_bytes(&bytes).ok_or_else(|| StoreError::NoSegment {
            path: path.to_owned(),
            why: "its head is damaged",
        })?;
        let (places, end) = places(&bytes, SEGMENT_HEAD);
        if start.first.checked_add(places.len() as u64).is_none() {
            return Err(StoreError::NoSegment { path: path.to_owned(), why: "its head is wrong" });
        }
        let torn = frame::at(&bytes, end) == Found::Torn
            || bytes.get(end..).is_some_and(|rest| !is_empty(rest));
        bytes.truncate(end);
        bytes.shrink_to_fit();
        Ok(Self::Live { path: path.to_owned(), start, bytes, places, torn })
    }

    /// One that was there a moment ago: it may have been sealed since, or, by its
    /// age, removed.
    pub fn still(path: &Path) -> Result<Option<Self>, StoreError> {
        let gone = |error: &StoreError| {
            matches!(error, StoreError::Io { error, .. }
                if error.kind() == std::io::ErrorKind::NotFound)
        };
        let opened = match Self::open(path) {
            Err(error) if gone(&error) => Self::open(&path.with_extension("sealed")),
            opened => opened,
        };
        match opened {
            Ok(segment) => Ok(Some(segment)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn start(&self) -> Start {
        match self {
            Self::Sealed(sealed) => sealed.start,
            Self::Live { start, .. } => *start,
        }
    }

    pub fn count(&self) -> u64 {
        match self {
            Self::Sealed(sealed) => sealed.count,
            Self::Live { places, .. } => places.len() as u64,
        }
    }

    pub fn positions(&self) -> std::ops::Range<u64> {
        let first = self.start().first;
        first..first + self.count()
    }

    /// Gives every record from `from` on, in order; what can't be read is told.
    pub fn each(&self, from: u64, mut take: impl FnMut(u64, &[u8])) -> Result<(), StoreError> {
        let first = self.start().first;
        match self {
            Self::Live { bytes, places, .. } => {
                let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
                for (place, position) in places.iter().zip(first..).skip(skip) {
                    if let Found::Record { payload, .. } = frame::at(bytes, *place) {
                        take(position, payload);
                    }
                }
            }
            Self::Sealed(sealed) => {
                for number in 0..sealed.blocks() {
                    if sealed.positions(number).end <= from {
                        continue;
                    }
                    let bytes = sealed.block(number)?.bytes;
                    let mut place = 0;
                    // What the head doesn't count is no record.
                    for position in sealed.positions(number) {
                        let Found::Record { payload, next } = frame::at(&bytes, place) else {
                            break;
                        };
                        if position >= from {
                            take(position, payload);
                        }
                        place = next;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Nothing was ever written there.
fn is_empty(bytes: &[u8]) -> bool {
    let zeros = [0; 4096];
    bytes.chunks(zeros.len()).all(|chunk| zeros.get(..chunk.len()) == Some(chunk))
}

/// The places of whole records one behind the other, and the end of the last.
pub fn places(bytes: &[u8], mut place: usize) -> (Vec<usize>, usize) {
    let mut places = Vec::new();
    while let Found::Record { next, .. } = frame::at(bytes, place) {
        places.push(place);
        place = next;
    }
    (places, place)
}

impl Segments {
    pub fn read(folder: &Folder) -> Result<Self, StoreError> {
        Ok(Self::of_files(files(folder)?.values()))
    }

    /// One writer's: those that are being written are read whole, and the others' are
    /// not this one's to keep in memory.
    pub fn written_by(folder: &Folder, writer: u64) -> Result<Self, StoreError> {
        let files = files(folder)?;
        Ok(Self::of_files(files.range((writer, 0)..=(writer, u64::MAX)).map(|(_, path)| path)))
    }

    fn of_files<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Self {
        let mut segments = Self::default();
        for path in paths {
            match Segment::still(path) {
                Ok(Some(segment)) => segments.add(segment),
                Ok(None) => {}
                Err(error) => segments.broken.push(error),
            }
        }
        segments
    }

    /// Only those segments that hold one of these records, or would.
    pub fn holding(folder: &Folder, wanted: &BTreeSet<RecordId>) -> Result<Self, StoreError> {
        let files = files(folder)?;
        let mut segments = Self::default();
        let mut opened = None;
        for id in wanted {
            let around = files.range((id.writer, 0)..=(id.writer, id.position)).next_back();
            let Some((start, path)) = around.filter(|(start, _)| opened != Some(**start)) else {
                continue;
            };
            opened = Some(*start);
            match Segment::still(path) {
                Ok(Some(segment)) => segments.add(segment),
                Ok(None) => {}
                Err(error) => segments.broken.push(error),
            }
        }
        Ok(segments)
    }

    fn add(&mut self, segment: Segment) {
        let Start { writer, first, .. } = segment.start();
        // A sealed one counts before the live one that it was made of.
        let sealed = matches!(segment, Segment::Sealed(_));
        if sealed || !self.all.contains_key(&(writer, first)) {
            self.all.insert((writer, first), segment);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.all.values()
    }

    pub fn of_writer(&self, writer: u64) -> impl Iterator<Item = &Segment> {
        self.all.range((writer, 0)..=(writer, u64::MAX)).map(|(_, segment)| segment)
    }

    /// The segment that holds a record, or would.
    pub fn around(&self, id: RecordId) -> Option<&Segment> {
        let (_, segment) = self.all.range((id.writer, 0)..=(id.writer, id.position)).next_back()?;
        Some(segment)
    }

    pub fn payload(&mut self, id: RecordId) -> Lookup<'_> {
        let Self { all, block, .. } = self;
        let found = all.range((id.writer, 0)..=(id.writer, id.position)).next_back();
        let Some(((_, first), segment)) = found else { return Lookup::Absent };
        match segment {
            Segment::Live { bytes, places, torn, .. } => {
                let place = usize::try_from(id.position - first).ok().and_then(|n| places.get(n));
                match place.map(|place| frame::at(bytes, *place)) {
                    Some(Found::Record { payload, .. }) => Lookup::Payload(payload),
                    _ if *torn => Lookup::Damaged("its segment can't be read from there on".into()),
                    _ => Lookup::Absent,
                }
            }
            Segment::Sealed(sealed) => {
                let Some(number) = sealed.block_of(id.position) else { return Lookup::Absent };
                let here = (id.writer, *first, number);
                if block.as_ref().is_none_or(|(w, f, n, ..)| (*w, *f, *n) != here) {
                    let raw = match sealed.block(number) {
                        Ok(raw) => raw,
                        Err(error) => return Lookup::Damaged(error.to_string()),
                    };
                    let (places, _) = places(&raw.bytes, 0);
                    *block = Some((id.writer, *first, number, places, raw));
                }
                let Some((.., places, raw)) = block else { return Lookup::Absent };
                let place =
                    usize::try_from(id.position - raw.first).ok().and_then(|n| places.get(n));
                match place.map(|place| frame::at(&raw.bytes, *place)) {
                    Some(Found::Record { payload, .. }) => Lookup::Payload(payload),
                    _ => Lookup::Damaged("its block can't be read from there on".into()),
                }
            }
        }
    }
}

/// A segment's writer and first position, by its file's name. There is one way to
/// write it, so that no two files can be called for the same.
pub fn start_of(path: &Path) -> Option<(u64, u64)> {
    let stem = path.file_stem()?.to_str()?;
    let (writer, first) = stem.split_once('-')?;
    let (writer, first) = (writer.parse().ok()?, first.parse().ok()?);
    (super::stem(writer, first) == stem).then_some((writer, first))
}

/// The files of all segments, in order.
pub fn paths(folder: &Folder) -> Result<Vec<PathBuf>, StoreError> {
    let segments = folder.segments();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&segments).map_err(StoreError::io("read", &segments))? {
        let path = entry.map_err(StoreError::io("read", &segments))?.path();
        if path.extension().is_some_and(|extension| extension == "live" || extension == "sealed") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// One file for each segment, by writer and first position: the sealed one, where
/// the live one that it was made of is still there.
pub fn files(folder: &Folder) -> Result<BTreeMap<(u64, u64), PathBuf>, StoreError> {
    let mut files = BTreeMap::new();
    for path in paths(folder)? {
        if let Some(start) = start_of(&path) {
            files.insert(start, path);
        }
    }
    Ok(files)
}

/// What is read of a segment at once, and the room of its longest record.
const CHUNK: usize = 256 * 1024;
const LONGEST: usize = frame::HEAD + frame::LONGEST;
/// Of a live one: what the settings allow.
const LARGEST: u64 = 1 << 30;
