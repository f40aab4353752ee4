//! Values made of values: arrays, rows, hstore; in text and in binary.
//!
//! INVARIANT: what can't be read to its end as its type says is NULL where it is
//! sensitive, and scanned whole where it isn't known to be.

use super::cell::{Cell, Cells, Shown, keeps_keys};
use super::form::{Element, Form};
use super::plan::Treatment;
use crate::mask::content::Demand;
use crate::mask::names::{self, Kind, Named};

/// What a value comes to that isn't what its type says.
fn broken(cells: &mut Cells, cell: Cell<'_>, value: &[u8]) -> Shown {
    match cell.treatment {
        Treatment::Pass => Shown::Same,
        Treatment::Mask { .. } | Treatment::Literals => Shown::Null,
        Treatment::Scan(demand) => match cells.first(cell.rules, demand, value) {
            Some((class, _)) => {
                cells.tally.add(class);
                Shown::Null
            }
            None => Shown::Same,
        },
    }
}

/// Undoes what was written of a value that turned out to be broken.
fn undo(cells: &mut Cells, cell: Cell<'_>, value: &[u8], start: usize, out: &mut Vec<u8>) -> Shown {
    out.truncate(start);
    broken(cells, cell, value)
}

fn finish(changed: bool, start: usize, out: &mut Vec<u8>) -> Shown {
    if changed {
        return Shown::Made;
    }
    out.truncate(start);
    Shown::Same
}

pub(super) fn array(
    cells: &mut Cells,
    cell: Cell<'_>,
    element: &Element,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let start = out.len();
    let inner = Cell { form: &element.form, ..cell };
    let done = if cell.binary {
        array_binary(cells, inner, value, out)
    } else {
        array_text(cells, inner, element.between, value, out)
    };
    match done {
        Some(changed) => finish(changed, start, out),
        None => undo(cells, cell, value, start, out),
    }
}

fn array_binary(
    cells: &mut Cells,
    inner: Cell<'_>,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<bool> {
    let mut input = Input(value);
    let dimensions = usize::try_from(input.i32()?).ok()?;
    let head = 12 + dimensions.checked_mul(8)?;
    if dimensions > 6 {
        return None;
    }
    let head = value.get(..head)?;
    let start = out.len();
    out.extend_from_slice(head);
    let mut input = Input(value.get(head.len()..)?);
    let mut changed = false;
    let mut nulls = false;
    while !input.0.is_empty() {
        let length = input.i32()?;
        nulls |= length < 0;
        changed |= sized(cells, inner, length, &mut input, out, &mut nulls)?;
    }
    // Whether there are NULLs.
    if nulls && let Some(flag) = out.get_mut(start + 7) {
        *flag = 1;
    }
    Some(changed)
}

/// One value behind its length. Says whether it was changed.
fn sized(
    cells: &mut Cells,
    inner: Cell<'_>,
    length: i32,
    input: &mut Input<'_>,
    out: &mut Vec<u8>,
    nulls: &mut bool,
) -> Option<bool> {
    let place = out.len();
    out.extend_from_slice(&length.to_be_bytes());
    let Ok(length) = usize::try_from(length) else {
        return (length == -1).then_some(false);
    };
    let value = input.take(length)?;
    let shown = cells.inner(inner, value, out);
    let written = match shown {
        Shown::Same => {
            out.extend_from_slice(value);
            return Some(false);
        }
        Shown::Made => i32::try_from(out.len() - place - 4).ok()?,
        Shown::Null => {
            *nulls = true;
            -1
        }
    };
    if let Some(at) = out.get_mut(place..place + 4) {
        at.copy_from_slice(&written.to_be_bytes());
    }
    Some(true)
}

