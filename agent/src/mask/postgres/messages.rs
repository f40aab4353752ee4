//! What a server says beside rows: errors, notices, parameters, notifications.
//!
//! An error can quote a value (`Key (email)=(…) already exists`). What stands
//! where the server puts values is masked by its place, not by the language the
//! server speaks; everything else is scanned.

use std::cell::Cell;

use memchr::memmem::{find, rfind};

use super::cell::{Cells, Rules, Shown};
use super::screen::{Made, Screen, Screened, Screening, Unshowable, begin, finish};
use crate::mask::content::Demand;
use crate::wire::postgres::{Fields, Notification, Parameter};

/// How far what a message says can be trusted to hold no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Care {
    /// What belongs to no statement, or to one that touches nothing sensitive.
    #[default]
    Scan,
    /// The statement touches what is sensitive, or isn't understood.
    Touches,
}

/// Code of the field with the position in the client's own text.
const POSITION: u8 = b'P';
const WHERE: u8 = b'W';
const INTERNAL_QUERY: u8 = b'q';
const ROUTINE: u8 = b'R';

impl Screen {
    /// ErrorResponse and NoticeResponse: `tag` is `E` or `N`. `asked`: the client's
    /// own text, of which it may be told everything.
    pub fn message(
        &mut self,
        tag: u8,
        fields: Fields<'_>,
        care: Care,
        asked: &[u8],
        rules: &Rules,
    ) -> Result<Screening<'_>, Unshowable> {
        let start = begin(&mut self.made, tag);
        let state: [u8; 5] =
            fields.sqlstate().and_then(|state| state.first_chunk().copied()).unwrap_or(*b"XX000");
        // What somebody's code raises may be made of anything, names included.
        let raised = care == Care::Touches
            && matches!(fields.field(ROUTINE), Some(b"exec_stmt_raise" | b"exec_stmt_assert"));
        let asked = Asked::of(asked);
        let mut changed = false;
        for field in fields.iter() {
            self.made.push(field.code);
            let place = match raised && !is_code(field.code) {
                true => Place::All,
                // A text that code has made: it may be made of anything.
                false if field.code == INTERNAL_QUERY && care == Care::Touches => {
                    let own = !field.text.is_empty() && asked.has(field.text);
                    if own { Place::Scan } else { Place::All }
                }
                false => place_of(field.code, state, care),
            };
            // The places in code that a context names are nobody's.
            let numbers = care == Care::Touches && field.code != WHERE;
            let quoted = Quoted { asked: &asked, numbers };
            changed |= text(&mut self.cells, rules, place, quoted, field.text, &mut self.made);
            self.made.push(0);
        }
        self.made.push(0);
        if !changed {
            return Ok(Screening::Unchanged(Screened(())));
        }
        finish(&mut self.made, start)?;
        Ok(Screening::Made(Made { bytes: &self.made }))
    }

    /// ParameterStatus. A session can set a parameter to a value it has read.
    pub fn parameter(
        &mut self,
        parameter: Parameter<'_>,
        care: Care,
        rules: &Rules,
    ) -> Result<Screening<'_>, Unshowable> {
        // Of the others the server takes only words that it knows.
        let free = matches!(parameter.name, b"application_name" | b"search_path")
            || !parameter.name.iter().all(|sign| sign.is_ascii_alphabetic() || *sign == b'_');
        let place = match care {
            Care::Touches if free => Place::All,
            _ => Place::Scan,
        };
        let start = begin(&mut self.made, b'S');
        self.made.extend_from_slice(parameter.name);
        self.made.push(0);
        let quoted = Quoted { asked: &Asked::of(b""), numbers: false };
        if !text(&mut self.cells, rules, place, quoted, parameter.value, &mut self.made) {
            return Ok(Screening::Unchanged(Screened(())));
        }
        self.made.push(0);
        finish(&mut self.made, start)?;
        Ok(Screening::Made(Made { bytes: &self.made }))
    }

    /// NotificationResponse. The channel's name stays: the client listens to it.
    pub fn notification(
        &mut self,
        notification: Notification<'_>,
        care: Care,
        rules: &Rules,
    ) -> Result<Screening<'_>, Unshowable> {
        let start = begin(&mut self.made, b'A');
        self.made.extend_from_slice(&notification.process.to_be_bytes());
        self.made.extend_from_slice(notification.channel);
        self.made.push(0);
        let place = if care == Care::Touches { Place::All } else { Place::Document };
        let quoted = Quoted { asked: &Asked::of(b""), numbers: false };
        if !text(&mut self.cells, rules, place, quoted, notification.payload, &mut self.made) {
            return Ok(Screening::Unchanged(Screened(())));
        }
        self.made.push(0);
        finish(&mut self.made, start)?;
        Ok(Screening::Made(Made { bytes: &self.made }))
    }
}

