//! Documents: every value by its key, else by its content. Their structure stays.
//!
//! Reads as it goes, without recursion and without building anything.

use std::collections::HashMap;

use super::cell::{Cell, Cells, Shown};
use crate::mask::class::Class;
use crate::mask::content::Demand;
use crate::mask::names::{self, Kind, Named};
use crate::mask::style::Mask;

/// What keys mean, looked up once each.
#[derive(Debug, Default)]
pub(super) struct KeyNames {
    /// As such, and within something of a person's.
    known: [HashMap<Box<[u8]>, Meaning>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meaning {
    class: Option<Class>,
    demand: Demand,
    /// What it holds is a person's.
    person: bool,
}

/// Keys that are remembered.
const MOST_KEYS: usize = 4096;

impl KeyNames {
    fn meaning(&mut self, key: &[u8], of_person: bool) -> Meaning {
        let [plain, within] = &mut self.known;
        let known = if of_person { within } else { plain };
        if let Some(meaning) = known.get(key) {
            return *meaning;
        }
        let text = String::from_utf8_lossy(key);
        let table = if of_person { "person" } else { "" };
        let named = Named { table, column: &text, kind: Kind::Text, ..Named::default() };
        let meaning = Meaning {
            class: names::classify(&named).map(|(class, _)| class),
            demand: if names::innocent(&text) { Demand::Form } else { Demand::Check },
            person: names::of_persons(&text),
        };
        if known.len() >= MOST_KEYS {
            known.clear();
        }
        known.insert(key.into(), meaning);
        meaning
    }
}

/// What holds within an object or array.
#[derive(Clone, Copy, Debug)]
struct Level {
    object: bool,
    /// From a key further out.
    class: Option<(Class, Mask)>,
    /// What the latest key says of its value.
    next: Option<(Class, Mask)>,
    demand: Demand,
    /// A key, not a value, is due.
    wants_key: bool,
    /// It is a person's; what the latest key says of its value.
    person: bool,
    next_person: bool,
}

/// Deeper documents are not told apart any further: all of it is sensitive.
const DEEPEST: usize = 512;

/// What is done to a document's values.
#[derive(Clone, Copy, Debug)]
struct Given {
    class: Option<(Class, Mask)>,
    keeps_keys: bool,
}

/// Whether a text is a document, by the look of it.
pub(super) fn is_document(text: &[u8]) -> bool {
    let end = text.trim_ascii_end().last();
    let second = text.get(1..).and_then(|rest| rest.trim_ascii_start().first());
    matches!(
        (text.first(), second, end),
        (Some(b'{'), Some(b'"'), Some(b'}')) | (Some(b'['), Some(b'{' | b'"' | b'['), Some(b']'))
    )
}

pub(super) fn rewrite(cells: &mut Cells, cell: Cell<'_>, text: &[u8], out: &mut Vec<u8>) -> Shown {
    walk(cells, cell, Given { class: None, keeps_keys: true }, text, out)
}

/// Every value is of one class.
pub(super) fn whole(
    cells: &mut Cells,
    class: Class,
    mask: Mask,
    keeps_keys: bool,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Shown {
    let rules = super::cell::Rules::default();
    let cell = Cell {
        form: &super::form::Form::Json,
        binary: false,
        treatment: super::plan::Treatment::Pass,
        rules: &rules,
    };
    match walk(cells, cell, Given { class: Some((class, mask)), keeps_keys }, text, out) {
        // Nothing in it but structure.
        Shown::Same => {
            out.extend_from_slice(text);
            Shown::Made
        }
        shown => shown,
    }
}

fn walk(cells: &mut Cells, cell: Cell<'_>, given: Given, text: &[u8], out: &mut Vec<u8>) -> Shown {
    let start = out.len();
    let mut levels: Vec<Level> = Vec::new();
    let top = Level {
        object: false,
        class: given.class,
        next: None,
        demand: Demand::Check,
        wants_key: false,
        person: false,
        next_person: false,
    };
    // What of the text is in `out` already.
    let mut written = 0;
    let mut place = 0;
    while let Some(&sign) = text.get(place) {
        let level = levels.last().copied().unwrap_or(top);
        let class = level.next.or(level.class);
        match sign {
            b'{' | b'[' => {
                if levels.len() >= DEEPEST {
                    out.truncate(start);
                    out.extend_from_slice(b"null");
                    return Shown::Made;
                }
                let object = sign == b'{';
                levels.push(Level {
                    object,
                    class,
                    next: None,
                    demand: level.demand,
                    wants_key: object,
                    person: level.next_person || !level.object && level.person,
                    // The elements of a list of persons are persons.
                    next_person: !object && (level.next_person || level.person),
                });
                place += 1;
            }
            b'}' | b']' => {
                levels.pop();
                place += 1;
            }
            b',' => {
                if let Some(level) = levels.last_mut() {
                    level.wants_key = level.object;
                    if level.object {
                        level.next = None;
                    }
                }
                place += 1;
            }
            b'"' => {
                let end = string_end(text, place);
                let raw = text.get(place + 1..end.saturating_sub(1)).unwrap_or_default();
                let mut made = Vec::new();
                let shown = if level.wants_key {
                    key(cells, cell, given, raw, &mut levels, &mut made)
                } else {
                    string(cells, cell, class, level.demand, raw, &mut made)
                };
                match shown {
                    Shown::Same => {}
                    Shown::Made => {
                        out.extend_from_slice(text.get(written..place).unwrap_or_default());
                        out.push(b'"');
                        out.extend_from_slice(&made);
                        out.push(b'"');
                        written = end;
                    }
                    Shown::Null => {
                        out.extend_from_slice(text.get(written..place).unwrap_or_default());
                        out.extend_from_slice(b"null");
                        written = end;
                    }
                }
                place = end;
            }
            b'0'..=b'9' | b'-' | b't' | b'f' => {
                let run = text.get(place..).unwrap_or_default();
                let length = run
                    .iter()
                    .take_while(|sign| sign.is_ascii_alphanumeric() || b"+-.".contains(sign))
                    .count();
                let run = run.get(..length).unwrap_or_default();
                let mut made = Vec::new();
                if bare(cells, cell, class, level.demand, run, &mut made) {
                    out.extend_from_slice(text.get(written..place).unwrap_or_default());
                    out.extend_from_slice(&made);
                    written = place + length;
                }
                place += length.max(1);
            }
            _ => place += 1,
        }
    }
    if written == 0 && out.len() == start {
        return Shown::Same;
    }
    out.extend_from_slice(text.get(written..).unwrap_or_default());
    Shown::Made
}

/// Behind the closing quote of a string that begins at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while let Some(&sign) = text.get(place) {
        match sign {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    // It has none: then its last sign is taken for it.
    text.len() + 1
}

/// A key: it says what its value is, and may itself be a value.
fn key(
    cells: &mut Cells,
    cell: Cell<'_>,
    given: Given,
    raw: &[u8],
    levels: &mut [Level],
    made: &mut Vec<u8>,
) -> Shown {
    let plain = unescaped(raw);
    let name = plain.as_deref().unwrap_or(raw);
    let of_person = levels.last().is_some_and(|level| level.person);
    let meaning = cells.keys.meaning(name, of_person);
    let known = cell.rules.keys.get(name).copied();
    let named = meaning.class.map(|class| (class, cell.rules.mask(class)));
    // Within what was made of something sensitive a key may be a value.
    let within = levels.last().and_then(|level| level.class);
    let opaque = |(class, mask): &(Class, Mask)| *class == Class::Opaque && *mask != Mask::Keep;
    let hidden = given.class.filter(|_| !given.keeps_keys).or(within.filter(opaque));
    if let Some(level) = levels.last_mut() {
        level.wants_key = false;
        // What stands within something sensitive is never shown for its own key's sake.
        let inner = known.or(named);
        level.next = given.class.or(match (level.class, inner) {
            (Some(outer), Some(inner)) if outer.0 != inner.0 && outer.1 != Mask::Keep => {
                Some((outer.0, outer.1.max(Mask::Redact)))
            }
            (outer, inner) => inner.or(outer),
        });
        level.demand = meaning.demand;
        level.next_person = meaning.person;
    }
    if let Some((class, mask)) = hidden {
        // It can't be null.
        let mask = if mask == Mask::Null { Mask::Redact } else { mask };
        return replaced(cells, class, mask, name, made);
    }
    string(cells, cell, None, Demand::Check, raw, made).or_redacted(cells, made)
}

impl Shown {
    /// A key can't be null.
    fn or_redacted(self, cells: &Cells, made: &mut Vec<u8>) -> Self {
        if self == Self::Null {
            made.extend_from_slice(cells.hand.dot());
            return Self::Made;
        }
        self
    }
}

fn string(
    cells: &mut Cells,
    cell: Cell<'_>,
    class: Option<(Class, Mask)>,
    demand: Demand,
    raw: &[u8],
    made: &mut Vec<u8>,
) -> Shown {
    if raw.is_empty() {
        return Shown::Same;
    }
    let plain = unescaped(raw);
    let value = plain.as_deref().unwrap_or(raw);
    match class {
        Some((_, Mask::Keep)) => Shown::Same,
        Some((_, Mask::Null)) => Shown::Null,
        Some((class, mask)) => {
            cells.tally.add(class);
            replaced(cells, class, mask, value, made)
        }
        None => {
            let mut text = Vec::new();
            match cells.spans(cell.rules, demand, value, &mut text) {
                Shown::Made => {
                    escape(&text, made);
                    Shown::Made
                }
                shown => shown,
            }
        }
    }
}

fn replaced(cells: &Cells, class: Class, mask: Mask, value: &[u8], made: &mut Vec<u8>) -> Shown {
    let mut text = Vec::new();
    cells.hand.write(class, mask, value, &mut text);
    escape(&text, made);
    Shown::Made
}

/// A number or a truth. Says whether it was replaced.
fn bare(
    cells: &mut Cells,
    cell: Cell<'_>,
    class: Option<(Class, Mask)>,
    demand: Demand,
    run: &[u8],
    made: &mut Vec<u8>,
) -> bool {
    let number = matches!(run.first(), Some(b'0'..=b'9' | b'-'));
    let whole = number && run.iter().all(u8::is_ascii_digit);
    let (class, mask) = match class {
        Some((_, Mask::Keep)) => return false,
        Some(class) => {
            cells.tally.add(class.0);
            class
        }
        None if whole && run.len() >= 11 && demand == Demand::Check => {
            match cells.first(cell.rules, demand, run) {
                Some(class) => {
                    cells.tally.add(class.0);
                    class
                }
                None => return false,
            }
        }
        None => return false,
    };
    let shown = match (mask, number) {
        (Mask::Null, _) => Shown::Null,
        (_, false) => {
            made.extend_from_slice(b"false");
            return true;
        }
        (Mask::Truncate, true) if class == Class::GeoPosition => {
            super::scalar::float(8, false, mask, run, made)
        }
        (_, true) if whole => super::scalar::int(&cells.hand, 8, false, class, mask, run, made),
        _ => {
            made.push(b'0');
            return true;
        }
    };
    if shown != Shown::Made {
        made.extend_from_slice(b"null");
    }
    true
}

/// What a string means; nothing if it is written as it is.
fn unescaped(raw: &[u8]) -> Option<Vec<u8>> {
    if !raw.contains(&b'\\') {
        return None;
    }
    let mut plain = Vec::with_capacity(raw.len());
    let mut signs = raw.iter().copied();
    let mut half = None::<u32>;
    while let Some(sign) = signs.next() {
        if sign != b'\\' {
            plain.push(sign);
            continue;
        }
        match signs.next() {
            Some(b'u') => {
                let unit = signs
                    .by_ref()
                    .take(4)
                    .fold(0, |sum, digit| sum * 16 + char::from(digit).to_digit(16).unwrap_or(0));
                let code = match (half.take(), unit) {
                    (_, 0xd800..=0xdbff) => {
                        half = Some(unit);
                        continue;
                    }
                    (Some(high), 0xdc00..=0xdfff) => {
                        0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00)
                    }
                    _ => unit,
                };
                let sign = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                plain.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(b'n') => plain.push(b'\n'),
            Some(b't') => plain.push(b'\t'),
            Some(b'r') => plain.push(b'\r'),
            Some(b'b') => plain.push(8),
            Some(b'f') => plain.push(12),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &sign in text {
        match sign {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', sign]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                crate::mask::value::hex(&[sign], 1, out);
            }
            _ => out.push(sign),
        }
    }
}