fn array_text(
    cells: &mut Cells,
    inner: Cell<'_>,
    between: u8,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<bool> {
    let mut place = 0;
    // `[2:4]={…}`
    if value.first() == Some(&b'[') {
        place = value.iter().position(|sign| *sign == b'=')? + 1;
        out.extend_from_slice(value.get(..place)?);
    }
    let mut depth = 0_u32;
    let mut changed = false;
    loop {
        match value.get(place) {
            None => return (depth == 0).then_some(changed),
            Some(b'{') => {
                depth += 1;
                out.push(b'{');
                place += 1;
            }
            Some(b'}') => {
                depth = depth.checked_sub(1)?;
                out.push(b'}');
                place += 1;
            }
            Some(sign) if *sign == between => {
                out.push(between);
                place += 1;
            }
            Some(b'"') => {
                let (plain, end) = unquoted(value, place + 1, b'\\')?;
                let mut made = Vec::new();
                match cells.inner(inner, &plain, &mut made) {
                    Shown::Same => out.extend_from_slice(value.get(place..end)?),
                    Shown::Made => {
                        quote(&made, out);
                        changed = true;
                    }
                    Shown::Null => {
                        out.extend_from_slice(b"NULL");
                        changed = true;
                    }
                }
                place = end;
            }
            Some(_) => {
                let rest = value.get(place..)?;
                let length = rest
                    .iter()
                    .position(|sign| *sign == between || matches!(sign, b'}' | b'{' | b'"'))?;
                let plain = rest.get(..length)?;
                place += length;
                if plain == b"NULL" {
                    out.extend_from_slice(plain);
                    continue;
                }
                let mut made = Vec::new();
                match cells.inner(inner, plain, &mut made) {
                    Shown::Same => out.extend_from_slice(plain),
                    Shown::Made => {
                        quote(&made, out);
                        changed = true;
                    }
                    Shown::Null => {
                        out.extend_from_slice(b"NULL");
                        changed = true;
                    }
                }
            }
        }
    }
}

/// What a quoted text says, and where it ends; a doubled quote is one.
fn unquoted(value: &[u8], start: usize, escape: u8) -> Option<(Vec<u8>, usize)> {
    let mut plain = Vec::new();
    let mut place = start;
    loop {
        let sign = *value.get(place)?;
        if sign == escape && sign != b'"' {
            plain.push(*value.get(place + 1)?);
            place += 2;
        } else if sign == b'"' {
            if value.get(place + 1) != Some(&b'"') {
                return Some((plain, place + 1));
            }
            plain.push(b'"');
            place += 2;
        } else {
            plain.push(sign);
            place += 1;
        }
    }
}

fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &sign in text {
        if matches!(sign, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(sign);
    }
    out.push(b'"');
}

/// A row: each field by its own class, or all of one.
pub(super) fn composite(
    cells: &mut Cells,
    cell: Cell<'_>,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let start = out.len();
    let done = if cell.binary {
        composite_binary(cells, cell, value, out)
    } else {
        composite_text(cells, cell, value, out)
    };
    match done {
        Some(changed) => finish(changed, start, out),
        None => undo(cells, cell, value, start, out),
    }
}

/// The cell of a field: with the whole's treatment, or its own.
fn field<'c>(cell: Cell<'c>, place: usize, known: Option<&'c Form>) -> Cell<'c> {
    let own = match cell.form {
        Form::Composite(fields) => fields.get(place),
        _ => None,
    };
    let form = own.map(|field| &field.form).or(known).unwrap_or(&Form::Unknown);
    match (cell.treatment, own) {
        (Treatment::Scan(_), Some(field)) => Cell { form, treatment: field.treatment, ..cell },
        _ => Cell { form, ..cell },
    }
}

fn composite_binary(
    cells: &mut Cells,
    cell: Cell<'_>,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<bool> {
    let mut input = Input(value);
    let count = input.i32()?;
    out.extend_from_slice(&count.to_be_bytes());
    let mut changed = false;
    for place in 0..usize::try_from(count).ok()? {
        let oid = input.i32()?;
        out.extend_from_slice(&oid.to_be_bytes());
        let length = input.i32()?;
        let known = Form::of_base(oid.cast_unsigned(), -1);
        let inner = field(cell, place, known.as_ref());
        changed |= sized(cells, inner, length, &mut input, out, &mut false)?;
    }
    input.0.is_empty().then_some(changed)
}

fn composite_text(
    cells: &mut Cells,
    cell: Cell<'_>,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<bool> {
    let body = value.strip_prefix(b"(")?.strip_suffix(b")")?;
    let scans = matches!(cell.treatment, Treatment::Scan(_));
    out.push(b'(');
    let mut changed = false;
    let mut rest = body;
    for place in 0.. {
        let (plain, length) = field_text(rest)?;
        let raw = rest.get(..length)?;
        // Fields of a row without a type are texts of any type.
        let text = Form::Text { most: None, padded: false };
        let inner = match cell.form {
            Form::Composite(_) => field(cell, place, None),
            _ if scans => Cell { form: &text, ..cell },
            _ => Cell { form: &Form::Unknown, ..cell },
        };
        let mut made = Vec::new();
        match raw.is_empty() {
            true => {}
            false => match cells.inner(inner, &plain, &mut made) {
                Shown::Same => out.extend_from_slice(raw),
                Shown::Made => {
                    quote(&made, out);
                    changed = true;
                }
                Shown::Null => changed = true,
            },
        }
        match rest.get(length..)? {
            [] => break,
            [_, tail @ ..] => {
                out.push(b',');
                rest = tail;
            }
        }
    }
    out.push(b')');
    Some(changed)
}

/// One field up to its comma: what it says, and how long it is as written.
fn field_text(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut plain = Vec::new();
    let mut place = 0;
    let mut quoted = false;
    loop {
        match (rest.get(place), quoted) {
            (None, true) => return None,
            (None, false) | (Some(b','), false) => return Some((plain, place)),
            (Some(b'\\'), _) => {
                plain.push(*rest.get(place + 1)?);
                place += 2;
            }
            (Some(b'"'), true) if rest.get(place + 1) == Some(&b'"') => {
                plain.push(b'"');
                place += 2;
            }
            (Some(b'"'), _) => {
                quoted = !quoted;
                place += 1;
            }
            (Some(sign), _) => {
                plain.push(*sign);
                place += 1;
            }
        }
    }
}

/// Keys and values of text: by key, then by content.
pub(super) fn hstore(cells: &mut Cells, cell: Cell<'_>, value: &[u8], out: &mut Vec<u8>) -> Shown {
    let start = out.len();
    let done = if cell.binary {
        hstore_binary(cells, cell, value, out)
    } else {
        hstore_text(cells, cell, value, out)
    };
    match done {
        Some(changed) => finish(changed, start, out),
        None => undo(cells, cell, value, start, out),
    }
}

const TEXT: Form = Form::Text { most: None, padded: false };

/// How the value of a key is to be treated.
fn of_key<'c>(cell: Cell<'c>, key: &[u8]) -> Cell<'c> {
    let cell = Cell { form: &TEXT, binary: false, ..cell };
    if !matches!(cell.treatment, Treatment::Scan(_)) {
        return cell;
    }
    let text = String::from_utf8_lossy(key);
    let named = Named { column: &text, kind: Kind::Text, ..Named::default() };
    let class = names::classify(&named).map(|(class, _)| (class, cell.rules.mask(class)));
    match cell.rules.keys.get(key).copied().or(class) {
        Some((class, mask)) => {
            Cell { treatment: Treatment::Mask { class, mask, derived: false }, ..cell }
        }
        None => cell,
    }
}

