//! What code that nobody follows may write sensitive values into: told by its
//! words. For bodies of functions, DO blocks and rules.
//!
//! INVARIANT: strings within are read like the code around them: what is run as
//! text is written so.

use std::collections::HashSet;

use super::catalog::{Catalog, Relation};
use super::class::Class;
use super::filling::Carried;
use crate::sql::builtin;
use crate::sql::facts::CallClass;

/// The words of a text, those within its strings too: names as the server folds
/// them. A string's stand between [`OPEN`] and [`CLOSE`].
pub fn words(text: &str) -> Vec<Box<str>> {
    let mut all = Vec::new();
    collect(text, 0, &mut all);
    all
}

fn collect(text: &str, depth: u32, all: &mut Vec<Box<str>>) {
    let mut tokens = crate::sql::tokens(text).map(|(token, _)| token).peekable();
    while let Some(token) = tokens.next() {
        if all.len() >= MOST_WORDS {
            return;
        }
        if let Some(name) = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            all.push(name.replace("\"\"", "\"").into());
        } else if let Some(mut inner) = string(token) {
            let mut joined = false;
            // What is put together of strings alone is read as one.
            while tokens.next_if_eq(&"|").is_some() {
                tokens.next_if_eq(&"|");
                match tokens.peek().and_then(|token| string(token)) {
                    Some(more) => inner.push_str(&more),
                    None => {
                        joined = true;
                        break;
                    }
                }
                tokens.next();
            }
            all.push(OPEN.into());
            if depth < DEEPEST {
                collect(&inner, depth + 1, all);
            }
            all.push(CLOSE.into());
            if joined {
                all.push("|".into());
            }
        } else {
            all.push(token.to_lowercase().into());
        }
    }
}

/// What stands within a string.
fn string(token: &str) -> Option<String> {
    if let Some(open) = token.strip_prefix('$') {
        let (tag, rest) = open.split_once('$')?;
        let close = format!("${tag}$");
        return rest.strip_suffix(close.as_str()).map(Into::into);
    }
    let open = token.find('\'')?;
    // E'…', U&'…': only what is written plainly can be read.
    (open <= 2).then_some(())?;
    let inner = token.get(open + 1..)?.strip_suffix('\'')?;
    Some(inner.replace("''", "'"))
}

/// A text's words, one after the other.
#[derive(Clone, Copy)]
struct Words<'w>(&'w [Box<str>]);

impl<'w> Words<'w> {
    fn at(self, place: usize) -> &'w str {
        self.0.get(place).map_or("", |word| &**word)
    }

    fn before(self, place: usize) -> &'w str {
        place.checked_sub(1).map_or("", |place| self.at(place))
    }

    /// The place behind what stands there: a word, or a whole string.
    fn behind(self, place: usize) -> usize {
        if self.at(place) != OPEN {
            return place + 1;
        }
        let mut depth = 0_usize;
        for (further, word) in self.0.iter().enumerate().skip(place) {
            match &**word {
                OPEN => depth += 1,
                CLOSE if depth == 1 => return further + 1,
                CLOSE => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.0.len()
    }

    /// The places from one to the end of its statement, strings as one; with how many
    /// brackets are open.
    fn statement(self, from: usize) -> impl Iterator<Item = (usize, i32)> + use<'w> {
        let mut brackets = 0;
        let mut next = from;
        std::iter::from_fn(move || {
            let place = next;
            match self.at(place) {
                "" | ";" | CLOSE => return None,
                "(" | "[" => brackets += 1,
                ")" | "]" => brackets -= 1,
                _ => {}
            }
            next = self.behind(place);
            Some((place, brackets))
        })
    }

    /// Whether nothing but what is written there, the time, and columns that hold
    /// nothing sensitive go into an expression.
    fn is_plain(self, from: usize, end: usize, row: Row<'_>) -> bool {
        let mut place = from;
        while place < end {
            let word = self.at(place);
            if matches!(word, "new" | "old") {
                if self.at(place + 1) != "." || !row.is_clear(self.at(place + 2)) {
                    return false;
                }
                place += 3;
                continue;
            }
            let of_type = self.before(place) == ":";
            let given = word.starts_with('$');
            if given || is_name(word) && !of_type && !self.brings_nothing(place, row) {
                return false;
            }
            place = self.behind(place);
        }
        true
    }
}

