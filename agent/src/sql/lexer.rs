//! The server's lexical rules, just enough to tell code from strings, comments
//! and names: for weighing a text before the grammar sees it, for reading plain
//! strings as `standard_conforming_strings = off` does, and for the leading words
//! of what no grammar accepts.
//!
//! Never decides what a statement means where the grammar can.

use super::effect::{Effect, Effects};
use super::state::Strings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an unquoted name.
    Word,
    /// `"…"` or `U&"…"`.
    QuotedName,
    /// `'…'`, also continued over lines.
    Plain,
    /// `N'…'`.
    National,
    /// `E'…'`.
    Escape,
    /// `U&'…'`.
    Unicode,
    /// `B'…'` or `X'…'`.
    Bits,
    /// `$tag$…$tag$`.
    Dollar,
    Number,
    /// `$1`.
    Parameter,
    Open,
    Close,
    Semicolon,
    Comma,
    Operator,
    /// A string, name or comment without an end.
    Unterminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// Tokens without comments and white space. Covers every byte of any input and
/// always moves on.
#[derive(Clone, Debug)]
pub struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    escaping: bool,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, strings: Strings) -> Self {
        Self::over(text.as_bytes(), strings)
    }

    /// Bytes in any character set whose bytes below 0x80 are always ASCII.
    pub fn over(text: &'t [u8], strings: Strings) -> Self {
        Self { text, at: 0, escaping: strings == Strings::Escaping }
    }

    fn byte(&self, at: usize) -> u8 {
        // 0 can't be in a text: the caller has refused it.
        self.text.get(at).copied().unwrap_or(0)
    }

    fn run(&self, mut at: usize, belongs: impl Fn(u8) -> bool) -> usize {
        while at < self.text.len() && belongs(self.byte(at)) {
            at += 1;
        }
        at
    }

    /// Past the next `\n` or `\r`, or the end.
    fn line_end(&self, at: usize) -> usize {
        self.run(at, |b| b != b'\n' && b != b'\r')
    }

    /// Past a comment that may hold others; `None` without an end.
    fn block_comment(&self, mut at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        while at < self.text.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'/', b'*') => {
                    depth += 1;
                    at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                _ => at += 1,
            }
        }
        None
    }

    /// From behind an opening quote to behind the closing one.
    fn quoted(&self, mut at: usize, quote: u8, escaping: bool) -> Option<usize> {
        while at < self.text.len() {
            match self.byte(at) {
                b'\\' if escaping => at += 2,
                b if b == quote && self.byte(at + 1) == quote => at += 2,
                b if b == quote => return Some(at + 1),
                _ => at += 1,
            }
        }
        None
    }

    /// A string goes on behind white space with a line's end in it.
    fn string(&self, mut at: usize, escaping: bool) -> Option<usize> {
        loop {
            let end = self.quoted(at, b'\'', escaping)?;
            match self.continuation(end) {
                Some(next) => at = next,
                None => return Some(end),
            }
        }
    }

    fn continuation(&self, mut at: usize) -> Option<usize> {
        let mut newline = false;
        loop {
            match self.byte(at) {
                b'\n' | b'\r' => {
                    newline = true;
                    at += 1;
                }
                b' ' | b'\t' | 0x0b | 0x0c => at += 1,
                b'-' if self.byte(at + 1) == b'-' => at = self.line_end(at),
                b'\'' if newline => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn dollar(&self, start: usize) -> Option<(Kind, usize)> {
        let digits = self.run(start + 1, |b| b.is_ascii_digit());
        if digits > start + 1 {
            return Some((Kind::Parameter, digits));
        }
        let tag = if name_start(self.byte(start + 1)) {
            self.run(start + 1, |b| name_start(b) || b.is_ascii_digit())
        } else {
            start + 1
        };
        if self.byte(tag) != b'$' {
            return None;
        }
        let delimiter = self.text.get(start..=tag)?;
        let body = self.text.get(tag + 1..)?;
        let found = memchr_find(body, delimiter);
        Some(match found {
            Some(offset) => (Kind::Dollar, tag + 1 + offset + delimiter.len()),
            None => (Kind::Unterminated, self.text.len()),
        })
    }

    fn token(&self, start: usize) -> (Kind, usize) {
        let ended = |kind, end: Option<usize>| match end {
            Some(end) => (kind, end),
            None => (Kind::Unterminated, self.text.len()),
        };
        let next = self.byte(start + 1);
        match self.byte(start) {
            b'e' | b'E' if next == b'\'' => ended(Kind::Escape, self.string(start + 2, true)),
            b'b' | b'B' | b'x' | b'X' if next == b'\'' => {
                ended(Kind::Bits, self.string(start + 2, false))
            }
            b'n' | b'N' if next == b'\'' => {
                ended(Kind::National, self.string(start + 2, self.escaping))
            }
            b'u' | b'U' if next == b'&' && self.byte(start + 2) == b'\'' => {
                ended(Kind::Unicode, self.string(start + 3, false))
            }
            b'u' | b'U' if next == b'&' && self.byte(start + 2) == b'"' => {
                ended(Kind::QuotedName, self.quoted(start + 3, b'"', false))
            }
            b'\'' => ended(Kind::Plain, self.string(start + 1, self.escaping)),
            b'"' => ended(Kind::QuotedName, self.quoted(start + 1, b'"', false)),
            b'$' => self.dollar(start).unwrap_or((Kind::Operator, start + 1)),
            b'(' | b'[' => (Kind::Open, start + 1),
            b')' | b']' => (Kind::Close, start + 1),
            b';' => (Kind::Semicolon, start + 1),
            b',' => (Kind::Comma, start + 1),
            b if name_start(b) => {
                (Kind::Word, self.run(start, |b| name_start(b) || b.is_ascii_digit() || b == b'$'))
            }
            b if b.is_ascii_digit() => (Kind::Number, self.run(start, |b| b.is_ascii_digit())),
            _ => (Kind::Operator, start + 1),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            if self.at >= self.text.len() {
                return None;
            }
            let start = self.at;
            match (self.byte(start), self.byte(start + 1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'-', b'-') => self.at = self.line_end(start),
                (b'/', b'*') => match self.block_comment(start) {
                    Some(end) => self.at = end,
                    None => {
                        self.at = self.text.len();
                        return Some(Token { kind: Kind::Unterminated, start, end: self.at });
                    }
                },
                _ => {
                    let (kind, end) = self.token(start);
                    // A trailing backslash may have pointed past the end.
                    self.at = end.min(self.text.len());
                    return Some(Token { kind, start, end: self.at });
                }
            }
        }
    }
}

fn name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn memchr_find(text: &[u8], what: &[u8]) -> Option<usize> {
    // `what` begins with `$`, which is rare: skip from one to the next.
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let offset = rest.iter().position(|b| *b == b'$')?;
        if rest.get(offset..)?.starts_with(what) {
            return Some(from + offset);
        }
        from += offset + 1;
    }
    None
}

/// What a text would ask of a parser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub tokens: usize,
    /// Brackets within brackets, CASE within CASE.
    pub nesting: usize,
    pub unterminated: bool,
    /// The longest run of characters that operators and comments are made of,
    /// wherever it stands.
    pub raw_run: usize,
    /// The longest run of them outside of comments, strings and names.
    pub operator_run: usize,
    /// A plain string holds a backslash.
    pub backslash: bool,
    /// A name holds something else than ASCII.
    pub foreign_names: bool,
}