/// Where in a text values may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere: a code, a name of an object.
    Nowhere,
    Scan,
    /// As Scan; a document's keys count too.
    Document,
    /// Behind `=(`, else in brackets: what violates a constraint.
    Brackets,
    /// Between quotes, and behind the last colon.
    Quoted,
    All,
}

/// What is known of quoted words.
#[derive(Clone, Copy)]
struct Quoted<'a> {
    /// The client's own text: of it everything may be told.
    asked: &'a Asked<'a>,
    /// Whether numbers may be values.
    numbers: bool,
}

impl Quoted<'_> {
    /// Whether all that is quoted stands in the client's own text.
    fn has_all(self, inner: &[u8]) -> bool {
        // What stands between two quotes is quoted, and every other piece is.
        inner
            .split(|sign| *sign == b'"')
            .step_by(2)
            .all(|piece| piece.is_empty() || self.asked.has(piece))
    }
}

/// The client's own text, to be looked into for one message. A message may be as long as
/// the code that it tells of is deep, and a text 16 MiB: what is looked for once so much has
/// been gone through is taken for another's.
struct Asked<'a> {
    text: &'a [u8],
    left: Cell<usize>,
}

impl<'a> Asked<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, left: Cell::new(LOOKED_THROUGH) }
    }

    fn has(&self, piece: &[u8]) -> bool {
        let Some(left) = self.left.get().checked_sub(self.text.len()) else { return false };
        self.left.set(left);
        find(self.text, piece).is_some()
    }
}

/// In bytes: some milliseconds.
const LOOKED_THROUGH: usize = 128 * 1024 * 1024;

/// Fields that no text of anybody's gets into.
fn is_code(code: u8) -> bool {
    matches!(code, b'S' | b'V' | b'C' | b'F' | b'L' | b'R' | POSITION | b'p')
}

fn place_of(code: u8, state: [u8; 5], care: Care) -> Place {
    let [class @ .., _, _, _] = state;
    match code {
        // Severity, state, the server's file, line, routine, positions.
        code if is_code(code) => Place::Nowhere,
        // Names of schema, table, column, type, constraint.
        b's' | b't' | b'c' | b'd' | b'n' => Place::Nowhere,
        b'D' if &class == b"23" => Place::Brackets,
        // The parser of documents shows the document.
        b'D' if &class == b"22" && care == Care::Touches && state.starts_with(b"2200") => {
            Place::All
        }
        b'M' | b'D' | WHERE if &class == b"22" => Place::Quoted,
        WHERE if care == Care::Touches => Place::Quoted,
        INTERNAL_QUERY => Place::Scan,
        // What somebody's code raises may be made of anything.
        b'M' | b'D' | b'H' if care == Care::Touches && matches!(&state, b"P0001" | b"00000") => {
            Place::All
        }
        // Names that the server offers instead.
        b'H' if &class == b"42" => Place::Scan,
        b'M' | b'D' | b'H' if care == Care::Touches => Place::Quoted,
        _ => Place::Scan,
    }
}

/// Writes a text masked; says whether anything was.
fn text(
    cells: &mut Cells,
    rules: &Rules,
    place: Place,
    words: Quoted<'_>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    match place {
        Place::Nowhere => {
            out.extend_from_slice(text);
            false
        }
        Place::Scan => scanned(cells, rules, text, out),
        Place::Document => match cells.text(rules, Demand::Check, text, out) {
            Shown::Same => {
                out.extend_from_slice(text);
                false
            }
            Shown::Made => true,
            Shown::Null => {
                dots(cells, out);
                true
            }
        },
        Place::All => {
            if text.is_empty() {
                return false;
            }
            dots(cells, out);
            true
        }
        Place::Brackets => brackets(cells, rules, text, out),
        Place::Quoted => quoted(cells, rules, words, text, out),
    }
}

fn dots(cells: &Cells, out: &mut Vec<u8>) {
    for _ in 0..3 {
        out.extend_from_slice(cells.hand.dot());
    }
}

fn scanned(cells: &mut Cells, rules: &Rules, text: &[u8], out: &mut Vec<u8>) -> bool {
    match cells.spans(rules, Demand::Check, text, out) {
        Shown::Same => {
            out.extend_from_slice(text);
            false
        }
        Shown::Made => true,
        Shown::Null => {
            dots(cells, out);
            true
        }
    }
}

