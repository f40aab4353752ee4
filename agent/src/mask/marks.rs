//! Marks: what hashes look like, and how a value that a mask wrote is told when a
//! client sends it back.
//!
//! Dots are told by themselves: anybody may write some, but an address with dots in it
//! is nobody's. A hash is told by its last part, which is made of
//! the first under the same key, so that nothing need be remembered. What a mask
//! makes look like anybody's value (a number, a year, a network, a grid) can't be
//! told, nor can a mark that a column's length has cut.
//!
//! Never: a decision on what follows from it.

use super::value::{Hand, HashKey};
use crate::model::Trace;
use crate::sql::{Strings, constants};

/// The mark of a text: 16 digits and letters.
pub(super) fn write(key: &HashKey, value: &[u8], out: &mut Vec<u8>) {
    let mut mark: [u8; TEXT] = key.mark(value);
    key.seal(&mut mark, TEXT_CHECK);
    let bits = mark.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    for place in (0..SIGNS).rev() {
        let five = (bits >> (5 * place)) as u8 & 31;
        out.push(if five < 10 { b'0' + five } else { b'a' + five - 10 });
    }
}

pub(super) fn uuid(key: &HashKey, value: &[u8]) -> [u8; UUID] {
    let mut mark: [u8; UUID] = key.mark(value);
    // Version 8, as RFC 9562 has it for such.
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut mark;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    key.seal(&mut mark, UUID_CHECK);
    mark
}

pub(super) fn bytes(key: &HashKey, value: &[u8]) -> [u8; BYTES] {
    let mut mark: [u8; BYTES] = key.mark(value);
    key.seal(&mut mark, BYTES_CHECK);
    mark
}

impl Hand {
    /// Whether a value, in whatever format, holds what a mask wrote.
    pub fn wrote(&self, value: &[u8]) -> Trace {
        let raw = match value.len() {
            UUID => self.is_uuid(value),
            BYTES => self.key.is_sealed(value, BYTES_CHECK),
            _ => false,
        };
        match self.wrote_in(value) {
            _ if raw => Trace::Certain,
            Trace::None if is_cut(value, self.dot()) => Trace::Likely,
            found => found,
        }
    }

    /// Whether one of a statement's string constants does.
    pub fn wrote_constant(&self, text: &[u8], strings: Strings) -> Trace {
        if !may_hold(text, self.unicode) {
            return Trace::None;
        }
        constants(text, strings).map(|constant| self.wrote(&constant)).max().unwrap_or_default()
    }

    fn wrote_in(&self, bytes: &[u8]) -> Trace {
        if self.holds_hash(bytes) { Trace::Certain } else { holds_dots(bytes, self.unicode) }
    }

    fn holds_hash(&self, bytes: &[u8]) -> bool {
        let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        bytes.split(|byte| !belongs(byte)).any(|run| {
            run.len() >= SIGNS
                && (self.is_hash(run)
                    || run.split(|byte| *byte == b'-').any(|one| self.is_hash(one)))
        })
    }

    fn is_hash(&self, word: &[u8]) -> bool {
        match word.len() {
            SIGNS => signs(word).is_some_and(|mark| self.key.is_sealed(&mark, TEXT_CHECK)),
            // 8-4-4-4-12
            36 | 32 => unhex::<UUID>(word).is_some_and(|mark| self.is_uuid(&mark)),
            64 => unhex::<BYTES>(word).is_some_and(|mark| self.key.is_sealed(&mark, BYTES_CHECK)),
            // `\x` before it
            65 => word.strip_prefix(b"x").is_some_and(|word| self.is_hash(word)),
            _ => false,
        }
    }

    fn is_uuid(&self, mark: &[u8]) -> bool {
        mark.get(6).is_some_and(|version| version >> 4 == 8) && self.key.is_sealed(mark, UUID_CHECK)
    }
}

/// What has none of this holds no mask, whatever its constants are: most texts.
fn may_hold(text: &[u8], unicode: bool) -> bool {
    let mut word = 0;
    text.iter().any(|byte| {
        word = if byte.is_ascii_alphanumeric() { word + 1 } else { 0 };
        // A hash; of a uuid's parts the last is the longest.
        word >= UUID_WORD || matches!(*byte, DOT_BEGINS | b'\\' | b'<') || *byte == b'*' && !unicode
    })
}

