//! Which tokens are secrets by where they stand.
//!
//! Where the grammar took the text only values can be one, and words where it
//! takes a word for a value (`SET app.secret TO word`). Where it didn't, nobody
//! knows what a word is, nor where a value ends: one name that speaks of a secret
//! makes every literal one, and what stands in the place of a value is one
//! whatever it is, to the next white space.

use super::{Grammar, Token, looks_like_credentials, sounds_secret};
use crate::model::{CONNECTING, KEYED};
use crate::sql::TokenKind;

/// One for each token.
pub(in crate::audit) fn secrets(tokens: &[Token<'_>], grammar: Grammar) -> Vec<bool> {
    let secret = vec![false; tokens.len()];
    let mut marks = Marks { secret, tokens, grammar, listed_to: 0, run_to: 0 };
    let broken = grammar == Grammar::Refused;
    let speaks = broken && tokens.iter().any(|one| names_a_secret(one) || is_crypto(one));
    // The brackets of a call whose arguments are keys: its depth.
    let mut keys: Option<usize> = None;
    // The next literal is a connection string.
    let mut connection = false;
    let mut depth = 0_usize;
    let (mut whole, mut words) = (speaks, broken);
    let (mut start, mut inner) = (true, false);
    for (index, token) in tokens.iter().enumerate() {
        if start || inner {
            let rest = tokens.get(index..).unwrap_or_default();
            // Read to its end once only, however many it holds.
            whole |= is_about_roles(rest) || start && is_about_secrets(statement(rest));
            words |= takes_words(rest);
            (start, inner) = (false, false);
        }
        match token.kind {
            TokenKind::Semicolon => {
                (start, whole, words) = (true, speaks, broken);
                (keys, connection, depth) = (None, false, 0);
            }
            // In code: another statement, within this one.
            TokenKind::Word if token.is(&["begin", "then", "else", "loop"]) => inner = true,
            TokenKind::Open => {
                let called = index.checked_sub(1).and_then(|before| tokens.get(before));
                if called.is_some_and(is_crypto) && keys.is_none() {
                    keys = Some(depth);
                }
                connection |= called.is_some_and(|name| name.begins(CONNECTING));
                depth += 1;
            }
            TokenKind::Close => {
                depth = depth.saturating_sub(1);
                if keys == Some(depth) {
                    keys = None;
                }
            }
            TokenKind::Word if token.is(&["connection"]) => connection = true,
            TokenKind::Number if keys.is_some() => marks.mark(index),
            TokenKind::Word | TokenKind::QuotedName => {
                let called = tokens.get(index + 1).is_some_and(|next| next.kind == TokenKind::Open);
                let key = broken && keys.is_some() && !called && !token.is(KEYWORDS);
                let quoted = token.kind == TokenKind::QuotedName;
                if key || quoted && (broken && connection || holds_credentials(token.text)) {
                    marks.mark(index);
                }
                connection &= !quoted;
            }
            _ if token.is_value() => {
                if whole || keys.is_some() || connection || looks_like_credentials(token.text) {
                    marks.mark(index);
                }
                connection = false;
            }
            _ => {}
        }
        if names_a_secret(token) {
            marks.value_of(index, words);
        }
        if broken && tokens.get(index..).is_some_and(begins_address) {
            marks.run(index + ADDRESS.len());
        }
    }
    marks.secret
}

/// Whether a name says that what it is set to is a secret.
pub(super) fn names_a_secret(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::Word | TokenKind::QuotedName => {
            sounds_secret(token.text) || token.is(&["identified"])
        }
        // `set_config('app.secret', …)`: a name, not a sentence.
        _ if token.is_literal() => token.text.len() < 64 && sounds_secret(token.text),
        _ => false,
    }
}

struct Marks<'m, 't> {
    secret: Vec<bool>,
    tokens: &'m [Token<'t>],
    grammar: Grammar,
    /// So far everything is marked: a list in a list, a run in a run.
    listed_to: usize,
    run_to: usize,
}

impl Marks<'_, '_> {
    fn mark(&mut self, index: usize) {
        if let Some(one) = self.secret.get_mut(index) {
            *one = true;
        }
    }

