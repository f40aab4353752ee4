//! Names that can be said aloud: `lus-bab`.

use crate::model::HoldId;

/// A name for a number; the lower 20 bits count.
pub fn of(number: u32) -> HoldId {
    let syllable = |bits: u32| {
        let letter = |letters: &[u8], shift: u32| {
            let index = (bits >> shift) as usize % letters.len();
            letters.get(index).copied().map_or('b', char::from)
        };
        [letter(CONSONANTS, 6), letter(VOWELS, 4), letter(CONSONANTS, 0)]
    };
    let (first, second) = (syllable(number >> 10 & 0x3ff), syllable(number & 0x3ff));
    HoldId(first.into_iter().chain(['-']).chain(second).collect())
}

/// As somebody may have written it down.
pub fn read(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

/// No two that sound alike in most languages.
const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";
