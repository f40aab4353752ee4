//! One way through a cell, from its first block to its last: leads every place
//! at which something may be to the scanner that knows it.
//!
//! INVARIANT: every scanner that goes on from a place keeps a floor, and takes
//! no byte before it again: that is what makes the whole linear.

use super::signs::{BLOCK, Signs, is_key, is_part};
use super::{Demand, Found, alnum, before, iban, mail, network, numbers, plain, secrets};

pub(super) struct Sweep<'c> {
    cell: &'c [u8],
    demand: Demand,
    found: &'c mut Vec<Found>,
    keys: Trail,
    parts: Trail,
    dashes: Trail,
    cluster: numbers::Cluster,
    floors: Floors,
}

/// So many digits are looked at in the middle of a word too.
const LONG: u32 = numbers::LEAST_DIGITS as u32;

/// Where each scanner goes on.
#[derive(Debug, Default)]
struct Floors {
    keys: usize,
    parts: usize,
    armour: usize,
    words: usize,
    ibans: usize,
    mail: usize,
    hashes: usize,
    assigned: usize,
}

/// How many signs of a kind the block before ended with.
#[derive(Clone, Copy, Debug, Default)]
struct Trail(u32);

impl Trail {
    /// The places in this block at which `least` signs of the kind, or more, end.
    #[inline]
    fn ends(&mut self, bits: u64, least: u32) -> u64 {
        let before = std::mem::replace(&mut self.0, bits.leading_ones());
        if before > 0 && bits & 1 != 0 {
            let long = u128::from(bits) << BLOCK | u128::from(!0_u64 << (u64::BITS - before));
            return (ends(long, least) >> BLOCK) as u64;
        }
        ends(bits, least)
    }
}

/// The bits at which so many set ones, or more, end.
#[inline]
fn ends<B>(mut bits: B, least: u32) -> B
where
    B: Copy + std::ops::Shl<u32, Output = B> + std::ops::BitAnd<Output = B>,
{
    let mut length = 1;
    while length < least {
        let step = length.min(least - length);
        bits = bits & (bits << step);
        length += step;
    }
    bits
}

/// How many bits are set between two places, if both are in this block.
#[inline]
fn within(base: usize, bits: u64, start: usize, end: usize) -> Option<u32> {
    let (first, length) = (start.checked_sub(base)?, end - start);
    let inside = length < BLOCK && first + length < BLOCK;
    inside.then(|| (bits >> first & !(!0 << length)).count_ones())
}

/// The bits of runs of so many set ones, or more.
#[inline]
fn runs(bits: u64, least: u32) -> u64 {
    let (mut runs, mut length) = (ends(bits, least), 1);
    while length < least {
        let step = length.min(least - length);
        runs |= runs >> step;
        length += step;
    }
    runs
}

impl<'c> Sweep<'c> {
    pub fn new(cell: &'c [u8], demand: Demand, found: &'c mut Vec<Found>) -> Self {
        Self {
            cell,
            demand,
            found,
            keys: Trail::default(),
            parts: Trail::default(),
            dashes: Trail::default(),
            cluster: numbers::Cluster::default(),
            floors: Floors::default(),
        }
    }

    /// Goes through the cell.
    #[inline]
    pub fn go(mut self) {
        let (blocks, rest) = self.cell.as_chunks::<BLOCK>();
        let mut base = 0;
        for block in blocks {
            self.block(base, Signs::of(block));
            base += BLOCK;
        }
        if !rest.is_empty() {
            let signs = match self.cell.last_chunk::<BLOCK>() {
                Some(last) => Signs::of(last).behind(BLOCK - rest.len()),
                None => Signs::of_short(rest),
            };
            if base == 0 && plain::is(rest, signs) {
                return;
            }
            self.block(base, signs);
        }
        self.close_cluster();
    }

    #[inline]
    fn block(&mut self, base: usize, signs: Signs) {
        let keys = self.keys.ends(signs.keys, secrets::LEAST);
        if keys != 0 {
            self.words_of_keys(base, signs, keys);
        }
        let parts = self.parts.ends(signs.parts, network::LEAST);
        if parts != 0 {
            self.addresses(base, signs, parts);
        }
        let dashes = self.dashes.ends(signs.dashes, secrets::ARMOUR);
        if dashes != 0 {
            self.armours(base, dashes);
        }
        if signs.marks != 0 {
            self.marks(base, signs.marks);
        }
        if signs.digits != 0 {
            self.digits(base, signs.digits, signs.words);
        }
    }

    fn words_of_keys(&mut self, base: usize, signs: Signs, ends: u64) {
        for place in places(base, ends) {
            if place >= self.floors.keys {
                let start = place + 1 - secrets::LEAST as usize;
                let end = self.end(base, signs.keys, place, is_key);
                let joints = within(base, signs.keys & !signs.words, start, end);
                if joints != Some(0) || secrets::may_begin(self.cell, start) {
                    secrets::word(self.cell, start, end, self.found);
                }
                self.floors.keys = end;
            }
        }
    }

