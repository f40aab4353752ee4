//! Numbers that a text's facts don't hang on. Of texts that differ in such numbers alone
//! one is read, and the others mean the same.
//!
//! ```text
//! select a from t where id = 4711 limit 10       limit: its number was looked at
//! select a from t where id = ···· limit 10       the mould of every such text
//! ```
//!
//! INVARIANT: a number is free only where all of this was seen, not guessed:
//! - the server's lexer can take it for nothing but an integer: at most nine digits, no
//!   sign of a name, a string, a comment or a decimal before them (from the text's begin)
//!   nor directly behind;
//! - the grammar made a plain constant of it, in this place, which the walk visited;
//! - nobody looked at its value. Who does asks [`value`], which writes it down.
//!
//! That isn't a fingerprint. Every other byte counts, and so does every number that could
//! have made a difference: `1 = 1`, `limit 1`, `float(24)`.

use std::cell::RefCell;
use std::ops::Range;

use pg_raw_parse::const_val::ConstValue;
use pg_raw_parse::nodes::A_Const;

/// A text without the numbers that may be free.
#[derive(Debug)]
pub struct Mould {
    /// With a NUL in place of each.
    pub text: Vec<u8>,
    /// Where they stand in the text that it was made of.
    pub numbers: Vec<Range<usize>>,
}

impl Mould {
    /// `None`: there are none, or the text is one that nobody should read so.
    pub fn of(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut mould = Self { text: Vec::with_capacity(text.len()), numbers: Vec::new() };
        let (mut at, mut taken) = (0, 0);
        while let Some(sign) = text.get(at) {
            let next = || text.get(at + 1).copied();
            match sign {
                // From here on it takes more than a look at the signs.
                b'\'' | b'"' | b'$' | b'\\' | 0 | 0x80.. => break,
                b'-' if next() == Some(b'-') => break,
                b'/' if next() == Some(b'*') => break,
                sign if belongs(*sign) => {
                    let length = text.iter().skip(at).take_while(|sign| belongs(**sign)).count();
                    let word = at..at + length;
                    let signs = text.get(word.clone())?;
                    if signs.iter().any(|sign| matches!(sign, b'$' | 0x80..)) {
                        break;
                    }
                    at = word.end;
                    if length <= DIGITS && signs.iter().all(u8::is_ascii_digit) {
                        mould.text.extend_from_slice(text.get(taken..word.start)?);
                        mould.text.push(0);
                        taken = word.end;
                        mould.numbers.push(word);
                    }
                }
                _ => at += 1,
            }
        }
        let rest = text.get(taken..)?;
        if mould.numbers.is_empty() || rest.contains(&0) {
            return None;
        }
        mould.text.extend_from_slice(rest);
        Some(mould)
    }

    /// One of them, in the text that it was made of.
    pub fn number<'t>(&self, text: &'t [u8], index: usize) -> Option<&'t [u8]> {
        text.get(self.numbers.get(index)?.clone())
    }
}

/// What may stand in a name or a number: what touches digits makes them something else.
fn belongs(sign: u8) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, b'_' | b'$' | b'.' | 0x80..)
}

/// Of one reading on this thread.
#[derive(Debug)]
struct Watched {
    /// Texts that were given to the grammar: places are those of the first.
    parsed: u32,
    /// At which places.
    visited: Places,
    looked_at: Places,
}

/// A bit for each place of a text that isn't too long.
type Places = [u64; LONGEST / 64];

thread_local! {
    static WATCHED: RefCell<Watched> =
        const { RefCell::new(Watched { parsed: 0, visited: NOWHERE, looked_at: NOWHERE }) };
}

const NOWHERE: Places = [0; LONGEST / 64];

fn watched<T>(f: impl FnOnce(&mut Watched) -> T) -> T {
    WATCHED.with_borrow_mut(f)
}

/// A reading begins.
pub(super) fn begin() {
    watched(|it| *it = Watched { parsed: 0, visited: NOWHERE, looked_at: NOWHERE });
}

/// The grammar is given a text.
pub(super) fn parsing() {
    watched(|it| it.parsed += 1);
}

/// One without a place (−1) is no number of the text.
fn put(places: &mut Places, of: &A_Const) {
    let place = usize::try_from(of.location).unwrap_or(usize::MAX);
    if let Some(bits) = places.get_mut(place / 64) {
        *bits |= 1 << (place % 64);
    }
}

fn holds(places: &Places, place: usize) -> bool {
    places.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1)
}

/// The walk came to a constant.
pub(super) fn visit(of: &A_Const) {
    if let Some(ConstValue::Integer(_)) = constant(of) {
        watched(|it| put(&mut it.visited, of));
    }
}

/// What a constant is, for whoever makes a difference between two numbers.
pub(super) fn value(of: &A_Const) -> Option<ConstValue<'_>> {
    let value = constant(of);
    if let Some(ConstValue::Integer(_)) = value {
        watched(|it| put(&mut it.looked_at, of));
    }
    value
}

/// A constant that is a text.
pub(super) fn text(of: &A_Const) -> Option<&str> {
    match constant(of)? {
        ConstValue::String(text) => Some(text),
        _ => None,
    }
}

pub(super) fn is_boolean(of: &A_Const) -> bool {
    matches!(constant(of), Some(ConstValue::Boolean(_)))
}

#[expect(clippy::disallowed_methods, reason = "whoever gets an integer from here is written down")]
fn constant(of: &A_Const) -> Option<ConstValue<'_>> {
    of.val()
}

/// Which of the numbers of [`Mould::of`] this text's reading, now at its end, doesn't hang
/// on: their indices, in order.
pub(super) fn free(text: &[u8]) -> Box<[u16]> {
    watched(|it| {
        // Of several texts, nobody knows whose places they are.
        if it.parsed != 1 || it.visited == NOWHERE {
            return Box::default();
        }
        let Some(mould) = Mould::of(text) else { return Box::default() };
        let free = |number: &Range<usize>| {
            // The grammar gives a negative one the place of its sign.
            let places = [Some(number.start), sign_before(text, number.start)];
            let at =
                |places: &Places, one: &Option<usize>| one.is_some_and(|one| holds(places, one));
            places.iter().any(|one| at(&it.visited, one))
                && !places.iter().any(|one| at(&it.looked_at, one))
        };
        let numbers = mould.numbers.iter().zip(0_u16..);
        numbers.filter_map(|(number, index)| free(number).then_some(index)).collect()
    })
}

/// Where the `-` is that a number has before it.
fn sign_before(text: &[u8], number: usize) -> Option<usize> {
    let before = text.get(..number)?;
    let gap = before.iter().rev().take_while(|sign| matches!(sign, b' ' | b'\t' | b'\n')).count();
    let place = number.checked_sub(gap + 1)?;
    (text.get(place) == Some(&b'-')).then_some(place)
}

/// More isn't met again with other numbers.
const LONGEST: usize = 4 * 1024;
/// Always an `int`, whatever they are.
const DIGITS: usize = 9;

#[cfg(test)]
mod tests;
