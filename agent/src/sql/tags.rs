//! What a statement's comments say of where it comes from: sqlcommenter's tags, the
//! plainer ones of marginalia, and the trace context.
//!
//! INVARIANT: it is the client's own word, and bounded. Only real comments are read,
//! never what stands in a literal.

use std::ops::Range;

use super::comments::{Between, Gap};
use super::lexer::{Kind, Lexer};
use super::state::Strings;
use crate::model::{LONGEST_NAME, LONGEST_VALUE, cut, decoded};

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    pub trace: Option<TraceContext>,
    /// Each name once; the last comment is heard first.
    pub others: Vec<(String, String)>,
}

/// Of a `traceparent`: in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: String,
    pub span: String,
}

impl Tags {
    /// Takes as long as the text is long, if it has a comment at all.
    pub fn of(text: &str, strings: Strings) -> Self {
        let mut tags = Self::default();
        if !text.contains("/*") && !text.contains("--") {
            return tags;
        }
        for comment in comments(text, strings).into_iter().rev().take(MOST_COMMENTS) {
            for Tag { name, value, exact, .. } in pairs(comment).0 {
                if name == TRACEPARENT {
                    tags.trace = tags.trace.take().or_else(|| TraceContext::read(&value));
                } else if exact {
                    tags.add(&name, &value);
                }
            }
        }
        tags
    }

    fn add(&mut self, name: &str, value: &str) {
        let (name, value) = (cut(name, LONGEST_NAME), cut(value, LONGEST_VALUE));
        let known = self.others.iter().any(|(known, _)| *known == name);
        if !known && !value.trim().is_empty() && self.others.len() < MOST_TAGS {
            self.others.push((name, value));
        }
    }
}

impl TraceContext {
    /// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`
    pub fn read(value: &str) -> Option<Self> {
        let parts: Vec<&str> = value.split('-').collect();
        let [version, trace, span, flags, ..] = parts.as_slice() else { return None };
        let hex = |text: &str, length: usize| {
            text.len() == length
                && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        let whole = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        // The first version has four parts; `ff` is none.
        if !whole || *version == "ff" || (*version == "00" && parts.len() != 4) {
            return None;
        }
        let none = zero(trace) || zero(span);
        (!none).then(|| Self { trace: (*trace).to_owned(), span: (*span).to_owned() })
    }
}

/// One that stands in a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub value: String,
    /// Where the value stands in the comment, without its quotes.
    pub place: Range<usize>,
    /// As those libraries write it; otherwise it may be a piece of SQL.
    exact: bool,
}

/// The tags of a comment that holds nothing else.
pub fn nothing_but_tags(comment: &str) -> Option<Vec<Tag>> {
    let (tags, whole) = pairs(comment);
    (whole && !tags.is_empty() && tags.iter().all(|tag| tag.exact)).then_some(tags)
}

/// `key='value',key='value'`, each URL-encoded, a quote within as `\'`; and the
/// plainer `key:value` of marginalia. And whether that was all.
fn pairs(comment: &str) -> (Vec<Tag>, bool) {
    let mut found = Vec::new();
    let mut rest = comment.trim();
    let place = |part: &str| part.as_ptr().addr().checked_sub(comment.as_ptr().addr());
    while !rest.is_empty() {
        let sign = rest.find(['=', ':']).filter(|_| found.len() < MOST_PAIRS);
        let Some(at) = sign else { return (found, false) };
        let written = rest.get(..at).unwrap_or_default();
        let name = written.trim();
        let fine = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.%".contains(&b));
        let behind_sign = rest.get(at + 1..).unwrap_or_default();
        let after = behind_sign.trim_start();
        let beside = written.len() == name.len() && behind_sign.len() == after.len();
        let quoted = after.strip_prefix('\'');
        let (value, behind) = match quoted {
            Some(quoted) => match closing(quoted) {
                Some(end) => (
                    quoted.get(..end).unwrap_or_default(),
                    quoted.get(end + 1..).unwrap_or_default().trim_start(),
                ),
                None => return (found, false),
            },
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after.get(..end).unwrap_or_default().trim(), after.get(end..).unwrap_or_default())
            }
        };
        if !fine {
            // Prose, not tags.
            return (Vec::new(), false);
        }
        let form = match quoted {
            Some(_) => behind.is_empty() || behind.starts_with(','),
            None => rest.get(at..=at) == Some(":") && !value.contains([' ', '\t', '\'', '"']),
        };
        let Some(from) = place(value) else { return (found, false) };
        found.push(Tag {
            name: decoded(name),
            value: decoded(&value.replace("\\'", "'")),
            place: from..from + value.len(),
            exact: beside && form,
        });
        rest = behind.trim_start_matches(',').trim_start();
    }
    (found, true)
}

fn closing(quoted: &str) -> Option<usize> {
    let bytes = quoted.as_bytes();
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'\\' => index += 2,
            b'\'' => return Some(index),
            _ => index += 1,
        }
    }
    None
}

/// What stands in the comments: they are in the gaps between what the lexer finds.
fn comments(text: &str, strings: Strings) -> Vec<&str> {
    let mut found = Vec::new();
    let mut behind = 0;
    for token in Lexer::new(text, strings) {
        of_gap(text.get(behind..token.start).unwrap_or_default(), &mut found);
        let literal = matches!(token.kind, Kind::Plain | Kind::National);
        let escapes =
            || text.get(token.start..token.end).is_some_and(|literal| literal.contains('\\'));
        // What follows may stand in a string.
        if token.kind == Kind::Unterminated || strings == Strings::Uncertain && literal && escapes()
        {
            return found;
        }
        behind = token.end;
    }
    of_gap(text.get(behind..).unwrap_or_default(), &mut found);
    found
}

fn of_gap<'t>(gap: &'t str, found: &mut Vec<&'t str>) {
    let inner = Gap(gap).filter_map(|piece| match piece {
        Between::Line(inner) | Between::Block(inner) => Some(inner),
        Between::Blank(_) => None,
    });
    found.extend(inner.filter(|inner| inner.len() <= LONGEST_COMMENT));
}

/// The trace context's own name.
const TRACEPARENT: &str = "traceparent";
const MOST_TAGS: usize = 12;
/// Of one comment.
const MOST_PAIRS: usize = 64;
/// Of one comment.
const LONGEST_COMMENT: usize = 2048;
/// Comments looked at, from the end: sqlcommenter appends its own.
const MOST_COMMENTS: usize = 4;

#[cfg(test)]
mod tests;
