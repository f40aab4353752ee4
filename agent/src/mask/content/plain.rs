//! Cells that are a UUID, a date or a time and nothing else: no scanner finds
//! anything in them, and they are many, and slow to scan.

use super::signs::Signs;

/// Of a cell of less than a block.
#[inline]
pub(super) fn is(cell: &[u8], signs: Signs) -> bool {
    is_time(cell, signs) || is_uuid(cell, signs)
}

#[inline]
fn is_uuid(cell: &[u8], signs: Signs) -> bool {
    const ALL: u64 = (1 << 36) - 1;
    const DASHES: u64 = 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23;
    cell.len() == 36 && signs.dashes == DASHES && signs.words == ALL & !DASHES && signs.parts == ALL
}

/// `2024-05-06`, `2024-05-06 07:08:09.123456+00`, `2024-05-06T07:08:09Z`.
#[inline]
fn is_time(cell: &[u8], signs: Signs) -> bool {
    const DATE: u64 = (1 << 10) - 1;
    const DAY: u64 = 0b11_0110_1111;
    const DASHES: u64 = 0b00_1001_0000;
    const TIME: u64 = 0b1_1011_0110 << 10;
    if signs.digits & DATE != DAY || signs.dashes & DATE != DASHES {
        return false;
    }
    if cell.len() == 10 {
        return true;
    }
    let Some([b' ' | b'T', _, _, b':', _, _, b':', _, _, rest @ ..]) = cell.get(10..) else {
        return false;
    };
    signs.digits & TIME == TIME && is_rest(rest)
}

/// A part of a second, and the zone.
fn is_rest(rest: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|sign| sign.is_ascii_digit()).count();
    let zone = match rest {
        [b'.', part @ ..] => match digits(part) {
            count @ 1..=9 => part.get(count..).unwrap_or_default(),
            _ => return false,
        },
        _ => rest,
    };
    match zone {
        [] | [b'Z'] => true,
        [b'+' | b'-', h, i] => [h, i].iter().all(|sign| sign.is_ascii_digit()),
        [b'+' | b'-', h, i, b':', m, n] | [b'+' | b'-', h, i, m, n] => {
            [h, i, m, n].iter().all(|sign| sign.is_ascii_digit())
        }
        _ => false,
    }
}