/// Whether something holds the dots of a mask: three with no more between them than
/// what masks leave standing between digits, and for who doesn't read UTF-8 stars.
pub fn holds_dots(bytes: &[u8], unicode: bool) -> Trace {
    if bytes.windows(XML.len()).any(|window| window == XML) {
        return Trace::Certain;
    }
    let between = |byte: u8| b" -./+()".contains(&byte);
    let dots = holds(bytes, DOT, between);
    // As documents are written whose writer keeps to ASCII.
    let escaped = holds(bytes, ESCAPED_DOT, |byte| between(byte) || byte == b'\\');
    let stars = if unicode { Trace::None } else { holds(bytes, b"*", between) };
    dots.max(escaped).max(stars)
}

fn holds(bytes: &[u8], dot: &[u8], between: impl Fn(u8) -> bool) -> Trace {
    let Some(start) = dot.first() else { return Trace::None };
    let mut found = Trace::None;
    let mut rest = bytes;
    let (mut count, mut gap) = (0, 0);
    while let Some((first, tail)) = rest.split_first() {
        rest = if let Some(behind) = rest.strip_prefix(dot) {
            (count, gap) = (count + 1, 0);
            if count == DOTS {
                found = Trace::Likely;
            }
            behind
        } else if count >= DOTS && gap == 0 && *first == b'@' {
            // `j•••@e•••.com`
            return Trace::Certain;
        } else if count > 0 && gap < MOST_BETWEEN && between(*first) {
            gap += 1;
            tail
        } else {
            (count, gap) = (0, 0);
            let next = tail.iter().position(|byte| byte == start).unwrap_or(tail.len());
            tail.get(next..).unwrap_or_default()
        };
    }
    found
}

/// A mask of which a column's length left fewer than three dots: `j••`, `•`.
fn is_cut(value: &[u8], dot: &[u8]) -> bool {
    let value = value.trim_ascii_end();
    let mut head = value;
    while let Some(before) = head.strip_suffix(dot) {
        head = before;
    }
    let sign = str::from_utf8(head).map_or(head.len(), |head| head.chars().count());
    head.len() < value.len() && sign <= 1
}

fn signs(word: &[u8]) -> Option<[u8; TEXT]> {
    let mut bits = 0_u128;
    for byte in word {
        let five = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'v' => byte - b'a' + 10,
            _ => return None,
        };
        bits = bits << 5 | u128::from(five);
    }
    bits.to_be_bytes().last_chunk().copied()
}

fn unhex<const N: usize>(word: &[u8]) -> Option<[u8; N]> {
    let digits = word.iter().filter(|byte| **byte != b'-');
    let mut digits = digits.map(|byte| char::from(*byte).to_digit(16));
    let mut bytes = [0; N];
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(bytes)
}

/// A stream of values, looked at as it goes by.
#[derive(Debug, Default)]
pub struct Stream {
    /// The end of what went by: a mark may go on behind it.
    end: Vec<u8>,
}

impl Stream {
    /// Whether a piece holds what a mask wrote, or ends what the piece before began.
    pub fn wrote(&mut self, hand: &Hand, piece: &[u8]) -> Trace {
        let joined = self.end.len();
        self.end.extend_from_slice(piece.get(..LONGEST).unwrap_or(piece));
        let across = if joined > 0 { hand.wrote_in(&self.end) } else { Trace::None };
        let found = across.max(hand.wrote_in(piece));
        if piece.len() >= LONGEST {
            self.end.clear();
            self.end.extend_from_slice(piece.get(piece.len() - LONGEST..).unwrap_or_default());
        } else {
            let surplus = self.end.len().saturating_sub(LONGEST);
            self.end.drain(..surplus);
        }
        found
    }
}

const DOT: &[u8] = "•".as_bytes();
const DOT_BEGINS: u8 = 0xe2;
const ESCAPED_DOT: &[u8] = b"\\u2022";
/// What stands for a document.
const XML: &[u8] = b"<masked/>";
const DOTS: u32 = 3;
/// `+• (•••) •••-2671`
const MOST_BETWEEN: u32 = 2;

const SIGNS: usize = 16;
const UUID_WORD: usize = 12;
/// Bytes of marks, and how many of them are made of the others.
const TEXT: usize = 10;
const TEXT_CHECK: usize = 3;
const UUID: usize = 16;
const UUID_CHECK: usize = 6;
const BYTES: usize = 32;
const BYTES_CHECK: usize = 8;
/// No mark is longer, nor its dots with what stands between.
const LONGEST: usize = 96;

#[cfg(test)]
mod tests;
