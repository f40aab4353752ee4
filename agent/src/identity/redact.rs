//! Secrets out of command lines and other texts, before anybody keeps them.
//!
//! INVARIANT: a text that was redacted once is not changed by a second time.
//! In doubt a word too many is hidden: what is shown was once a value that
//! looked harmless, never one that looked like a secret.

mod sql;
mod words;

use std::ops::Range;
use std::path::Path;

use words::{Pair, is_secret, pairs, tokens, urls};

/// What stands in a secret's place.
pub const HIDDEN: &str = "***";

/// Options of one letter that take a password, by program.
const SHORT: &[(&[&str], &str, Short)] = &[
    (
        &["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlsh", "mariadb"],
        "-p",
        Short::Joined,
    ),
    (&["mariadb-dump", "mariadb-admin", "mariadb-import", "mycli"], "-p", Short::Joined),
    (&["sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "cqlsh"], "-p", Short::Either),
    (&["redis-cli", "valkey-cli"], "-a", Short::Either),
    (&["sqlcmd", "bcp", "osql"], "-P", Short::Either),
    (&["ldapsearch", "ldapmodify", "ldapadd", "ldapwhoami"], "-w", Short::Either),
    (&["curl", "wget"], "-u", Short::User),
];

/// Their `--password` asks, and takes no value.
const ASKS: &[&str] = &[
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "createdb",
    "dropdb",
    "createuser",
    "dropuser",
    "vacuumdb",
    "reindexdb",
    "clusterdb",
    "pg_receivewal",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    /// `-pSECRET` only: a blank after it asks.
    Joined,
    /// `-aSECRET` or `-a SECRET`.
    Either,
    /// `-u USER:SECRET`.
    User,
}

/// A command line without its secrets; `cut`: its end was lost, which may be
/// the end of a secret.
pub fn command(arguments: &[String], cut: bool) -> Vec<String> {
    let name = arguments.first().map_or("", |first| {
        Path::new(first).file_name().and_then(|name| name.to_str()).unwrap_or(first)
    });
    let asks = ASKS.contains(&name);
    let short = SHORT.iter().find(|(names, _, _)| names.contains(&name));
    let mut shown = Vec::with_capacity(arguments.len());
    let mut next = Next::Plain;
    for argument in arguments {
        match std::mem::replace(&mut next, Next::Plain) {
            Next::Statement { doubles } => {
                shown.push(statement(argument, doubles));
                continue;
            }
            Next::Hidden => {
                shown.push(HIDDEN.to_owned());
                continue;
            }
            Next::User => {
                shown.push(after_colon(argument));
                continue;
            }
            Next::Plain => {}
        }
        if let Some((_, option, way)) = short
            && let Some(rest) = argument.strip_prefix(option)
        {
            match (way, rest.is_empty()) {
                (Short::Joined, true) => {}
                (Short::Either, true) => next = Next::Hidden,
                (Short::User, true) => next = Next::User,
                (Short::User, false) => {
                    shown.push(format!("{option}{}", after_colon(rest)));
                    continue;
                }
                (_, false) => {
                    shown.push(format!("{option}{HIDDEN}"));
                    continue;
                }
            }
        } else if argument.starts_with('-') && !argument.contains(['=', ' ']) && is_secret(argument)
        {
            if !(asks && argument == "--password") {
                next = Next::Hidden;
            }
            shown.push(argument.clone());
            continue;
        } else if let Some(doubles) = sql::takes(name, argument) {
            next = Next::Statement { doubles };
        } else if let Some((option, rest)) = joined(argument)
            && let Some(doubles) = sql::takes(name, option)
        {
            let head = argument.len() - rest.len();
            let head = argument.get(..head).unwrap_or_default();
            shown.push(format!("{head}{}", statement(rest, doubles)));
            continue;
        } else if name == "curl" && (argument == "--user" || argument == "--proxy-user") {
            next = Next::User;
        }
        shown.push(text(argument));
    }
    if cut && let Some(last) = shown.last_mut() {
        words::open_url(last);
    }
    shown
}

enum Next {
    Plain,
    /// Of SQL; `doubles`: `"` may quote a value in it.
    Statement {
        doubles: bool,
    },
    Hidden,
    User,
}

fn after_colon(argument: &str) -> String {
    match argument.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}"),
        None => argument.to_owned(),
    }
}

/// `--command=…`, `-c…`
fn joined(argument: &str) -> Option<(&str, &str)> {
    if argument.starts_with("--") { argument.split_once('=') } else { argument.split_at_checked(2) }
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
