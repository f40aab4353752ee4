//! Cards, accounts and providers.

use super::{luhn, number};

/// A payment card: an issuer's range, the length that goes with it, Luhn.
pub fn card(digits: &[u8]) -> bool {
    let prefix = |count: usize| number(digits.get(..count).unwrap_or_default());
    let length = digits.len();
    let range = match (digits.first(), length) {
        // Visa.
        (Some(4), 13 | 16 | 19) => true,
        // American Express.
        (Some(3), 15) => matches!(prefix(2), 34 | 37) || matches!(prefix(4), 2131 | 1800),
        // Diners, and JCB's sixteen.
        (Some(3), 14) => matches!(prefix(3), 300..=305) || matches!(prefix(2), 36 | 38 | 39),
        (Some(3), 16..=19) => {
            (3528..=3589).contains(&prefix(4)) || matches!(prefix(2), 36 | 38 | 39)
        }
        // Mastercard, old and new.
        (Some(5), 16) => (51..=55).contains(&prefix(2)) || matches!(prefix(2), 50 | 56..=58),
        (Some(2), 16) => (2221..=2720).contains(&prefix(4)) || (2200..=2204).contains(&prefix(4)),
        // Discover, UnionPay, Maestro, RuPay.
        (Some(6), 16..=19) => {
            matches!(prefix(4), 6011)
                || (644..=649).contains(&prefix(3))
                || matches!(prefix(2), 62 | 63 | 65 | 67 | 60 | 64)
                || matches!(prefix(4), 6759 | 6761..=6763)
        }
        (Some(5), 12 | 13 | 15 | 17..=19) => matches!(prefix(2), 50 | 56..=58),
        (Some(8), 16) => matches!(prefix(2), 81 | 82),
        _ => false,
    };
    range && luhn(digits)
}

/// An IBAN without its spaces, in capitals: country, length, mod 97.
pub fn iban(text: &[u8]) -> bool {
    let Some((&[a, b, ..], account)) = text.split_first_chunk::<4>() else {
        return false;
    };
    if iban_length([a, b]) != Some(text.len()) {
        return false;
    }
    let Some(head) = text.first_chunk::<4>() else { return false };
    let mut remainder = 0_u32;
    for &sign in account.iter().chain(head) {
        remainder = match sign {
            b'0'..=b'9' => remainder * 10 + u32::from(sign - b'0'),
            b'A'..=b'Z' => remainder * 100 + u32::from(sign - b'A') + 10,
            _ => return false,
        } % 97;
    }
    remainder == 1
}

fn iban_length(country: [u8; 2]) -> Option<usize> {
    Some(match &country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"FO" | b"GL" | b"NL" | b"SD" | b"FK" => 18,
        b"MK" | b"SI" => 19,
        b"AT" | b"BA" | b"EE" | b"KZ" | b"LT" | b"LU" | b"XK" | b"MN" => 20,
        b"CH" | b"HR" | b"LI" | b"LV" => 21,
        b"BG" | b"BH" | b"CR" | b"DE" | b"GB" | b"GE" | b"IE" | b"ME" | b"RS" | b"VA" => 22,
        b"AE" | b"GI" | b"IL" | b"IQ" | b"TL" | b"OM" | b"SO" => 23,
        b"AD" | b"CZ" | b"ES" | b"MD" | b"PK" | b"RO" | b"SA" | b"SE" | b"SK" | b"TN" | b"VG" => 24,
        b"LY" | b"PT" | b"ST" => 25,
        b"IS" | b"TR" => 26,
        b"BI" | b"DJ" | b"FR" | b"GR" | b"IT" | b"MC" | b"MR" | b"SM" => 27,
        b"AL" | b"AZ" | b"BY" | b"CY" | b"DO" | b"GT" | b"HU" | b"LB" | b"NI" | b"PL" | b"SV" => 28,
        b"BR" | b"EG" | b"PS" | b"QA" | b"UA" => 29,
        b"JO" | b"KW" | b"MU" | b"YE" => 30,
        b"MT" | b"SC" => 31,
        b"LC" => 32,
        b"RU" => 33,
        _ => return None,
    })
}

/// A routing number of the American Bankers Association.
pub fn aba_routing(digits: &[u8]) -> bool {
    digits.len() == 9
        && super::weighted(digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
        && matches!(
            number(digits.get(..2).unwrap_or_default()),
            1..=12 | 21..=32 | 61..=72 | 80
        )
}

/// A provider of health care in the US: Luhn over 80840 and the number.
pub fn npi(digits: &[u8]) -> bool {
    digits.len() == 10
        && matches!(digits.first(), Some(1 | 2))
        && luhn(&[&[8, 0, 8, 4, 0], digits].concat())
}