pub fn weigh(text: &str, strings: Strings) -> Weight {
    let mut weight = Weight { raw_run: longest_run(text.as_bytes()), ..Weight::default() };
    let mut depth = 0_usize;
    let (mut run, mut behind) = (0, 0);
    for token in Lexer::new(text, strings) {
        weight.tokens += 1;
        let bytes = || text.as_bytes().get(token.start..token.end).unwrap_or_default();
        match token.kind {
            Kind::Open => {
                depth += 1;
                weight.nesting = weight.nesting.max(depth);
            }
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Unterminated => weight.unterminated = true,
            Kind::Plain | Kind::National => weight.backslash |= bytes().contains(&b'\\'),
            Kind::Word | Kind::QuotedName => {
                weight.foreign_names |= !bytes().is_ascii();
                if token.kind == Kind::Word {
                    if bytes().eq_ignore_ascii_case(b"case") {
                        depth += 1;
                        weight.nesting = weight.nesting.max(depth);
                    } else if bytes().eq_ignore_ascii_case(b"end") {
                        depth = depth.saturating_sub(1);
                    }
                }
            }
            Kind::Operator => {
                run = if token.start == behind { run + 1 } else { 1 };
                behind = token.end;
                weight.operator_run = weight.operator_run.max(run);
            }
            Kind::Comma
            | Kind::Semicolon
            | Kind::Escape
            | Kind::Unicode
            | Kind::Bits
            | Kind::Dollar
            | Kind::Number
            | Kind::Parameter => {}
        }
    }
    weight
}