impl Words<'_> {
    /// A word of an expression that brings no value of anybody's along; a function of
    /// the server's own gives what is made of what goes into it.
    fn brings_nothing(self, place: usize, row: Row<'_>) -> bool {
        let word = self.at(place);
        if self.at(place + 1) == "(" {
            return !row.catalog.has_function(word)
                && (matches!(word, "coalesce" | "greatest" | "least" | "nullif" | "row")
                    || word != "current_setting"
                        && builtin::function(word).is_some()
                        && builtin::class(word) == CallClass::Plain);
        }
        PLAIN.contains(&word) && !self.declares(word)
    }

    /// Whether somebody's variable bears the name.
    fn declares(self, name: &str) -> bool {
        (0..self.0.len()).any(|place| {
            self.at(place) == name
                && matches!(self.before(place), "declare" | ";" | OPEN)
                && is_name(self.at(place + 1))
        })
    }
}

/// The row that a trigger runs for.
#[derive(Clone, Copy)]
pub struct Row<'r> {
    pub table: &'r Relation,
    pub catalog: &'r Catalog,
}

impl Row<'_> {
    fn is_clear(self, name: &str) -> bool {
        let known = self.table.columns.iter().find(|column| *column.name == *name);
        known.is_some_and(|column| column.class.is_none())
    }
}

/// The tables that are filled, with the columns where they are named. Where a name is
/// put together, it may be each that occurs and holds nothing sensitive yet.
///
/// `row`: what is plain there is left out. A function's own arguments may have any name,
/// so nothing is plain in one that isn't a trigger's.
pub fn targets(words: &[Box<str>], catalog: &Catalog, row: Option<Row<'_>>) -> Vec<Carried> {
    let mut all = Vec::new();
    let mut unnamed = false;
    let text = Words(words);
    let at = |place: usize| text.at(place);
    for place in 0..words.len() {
        let (name, listed) = match (at(place), at(place + 1)) {
            ("insert" | "merge", "into") => (place + 2, Listed::Brackets),
            ("update", next) if next != "set" && next != "of" && !is_no_order(text, place) => {
                (place + 1, Listed::Assigned)
            }
            ("copy", _) => (place + 1, Listed::Brackets),
            ("table" | "view", _) if made(words, place) => (place + 1, Listed::None),
            _ => continue,
        };
        let mut name = name;
        while matches!(at(name), "only" | "if" | "not" | "exists") {
            name += 1;
        }
        let (schema, name) = match at(name + 1) {
            "." => (Some(at(name)), name + 2),
            _ => (None, name),
        };
        if !is_name(at(name)) {
            unnamed |= at(name) == "%" || at(name) == CLOSE && at(name + 1) == "|";
            continue;
        }
        let named = match listed {
            Listed::Brackets => bracketed(text, name + 1, row),
            Listed::Assigned => Some(assigned(text, name + 1)).filter(|all| !all.is_empty()),
            Listed::None => None,
        };
        if named.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        all.push(Carried {
            schema: schema.map(Into::into),
            relation: at(name).into(),
            others: named.is_none().then_some(Class::Opaque),
            named: named.into_iter().flatten().map(|name| (name, Class::Opaque)).collect(),
            guessed: true,
            passing: false,
        });
    }
    if unnamed {
        let names: HashSet<&str> = words.iter().map(|word| &**word).collect();
        let clear = |name: &str| {
            let mut known = catalog.named(None, name).peekable();
            known.peek().is_some()
                && known.all(|one| one.columns.iter().all(|column| column.class.is_none()))
        };
        all.extend(names.into_iter().filter(|name| clear(name)).map(anything_in));
    }
    all
}

/// `FOR UPDATE`, `ON UPDATE`, `TG_OP = 'UPDATE'`.
fn is_no_order(text: Words<'_>, place: usize) -> bool {
    let alone = text.at(place + 1) == CLOSE && text.at(place + 2) != "|";
    alone
        || matches!(text.before(place), "for" | "key" | "on" | "or" | "before" | "after")
        || text.before(place) == "do" && text.at(place + 1) == "set"
}

fn anything_in(relation: &str) -> Carried {
    Carried {
        schema: None,
        relation: relation.into(),
        named: Vec::new(),
        others: Some(Class::Opaque),
        guessed: true,
        passing: false,
    }
}

