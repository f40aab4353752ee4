//! Secrets in SQL that stands in a command line: `psql -c "…"`, also within a
//! shell's own `-c`. No grammar is asked: what a statement is, is guessed from how
//! it begins, and then every quoted value goes.

use std::ops::Range;

use super::words::{is_name, is_quote};
use crate::model::{CONNECTING, KEYED};

/// Clients, the options behind which a statement follows, and whether it may quote
/// values by `"`.
const CLIENTS: &[(&[&str], &[&str], bool)] = &[
    (&["psql", "pgcli", "usql", "vsql", "ysqlsh", "gsql", "edb-psql"], &["-c", "--command"], false),
    (&["mysql", "mariadb", "mycli", "mysqlsh"], &["-e", "--execute", "--sql"], true),
    (&["sqlcmd", "osql"], &["-q", "-Q"], true),
    (&["clickhouse-client", "clickhouse"], &["-q", "--query"], false),
    (&["cockroach", "duckdb"], &["-e", "--execute", "-c", "-s"], false),
];

/// What a statement begins with, and what follows soon where the word alone is too
/// common a one.
const VERBS: &[(&str, &[&str])] = &[
    ("select", &[]),
    ("values", &["("]),
    ("with", &[" as "]),
    ("insert", &[" into "]),
    ("update", &[" set "]),
    ("delete", &[" from "]),
    ("merge", &[" into "]),
    ("create", OBJECTS),
    ("alter", OBJECTS),
    ("copy", &[" from ", " to "]),
    ("call", &["("]),
    ("do", &["$", "'"]),
    ("set", &["=", " to "]),
    ("explain", &[]),
    ("prepare", &[" as "]),
    ("execute", &["("]),
    ("declare", &[" for "]),
    ("comment", &[" on "]),
    ("begin", &[";"]),
];
const OBJECTS: &[&str] = &[
    " role ",
    " user ",
    " group ",
    " login ",
    " server ",
    " subscription ",
    " table ",
    " view ",
    " function ",
    " procedure ",
    " database ",
    " system ",
    " policy ",
    " trigger ",
    " rule ",
    " publication ",
    " type ",
    " domain ",
];
/// Words that may follow PASSWORD and are none.
const NO_PASSWORDS: &[&str] =
    &["null", "default", "login", "nologin", "valid", "expire", "require", "from", "for"];

/// Whether the argument behind this option is a statement of this program's, and
/// whether `"` may quote a value in it.
pub(super) fn takes(program: &str, option: &str) -> Option<bool> {
    let (_, options, doubles) = CLIENTS.iter().find(|(names, ..)| names.contains(&program))?;
    options.contains(&option).then_some(*doubles)
}

pub(super) fn is_client(program: &str) -> bool {
    CLIENTS.iter().any(|(names, ..)| names.contains(&program))
}

/// All of a text that is a statement.
pub(super) fn statement(text: &str, doubles: bool, hidden: &mut Vec<Range<usize>>) {
    values(text, 0, doubles, hidden);
}

/// Statements that a text holds, and what in any text can be of a statement only.
pub(super) fn within(text: &str, hidden: &mut Vec<Range<usize>>) {
    calls(text, hidden);
    roles(text, hidden);
    let begins = |at: usize| text.get(at..).is_some_and(begins_statement);
    if begins(0) {
        return values(text, 0, false, hidden);
    }
    let mut quotes = text.match_indices(['\'', '"', '`', '\n']).map(|(at, quote)| (at + 1, quote));
    while let Some((start, quote)) = quotes.find(|(start, _)| begins(*start)) {
        if quote != "'" {
            return values(text, start, false, hidden);
        }
        // Within a shell's `'` there is no other but as `'\''` or `'"'"'`.
        let rest = text.get(start..).unwrap_or_default();
        let Some(end) = rest.find('\'').map(|end| start + end) else { return };
        if matches!(text.as_bytes().get(end + 1), Some(b'\\' | b'"')) {
            return hidden.push(end..text.len());
        }
    }
}

