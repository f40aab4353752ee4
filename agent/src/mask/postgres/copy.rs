//! COPY to the client: a stream of rows in text, CSV or binary, cut into
//! messages anywhere.
//!
//! A row goes out as soon as its last byte is here. What is kept meanwhile is at
//! most one row and one message.
//!
//! INVARIANT: a stream that stops being what it should be is no longer shown.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::cell::{Cell, Shown};
use super::plan::{ColumnPlan, Plan, Treatment};
use super::screen::{Made, Screen, Screened, Screening, Unshowable, begin, finish};
use crate::mask::content::Demand;

mod options;
#[cfg(test)]
mod tests;

/// How a COPY is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyStyle {
    Text {
        delimiter: u8,
        null: Box<[u8]>,
        header: bool,
    },
    Csv {
        delimiter: u8,
        null: Box<[u8]>,
        quote: u8,
        escape: u8,
        header: bool,
    },
    Binary,
    /// Not known: each line is a text.
    Lines,
}

impl CopyStyle {
    pub fn text() -> Self {
        Self::Text { delimiter: b'\t', null: b"\\N".as_slice().into(), header: false }
    }

    pub fn csv() -> Self {
        let null = Box::default();
        Self::Csv { delimiter: b',', null, quote: b'"', escape: b'"', header: false }
    }
}

/// One COPY under way.
#[derive(Debug)]
pub struct CopyScreen {
    style: CopyStyle,
    /// What hasn't come to a row's end yet.
    pending: Vec<u8>,
    /// So much of it was looked at for an end.
    looked: usize,
    quoted: bool,
    begun: bool,
    ended: bool,
}

/// Of a row that is longer nothing is shown.
const LONGEST_ROW: usize = 256 * 1024 * 1024;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

impl CopyScreen {
    pub fn new(style: CopyStyle) -> Self {
        Self { style, pending: Vec::new(), looked: 0, quoted: false, begun: false, ended: false }
    }

