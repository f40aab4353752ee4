//! What a statement says of where it comes from: sqlcommenter's tags and the
//! trace context in its comments, and the session's `application_name`.
//!
//! INVARIANT: everything from here is the client's own word (`claimed`), and
//! bounded. Only real comments are read, never what stands in a literal.

use super::environment::decoded;
use super::redact;
use crate::model::{Attribute, Confidence, LONGEST_NAME, LONGEST_VALUE, Origin, cut};

const MOST_TAGS: usize = 12;
/// Of one comment.
const LONGEST_COMMENT: usize = 2048;
/// Comments looked at, from the end: sqlcommenter appends its own.
const MOST_COMMENTS: usize = 4;

/// The tags of a statement's comments.
pub fn of_statement(text: &str) -> Vec<Attribute> {
    let mut found: Vec<Attribute> = Vec::new();
    let comments = comments(text);
    for comment in comments.iter().rev().take(MOST_COMMENTS) {
        for (name, value) in tags(comment) {
            if found.len() >= MOST_TAGS {
                return found;
            }
            if name == "traceparent" {
                trace(&value, &mut found);
            } else if let Some(attribute) = said(&format!("sql.{name}"), &value) {
                add(&mut found, attribute);
            }
        }
    }
    found
}

/// The session's `application_name`.
pub fn of_application_name(name: &str) -> Option<Attribute> {
    said("application_name", name)
}

fn said(name: &str, value: &str) -> Option<Attribute> {
    let shown = redact::text(&format!("{name}={value}"));
    let value = shown.strip_prefix(name)?.strip_prefix('=')?;
    (!value.trim().is_empty()).then(|| Attribute {
        name: cut(name, LONGEST_NAME),
        value: cut(value, LONGEST_VALUE),
        origin: Origin::Statement,
        confidence: Confidence::Claimed,
    })
}

fn add(found: &mut Vec<Attribute>, attribute: Attribute) {
    if !found.iter().any(|known| known.name == attribute.name) {
        found.push(attribute);
    }
}

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`
fn trace(value: &str, found: &mut Vec<Attribute>) {
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, span, flags, ..] = parts.as_slice() else { return };
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |text: &str| text.bytes().all(|b| b == b'0');
    let whole = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    // The first version has four parts; `ff` is none.
    if !whole || *version == "ff" || (*version == "00" && parts.len() != 4) {
        return;
    }
    if zero(trace) || zero(span) {
        return;
    }
    for (name, value) in [("trace.id", trace), ("trace.span", span)] {
        found.extend(said(name, value).filter(|one| !found.iter().any(|o| o.name == one.name)));
    }
}

/// `key='value',key='value'`, each URL-encoded, a quote within as `\'`; and the
/// plainer `key:value` of marginalia.
fn tags(comment: &str) -> Vec<(String, String)> {
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

/// The comments of a statement, outside of its literals and quoted names.
fn comments(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let find = |from: usize, what: &str| {
        text.get(from..).and_then(|rest| rest.find(what)).map(|found| from + found)
    };
    let mut found = Vec::new();
    let mut keep = |comment: Option<&'_ str>| {
        if let Some(comment) = comment
            && comment.len() <= LONGEST_COMMENT
        {
            found.push((comment.as_ptr() as usize - text.as_ptr() as usize, comment.len()));
        }
    };
    let mut index = 0;
    while index < bytes.len() {
        match (at(index), at(index + 1)) {
            (b'-', b'-') => {
                let end = find(index, "\n").unwrap_or(bytes.len());
                keep(text.get(index + 2..end));
                index = end;
            }
            (b'/', b'*') => {
                let start = index + 2;
                let mut depth = 1;
                index = start;
                while index < bytes.len() && depth > 0 {
                    match (at(index), at(index + 1)) {
                        (b'/', b'*') => {
                            depth += 1;
                            index += 2;
                        }
                        (b'*', b'/') => {
                            depth -= 1;
                            index += 2;
                        }
                        _ => index += 1,
                    }
                }
                if depth == 0 {
                    keep(text.get(start..index - 2));
                }
            }
            (quote @ (b'\'' | b'"' | b'`'), _) => {
                // PostgreSQL's E'…' alone knows the backslash.
                let escapes = quote == b'\''
                    && index > 0
                    && matches!(at(index - 1), b'E' | b'e')
                    && (index < 2 || !at(index - 2).is_ascii_alphanumeric());
                index += 1;
                while index < bytes.len() && at(index) != quote {
                    index += if escapes && at(index) == b'\\' { 2 } else { 1 };
                }
                index += 1;
            }
            (b'$', _) if !is_word(index.checked_sub(1).map_or(0, at)) => {
                let tag = text.get(index + 1..).and_then(|rest| {
                    let end = rest.find('$')?;
                    let tag = rest.get(..end)?;
                    let fine =
                        tag.bytes().all(is_word) && !tag.starts_with(|c: char| c.is_ascii_digit());
                    fine.then(|| text.get(index..index + end + 2)).flatten()
                });
                match tag {
                    Some(tag) => {
                        index =
                            find(index + tag.len(), tag).map_or(bytes.len(), |end| end + tag.len());
                    }
                    None => index += 1,
                }
            }
            _ => index += 1,
        }
    }
    found.into_iter().filter_map(|(start, length)| text.get(start..start + length)).collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests;
