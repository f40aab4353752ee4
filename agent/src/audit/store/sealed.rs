//! A full segment: its records in blocks, each compressed alone, so that one
//! record can be read without the rest.
//!
//! ```text
//! magic, writer, first, count, earliest, latest, SHA-256 of all raw bytes,
//! number of blocks, per block: first position, raw length, stored length and
//! the stored bytes' CRC-32;
//! CRC-32 of all this; then the blocks
//! ```

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use zstd::bulk::Decompressor;

use super::{Folder, StoreError, look_into, sync_folder_of};
use crate::audit::frame::{self, Found, SEGMENT_HEAD, Start};
use crate::audit::record;

#[derive(Debug)]
pub struct Sealed {
    file: File,
    path: PathBuf,
    pub start: Start,
    pub count: u64,
    /// When its first and last record were written, in microseconds.
    pub earliest: u64,
    pub latest: u64,
    sum: [u8; 32],
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    first: u64,
    raw: usize,
    place: u64,
    stored: usize,
    sum: u32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    writer: u64,
    first: u64,
    created: u64,
    count: u64,
    earliest: u64,
    latest: u64,
    sum: [u8; 32],
    /// First position, raw length, stored length, sum.
    blocks: Vec<(u64, u64, u64, u32)>,
}

/// What was read of one block, with the position of its first record.
#[derive(Debug)]
pub struct Raw {
    pub first: u64,
    pub bytes: Vec<u8>,
}

/// Compresses a live segment's records (all of `bytes`, its head included),
/// reads them back, and only then lets the live file go.
pub fn seal(folder: &Folder, live: &Path, bytes: &[u8]) -> Result<PathBuf, StoreError> {
    let start = Start::from_bytes(bytes).ok_or_else(|| StoreError::NoSegment {
        path: live.to_owned(),
        why: "its head is damaged",
    })?;
    let path = folder.sealed(start.writer, start.first);
    let mut compressed = Vec::new();
    let mut blocks = Vec::new();
    let (mut earliest, mut latest) = (u64::MAX, 0);
    let mut sum = Context::new(&SHA256);
    let (mut place, mut position) = (SEGMENT_HEAD, start.first);
    let (mut begun, mut first) = (place, position);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)
        .and_then(|mut compressor| {
            compressor.include_checksum(true)?;
            Ok(compressor)
        })
        .map_err(StoreError::io("compress", live))?;
    loop {
        let found = frame::at(bytes, place);
        let next = if let Found::Record { payload, next } = found {
            if let Some(at) = record::moment(payload) {
                earliest = earliest.min(at);
                latest = latest.max(at);
            }
            position += 1;
            Some(next)
        } else {
            None
        };
        place = next.unwrap_or(place);
        if place - begun >= BLOCK || next.is_none() && place > begun {
            let raw = bytes.get(begun..place).unwrap_or_default();
            sum.update(raw);
            let block = compressor.compress(raw).map_err(StoreError::io("compress", live))?;
            let sum = crc32fast::hash(&block);
            blocks.push((first, raw.len() as u64, block.len() as u64, sum));
            compressed.extend(block);
            (begun, first) = (place, position);
        }
        if next.is_none() {
            break;
        }
    }
    let header = Header {
        writer: start.writer,
        first: start.first,
        created: start.created,
        count: position - start.first,
        earliest: earliest.min(latest),
        latest,
        sum: sum.finish().as_ref().try_into().unwrap_or_default(),
        blocks,
    };
    let encoded = postcard::to_stdvec(&header).unwrap_or_default();
    let mut head = MAGIC.to_vec();
    head.extend((encoded.len() as u64).to_le_bytes());
    head.extend(encoded);
    head.extend(crc32fast::hash(&head).to_le_bytes());
    let new = path.with_extension("new");
    let written = File::create(&new)
        .and_then(|mut file| {
            file.write_all(&head)?;
            file.write_all(&compressed)?;
            file.sync_data()
        })
        .map_err(StoreError::io("write", &new))
        .and_then(|()| {
            let live = bytes.get(SEGMENT_HEAD..place).unwrap_or_default();
            Sealed::open(&new)?.holds(live)
        });
    if let Err(error) = written {
        // On a full disk, half a file would only take up room.
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    std::fs::rename(&new, &path).map_err(StoreError::io("rename", &new))?;
    sync_folder_of(&path)?;
    std::fs::remove_file(live).map_err(StoreError::io("remove", live))?;
    Ok(path)
}

