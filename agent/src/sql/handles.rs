//! Facts → what each statement does to the session's prepared statements and
//! cursors, in the words of the session machine.
//!
//! INVARIANTS
//! - One entry for each statement that the server answers with a command tag, in
//!   the order of the text.
//! - What was not read, or whose own text can't be found, is `unknown` as a whole.
//!
//! Code that runs text of its own can change names as well; its tag doesn't tell. Of DO
//! that is said; of a function that somebody wrote nothing is: whoever lets it run has let
//! anything run.

use super::facts::{Facts, SessionEffect, Setting, Statement, Verb};
use super::lexer::{Kind, Lexer, Token};
use super::state::{LexingState, Strings};
use crate::wire::postgres::session::{SqlEffect, SqlEffects};

/// `text` and `state` are those that the facts were read from.
pub fn session_effects(facts: &Facts, text: &[u8], state: &LexingState) -> SqlEffects {
    let renames = |statement: &Statement| {
        matches!(
            statement.verb,
            Verb::Prepare
                | Verb::Deallocate
                | Verb::DeclareCursor
                | Verb::CloseCursor
                | Verb::Discard
                | Verb::Do
                | Verb::Unknown
        )
    };
    // Nearly every text: no need to look at it again.
    if !facts.running().any(renames) {
        return SqlEffects::nothing();
    }
    let alone = facts.running().count() == 1;
    let effects: Option<Vec<SqlEffect>> = facts
        .running()
        .map(|statement| {
            let own = match statement.span {
                Some(span) => text.get(span.start as usize..span.end as usize),
                None if alone => Some(text),
                None => None,
            };
            effect(statement, own, state.strings)
        })
        .collect();
    effects.map_or_else(SqlEffects::unknown, SqlEffects::new)
}

/// `None`: it can't be told.
fn effect(statement: &Statement, own: Option<&[u8]>, strings: Strings) -> Option<SqlEffect> {
    let name = match statement.handle.as_deref() {
        // How others are folded and cut depends on the server's own character set.
        Some(name) if !name.is_ascii() => return None,
        name => name.map(|name| Box::from(name.as_bytes())),
    };
    Some(match (statement.verb, name) {
        (Verb::Unknown, _) => return None,
        (Verb::Prepare, name) => {
            let (text, declared) = prepared(own?, strings)?;
            SqlEffect::Prepare { name: name?, text: text.into(), declared }
        }
        (Verb::DeclareCursor, name) => {
            SqlEffect::Declare { name: name?, holdable: holdable(own?, strings)? }
        }
        (Verb::Deallocate, Some(name)) => SqlEffect::Deallocate(name),
        (Verb::Deallocate, None) => SqlEffect::DeallocateAll,
        (Verb::CloseCursor, Some(name)) => SqlEffect::Close(name),
        (Verb::CloseCursor, None) => SqlEffect::CloseAll,
        (Verb::Discard, _) => {
            let all = |of: &SessionEffect| &*of.setting == "*" && of.value == Setting::Default;
            if statement.session.iter().any(all) { SqlEffect::DiscardAll } else { SqlEffect::None }
        }
        (Verb::Do, _) => SqlEffect::Anything,
        _ => SqlEffect::None,
    })
}

/// The statement behind `PREPARE name (types) AS`, and one 0 for each type: which
/// one a name means is for the server to say.
fn prepared(own: &[u8], strings: Strings) -> Option<(&[u8], Box<[u32]>)> {
    let mut tokens = Lexer::over(own, strings);
    word(own, tokens.next()?, b"prepare").then_some(())?;
    tokens.next()?;
    let mut types = 0;
    let mut next = tokens.next()?;
    if next.kind == Kind::Open {
        let mut depth = 1;
        types = 1;
        while depth > 0 {
            match tokens.next()?.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Comma if depth == 1 => types += 1,
                _ => {}
            }
        }
        next = tokens.next()?;
    }
    word(own, next, b"as").then_some(())?;
    // A `;` may end it, or white space: neither is the statement's.
    let mut last = tokens.next()?;
    let start = last.start;
    let mut end = last.end;
    for token in tokens {
        if token.kind != Kind::Semicolon {
            end = token.end;
        }
        last = token;
    }
    (last.kind != Kind::Unterminated).then_some(())?;
    Some((own.get(start..end)?, vec![0; types].into()))
}

/// Whether `DECLARE name … CURSOR WITH HOLD FOR` says so.
fn holdable(own: &[u8], strings: Strings) -> Option<bool> {
    let mut tokens = Lexer::over(own, strings);
    word(own, tokens.next()?, b"declare").then_some(())?;
    tokens.next()?;
    let mut with = false;
    loop {
        let token = tokens.next()?;
        if word(own, token, b"for") {
            return Some(false);
        }
        if with && word(own, token, b"hold") {
            return Some(true);
        }
        with = word(own, token, b"with");
    }
}

fn word(own: &[u8], token: Token, expected: &[u8]) -> bool {
    token.kind == Kind::Word
        && own.get(token.start..token.end).is_some_and(|found| found.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests;
