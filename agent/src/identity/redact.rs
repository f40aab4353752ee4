//! Secrets out of command lines and other texts, before anybody keeps them.
//!
//! INVARIANT: a text that was redacted once is not changed by a second time.
//! In doubt a word too many is hidden: what is shown was once a value that
//! looked harmless, never one that looked like a secret.

mod programs;
mod shell;
mod sql;
mod words;

use std::ops::Range;

use programs::{Part, Reader};
use words::{Pair, is_secret, pairs, tokens, urls};

/// What stands in a secret's place.
pub const HIDDEN: &str = "***";

/// A command line without its secrets; `cut`: its end was lost, which may be
/// the end of a secret.
pub fn command(arguments: &[String], cut: bool) -> Vec<String> {
    let mut reader = Reader::default();
    let mut shown = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let split = |from: usize| argument.split_at_checked(from).unwrap_or(("", argument));
        shown.push(match reader.take(argument) {
            Part::Option => argument.clone(),
            Part::Plain => {
                let mut hidden = Vec::new();
                if argument.contains(char::is_whitespace) {
                    shell::within(argument, &mut hidden);
                }
                hide(argument, hidden)
            }
            Part::Secret(from) => format!("{}{HIDDEN}", split(from).0),
            Part::User(from) => {
                let (option, user) = split(from);
                format!("{option}{}", after_colon(user))
            }
            Part::Statement { from, doubles } => {
                let (option, text) = split(from);
                format!("{option}{}", statement(text, doubles))
            }
        });
    }
    if cut && let Some(last) = shown.last_mut() {
        words::open_url(last);
    }
    shown
}

fn after_colon(argument: &str) -> String {
    match argument.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}"),
        None => argument.to_owned(),
    }
}

/// Any text without the secrets in it: passwords in addresses, values of names
/// that speak of secrets, SQL's `PASSWORD …`, keys and quoted values in SQL, keys
/// of well-known shapes.
pub fn text(text: &str) -> String {
    hide(text, Vec::new())
}

fn statement(text: &str, doubles: bool) -> String {
    let mut hidden = Vec::new();
    sql::statement(text, doubles, &mut hidden);
    hide(text, hidden)
}

fn hide(text: &str, mut hidden: Vec<Range<usize>>) -> String {
    sql::within(text, &mut hidden);
    urls(text, &mut hidden);
    for Pair { name, value } in pairs(text) {
        if text.get(name).is_some_and(is_secret) {
            hidden.push(value);
        }
    }
    tokens(text, &mut hidden);
    if hidden.is_empty() {
        return text.to_owned();
    }
    hidden.sort_by_key(|range| (range.start, range.end));
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for range in hidden {
        if range.start < at || range.start == at && shown.ends_with(HIDDEN) {
            // Within what is hidden already, or reaching beyond it.
            at = at.max(range.end);
            continue;
        }
        shown.push_str(text.get(at..range.start).unwrap_or_default());
        shown.push_str(HIDDEN);
        at = range.end;
    }
    shown.push_str(text.get(at..).unwrap_or_default());
    shown
}

#[cfg(test)]
mod tests;
