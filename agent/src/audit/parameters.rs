//! What a text says of its parameters, read once a text: which stand where a
//! secret would, and which go into, or are compared with, a column of a class. Names
//! tell most classes; the rest the database's catalog does (`columns`), where it is
//! known.
//!
//! INVARIANT: a parameter that was not seen in the text – behind what is looked
//! at, in a string without an end – counts as a secret.
//!
//! Never sees a value.

use super::beside::{Beside, Which, columns};
use super::redact::{self, Grammar, Token};
use crate::mask::Class;
use crate::sql::{Strings, TokenKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Secret,
    Class(Class),
    Plain,
}

/// By number, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Box<[Option<Seen>]>);

/// What was seen of one, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    place: Place,
    beside: Box<[Column]>,
}

/// [`Beside`], kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Column {
    table: Option<(Option<Box<str>>, Box<str>)>,
    name: Option<Box<str>>,
    number: usize,
}

impl Column {
    pub fn of(beside: &Beside<'_>) -> Self {
        let table = beside.table.map(|(schema, table)| (schema.map(Box::from), Box::from(table)));
        let (name, number) = match beside.column {
            Which::Named(name) => (Some(name.into()), 0),
            Which::Nth(number) => (None, number),
        };
        Self { table, name, number }
    }

    pub fn beside(&self) -> Beside<'_> {
        let table = self.table.as_ref().map(|(schema, table)| (schema.as_deref(), &**table));
        let column = self.name.as_deref().map_or(Which::Nth(self.number), Which::Named);
        Beside { table, column }
    }
}

impl Places {
    pub fn of(&self, index: usize) -> Place {
        self.0.get(index).and_then(Option::as_ref).map_or(Place::Secret, |seen| seen.place)
    }

    pub fn read(text: &str, strings: Strings) -> Self {
        let head = redact::cut(text, redact::LOOKED_AT);
        if !head.contains('$') {
            return Self::default();
        }
        let tokens = redact::tokens(head, strings);
        let secret = redact::secrets(&tokens, Grammar::Took);
        let mut places: Vec<Option<Seen>> = Vec::new();
        for ((token, columns), secret) in tokens.iter().zip(columns(&tokens)).zip(secret) {
            if token.kind == TokenKind::Unterminated {
                break;
            }
            let Some(number) = number(token) else { continue };
            let place = match columns.iter().find_map(Beside::class) {
                _ if secret => Place::Secret,
                Some(class) => Place::Class(class),
                None => Place::Plain,
            };
            if places.len() <= number {
                places.resize(number + 1, None);
            }
            if let Some(known) = places.get_mut(number) {
                let before = known.take();
                let place = before.as_ref().map_or(place, |known| stricter(known.place, place));
                // Only of what is plain the catalog may know more.
                let beside = match place {
                    Place::Plain => {
                        let before = before.map_or_else(Box::default, |known| known.beside);
                        before.into_iter().chain(columns.iter().map(Column::of)).collect()
                    }
                    _ => Box::default(),
                };
                *known = Some(Seen { place, beside });
            }
        }
        Self(places.into())
    }

    /// The same where more classes are known than names tell; `None`: none of them is of
    /// these.
    pub(super) fn knowing(&self, class: &dyn Fn(&Beside<'_>) -> Option<Class>) -> Option<Self> {
        let mut places = None;
        for (number, seen) in self.0.iter().enumerate() {
            let beside = seen.iter().flat_map(|seen| &seen.beside);
            let Some(class) = beside.map(Column::beside).find_map(|one| class(&one)) else {
                continue;
            };
            let places: &mut Box<[_]> = places.get_or_insert_with(|| self.0.clone());
            if let Some(known) = places.get_mut(number) {
                *known = Some(Seen { place: Place::Class(class), beside: Box::default() });
            }
        }
        places.map(Self)
    }
}

/// Of each value, literal or parameter, the class of the column that it goes into or
/// is compared with, as far as names tell it.
pub(super) fn classes(tokens: &[Token<'_>]) -> Vec<Option<Class>> {
    columns(tokens).iter().map(|beside| beside.iter().find_map(Beside::class)).collect()
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

#[cfg(test)]
mod tests;
