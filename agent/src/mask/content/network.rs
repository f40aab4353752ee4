//! Addresses of the network: IPv4, IPv6, MAC.

use std::net::Ipv6Addr;

use super::Found;
use super::edge::{self, Edge};
use crate::mask::class::Class;

/// The shortest and the longest text of an address.
pub(super) const LEAST: u32 = 6;
const LONGEST: usize = 45;
/// The least signs that stand between its parts.
pub(super) const LEAST_JOINTS: u32 = 2;

/// The addresses in a run of an address's signs.
pub(super) fn run(cell: &[u8], start: usize, end: usize, found: &mut Vec<Found>) {
    if end - start > LONGEST + 1 || Edge::after(cell, end) != Edge::Open {
        return;
    }
    let run = cell.get(start..end).unwrap_or_default();
    // The point that ends a sentence.
    let mut trimmed = run;
    while let [head @ .., b'.' | b'-' | b':'] = trimmed
        && !head.ends_with(b":")
    {
        trimmed = head;
    }
    let open = Edge::before(cell, start) == Edge::Open;
    let mut take = |skipped: usize, part: &[u8]| {
        let class = address(part);
        if let Some(class) = class {
            let start = start + skipped;
            found.push(Found { start, end: start + part.len(), class });
        }
        class.is_some()
    };
    if open && take(0, trimmed) {
        return;
    }
    // `ip%3D192.168.17.4`
    let escape = edge::escape(cell, start);
    if escape > 0 && take(escape, trimmed.get(escape..).unwrap_or_default()) {
        return;
    }
    // `12:192.168.17.4`
    if let Some(colon) = trimmed.iter().rposition(|sign| *sign == b':')
        && let Some(last) = trimmed.get(colon + 1..).filter(|last| is_dotted(last))
        && take(colon + 1, last)
    {
        return;
    }
    // `ip:192.168.17.4`, `MAC:AA:BB:…`
    let label = trimmed.iter().take_while(|sign| **sign != b':').count();
    if label != 2 || !open {
        let rest = trimmed.get(label + 1..).unwrap_or_default();
        if !rest.starts_with(b":") && take(label + 1, rest) {
            return;
        }
    }
    if open {
        // `10.0.0.17-10.0.0.255`, `...10.0.0.17`
        let mut skipped = 0;
        for part in trimmed.split(|sign| *sign == b'-') {
            let points = part.iter().take_while(|sign| **sign == b'.').count();
            let part = part.get(points..).unwrap_or_default();
            if part.len() < trimmed.len() && is_dotted(part) {
                take(skipped + points, part);
            }
            skipped += points + part.len() + 1;
        }
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

fn is_dotted(run: &[u8]) -> bool {
    run.iter().filter(|sign| **sign == b'.').count() == 3 && is_v4(run)
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
    // Four single digits are a version; the host itself is nobody's address.
    all && short < 4 && run.first() != Some(&b'0') && !run.starts_with(b"127.")
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
