//! Addresses of the network: IPv4, IPv6, MAC.

use std::net::Ipv6Addr;

use super::{Found, before, is_word};
use crate::mask::class::Class;

/// The shortest and the longest text of an address.
pub(super) const LEAST: u32 = 6;
const LONGEST: usize = 45;

/// The address that a run of an address's signs is.
pub(super) fn run(cell: &[u8], start: usize, end: usize, found: &mut Vec<Found>) {
    let bounded = before(cell, start).is_none_or(|sign| !is_word(sign))
        && cell.get(end).is_none_or(|sign| !is_word(*sign));
    if !bounded || end - start > LONGEST + 1 {
        return;
    }
    let run = cell.get(start..end).unwrap_or_default();
    // The point that ends a sentence.
    let run = match run {
        [head @ .., b'.' | b'-' | b':'] if !head.ends_with(b":") => head,
        _ => run,
    };
    if let Some(class) = address(run) {
        found.push(Found { start, end: start + run.len(), class });
    }
}

fn address(run: &[u8]) -> Option<Class> {
    let (mut dots, mut colons, mut dashes) = (0_u8, 0_u8, 0_u8);
    for sign in run {
        dots += u8::from(*sign == b'.');
        colons += u8::from(*sign == b':');
        dashes += u8::from(*sign == b'-');
    }
    match (dots, colons, dashes) {
        (3, 0, 0) if is_v4(run) => Some(Class::IpAddress),
        (3, 1, 0) => {
            // With a port.
            let (host, port) = run.split_at(run.iter().position(|sign| *sign == b':')?);
            (is_v4(host) && port.len() > 1 && port.iter().skip(1).all(u8::is_ascii_digit))
                .then_some(Class::IpAddress)
        }
        (0, 5, 0) if is_mac(run, b':', 2) => Some(Class::MacAddress),
        (0, 0, 5) if is_mac(run, b'-', 2) => Some(Class::MacAddress),
        (2, 0, 0) if is_mac(run, b'.', 4) => Some(Class::MacAddress),
        (0 | 3, 2.., 0) if is_v6(run) => Some(Class::IpAddress),
        _ => None,
    }
}

fn is_v4(run: &[u8]) -> bool {
    let mut short = 0;
    let all = run.split(|sign| *sign == b'.').all(|part| {
        short += usize::from(part.len() == 1);
        let value = part.iter().fold(0_u32, |sum, sign| {
            sum.saturating_mul(10).saturating_add(u32::from(sign.wrapping_sub(b'0')))
        });
        (1..=3).contains(&part.len())
            && part.iter().all(u8::is_ascii_digit)
            && value <= 255
            && !(part.len() > 1 && part.first() == Some(&b'0'))
    });
    // Four single digits are a version.
    all && short < 4 && run.first() != Some(&b'0')
}

fn is_mac(run: &[u8], between: u8, length: usize) -> bool {
    run.split(|sign| *sign == between)
        .all(|part| part.len() == length && part.iter().all(u8::is_ascii_hexdigit))
        // Three groups of digits alone may be anything.
        && (length == 2 || run.iter().any(|sign| sign.is_ascii_alphabetic()))
}

fn is_v6(run: &[u8]) -> bool {
    let colons = run.iter().filter(|sign| **sign == b':').count();
    let global = run.split(|sign| *sign == b':').next().is_some_and(|head| {
        head.len() == 4 && matches!(head.first(), Some(b'2' | b'3' | b'f' | b'F'))
    });
    (global || colons >= 4)
        && str::from_utf8(run).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}
