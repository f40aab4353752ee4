//! Which dollar-quoted strings are code: of a DO, and behind the AS of a function or a
//! procedure, in a language that is read as SQL is. Any other is a value, however many
//! words it has.

use super::Token;
use crate::sql::TokenKind;

/// One for each token; empty: none is.
pub(super) fn bodies(tokens: &[Token<'_>]) -> Vec<bool> {
    if tokens.iter().all(|token| token.kind != TokenKind::Dollar) {
        return Vec::new();
    }
    let mut start = 0;
    // Read to the statement's end once only, however many bodies it is said to have.
    let mut speaks = None;
    let is_code = |(at, token): (usize, &Token<'_>)| {
        if begins_another(token) {
            (start, speaks) = (at + 1, None);
        }
        let of = |range: std::ops::Range<usize>| tokens.get(range).unwrap_or_default();
        let before = of(start..at);
        let body = token.kind == TokenKind::Dollar && (is_done(before) || is_defined(before));
        body && *speaks.get_or_insert_with(|| speaks_sql(of(start..tokens.len())))
    };
    tokens.iter().enumerate().map(is_code).collect()
}

/// Behind it there is another statement: in code, one within this one.
pub(super) fn begins_another(token: &Token<'_>) -> bool {
    token.kind == TokenKind::Semicolon || token.is(&["begin", "then", "else", "loop"])
}

/// `DO …`, `DO LANGUAGE plpgsql …`
fn is_done(before: &[Token<'_>]) -> bool {
    match before {
        [one] => one.is(&["do"]),
        [one, language, _] => one.is(&["do"]) && language.is(&["language"]),
        _ => false,
    }
}

/// `CREATE FUNCTION … AS …`
fn is_defined(before: &[Token<'_>]) -> bool {
    let [create, rest @ .., behind] = before else { return false };
    let what = rest.iter().find(|word| !word.is(&["or", "replace"]));
    create.is(&["create"])
        && behind.is(&["as"])
        && what.is_some_and(|what| what.is(&["function", "procedure"]))
}

/// A DO needn't say it.
fn speaks_sql(rest: &[Token<'_>]) -> bool {
    let end = rest.iter().position(|token| token.kind == TokenKind::Semicolon);
    let statement = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    let mut languages = statement
        .windows(2)
        .filter_map(|two| match two {
            [language, name] if language.is(&["language"]) => Some(name.text),
            _ => None,
        })
        .peekable();
    let said = languages.peek().is_some() || statement.first().is_some_and(|it| it.is(&["do"]));
    said && languages.all(|name| {
        let name = name.trim_matches(['\'', '"']);
        ["sql", "plpgsql"].iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}