    /// The payload of a CopyData message, or a piece of one (`whole` is false).
    /// A plan without columns scans every field.
    pub fn data<'s>(
        &mut self,
        screen: &'s mut Screen,
        plan: &Plan,
        payload: &[u8],
        whole: bool,
    ) -> Result<Screening<'s>, Unshowable> {
        if plan.passes() && !plan.columns().is_empty() {
            return Ok(Screening::Unchanged(Screened(())));
        }
        if screen.cells.mixed {
            return Err(Unshowable::Malformed);
        }
        let start = begin(&mut screen.made, b'd');
        let body = screen.made.len();
        let mut pending = std::mem::take(&mut self.pending);
        let alone = pending.is_empty();
        if !alone {
            pending.extend_from_slice(payload);
        }
        let done = self.rows(screen, plan, if alone { payload } else { &pending });
        let taken = done.as_ref().map_or(0, |(taken, _)| *taken);
        match alone {
            true => pending.extend_from_slice(payload.get(taken..).unwrap_or_default()),
            false => drop(pending.drain(..taken)),
        }
        self.pending = pending;
        let (_, changed) = done?;
        self.looked = self.looked.saturating_sub(taken);
        if self.pending.len() > LONGEST_ROW {
            return Err(Unshowable::TooLong);
        }
        if alone && whole && !changed && self.pending.is_empty() {
            return Ok(Screening::Unchanged(Screened(())));
        }
        if screen.made.len() == body {
            screen.made.clear();
        } else {
            finish(&mut screen.made, start)?;
        }
        Ok(Screening::Made(Made { bytes: &screen.made }))
    }

    /// Writes all rows that are here; says how long they are, and whether one was
    /// changed.
    fn rows(
        &mut self,
        screen: &mut Screen,
        plan: &Plan,
        bytes: &[u8],
    ) -> Result<(usize, bool), Unshowable> {
        let (mut taken, mut changed) = (0, false);
        while let Some(length) = self.row_end(bytes, taken)? {
            let row = bytes.get(taken..taken + length).unwrap_or_default();
            changed |= self.row(screen, plan, row)?;
            taken += length;
        }
        Ok((taken, changed))
    }

    /// CopyDone has come: what is left is a row without an end.
    pub fn end<'s>(&mut self, screen: &'s mut Screen, plan: &Plan) -> Result<Made<'s>, Unshowable> {
        let start = begin(&mut screen.made, b'd');
        let body = screen.made.len();
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            if self.style == CopyStyle::Binary {
                return Err(Unshowable::Malformed);
            }
            self.row(screen, plan, &pending)?;
        }
        if screen.made.len() == body {
            screen.made.clear();
        } else {
            finish(&mut screen.made, start)?;
        }
        Ok(Made { bytes: &screen.made })
    }

    /// How long the row is that begins at `from`, if all of it is here.
    fn row_end(&mut self, bytes: &[u8], from: usize) -> Result<Option<usize>, Unshowable> {
        let mut place = self.looked.max(from);
        let rest = |place| bytes.get(place..).unwrap_or_default();
        match self.style {
            CopyStyle::Binary => return self.tuple_end(bytes, from),
            CopyStyle::Text { .. } | CopyStyle::Lines => {
                if let Some(found) = memchr(b'\n', rest(place)) {
                    self.looked = place + found + 1;
                    return Ok(Some(self.looked - from));
                }
                place = bytes.len();
            }
            CopyStyle::Csv { quote, escape, .. } => loop {
                let Some(found) = memchr3(quote, escape, b'\n', rest(place)) else {
                    place = bytes.len();
                    break;
                };
                place += found;
                let sign = bytes.get(place).copied().unwrap_or_default();
                if self.quoted && sign == escape && escape != quote {
                    // What it escapes must be here too.
                    if bytes.get(place + 1).is_none() {
                        break;
                    }
                    place += 2;
                    continue;
                }
                place += 1;
                if sign == quote {
                    self.quoted = !self.quoted;
                } else if sign == b'\n' && !self.quoted {
                    self.looked = place;
                    return Ok(Some(place - from));
                }
            },
        }
        self.looked = place;
        Ok(None)
    }

    fn tuple_end(&self, bytes: &[u8], from: usize) -> Result<Option<usize>, Unshowable> {
        let rest = bytes.get(from..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        if self.ended {
            return Err(Unshowable::Malformed);
        }
        let mut place = 0;
        if !self.begun {
            let Some(head) = rest.get(..SIGNATURE.len() + 8) else { return Ok(None) };
            let extension = head.last_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
            if !head.starts_with(SIGNATURE) {
                return Err(Unshowable::Malformed);
            }
            let length = usize::try_from(extension).map_err(|_| Unshowable::Malformed)?;
            place = head.len() + length;
            return Ok(rest.get(..place).map(|_| place));
        }
        let Some(count) = rest.first_chunk().map(|bytes| i16::from_be_bytes(*bytes)) else {
            return Ok(None);
        };
        place += 2;
        for _ in 0..count.max(0) {
            let Some(length) = rest.get(place..place + 4).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            place += 4;
            if let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) {
                place = place.saturating_add(length);
            }
            if place > rest.len() {
                return Ok(None);
            }
        }
        Ok(Some(place))
    }

    /// Writes one row; says whether it was changed.
    fn row(&mut self, screen: &mut Screen, plan: &Plan, row: &[u8]) -> Result<bool, Unshowable> {
        let first = !std::mem::replace(&mut self.begun, true);
        match &self.style {
            CopyStyle::Binary if first => {
                screen.made.extend_from_slice(row);
                Ok(false)
            }
            CopyStyle::Binary => {
                if row == (-1_i16).to_be_bytes() {
                    self.ended = true;
                    screen.made.extend_from_slice(row);
                    return Ok(false);
                }
                binary(screen, plan, row)
            }
            CopyStyle::Text { header: true, .. } | CopyStyle::Csv { header: true, .. } if first => {
                screen.made.extend_from_slice(row);
                Ok(false)
            }
            CopyStyle::Text { delimiter, null, .. } => text(screen, plan, row, *delimiter, null),
            CopyStyle::Csv { delimiter, null, quote, escape, .. } => {
                csv(screen, plan, row, [*delimiter, *quote, *escape], null)
            }
            CopyStyle::Lines => {
                let (line, end) = line(row);
                let treatment = lines_treatment(plan);
                let shown = screen.cells.cell(
                    Cell { form: &TEXT, binary: false, treatment, rules: &plan.rules },
                    line,
                    &mut screen.made,
                );
                match shown {
                    Shown::Same => screen.made.extend_from_slice(line),
                    Shown::Made | Shown::Null => {}
                }
                screen.made.extend_from_slice(end);
                Ok(shown != Shown::Same)
            }
        }
    }
}

