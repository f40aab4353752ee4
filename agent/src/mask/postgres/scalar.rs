//! Values without parts, in both formats.
//!
//! INVARIANT: whatever the input, what is written is a valid value of the type;
//! where that can't be, NULL.

use super::cell::Shown;
use crate::mask::class::Class;
use crate::mask::marks;
use crate::mask::style::Mask;
use crate::mask::value::{self, Hand};

fn made(bytes: &[u8], out: &mut Vec<u8>) -> Shown {
    out.extend_from_slice(bytes);
    Shown::Made
}

pub(super) fn boolean(binary: bool, out: &mut Vec<u8>) -> Shown {
    made(if binary { &[0] } else { b"f" }, out)
}

/// A whole number's digits as text, without allocating.
#[derive(Debug)]
pub(super) struct Digits {
    room: [u8; 48],
}

impl Default for Digits {
    fn default() -> Self {
        Self { room: [0; 48] }
    }
}

impl Digits {
    pub fn of_int(&mut self, value: &[u8]) -> &[u8] {
        match read_int(value) {
            Some(number) => self.write(number.unsigned_abs().into()),
            None => b"",
        }
    }

    /// Of a binary numeric without decimals.
    pub fn of_numeric(&mut self, value: &[u8]) -> &[u8] {
        let Some((weight, scale, digits)) = numeric_parts(value) else { return b"" };
        // More than thirteen groups of four don't fit, and mean nothing here.
        if scale != 0 || !(0..=6).contains(&weight) {
            return b"";
        }
        let mut number = 0_u128;
        let mut groups = digits.as_chunks().0.iter();
        for _ in 0..=weight {
            let group = groups.next().map_or(0, |group| u16::from_be_bytes(*group));
            number = number.saturating_mul(10_000).saturating_add(group.into());
        }
        self.write(number)
    }

    fn write(&mut self, mut number: u128) -> &[u8] {
        let mut place = self.room.len();
        while let Some(slot) = place.checked_sub(1).and_then(|place| self.room.get_mut(place)) {
            *slot = b'0' + (number % 10) as u8;
            number /= 10;
            place -= 1;
            if number == 0 {
                break;
            }
        }
        self.room.get(place..).unwrap_or_default()
    }
}

fn read_int(value: &[u8]) -> Option<i64> {
    match value.len() {
        2 => value.first_chunk().map(|bytes| i16::from_be_bytes(*bytes).into()),
        4 => value.first_chunk().map(|bytes| i32::from_be_bytes(*bytes).into()),
        8 => value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)),
        _ => None,
    }
}

/// What stays of a whole number.
fn kept(hand: &Hand, class: Class, mask: Mask, text: &[u8], most: u64) -> u64 {
    let digits = text.iter().filter(|sign| sign.is_ascii_digit());
    match mask {
        Mask::Hash => hand.key.number(text) % most,
        Mask::Partial if !matches!(class, Class::Opaque | Class::CardVerification) => {
            let count = digits.clone().count();
            let stays = value::kept(count);
            digits.skip(count - stays).fold(0, |sum, sign| sum * 10 + u64::from(sign - b'0'))
        }
        // A year stays.
        Mask::Truncate if class == Class::BirthDate && text.len() == 4 => {
            digits.fold(0, |sum, sign| sum * 10 + u64::from(sign - b'0'))
        }
        _ => 0,
    }
}

pub(super) fn int(
    hand: &Hand,
    size: u8,
    binary: bool,
    class: Class,
    mask: Mask,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let most = match size {
        2 => i16::MAX as u64,
        4 => i32::MAX as u64,
        _ => i64::MAX as u64,
    };
    let mut digits = Digits::default();
    let text = if binary { digits.of_int(value) } else { value };
    let number = kept(hand, class, mask, text, most).min(most);
    if !binary {
        return made(Digits::default().write(number.into()), out);
    }
    match size {
        2 => made(&(number as i16).to_be_bytes(), out),
        4 => made(&(number as i32).to_be_bytes(), out),
        _ => made(&number.cast_signed().to_be_bytes(), out),
    }
}

pub(super) fn float(size: u8, binary: bool, mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    let number = match (binary, size) {
        (false, _) => str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
        (true, 4) => value.first_chunk().map(|bytes| f32::from_be_bytes(*bytes).into()),
        (true, _) => value.first_chunk().map(|bytes| f64::from_be_bytes(*bytes)),
    };
    let number = coarse(number.unwrap_or_default(), mask);
    match (binary, size) {
        (false, _) => made(format!("{number}").as_bytes(), out),
        (true, 4) => made(&(number as f32).to_be_bytes(), out),
        (true, _) => made(&number.to_be_bytes(), out),
    }
}

