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

/// An IBAN without its spaces, in capitals: country, length, what its account is
/// made of, mod 97.
pub fn iban(text: &[u8]) -> bool {
    let Some((&[a, b, ..], account)) = text.split_first_chunk::<4>() else {
        return false;
    };
    let Some((length, account_is)) = iban_of([a, b]) else { return false };
    let fits = match account_is {
        Account::Digits => account.iter().all(u8::is_ascii_digit),
        Account::Bank => account.iter().take(4).all(u8::is_ascii_uppercase),
        Account::Any => true,
    };
    if length != text.len() || !fits {
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

/// How long a country's IBANs are.
pub const fn iban_length(country: [u8; 2]) -> Option<usize> {
    match iban_of(country) {
        Some((length, _)) => Some(length),
        None => None,
    }
}

/// What an account is made of, by its country.
enum Account {
    Digits,
    /// Four letters of the bank's, then digits or letters.
    Bank,
    Any,
}

const fn iban_of(country: [u8; 2]) -> Option<(usize, Account)> {
    use Account::{Any, Bank, Digits};
    Some(match &country {
        b"NO" => (15, Digits),
        b"BE" => (16, Digits),
        b"DK" | b"FI" | b"FO" | b"GL" | b"SD" => (18, Digits),
        b"NL" => (18, Bank),
        b"FK" => (18, Any),
        b"SI" => (19, Digits),
        b"MK" => (19, Any),
        b"AT" | b"BA" | b"EE" | b"LT" | b"XK" | b"MN" => (20, Digits),
        b"KZ" | b"LU" => (20, Any),
        b"HR" => (21, Digits),
        b"LV" => (21, Bank),
        b"CH" | b"LI" => (21, Any),
        b"CR" | b"DE" | b"ME" | b"RS" | b"VA" => (22, Digits),
        b"BG" | b"BH" | b"GB" | b"IE" => (22, Bank),
        b"GE" => (22, Any),
        b"AE" | b"IL" | b"TL" | b"SO" => (23, Digits),
        b"GI" | b"IQ" => (23, Bank),
        b"OM" => (23, Any),
        b"CZ" | b"ES" | b"SE" | b"SK" | b"TN" => (24, Digits),
        b"PK" | b"RO" | b"VG" => (24, Bank),
        b"AD" | b"MD" | b"SA" => (24, Any),
        b"LY" | b"PT" | b"ST" => (25, Digits),
        b"IS" => (26, Digits),
        b"TR" => (26, Any),
        b"BI" | b"DJ" | b"MR" => (27, Digits),
        b"FR" | b"GR" | b"IT" | b"MC" | b"SM" => (27, Any),
        b"HU" | b"PL" => (28, Digits),
        b"AZ" | b"NI" | b"SV" => (28, Bank),
        b"AL" | b"BY" | b"CY" | b"DO" | b"GT" | b"LB" => (28, Any),
        b"EG" => (29, Digits),
        b"PS" | b"QA" => (29, Bank),
        b"BR" | b"UA" => (29, Any),
        b"JO" | b"KW" | b"MU" | b"YE" => (30, Bank),
        b"MT" | b"SC" => (31, Bank),
        b"LC" => (32, Bank),
        b"RU" => (33, Any),
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
