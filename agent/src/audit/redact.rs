//! Text without what must never be in a log.
//!
//! Works on tokens, so it works on what no grammar accepts. Passwords, keys and
//! credentials go, whatever the settings say; `redacted` takes every literal, and the words
//! that an application's settings are set to; `full` takes the literals that stand where a
//! column's name tells something sensitive. What stands in comments is read in the same way.
//! What can't be told apart (a string without an end, a backslash of which
//! nobody knows whether it escapes) is taken as a secret to its end.

mod code;
mod comments;
mod secrets;
mod settings;

use std::ops::Range;

use aws_lc_rs::digest::{SHA256, digest};

use super::parameters::classes;
use crate::model::TextKept;
use crate::sql::{Facts, Lexer, Strings, TokenKind};
use secrets::names_a_secret;
pub(super) use secrets::secrets;

/// No more of a text is kept, nor of what follows looked at.
pub const LONGEST: usize = 16 * 1024;
pub(super) const LOOKED_AT: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// `None`: only the fingerprint is kept.
    pub text: Option<String>,
    /// The same for texts that differ in their literals, their case and their
    /// white space only.
    pub fingerprint: String,
    pub cut: bool,
}

/// What the grammar said of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// It took it: it tells names from values.
    Took,
    /// It didn't, or wasn't asked: a word may be a password that somebody forgot to
    /// quote.
    Refused,
}

impl Grammar {
    pub(super) fn of(facts: Option<&Facts>) -> Self {
        if facts.is_some_and(Facts::is_parsed) { Self::Took } else { Self::Refused }
    }
}

pub fn text(text: &str, strings: Strings, grammar: Grammar, kept: TextKept) -> Redacted {
    let head = cut(text, LOOKED_AT);
    let tokens = tokens(head, strings);
    let secret = secrets(&tokens, grammar);
    let fingerprint = fingerprint(&tokens, &secret, &settings::values(&tokens, grammar));
    if kept == TextKept::Fingerprint {
        return Redacted { text: None, fingerprint, cut: false };
    }
    let every_literal = kept == TextKept::Redacted;
    let cleaner = Cleaner { strings, grammar, every_literal, in_comment: false };
    let clean = cleaner.clean(head, &tokens, &secret, 0);
    let short = cut(&clean, LONGEST);
    let is_cut = short.len() < clean.len() || head.len() < text.len();
    let text = if is_cut { format!("{short}…") } else { short.to_owned() };
    Redacted { text: Some(text), fingerprint, cut: is_cut }
}

/// The text as `redacted` keeps it, where it is short enough to be kept whole.
pub fn without_literals(text: &str, strings: Strings, grammar: Grammar) -> String {
    Cleaner { strings, grammar, every_literal: true, in_comment: false }.text(text, 0)
}

/// The beginning, at most so many bytes, with no character cut in two.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

pub(super) struct Token<'t> {
    pub kind: TokenKind,
    pub text: &'t str,
    pub place: Range<usize>,
}

impl Token<'_> {
    fn is_literal(&self) -> bool {
        matches!(
            self.kind,
            TokenKind::Plain
                | TokenKind::National
                | TokenKind::Escape
                | TokenKind::Unicode
                | TokenKind::Bits
                | TokenKind::Dollar
                | TokenKind::Unterminated
        )
    }

    pub fn is(&self, words: &[&str]) -> bool {
        self.kind == TokenKind::Word
            && words.iter().any(|word| self.text.eq_ignore_ascii_case(word))
    }

    /// A literal, or what stands for one.
    pub fn is_value(&self) -> bool {
        self.is_literal() || self.kind == TokenKind::Parameter
    }

    fn begins(&self, words: &[&str]) -> bool {
        let lower = self.text.to_ascii_lowercase();
        let name = lower.trim_matches('"');
        matches!(self.kind, TokenKind::Word | TokenKind::QuotedName)
            && words.iter().any(|word| name.starts_with(word))
    }
}

