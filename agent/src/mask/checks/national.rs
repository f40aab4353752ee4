//! States' numbers for people and firms.

use super::{day_month, luhn, monotonous, number, verhoeff, weighted};

fn part(digits: &[u8], from: usize, count: usize) -> u64 {
    number(digits.get(from..from + count).unwrap_or_default())
}

/// Area, group and serial that were ever given out, and none of the well-known
/// examples.
pub fn us_ssn(digits: &[u8]) -> bool {
    digits.len() == 9
        && !matches!(part(digits, 0, 3), 0 | 666 | 900..)
        && part(digits, 3, 2) != 0
        && part(digits, 5, 4) != 0
        && !monotonous(digits)
}

pub fn us_itin(digits: &[u8]) -> bool {
    digits.len() == 9
        && digits.first() == Some(&9)
        && matches!(part(digits, 3, 2), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// `QQ123456C` in capitals, without spaces.
pub fn uk_nino(text: &[u8]) -> bool {
    let [a, b, digits @ .., last] = text else { return false };
    digits.len() == 6
        && digits.iter().all(u8::is_ascii_digit)
        && matches!(last, b'A'..=b'D')
        && a.is_ascii_uppercase()
        && b.is_ascii_uppercase()
        && !b"DFIQUV".contains(a)
        && !b"DFIOQUV".contains(b)
        && !matches!(&[*a, *b], b"BG" | b"GB" | b"NK" | b"KN" | b"TN" | b"NT" | b"ZZ")
}

pub fn uk_nhs(digits: &[u8]) -> bool {
    let [head @ .., last] = digits else { return false };
    let check = 11 - weighted(head, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    digits.len() == 10 && check != 10 && check % 11 == u32::from(*last) && !monotonous(digits)
}

/// The tax number of a person in Germany (ISO 7064 mod 11,10): of its first ten
/// digits one or two occur more than once, never all.
pub fn de_tax_id(digits: &[u8]) -> bool {
    let [head @ .., last] = digits else { return false };
    if digits.len() != 11 || head.first() == Some(&0) {
        return false;
    }
    let mut counts = [0_u8; 10];
    let mut product = 10_u32;
    for &digit in head {
        if let Some(count) = counts.get_mut(usize::from(digit)) {
            *count += 1;
        }
        let sum = match (u32::from(digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        product = sum * 2 % 11;
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or_default();
    repeated == 1 && (2..=3).contains(&most) && (11 - product) % 10 == u32::from(*last)
}

/// The French number of social security with its key, in capitals: the
/// department may be 2A or 2B.
pub fn fr_nir(text: &[u8]) -> bool {
    if text.len() != 15 {
        return false;
    }
    let mut digits = [0_u8; 15];
    let mut offset = 0;
    for (place, (digit, &sign)) in digits.iter_mut().zip(text).enumerate() {
        *digit = match (place, sign) {
            (_, b'0'..=b'9') => sign - b'0',
            (6, b'A') => {
                offset = 1_000_000;
                0
            }
            (6, b'B') => {
                offset = 2_000_000;
                0
            }
            _ => return false,
        };
    }
    let body = part(&digits, 0, 13);
    matches!(digits.first(), Some(1 | 2 | 3 | 4 | 7 | 8))
        && matches!(part(&digits, 3, 2), 1..=12 | 20..=42 | 50..=99)
        && (body.wrapping_sub(offset) % 97) + part(&digits, 13, 2) == 97
}

/// DNI (`12345678Z`) and NIE (`X1234567L`), in capitals.
pub fn es_dni(text: &[u8]) -> bool {
    let [first, digits @ .., last] = text else { return false };
    if text.len() != 9 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let lead = match first {
        b'0'..=b'9' => u64::from(first - b'0'),
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        _ => return false,
    };
    let number = digits.iter().fold(lead, |sum, sign| sum * 10 + u64::from(sign - b'0'));
    b"TRWAGMYFPDXBNJZSQVHLCKE".get((number % 23) as usize) == Some(last)
}

/// A code of sixteen signs with its check letter, in capitals; digits may be
/// written as letters where two persons would have the same code.
pub fn it_fiscal_code(text: &[u8]) -> bool {
    let [head @ .., last] = text else { return false };
    if text.len() != 16 {
        return false;
    }
    let is_digit = |sign: &u8| sign.is_ascii_digit() || b"LMNPQRSTUV".contains(sign);
    let fits = head.iter().enumerate().all(|(place, sign)| match place {
        0..=5 | 11 => sign.is_ascii_uppercase(),
        8 => b"ABCDEHLMPRST".contains(sign),
        _ => is_digit(sign),
    });
    // What a sign counts in an odd place.
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(place, &sign)| {
            let value = match sign {
                b'0'..=b'9' => sign - b'0',
                _ => sign.wrapping_sub(b'A'),
            };
            match place % 2 {
                0 => ODD.get(usize::from(value)).copied().unwrap_or_default(),
                _ => u32::from(value),
            }
        })
        .sum();
    fits && last.is_ascii_uppercase() && sum % 26 == u32::from(last - b'A')
}

pub fn nl_bsn(digits: &[u8]) -> bool {
    let [head @ .., last] = digits else { return false };
    digits.len() == 9
        && weighted(head, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == u32::from(*last)
        && !monotonous(digits)
}

pub fn pl_pesel(digits: &[u8]) -> bool {
    let month = part(digits, 2, 2);
    digits.len() == 11
        && day_month(part(digits, 4, 2), month % 20)
        && weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

pub fn be_nrn(digits: &[u8]) -> bool {
    let body = part(digits, 0, 9);
    let check = part(digits, 9, 2);
    let month = part(digits, 2, 2);
    digits.len() == 11
        && month % 20 <= 12
        && part(digits, 4, 2) <= 31
        && part(digits, 6, 3) != 0
        && (97 - body % 97 == check || 97 - (2_000_000_000 + body) % 97 == check)
}

/// 756 and the check of EAN-13.
pub fn ch_ahv(digits: &[u8]) -> bool {
    digits.len() == 13
        && part(digits, 0, 3) == 756
        && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// A date only: numbers given out since 2007 need not pass the old check.
pub fn dk_cpr(digits: &[u8]) -> bool {
    digits.len() == 10 && day_month(part(digits, 0, 2), part(digits, 2, 2))
}

pub fn no_fnr(digits: &[u8]) -> bool {
    let day = part(digits, 0, 2) % 40;
    let month = part(digits, 2, 2) % 40;
    digits.len() == 11
        && day_month(day, month)
        && weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// `131052-308T`, in capitals; the sign in the middle tells the century.
pub fn fi_hetu(text: &[u8]) -> bool {
    let (Some(date), Some(century), Some(serial), Some(check)) =
        (text.get(..6), text.get(6), text.get(7..10), text.get(10))
    else {
        return false;
    };
    if text.len() != 11
        || !b"+-YXWVUABCDEF".contains(century)
        || !date.iter().chain(serial).all(u8::is_ascii_digit)
    {
        return false;
    }
    let value = |signs: &[u8]| {
        signs.iter().fold(0_u64, |sum, sign| sum * 10 + u64::from(sign.wrapping_sub(b'0')))
    };
    day_month(value(date.get(..2).unwrap_or_default()), value(date.get(2..4).unwrap_or_default()))
        && b"0123456789ABCDEFHJKLMNPRSTUVWXY"
            .get(((value(date) * 1000 + value(serial)) % 31) as usize)
            == Some(check)
}

/// The ten digits without the century; a coordination number's day is 60 later.
pub fn se_personnummer(digits: &[u8]) -> bool {
    let day = part(digits, 4, 2);
    digits.len() == 10
        && day_month(if day > 60 { day - 60 } else { day }, part(digits, 2, 2))
        && luhn(digits)
}

fn mod11_zero(digits: &[u8], weights: &[u32]) -> u32 {
    match weighted(digits, weights) % 11 {
        0 | 1 => 0,
        remainder => 11 - remainder,
    }
}

pub fn br_cpf(digits: &[u8]) -> bool {
    let Some((body, [one, two])) = digits.split_last_chunk::<2>() else { return false };
    digits.len() == 11
        && !monotonous(digits)
        && mod11_zero(body, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) == u32::from(*one)
        && mod11_zero(digits, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == u32::from(*two)
}

pub fn br_cnpj(digits: &[u8]) -> bool {
    let Some((body, [one, two])) = digits.split_last_chunk::<2>() else { return false };
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    digits.len() == 14
        && !monotonous(digits)
        && mod11_zero(body, WEIGHTS.get(1..).unwrap_or_default()) == u32::from(*one)
        && mod11_zero(digits, &WEIGHTS) == u32::from(*two)
}

/// Eighteen signs in capitals: letters of the name, date, sex, state, check.
pub fn mx_curp(text: &[u8]) -> bool {
    let fits = text.len() == 18
        && text.iter().enumerate().all(|(place, sign)| match place {
            4..=9 | 17 => sign.is_ascii_digit(),
            10 => b"HMX".contains(sign),
            16 => sign.is_ascii_alphanumeric(),
            _ => sign.is_ascii_uppercase(),
        });
    let value = |from: usize| {
        text.get(from..from + 2)
            .unwrap_or_default()
            .iter()
            .fold(0, |sum, sign| sum * 10 + u64::from(sign.wrapping_sub(b'0')))
    };
    fits && day_month(value(8), value(6))
}

pub fn in_aadhaar(digits: &[u8]) -> bool {
    digits.len() == 12 && matches!(digits.first(), Some(2..=9)) && verhoeff(digits)
}

/// Five letters, four digits, one letter; the fourth says what kind of holder.
pub fn in_pan(text: &[u8]) -> bool {
    text.len() == 10
        && text.iter().enumerate().all(|(place, sign)| match place {
            3 => b"ABCFGHJLPT".contains(sign),
            5..=8 => sign.is_ascii_digit(),
            _ => sign.is_ascii_uppercase(),
        })
}

pub fn au_tfn(digits: &[u8]) -> bool {
    if match digits.len() {
        9 => weighted(digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11),
        8 => weighted(digits, &[10, 7, 8, 4, 6, 3, 5, 1]).is_multiple_of(11),
        _ => return false,
    } {
        !monotonous(digits)
    } else {
        Default::default()
    }
}

/// Ten digits, or eleven with the person's place on the card.
pub fn au_medicare(digits: &[u8]) -> bool {
    matches!(digits.len(), 10 | 11)
        && matches!(digits.first(), Some(2..=6))
        && digits.get(8).is_some_and(|check| {
            weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(*check)
        })
}

pub fn ca_sin(digits: &[u8]) -> bool {
    digits.len() == 9
        && !matches!(digits.first(), None | Some(0 | 8))
        && luhn(digits)
        && !monotonous(digits)
}

/// NRIC and FIN, in capitals.
pub fn sg_nric(text: &[u8]) -> bool {
    let [first, digits @ .., last] = text else { return false };
    if text.len() != 9 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .zip([2_u32, 7, 6, 5, 4, 3, 2])
        .map(|(sign, weight)| u32::from(sign - b'0') * weight)
        .sum();
    let (offset, letters): (u32, &[u8; 11]) = match first {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"KLJNPQRTUWX"),
        _ => return false,
    };
    let place = ((sum + offset) % 11) as usize;
    // The newest series reads its letters from the other end.
    let place = if *first == b'M' { 10 - place } else { place };
    letters.get(place) == Some(last)
}

/// Numbers given out since late 2020 have no check any more: a date and a
/// century's digit must do.
pub fn kr_rrn(digits: &[u8]) -> bool {
    digits.len() == 13
        && day_month(part(digits, 4, 2), part(digits, 2, 2))
        && matches!(digits.get(6), Some(1..=8))
}

/// Eighteen signs; the last may be an X.
pub fn cn_id(text: &[u8]) -> bool {
    let [head @ .., last] = text else { return false };
    if text.len() != 18 || !head.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let digits: Vec<u8> = head.iter().map(|sign| sign - b'0').collect();
    let sum = weighted(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    (1880..2100).contains(&part(&digits, 6, 4))
        && day_month(part(&digits, 12, 2), part(&digits, 10, 2))
        && b"10X98765432".get((sum % 11) as usize) == Some(&last.to_ascii_uppercase())
}

pub fn za_id(digits: &[u8]) -> bool {
    digits.len() == 13
        && day_month(part(digits, 4, 2), part(digits, 2, 2))
        && matches!(digits.get(10), Some(0..=2))
        && luhn(digits)
}