const TEXT: super::form::Form = super::form::Form::Text { most: None, padded: false };
const SCANNED: ColumnPlan =
    ColumnPlan { form: TEXT, binary: false, treatment: Treatment::Scan(Demand::Check) };

/// A line of which nothing is known is as sensitive as its most sensitive column.
fn lines_treatment(plan: &Plan) -> Treatment {
    plan.columns()
        .iter()
        .chain(&plan.any)
        .map(|column| column.treatment)
        .find(|treatment| matches!(treatment, Treatment::Mask { .. }))
        .unwrap_or(Treatment::Scan(Demand::Check))
}

fn column(plan: &Plan, place: usize) -> Result<&ColumnPlan, Unshowable> {
    match plan.columns() {
        [] => Ok(plan.any.as_ref().unwrap_or(const { &SCANNED })),
        columns => columns
            .get(place)
            .ok_or(Unshowable::Columns { expected: columns.len(), found: place + 1 }),
    }
}

fn cell<'c>(plan: &'c Plan, column: &'c ColumnPlan, binary: bool) -> Cell<'c> {
    Cell { form: &column.form, binary, treatment: column.treatment, rules: &plan.rules }
}

/// A row and what ends it.
fn line(row: &[u8]) -> (&[u8], &[u8]) {
    let end = match row {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    row.split_at_checked(row.len() - end).unwrap_or((row, b""))
}

fn binary(screen: &mut Screen, plan: &Plan, row: &[u8]) -> Result<bool, Unshowable> {
    let (count, mut rest) = row.split_first_chunk::<2>().ok_or(Unshowable::Malformed)?;
    screen.made.extend_from_slice(count);
    let found = usize::try_from(i16::from_be_bytes(*count)).map_err(|_| Unshowable::Malformed)?;
    let expected = plan.columns().len();
    if expected != 0 && expected != found {
        return Err(Unshowable::Columns { expected, found });
    }
    let mut changed = false;
    for place in 0..found {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(Unshowable::Malformed)?;
        let at = screen.made.len();
        screen.made.extend_from_slice(length);
        rest = tail;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { continue };
        let (value, tail) = rest.split_at_checked(length).ok_or(Unshowable::Malformed)?;
        rest = tail;
        let column = column(plan, place)?;
        match screen.cells.cell(cell(plan, column, true), value, &mut screen.made) {
            Shown::Same => screen.made.extend_from_slice(value),
            Shown::Made => {
                let length = super::screen::length_of(screen.made.len() - at - 4)?;
                super::screen::set(&mut screen.made, at, length);
                changed = true;
            }
            Shown::Null => {
                super::screen::set(&mut screen.made, at, -1);
                changed = true;
            }
        }
    }
    Ok(changed)
}

fn text(
    screen: &mut Screen,
    plan: &Plan,
    row: &[u8],
    delimiter: u8,
    null: &[u8],
) -> Result<bool, Unshowable> {
    let (line, _) = line(row);
    if line == b"\\." {
        screen.made.extend_from_slice(row);
        return Ok(false);
    }
    fields(
        screen,
        plan,
        row,
        null,
        |rest| text_field(rest, delimiter),
        |shown, out| escape(shown, delimiter, out),
    )
}

/// The fields of a row, one after the other: `read` tells what the first of a rest
/// says, how long it is as written, and whether it is so written that it is no NULL;
/// `write` writes what is shown in its place.
fn fields(
    screen: &mut Screen,
    plan: &Plan,
    row: &[u8],
    null: &[u8],
    read: impl for<'l> Fn(&'l [u8]) -> (Cow<'l, [u8]>, usize, bool),
    write: impl Fn(&[u8], &mut Vec<u8>),
) -> Result<bool, Unshowable> {
    let (line, _) = line(row);
    let Screen { cells, made, scratch, .. } = screen;
    let mut changed = false;
    // How much of the row is in `made`.
    let mut written = 0;
    let (mut from, mut place) = (0, 0);
    loop {
        let rest = line.get(from..).unwrap_or_default();
        let (value, length, something) = read(rest);
        let column = column(plan, place)?;
        place += 1;
        if something || rest.get(..length) != Some(null) {
            scratch.clear();
            let shown = cells.cell(cell(plan, column, false), &value, scratch);
            if shown != Shown::Same {
                made.extend_from_slice(row.get(written..from).unwrap_or_default());
                match shown {
                    Shown::Null => made.extend_from_slice(null),
                    _ => write(scratch, made),
                }
                written = from + length;
                changed = true;
            }
        }
        from += length;
        if from >= line.len() {
            break;
        }
        from += 1;
    }
    made.extend_from_slice(row.get(written..).unwrap_or_default());
    complete(plan, place)?;
    Ok(changed)
}

/// The first field of a line: a delimiter within a value is escaped.
fn text_field(line: &[u8], delimiter: u8) -> (Cow<'_, [u8]>, usize, bool) {
    let (mut from, mut escaped, mut length) = (0, false, line.len());
    while let Some(found) = memchr2(delimiter, b'\\', line.get(from..).unwrap_or_default()) {
        let place = from + found;
        if line.get(place) == Some(&delimiter) {
            length = place;
            break;
        }
        escaped = true;
        from = place + 2;
    }
    let raw = line.get(..length).unwrap_or_default();
    let value = if escaped { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) };
    (value, length, false)
}

