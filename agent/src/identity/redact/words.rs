//! Where secrets stand in a text.

use std::ops::Range;

/// `name=value`, `name: value`, `PASSWORD 'value'`.
pub(super) struct Pair {
    pub name: Range<usize>,
    pub value: Range<usize>,
}

/// Names that end so speak of a secret.
const ENDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pwd",
    "pass",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "accountkey",
    "sharedaccesskey",
    "credential",
    "credentials",
    "authorization",
    "cookie",
    "passin",
    "passout",
    "identifiedby",
    "sig",
    "signature",
];
/// … wherever they have this.
const HAS: &[&str] = &["password", "passwd", "secret", "apikey"];
/// … unless they end so: then they name a place, or how.
const BUT: &[&str] = &[
    "file",
    "path",
    "dir",
    "stdin",
    "prompt",
    "name",
    "command",
    "type",
    "policy",
    "length",
    "encryption",
    "hash",
    "store",
    "provider",
    "auth",
    "arn",
    "ref",
    "age",
    "id",
];

/// Keys that are known by how they begin, and how long they are at least.
const SHAPES: &[(&str, usize)] = &[
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("sk-", 20),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("xoxa-", 20),
    ("xapp-", 20),
    ("AKIA", 20),
    ("ASIA", 20),
    ("hvs.", 20),
    ("hf_", 20),
    ("npm_", 20),
    ("pypi-", 20),
    ("ya29.", 20),
    ("AIza", 30),
    ("dapi", 32),
    ("dop_v1_", 20),
    ("SG.", 30),
    ("eyJ", 30),
];

/// Whether a name speaks of a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if BUT.iter().any(|end| plain.ends_with(end)) {
        return false;
    }
    // The shell's own.
    if plain == "pwd" && name.bytes().any(|b| b.is_ascii_uppercase()) || plain == "oldpwd" {
        return false;
    }
    ENDS.iter().any(|end| plain.ends_with(end)) || HAS.iter().any(|part| plain.contains(part))
}

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

/// The passwords of `scheme://user:password@host`.
pub(super) fn urls(text: &str, hidden: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find("://")) {
        let start = from + at + 3;
        from = start;
        let rest = text.get(start..).unwrap_or_default();
        let word = rest
            .find(|c: char| c.is_whitespace() || "'\"`<>\\".contains(c))
            .map_or(rest, |end| rest.get(..end).unwrap_or_default());
        // A password may hold what should have been encoded: `/`, `?`, `@`.
        let authority =
            word.find(['/', '?', '#']).map_or(word, |end| word.get(..end).unwrap_or_default());
        let part = if authority.contains('@') { authority } else { word };
        let Some(end) = part.rfind('@') else { continue };
        let Some(colon) = part.get(..end).and_then(|user| user.find(':')) else { continue };
        let password = part.get(colon + 1..end).unwrap_or_default();
        let port = password.split('/').next().unwrap_or_default();
        let is_port = part.len() != authority.len()
            && !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit());
        if !password.is_empty() && !is_port {
            hidden.push(start + colon + 1..start + end);
        }
    }
}

/// Hides what follows `scheme://user:` where the text ends before any `@`.
pub(super) fn open_url(text: &mut String) {
    let Some(start) = text.rfind("://").map(|at| at + 3) else { return };
    let rest = text.get(start..).unwrap_or_default();
    if let Some(colon) = rest.find(':')
        && !rest.contains(['@', ' '])
    {
        text.truncate(start + colon + 1);
        text.push_str(super::HIDDEN);
    }
}