/// `Key (email)=(jane@doe.com) already exists.`,
/// `Failing row contains (1, jane, …).`
fn brackets(cells: &mut Cells, rules: &Rules, text: &[u8], out: &mut Vec<u8>) -> bool {
    // Values may hold brackets: from the first that opens to the last that closes.
    let equals = text.windows(2).position(|pair| pair == b"=(");
    let open = equals.map(|place| place + 1).or_else(|| {
        let names = text.starts_with(b"Key ");
        text.iter().position(|sign| *sign == b'(').filter(|_| !names)
    });
    let close = text.iter().rposition(|sign| *sign == b')');
    let (Some(open), Some(close)) = (open, close) else {
        return scanned(cells, rules, text, out);
    };
    if open >= close {
        return scanned(cells, rules, text, out);
    }
    let head = text.get(..=open).unwrap_or_default();
    // Of an exclusion constraint there are two: both values are between.
    out.extend_from_slice(head);
    dots(cells, out);
    out.extend_from_slice(text.get(close..).unwrap_or_default());
    true
}

/// `invalid input syntax for type integer: "jane"`,
/// `COPY t, line 3, column a: "jane"`, `JSON data, line 1: {"a":…`
fn quoted(
    cells: &mut Cells,
    rules: &Rules,
    words: Quoted<'_>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    const PAIRS: &[(&[u8], &[u8])] = &[
        (b"\"", b"\""),
        ("«".as_bytes(), "»".as_bytes()),
        ("„".as_bytes(), "“".as_bytes()),
        ("“".as_bytes(), "”".as_bytes()),
        ("»".as_bytes(), "«".as_bytes()),
        ("「".as_bytes(), "」".as_bytes()),
    ];
    let mut changed = false;
    for (place, line) in text.split(|sign| *sign == b'\n').enumerate() {
        if place > 0 {
            out.push(b'\n');
        }
        // A value may hold a quote: from the first to the last of a kind.
        let first = PAIRS
            .iter()
            .filter_map(|(open, close)| {
                let start = find(line, open)? + open.len();
                let end = rfind(line, close).filter(|end| *end >= start)?;
                Some((start, end))
            })
            .min();
        let own = |start: usize, end: usize| {
            line.get(start..end).is_some_and(|inner| words.has_all(inner))
        };
        match first {
            Some((start, end)) if own(start, end) => {
                changed |= told(cells, rules, words, line, out);
            }
            Some((start, end)) => {
                let head = line.get(..start).unwrap_or_default();
                told(cells, rules, words, head, out);
                dots(cells, out);
                told(cells, rules, words, line.get(end..).unwrap_or_default(), out);
                changed = true;
            }
            None => match line.windows(2).position(|pair| pair == b": ") {
                // The tail of a line of data.
                Some(colon) if line.starts_with(b"JSON") || line.starts_with(b"COPY") => {
                    out.extend_from_slice(line.get(..colon + 2).unwrap_or_default());
                    dots(cells, out);
                    changed = true;
                }
                _ => changed |= told(cells, rules, words, line, out),
            },
        }
    }
    changed
}

/// What stands beside what is quoted: a number that isn't the client's own may be a
/// value (`PID 4711 is not …`).
fn told(
    cells: &mut Cells,
    rules: &Rules,
    words: Quoted<'_>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let mut hidden = Vec::new();
    let mut kept = 0;
    let mut place = 0;
    while words.numbers && place < text.len() {
        let rest = text.get(place..).unwrap_or_default();
        let length = rest.iter().take_while(|sign| is_of_number(**sign)).count();
        let before = place.checked_sub(1).and_then(|before| text.get(before));
        // `0x61 0x6e`: bytes of it.
        let length = match rest {
            [b'0', b'x', ..] => {
                2 + rest.iter().skip(2).take_while(|sign| sign.is_ascii_hexdigit()).count()
            }
            _ => length,
        };
        let number = rest.get(..length).unwrap_or_default();
        let alone = [before, rest.get(length)]
            .into_iter()
            .flatten()
            .all(|sign| !(sign.is_ascii_alphabetic() || *sign == b'_' || *sign == b'$'));
        let digits = number.iter().filter(|sign| sign.is_ascii_digit()).count();
        if alone && digits >= LEAST_DIGITS && !words.asked.has(number) {
            hidden.extend_from_slice(text.get(kept..place).unwrap_or_default());
            dots(cells, &mut hidden);
            kept = place + length;
        }
        place += length.max(1);
    }
    if kept == 0 {
        return scanned(cells, rules, text, out);
    }
    hidden.extend_from_slice(text.get(kept..).unwrap_or_default());
    scanned(cells, rules, &hidden, out);
    true
}

fn is_of_number(sign: u8) -> bool {
    sign.is_ascii_digit() || b".-:/".contains(&sign)
}

/// A single digit is the server's own far more often.
const LEAST_DIGITS: usize = 2;

#[cfg(test)]
mod tests;