/// On the grid, or nothing.
fn coarse(number: f64, mask: Mask) -> f64 {
    match mask {
        Mask::Truncate if number.is_finite() && number.abs() < 1e9 => {
            (number * 10.0).trunc() / 10.0
        }
        _ => 0.0,
    }
}

/// Weight, decimals and digits of a binary numeric; not of NaN and infinity.
fn numeric_parts(value: &[u8]) -> Option<(i16, u16, &[u8])> {
    let (head, digits) = value.split_first_chunk::<8>()?;
    let [c0, c1, w0, w1, s0, s1, d0, d1] = *head;
    let sign = u16::from_be_bytes([s0, s1]);
    let count = u16::from_be_bytes([c0, c1]);
    (matches!(sign, 0 | 0x4000) && digits.len() == usize::from(count) * 2)
        .then(|| (i16::from_be_bytes([w0, w1]), u16::from_be_bytes([d0, d1]), digits))
}

pub(super) fn numeric(
    hand: &Hand,
    binary: bool,
    class: Class,
    mask: Mask,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let position = class == Class::GeoPosition && mask == Mask::Truncate;
    if !binary {
        if position && value::grid(value, out) {
            return Shown::Made;
        }
        let plain = value.iter().all(u8::is_ascii_digit);
        let number = if plain { kept(hand, class, mask, value, 1_000_000_000_000_000) } else { 0 };
        out.extend_from_slice(Digits::default().write(number.into()));
        // As many decimals as before.
        if let Some(point) = value.iter().position(|sign| *sign == b'.') {
            let decimals = value.len() - point - 1;
            out.push(b'.');
            out.resize(out.len() + decimals.min(MOST_DECIMALS), b'0');
        }
        return Shown::Made;
    }
    let Some((weight, scale, groups)) = numeric_parts(value) else {
        return made(&[0; 8], out);
    };
    let [scale0, scale1] = scale.to_be_bytes();
    if position {
        // Groups of four digits before the point, and the first digit behind it.
        let sign = value.get(4..6).unwrap_or_default();
        let whole = usize::try_from(weight + 1).unwrap_or_default();
        let mut kept: Vec<u16> =
            groups.as_chunks().0.iter().map(|group| u16::from_be_bytes(*group)).collect();
        kept.truncate(whole + usize::from(weight >= -1));
        if let (Some(last), true) = (kept.get_mut(whole), weight >= -1) {
            *last -= *last % 1000;
        }
        if kept.iter().any(|group| *group != 0) {
            out.extend_from_slice(&(kept.len() as u16).to_be_bytes());
            out.extend_from_slice(&weight.to_be_bytes());
            out.extend_from_slice(sign);
            out.extend_from_slice(&[scale0, scale1]);
            for group in kept {
                out.extend_from_slice(&group.to_be_bytes());
            }
            return Shown::Made;
        }
    }
    let mut digits = Digits::default();
    let text = digits.of_numeric(value);
    let number = kept(hand, class, mask, text, 1_000_000_000_000_000);
    let mut groups = [0_u16; 5];
    let mut count = 0_u16;
    let mut rest = number;
    for group in groups.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *group = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&count.saturating_sub(1).to_be_bytes());
    out.extend_from_slice(&[0, 0, scale0, scale1]);
    for group in groups.iter().skip(groups.len() - usize::from(count)) {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Shown::Made
}

/// A numeric has no more decimals than this.
const MOST_DECIMALS: usize = 16_383;

/// The locale's way of writing stays, the digits don't.
pub(super) fn money(binary: bool, value: &[u8], out: &mut Vec<u8>) -> Shown {
    if binary {
        return made(&[0; 8], out);
    }
    out.extend(value.iter().map(|sign| if sign.is_ascii_digit() { b'0' } else { *sign }));
    Shown::Made
}

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Days from 2000-01-01 to the first day of the year that this day is in.
fn year_start(days: i64) -> i64 {
    // Days since 0000-03-01, in years that begin in March.
    let shifted = days + 730_425;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // January and February belong to the year that March began before.
    let year = year + era * 400 + i64::from(of_year >= 306);
    days_from_year(year)
}

/// The first of January.
fn days_from_year(year: i64) -> i64 {
    let before = year - 1;
    let era = before.div_euclid(400);
    let of_era = before.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + 306 - 730_425
}