/// Every name with a value behind it.
pub(super) fn pairs(text: &str) -> Vec<Pair> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let skip = |mut index: usize| {
        while at(index) == b' ' || at(index) == b'\t' {
            index += 1;
        }
        index
    };
    let mut found = Vec::new();
    let mut index = 0;
    let mut identified = None;
    while index < bytes.len() {
        if !is_name(at(index)) {
            index += 1;
            continue;
        }
        let start = index;
        while is_name(at(index)) {
            index += 1;
        }
        let mut name = start..index;
        let word = text.get(name.clone()).unwrap_or_default();
        // IDENTIFIED BY '…'
        if word.eq_ignore_ascii_case("identified") {
            identified = Some(start);
            continue;
        }
        if let Some(before) = identified.take()
            && word.eq_ignore_ascii_case("by")
        {
            name = before..index;
        }
        let mut value = index;
        // The name may stand in quotes (JSON).
        if matches!(at(value), b'"' | b'\'') && start > 0 && at(start - 1) == at(value) {
            value += 1;
        } else if at(value) == b'\\' && at(value + 1) == b'"' {
            value += 2;
        }
        let blank = skip(value);
        let separated = matches!(at(blank), b'=' | b':') && at(blank + 1) != b'/';
        if separated {
            // `:=`, `=>`, `==`
            let mut after = blank + 1;
            while matches!(at(after), b'=' | b'>') {
                after += 1;
            }
            // A shell's assignment has no blank behind it; a database's connection string
            // may, and writes its names small, or has a `;` before.
            let blanks = skip(after);
            let small = !word.bytes().any(|byte| byte.is_ascii_uppercase());
            let listed = start > 0 && at(start - 1) == b';';
            let assigns = at(blank) == b'=' && blank == index && !small && !listed;
            value = if assigns && blanks != after { after } else { blanks };
        } else if blank > index && is_quote(bytes, blank) {
            value = blank;
        } else {
            continue;
        }
        let end = end_of_value(text, value, is_header(text.get(name.clone())));
        let inside = inside(bytes, value, end);
        if !inside.is_empty() {
            index = if text.get(name.clone()).is_some_and(is_secret) { end } else { index };
            found.push(Pair { name, value: inside });
        }
    }
    found
}

fn is_header(name: Option<&str>) -> bool {
    name.is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name.ends_with("authorization") || name.ends_with("cookie")
    })
}

/// A quote, or PostgreSQL's `E'` and `$$`.
pub(super) fn is_quote(bytes: &[u8], index: usize) -> bool {
    match bytes.get(index) {
        Some(b'\'') => true,
        Some(b'E' | b'e' | b'U' | b'N') => bytes.get(index + 1) == Some(&b'\''),
        Some(b'$') => bytes.get(index + 1) == Some(&b'$'),
        _ => false,
    }
}

/// Where the value that begins at `start` ends.
fn end_of_value(text: &str, start: usize, whole: bool) -> usize {
    let bytes = text.as_bytes();
    let mut index = start;
    if is_quote(bytes, start) && bytes.get(start) != Some(&b'\'') {
        index += 1;
    }
    match bytes.get(index).copied() {
        Some(quote @ (b'\'' | b'"' | b'`')) => {
            index += 1;
            while let Some(byte) = bytes.get(index).copied() {
                if byte == b'\\' {
                    index += 2;
                    continue;
                }
                index += 1;
                if byte == quote {
                    if bytes.get(index) == Some(&quote) {
                        index += 1;
                        continue;
                    }
                    return index;
                }
            }
            bytes.len()
        }
        Some(b'\\') if bytes.get(index + 1) == Some(&b'"') => text
            .get(index + 2..)
            .and_then(|rest| rest.find("\\\""))
            .map_or(bytes.len(), |at| index + 2 + at + 2),
        _ => {
            let stop: &[char] = if whole {
                &['\'', '"', '\n', '\r', '\0']
            } else {
                &[' ', '\t', '\n', '\r', '\0', '\'', '"', '`', ',', ';', '&', ')', '}', ']', '|']
            };
            text.get(index..).and_then(|rest| rest.find(stop)).map_or(bytes.len(), |at| index + at)
        }
    }
    .min(bytes.len())
}

/// A value without its quotes.
fn inside(bytes: &[u8], start: usize, end: usize) -> Range<usize> {
    let mut start = start;
    if is_quote(bytes, start) && bytes.get(start) != Some(&b'\'') {
        start += 1;
    }
    match bytes.get(start) {
        Some(quote @ (b'\'' | b'"' | b'`')) => {
            let closed = end > start + 1 && bytes.get(end - 1) == Some(quote);
            start + 1..if closed { end - 1 } else { end }
        }
        Some(b'\\') => start + 2..end.saturating_sub(2).max(start + 2),
        _ => start..end,
    }
}

/// Words that have the shape of a key.
pub(super) fn tokens(text: &str, hidden: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let rest = bytes.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_name(**byte)).count();
        if length == 0 {
            start += 1;
            continue;
        }
        let word = text.get(start..start + length).unwrap_or_default();
        if SHAPES.iter().any(|(head, least)| length >= *least && word.starts_with(head)) {
            hidden.push(start..start + length);
        }
        start += length;
    }
}