/// Where the columns stand that are filled.
#[derive(Clone, Copy)]
enum Listed {
    Brackets,
    Assigned,
    None,
}

/// `CREATE … TABLE`, `CREATE … VIEW`.
fn made(words: &[Box<str>], place: usize) -> bool {
    let before = words.get(place.saturating_sub(5)..place).unwrap_or_default();
    let mut before = before.iter().rev().take_while(|word| !matches!(&***word, ";" | OPEN));
    before.any(|word| &**word == "create")
}

/// `(a, b, c)`, without those that plain values go into; with those that are assigned
/// where a row is there already.
fn bracketed(text: Words<'_>, mut place: usize, row: Option<Row<'_>>) -> Option<Vec<Box<str>>> {
    if text.at(place) == "as" {
        place += 2;
    }
    if text.at(place) != "(" {
        return None;
    }
    let close = text.statement(place).find(|(_, brackets)| *brackets == 0)?.0;
    let names = text.0.get(place + 1..close)?.iter().filter(|word| &***word != ",");
    let mut names: Vec<Box<str>> = names.take(MOST_COLUMNS).cloned().collect();
    if let Some(row) = row
        && let Some(values) = values(text, close + 1).filter(|all| all.len() == names.len())
    {
        let mut values = values.into_iter();
        names.retain(|_| values.next().is_none_or(|(from, end)| !text.is_plain(from, end, row)));
    }
    let again = text
        .statement(close + 1)
        .find(|(place, _)| text.at(*place) == "set" && text.before(*place) == "update");
    if let Some((set, _)) = again {
        names.extend(assigned(text, set));
    }
    Some(names)
}

/// `VALUES (…, …)`, one row: where each begins and ends.
fn values(text: Words<'_>, place: usize) -> Option<Vec<(usize, usize)>> {
    if text.at(place) != "values" || text.at(place + 1) != "(" {
        return None;
    }
    let mut all = Vec::new();
    let mut from = place + 2;
    for (place, brackets) in text.statement(place + 1) {
        match text.at(place) {
            "," if brackets == 1 => {
                all.push((from, place));
                from = place + 1;
            }
            ")" if brackets == 0 => {
                all.push((from, place));
                return (text.at(place + 1) != ",").then_some(all);
            }
            _ => {}
        }
    }
    None
}

/// `SET a = …, (b, c) = …, d[1] = …`: every name that something is given to.
fn assigned(text: Words<'_>, place: usize) -> Vec<Box<str>> {
    let mut names = Vec::new();
    let mut before = "";
    let from_set = text.statement(place).skip_while(|(place, _)| text.at(*place) != "set");
    for (place, brackets) in from_set {
        let word = text.at(place);
        if matches!(word, "from" | "where" | "returning") && brackets <= 0 {
            break;
        }
        if matches!(before, "set" | "," | "(")
            && matches!(text.at(place + 1), "=" | ")" | "," | "[" | ".")
        {
            names.push(word.into());
        }
        before = word;
    }
    names
}

/// The columns of its own row that a trigger's function gives a value, but for plain
/// ones.
pub fn assigned_new(words: &[Box<str>], row: Row<'_>) -> Vec<Box<str>> {
    let text = Words(words);
    (0..words.len())
        .filter(|place| text.at(*place) == "new" && text.at(place + 1) == ".")
        .filter(|place| match text.at(place + 3) {
            "[" => true,
            sign @ ("=" | ":") if starts_a_statement(text.before(*place)) => {
                let from = place + if sign == ":" { 5 } else { 4 };
                let end = text.statement(from).last().map_or(from, |(last, _)| text.behind(last));
                !text.is_plain(from, end, row)
            }
            _ => is_given(text, *place),
        })
        .map(|place| text.at(place + 2).into())
        .collect()
}

/// `INTO NEW.a, NEW.b`, `FOR NEW.a IN`.
fn is_given(text: Words<'_>, mut place: usize) -> bool {
    while text.before(place) == "," && place >= 4 {
        place -= 4;
        if text.at(place + 1) != "." {
            return false;
        }
    }
    matches!(text.before(place), "into" | "strict" | "for" | "foreach")
}

fn starts_a_statement(before: &str) -> bool {
    matches!(before, "" | ";" | "begin" | "then" | "else" | "loop" | OPEN | ">")
}

