//! What a statement's comments say of where it comes from: sqlcommenter's tags, the
//! plainer ones of marginalia, and the trace context.
//!
//! INVARIANT: it is the client's own word, and bounded. Only real comments are read,
//! never what stands in a literal.

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
            for (name, value) in pairs(comment) {
                if name == "traceparent" {
                    tags.trace = tags.trace.take().or_else(|| TraceContext::read(&value));
                } else {
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

/// `key='value',key='value'`, each URL-encoded, a quote within as `\'`; and the
/// plainer `key:value` of marginalia.
fn pairs(comment: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = comment.trim();
    while !rest.is_empty() && found.len() < MOST_TAGS {
        let Some(at) = rest.find(['=', ':']) else { break };
        let name = rest.get(..at).unwrap_or_default().trim();
        let fine = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.%".contains(&b));
        let after = rest.get(at + 1..).unwrap_or_default().trim_start();
        let (value, behind) = match after.strip_prefix('\'') {
            Some(quoted) => match closing(quoted) {
                Some(end) => (
                    quoted.get(..end).unwrap_or_default().replace("\\'", "'"),
                    quoted.get(end + 1..).unwrap_or_default(),
                ),
                None => break,
            },
            None => match after.split_once(',') {
                Some((value, behind)) => (value.trim().to_owned(), behind),
                None => (after.trim().to_owned(), ""),
            },
        };
        if !fine {
            // Prose, not tags.
            return Vec::new();
        }
        found.push((decoded(name), decoded(&value)));
        rest = behind.trim_start().trim_start_matches(',').trim_start();
    }
    found
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

/// White space and comments, nothing else.
fn of_gap<'t>(gap: &'t str, found: &mut Vec<&'t str>) {
    let mut rest = gap.trim_start();
    while let Some(mark) = rest.get(..2) {
        let (inner, after) = if mark == "--" {
            let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
            (rest.get(2..end), rest.get(end..))
        } else if mark == "/*" {
            let end = block(rest);
            (rest.get(2..end.saturating_sub(2)), rest.get(end..))
        } else {
            return;
        };
        found.extend(inner.filter(|inner| inner.len() <= LONGEST_COMMENT));
        rest = after.unwrap_or_default().trim_start();
    }
}

/// Where a comment ends that may hold others.
fn block(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth = depth.saturating_sub(1),
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

const MOST_TAGS: usize = 12;
/// Of one comment.
const LONGEST_COMMENT: usize = 2048;
/// Comments looked at, from the end: sqlcommenter appends its own.
const MOST_COMMENTS: usize = 4;

#[cfg(test)]
mod tests;