pub(super) fn tokens(text: &str, strings: Strings) -> Vec<Token<'_>> {
    Lexer::new(text, strings)
        .map(|token| Token {
            kind: token.kind,
            text: text.get(token.start..token.end).unwrap_or_default(),
            place: token.start..token.end,
        })
        .collect()
}

struct Cleaner {
    strings: Strings,
    grammar: Grammar,
    every_literal: bool,
    in_comment: bool,
}

impl Cleaner {
    fn text(&self, text: &str, depth: usize) -> String {
        let tokens = tokens(text, self.strings);
        let secret = secrets(&tokens, self.grammar);
        self.clean(text, &tokens, &secret, depth)
    }

    fn clean(&self, text: &str, tokens: &[Token<'_>], secret: &[bool], depth: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut behind = 0;
        // Behind a number: what belongs to it (`.5e3`).
        let mut number_ends = None;
        // Behind a secret: what belongs to it; and whether a comment there may.
        let (mut secret_ends, mut near) = (None, false);
        // Behind a word that is a value.
        let mut value_ends = None;
        let (mut classes_of, mut values, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        if self.every_literal {
            (values, bodies) = (settings::values(tokens, self.grammar), code::bodies(tokens));
        } else {
            classes_of = classes(tokens);
        }
        let is = |all: &[bool], at: usize| all.get(at).copied().unwrap_or_default();
        for (at, (token, secret)) in tokens.iter().zip(secret).enumerate() {
            let gap = text.get(behind..token.place.start).unwrap_or_default();
            if number_ends == Some(token.place.start) && goes_on(token) {
                if value_ends == number_ends {
                    value_ends = Some(token.place.end);
                }
                number_ends = Some(token.place.end);
                behind = token.place.end;
                continue;
            }
            number_ends = None;
            self.push_gap(gap, near, depth, &mut out);
            behind = token.place.end;
            near = self.grammar == Grammar::Refused && (*secret || names_a_secret(token));
            if token.kind == TokenKind::Unterminated
                || self.strings == Strings::Uncertain
                    && token.is_literal()
                    && token.text.contains('\\')
            {
                out.push('?');
                return out;
            }
            // A parameter is kept: its value isn't in the text.
            if *secret && token.kind != TokenKind::Parameter {
                if secret_ends != Some(token.place.start) {
                    out.push_str(SECRET);
                }
                secret_ends = Some(token.place.end);
                if token.kind == TokenKind::Number {
                    number_ends = secret_ends;
                }
            } else if let Some(class) = classes_of.get(at).copied().flatten()
                && token.kind != TokenKind::Parameter
            {
                out.push_str(&format!("[{}]", class.as_str()));
                number_ends = (token.kind == TokenKind::Number).then_some(token.place.end);
            } else if is(&values, at) && token.kind != TokenKind::Parameter {
                if value_ends != Some(token.place.start) {
                    out.push('?');
                }
                value_ends = Some(token.place.end);
                number_ends = value_ends.filter(|_| token.kind == TokenKind::Number);
            } else if token.kind == TokenKind::Dollar && (!self.every_literal || is(&bodies, at)) {
                self.push_body(token.text, depth, &mut out);
            } else if token.is_literal() && (self.every_literal || sounds_secret(token.text)) {
                out.push_str(if self.every_literal { "?" } else { SECRET });
            } else if self.every_literal && self.in_comment && token.kind == TokenKind::QuotedName {
                // In prose it is as often a value.
                out.push('?');
            } else if self.every_literal && token.kind == TokenKind::Number {
                out.push('?');
                number_ends = Some(token.place.end);
            } else {
                out.push_str(token.text);
            }
        }
        self.push_gap(text.get(behind..).unwrap_or_default(), near, depth, &mut out);
        out
    }

    /// `$tag$ … $tag$`, which is code or may be kept: it is cleaned in turn.
    fn push_body(&self, token: &str, depth: usize, out: &mut String) {
        let tag =
            token.get(1..).and_then(|rest| rest.find('$')).and_then(|end| token.get(..end + 2));
        let body = tag.and_then(|tag| Some((tag, token.strip_prefix(tag)?.strip_suffix(tag)?)));
        match body {
            Some((tag, body)) if depth < DEEPEST && body.contains(char::is_whitespace) => {
                out.push_str(tag);
                out.push_str(&self.text(body, depth + 1));
                out.push_str(tag);
            }
            _ if self.every_literal => out.push('?'),
            Some((_, body)) if !sounds_secret(body) && !looks_like_credentials(body) => {
                out.push_str(token);
            }
            _ => out.push_str(SECRET),
        }
    }
}

/// Whether a token that stands directly behind a number is part of it.
pub(super) fn goes_on(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::Number => true,
        TokenKind::Word => token.text.starts_with(['e', 'E', '_', 'x', 'X', 'o', 'b']),
        _ => token.text == ".",
    }
}

/// Whether a value gives itself away as a secret, wherever it stands.
pub(super) fn is_secret(value: &str) -> bool {
    sounds_secret(value) || looks_like_credentials(value)
}

fn sounds_secret(text: &str) -> bool {
    // Most texts are short; nothing is allocated for them.
    let bytes = text.as_bytes();
    let begins = |at: usize, sound: &str| {
        let here = bytes.get(at..at + sound.len());
        here.is_some_and(|here| here.eq_ignore_ascii_case(sound.as_bytes()))
    };
    let firsts = bytes.iter().enumerate().filter(|(_, sign)| letter(**sign) & FIRSTS != 0);
    firsts.into_iter().any(|(at, _)| SOUNDS.iter().any(|sound| begins(at, sound)))
}

/// The letters with which a sound begins, a bit each.
const FIRSTS: u32 = {
    let (mut letters, mut left) = (0, SOUNDS);
    while let [sound, rest @ ..] = left {
        if let [first, ..] = sound.as_bytes() {
            letters |= letter(*first);
        }
        left = rest;
    }
    letters
};

const fn letter(sign: u8) -> u32 {
    let lower = sign | 0x20;
    if lower.is_ascii_lowercase() { 1 << (lower - b'a') } else { 0 }
}

/// `scheme://user:password@host`, or a key in PEM.
fn looks_like_credentials(text: &str) -> bool {
    // All of them have one of these.
    if memchr::memchr2(b':', b'-', text.as_bytes()).is_none() {
        return false;
    }
    let url = text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', '\'']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    url || text.contains("-----BEGIN") || text.contains("SCRAM-SHA-256$")
}

