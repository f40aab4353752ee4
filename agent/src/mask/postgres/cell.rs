//! One cell: its bytes in, what the client may see out.
//!
//! INVARIANTS
//! - What is written is a valid value of the cell's type, in its format.
//! - A cell that can't be read as its type says is taken for sensitive where the
//!   column is, and scanned as bytes where it isn't.

use std::collections::HashMap;

use super::form::{Element, Form};
use super::nested;
use super::plan::Treatment;
use super::{encoded, json, scalar};
use crate::mask::class::{Class, Tally};
use crate::mask::content::{self, Demand, Found};
use crate::mask::style::Mask;
use crate::mask::value::{self, Hand};

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Shown {
    /// It goes as it is; nothing was written.
    Same,
    /// What was written goes in its place.
    Made,
    /// NULL goes in its place; nothing was written.
    Null,
}

/// What masks are made with, and what was masked.
#[derive(Debug)]
pub struct Cells {
    pub hand: Hand,
    pub tally: Tally,
    pub(super) found: Vec<Found>,
    pub(super) keys: json::KeyNames,
    depth: u32,
    /// A sign of the client's encoding may end with the byte of another: what is
    /// structured by single bytes can't be read.
    pub(super) mixed: bool,
}

/// Values within values go no deeper.
const DEEPEST: u32 = 24;
/// A shorter text isn't taken for another that was encoded.
const LEAST_ENCODED: usize = 12;

/// What is done to what content gives away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub masks: [Mask; Class::COUNT],
    /// What keys of documents mean, beyond what their names say: the names of
    /// columns that the statement reads.
    pub keys: HashMap<Box<[u8]>, (Class, Mask)>,
}

impl Default for Rules {
    fn default() -> Self {
        let mut masks = [Mask::Redact; Class::COUNT];
        for (mask, class) in masks.iter_mut().zip(Class::ALL) {
            *mask = class.default_mask();
        }
        Self { masks, keys: HashMap::new() }
    }
}

impl Rules {
    pub fn mask(&self, class: Class) -> Mask {
        self.masks.get(class as usize).copied().unwrap_or(Mask::Redact)
    }
}

/// A cell with what is known of its column.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'c> {
    pub form: &'c Form,
    pub binary: bool,
    pub treatment: Treatment,
    pub rules: &'c Rules,
}

impl Cells {
    pub fn new(hand: Hand) -> Self {
        Self {
            hand,
            tally: Tally::default(),
            found: Vec::new(),
            keys: json::KeyNames::default(),
            depth: 0,
            mixed: false,
        }
    }

    /// Masks one cell; what is made is appended to `out`.
    #[inline]
    pub fn cell(&mut self, cell: Cell<'_>, value: &[u8], out: &mut Vec<u8>) -> Shown {
        match cell.treatment {
            Treatment::Pass => Shown::Same,
            _ if self.mixed && is_structured(cell.form) => {
                self.tally.add(Class::Opaque);
                Shown::Null
            }
            Treatment::Scan(demand) => self.scan(cell, demand, value, out),
            Treatment::Literals => {
                let start = out.len();
                let shown = self.literals(cell.rules, value, out);
                self.limited(cell, shown, start, out)
            }
            Treatment::Mask { class, mask, .. } => {
                let shown = self.whole(cell, class, mask, value, out);
                if shown != Shown::Same {
                    self.tally.add(class);
                }
                shown
            }
        }
    }

    /// A cell within a cell.
    pub(super) fn inner(&mut self, cell: Cell<'_>, value: &[u8], out: &mut Vec<u8>) -> Shown {
        if self.depth >= DEEPEST {
            return Shown::Null;
        }
        self.depth += 1;
        let shown = match cell.treatment {
            // The whole is counted once.
            Treatment::Mask { class, mask, .. } => self.whole(cell, class, mask, value, out),
            _ => self.cell(cell, value, out),
        };
        self.depth -= 1;
        shown
    }

