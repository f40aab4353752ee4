//! The gate: what a cell's bytes allow it to hold.

const DIGIT: u16 = 1;
const LETTER: u16 = 1 << 1;
const AT: u16 = 1 << 2;
const COLON: u16 = 1 << 3;
const DOT: u16 = 1 << 4;
const DASH: u16 = 1 << 5;
const EQUALS: u16 = 1 << 6;
const DOLLAR: u16 = 1 << 7;
const BRACE: u16 = 1 << 8;
const SPACE: u16 = 1 << 9;

const KINDS: [u16; 256] = {
    let mut kinds = [0_u16; 256];
    let mut sign = 0_usize;
    while sign < 256 {
        let kind = match sign as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'@' => AT,
            b':' => COLON,
            b'.' => DOT,
            b'-' => DASH,
            b'=' => EQUALS,
            b'$' => DOLLAR,
            b'{' => BRACE,
            b' ' => SPACE,
            _ => 0,
        };
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            kinds[sign] = kind;
        }
        sign += 1;
    }
    kinds
};

/// The least digits of anything that is found by its digits.
const LEAST_DIGITS: u32 = 8;
/// The least length of a run of key signs that may be a secret.
pub(super) const LEAST_SECRET: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    kinds: u16,
    digits: u32,
    length: usize,
    long: bool,
}

impl Gate {
    #[inline]
    pub fn of(cell: &[u8]) -> Self {
        let mut kinds = 0_u16;
        let mut digits = 0_u32;
        for &sign in cell {
            let kind = KINDS.get(usize::from(sign)).copied().unwrap_or_default();
            kinds |= kind;
            digits = digits.wrapping_add(u32::from(kind & DIGIT));
        }
        Self { kinds, digits, length: cell.len(), long: has_long_run(cell) }
    }

    fn has(self, kinds: u16) -> bool {
        self.kinds & kinds == kinds
    }

    #[inline]
    pub fn is_shut(self) -> bool {
        !(self.secrets() || self.mail() || self.network() || self.numbers() || self.alnum())
    }

    /// Keys, hashes, and words before a secret.
    #[inline]
    pub fn secrets(self) -> bool {
        self.long
            || self.has(EQUALS)
            || self.has(DOLLAR)
            || self.has(BRACE)
            || self.has(COLON | LETTER)
            // `-----BEGIN PRIVATE KEY`, with nothing behind it yet.
            || self.has(DASH | SPACE | LETTER) && self.length >= 22
    }

    #[inline]
    pub fn mail(self) -> bool {
        self.has(AT | DOT)
    }

    #[inline]
    pub fn network(self) -> bool {
        self.digits >= 4 && self.has(DOT)
            || self.has(COLON) && self.length >= 3
            || self.has(DASH) && self.length >= 17
            || self.has(DOT | LETTER) && self.length >= 14
    }

    #[inline]
    pub fn numbers(self) -> bool {
        self.digits >= LEAST_DIGITS
    }

    #[inline]
    pub fn alnum(self) -> bool {
        self.digits >= 4 && self.has(LETTER)
    }
}

/// A run of sixteen key signs covers a place that is a multiple of sixteen.
#[inline]
fn has_long_run(cell: &[u8]) -> bool {
    let mut place = LEAST_SECRET - 1;
    while let Some(&sign) = cell.get(place) {
        if is_key(sign) {
            let ahead = cell.get(place..).unwrap_or_default();
            let ahead = ahead.iter().take_while(|sign| is_key(**sign)).take(LEAST_SECRET).count();
            let behind = cell.get(..place).unwrap_or_default();
            let behind =
                behind.iter().rev().take_while(|sign| is_key(**sign)).take(LEAST_SECRET).count();
            if ahead + behind >= LEAST_SECRET {
                return true;
            }
        }
        place += LEAST_SECRET;
    }
    false
}

/// The signs that tokens are made of.
#[inline]
pub(super) fn is_key(sign: u8) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, b'_' | b'-' | b'.')
}