pub(super) fn date(binary: bool, mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    if !binary {
        return date_text(mask, value, out);
    }
    let Some(days) = value.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) else {
        return Shown::Null;
    };
    let endless = matches!(days, i32::MAX | i32::MIN);
    let days = match mask {
        _ if endless => days,
        Mask::Truncate | Mask::Partial => year_start(days.into()) as i32,
        _ => EPOCH_DAY,
    };
    made(&days.to_be_bytes(), out)
}

/// 1970-01-01, counted from 2000-01-01.
const EPOCH_DAY: i32 = -10_957;

/// In whatever DateStyle: the year stays, or 1970 stands for it; everything
/// else is the first, and midnight.
fn date_text(mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    if value.ends_with(b"infinity") {
        return made(value, out);
    }
    let start = out.len();
    let (value, era) = match value.strip_suffix(b" BC") {
        Some(value) => (value, b" BC".as_slice()),
        None => (value, b"".as_slice()),
    };
    let keeps = matches!(mask, Mask::Truncate | Mask::Partial);
    // 1990-03-25 …, 03/25/1990 …, 25.03.1990 …
    let length =
        value.iter().take_while(|sign| sign.is_ascii_digit() || b"-/.".contains(sign)).count();
    let (day, rest) = value.split_at_checked(length).unwrap_or((value, b""));
    let mut years = 0;
    let mut parts = 0;
    let mut place = 0;
    while place < day.len() {
        let run = day.get(place..).unwrap_or_default();
        let digits = run.iter().take_while(|sign| sign.is_ascii_digit()).count();
        let run = run.get(..digits).unwrap_or_default();
        match digits {
            4..=7 => {
                years += 1;
                out.extend_from_slice(if keeps { run } else { b"1970" });
            }
            2 => out.extend_from_slice(b"01"),
            _ => {
                out.truncate(start);
                return Shown::Null;
            }
        }
        parts += 1;
        place += digits;
        if let Some(sign) = day.get(place) {
            out.push(*sign);
            place += 1;
        }
    }
    if years != 1 || parts != 3 {
        out.truncate(start);
        return Shown::Null;
    }
    if let Some(clock) = rest.first() {
        if !matches!(clock, b' ' | b'T') {
            out.truncate(start);
            return Shown::Null;
        }
        out.push(*clock);
        out.extend_from_slice(b"00:00:00");
        out.extend_from_slice(zone(rest));
    }
    out.extend_from_slice(if keeps { era } else { b"" });
    Shown::Made
}

/// What follows the time of day: `+02`, `-03:30`, ` UTC`.
fn zone(rest: &[u8]) -> &[u8] {
    let clock = rest.get(1..).unwrap_or_default();
    let length = clock
        .iter()
        .take_while(|sign| sign.is_ascii_digit() || matches!(sign, b':' | b'.'))
        .count();
    clock.get(length..).unwrap_or_default()
}

pub(super) fn timestamp(binary: bool, mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    if !binary {
        return date_text(mask, value, out);
    }
    let Some(micros) = value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)) else {
        return Shown::Null;
    };
    let micros = match mask {
        _ if matches!(micros, i64::MAX | i64::MIN) => micros,
        Mask::Truncate | Mask::Partial => {
            let days = year_start(micros.div_euclid(MICROS_A_DAY));
            // The first representable year begins before time does.
            days.checked_mul(MICROS_A_DAY).unwrap_or(micros)
        }
        _ => i64::from(EPOCH_DAY) * MICROS_A_DAY,
    };
    made(&micros.to_be_bytes(), out)
}

pub(super) fn time(binary: bool, zoned: bool, value: &[u8], out: &mut Vec<u8>) -> Shown {
    match (binary, zoned) {
        (true, false) => made(&[0; 8], out),
        (true, true) => made(&[0; 12], out),
        (false, _) => {
            out.extend_from_slice(b"00:00:00");
            if zoned {
                let end = value
                    .iter()
                    .position(|sign| matches!(sign, b'+' | b'-'))
                    .and_then(|place| value.get(place..));
                out.extend_from_slice(end.unwrap_or(b"+00"));
            }
            Shown::Made
        }
    }
}

/// Nothing, in the style of the session.
pub(super) fn interval(binary: bool, value: &[u8], out: &mut Vec<u8>) -> Shown {
    let text: &[u8] = match value.first() {
        _ if binary => return made(&[0; 16], out),
        Some(b'P') => b"PT0S",
        Some(b'@') => b"@ 0",
        _ => b"00:00:00",
    };
    made(text, out)
}

