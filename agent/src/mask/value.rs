//! What a masked value looks like, as text.
//!
//! INVARIANT: nothing is written that wasn't in the value, in a constant, or
//! made of the value's keyed hash.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::class::Class;
use super::style::Mask;

/// The key of this host's hashes.
#[derive(Clone)]
pub struct HashKey(Arc<Keys>);

struct Keys {
    values: hmac::Key,
    checks: hmac::Key,
}

impl HashKey {
    pub fn new(secret: &[u8]) -> Self {
        let values = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // Another one, so that no value's mark is the check of another's.
        let checks = hmac::sign(&values, b"what makes a mark one of ours");
        let checks = hmac::Key::new(hmac::HMAC_SHA256, checks.as_ref());
        Self(Arc::new(Keys { values, checks }))
    }

    /// The value's mark: the same for the same value, whatever type it is in.
    pub(super) fn mark<const N: usize>(&self, value: &[u8]) -> [u8; N] {
        first(&hmac::sign(&self.0.values, value))
    }

    /// So many bytes at the end of a mark are made of those before: nobody else's
    /// value has them, but by chance.
    pub(super) fn seal(&self, mark: &mut [u8], check: usize) {
        let place = mark.len().saturating_sub(check);
        let Some((head, end)) = mark.split_at_mut_checked(place) else { return };
        let tag = hmac::sign(&self.0.checks, head);
        end.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    }

    pub(super) fn is_sealed(&self, mark: &[u8], check: usize) -> bool {
        let place = mark.len().saturating_sub(check);
        let Some((head, end)) = mark.split_at_checked(place) else { return false };
        let tag = hmac::sign(&self.0.checks, head);
        !end.is_empty() && tag.as_ref().get(..end.len()) == Some(end)
    }

    pub(super) fn number(&self, value: &[u8]) -> u64 {
        u64::from_be_bytes(self.mark(value))
    }
}

fn first<const N: usize>(tag: &hmac::Tag) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// How masks are written: with the sign `•` where the client reads UTF-8.
#[derive(Clone, Debug)]
pub struct Hand {
    pub key: HashKey,
    pub unicode: bool,
}

impl Hand {
    pub(super) fn dot(&self) -> &'static [u8] {
        if self.unicode { "•".as_bytes() } else { b"*" }
    }

    fn dots(&self, out: &mut Vec<u8>) {
        for _ in 0..DOTS {
            out.extend_from_slice(self.dot());
        }
    }

    /// Writes `text` masked. Not for [`Mask::Keep`] and [`Mask::Null`], which
    /// are the caller's to carry out; they redact.
    pub fn write(&self, class: Class, mask: Mask, text: &[u8], out: &mut Vec<u8>) {
        let done = match mask {
            Mask::Partial => self.partial(class, text, out),
            Mask::Truncate => truncate(class, text, out),
            Mask::Hash => {
                super::marks::write(&self.key, text, out);
                true
            }
            Mask::Keep | Mask::Redact | Mask::Null => false,
        };
        if !done {
            self.dots(out);
        }
    }

    fn partial(&self, class: Class, text: &[u8], out: &mut Vec<u8>) -> bool {
        match class {
            Class::Email => self.email(text, out),
            Class::PersonName => self.initials(text, out),
            Class::Username => {
                let Some(first) = signs(text).next().filter(|first| first.len() < text.len())
                else {
                    return false;
                };
                out.extend_from_slice(first);
                self.dots(out);
                true
            }
            Class::IpAddress | Class::MacAddress | Class::GeoPosition | Class::BirthDate => {
                truncate(class, text, out)
            }
            Class::PostalAddress
            | Class::Diagnosis
            | Class::SpecialCategory
            | Class::Password
            | Class::PasswordHash
            | Class::ApiKey
            | Class::Jwt
            | Class::PrivateKey
            | Class::ConnectionString
            | Class::CardVerification
            | Class::Opaque => false,
            _ => self.last_four(text, out),
        }
    }

    /// `j•••@e•••.com`
    fn email(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(at) = text.iter().rposition(|sign| *sign == b'@') else { return false };
        let (local, domain) = (text.get(..at), text.get(at + 1..));
        let (Some(local), Some(domain)) = (local, domain) else { return false };
        let Some(dot) = domain.iter().rposition(|sign| *sign == b'.') else { return false };
        let (Some(first), Some(host)) = (signs(local).next(), signs(domain).next()) else {
            return false;
        };
        let top = domain.get(dot..).unwrap_or_default();
        if dot == 0 || local.len() > 254 || !top.iter().skip(1).all(|sign| is_letter(*sign)) {
            return false;
        }
        if top.len() > 20 || local.contains(&b' ') {
            return false;
        }
        out.extend_from_slice(first);
        self.dots(out);
        out.push(b'@');
        out.extend_from_slice(host);
        self.dots(out);
        out.extend_from_slice(top);
        true
    }

    /// `J••• S•••`
    fn initials(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let words = text.split(|sign| *sign == b' ').filter(|word| !word.is_empty());
        for (place, word) in words.enumerate() {
            let first = signs(word).next().unwrap_or_default();
            if place >= MOST_WORDS || !is_word_start(first) {
                out.truncate(start);
                return false;
            }
            if place > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(first);
            self.dots(out);
        }
        out.len() > start
    }

    /// All but the last four letters and digits become dots; of a short value
    /// fewer stay. What stands between them stays.
    fn last_four(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let is_sign = |sign: &u8| sign.is_ascii_alphanumeric();
        let count = text.iter().filter(|sign| is_sign(sign)).count();
        let plain = text.iter().all(|sign| is_sign(sign) || b" -./+()".contains(sign));
        if !plain || !(4..=40).contains(&count) {
            return false;
        }
        let kept = kept(count);
        let mut place = 0;
        for sign in text {
            if !is_sign(sign) {
                out.push(*sign);
                continue;
            }
            place += 1;
            if place + kept > count {
                out.push(*sign);
            } else {
                out.extend_from_slice(self.dot());
            }
        }
        true
    }
}

