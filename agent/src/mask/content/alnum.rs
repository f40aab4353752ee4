//! Numbers with letters in them: the identity numbers of states that mix both.

use super::{Found, edge};
use crate::mask::checks;
use crate::mask::class::Class;

const LONGEST: usize = 18;
const LEAST_DIGITS: usize = 4;

/// Whether anything here may have to do with these digits: not, if they are a word
/// of their own, of a length that no first group has, behind no letter's group.
#[inline]
pub(super) fn may_be(cell: &[u8], digits: usize, length: usize) -> bool {
    let ends = cell.get(digits + length).is_none_or(|sign| !is_word(*sign));
    let begins = match cell.get(..digits).unwrap_or_default() {
        [.., letter, b' ' | b'-'] => !letter.is_ascii_alphabetic(),
        [.., sign] => !is_word(*sign),
        [] => true,
    };
    !(begins && ends) || matches!(length, 1 | 6 | 8)
}

/// What begins with a word that has a digit, or with letters that stand before it:
/// `AB 12 34 56 C`, `X-1234567-L`. Where to go on.
pub(super) fn word(
    cell: &[u8],
    start: usize,
    end: usize,
    floor: usize,
    found: &mut Vec<Found>,
) -> usize {
    if end - start > LONGEST + 2 {
        return end;
    }
    let letters = start.checked_sub(1).filter(|joint| {
        *joint > floor && cell.get(*joint).is_some_and(|sign| matches!(sign, b' ' | b'-'))
    });
    if let Some(joint) = letters {
        let before = cell.get(floor..joint).unwrap_or_default();
        let count = before.iter().rev().take(3).take_while(|sign| is_word(**sign)).count();
        if matches!(count, 1 | 2)
            && let Some(end) = beginning(cell, joint - count, count, found)
        {
            return end;
        }
    }
    if let Some(end) = beginning(cell, start, end - start, found) {
        return end;
    }
    let behind = start + edge::escape(cell, start);
    if start < behind && behind < end {
        return beginning(cell, behind, end - behind, found).unwrap_or(end);
    }
    end
}

/// What begins with a word; where it ends.
fn beginning(cell: &[u8], place: usize, length: usize, found: &mut Vec<Found>) -> Option<usize> {
    let (class, taken) = known(cell.get(place..)?, length)?;
    // `X-1` is one thing with what is before it; `DNI/1` is a label and one.
    let joined = match cell.get(..place)? {
        [.., word, b'-' | b'+'] => is_word(*word),
        [.., word, b'/' | b'.'] => word.is_ascii_digit(),
        _ => false,
    };
    if joined && !is_proven(class) {
        return None;
    }
    found.push(Found { start: place, end: place + taken, class });
    Some(place + taken)
}

/// What nothing else looks like.
fn is_proven(class: Class) -> bool {
    matches!(class, Class::ItFiscalCode | Class::FrNir | Class::MxCurp | Class::CnId)
}

/// What words are made of here: `dni_12345678Z` is two, `身份证…` too.
#[inline]
pub(super) fn is_word(sign: u8) -> bool {
    sign.is_ascii_alphanumeric()
}

/// What begins with this word, and how long it is.
fn known(rest: &[u8], length: usize) -> Option<(Class, usize)> {
    let word = rest.get(..length)?;
    let mut room = [0_u8; LONGEST];
    if matches!(length, 9 | 10 | 15 | 16 | 18) {
        let upper = upper(word, &mut room);
        let letters = upper.iter().filter(|sign| sign.is_ascii_uppercase()).count();
        let bounded = !matches!(rest.get(length), Some(b'-' | b'+'))
            || rest.get(length + 1).is_none_or(|sign| !is_word(*sign));
        if letters > 0 && letters + LEAST_DIGITS <= length {
            let class = match length {
                9 if checks::es_dni(upper) => Some(Class::EsDni),
                9 if checks::sg_nric(upper) => Some(Class::SgNric),
                9 if is_like(word) && checks::uk_nino(upper) => Some(Class::UkNino),
                10 if word.iter().all(|sign| !sign.is_ascii_lowercase())
                    && checks::in_pan(upper) =>
                {
                    Some(Class::InPan)
                }
                15 if checks::fr_nir(upper) => Some(Class::FrNir),
                16 if checks::it_fiscal_code(upper) => Some(Class::ItFiscalCode),
                18 if checks::mx_curp(upper) => Some(Class::MxCurp),
                18 if checks::cn_id(upper) => Some(Class::CnId),
                _ => None,
            };
            if let Some(class) = class.filter(|class| bounded || is_proven(*class)) {
                return Some((class, length));
            }
        }
    }
    match word {
        // AB 12 34 56 C
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
            grouped(rest, 9, |text| text.len() == 9 && checks::uk_nino(text))
                .map(|taken| (Class::UkNino, taken))
        }
        // 131052-308T, 12345678-Z, X-1234567-L
        digits if digits.len() == 6 && digits.iter().all(u8::is_ascii_digit) => {
            let whole = rest.get(..11)?;
            let ends = rest.get(11).is_none_or(|sign| !is_word(*sign));
            let mut room = [0_u8; LONGEST];
            (ends && checks::fi_hetu(upper(whole, &mut room))).then_some((Class::FiHetu, 11))
        }
        [sign, ..] if word.len() == 11 && sign.is_ascii_digit() => {
            let mut room = [0_u8; LONGEST];
            checks::fi_hetu(upper(word, &mut room)).then_some((Class::FiHetu, 11))
        }
        digits if matches!(digits.len(), 1 | 8) => {
            grouped(rest, 9, |text| text.len() == 9 && checks::es_dni(text))
                .map(|taken| (Class::EsDni, taken))
        }
        // S 1234567 D is never written; 1 85 12 2A … is.
        _ => None,
    }
    .or_else(|| {
        matches!(word, [b'1'..=b'4' | b'7' | b'8']).then_some(())?;
        grouped(rest, 15, |text| text.len() == 15 && checks::fr_nir(text))
            .map(|taken| (Class::FrNir, taken))
    })
}

/// All capitals or none: not a word of some other alphabet of signs.
fn is_like(word: &[u8]) -> bool {
    let lower = word.iter().any(u8::is_ascii_lowercase);
    let upper = word.iter().any(u8::is_ascii_uppercase);
    !(lower && upper)
}

/// The longest text of groups, joined by single spaces or hyphens, that passes.
fn grouped(rest: &[u8], most: usize, passes: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut room = [0_u8; LONGEST];
    let (mut length, mut place, mut best) = (0, 0, None);
    loop {
        match rest.get(place) {
            Some(sign) if sign.is_ascii_alphanumeric() => {
                if length == most {
                    return best;
                }
                *room.get_mut(length)? = sign.to_ascii_uppercase();
                length += 1;
                place += 1;
                let ends = rest.get(place).is_none_or(|sign| !is_word(*sign));
                if ends && passes(room.get(..length)?) {
                    best = Some(place);
                }
            }
            Some(b' ' | b'-')
                if rest.get(place + 1).is_some_and(u8::is_ascii_alphanumeric) && place > 0 =>
            {
                place += 1;
            }
            _ => return best,
        }
    }
}

fn upper<'r>(word: &[u8], room: &'r mut [u8; LONGEST]) -> &'r [u8] {
    for (to, from) in room.iter_mut().zip(word) {
        *to = from.to_ascii_uppercase();
    }
    room.get(..word.len()).unwrap_or_default()
}
