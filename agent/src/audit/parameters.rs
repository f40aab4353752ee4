//! What a text says of its parameters, read once a text: which stand where a
//! secret would, and which go into, or are compared with, a column whose name
//! tells what it holds. The same is asked of literals where they are kept.
//!
//! INVARIANT: a parameter that was not seen in the text – behind what is looked
//! at, in a string without an end – counts as a secret.
//!
//! Never sees a value.

use super::redact::{self, Grammar, Token};
use crate::mask::Class;
use crate::mask::names::{Named, classify};
use crate::sql::{Strings, TokenKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Secret,
    Class(Class),
    Plain,
}

/// By number, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Box<[Option<Place>]>);

impl Places {
    pub fn of(&self, index: usize) -> Place {
        self.0.get(index).copied().flatten().unwrap_or(Place::Secret)
    }

    pub fn read(text: &str, strings: Strings) -> Self {
        let head = redact::cut(text, redact::LOOKED_AT);
        if !head.contains('$') {
            return Self::default();
        }
        let tokens = redact::tokens(head, strings);
        let secret = redact::secrets(&tokens, Grammar::Took);
        let mut places = Vec::new();
        for ((token, class), secret) in tokens.iter().zip(classes(&tokens)).zip(secret) {
            if token.kind == TokenKind::Unterminated {
                break;
            }
            let Some(number) = number(token) else { continue };
            let place = match class {
                _ if secret => Place::Secret,
                Some(class) => Place::Class(class),
                None => Place::Plain,
            };
            if places.len() <= number {
                places.resize(number + 1, None);
            }
            if let Some(known) = places.get_mut(number) {
                *known = Some(known.map_or(place, |known| stricter(known, place)));
            }
        }
        Self(places.into())
    }
}

/// Of each value, literal or parameter, the class of the column that it goes into or
/// is compared with, as far as names tell it.
pub(super) fn classes(tokens: &[Token<'_>]) -> Vec<Option<Class>> {
    let mut inserted = Inserted::default();
    // The value before, and its class: a list is of one kind.
    let mut before = None;
    let class = |(at, token): (usize, &Token<'_>)| {
        inserted.step(tokens, at);
        if !is_value(token) {
            return None;
        }
        if inserted.is_in_row() {
            return inserted.class();
        }
        let class = match (before, tokens.get(at.wrapping_sub(1))) {
            (Some((earlier, class)), Some(comma))
                if earlier + 2 == at && comma.kind == TokenKind::Comma =>
            {
                class
            }
            _ => beside(tokens, at),
        };
        before = Some((at, class));
        class
    };
    tokens.iter().enumerate().map(class).collect()
}

fn is_value(token: &Token<'_>) -> bool {
    token.is_value() || token.kind == TokenKind::Number
}

/// `$3` is number 2. A Bind has no more than 65,535.
fn number(token: &Token<'_>) -> Option<usize> {
    if token.kind != TokenKind::Parameter {
        return None;
    }
    let number: u16 = token.text.strip_prefix('$')?.parse().ok()?;
    usize::from(number).checked_sub(1)
}

fn stricter(one: Place, other: Place) -> Place {
    match (one, other) {
        (Place::Secret, _) | (_, Place::Secret) => Place::Secret,
        (Place::Class(class), _) | (_, Place::Class(class)) => Place::Class(class),
        _ => Place::Plain,
    }
}

fn name_of<'t>(token: &Token<'t>) -> Option<&'t str> {
    match token.kind {
        TokenKind::Word => Some(token.text),
        TokenKind::QuotedName => Some(token.text.trim_matches('"')),
        _ => None,
    }
}

fn class_of(table: &str, column: &str) -> Option<Class> {
    classify(&Named { table, column, ..Named::default() }).map(|(class, _)| class)
}

/// The class of the name that it is compared with or set to: `email = $1`,
/// `lower(email) in ($1, $2)`, `$1 = email`.
fn beside(tokens: &[Token<'_>], at: usize) -> Option<Class> {
    let before = tokens.get(at.saturating_sub(REACH)..at).unwrap_or_default();
    let mut rest = before.iter().rev().peekable();
    let literal = tokens.get(at).is_some_and(|one| one.kind != TokenKind::Parameter);
    // A comma that no bracket before it holds: a column of its own (`email, 'x'`).
    let (mut apart, mut depth) = (false, 0_usize);
    while let Some(token) = rest.next() {
        match token.kind {
            TokenKind::Comma => apart |= literal && depth == 0,
            TokenKind::Close => depth += 1,
            TokenKind::Open if depth == 0 => apart = false,
            TokenKind::Open => depth -= 1,
            _ => {}
        }
        let joins = token.is(JOINTS)
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
        if let Some(class) = name_of(token).and_then(|name| class_of("", name))
            && !apart
        {
            return Some(class);
        }
        break;
    }
    match tokens.get(at + 1..) {
        Some([operator, name, ..]) if operator.kind == TokenKind::Operator => {
            class_of("", name_of(name)?)
        }
        _ => None,
    }
}

/// Where in `INSERT INTO t (a, b) VALUES ($1, $2), …` it stands.
#[derive(Debug, Default)]
struct Inserted {
    classes: Vec<Option<Class>>,
    /// Within a row: how deep, and of which column.
    depth: usize,
    column: usize,
    in_rows: bool,
}

impl Inserted {
    fn step(&mut self, tokens: &[Token<'_>], at: usize) {
        let Some(token) = tokens.get(at) else { return };
        if token.is(&["insert"]) && tokens.get(at + 1).is_some_and(|next| next.is(&["into"])) {
            *self = Self {
                classes: columns(tokens.get(at + 2..).unwrap_or_default()),
                ..Self::default()
            };
            return;
        }
        if token.is(&["values"]) && !self.classes.is_empty() {
            (self.in_rows, self.depth, self.column) = (true, 0, 0);
            return;
        }
        if !self.in_rows {
            return;
        }
        match token.kind {
            TokenKind::Open => {
                if self.depth == 0 {
                    self.column = 0;
                }
                self.depth += 1;
            }
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            TokenKind::Comma if self.depth == 1 => self.column += 1,
            TokenKind::Comma => {}
            // Behind the rows: ON CONFLICT, RETURNING, the next statement.
            _ if self.depth == 0 => *self = Self::default(),
            _ => {}
        }
    }

    fn is_in_row(&self) -> bool {
        self.in_rows && self.depth > 0
    }

    fn class(&self) -> Option<Class> {
        *self.classes.get(self.column)?
    }
}

/// The classes of the columns that are named behind INSERT INTO.
fn columns(tokens: &[Token<'_>]) -> Vec<Option<Class>> {
    let Some(open) = tokens.iter().take(REACH).position(|one| one.kind == TokenKind::Open) else {
        return Vec::new();
    };
    let table = tokens.get(..open).and_then(|names| names.iter().rev().find_map(name_of));
    tokens
        .get(open + 1..)
        .unwrap_or_default()
        .iter()
        .take_while(|token| !matches!(token.kind, TokenKind::Open | TokenKind::Close))
        .filter(|token| token.kind != TokenKind::Comma)
        .map(|token| class_of(table.unwrap_or_default(), name_of(token)?))
        .collect()
}

/// What may stand between a name and its value.
const JOINTS: &[&str] = &[
    "in", "like", "ilike", "is", "not", "any", "all", "some", "similar", "to", "between", "set",
    "distinct", "from", "lower", "upper", "trim", "cast",
];
/// How many tokens are looked back.
const REACH: usize = 12;

#[cfg(test)]
mod tests;