/// How many of so many signs stay.
pub(super) fn kept(count: usize) -> usize {
    if count > 2 * KEPT { KEPT } else { count / 3 }
}

/// How many dots stand for what is left out: not how much it was.
const DOTS: usize = 3;
const KEPT: usize = 4;
/// A name of more words is a text.
const MOST_WORDS: usize = 5;

/// Cuts a text at a whole sign, to at most so many signs.
pub(super) fn limit(out: &mut Vec<u8>, start: usize, signs: usize, unicode: bool) {
    let written = out.get(start..).unwrap_or_default();
    if written.len() <= signs {
        return;
    }
    let is_start = |byte: &u8| !unicode || (byte & 0xc0) != 0x80;
    let end = written
        .iter()
        .enumerate()
        .filter(|(_, byte)| is_start(byte))
        .nth(signs)
        .map(|(place, _)| start + place);
    if let Some(end) = end {
        out.truncate(end);
    }
}

pub(super) fn hex(bytes: &[u8], count: usize, out: &mut Vec<u8>) {
    for byte in bytes.iter().take(count) {
        for half in [byte >> 4, byte & 15] {
            out.push(if half < 10 { b'0' + half } else { b'a' + half - 10 });
        }
    }
}

/// The signs of a text: of UTF-8 whole ones, of anything else bytes.
fn signs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let whole = rest.get(..length).filter(|sign| str::from_utf8(sign).is_ok());
        let (sign, tail) = rest.split_at_checked(whole.map_or(1, <[u8]>::len))?;
        rest = tail;
        Some(sign)
    })
}

fn is_letter(sign: u8) -> bool {
    sign.is_ascii_alphanumeric() || sign >= 0x80 || sign == b'-'
}

fn is_word_start(sign: &[u8]) -> bool {
    match sign {
        [one] => one.is_ascii_alphabetic(),
        _ => str::from_utf8(sign).is_ok_and(|text| text.chars().all(char::is_alphabetic)),
    }
}

fn truncate(class: Class, text: &[u8], out: &mut Vec<u8>) -> bool {
    match class {
        Class::BirthDate => date(text, out),
        Class::IpAddress => network(text, out),
        Class::MacAddress => maker(text, out),
        Class::GeoPosition => grid(text, out),
        _ => false,
    }
}

