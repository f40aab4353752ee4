//! Which column a value in a text – a literal, a parameter – goes into or is compared
//! with, as far as the words around it tell.
//!
//! Works on tokens, so it works on what no grammar accepts. Never sees what a
//! parameter is bound to.

use super::redact::Token;
use crate::mask::Class;
use crate::mask::names::{Named, classify};
use crate::sql::TokenKind;

/// A column as a text writes it: quotes and case as they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beside<'t> {
    /// Where the text says it: schema and name.
    pub table: Option<(Option<&'t str>, &'t str)>,
    pub column: Which<'t>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which<'t> {
    Named(&'t str),
    /// Of its table, from 0: an INSERT that names none.
    Nth(usize),
}

impl Beside<'_> {
    /// What its names alone tell of it.
    pub fn class(&self) -> Option<Class> {
        let Which::Named(column) = self.column else { return None };
        let table = self.table.map_or("", |(_, table)| plain(table));
        classify(&Named { table, column: plain(column), ..Named::default() })
            .map(|(class, _)| class)
    }
}

/// One for each token: of a value the columns that it may belong to, of all else none.
pub fn columns<'t>(tokens: &[Token<'t>]) -> Vec<Vec<Beside<'t>>> {
    let mut inserted = Inserted::default();
    // The value before, and its columns: a list is of one kind.
    let mut before: Option<(usize, Vec<Beside<'t>>)> = None;
    let of = |(at, token): (usize, &Token<'t>)| {
        inserted.step(tokens, at);
        if !is_value(token) {
            return Vec::new();
        }
        let filled = inserted.column();
        if inserted.is_flat() {
            return filled.into_iter().collect();
        }
        let mut columns = match before.take() {
            Some((earlier, columns)) if is_list(tokens, earlier, at) => columns,
            _ => beside(tokens, at),
        };
        before = Some((at, columns.clone()));
        columns.extend(filled);
        columns
    };
    tokens.iter().enumerate().map(of).collect()
}

/// Whether nothing but a comma stands between two values.
fn is_list(tokens: &[Token<'_>], earlier: usize, at: usize) -> bool {
    earlier + 2 == at && tokens.get(at - 1).is_some_and(|one| one.kind == TokenKind::Comma)
}

fn is_value(token: &Token<'_>) -> bool {
    token.is_value() || token.kind == TokenKind::Number
}

fn name_of<'t>(token: &Token<'t>) -> Option<&'t str> {
    matches!(token.kind, TokenKind::Word | TokenKind::QuotedName).then_some(token.text)
}

/// Without its quotes.
fn plain(name: &str) -> &str {
    name.trim_matches('"')
}

fn named<'t>(column: &'t str) -> Beside<'t> {
    Beside { table: None, column: Which::Named(column) }
}

/// What it is compared with or set to: `email = $1`, `lower(email) in ($1, $2)`,
/// `(id, email) = ($1, $2)`, `$1 = email`.
fn beside<'t>(tokens: &[Token<'t>], at: usize) -> Vec<Beside<'t>> {
    let mut found = behind(tokens, at);
    found.extend(ahead(tokens.get(at + 1..).unwrap_or_default()));
    found
}