    fn scan(&mut self, cell: Cell<'_>, demand: Demand, value: &[u8], out: &mut Vec<u8>) -> Shown {
        match cell.form {
            Form::Text { .. } => {
                let start = out.len();
                let shown = self.text(cell.rules, demand, value, out);
                self.limited(cell, shown, start, out)
            }
            Form::Json => json::rewrite(self, cell, value, out),
            Form::Jsonb if !cell.binary => json::rewrite(self, cell, value, out),
            Form::Jsonb => {
                let Some((version, text)) = value.split_first() else { return Shown::Same };
                let start = out.len();
                out.push(*version);
                let shown = json::rewrite(self, cell, text, out);
                if shown != Shown::Made {
                    out.truncate(start);
                }
                shown
            }
            Form::Int(8) | Form::Numeric => self.number(cell, demand, value, out),
            Form::Array(element) => self.array(cell, element, value, out),
            Form::Composite(_) | Form::Record => nested::composite(self, cell, value, out),
            Form::Hstore => nested::hstore(self, cell, value, out),
            Form::Xml => self.xml(cell, demand, value, out),
            Form::Bytes => self.bytes(cell, demand, value, out),
            Form::Search { .. } | Form::Unknown | Form::Network | Form::Mac(_) => {
                self.opaque(cell, demand, value, out)
            }
            _ => Shown::Same,
        }
    }

