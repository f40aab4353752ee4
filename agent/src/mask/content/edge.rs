//! What stands directly before and behind a number or a word, and between its
//! groups: whether it goes on there, or something else begins.

/// What a number or word borders on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// Nothing that it could be a part of.
    Open,
    /// Letters, and no digit among them: a label or a unit.
    Letters,
    /// More of the same.
    More,
}

/// So many letters may a label have.
const LONGEST_LABEL: usize = 32;

impl Edge {
    /// What is before a place.
    #[inline]
    pub fn before(cell: &[u8], place: usize) -> Self {
        let head = cell.get(..place).unwrap_or_default();
        match head {
            [] => Self::Open,
            [.., sign] if *sign < 0x80 && !sign.is_ascii_alphanumeric() => Self::Open,
            head if ends_with_escape(head) => Self::Open,
            [.., digit] if digit.is_ascii_digit() => Self::More,
            _ => {
                let label = head.iter().rev().take(LONGEST_LABEL).take_while(|sign| letter(sign));
                let count = label.count();
                let open = count > 0 && !ends_with_letter(head);
                match head.get(..head.len() - count).unwrap_or_default() {
                    _ if open => Self::Open,
                    [.., digit] if digit.is_ascii_digit() => Self::More,
                    _ if count == LONGEST_LABEL => Self::More,
                    _ => Self::Letters,
                }
            }
        }
    }

    /// What is at a place.
    #[inline]
    pub fn after(cell: &[u8], place: usize) -> Self {
        let tail = cell.get(place..).unwrap_or_default();
        match tail {
            [] => Self::Open,
            [sign, ..] if *sign < 0x80 && !sign.is_ascii_alphanumeric() => Self::Open,
            [digit, ..] if digit.is_ascii_digit() => Self::More,
            _ => {
                let count = tail.iter().take(LONGEST_LABEL).take_while(|sign| letter(sign)).count();
                match tail.get(count..).unwrap_or_default() {
                    _ if !begins_with_letter(tail) => Self::Open,
                    [digit, ..] if digit.is_ascii_digit() => Self::More,
                    _ if count == LONGEST_LABEL => Self::More,
                    _ => Self::Letters,
                }
            }
        }
    }
}

/// An escape is a sign: `%3D`, `=3D`, `\n`.
pub(super) fn ends_with_escape(head: &[u8]) -> bool {
    match head {
        [.., b'%' | b'=', one, two] => is_hex(*one) && is_hex(*two),
        [.., b'\\', b'n' | b'r' | b't'] => true,
        _ => false,
    }
}

/// How much of a word is of an escape: `%20…`, `\n…`.
pub(super) fn escape(cell: &[u8], start: usize) -> usize {
    [1, 2]
        .into_iter()
        .find(|length| cell.get(..start + length).is_some_and(ends_with_escape))
        .unwrap_or_default()
}

fn is_hex(sign: u8) -> bool {
    matches!(sign, b'0'..=b'9' | b'A'..=b'F')
}

fn letter(sign: &u8) -> bool {
    sign.is_ascii_alphabetic() || *sign >= 0x80
}

fn begins_with_letter(tail: &[u8]) -> bool {
    let tail = tail.get(..4).unwrap_or(tail);
    match tail.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
        Some(sign) => is_of_words(sign),
        None => true,
    }
}

fn ends_with_letter(head: &[u8]) -> bool {
    let begin = head.len().saturating_sub(4);
    let tail = head.get(begin..).unwrap_or_default();
    // Cut in the middle of a sign, perhaps.
    match (0..tail.len()).find_map(|skip| str::from_utf8(tail.get(skip..)?).ok()) {
        Some(text) => text.chars().next_back().is_some_and(is_of_words),
        None => true,
    }
}

/// Whether words are made of such signs that are parted by spaces: quotes and
/// dashes are none, and Chinese, Japanese and Korean text has none.
fn is_of_words(sign: char) -> bool {
    sign.is_alphabetic() && !matches!(sign, '\u{1100}'..='\u{11ff}' | '\u{2e80}'..)
}

/// The sign between two groups of digits, as it is read, and its length; a digit
/// follows it.
#[inline]
pub(super) fn joint(rest: &[u8]) -> Option<(u8, usize)> {
    let (sign, taken) = match rest {
        [sign @ (b' ' | b'-' | b'.' | b'/' | b')' | b'('), digit, ..] if digit.is_ascii_digit() => {
            return Some((*sign, 1));
        }
        [b' ' | b'-', b'(', ..] => (b'(', 2),
        [b')', b' ' | b'-', ..] => (b')', 2),
        [0xe2, 0x80, 0x90..=0x94, ..] => (b'-', 3),
        _ => (b' ', space(rest)?),
    };
    rest.get(taken).is_some_and(u8::is_ascii_digit).then_some((sign, taken))
}

/// The length of a space that no break may follow, a narrow one, or as addresses of
/// the web have it.
pub(super) fn space(rest: &[u8]) -> Option<usize> {
    match rest {
        [0xc2, 0xa0, ..] => Some(2),
        [0xe2, 0x80, 0x82..=0x8a | 0xaf, ..] | [b'%', b'2', b'0', ..] => Some(3),
        _ => None,
    }
}

/// The same among groups of four, where it may be wider.
pub(super) fn wide_joint(rest: &[u8]) -> Option<usize> {
    let taken = match rest {
        [b' ', b' ', ..] => 2,
        [b'+', ..] => 1,
        [b'%', b'2', b'D', ..] => 3,
        _ => return None,
    };
    let next = rest.get(taken..)?.iter().take(5).take_while(|sign| sign.is_ascii_digit());
    (next.count() == 4).then_some(taken)
}

/// How many of the digits at a place are of an escape before them: `%20…`, `=A0…`.
pub(super) fn escaped(cell: &[u8], place: usize) -> usize {
    match cell.get(..place).unwrap_or_default() {
        [.., b'%' | b'='] => 2,
        [.., b'%' | b'=', letter] if is_hex(*letter) => 1,
        _ => 0,
    }
}