fn behind<'t>(tokens: &[Token<'t>], at: usize) -> Vec<Beside<'t>> {
    let before = tokens.get(at.saturating_sub(REACH)..at).unwrap_or_default();
    let mut rest = before.iter().rev().peekable();
    let literal = tokens.get(at).is_some_and(|one| one.kind != TokenKind::Parameter);
    // A comma that no bracket before it holds: a column of its own (`email, 'x'`).
    let (mut apart, mut depth) = (false, 0_usize);
    let mut found = Vec::new();
    // What stands behind the one that is looked at opens a bracket: it is a function.
    let mut called = false;
    while let Some(token) = rest.next() {
        let is_called = std::mem::replace(&mut called, token.text == "(");
        match token.kind {
            TokenKind::Comma => apart |= literal && depth == 0,
            TokenKind::Close => depth += 1,
            TokenKind::Open if depth == 0 => apart = false,
            TokenKind::Open => {
                depth -= 1;
                // All that stands in a bracket was compared with it.
                if depth == 0 && !found.is_empty() {
                    break;
                }
            }
            _ => {}
        }
        // `pwd varchar(3)` calls nothing.
        let is_function = is_called
            && name_of(token).is_some()
            && !token.is(KEYWORDS)
            && rest.peek().is_none_or(|before| name_of(before).is_none() || before.is(JOINTS));
        let joins = token.is(JOINTS)
            || is_function
            || matches!(
                token.kind,
                TokenKind::Operator | TokenKind::Comma | TokenKind::Open | TokenKind::Close
            )
            || is_value(token);
        if joins {
            continue;
        }
        // The second bound of BETWEEN.
        if token.is(&["and"]) && rest.peek().is_some_and(|bound| is_value(bound)) {
            rest.next();
            if rest.peek().is_some_and(|word| word.is(&["between"])) {
                continue;
            }
        }
        if let Some(name) = name_of(token).filter(|_| !apart) {
            found.push(named(name));
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// `= c.email`, `::text = lower(email)`.
fn ahead<'t>(mut tokens: &[Token<'t>]) -> Option<Beside<'t>> {
    while let [one, other, kind, rest @ ..] = tokens
        && (one.text, other.text) == (":", ":")
        && name_of(kind).is_some()
    {
        tokens = rest;
    }
    let signs = tokens.iter().take_while(|one| one.kind == TokenKind::Operator).count();
    let mut rest = tokens.get(signs..).filter(|_| signs > 0)?;
    loop {
        rest = match rest {
            [name, sign, behind @ ..] if name_of(name).is_some() && is_joint(sign) => behind,
            [name, ..] => return name_of(name).map(named),
            [] => return None,
        }
    }
}

/// What stands between a table, or a function, and its column.
fn is_joint(sign: &Token<'_>) -> bool {
    matches!(sign.text, "." | "(")
}

/// Where in `INSERT INTO t (a, b) VALUES ($1, $2), …` it stands, or in
/// `INSERT INTO t (a, b) SELECT $1, $2`.
#[derive(Debug, Default)]
struct Inserted<'t> {
    table: Option<(Option<&'t str>, &'t str)>,
    /// `None`: all of the table's, in its order.
    columns: Option<Vec<&'t str>>,
    /// Of MERGE, whose INSERT doesn't name it.
    merged: Option<(Option<&'t str>, &'t str)>,
    filled: Filled,
    /// How deep it stands, and how deep what fills it does.
    depth: usize,
    base: usize,
    column: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Filled {
    #[default]
    NotYet,
    Rows,
    /// By what a query gives: its list of columns.
    Query,
}

