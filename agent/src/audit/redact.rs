//! Text without what must never be in a log.
//!
//! Works on tokens, so it works on what no grammar accepts. Passwords, keys and
//! credentials go, whatever the settings say; `redacted` takes every literal.
//! What can't be told apart (a string without an end, a backslash of which
//! nobody knows whether it escapes) is taken as a secret to its end.

use std::ops::Range;

use aws_lc_rs::digest::{SHA256, digest};

use crate::model::TextKept;
use crate::sql::{Lexer, Strings, TokenKind};

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

pub fn text(text: &str, strings: Strings, kept: TextKept) -> Redacted {
    let head = cut(text, LOOKED_AT);
    let fingerprint = fingerprint(head, strings);
    if kept == TextKept::Fingerprint {
        return Redacted { text: None, fingerprint, cut: false };
    }
    let clean = clean(head, strings, kept == TextKept::Redacted, 0);
    let short = cut(&clean, LONGEST);
    let is_cut = short.len() < clean.len() || head.len() < text.len();
    let text = if is_cut { format!("{short}…") } else { short.to_owned() };
    Redacted { text: Some(text), fingerprint, cut: is_cut }
}

/// The text as `redacted` keeps it, where it is short enough to be kept whole.
pub fn without_literals(text: &str, strings: Strings) -> String {
    clean(text, strings, true, 0)
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
    place: Range<usize>,
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
    fn is_value(&self) -> bool {
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

fn clean(text: &str, strings: Strings, every_literal: bool, depth: usize) -> String {
    let tokens = tokens(text, strings);
    let secret = secrets(&tokens);
    let mut out = String::with_capacity(text.len());
    let mut behind = 0;
    // Behind a number: what belongs to it (`.5e3`).
    let mut number_ends = None;
    for (token, secret) in tokens.iter().zip(secret) {
        let gap = text.get(behind..token.place.start).unwrap_or_default();
        if number_ends == Some(token.place.start) && goes_on(token) {
            number_ends = Some(token.place.end);
            behind = token.place.end;
            continue;
        }
        number_ends = None;
        push_gap(gap, &mut out);
        behind = token.place.end;
        if token.kind == TokenKind::Unterminated
            || strings == Strings::Uncertain && token.is_literal() && token.text.contains('\\')
        {
            out.push('?');
            return out;
        }
        // A parameter is kept: its value isn't in the text.
        if secret && token.kind != TokenKind::Parameter {
            out.push_str(SECRET);
        } else if token.kind == TokenKind::Dollar {
            push_body(token.text, strings, every_literal, depth, &mut out);
        } else if token.is_literal() && (every_literal || sounds_secret(token.text)) {
            out.push_str(if every_literal { "?" } else { SECRET });
        } else if every_literal && token.kind == TokenKind::Number {
            out.push('?');
            number_ends = Some(token.place.end);
        } else {
            out.push_str(token.text);
        }
    }
    push_gap(text.get(behind..).unwrap_or_default(), &mut out);
    out
}

/// Whether a token that stands directly behind a number is part of it.
fn goes_on(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::Number => true,
        TokenKind::Word => token.text.starts_with(['e', 'E', '_', 'x', 'X', 'o', 'b']),
        _ => token.text == ".",
    }
}

/// White space and comments.
fn push_gap(gap: &str, out: &mut String) {
    if sounds_secret(gap) || looks_like_credentials(gap) {
        out.push_str(" /* … */ ");
    } else {
        out.push_str(gap);
    }
}

/// `$tag$ … $tag$`: mostly code, which is cleaned in turn.
fn push_body(token: &str, strings: Strings, every_literal: bool, depth: usize, out: &mut String) {
    let tag = token.get(1..).and_then(|rest| rest.find('$')).and_then(|end| token.get(..end + 2));
    let body = tag.and_then(|tag| Some((tag, token.strip_prefix(tag)?.strip_suffix(tag)?)));
    match body {
        Some((tag, body)) if depth < DEEPEST && body.contains(char::is_whitespace) => {
            out.push_str(tag);
            out.push_str(&clean(body, strings, every_literal, depth + 1));
            out.push_str(tag);
        }
        _ if every_literal => out.push('?'),
        Some((_, body)) if !sounds_secret(body) && !looks_like_credentials(body) => {
            out.push_str(token);
        }
        _ => out.push_str(SECRET),
    }
}

/// Which tokens are secrets by where they stand.
pub(super) fn secrets(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut secret = vec![false; tokens.len()];
    let mut mark = |index: usize| {
        if let Some(one) = secret.get_mut(index) {
            *one = true;
        }
    };
    // The brackets of a call whose arguments are keys: its depth.
    let mut keys: Option<usize> = None;
    // The next literal is a connection string.
    let mut connection = false;
    let mut depth = 0_usize;
    let mut whole = false;
    let mut start = true;
    for (index, token) in tokens.iter().enumerate() {
        if start {
            whole = is_about_secrets(tokens.get(index..).unwrap_or_default());
            start = false;
        }
        match token.kind {
            TokenKind::Semicolon => {
                start = true;
                keys = None;
                connection = false;
                depth = 0;
            }
            TokenKind::Open => {
                let called = index.checked_sub(1).and_then(|before| tokens.get(before));
                if called.is_some_and(|name| name.begins(CRYPTO)) && keys.is_none() {
                    keys = Some(depth);
                }
                connection |= called.is_some_and(|name| name.begins(&["dblink"]));
                depth += 1;
            }
            TokenKind::Close => {
                depth = depth.saturating_sub(1);
                if keys == Some(depth) {
                    keys = None;
                }
            }
            TokenKind::Word if token.is(&["connection"]) => connection = true,
            _ if token.is_value() => {
                if whole || keys.is_some() || connection || looks_like_credentials(token.text) {
                    mark(index);
                }
                connection = false;
            }
            _ => {}
        }
        // A name that says it: what it is set to, compared with or followed by.
        if names_a_secret(token) {
            let after = tokens.get(index + 1..).unwrap_or_default();
            let value = after.iter().take(REACH).position(|token| !is_joint(token));
            if let Some((offset, value)) = value.and_then(|at| Some((at, after.get(at)?)))
                && (value.is_value() || value.kind == TokenKind::Number)
            {
                mark(index + 1 + offset);
            }
        }
    }
    secret
}

/// A statement in which every literal may be a secret: roles, servers, and rows
/// with a column that sounds like one.
fn is_about_secrets(statement: &[Token<'_>]) -> bool {
    let end = statement.iter().position(|token| token.kind == TokenKind::Semicolon);
    let statement = statement.get(..end.unwrap_or(statement.len())).unwrap_or_default();
    let [first, rest @ ..] = statement else { return false };
    if first.is(&["create", "alter"]) {
        let mut names = rest.iter().filter(|word| !word.is(&["if", "not", "exists", "foreign"]));
        return names
            .next()
            .is_some_and(|what| what.is(&["role", "user", "group", "server", "subscription"]));
    }
    let inserts = statement.iter().any(|word| word.is(&["insert", "replace", "merge"]));
    inserts && statement.iter().any(names_a_secret)
}

fn names_a_secret(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::Word | TokenKind::QuotedName => {
            sounds_secret(token.text) || token.is(&["identified"])
        }
        // `set_config('app.secret', …)`: a name, not a sentence.
        _ if token.is_literal() => token.text.len() < 64 && sounds_secret(token.text),
        _ => false,
    }
}

/// What stands between a name and its value.
fn is_joint(token: &Token<'_>) -> bool {
    token.is(&["to", "as", "by", "is", "encrypted", "with", "using", "in", "like"])
        || matches!(token.kind, TokenKind::Operator | TokenKind::Comma | TokenKind::Open)
}

/// Whether a value gives itself away as a secret, wherever it stands.
pub(super) fn is_secret(value: &str) -> bool {
    sounds_secret(value) || looks_like_credentials(value)
}

fn sounds_secret(text: &str) -> bool {
    // Most texts are short; nothing is allocated for them.
    let bytes = text.as_bytes();
    SOUNDS.iter().any(|sound| {
        bytes.windows(sound.len()).any(|window| window.eq_ignore_ascii_case(sound.as_bytes()))
    })
}

/// `scheme://user:password@host`, or a key in PEM.
fn looks_like_credentials(text: &str) -> bool {
    let url = text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', '\'']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    url || text.contains("-----BEGIN") || text.contains("SCRAM-SHA-256$")
}

fn fingerprint(text: &str, strings: Strings) -> String {
    let mut form = String::with_capacity(text.len());
    let mut behind = None;
    for token in tokens(text, strings) {
        let literal = token.is_literal() || token.kind == TokenKind::Number;
        let word = if literal || token.kind == TokenKind::Parameter { "?" } else { token.text };
        if behind == Some(token.place.start) && form.ends_with('?') && goes_on(&token) {
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
/// Functions whose arguments are keys or what they open.
const CRYPTO: &[&str] = &[
    "crypt",
    "encrypt",
    "decrypt",
    "hmac",
    "pgp_",
    "aes_",
    "des_",
    "crypto_",
    "dearmor",
    "pgsodium",
    "vault.",
    "create_secret",
    "update_secret",
];
/// Tokens between a name and its value.
const REACH: usize = 6;
const DEEPEST: usize = 8;

#[cfg(test)]
mod tests;