impl Sealed {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = look_into(path).map_err(StoreError::io("open", path))?;
        let no = |why| StoreError::NoSegment { path: path.to_owned(), why };
        let mut begin = [0; 16];
        file.read_exact_at(&mut begin, 0).map_err(|_| no("it is cut"))?;
        let length = begin
            .strip_prefix(MAGIC)
            .and_then(|rest| Some(u64::from_le_bytes(*rest.first_chunk()?)))
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length < LONGEST_HEADER)
            .ok_or(no("its head is damaged"))?;
        let mut head = vec![0; 16 + length + 4];
        file.read_exact_at(&mut head, 0).map_err(|_| no("it is cut"))?;
        let (covered, sum) = head.split_at_checked(16 + length).ok_or(no("it is cut"))?;
        if crc32fast::hash(covered).to_le_bytes() != sum {
            return Err(no("its head is damaged"));
        }
        let header: Header = covered
            .get(16..)
            .and_then(|header| postcard::from_bytes(header).ok())
            .ok_or(no("its head is damaged"))?;
        // What counts positions leans on it: they don't overflow, and blocks
        // follow one another.
        let end = header.first.checked_add(header.count).ok_or(no("its head is wrong"))?;
        let mut place = head.len() as u64;
        let mut blocks: Vec<Block> = Vec::new();
        for (first, raw, stored, sum) in header.blocks {
            let (raw, stored) = (usize::try_from(raw), usize::try_from(stored));
            let (Ok(raw), Ok(stored)) = (raw, stored) else { return Err(no("its head is wrong")) };
            let least = blocks.last().map_or(header.first, |last| last.first);
            if raw > LARGEST_BLOCK || stored > LARGEST_BLOCK || first < least || first > end {
                return Err(no("its head is wrong"));
            }
            blocks.push(Block { first, raw, place, stored, sum });
            place += stored as u64;
        }
        let Header { writer, first, created, count, earliest, latest, sum, .. } = header;
        let start = Start { writer, first, created };
        Ok(Self { file, path: path.to_owned(), start, count, earliest, latest, sum, blocks })
    }

    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The block that holds a position.
    pub fn block_of(&self, position: u64) -> Option<usize> {
        if position < self.start.first || position >= self.start.first + self.count {
            return None;
        }
        self.blocks.partition_point(|block| block.first <= position).checked_sub(1)
    }

    /// The positions of a block's records.
    pub fn positions(&self, number: usize) -> std::ops::Range<u64> {
        let first = |number: usize| self.blocks.get(number).map(|block| block.first);
        let end = self.start.first + self.count;
        first(number).unwrap_or(end)..first(number + 1).unwrap_or(end)
    }

    pub fn block(&self, number: usize) -> Result<Raw, StoreError> {
        self.read_block(number, &mut self.decompressor()?)
    }

    fn decompressor(&self) -> Result<Decompressor<'static>, StoreError> {
        Decompressor::new().map_err(StoreError::io("decompress", &self.path))
    }

    fn read_block(
        &self,
        number: usize,
        decompressor: &mut Decompressor<'_>,
    ) -> Result<Raw, StoreError> {
        let damaged = |why: &str| StoreError::Damaged {
            path: self.path.clone(),
            why: format!("{why} in its block {number}"),
        };
        let block = self.blocks.get(number).ok_or_else(|| damaged("nothing is"))?;
        let mut stored = vec![0; block.stored];
        self.file
            .read_exact_at(&mut stored, block.place)
            .map_err(|_| damaged("bytes are missing"))?;
        if crc32fast::hash(&stored) != block.sum {
            return Err(damaged("bytes are not what they were"));
        }
        let bytes = decompressor
            .decompress(&stored, block.raw)
            .map_err(|_| damaged("bytes are not what they were"))?;
        if bytes.len() != block.raw {
            return Err(damaged("bytes are missing"));
        }
        Ok(Raw { first: block.first, bytes })
    }

    /// Reads everything and holds it against the sum.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut sum = Context::new(&SHA256);
        self.each_block(|block| {
            sum.update(block);
            true
        })?;
        if sum.finish().as_ref() == self.sum {
            Ok(())
        } else {
            Err(StoreError::Damaged { path: self.path.clone(), why: "its sum is another".into() })
        }
    }

    /// Reads everything and holds it against what it was made of.
    fn holds(&self, mut bytes: &[u8]) -> Result<(), StoreError> {
        let mut same = true;
        self.each_block(|block| {
            let rest = bytes.strip_prefix(block);
            bytes = rest.unwrap_or_default();
            same = rest.is_some();
            same
        })?;
        if same && bytes.is_empty() {
            Ok(())
        } else {
            let why = "it doesn't hold what was written".into();
            Err(StoreError::Damaged { path: self.path.clone(), why })
        }
    }

    /// In order, for as long as they are wanted.
    fn each_block(&self, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        let mut decompressor = self.decompressor()?;
        for number in 0..self.blocks.len() {
            if !take(&self.read_block(number, &mut decompressor)?.bytes) {
                break;
            }
        }
        Ok(())
    }
}

const MAGIC: &[u8; 8] = b"TGSEAL\r\n";
/// What is compressed at once: a search reads a few such, not whole segments.
const BLOCK: usize = 64 * 1024;
const LARGEST_BLOCK: usize = 4 << 20;
const LONGEST_HEADER: usize = 16 << 20;
/// The sequencer has other things to do.
const LEVEL: i32 = 1;

#[cfg(test)]
mod tests;
