//! Addresses of mail.

use super::{Found, is_word};
use crate::mask::class::Class;

const LONGEST_LOCAL: usize = 64;
const LONGEST_DOMAIN: usize = 253;

/// The sign of an address at a place, as it may be written: its begin and end.
#[inline]
pub(super) fn sign(cell: &[u8], place: usize) -> Option<(usize, usize)> {
    let rest = cell.get(place..)?;
    let ahead = match rest {
        [b'@', ..] => 1,
        [b'%' | b'=', b'4', b'0', ..] => 3,
        [b'%', b'2', b'5', b'4', b'0', ..] => 5,
        [b'\\', b'u', b'0', b'0', b'4', b'0', ..] => 6,
        [b'#', b'6', b'4', b';', ..] => 4,
        [b'#', b'x' | b'X', b'4', b'0', b';', ..] => 5,
        _ => return None,
    };
    let behind = usize::from(rest.starts_with(b"#"));
    if behind > 0 && !cell.get(..place)?.ends_with(b"&") {
        return None;
    }
    Some((place - behind, place + ahead))
}

/// The address around a sign; where it ends.
pub(super) fn at(
    cell: &[u8],
    sign: (usize, usize),
    floor: usize,
    found: &mut Vec<Found>,
) -> Option<usize> {
    let (start, end) = around(cell, sign, floor)?;
    found.push(Found { start, end, class: Class::Email });
    Some(end)
}

fn around(cell: &[u8], (at, behind): (usize, usize), floor: usize) -> Option<(usize, usize)> {
    let local = cell.get(floor..at)?;
    let length = local
        .iter()
        .rev()
        .take(LONGEST_LOCAL)
        .take_while(|sign| is_word(**sign) || b".+-'%!#&*/=?^`{|}~".contains(sign))
        .count();
    // Not what only leads up to it: quotes, `mailto=`, an opening brace.
    let mut start = at - length;
    for (place, sign) in cell.iter().enumerate().take(at).skip(start) {
        if b"='{|`/&?".contains(sign) && !(*sign == b'\'' && place > start) {
            start = place + 1;
        }
    }
    while cell.get(start).is_some_and(|sign| b".-'*".contains(sign)) && start < at {
        start += 1;
    }
    // `"jane doe"@mail.example`
    if start == at
        && let [quoted @ .., b'"'] = local
        && let Some(open) = quoted.iter().rev().take(LONGEST_LOCAL).position(|sign| *sign == b'"')
        && open > 0
    {
        start = at - 2 - open;
    }
    if start == at {
        return None;
    }
    let host = domain(cell, behind)?;
    let mut end = behind + host.len();
    let local = cell.get(start..at)?;
    if is_repository(local, cell.get(end..)?) || is_picture(host) {
        return None;
    }
    // Where two stand without a gap, what ends the first begins the second.
    while let Some((_, behind)) = sign(cell, end)
        && let Some(host) = domain(cell, behind)
    {
        end = behind + host.len();
    }
    Some((start, end))
}

/// The name of a mail server at a place.
fn domain(cell: &[u8], place: usize) -> Option<&[u8]> {
    let domain = cell.get(place..)?;
    let length = domain
        .iter()
        .take(LONGEST_DOMAIN)
        .take_while(|sign| is_word(**sign) || matches!(sign, b'.' | b'-'))
        .count();
    let mut domain = domain.get(..length)?;
    if matches!(domain.first(), Some(b'-' | b'.') | None) {
        return None;
    }
    // What goes on behind it is cut off: `…example...`, `…example-2024`, `…example1`.
    if let Some(gap) = domain.windows(2).position(|pair| pair == b"..") {
        domain = domain.get(..gap)?;
    }
    loop {
        let dot = domain.iter().rposition(|sign| *sign == b'.').filter(|dot| *dot > 0)?;
        let top = domain.get(dot + 1..)?;
        let letters =
            top.iter().take_while(|sign| sign.is_ascii_alphabetic() || **sign >= 0x80).count();
        if top.starts_with(b"xn--") {
            return Some(domain);
        }
        if letters >= 2 {
            return domain.get(..dot + 1 + letters);
        }
        domain = domain.get(..dot)?;
    }
}

/// `git@host.example:team/repository`
fn is_repository(local: &[u8], rest: &[u8]) -> bool {
    local == b"git" && matches!(rest, [b':', path, ..] if is_word(*path) || *path == b'/')
}

/// `logo@2x.png`: twice the size.
fn is_picture(domain: &[u8]) -> bool {
    let [b'1'..=b'4', b'x', b'.', kind @ ..] = domain else { return false };
    matches!(kind, b"png" | b"jpg" | b"jpeg" | b"gif" | b"webp" | b"svg" | b"avif")
}
