//! Accounts by their IBAN, wherever they stand: the country's own length and make
//! and two digits of check are proof in the middle of a word too.

use super::edge::{self, Edge};
use super::{Found, before};
use crate::mask::checks;
use crate::mask::class::Class;

const LONGEST: usize = 34;
const LEAST_DIGITS: usize = 4;
/// With more of a word before or behind.
const LEAST_WITHIN: usize = 8;

/// Whether one may begin two letters before these digits.
#[inline]
pub(super) fn may_be(cell: &[u8], digits: usize) -> bool {
    let Some(country) = country(cell, digits) else { return false };
    let place = usize::from(country[0] - b'A') * 26 + usize::from(country[1] - b'A');
    COUNTRIES.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 != 0)
}

#[inline]
fn country(cell: &[u8], digits: usize) -> Option<[u8; 2]> {
    let &[a, b, one, two] = cell.get(digits.checked_sub(2)?..)?.first_chunk()?;
    let fits = a.is_ascii_alphabetic()
        && b.is_ascii_alphabetic()
        && one.is_ascii_digit()
        && two.is_ascii_digit();
    fits.then(|| [a.to_ascii_uppercase(), b.to_ascii_uppercase()])
}

/// The countries that have them, by their letters.
const COUNTRIES: [u64; 11] = {
    let mut bits = [0; 11];
    let mut place = 0;
    while place < 26 * 26 {
        let country = [b'A' + (place / 26) as u8, b'A' + (place % 26) as u8];
        if checks::iban_length(country).is_some() {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                bits[place / 64] |= 1 << (place % 64);
            }
        }
        place += 1;
    }
    bits
};

/// The one that begins two letters before these digits; where it ends.
pub(super) fn at(cell: &[u8], digits: usize, found: &mut Vec<Found>) -> Option<usize> {
    let length = checks::iban_length(country(cell, digits)?)?;
    let start = digits - 2;
    let (mut room, mut count, mut place) = ([0_u8; LONGEST], 0, start);
    let (mut lower, mut upper, mut numbers) = (false, false, 0);
    while count < length {
        match cell.get(place..)? {
            [sign, ..] if sign.is_ascii_alphanumeric() => {
                *room.get_mut(count)? = sign.to_ascii_uppercase();
                lower |= sign.is_ascii_lowercase();
                upper |= sign.is_ascii_uppercase();
                numbers += usize::from(sign.is_ascii_digit());
                count += 1;
                place += 1;
            }
            rest => place += joint(rest)?,
        }
    }
    // `1GB82…` is a part of a longer word, unless its digits are many.
    let run = cell.get(digits..)?.iter().take(LEAST_WITHIN);
    if run.take_while(|sign| sign.is_ascii_digit()).count() < LEAST_WITHIN
        && Edge::before(cell, start) == Edge::More
    {
        return None;
    }
    let word = |sign: Option<u8>| sign.is_some_and(|sign| sign.is_ascii_alphanumeric());
    let last = before(cell, place).is_some_and(|sign| sign.is_ascii_digit());
    let next = cell.get(place).copied();
    if last && next.is_some_and(|sign| sign.is_ascii_digit()) {
        return None;
    }
    let within = word(before(cell, start)) || word(next);
    let fits = match within {
        true => numbers >= LEAST_WITHIN && !(lower && upper),
        false => numbers >= LEAST_DIGITS,
    };
    if !fits || !checks::iban(room.get(..length)?) {
        return None;
    }
    found.push(Found { start, end: place, class: Class::Iban });
    Some(place)
}

/// What stands between two groups; a sign of the next one follows it.
fn joint(rest: &[u8]) -> Option<usize> {
    let taken = match rest {
        [b' ', b' ', ..] => 2,
        [b' ' | b'-' | b'.' | b'/' | b'_' | b'+', ..] => 1,
        _ => edge::space(rest)?,
    };
    rest.get(taken).is_some_and(u8::is_ascii_alphanumeric).then_some(taken)
}
