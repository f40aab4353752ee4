//! A body in PL/pgSQL → the SQL in it, piece by piece: statements, the expressions of
//! its control flow, and what it runs as text. Follows the language's own grammar as
//! the server does, to the extent that tells where a piece begins and ends.
//!
//! INVARIANTS
//! - Every word of a body is either part of the language's own frame or of a piece;
//!   where that can't be told, the body is not [`Body::followed`].
//! - Always moves on: what isn't followed is skipped to the end of its statement, and
//!   what stands behind it is read all the same.
//!
//! Never reads a piece: that is the grammar's.

use super::lexer::{Kind, Lexer, Token};
use super::state::Strings;

/// What was found in a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub pieces: Vec<Piece>,
    /// Whether nothing was left out.
    pub followed: bool,
}

/// Text that the grammar reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One statement, without the variables that its result goes into.
    Statement(String),
    /// Expressions, as the SELECT that the server makes of them.
    Values(String),
    /// The same; the text that it gives is run.
    Runs(String),
    /// Rows are taken from a cursor.
    Fetches,
}

/// What is open, and what ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Block,
    /// Behind EXCEPTION, where WHEN names conditions.
    Handlers,
    If,
    Case,
    Loop,
}

pub fn body(text: &str, strings: Strings) -> Body {
    let tokens: Vec<Token> = Lexer::new(text, strings).collect();
    let mut reader = Reader {
        text,
        tokens: &tokens,
        at: 0,
        frames: Vec::new(),
        body: Body { pieces: Vec::new(), followed: true },
    };
    if tokens.iter().any(|token| token.kind == Kind::Unterminated) {
        reader.lost();
    }
    reader.options();
    while reader.at < tokens.len() {
        reader.statement();
    }
    if !reader.frames.is_empty() {
        reader.lost();
    }
    reader.body
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    frames: Vec<Frame>,
    body: Body,
}

impl<'t> Reader<'t> {
    fn lost(&mut self) {
        self.body.followed = false;
    }

    fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn raw(&self, at: usize) -> &'t str {
        let token = self.tokens.get(at);
        token.and_then(|token| self.text.get(token.start..token.end)).unwrap_or_default()
    }

    /// Whether an unquoted word stands there, or a sign.
    fn is(&self, at: usize, word: &str) -> bool {
        let plain = matches!(self.kind(at), Some(Kind::Word | Kind::Operator));
        plain && self.raw(at).eq_ignore_ascii_case(word)
    }

    fn is_one_of(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    fn is_name(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Word | Kind::QuotedName))
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.is(self.at, word);
        self.at += usize::from(there);
        there
    }

    /// Where one of the words stands outside of brackets, before the statement's end;
    /// else where that is.
    fn find(&self, from: usize, words: &[&str]) -> usize {
        let mut depth = 0_usize;
        for at in from..self.tokens.len() {
            match self.kind(at) {
                Some(Kind::Open) => depth += 1,
                Some(Kind::Close) => depth = depth.saturating_sub(1),
                Some(Kind::Semicolon) => return at,
                _ if depth == 0 && self.is_one_of(at, words) => return at,
                _ => {}
            }
        }
        self.tokens.len()
    }

    fn end(&self) -> usize {
        self.find(self.at, &[])
    }

    /// The text of these tokens, with spaces for those that are cut out.
    fn between(&self, from: usize, to: usize, cut: std::ops::Range<usize>) -> String {
        let start = |at: usize| self.tokens.get(at).map(|token| token.start);
        let (Some(first), Some(last)) = (start(from), to.checked_sub(1)) else {
            return String::new();
        };
        let last = self.tokens.get(last).map_or(first, |token| token.end);
        let whole = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        match (start(cut.start), cut.end.checked_sub(1).and_then(|at| self.tokens.get(at))) {
            (Some(gap), Some(behind)) if !cut.is_empty() => {
                format!("{} {}", whole(first, gap), whole(behind.end, last))
            }
            _ => whole(first, last).to_owned(),
        }
    }

    fn values(&mut self, from: usize, to: usize) {
        if from < to {
            let text = format!("SELECT {}", self.between(from, to, 0..0));
            self.body.pieces.push(Piece::Values(text));
        }
    }

    /// Expressions with commas between them, each of which may have a name.
    fn list(&mut self, from: usize, to: usize) {
        let mut from = from;
        while from < to {
            let comma = self.comma(from, to);
            let named = self.is_name(from)
                && (self.is(from + 1, "=") || self.is(from + 1, ":") && self.is(from + 2, "="));
            let skip = match named {
                false => 0,
                true if self.is(from + 1, ":") || self.is(from + 2, ">") => 3,
                true => 2,
            };
            self.values(from + skip, comma);
            from = comma + 1;
        }
    }

    fn comma(&self, from: usize, to: usize) -> usize {
        let mut depth = 0_usize;
        for at in from..to {
            match self.kind(at) {
                Some(Kind::Open) => depth += 1,
                Some(Kind::Close) => depth = depth.saturating_sub(1),
                Some(Kind::Comma) if depth == 0 => return at,
                _ => {}
            }
        }
        to
    }

    /// Past the end of the statement.
    fn done(&mut self, end: usize) {
        self.at = end;
        if self.kind(end) == Some(Kind::Semicolon) {
            self.at += 1;
        } else {
            // Only the outermost END may go without.
            self.lost();
        }
    }

    fn give_up(&mut self) {
        self.lost();
        let end = self.end();
        self.at = (end + 1).max(self.at + 1);
    }

    /// `#variable_conflict use_column`: each on a line of its own.
    fn options(&mut self) {
        while self.take("#") {
            self.at += if self.is(self.at, "dump") { 1 } else { 2 };
        }
    }

    fn statement(&mut self) {
        if self.is(self.at, "<") && self.is(self.at + 1, "<") {
            let closed = self.is(self.at + 3, ">") && self.is(self.at + 4, ">");
            if !closed || !self.is_name(self.at + 2) {
                return self.give_up();
            }
            self.at += 5;
            return;
        }
        if !self.is_name(self.at) {
            return self.give_up();
        }
        if self.assigns() {
            return self.assignment();
        }
        let word = match self.kind(self.at) {
            Some(Kind::Word) => self.raw(self.at).to_ascii_lowercase(),
            _ => return self.give_up(),
        };
        self.at += 1;
        match word.as_str() {
            "declare" => self.declarations(),
            "begin" => self.frames.push(Frame::Block),
            "exception" => match self.frames.last_mut() {
                Some(frame @ Frame::Block) => *frame = Frame::Handlers,
                _ => self.lost(),
            },
            "end" => self.end_of_frame(),
            "if" => self.condition(Frame::If),
            "elsif" | "elseif" => self.until_then(),
            "else" => {}
            "case" => {
                self.frames.push(Frame::Case);
                let when = self.find(self.at, &["when"]);
                self.values(self.at, when);
                self.at = when;
            }
            "when" => match self.frames.last() {
                Some(Frame::Handlers) => {
                    let then = self.find(self.at, &["then"]);
                    self.at = then;
                    self.expect("then");
                }
                _ => self.until_then(),
            },
            "loop" => self.frames.push(Frame::Loop),
            "while" => {
                let body = self.find(self.at, &["loop"]);
                self.values(self.at, body);
                self.at = body;
                self.opens_loop();
            }
            "for" => self.over_rows(),
            "foreach" => self.over_elements(),
            "exit" | "continue" => {
                let (when, end) = (self.find(self.at, &["when"]), self.end());
                self.values(when + 1, end);
                self.done(end);
            }
            "return" => self.returned(),
            "raise" => self.raised(),
            "assert" => {
                let end = self.end();
                self.list(self.at, end);
                self.done(end);
            }
            "execute" => {
                let end = self.run();
                self.done(end);
            }
            "perform" => {
                let end = self.end();
                self.values(self.at, end);
                self.done(end);
            }
            "open" => self.opened(),
            "fetch" | "move" => {
                let end = self.end();
                self.body.pieces.push(Piece::Fetches);
                // How far may be an expression.
                if (self.at..end).any(|at| self.kind(at) == Some(Kind::Open)) {
                    self.lost();
                }
                self.done(end);
            }
            "close" | "null" => {
                let end = self.end();
                self.done(end);
            }
            "get" => {
                let end = self.end();
                if (self.at..end).any(|at| self.kind(at) == Some(Kind::Open)) {
                    self.lost();
                }
                self.done(end);
            }
            _ => {
                let end = self.sql(self.at - 1, &[]);
                self.done(end);
            }
        }
    }

    fn expect(&mut self, word: &str) {
        if !self.take(word) {
            self.give_up();
        }
    }

    /// `a := …`, `a = …`, `a.b[1] := …`: no statement goes on like that.
    fn assigns(&self) -> bool {
        let next = self.at + 1;
        let member = self.is(next, ".") && self.is_name(next + 1);
        let subscript = self.kind(next) == Some(Kind::Open) && self.raw(next) == "[";
        let reserved = self.is_one_of(self.at, &["case", "if", "while", "for", "return"]);
        member
            || self.is(next, "=")
            || self.is(next, ":") && self.is(next + 1, "=")
            || subscript && !reserved
    }

    fn assignment(&mut self) {
        let end = self.end();
        let mut depth = 0_usize;
        let sign = (self.at..end).find(|at| {
            match self.kind(*at) {
                Some(Kind::Open) => depth += 1,
                Some(Kind::Close) => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && self.is(*at, "=")
        });
        let Some(sign) = sign else { return self.give_up() };
        // Subscripts are expressions too.
        let target = sign - usize::from(self.is(sign - 1, ":"));
        if (self.at..target).any(|at| self.kind(at) == Some(Kind::Open)) {
            self.values(self.at, target);
        }
        self.values(sign + 1, end);
        self.done(end);
    }

    /// `name type := value;`, `name CURSOR (…) FOR query;`, up to BEGIN.
    fn declarations(&mut self) {
        while self.at < self.tokens.len() && !self.is(self.at, "begin") {
            if self.is(self.at, "declare") {
                self.at += 1;
                continue;
            }
            if self.is(self.at, "<") {
                return;
            }
            if !self.is_name(self.at) {
                self.give_up();
                continue;
            }
            let end = self.end();
            let after = self.at + 1;
            if self.is(after, "alias") {
                self.done(end);
                continue;
            }
            let mut word = after;
            while self.is_one_of(word, &["no", "scroll"]) {
                word += 1;
            }
            if self.is(word, "cursor") {
                let query = self.find(word, &["for", "is"]);
                let end = self.sql(query + 1, &[]);
                self.done(end);
                continue;
            }
            let value = self.find(after, &["default", ":", "="]);
            self.typed(after, value.min(end));
            let skip = if self.is(value, ":") { 2 } else { 1 };
            self.values(value + skip, end);
            self.done(end);
        }
    }

    /// A variable's type may be somebody's own: its checks run with each value.
    fn typed(&mut self, from: usize, to: usize) {
        let from = from + usize::from(self.is(from, "constant"));
        let to = match self.find(from, &["not", "collate"]) {
            words if words < to => words,
            _ => to,
        };
        let of_another = (from..to).any(|at| self.is(at, "%"));
        if !of_another && !self.is_one_of(from, &["record", "refcursor"]) && from < to {
            let text = format!("SELECT NULL::{}", self.between(from, to, 0..0));
            self.body.pieces.push(Piece::Values(text));
        }
    }

    fn condition(&mut self, frame: Frame) {
        self.frames.push(frame);
        self.until_then();
    }

    fn until_then(&mut self) {
        let then = self.find(self.at, &["then"]);
        self.values(self.at, then);
        self.at = then;
        self.expect("then");
    }

    fn opens_loop(&mut self) {
        self.frames.push(Frame::Loop);
        self.expect("loop");
    }

    fn end_of_frame(&mut self) {
        let ended = match self.frames.pop() {
            Some(Frame::If) => self.take("if"),
            Some(Frame::Case) => self.take("case"),
            Some(Frame::Loop) => self.take("loop"),
            Some(Frame::Block | Frame::Handlers) => true,
            None => false,
        };
        if !ended {
            return self.give_up();
        }
        // A label.
        self.at += usize::from(self.is_name(self.at));
        if self.kind(self.at) == Some(Kind::Semicolon) {
            self.at += 1;
        } else if !self.frames.is_empty() || self.at < self.tokens.len() {
            self.lost();
        }
    }

    fn over_rows(&mut self) {
        let inside = self.find(self.at, &["in"]);
        self.at = inside;
        if !self.take("in") {
            return self.give_up();
        }
        if self.take("execute") {
            self.runs_until(&["loop"]);
            return self.opens_loop();
        }
        self.take("reverse");
        let body = self.find(self.at, &["loop"]);
        let range = (self.at..body).find(|at| self.is(*at, ".") && self.is(at + 1, "."));
        if let Some(range) = range {
            let by = self.find(range, &["by"]).min(body);
            self.values(self.at, range);
            self.values(range + 2, by);
            self.values(by + 1, body);
        } else if self.is_one_of(self.at, QUERIES) || self.kind(self.at) == Some(Kind::Open) {
            self.sql(self.at, &["loop"]);
        } else {
            // A cursor, by its name; its query was read where that stands.
            self.body.pieces.push(Piece::Fetches);
            self.arguments(self.at + 1, body);
        }
        self.at = body;
        self.opens_loop();
    }

    /// `(a, name := b)`, of a cursor.
    fn arguments(&mut self, from: usize, to: usize) {
        if self.kind(from) == Some(Kind::Open)
            && self.kind(to.saturating_sub(1)) == Some(Kind::Close)
        {
            self.list(from + 1, to - 1);
        } else if from != to {
            self.lost();
        }
    }

    fn over_elements(&mut self) {
        let body = self.find(self.at, &["loop"]);
        let array = self.find(self.at, &["array"]);
        if array < body {
            self.values(array + 1, body);
        } else {
            self.lost();
        }
        self.at = body;
        self.opens_loop();
    }

    fn returned(&mut self) {
        let end = if self.take("query") {
            if self.take("execute") { self.run() } else { self.sql(self.at, &[]) }
        } else {
            self.take("next");
            let end = self.end();
            self.values(self.at, end);
            end
        };
        self.done(end);
    }

    /// `RAISE NOTICE 'x: %', x USING hint = y`
    fn raised(&mut self) {
        let end = self.end();
        let using = self.find(self.at, &["using"]).min(end);
        let comma = self.comma(self.at, using);
        self.list(comma + 1, using);
        self.list(using + 1, end);
        self.done(end);
    }

    /// What EXECUTE runs; gives the statement's end.
    fn run(&mut self) -> usize {
        self.runs_until(&[]);
        self.at
    }

    fn runs_until(&mut self, words: &[&str]) {
        let end = self.find(self.at, words);
        let stop = self.find(self.at, &["into", "using"]).min(end);
        if self.at < stop {
            let text = format!("SELECT {}", self.between(self.at, stop, 0..0));
            self.body.pieces.push(Piece::Runs(text));
        }
        let using = self.find(self.at, &["using"]).min(end);
        let into = self.find(using, &["into"]).min(end);
        self.values(using + 1, into);
        self.at = end;
    }

    fn opened(&mut self) {
        let end = self.end();
        let query = self.find(self.at, &["for"]);
        if query < end {
            self.at = query + 1;
            if self.take("execute") {
                self.run();
            } else {
                self.sql(query + 1, &[]);
            }
        } else {
            self.arguments(self.at + 1, end);
        }
        self.done(end);
    }

    /// A statement from there to where it ends, without `INTO` and the variables
    /// behind that.
    fn sql(&mut self, from: usize, words: &[&str]) -> usize {
        let end = self.find(from, words);
        let mut depth = 0_usize;
        let mut cut = 0..0;
        for at in from..end {
            match self.kind(at) {
                Some(Kind::Open) => depth += 1,
                Some(Kind::Close) => depth = depth.saturating_sub(1),
                _ => {}
            }
            let into = self.is(at, "into")
                && !self.is_one_of(at.saturating_sub(1), &["insert", "merge"])
                && !self.is(from, "import");
            if into && cut.is_empty() {
                cut = at..self.behind_targets(at + 1);
            } else if into {
                self.lost();
            }
        }
        // `CREATE RULE … DO (a; b)`, a routine with BEGIN ATOMIC: versions differ in where
        // these end.
        let atomic = (from..end).any(|at| self.is(at, "begin") && self.is(at + 1, "atomic"));
        if depth > 0 || atomic {
            self.lost();
        }
        if from < end {
            let text = self.between(from, end, cut);
            self.body.pieces.push(Piece::Statement(text));
        }
        end
    }

    /// `STRICT a, b.c`
    fn behind_targets(&self, from: usize) -> usize {
        let mut at = from + usize::from(self.is(from, "strict"));
        loop {
            at += 1;
            while self.is(at, ".") {
                at += 2;
            }
            if self.kind(at) != Some(Kind::Comma) {
                return at;
            }
            at += 1;
        }
    }
}

/// What a query in FOR begins with; anything else is a cursor.
const QUERIES: &[&str] = &[
    "select", "with", "values", "table", "insert", "update", "delete", "merge", "show", "explain",
    "call", "fetch",
];

#[cfg(test)]
mod tests;
