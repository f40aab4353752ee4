//! The paths of a source text that leave their room.
//!
//! A text is cut into names and marks, with comments, strings, characters and
//! lifetimes dropped; then every path that begins with `crate`, `super`, `self`
//! or `tidegate` is followed through its groups. Inline modules count, as
//! `super` is taken from them.

/// A path out of the room of `module`, or to the crate's root.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaving {
    pub line: usize,
    /// The room; none if the path stops at the crate's root.
    pub room: Option<String>,
}

/// All paths in `text` that pass through the crate's root. `module` is where the
/// text stands; empty for the root itself.
pub fn leaving(text: &str, module: &[String]) -> Vec<Leaving> {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, found: Vec::new() };
    // The depth of braces at which each open inline module began.
    let mut open: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match &token.what {
            What::Mark('{') => depth += 1,
            What::Mark('}') => {
                depth = depth.saturating_sub(1);
                if open.last() == Some(&depth) {
                    open.pop();
                }
            }
            What::Name(name)
                if name == "mod" && reader.name(at + 1).is_some() && reader.is(at + 2, '{') =>
            {
                open.push(depth);
            }
            What::Name(name) if starts_path(name) && !reader.follows_colons(at) => {
                at = reader.path(at, Place::Below(module.len() + open.len()));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    reader.found
}

fn starts_path(name: &str) -> bool {
    matches!(name, "crate" | "super" | "self" | "tidegate")
}

/// Where a path has come to.
#[derive(Clone, Copy)]
enum Place {
    /// This many modules below the root; it may still go up.
    Below(usize),
    /// At the crate's root.
    Root,
    /// Decided: nothing that follows matters.
    Known,
}

struct Reader<'t> {
    tokens: &'t [Token],
    found: Vec<Leaving>,
}

impl<'t> Reader<'t> {
    fn name(&self, at: usize) -> Option<&'t str> {
        match self.tokens.get(at).map(|token| &token.what) {
            Some(What::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.what == What::Mark(mark))
    }

    /// `a::crate` is no path's beginning (`$crate` is; it has no colons).
    fn follows_colons(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| self.colons(before))
    }

    fn colons(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.what == What::Colons)
    }

    /// Follows one path (or, in a group, one branch); gives where it ends.
    fn path(&mut self, mut at: usize, mut place: Place) -> usize {
        let began = at;
        loop {
            let line = self.tokens.get(at).map_or(0, |token| token.line);
            if self.is(at, '{') {
                return self.group(at + 1, place);
            }
            if self.is(at, '*') {
                if matches!(place, Place::Root) {
                    self.found.push(Leaving { line, room: None });
                }
                return at + 1;
            }
            let Some(name) = self.name(at) else { return at.max(began + 1) };
            place = match (name, place) {
                (_, Place::Known) => Place::Known,
                ("crate" | "tidegate", Place::Below(_)) if at == began => Place::Root,
                ("self", same) => same,
                ("super", Place::Below(0 | 1)) => Place::Root,
                ("super", Place::Below(modules)) => Place::Below(modules - 1),
                (room, Place::Root) => {
                    self.found.push(Leaving { line, room: Some(room.to_owned()) });
                    Place::Known
                }
                (_, Place::Below(_)) => Place::Known,
            };
            at += 1;
            if self.colons(at) {
                at += 1;
                continue;
            }
            // `use crate as other`, `use super::{self as other}`.
            if matches!(place, Place::Root) && self.name(at) == Some("as") {
                self.found.push(Leaving { line, room: None });
            }
            return at;
        }
    }

    fn group(&mut self, mut at: usize, place: Place) -> usize {
        while at < self.tokens.len() && !self.is(at, '}') {
            at = match self.name(at) {
                Some("as") => at + 2,
                _ if self.is(at, ',') => at + 1,
                _ => self.path(at, place),
            };
        }
        at + 1
    }
}

#[derive(Debug)]
struct Token {
    line: usize,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Name(String),
    Colons,
    Mark(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut cursor = Cursor { rest: text, line: 1 };
    let mut tokens = Vec::new();
    while let Some(next) = cursor.peek() {
        let line = cursor.line;
        if cursor.rest.starts_with("//") {
            cursor.take_while(|next| next != '\n');
        } else if cursor.rest.starts_with("/*") {
            cursor.comment();
        } else if let Some(hashes) = raw_string(cursor.rest) {
            cursor.raw(hashes);
        } else if next == '"' || cursor.rest.starts_with("b\"") || cursor.rest.starts_with("c\"") {
            cursor.string();
        } else if next == '\'' {
            cursor.quote();
        } else if next.is_alphabetic() || next == '_' {
            let raw = cursor.rest.strip_prefix("r#").is_some();
            if raw {
                cursor.skip(2);
            }
            let name = cursor.take_while(|next| next.is_alphanumeric() || next == '_');
            tokens.push(Token { line, what: What::Name(name.to_owned()) });
        } else if next.is_ascii_digit() {
            cursor.take_while(|next| next.is_alphanumeric() || next == '_');
        } else if cursor.rest.starts_with("::") {
            cursor.skip(2);
            tokens.push(Token { line, what: What::Colons });
        } else {
            cursor.skip(1);
            if !next.is_whitespace() {
                tokens.push(Token { line, what: What::Mark(next) });
            }
        }
    }
    tokens
}

/// How many `#` a raw string here has, if it is one.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let after = rest.trim_start_matches('#');
    after.starts_with('"').then(|| rest.len() - after.len())
}

struct Cursor<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        if next == '\n' {
            self.line += 1;
        }
        Some(next)
    }

    fn skip(&mut self, characters: usize) {
        for _ in 0..characters {
            self.bump();
        }
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> &'t str {
        let all = self.rest;
        while self.peek().is_some_and(&mut wanted) {
            self.bump();
        }
        all.get(..all.len() - self.rest.len()).unwrap_or_default()
    }

    /// A block comment; they nest.
    fn comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else if self.bump().is_none() {
                return;
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take_while(|next| next != '"');
        self.bump();
        while let Some(next) = self.bump() {
            match next {
                '\\' => self.skip(1),
                '"' => return,
                _ => {}
            }
        }
    }

    fn raw(&mut self, hashes: usize) {
        self.take_while(|next| next != '"');
        self.bump();
        let end = format!("\"{}", "#".repeat(hashes));
        while !self.rest.is_empty() && !self.rest.starts_with(&end) {
            self.bump();
        }
        self.skip(end.len());
    }

    /// A character, or a lifetime: `'a'` and `'\''` close, `'a` does not.
    fn quote(&mut self) {
        self.bump();
        match self.bump() {
            Some('\\') => {
                self.bump();
                self.take_while(|next| next != '\'');
                self.bump();
            }
            Some(_) if self.peek() == Some('\'') => self.skip(1),
            _ => {
                self.take_while(|next| next.is_alphanumeric() || next == '_');
            }
        }
    }
}