/// Whether a trigger's function gives back a row that it has put together, so that any
/// column may be another.
pub fn gives_other_row(words: &[Box<str>], row: Row<'_>) -> bool {
    let text = Words(words);
    (0..words.len()).any(|place| match text.at(place) {
        "new" => {
            let before = text.before(place);
            starts_a_statement(before) && matches!(text.at(place + 1), "=" | ":")
                || matches!(before, "into" | "strict") && text.at(place + 1) != "."
        }
        "return" => text.statement(place + 1).any(|(place, _)| {
            let word = text.at(place);
            is_name(word) && !matches!(word, "new" | "old") && !text.brings_nothing(place, row)
        }),
        _ => false,
    })
}

/// Whether it does something with its whole row, but for giving it back.
pub fn takes_row(words: &[Box<str>]) -> bool {
    let text = Words(words);
    let mut gives_back = false;
    (0..words.len()).any(|place| {
        gives_back = match text.at(place) {
            "return" => true,
            ";" | OPEN | CLOSE => false,
            _ => gives_back,
        };
        matches!(text.at(place), "new" | "old")
            && (text.at(place + 1) != "." || text.at(place + 2) == "*")
            && !gives_back
    })
}

/// Whether rows of a table are taken as one value: by its name, or by another that it is
/// given, or under other names of its columns.
pub fn takes_rows_of(words: &[Box<str>], table: &str) -> bool {
    let text = Words(words);
    let stands = |place: usize| {
        matches!(text.before(place), "from" | "join" | "," | "." | "only" | "using" | "update")
    };
    (0..words.len()).filter(|place| text.at(*place) == table).any(|place| {
        if !stands(place) {
            return text.at(place + 1) != "."
                && !matches!(text.before(place), "into" | "table" | "copy" | "on" | "references");
        }
        let alias = place + if text.at(place + 1) == "as" { 2 } else { 1 };
        let name = text.at(alias);
        if !is_name(name) || BEHIND_A_TABLE.contains(&name) {
            return false;
        }
        text.at(alias + 1) == "("
            || (0..words.len()).any(|other| {
                other != alias
                    && text.at(other) == name
                    && text.at(other + 1) != "."
                    && text.before(other) != "as"
            })
    })
}

/// The same words with a table's name for each that nobody has: what a trigger's function
/// calls the rows that were written.
pub fn with_transitions(words: &[Box<str>], table: &str, catalog: &Catalog) -> Vec<Box<str>> {
    let text = Words(words);
    let unknown = |place: usize| {
        matches!(text.before(place), "from" | "join")
            && is_name(text.at(place))
            && !matches!(text.at(place + 1), "(" | ".")
            && catalog.named(None, text.at(place)).next().is_none()
    };
    let of = |place: usize, word: &str| if unknown(place) { table.into() } else { word.into() };
    words.iter().enumerate().map(|(place, word)| of(place, word)).collect()
}

fn is_name(word: &str) -> bool {
    word.starts_with(|sign: char| sign.is_alphabetic() || sign == '_')
}

/// Where a string begins and ends among the words.
const OPEN: &str = "'<";
const CLOSE: &str = ">'";
/// Words of expressions that bring no value of anybody's along.
const PLAIN: &[&str] = &[
    "and",
    "array",
    "case",
    "current_date",
    "current_timestamp",
    "current_user",
    "default",
    "else",
    "end",
    "false",
    "in",
    "is",
    "localtimestamp",
    "not",
    "null",
    "or",
    "session_user",
    "tg_name",
    "tg_op",
    "tg_table_name",
    "tg_table_schema",
    "tg_when",
    "then",
    "true",
    "when",
];
/// What may follow a table's name and is no other name for it.
const BEHIND_A_TABLE: &[&str] = &[
    "cross",
    "do",
    "end",
    "except",
    "fetch",
    "for",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "into",
    "join",
    "left",
    "limit",
    "loop",
    "natural",
    "offset",
    "on",
    "order",
    "returning",
    "right",
    "select",
    "set",
    "tablesample",
    "then",
    "union",
    "using",
    "values",
    "where",
    "window",
    "with",
];
const DEEPEST: u32 = 3;
const MOST_WORDS: usize = 65_536;
const MOST_COLUMNS: usize = 2_048;