/// What operators and comments are made of.
const SIGNS: [bool; 256] = {
    let mut signs = [false; 256];
    let mut rest: &[u8] = b"~!@#^&|`?+-*/%<>=";
    while let [first, others @ ..] = rest {
        #[expect(clippy::indexing_slicing, reason = "a byte, at compile time")]
        {
            signs[*first as usize] = true;
        }
        rest = others;
    }
    signs
};

fn longest_run(text: &[u8]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for byte in text {
        if SIGNS.get(usize::from(*byte)) == Some(&true) {
            run += 1;
            longest = longest.max(run);
        } else {
            run = 0;
        }
    }
    longest
}

/// The same text for a parser that takes `standard_conforming_strings = on`.
pub fn standardised(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for token in Lexer::new(text, Strings::Escaping) {
        let (prefix, from) = match token.kind {
            Kind::Plain => (" E", token.start),
            Kind::National => (" NCHAR E", token.start + 1),
            _ => continue,
        };
        out.push_str(text.get(copied..token.start).unwrap_or_default());
        out.push_str(prefix);
        copied = from;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The same text with spaces for comments, byte by byte; `None`: it has none, or
/// one without an end.
pub fn without_comments(text: &str) -> Option<String> {
    let mut out = text.as_bytes().to_vec();
    let mut from = 0;
    let mut any = false;
    let mut blank = |gap: std::ops::Range<usize>| {
        // Between tokens there is only white space and comments; a line's end that
        // stands outside of them joins strings and must stay.
        let mut at = gap.start;
        let lexer = Lexer { text: text.as_bytes(), at: 0, escaping: false };
        while at < gap.end {
            let end = match (lexer.byte(at), lexer.byte(at + 1)) {
                (b'-', b'-') => lexer.line_end(at),
                (b'/', b'*') => lexer.block_comment(at).unwrap_or(gap.end),
                _ => {
                    at += 1;
                    continue;
                }
            };
            if let Some(comment) = out.get_mut(at..end) {
                comment.fill(b' ');
                any = true;
            }
            at = end;
        }
    };
    for token in Lexer::new(text, Strings::Standard) {
        if token.kind == Kind::Unterminated {
            return None;
        }
        blank(from..token.start);
        from = token.end;
    }
    blank(from..text.len());
    if any { String::from_utf8(out).ok() } else { None }
}

/// What the leading words of a text's statements say, for a text that no grammar
/// accepts, or one in a procedural language.
pub fn hints(text: &str, strings: Strings, procedural: bool) -> Effects {
    let mut effects = Effects::NONE;
    let mut leading = true;
    let mut any = procedural;
    for token in Lexer::new(text, strings) {
        match token.kind {
            Kind::Semicolon => {
                leading = true;
                any = procedural;
            }
            Kind::Word => {
                let word = text.get(token.start..token.end).unwrap_or_default();
                let word = word.to_ascii_lowercase();
                if leading || any {
                    effects.extend(hint(&word, leading));
                }
                // Behind these a statement of any kind may stand.
                any |= matches!(word.as_str(), "with" | "explain" | "prepare" | "as" | "begin");
                leading = procedural
                    && matches!(word.as_str(), "begin" | "then" | "else" | "loop" | "declare");
            }
            Kind::Open if leading => {}
            // What has no end hides what follows.
            Kind::Unterminated => leading = false,
            _ => leading = false,
        }
    }
    effects
}

fn hint(word: &str, leading: bool) -> Effects {
    let one = Effects::of;
    match word {
        "drop" => one(Effect::Drop),
        "truncate" => one(Effect::Truncate),
        "delete" => one(Effect::Delete),
        "update" => one(Effect::Update),
        "insert" => one(Effect::Insert),
        "merge" => one(Effect::Insert).with(Effect::Update).with(Effect::Delete),
        "grant" | "revoke" => one(Effect::Grant),
        "copy" => one(Effect::Export).with(Effect::Import),
        "create" => one(Effect::Create),
        "alter" => one(Effect::Alter),
        "call" | "do" | "execute" | "perform" => one(Effect::Execute),
        "select" | "table" | "values" | "show" if leading => one(Effect::Read),
        "vacuum" | "analyze" | "analyse" | "cluster" | "reindex" | "checkpoint" | "lock"
        | "refresh" | "comment" | "security" | "reassign" | "repack"
            if leading =>
        {
            one(Effect::Administer)
        }
        "load" if leading => one(Effect::UnsafeIo),
        "import" if leading => one(Effect::Create),
        _ => Effects::NONE,
    }
}

#[cfg(test)]
mod tests;