pub(super) fn uuid(
    hand: &Hand,
    binary: bool,
    mask: Mask,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let mut bytes = [0_u8; 16];
    if mask == Mask::Hash {
        let plain = if binary {
            value.to_vec()
        } else {
            let digits: Vec<u8> = value.iter().copied().filter(|sign| *sign != b'-').collect();
            unhex(&digits)
        };
        bytes = marks::uuid(&hand.key, &plain);
    }
    if binary {
        return made(&bytes, out);
    }
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        value::hex(&[*byte], 1, out);
    }
    Shown::Made
}

pub(super) fn network(binary: bool, mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    let keeps = matches!(mask, Mask::Truncate | Mask::Partial);
    if !binary {
        if keeps && value::network(value, out) {
            return Shown::Made;
        }
        return made(if value.contains(&b':') { b"::" } else { b"0.0.0.0" }, out);
    }
    // Family, bits, whether cidr, length, address.
    let Some((head, address)) = value.split_first_chunk::<4>() else { return Shown::Null };
    let stays = match (keeps, address.len()) {
        (false, 4 | 16) => 0,
        (true, 4) => 3,
        (true, 16) => 6,
        _ => return Shown::Null,
    };
    out.extend_from_slice(head);
    out.extend(
        address.iter().enumerate().map(|(place, byte)| if place < stays { *byte } else { 0 }),
    );
    Shown::Made
}

pub(super) fn mac(size: u8, binary: bool, mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    let keeps = matches!(mask, Mask::Truncate | Mask::Partial);
    if binary {
        let size = usize::from(size);
        out.extend((0..size).map(|place| match value.get(place) {
            Some(byte) if keeps && place < 3 => *byte,
            _ => 0,
        }));
        return Shown::Made;
    }
    if keeps && value::maker(value, out) {
        return Shown::Made;
    }
    made(if size == 8 { b"00:00:00:00:00:00:00:00" } else { b"00:00:00:00:00:00" }, out)
}

pub(super) fn bytes(
    hand: &Hand,
    binary: bool,
    mask: Mask,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    if !binary {
        out.extend_from_slice(b"\\x");
    }
    if mask == Mask::Hash {
        let plain = match value.strip_prefix(b"\\x") {
            Some(digits) if !binary => unhex(digits),
            _ => value.to_vec(),
        };
        let mark = marks::bytes(&hand.key, &plain);
        if binary {
            out.extend_from_slice(&mark);
        } else {
            value::hex(&mark, mark.len(), out);
        }
    }
    Shown::Made
}

pub(super) fn bits(binary: bool, value: &[u8], out: &mut Vec<u8>) -> Shown {
    if binary {
        let Some((length, bits)) = value.split_first_chunk::<4>() else { return Shown::Null };
        out.extend_from_slice(length);
        out.resize(out.len() + bits.len(), 0);
    } else {
        out.resize(out.len() + value.len(), b'0');
    }
    Shown::Made
}

/// Points and what is made of them: `head` bytes, then a double for each number.
pub(super) fn points(head: u8, binary: bool, mask: Mask, value: &[u8], out: &mut Vec<u8>) -> Shown {
    if binary {
        let Some((head, numbers)) = value.split_at_checked(usize::from(head)) else {
            return Shown::Null;
        };
        let (numbers, left) = numbers.as_chunks::<8>();
        if !left.is_empty() {
            return Shown::Null;
        }
        out.extend_from_slice(head);
        for number in numbers {
            out.extend_from_slice(&coarse(f64::from_be_bytes(*number), mask).to_be_bytes());
        }
        return Shown::Made;
    }
    let is_part = |sign: &u8| sign.is_ascii_digit() || b"+-.eE".contains(sign);
    let mut place = 0;
    while let Some(sign) = value.get(place) {
        if !is_part(sign) {
            out.push(*sign);
            place += 1;
            continue;
        }
        let run = value.get(place..).unwrap_or_default();
        let length = run.iter().take_while(|sign| is_part(sign)).count();
        let number = run.get(..length).and_then(|run| str::from_utf8(run).ok());
        let number = number.and_then(|text| text.parse().ok()).unwrap_or_default();
        out.extend_from_slice(format!("{}", coarse(number, mask)).as_bytes());
        place += length;
    }
    Shown::Made
}

pub(super) fn unhex(digits: &[u8]) -> Vec<u8> {
    let value = |sign: u8| char::from(sign).to_digit(16).unwrap_or_default() as u8;
    digits.as_chunks::<2>().0.iter().map(|[high, low]| value(*high) << 4 | value(*low)).collect()
}
