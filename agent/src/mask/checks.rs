//! The arithmetic by which the world's numbers prove themselves: a number that
//! looks like one and fails its check isn't one.
//!
//! Digits are values 0–9, not signs. Never panics, whatever comes.

mod finance;
mod national;
#[cfg(test)]
mod tests;

pub use finance::{aba_routing, card, iban, iban_length, npi};
pub use national::*;

/// The check of cards and many other numbers (ISO/IEC 7812-1).
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| {
            let digit = u32::from(digit);
            match place % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Verhoeff's check, over the dihedral group of ten.
pub fn verhoeff(digits: &[u8]) -> bool {
    let product = |a: u8, b: u8| -> u8 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b - 5) % 5,
            (false, true) => 5 + (a + 10 - 5 - b) % 5,
            (false, false) => (a + 5 - b) % 5,
        }
    };
    // The permutation, applied as often as the place says.
    const ONCE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let permuted = |digit: u8, times: usize| -> u8 {
        (0..times % 8)
            .fold(digit, |digit, _| ONCE.get(usize::from(digit)).copied().unwrap_or_default())
    };
    !digits.is_empty()
        && digits
            .iter()
            .rev()
            .enumerate()
            .fold(0, |check, (place, &digit)| product(check, permuted(digit, place)))
            == 0
}

/// The sum of digits times weights.
fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&digit, weight)| u32::from(digit) * weight).sum()
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, &digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit)))
}

/// Whether all digits are the same: nobody's number, though many checks take it.
fn monotonous(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
}

/// Whether a day and a month can be.
pub(super) fn day_month(day: u64, month: u64) -> bool {
    (1..=31).contains(&day)
        && (1..=12).contains(&month)
        && !(month == 2 && day > 29)
        && !(matches!(month, 4 | 6 | 9 | 11) && day > 30)
}
