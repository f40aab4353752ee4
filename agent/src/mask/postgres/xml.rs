//! XML: what stands between tags by the tag's name, else by its content, and
//! attributes likewise. Tags stay.

use super::cell::{Cell, Cells, Shown};
use crate::mask::class::Class;
use crate::mask::content::Demand;
use crate::mask::names::{self, Kind, Named};
use crate::mask::style::Mask;

pub(super) fn rewrite(
    cells: &mut Cells,
    cell: Cell<'_>,
    demand: Demand,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let start = out.len();
    let mut changed = false;
    let mut class = None;
    let mut place = 0;
    while place < value.len() {
        let rest = value.get(place..).unwrap_or_default();
        if rest.first() == Some(&b'<') {
            let length =
                rest.iter().position(|sign| *sign == b'>').map_or(rest.len(), |end| end + 1);
            let tag = rest.get(..length).unwrap_or_default();
            class = opened(cell, tag);
            changed |= attributes(cells, cell, tag, out);
            place += length;
            continue;
        }
        let length = rest.iter().position(|sign| *sign == b'<').unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        place += length;
        if text.trim_ascii().is_empty() {
            out.extend_from_slice(text);
            continue;
        }
        changed |= self::text(cells, cell, class, demand, text, out);
    }
    if !changed {
        out.truncate(start);
        return Shown::Same;
    }
    Shown::Made
}

/// Writes text, masked or not; says whether it was.
fn text(
    cells: &mut Cells,
    cell: Cell<'_>,
    class: Option<(Class, Mask)>,
    demand: Demand,
    text: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    match class {
        Some((_, Mask::Keep)) => {}
        Some((class, mask)) => {
            cells.tally.add(class);
            let mut made = Vec::new();
            cells.hand.write(class, mask, text, &mut made);
            // `&#106;` cut anywhere would be no reference any more.
            if text.contains(&b'&') || made.iter().any(|sign| b"<>&\"'".contains(sign)) {
                made.clear();
                cells.hand.write(class, Mask::Redact, text, &mut made);
            }
            out.extend_from_slice(&made);
            return true;
        }
        // What is written with references can't be scanned as it stands.
        None if text.contains(&b'&') => {
            let plain = plain(text);
            if let Some((class, _)) = cells.first(cell.rules, demand, &plain) {
                cells.tally.add(class);
                cells.hand.write(class, Mask::Redact, &plain, out);
                return true;
            }
        }
        None => match cells.spans(cell.rules, demand, text, out) {
            Shown::Made => return true,
            Shown::Null => {
                out.extend_from_slice(cells.hand.dot());
                return true;
            }
            Shown::Same => {}
        },
    }
    out.extend_from_slice(text);
    false
}

fn opened(cell: Cell<'_>, tag: &[u8]) -> Option<(Class, Mask)> {
    let name = tag.get(1..)?;
    if matches!(name.first(), Some(b'/' | b'!' | b'?')) {
        return None;
    }
    let length =
        name.iter().take_while(|sign| !sign.is_ascii_whitespace() && !b"/>".contains(sign)).count();
    class_of(cell, name.get(..length)?)
}

fn class_of(cell: Cell<'_>, name: &[u8]) -> Option<(Class, Mask)> {
    if let Some(known) = cell.rules.keys.get(name) {
        return Some(*known);
    }
    let text = String::from_utf8_lossy(name);
    let named = Named { column: &text, kind: Kind::Text, ..Named::default() };
    let (class, _) = names::classify(&named)?;
    Some((class, cell.rules.mask(class)))
}

/// Writes a tag with its attributes' values masked; says whether any was.
fn attributes(cells: &mut Cells, cell: Cell<'_>, tag: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    let mut place = 0;
    let mut name = 0..0;
    while let Some(&sign) = tag.get(place) {
        match sign {
            quote @ (b'"' | b'\'') => {
                let rest = tag.get(place + 1..).unwrap_or_default();
                let length = rest.iter().position(|sign| *sign == quote).unwrap_or(rest.len());
                let value = rest.get(..length).unwrap_or_default();
                let class = tag.get(name.clone()).and_then(|name| class_of(cell, name));
                out.push(quote);
                if !value.is_empty() {
                    changed |= text(cells, cell, class, Demand::Check, value, out);
                }
                place += 1 + length;
                if tag.get(place).is_some() {
                    out.push(quote);
                    place += 1;
                }
                continue;
            }
            b'=' => {}
            sign if sign.is_ascii_whitespace() => name = place + 1..place + 1,
            _ => name.end = place + 1,
        }
        out.push(sign);
        place += 1;
    }
    changed
}

/// What a text with references says.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut place = 0;
    while let Some(&sign) = text.get(place) {
        let rest = text.get(place..).unwrap_or_default();
        let end = rest.iter().take(12).position(|sign| *sign == b';');
        let Some(end) = end.filter(|_| sign == b'&') else {
            plain.push(sign);
            place += 1;
            continue;
        };
        let name = rest.get(1..end).unwrap_or_default();
        let code = match name {
            b"amp" => Some('&'),
            b"lt" => Some('<'),
            b"gt" => Some('>'),
            b"quot" => Some('"'),
            b"apos" => Some('\''),
            [b'#', b'x' | b'X', digits @ ..] => str::from_utf8(digits)
                .ok()
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32),
            [b'#', digits @ ..] => str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .and_then(char::from_u32),
            _ => None,
        };
        if let Some(code) = code {
            plain.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
        }
        place += end + 1;
    }
    plain
}
