//! What a value is by its content alone: the spans in it that are sensitive.
//!
//! One sweep over a cell's bytes, sixty-four at a time, says where anything could
//! be at all; a scanner looks only there. Most cells have no such place.
//!
//! INVARIANTS
//! - The sweep leads to every place at which a scanner would find something.
//! - Every scanner's time is linear in the cell, whatever is in it.
//! - Found spans lie within the cell, in order, without overlap.
//!
//! Never judges by a part of a run of digits: what has more of the same around it
//! is something else. Letters, other groups and signs beside a number hide none
//! that proves itself.

mod alnum;
mod edge;
mod iban;
mod mail;
mod network;
mod numbers;
mod plain;
mod secrets;
mod signs;
mod sweep;
#[cfg(test)]
mod tests;

use super::class::Class;
use sweep::Sweep;

/// A sensitive span of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub start: usize,
    pub end: usize,
    pub class: Class,
}

/// How much a value must prove by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Demand {
    /// A check digit is proof enough for a number without any form.
    #[default]
    Check,
    /// The column's name says that its numbers are something else (orders,
    /// versions, times): only forms that nothing else has.
    Form,
}

/// Finds what is sensitive in a cell of text. `found` is cleared first.
#[inline]
pub fn scan(cell: &[u8], demand: Demand, found: &mut Vec<Found>) {
    found.clear();
    Sweep::new(cell, demand, found).go();
    if found.len() > 1 {
        untangle(found);
    }
}

/// Whether anything is sensitive in a cell of text.
pub fn any(cell: &[u8], demand: Demand) -> bool {
    let mut found = Vec::new();
    scan(cell, demand, &mut found);
    !found.is_empty()
}

/// In order and without overlap: of two, the one that begins first stays, then the
/// longer one; of the other what is beyond it. `user:password@host` is no address.
fn untangle(found: &mut Vec<Found>) {
    found.sort_by_key(|one| {
        (one.start, one.class != Class::ConnectionString, std::cmp::Reverse(one.end))
    });
    let (mut end, mut class) = (0, None);
    found.retain_mut(|one| {
        let address = one.class == Class::Email && class == Some(Class::ConnectionString);
        if one.end <= end || one.start < end && address {
            return false;
        }
        one.start = one.start.max(end);
        (end, class) = (one.end, Some(one.class));
        true
    });
}

fn is_word(sign: u8) -> bool {
    sign.is_ascii_alphanumeric() || sign == b'_' || sign >= 0x80
}

/// The sign before a place, and the one at it.
fn before(cell: &[u8], place: usize) -> Option<u8> {
    cell.get(place.checked_sub(1)?).copied()
}
