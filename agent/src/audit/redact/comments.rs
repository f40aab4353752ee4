//! Comments of a text that is kept. SQL stands in them that somebody took out, and
//! what people and programs say to each other; no grammar vouches for any of it.
//!
//! Tags that tell where a statement comes from stay, as far as they tell nothing of a
//! person. All else is read by the same tokens as the text itself.
//!
//! INVARIANT: what was a comment is one afterwards, and nothing else is.

use super::{Cleaner, DEEPEST, Grammar, Token, looks_like_credentials, sounds_secret, tokens};
use crate::audit::says::withheld;
use crate::mask::content::{Demand, scan};
use crate::sql::{Between, Gap, Strings, TokenKind, nothing_but_tags};

impl Cleaner {
    /// White space and comments; `near`: beside a secret, of which they may be a part.
    pub(super) fn push_gap(&self, gap: &str, near: bool, depth: usize, out: &mut String) {
        let beside = near && !gap.trim().is_empty();
        if beside || sounds_secret(gap) || looks_like_credentials(gap) {
            out.push_str(LEFT_OUT);
            return;
        }
        for piece in Gap(gap) {
            let whole = match piece {
                Between::Blank(blank) => blank.to_owned(),
                Between::Line(inner) => format!("--{}", self.comment(inner, depth)),
                Between::Block(inner) => format!("/*{}*/", self.comment(inner, depth)),
            };
            let blank = matches!(piece, Between::Blank(_));
            out.push_str(if blank || is_comment(&whole) { &whole } else { LEFT_OUT });
        }
    }

    fn comment(&self, inner: &str, depth: usize) -> String {
        if depth >= DEEPEST {
            return " … ".into();
        }
        if let Some(tags) = nothing_but_tags(inner) {
            let told = tags.iter().map(|tag| (tag.place.clone(), withheld(&tag.name, &tag.value)));
            return replaced(inner, told);
        }
        let mut found = Vec::new();
        scan(inner.as_bytes(), Demand::Check, &mut found);
        let classes = found.iter().map(|it| (it.start..it.end, Some(format!("[{}]", it.class))));
        let text = replaced(inner, classes);
        // How a backslash is meant here, nobody knows.
        let reader = Self {
            strings: Strings::Uncertain,
            grammar: Grammar::Refused,
            in_comment: true,
            ..*self
        };
        match torn(&tokens(&text, reader.strings)) {
            None => reader.text(&text, depth + 1),
            Some(place) => {
                let sure = text.get(..place).unwrap_or_default();
                format!("{}?", reader.text(sure, depth + 1))
            }
        }
    }
}

/// Where the first quote stands, if quotes don't pair up as they would in SQL: `don't`.
/// Then nobody knows which of them opens a string.
fn torn(tokens: &[Token<'_>]) -> Option<usize> {
    let quote = |token: &Token<'_>| token.is_literal() || token.kind == TokenKind::QuotedName;
    let joined = |two: &[Token<'_>]| match two {
        [one, next] => {
            let words = [TokenKind::Word, TokenKind::Number];
            let word_beside = words.contains(&one.kind) && quote(next)
                || quote(one) && words.contains(&next.kind)
                || quote(one) && quote(next);
            one.place.end == next.place.start && word_beside
        }
        _ => false,
    };
    let is_torn = tokens.last().is_some_and(|last| last.kind == TokenKind::Unterminated)
        || tokens.windows(2).any(joined);
    let first = tokens.iter().find(|token| quote(token)).filter(|_| is_torn)?;
    Some(first.place.start)
}

/// The text with other words at these places, which are in order.
fn replaced(
    text: &str,
    places: impl Iterator<Item = (std::ops::Range<usize>, Option<String>)>,
) -> String {
    let (mut out, mut behind) = (String::with_capacity(text.len()), 0);
    for (place, other) in places {
        let Some(other) = other else { continue };
        out.push_str(text.get(behind..place.start).unwrap_or_default());
        out.push_str(&other);
        behind = place.end;
    }
    out.push_str(text.get(behind..).unwrap_or_default());
    out
}

fn is_comment(text: &str) -> bool {
    let mut pieces = Gap(text);
    pieces.next().is_some() && pieces.next().is_none() && pieces.0.is_empty()
}

/// In place of a comment.
const LEFT_OUT: &str = " /* … */ ";