    /// What the name at `index` is set to, compared with or followed by. `words`: a
    /// word can be a value here.
    fn value_of(&mut self, index: usize, words: bool) {
        let tokens = self.tokens;
        if let Some([value, equals]) = index.checked_sub(2).and_then(|at| tokens.get(at..index))
            && equals.text == "="
            && (value.is_value() || value.kind == TokenKind::Number)
        {
            self.mark(index - 2);
        }
        // psql's `\password`, which it would have asked for itself.
        let backslash = index.checked_sub(1).and_then(|at| tokens.get(at));
        if backslash.is_some_and(|one| one.text == "\\") {
            let rest = statement(tokens.get(index + 1..).unwrap_or_default()).len();
            (index + 1..=index + rest).for_each(|at| self.mark(at));
            return;
        }
        let from = index + 1 + said_later(tokens, index);
        // A list, or behind a call: a word there is another column.
        let (mut listed, mut open) = (false, None);
        let mut at = from;
        while at < from + REACH
            && let Some(token) = tokens.get(at)
        {
            if token.is_value() || token.kind == TokenKind::Number {
                match open {
                    Some(open) => self.list(open),
                    None => self.run(at),
                }
                return;
            }
            if token.text == "." || token.text == ":" && follows(tokens, at) {
                // `app.secret.key`, `password::text`
                at += if token.text == "." { 2 } else { 3 };
                continue;
            }
            let word = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName)
                && !token.is(JOINTS)
                && !token.is(KEYWORDS);
            let sign = self.grammar == Grammar::Refused
                && token.kind == TokenKind::Operator
                && !matches!(token.text, "=" | ":" | "<" | ">" | "~" | "!" | "|" | ",");
            if words && !listed && (word || sign) {
                self.run(at);
                return;
            }
            if !is_joint(token) {
                return;
            }
            listed |= !matches!(token.kind, TokenKind::Word | TokenKind::Operator);
            if token.kind == TokenKind::Open {
                open = open.or(Some(at + 1));
            }
            at += 1;
        }
    }

    /// Every value from here to the bracket's end.
    fn list(&mut self, from: usize) {
        if from < self.listed_to {
            return;
        }
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(from) {
            self.listed_to = index;
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close if depth == 0 => return,
                TokenKind::Close => depth -= 1,
                TokenKind::Semicolon => return,
                TokenKind::Number => self.mark(index),
                _ if token.is_value() => self.mark(index),
                _ => {}
            }
        }
    }

    /// One value. Without a grammar all that stands next to it without a blank is
    /// taken for its rest.
    fn run(&mut self, from: usize) {
        if from < self.run_to {
            return;
        }
        let tokens = self.tokens;
        let mut last = from;
        if self.grammar == Grammar::Refused {
            while let (Some(one), Some(next)) = (tokens.get(last), tokens.get(last + 1))
                && one.place.end == next.place.start
            {
                last += 1;
            }
            self.run_to = last;
            let ends = [TokenKind::Semicolon, TokenKind::Comma, TokenKind::Close];
            while last > from && tokens.get(last).is_some_and(|one| ends.contains(&one.kind)) {
                last -= 1;
            }
        }
        for index in from..=last {
            self.mark(index);
        }
    }
}

/// How many tokens lie between a name and the word that its value follows:
/// `IDENTIFIED WITH plugin BY …`, `PASSWORD FOR somebody = …`.
fn said_later(tokens: &[Token<'_>], index: usize) -> usize {
    let after = tokens.get(index + 1..).unwrap_or_default();
    let is_for = after.first().is_some_and(|next| next.is(&["for"]));
    let identified = tokens.get(index).is_some_and(|name| name.is(&["identified"]));
    let joins = |one: &Token<'_>| {
        identified && one.is(&["by", "as"]) || is_for && (one.text == "=" || one.is(&["to"]))
    };
    after.iter().take(2 * REACH).position(joins).map_or(0, |at| at + 1)
}