    fn addresses(&mut self, base: usize, signs: Signs, ends: u64) {
        for place in places(base, ends) {
            if place >= self.floors.parts {
                let start = place + 1 - network::LEAST as usize;
                let end = self.end(base, signs.parts, place, is_part);
                let joints = within(base, signs.parts & !signs.words, start, end);
                if joints.is_none_or(|joints| joints >= network::LEAST_JOINTS) {
                    network::run(self.cell, start, end, self.found);
                }
                self.floors.parts = end;
            }
        }
    }

    /// Where the signs of a kind end that are at a place of this block.
    #[inline]
    fn end(&self, base: usize, bits: u64, place: usize, is: impl Fn(u8) -> bool) -> usize {
        let end = place + (bits >> (place - base)).trailing_ones() as usize;
        if end < base + BLOCK {
            return end;
        }
        let ahead = self.cell.get(end..).unwrap_or_default();
        end + ahead.iter().take_while(|sign| is(**sign)).count()
    }

    fn armours(&mut self, base: usize, ends: u64) {
        for place in places(base, ends) {
            let start = place + 1 - secrets::ARMOUR as usize;
            if start >= self.floors.armour
                && let Some(end) = secrets::private_key(self.cell, start, self.found)
            {
                self.floors.armour = end;
            }
        }
    }

    fn marks(&mut self, base: usize, marks: u64) {
        let cell = self.cell;
        for place in places(base, marks) {
            match cell.get(place) {
                Some(b'@' | b'%' | b'#' | b'\\') => self.mail(place),
                Some(b'$' | b'{') if place >= self.floors.hashes => {
                    self.floors.hashes = secrets::hash(cell, place, self.floors.hashes, self.found);
                }
                Some(sign @ (b':' | b'=')) => {
                    match sign {
                        b':' => secrets::credentials(cell, place, self.found),
                        _ => self.mail(place),
                    }
                    if place >= self.floors.assigned
                        && let Some(end) = secrets::assigned(cell, place, self.found)
                    {
                        self.floors.assigned = end;
                    }
                }
                _ => {}
            }
        }
    }

    fn mail(&mut self, place: usize) {
        if place >= self.floors.mail
            && let Some(sign) = mail::sign(self.cell, place)
            && let Some(end) = mail::at(self.cell, sign, self.floors.mail, self.found)
        {
            self.floors.mail = end;
        }
    }

    fn digits(&mut self, base: usize, mut digits: u64, words: u64) {
        while digits != 0 {
            let first = digits.trailing_zeros();
            let length = (digits >> first).trailing_ones();
            // Adding to the lowest bit of the run carries through all of it.
            digits &= digits.wrapping_add(1 << first);
            let begin = first + 1 - (words << (u64::BITS - 1 - first)).leading_ones();
            let end = first + (words >> first).trailing_ones();
            let escape = first - begin < 2
                && matches!(before(self.cell, base + begin as usize), Some(b'%' | b'='));
            if first + length < end && !escape {
                // Within a word only its own first and last digits may be of a number,
                // and what is long.
                let last = end - (digits << (u64::BITS - end)).leading_ones();
                let rest = u64::MAX.checked_shl(last).unwrap_or_default();
                digits &= rest | runs(digits, LONG);
            }
            let start = base + first as usize;
            if start >= self.floors.words && alnum::may_be(self.cell, start, length as usize) {
                self.word(base + begin as usize, base + end as usize, base);
            }
            if start >= self.floors.ibans
                && iban::may_be(self.cell, start)
                && let Some(end) = iban::at(self.cell, start, self.found)
            {
                self.floors.ibans = end;
            }
            if first == begin || first + length == end || length >= LONG {
                self.cluster(start, length as usize);
            }
        }
    }

    /// A word with a digit, of which so much is in this block.
    fn word(&mut self, mut start: usize, mut end: usize, base: usize) {
        let floor = self.floors.words;
        if start == base {
            let behind = self.cell.get(floor..start).unwrap_or_default();
            start -= behind.iter().rev().take_while(|sign| alnum::is_word(**sign)).count();
        }
        if end == base + BLOCK {
            let ahead = self.cell.get(end..).unwrap_or_default();
            end += ahead.iter().take_while(|sign| alnum::is_word(**sign)).count();
        }
        self.floors.words = alnum::word(self.cell, start, end, floor, self.found);
    }

    #[inline]
    fn cluster(&mut self, start: usize, length: usize) {
        let gap = self.cell.get(self.cluster.end..start).unwrap_or_default();
        if gap.len() > numbers::WIDEST_GAP || !gap.iter().all(numbers::is_joint) {
            self.close_cluster();
            self.cluster = numbers::Cluster { start, end: start, digits: 0 };
        }
        self.cluster.end = start + length;
        self.cluster.digits += length;
    }

    #[inline]
    fn close_cluster(&mut self) {
        if numbers::may_be(self.cell, self.cluster) {
            numbers::scan(self.cell, self.cluster, self.demand, self.found);
        }
    }
}

fn places(base: usize, bits: u64) -> Places {
    Places { base, bits }
}

/// The places of the bits that are set.
struct Places {
    base: usize,
    bits: u64,
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let place = self.base + self.bits.trailing_zeros() as usize;
        let some = self.bits != 0;
        self.bits &= self.bits.wrapping_sub(1);
        some.then_some(place)
    }
}