    /// Text of which only spans are sensitive.
    pub(super) fn text(
        &mut self,
        rules: &Rules,
        demand: Demand,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Shown {
        // A document in a column of text has names in it.
        if matches!(value.first(), Some(b'{' | b'[')) && value.len() > 6 {
            let cell = Cell {
                form: &Form::Json,
                binary: false,
                treatment: Treatment::Scan(Demand::Check),
                rules,
            };
            if json::is_document(value) {
                return json::rewrite(self, cell, value, out);
            }
        }
        self.spans(rules, demand, value, out)
    }

    /// What was made is no longer than its column takes.
    fn limited(&self, cell: Cell<'_>, shown: Shown, start: usize, out: &mut Vec<u8>) -> Shown {
        if let (Shown::Made, Form::Text { most: Some(most), .. }) = (shown, cell.form) {
            value::limit(out, start, *most as usize, self.hand.unicode);
        }
        shown
    }

    /// What stands between quotes is sensitive, and what its content gives away.
    pub(super) fn literals(&mut self, rules: &Rules, value: &[u8], out: &mut Vec<u8>) -> Shown {
        let start = out.len();
        let mut changed = false;
        for (place, part) in value.split(|sign| *sign == b'\'').enumerate() {
            if place > 0 {
                out.push(b'\'');
            }
            if place % 2 == 1 && !part.is_empty() {
                out.extend_from_slice(self.hand.dot());
                changed = true;
            } else {
                match self.spans(rules, Demand::Check, part, out) {
                    Shown::Made => changed = true,
                    _ => out.extend_from_slice(part),
                }
            }
        }
        if changed {
            return Shown::Made;
        }
        out.truncate(start);
        Shown::Same
    }

    /// Writes text with its sensitive spans masked.
    pub(super) fn spans(
        &mut self,
        rules: &Rules,
        demand: Demand,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Shown {
        let mut found = std::mem::take(&mut self.found);
        content::scan(value, demand, &mut found);
        found.retain(|one| rules.mask(one.class) != Mask::Keep);
        let mut shown = Shown::Same;
        let mut written = 0;
        for one in &found {
            let mask = rules.mask(one.class);
            let span = value.get(one.start..one.end).unwrap_or_default();
            self.tally.add(one.class);
            if mask == Mask::Null && span.len() == value.trim_ascii().len() {
                shown = Shown::Null;
                break;
            }
            out.extend_from_slice(value.get(written..one.start).unwrap_or_default());
            self.hand.write(one.class, mask, span, out);
            written = one.end;
            shown = Shown::Made;
        }
        if shown == Shown::Made {
            out.extend_from_slice(value.get(written..).unwrap_or_default());
        }
        found.clear();
        self.found = found;
        if shown == Shown::Same && value.len() >= LEAST_ENCODED {
            return self.encoded(rules, demand, value, out);
        }
        shown
    }

    /// A text that is nothing but hexadecimal digits or base64 may be another.
    fn encoded(&mut self, rules: &Rules, demand: Demand, value: &[u8], out: &mut Vec<u8>) -> Shown {
        let Some(inner) = encoded::decode(value) else { return Shown::Same };
        let Some((class, mask)) = self.first(rules, demand, &inner) else { return Shown::Same };
        self.tally.add(class);
        if mask == Mask::Null {
            return Shown::Null;
        }
        self.hand.write(Class::Opaque, Mask::Redact, value, out);
        Shown::Made
    }

    /// The class of what is found first, if any.
    pub(super) fn first(
        &mut self,
        rules: &Rules,
        demand: Demand,
        value: &[u8],
    ) -> Option<(Class, Mask)> {
        content::scan(value, demand, &mut self.found);
        self.found
            .iter()
            .map(|one| (one.class, rules.mask(one.class)))
            .find(|(_, mask)| *mask != Mask::Keep)
    }

    fn number(&mut self, cell: Cell<'_>, demand: Demand, value: &[u8], out: &mut Vec<u8>) -> Shown {
        let mut digits = scalar::Digits::default();
        let text = match (cell.form, cell.binary) {
            (_, false) => value,
            (Form::Int(_), true) => digits.of_int(value),
            _ => digits.of_numeric(value),
        };
        // Shorter numbers prove nothing.
        if text.len() < LEAST_NUMBER || demand == Demand::Form {
            return Shown::Same;
        }
        match self.first(cell.rules, demand, text) {
            Some((class, mask)) => {
                self.tally.add(class);
                self.whole(cell, class, mask, value, out)
            }
            None => Shown::Same,
        }
    }

    /// Bytes that hold text: `\x…` in text format.
    fn bytes(&mut self, cell: Cell<'_>, demand: Demand, value: &[u8], out: &mut Vec<u8>) -> Shown {
        let decoded;
        let content = match value.strip_prefix(b"\\x") {
            Some(digits) if !cell.binary => {
                decoded = scalar::unhex(digits);
                decoded.as_slice()
            }
            _ => value,
        };
        match self.first(cell.rules, demand, content) {
            Some((class, mask)) => {
                self.tally.add(class);
                self.whole(cell, class, mask, value, out)
            }
            None => Shown::Same,
        }
    }

    /// A type whose inside isn't known: what is found makes it NULL.
    fn opaque(&mut self, cell: Cell<'_>, demand: Demand, value: &[u8], out: &mut Vec<u8>) -> Shown {
        match self.first(cell.rules, demand, value) {
            Some((class, mask)) => {
                self.tally.add(class);
                self.whole(cell, class, mask, value, out)
            }
            None => Shown::Same,
        }
    }

    fn xml(&mut self, cell: Cell<'_>, demand: Demand, value: &[u8], out: &mut Vec<u8>) -> Shown {
        super::xml::rewrite(self, cell, demand, value, out)
    }

    fn array(
        &mut self,
        cell: Cell<'_>,
        element: &Element,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Shown {
        nested::array(self, cell, element, value, out)
    }

    /// All of a value is sensitive.
    pub(super) fn whole(
        &mut self,
        cell: Cell<'_>,
        class: Class,
        mask: Mask,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Shown {
        if mask == Mask::Keep {
            return Shown::Same;
        }
        if mask == Mask::Null {
            return Shown::Null;
        }
        let start = out.len();
        let hand = &self.hand;
        let shown = match cell.form {
            Form::Text { most, padded } => {
                hand.write(class, mask, value, out);
                if let Some(most) = most {
                    value::limit(out, start, *most as usize, hand.unicode);
                    if *padded {
                        pad(out, start, *most as usize, hand.unicode);
                    }
                }
                Shown::Made
            }
            Form::Bool => scalar::boolean(cell.binary, out),
            Form::Int(size) => scalar::int(hand, *size, cell.binary, class, mask, value, out),
            Form::Float(size) => scalar::float(*size, cell.binary, mask, value, out),
            Form::Numeric => scalar::numeric(hand, cell.binary, class, mask, value, out),
            Form::Money => scalar::money(cell.binary, value, out),
            Form::Date => scalar::date(cell.binary, mask, value, out),
            Form::Timestamp => scalar::timestamp(cell.binary, mask, value, out),
            Form::Time => scalar::time(cell.binary, false, value, out),
            Form::TimeZone => scalar::time(cell.binary, true, value, out),
            Form::Interval => scalar::interval(cell.binary, value, out),
            Form::Uuid => scalar::uuid(hand, cell.binary, mask, value, out),
            Form::Network => scalar::network(cell.binary, mask, value, out),
            Form::Mac(size) => scalar::mac(*size, cell.binary, mask, value, out),
            Form::Bytes => scalar::bytes(hand, cell.binary, mask, value, out),
            Form::Bits => scalar::bits(cell.binary, value, out),
            Form::Points(head) => scalar::points(*head, cell.binary, mask, value, out),
            // Not `empty`: not every driver reads it. Both bounds infinite.
            Form::Range => constant(cell.binary, b"(,)", &[0x18], out),
            Form::Multirange => constant(cell.binary, b"{}", &[0; 4], out),
            Form::Search { query } => {
                // An empty search has no item; an empty vector no word.
                let _ = query;
                constant(cell.binary, b"", &[0; 4], out)
            }
            Form::Json => json::whole(self, class, mask, keeps_keys(cell), value, out),
            Form::Jsonb if !cell.binary => {
                json::whole(self, class, mask, keeps_keys(cell), value, out)
            }
            Form::Jsonb => match value.split_first() {
                Some((version, text)) => {
                    out.push(*version);
                    json::whole(self, class, mask, keeps_keys(cell), text, out)
                }
                None => Shown::Null,
            },
            Form::Xml => {
                out.extend_from_slice(b"<masked/>");
                Shown::Made
            }
            Form::Hstore => nested::hstore(self, with(cell, class, mask), value, out),
            // Of its labels none is right, and readers of such arrays take a null within
            // for one.
            Form::Array(element) if element.form == Form::Enum => Shown::Null,
            Form::Array(element) => self.array(with(cell, class, mask), element, value, out),
            Form::Composite(_) | Form::Record => {
                nested::composite(self, with(cell, class, mask), value, out)
            }
            Form::Enum | Form::Inert => Shown::Null,
            Form::Unknown => {
                self.tally.unknown_types += 1;
                Shown::Null
            }
        };
        if shown != Shown::Made {
            out.truncate(start);
        }
        shown
    }
}

/// The least digits of a number that content can tell.
const LEAST_NUMBER: usize = 11;

fn is_structured(form: &Form) -> bool {
    matches!(
        form,
        Form::Json
            | Form::Jsonb
            | Form::Hstore
            | Form::Array(_)
            | Form::Composite(_)
            | Form::Record
    )
}

/// Whether the keys of a document stay: not where values may have become keys, as in
/// whatever was made of something sensitive.
pub(super) fn keeps_keys(cell: Cell<'_>) -> bool {
    !matches!(
        cell.treatment,
        Treatment::Mask { derived: true, .. } | Treatment::Mask { class: Class::Opaque, .. }
    )
}

fn with<'c>(cell: Cell<'c>, class: Class, mask: Mask) -> Cell<'c> {
    match cell.treatment {
        Treatment::Mask { .. } => cell,
        _ => Cell { treatment: Treatment::Mask { class, mask, derived: false }, ..cell },
    }
}

fn constant(binary: bool, text: &[u8], bytes: &[u8], out: &mut Vec<u8>) -> Shown {
    out.extend_from_slice(if binary { bytes } else { text });
    Shown::Made
}

/// `char(n)` is as long as it says.
fn pad(out: &mut Vec<u8>, start: usize, signs: usize, unicode: bool) {
    let written = out.get(start..).unwrap_or_default();
    let count = written.iter().filter(|byte| !unicode || (**byte & 0xc0) != 0x80).count();
    out.resize(out.len() + signs.saturating_sub(count), b' ');
}