/// `::`
fn follows(tokens: &[Token<'_>], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.text == ":")
}

fn begins_address(tokens: &[Token<'_>]) -> bool {
    let Some(head) = tokens.get(..ADDRESS.len()) else { return false };
    let beside = head.windows(2).all(|two| matches!(two, [a, b] if a.place.end == b.place.start));
    beside && head.iter().zip(ADDRESS).all(|(token, text)| token.text == text)
}

fn statement<'m, 't>(tokens: &'m [Token<'t>]) -> &'m [Token<'t>] {
    let end = tokens.iter().position(|token| token.kind == TokenKind::Semicolon);
    tokens.get(..end.unwrap_or(tokens.len())).unwrap_or_default()
}

/// A statement in which every literal may be a secret: of roles and servers.
fn is_about_roles(statement: &[Token<'_>]) -> bool {
    defines(statement, &["role", "user", "group", "server", "subscription"])
}

/// … and of rows with a column that sounds like one.
fn is_about_secrets(statement: &[Token<'_>]) -> bool {
    // A call without its brackets.
    let bare =
        |two: &[Token<'_>]| matches!(two, [name, next] if is_crypto(name) && next.is_value());
    if statement.windows(2).any(bare) {
        return true;
    }
    let inserts = statement.iter().any(|word| word.is(&["insert", "replace", "merge"]));
    inserts && statement.iter().any(names_a_secret)
}

/// Where a word is a value as a literal is: settings; and a role's password, where
/// the grammar takes no word but NULL.
fn takes_words(statement: &[Token<'_>]) -> bool {
    statement.first().is_some_and(|first| first.is(&["set"]))
        || defines(statement, &["role", "user", "group", "database", "system", "subscription"])
}

/// CREATE or ALTER of one of these.
fn defines(statement: &[Token<'_>], what: &[&str]) -> bool {
    let [first, rest @ ..] = statement else { return false };
    let mut names = rest.iter().filter(|word| !word.is(&["if", "not", "exists", "foreign"]));
    first.is(&["create", "alter"]) && names.next().is_some_and(|name| name.is(what))
}

fn is_crypto(token: &Token<'_>) -> bool {
    token.begins(KEYED)
}

/// `"host=h password=x"`: quotes of the wrong kind.
fn holds_credentials(text: &str) -> bool {
    looks_like_credentials(text) || sounds_secret(text) && text.contains('=')
}

/// What stands between a name and its value.
fn is_joint(token: &Token<'_>) -> bool {
    token.is(JOINTS)
        || matches!(
            token.kind,
            TokenKind::Operator | TokenKind::Comma | TokenKind::Open | TokenKind::Close
        )
}

const JOINTS: &[&str] = &[
    "to",
    "as",
    "by",
    "is",
    "encrypted",
    "with",
    "using",
    "in",
    "like",
    "any",
    "all",
    "not",
    "ilike",
    "similar",
    "hash",
];
/// Words that may follow a secret's name and are no value: what goes on a query, a
/// role's options, a column's type.
const KEYWORDS: &[&str] = &[
    "password",
    "null",
    "default",
    "from",
    "where",
    "and",
    "or",
    "order",
    "group",
    "having",
    "limit",
    "offset",
    "for",
    "on",
    "join",
    "left",
    "right",
    "inner",
    "cross",
    "union",
    "then",
    "when",
    "else",
    "end",
    "case",
    "into",
    "values",
    "set",
    "returning",
    "asc",
    "desc",
    "between",
    "exists",
    "select",
    "distinct",
    "cascade",
    "restrict",
    "constraint",
    "primary",
    "unique",
    "references",
    "check",
    "collate",
    "text",
    "varchar",
    "character",
    "char",
    "bytea",
    "superuser",
    "nosuperuser",
    "createdb",
    "nocreatedb",
    "createrole",
    "nocreaterole",
    "inherit",
    "noinherit",
    "login",
    "nologin",
    "replication",
    "noreplication",
    "bypassrls",
    "nobypassrls",
    "connection",
    "valid",
    "until",
    "role",
    "user",
    "admin",
    "sysid",
    "unencrypted",
    "require",
    "expire",
];
/// `scheme://`
const ADDRESS: [&str; 3] = [":", "/", "/"];
/// Tokens between a name and its value.
const REACH: usize = 6;