/// INVARIANT: no secret goes into it, also none that is a word: a short hash of it
/// could be tried out.
fn fingerprint(tokens: &[Token<'_>], secret: &[bool], values: &[bool]) -> String {
    let mut form = String::new();
    let mut behind = None;
    let values = values.iter().copied().chain(std::iter::repeat(false));
    for ((token, secret), value) in tokens.iter().zip(secret).zip(values) {
        let literal = *secret || value || token.is_literal() || token.kind == TokenKind::Number;
        let word = if literal || token.kind == TokenKind::Parameter { "?" } else { token.text };
        if behind == Some(token.place.start) && form.ends_with('?') && goes_on(token) {
            behind = Some(token.place.end);
            continue;
        }
        behind = (token.kind == TokenKind::Number).then_some(token.place.end);
        // A list of any length is one form.
        if word == "?" && form.ends_with("?,") {
            form.pop();
            continue;
        }
        if token.kind != TokenKind::Comma && !form.is_empty() {
            form.push(' ');
        }
        if form.ends_with("?, ") && word == "?" {
            form.truncate(form.len() - 2);
            continue;
        }
        if token.kind == TokenKind::Word {
            form.push_str(&word.to_ascii_lowercase());
        } else {
            form.push_str(word);
        }
    }
    let hash = digest(&SHA256, form.as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// In place of a secret.
const SECRET: &str = "'***'";
const SOUNDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "api_key",
    "apikey",
    "api-key",
    "private_key",
    "access_key",
    "auth_token",
    "access_token",
    "refresh_token",
    "credential",
    "bearer ",
];
pub(super) const DEEPEST: usize = 8;

#[cfg(test)]
mod tests;
