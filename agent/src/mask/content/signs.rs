//! What a cell's bytes are, sixty-four at a time: a bit for each byte and kind.
//!
//! Written without branches, so that it becomes a few instructions for sixteen
//! bytes and more.

/// So many bytes are looked at together.
pub(super) const BLOCK: usize = u64::BITS as usize;

const DIGIT: u8 = 1;
const KEY: u8 = 1 << 1;
const PART: u8 = 1 << 2;
const DASH: u8 = 1 << 3;
const MARK: u8 = 1 << 4;
const WORD: u8 = 1 << 5;
const JOINT: u8 = 1 << 6;

/// A block's signs. The lowest bit is the first byte's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs {
    pub digits: u64,
    /// What words are made of ([`super::alnum::is_word`]); only where there is a digit near.
    pub words: u64,
    /// What keys and tokens are made of: [`is_key`]; none in a cell that is too short.
    pub keys: u64,
    /// What addresses of the network are made of: [`is_part`]; none in a short cell
    /// where nothing could part them.
    pub parts: u64,
    pub dashes: u64,
    /// What something stands before or behind: `@`, `:`, `=`, `$`, `{`; and what an
    /// `@` may be written with: `%`, `#`, `\\`.
    pub marks: u64,
}

impl Signs {
    /// Of a block.
    #[inline]
    pub fn of(block: &[u8; BLOCK]) -> Self {
        let (kinds, any) = kinds(block);
        Self::of_kinds(any, |kind| gather(&kinds, kind))
    }

    /// Of what is a cell by itself, or a part of one with zeros behind.
    #[inline]
    fn of_one<const N: usize>(cell: &[u8; N], length: usize) -> Self {
        let (kinds, any) = kinds(cell);
        Self::of_kinds(lone(any, length), |kind| gather(&kinds, kind))
    }

    /// Of two, of which the second begins so many places behind the first's begin.
    #[inline]
    fn of_two<const N: usize>(head: &[u8; N], tail: &[u8; N], places: usize) -> Self {
        let ((heads, any), (tails, more)) = (kinds(head), kinds(tail));
        let any = lone(any | more, places + N);
        Self::of_kinds(any, |kind| gather(&heads, kind) | gather(&tails, kind) << places)
    }

    #[inline]
    fn of_kinds(any: u8, bits: impl Fn(u8) -> u64) -> Self {
        let of = |kind: u8| if any & kind == 0 { 0 } else { bits(kind) };
        Self {
            digits: of(DIGIT),
            words: if any & DIGIT == 0 { 0 } else { of(WORD) },
            keys: of(KEY),
            parts: of(PART),
            dashes: of(DASH),
            marks: of(MARK),
        }
    }

    /// Of less than a block: two halves that overlap, nothing is copied.
    #[inline]
    pub fn of_short(cell: &[u8]) -> Self {
        let length = cell.len();
        let bits = |bytes: usize| (length.saturating_sub(bytes) * 8) as u32;
        if let (Some(head), Some(tail)) = (cell.first_chunk::<32>(), cell.last_chunk::<32>()) {
            return Self::of_two(head, tail, length - 32);
        }
        if let (Some(head), Some(tail)) = (cell.first_chunk::<16>(), cell.last_chunk::<16>()) {
            return Self::of_two(head, tail, length - 16);
        }
        let (head, tail) = if let (Some(head), Some(tail)) = (cell.first_chunk(), cell.last_chunk())
        {
            let (head, tail) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
            (u128::from(head), u128::from(tail) << bits(8))
        } else if let (Some(head), Some(tail)) = (cell.first_chunk(), cell.last_chunk()) {
            let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
            (u128::from(head), u128::from(tail) << bits(4))
        } else {
            let at = |place: usize| {
                let sign = cell.get(place).copied().unwrap_or_default();
                u128::from(sign) << (place * 8)
            };
            (at(0) | at(1), at(2))
        };
        Self::of_one(&(head | tail).to_le_bytes(), length)
    }

    /// Without the first places.
    #[inline]
    pub fn behind(self, places: usize) -> Self {
        Self {
            digits: self.digits >> places,
            words: self.words >> places,
            keys: self.keys >> places,
            parts: self.parts >> places,
            dashes: self.dashes >> places,
            marks: self.marks >> places,
        }
    }
}

/// The kinds that count in a cell of less than a block: nothing goes on beyond it.
#[inline]
fn lone(any: u8, length: usize) -> u8 {
    let keys = if length < super::secrets::LEAST as usize { KEY } else { 0 };
    let parts = if any & JOINT == 0 { PART } else { 0 };
    any & !(keys | parts)
}

#[inline]
fn kinds<const N: usize>(block: &[u8; N]) -> ([u8; N], u8) {
    const { assert!(N <= BLOCK && N.is_multiple_of(8)) };
    let mut kinds = [0_u8; N];
    let mut any = 0;
    for (kind, &sign) in kinds.iter_mut().zip(block) {
        *kind = kinds_of(sign);
        any |= *kind;
    }
    (kinds, any)
}

/// Without branches and tables: for many signs at once.
#[inline]
const fn kinds_of(sign: u8) -> u8 {
    let low = (sign | 0x20).wrapping_sub(b'a');
    let digit = sign.wrapping_sub(b'0') < 10;
    let dash = sign == b'-';
    let joint = dash | (sign == b'.');
    let word = digit | (low < 26);
    let key = word | joint | (sign == b'_');
    let part = digit | (low < 6) | joint | (sign == b':');
    let mark = (sign == b'@') | (sign == b':') | (sign == b'=') | (sign == b'{') | (sign == b'\\');
    // `#`, `$`, `%`
    let mark = mark | (sign.wrapping_sub(b'#') < 3);
    of(DIGIT, digit)
        | of(KEY, key)
        | of(PART, part)
        | of(DASH, dash)
        | of(MARK, mark)
        | of(WORD, word)
        | of(JOINT, joint | (sign == b':'))
}

#[inline]
const fn of(kind: u8, is: bool) -> u8 {
    if is { kind } else { 0 }
}

/// One bit of every byte, side by side.
#[inline]
fn gather<const N: usize>(kinds: &[u8; N], kind: u8) -> u64 {
    let shift = kind.trailing_zeros();
    let mut bits = 0;
    for eight in kinds.as_chunks::<8>().0.iter().rev() {
        let ones = u64::from_le_bytes(*eight) >> shift & 0x0101_0101_0101_0101;
        // Moves the bit of each byte to its place in the highest byte.
        bits = bits << 8 | ones.wrapping_mul(0x0102_0408_1020_4080) >> 56;
    }
    bits
}

/// For one sign at a time.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut sign = 0;
    while sign < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            kinds[sign] = kinds_of(sign as u8);
        }
        sign += 1;
    }
    kinds
};

#[inline]
pub(super) fn is_key(sign: u8) -> bool {
    KINDS.get(usize::from(sign)).is_some_and(|kinds| kinds & KEY != 0)
}

#[inline]
pub(super) fn is_part(sign: u8) -> bool {
    KINDS.get(usize::from(sign)).is_some_and(|kinds| kinds & PART != 0)
}
