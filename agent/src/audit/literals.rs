//! The literals of a text that is kept with them, by the columns beside them: of which
//! class such a column is, the database's catalog may know where its name tells nothing.
//!
//! Read from the text as it is kept, without what no catalog is needed to take out.

use std::collections::HashMap;
use std::ops::Range;

use super::beside::{Beside, columns};
use super::parameters::Column;
use super::redact::{self, Token};
use crate::mask::Class;
use crate::sql::{Strings, TokenKind};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Literals {
    /// In the text's order; one may lie within one before it. With what is beside it:
    /// an index.
    all: Box<[(Range<usize>, usize)]>,
    beside: Box<[Box<[Column]>]>,
}

impl Literals {
    pub fn read(text: &str, strings: Strings) -> Self {
        let mut reader = Reader { strings, all: Vec::new(), beside: HashMap::new() };
        reader.read(text, 0, 0);
        let mut beside: Vec<_> = reader.beside.into_iter().collect();
        beside.sort_unstable_by_key(|(_, index)| *index);
        let kept = |columns: Vec<Beside<'_>>| columns.iter().map(Column::of).collect();
        Self {
            all: reader.all.into(),
            beside: beside.into_iter().map(|(columns, _)| kept(columns)).collect(),
        }
    }

    /// The text that `kept` gives, without those of a class; `None`: there are none.
    pub(super) fn without(
        &self,
        kept: impl FnOnce() -> Option<String>,
        class: &dyn Fn(&Beside<'_>) -> Option<Class>,
    ) -> Option<String> {
        let of = |columns: &[Column]| columns.iter().find_map(|one| class(&one.beside()));
        let classes: Vec<Option<Class>> = self.beside.iter().map(|columns| of(columns)).collect();
        if classes.iter().all(Option::is_none) {
            return None;
        }
        let text = kept()?;
        let mut out = String::with_capacity(text.len());
        let mut behind = 0;
        for (place, beside) in &self.all {
            let Some(class) = classes.get(*beside).copied().flatten() else { continue };
            if place.start < behind {
                continue;
            }
            out.push_str(text.get(behind..place.start)?);
            out.push_str(&format!("[{}]", class.as_str()));
            behind = place.end;
        }
        out.push_str(text.get(behind..)?);
        Some(out)
    }
}

struct Reader<'t> {
    strings: Strings,
    all: Vec<(Range<usize>, usize)>,
    beside: HashMap<Vec<Beside<'t>>, usize>,
}

impl<'t> Reader<'t> {
    /// `from`: where the text begins within the one that it is a part of.
    fn read(&mut self, text: &'t str, from: usize, depth: usize) {
        let tokens = redact::tokens(text, self.strings);
        // A number is several tokens: `1.5e3`.
        let mut number_ends = None;
        for (token, columns) in tokens.iter().zip(columns(&tokens)) {
            let place = from + token.place.start..from + token.place.end;
            if number_ends == Some(place.start) && redact::goes_on(token) {
                number_ends = Some(place.end);
                if let Some((last, _)) = self.all.last_mut()
                    && last.end == place.start
                {
                    last.end = place.end;
                }
                continue;
            }
            number_ends = (token.kind == TokenKind::Number).then_some(place.end);
            if !columns.is_empty() && token.kind != TokenKind::Parameter {
                let next = self.beside.len();
                let beside = *self.beside.entry(columns).or_insert(next);
                self.all.push((place.clone(), beside));
            }
            if let Some((start, code)) = code(token).filter(|_| depth < redact::DEEPEST) {
                self.read(code, place.start + start, depth + 1);
            }
        }
    }
}

/// What stands within `$tag$ … $tag$`, and where.
fn code<'t>(token: &Token<'t>) -> Option<(usize, &'t str)> {
    if token.kind != TokenKind::Dollar {
        return None;
    }
    let tag = token.text.get(1..)?.find('$')? + 2;
    Some((tag, token.text.get(tag..token.text.len().checked_sub(tag)?)?))
}

#[cfg(test)]
mod tests;