/// A key is only scanned, unless values may have become keys.
fn key_cell(cell: Cell<'_>) -> Cell<'_> {
    let treatment = match cell.treatment {
        Treatment::Mask { .. } if keeps_keys(cell) => Treatment::Scan(Demand::Check),
        other => other,
    };
    Cell { form: &TEXT, binary: false, treatment, ..cell }
}

fn hstore_binary(
    cells: &mut Cells,
    cell: Cell<'_>,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<bool> {
    let mut input = Input(value);
    let count = input.i32()?;
    out.extend_from_slice(&count.to_be_bytes());
    let mut changed = false;
    for _ in 0..usize::try_from(count).ok()? {
        let length = input.i32()?;
        let key = input.0.get(..usize::try_from(length).ok()?)?;
        let inner = of_key(cell, key);
        let mut made = Vec::new();
        let key = input.take(key.len())?;
        let shown = cells.inner(key_cell(cell), key, &mut made);
        changed |= shown != Shown::Same;
        let key = match shown {
            Shown::Same => key,
            Shown::Made => made.as_slice(),
            Shown::Null => cells.hand.dot(),
        };
        out.extend_from_slice(&i32::try_from(key.len()).ok()?.to_be_bytes());
        out.extend_from_slice(key);
        let length = input.i32()?;
        changed |= sized(cells, inner, length, &mut input, out, &mut false)?;
    }
    input.0.is_empty().then_some(changed)
}

fn hstore_text(cells: &mut Cells, cell: Cell<'_>, value: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    let mut place = 0;
    let mut changed = false;
    loop {
        match value.get(place) {
            None => return Some(changed),
            Some(b',' | b' ') => {
                out.push(*value.get(place)?);
                place += 1;
            }
            Some(b'"') => {
                let (key, end) = unquoted(value, place + 1, b'\\')?;
                let mut made = Vec::new();
                match cells.inner(key_cell(cell), &key, &mut made) {
                    Shown::Same => out.extend_from_slice(value.get(place..end)?),
                    shown => {
                        quote(if shown == Shown::Made { &made } else { cells.hand.dot() }, out);
                        changed = true;
                    }
                }
                let tail = value.get(end..)?.strip_prefix(b"=>")?;
                out.extend_from_slice(b"=>");
                place = end + 2;
                if tail.starts_with(b"NULL") {
                    out.extend_from_slice(b"NULL");
                    place += 4;
                    continue;
                }
                tail.strip_prefix(b"\"")?;
                let (plain, end) = unquoted(value, place + 1, b'\\')?;
                let mut made = Vec::new();
                match cells.inner(of_key(cell, &key), &plain, &mut made) {
                    Shown::Same => out.extend_from_slice(value.get(place..end)?),
                    Shown::Made => {
                        quote(&made, out);
                        changed = true;
                    }
                    Shown::Null => {
                        out.extend_from_slice(b"NULL");
                        changed = true;
                    }
                }
                place = end;
            }
            Some(_) => return None,
        }
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
    }
}