/// Whether it begins as a statement does, behind blanks, brackets and comments.
fn begins_statement(text: &str) -> bool {
    let mut end = SOON.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let soon = text.get(..end).unwrap_or_default();
    let mut rest = soon.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    while let Some(comment) = rest.strip_prefix("/*") {
        rest = comment.split_once("*/").map_or("", |(_, rest)| rest.trim_start());
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (verb, rest) = rest.split_at(end);
    let Some((_, follow)) = VERBS.iter().find(|(word, _)| word.eq_ignore_ascii_case(verb)) else {
        return false;
    };
    // A word's end; and no option of a shell's own `set`.
    if !rest.starts_with([' ', '\n', '\t', '(', '*', '\'', '$', ';']) || rest.starts_with(" -") {
        return false;
    }
    let joined = rest.replace(['\n', '\t'], " ").to_ascii_lowercase();
    follow.is_empty() || follow.iter().any(|next| joined.contains(next))
}

/// Every quoted value from here on.
fn values(text: &str, from: usize, doubles: bool, hidden: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let rest = text.get(from..).unwrap_or_default();
    // Quoted for a shell: which ends which can't be told.
    let escaped = rest.contains("\\'") || rest.contains("'\"'");
    let mut at = from;
    while let Some(byte) = bytes.get(at).copied() {
        let quote = match byte {
            b'\'' => "'",
            b'"' if doubles => "\"",
            b'$' => tag(text, at),
            _ => "",
        };
        if quote.is_empty() {
            at += 1;
            continue;
        }
        let start = at + quote.len();
        if escaped {
            hidden.push(start..text.len());
            return;
        }
        let mut end = start;
        loop {
            end = match text.get(end..).and_then(|rest| rest.find(quote)) {
                Some(found) => end + found,
                None => text.len(),
            };
            // A quote that is doubled is in the value.
            let doubled = quote.len() == 1 && bytes.get(end + 1) == Some(&byte);
            if end >= text.len() || !doubled {
                break;
            }
            end += 2;
        }
        if end > start {
            hidden.push(start..end);
        }
        at = end + quote.len();
    }
}

/// `$$`, `$tag$`
fn tag(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    let inner = rest.get(1..).unwrap_or_default();
    let length = inner.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'_').count();
    if inner.as_bytes().get(length) == Some(&b'$') {
        rest.get(..length + 2).unwrap_or_default()
    } else {
        ""
    }
}

/// What functions are given whose arguments are keys: up to the last bracket, since
/// one in a quoted value looks like another.
fn calls(text: &str, hidden: &mut Vec<Range<usize>>) {
    let mut done = 0;
    for word in words(text) {
        let name = text.get(word.clone()).unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default();
        let begins = |head: &&str| {
            name.get(..head.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(head))
        };
        if word.start < done || !KEYED.iter().chain(CONNECTING).any(begins) {
            continue;
        }
        let rest = text.get(word.end..).unwrap_or_default();
        let Some(inside) = rest.trim_start_matches(['"', '\\', ' ']).strip_prefix('(') else {
            continue;
        };
        let start = text.len() - inside.len();
        let end = inside.rfind(')').map_or(text.len(), |end| start + end);
        done = end;
        if end > start {
            hidden.push(start..end);
        }
    }
}

/// A role's password that isn't quoted as SQL does: no quotes, quotes of the wrong
/// kind, or such as a shell needs.
fn roles(text: &str, hidden: &mut Vec<Range<usize>>) {
    let (mut before, mut about) = (["", ""], false);
    for word in words(text) {
        let name = text.get(word.clone()).unwrap_or_default();
        let is = |one: &str, of: &[&str]| of.iter().any(|word| one.eq_ignore_ascii_case(word));
        about |= is(before[1], &["create", "alter"])
            && is(name, &["role", "user", "group", "login"])
            || is(before[1], &["set"]) && is(name, &["password"]);
        let names = about && is(name, &["password"])
            || is(name, &["by"])
                && before.iter().any(|one| is(one, &["identified"]) || is(one, &["with"]) && about);
        if names {
            password(text, word.end, hidden);
        }
        before = [before[1], name];
    }
}

fn password(text: &str, after: usize, hidden: &mut Vec<Range<usize>>) {
    let rest = text.get(after..).unwrap_or_default();
    let value = rest.trim_start_matches([' ', '\t', '\n', '=', ':']);
    let start = text.len() - value.len();
    let tag = tag(text, start);
    if start > after && !tag.is_empty() {
        let start = start + tag.len();
        let inside = text.get(start..).unwrap_or_default();
        let end = inside.find(tag).map_or(text.len(), |end| start + end);
        if end > start {
            hidden.push(start..end);
        }
        return;
    }
    // Quoted as it should be: a pair.
    if start == after || is_quote(text.as_bytes(), start) && !value.starts_with("'\\") {
        return;
    }
    let word = value.split_whitespace().next().unwrap_or_default();
    let plain = word.trim_end_matches([';', '"', '\'', ')', ',']);
    if NO_PASSWORDS.iter().any(|one| plain.eq_ignore_ascii_case(one)) {
        return;
    }
    let (start, end) = match value.strip_prefix('"') {
        Some(quoted) => (start + 1, quoted.find('"').map_or(text.len(), |end| start + 1 + end)),
        None if word.contains('\\') => (start, text.len()),
        None => (start, start + plain.len()),
    };
    if end > start {
        hidden.push(start..end);
    }
}

fn words(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while bytes.get(at).is_some_and(|byte| !is_name(*byte)) {
            at += 1;
        }
        let start = at;
        while bytes.get(at).is_some_and(|byte| is_name(*byte)) {
            at += 1;
        }
        (at > start).then_some(start..at)
    })
}

/// Bytes in which a statement's head stands.
const SOON: usize = 256;