/// No column may be missing: then they aren't those of the plan.
fn complete(plan: &Plan, found: usize) -> Result<(), Unshowable> {
    match plan.columns().len() {
        0 => Ok(()),
        expected if expected == found => Ok(()),
        expected => Err(Unshowable::Columns { expected, found }),
    }
}

fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(raw.len());
    let mut signs = raw.iter();
    while let Some(&sign) = signs.next() {
        if sign != b'\\' {
            plain.push(sign);
            continue;
        }
        plain.push(match signs.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'v') => 11,
            Some(other) => *other,
            None => b'\\',
        });
    }
    plain
}

fn escape(text: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |sign: &u8| matches!(sign, b'\n' | b'\t' | b'\r' | b'\\') || *sign == delimiter;
    if !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    for &sign in text {
        match sign {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ if sign == delimiter => out.extend_from_slice(&[b'\\', sign]),
            _ => out.push(sign),
        }
    }
}

fn csv(
    screen: &mut Screen,
    plan: &Plan,
    row: &[u8],
    [delimiter, quote, escape]: [u8; 3],
    null: &[u8],
) -> Result<bool, Unshowable> {
    fields(
        screen,
        plan,
        row,
        null,
        |rest| field(rest, delimiter, quote, escape),
        |shown, out| {
            out.push(quote);
            for &sign in shown {
                if sign == quote || sign == escape {
                    out.push(escape);
                }
                out.push(sign);
            }
            out.push(quote);
        },
    )
}

/// What a field says, how long it is as written, and whether it had quotes.
fn field(line: &[u8], delimiter: u8, quote: u8, escape: u8) -> (Cow<'_, [u8]>, usize, bool) {
    let first = memchr3(delimiter, quote, escape, line).unwrap_or(line.len());
    if line.get(first).is_none_or(|sign| *sign == delimiter) {
        return (Cow::Borrowed(line.get(..first).unwrap_or_default()), first, false);
    }
    let mut plain = Vec::new();
    let (mut place, mut quoted, mut had) = (0, false, false);
    while let Some(&sign) = line.get(place) {
        let next = line.get(place + 1).copied();
        if quoted && sign == escape && next.is_some_and(|next| next == quote || next == escape) {
            plain.extend(next);
            place += 2;
            continue;
        }
        if sign == quote {
            quoted = !quoted;
            had = true;
        } else if sign == delimiter && !quoted {
            break;
        } else {
            plain.push(sign);
        }
        place += 1;
    }
    (Cow::Owned(plain), place, had)
}
