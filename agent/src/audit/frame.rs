//! Records one behind the other: `length, checksum, payload`, padded to words.
//!
//! The length is written last: while it is 0 there is no record. The checksum
//! finds what a loss of power tore; against malice stands the tree.

/// Before each payload.
pub const HEAD: usize = 8;
/// A segment's own head.
pub const SEGMENT_HEAD: usize = 64;
/// No payload is longer.
pub const LONGEST: usize = 1 << 20;
const MAGIC: &[u8; 8] = b"TGLOG\r\n\x01";

/// What a segment says of itself, at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub writer: u64,
    /// The position of its first record.
    pub first: u64,
    /// Microseconds since 1970.
    pub created: u64,
}

impl Start {
    pub fn to_bytes(self) -> [u8; SEGMENT_HEAD] {
        let mut bytes = [0; SEGMENT_HEAD];
        let numbers = [self.writer, self.first, self.created];
        let body = MAGIC.iter().copied().chain(numbers.into_iter().flat_map(u64::to_le_bytes));
        let mut sum = crc32fast::Hasher::new();
        for (to, from) in bytes.iter_mut().zip(body) {
            *to = from;
        }
        let (covered, rest) = bytes.split_at_mut(SEGMENT_HEAD - 4);
        sum.update(covered);
        rest.copy_from_slice(&sum.finalize().to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEAD] = bytes.first_chunk()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let number = |at: usize| Some(u64::from_le_bytes(rest.get(at..)?.first_chunk().copied()?));
        let start = Self { writer: number(0)?, first: number(8)?, created: number(16)? };
        (start.to_bytes() == *bytes).then_some(start)
    }
}

/// The space that a payload takes up.
pub fn room(payload: usize) -> usize {
    HEAD + payload.next_multiple_of(4)
}

/// Length and checksum.
pub fn head(payload: &[u8]) -> (u32, u32) {
    // Callers keep to LONGEST.
    (u32::try_from(payload.len()).unwrap_or(u32::MAX), crc32fast::hash(payload))
}

pub fn push(payload: &[u8], to: &mut Vec<u8>) {
    let (length, sum) = head(payload);
    to.extend(length.to_le_bytes());
    to.extend(sum.to_le_bytes());
    to.extend_from_slice(payload);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// What stands at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'b> {
    /// With the place behind it.
    Record { payload: &'b [u8], next: usize },
    /// Nothing was written here.
    End,
    /// Something was, and it is no whole record.
    Torn,
}

pub fn at(bytes: &[u8], place: usize) -> Found<'_> {
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*word))
    };
    let (Some(length), Some(sum)) = (word(place), word(place + 4)) else { return Found::End };
    let length = length as usize;
    if length == 0 {
        return Found::End;
    }
    let start = place + HEAD;
    match bytes.get(start..start.saturating_add(length)) {
        Some(payload) if length <= LONGEST && crc32fast::hash(payload) == sum => {
            Found::Record { payload, next: place + room(length) }
        }
        _ => Found::Torn,
    }
}

#[cfg(test)]
mod tests;