impl<'t> Inserted<'t> {
    fn step(&mut self, tokens: &[Token<'t>], at: usize) {
        let Some(token) = tokens.get(at) else { return };
        let behind = tokens.get(at + 1..).unwrap_or_default();
        if token.is(&["merge"]) && behind.first().is_some_and(|next| next.is(&["into"])) {
            let (merged, _) = table(behind.get(1..).unwrap_or_default());
            *self = Self { merged, ..Self::default() };
            return;
        }
        if token.is(&["insert"]) {
            let (table, rest) = match behind {
                [into, rest @ ..] if into.is(&["into"]) => table(rest),
                _ => (self.merged, behind),
            };
            *self = Self { table, columns: list(rest), merged: self.merged, ..Self::default() };
            return;
        }
        if self.table.is_none() {
            return;
        }
        let outermost = self.depth == self.base;
        match (self.filled, token.kind) {
            (Filled::NotYet, TokenKind::Word) if token.is(&["values", "select"]) => {
                self.filled = if token.is(&["values"]) { Filled::Rows } else { Filled::Query };
                (self.base, self.column) = (self.depth, 0);
            }
            (filled, TokenKind::Open) => {
                if outermost && filled == Filled::Rows {
                    self.column = 0;
                }
                self.depth += 1;
            }
            (_, TokenKind::Close) => {
                self.depth = self.depth.saturating_sub(1);
                // A query of WITH's: its own comes behind it.
                if self.depth < self.base {
                    (self.filled, self.base) = (Filled::NotYet, 0);
                }
            }
            (Filled::Rows, TokenKind::Comma) if self.depth == self.base + 1 => self.column += 1,
            (Filled::Query, TokenKind::Comma) if outermost => self.column += 1,
            (_, TokenKind::Semicolon) => self.end(),
            (Filled::Rows, kind) if outermost && kind != TokenKind::Comma => self.end(),
            (Filled::Query, TokenKind::Word) if outermost && token.is(BEHIND_COLUMNS) => {
                self.end();
            }
            _ => {}
        }
    }

    /// Behind the rows: ON CONFLICT, RETURNING, the next statement.
    fn end(&mut self) {
        *self = Self { merged: self.merged, ..Self::default() };
    }

    /// Whether what stands here goes into its column as it is.
    fn is_flat(&self) -> bool {
        self.filled == Filled::Rows && self.depth == self.base + 1
    }

    fn column(&self) -> Option<Beside<'t>> {
        let in_row = self.filled == Filled::Rows && self.depth > self.base;
        if !in_row && self.filled != Filled::Query {
            return None;
        }
        let column = match &self.columns {
            Some(named) => Which::Named(named.get(self.column)?),
            None => Which::Nth(self.column),
        };
        Some(Beside { table: self.table, column })
    }
}

/// A table's name, and what stands behind it and its other name.
fn table<'a, 't>(
    mut tokens: &'a [Token<'t>],
) -> (Option<(Option<&'t str>, &'t str)>, &'a [Token<'t>]) {
    let mut found: Option<(Option<&'t str>, &'t str)> = None;
    while let [token, rest @ ..] = tokens
        && let Some(name) = name_of(token)
    {
        found = Some((found.map(|(_, schema)| schema), name));
        tokens = rest;
        match rest {
            [point, rest @ ..] if point.text == "." => tokens = rest,
            _ => break,
        }
    }
    match tokens {
        [word, name, rest @ ..] if word.is(&["as"]) && name_of(name).is_some() => (found, rest),
        _ => (found, tokens),
    }
}

/// `(a, b)`; `None`: none are named.
fn list<'t>(tokens: &[Token<'t>]) -> Option<Vec<&'t str>> {
    let [open, rest @ ..] = tokens else { return None };
    let query = rest.first().is_some_and(|first| first.is(QUERIES));
    if open.text != "(" || query {
        return None;
    }
    let mut names = Vec::new();
    let mut starts = true;
    for token in rest {
        match token.kind {
            TokenKind::Close => break,
            TokenKind::Comma => starts = true,
            // Behind a name: a field of it, an element.
            _ if starts => {
                names.push(name_of(token)?);
                starts = false;
            }
            _ => {}
        }
    }
    Some(names)
}

/// What may stand between a name and its value.
const JOINTS: &[&str] = &[
    "in", "like", "ilike", "is", "not", "any", "all", "some", "similar", "to", "between", "set",
    "distinct", "from", "lower", "upper", "trim", "cast", "array", "row",
];
/// Words before a bracket that are no function's name.
const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "where",
    "select",
    "when",
    "then",
    "else",
    "on",
    "having",
    "values",
    "returning",
    "limit",
    "offset",
    "using",
    "by",
    "with",
    "as",
    "exists",
    "case",
    "filter",
    "over",
    "do",
];
const QUERIES: &[&str] = &["select", "values", "with", "table"];
const BEHIND_COLUMNS: &[&str] = &[
    "from",
    "where",
    "union",
    "except",
    "intersect",
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "on",
    "returning",
];
/// How many tokens are looked back.
const REACH: usize = 12;

#[cfg(test)]
mod tests;