/// The year: all other groups of digits are set to their least.
pub(super) fn date(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut years = 0;
    let mut others = 0;
    let mut place = 0;
    while let Some(&sign) = text.get(place) {
        if !sign.is_ascii_digit() {
            // A month's name would tell the month.
            if !b"-./ ".contains(&sign) {
                out.truncate(start);
                return false;
            }
            out.push(sign);
            place += 1;
            continue;
        }
        let rest = text.get(place..).unwrap_or_default();
        let length = rest.iter().take_while(|sign| sign.is_ascii_digit()).count();
        let run = rest.get(..length).unwrap_or_default();
        match length {
            4 => {
                out.extend_from_slice(run);
                years += 1;
            }
            1 | 2 => {
                out.extend_from_slice(if length == 2 { b"01" } else { b"1" });
                others += 1;
            }
            // 19800503
            8 if run.starts_with(b"19") || run.starts_with(b"20") => {
                out.extend_from_slice(run.get(..4).unwrap_or_default());
                out.extend_from_slice(b"0101");
                years += 1;
            }
            _ => {
                out.truncate(start);
                return false;
            }
        }
        place += length;
    }
    let good = years == 1 && matches!(others, 0 | 2);
    if !good {
        out.truncate(start);
    }
    good
}

/// The first 24 bits of an IPv4 address, the first 48 of an IPv6 one.
pub(super) fn network(text: &[u8], out: &mut Vec<u8>) -> bool {
    use std::net::IpAddr;
    let Ok(text) = str::from_utf8(text) else { return false };
    let (address, rest) = match text.find('/') {
        Some(place) => text.split_at(place),
        None => (text, ""),
    };
    // A port tells nothing of a person.
    let (address, rest) = match address.split_once(':') {
        Some((host, _)) if host.contains('.') => address.split_at(host.len()),
        _ => (address, rest),
    };
    let network = match address.trim().parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0")
        }
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => {
                let [a, b, c, _] = v4.octets();
                format!("::ffff:{a}.{b}.{c}.0")
            }
            None => {
                let [a, b, c, ..] = v6.segments();
                std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string()
            }
        },
        Err(_) => return false,
    };
    out.extend_from_slice(network.as_bytes());
    let plain = rest.bytes().all(|sign| sign.is_ascii_digit() || matches!(sign, b'/' | b':'));
    if plain && rest.len() <= 6 {
        out.extend_from_slice(rest.as_bytes());
    }
    true
}

/// The maker's half of a MAC address.
pub(super) fn maker(text: &[u8], out: &mut Vec<u8>) -> bool {
    let digits = text.iter().filter(|sign| sign.is_ascii_hexdigit()).count();
    let plain = text.iter().all(|sign| sign.is_ascii_hexdigit() || b":-.".contains(sign));
    if !plain || !matches!(digits, 12 | 16) {
        return false;
    }
    let mut place = 0;
    for sign in text {
        let digit = sign.is_ascii_hexdigit();
        place += usize::from(digit);
        out.push(if digit && place > 6 { b'0' } else { *sign });
    }
    true
}

/// One decimal: about eleven kilometres.
pub(super) fn grid(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut decimals = None;
    let mut numbers = 0;
    for &sign in text {
        match sign {
            b'0'..=b'9' => {
                match &mut decimals {
                    None => numbers += 1,
                    Some(count) => {
                        *count += 1;
                        if *count > 1 {
                            continue;
                        }
                    }
                }
                out.push(sign);
            }
            b'.' if decimals.is_none() => {
                decimals = Some(0);
                out.push(sign);
            }
            b'-' | b'+' | b',' | b' ' | b'(' | b')' | b';' | b'[' | b']' | b'<' | b'>' => {
                decimals = None;
                out.push(sign);
            }
            _ => {
                out.truncate(start);
                return false;
            }
        }
    }
    // Digits without a point may be anything.
    let good = numbers > 0 && text.contains(&b'.');
    if !good {
        out.truncate(start);
    }
    good
}
