//! What code that nobody follows may write sensitive values into: told by its
//! words. For bodies of functions, DO blocks and rules.
//!
//! INVARIANT: strings within are read like the code around them: what is run as
//! text is written so.

use std::collections::HashSet;

use super::catalog::Catalog;
use super::class::Class;
use super::filling::Carried;

/// The words of a text, those within its strings too: names as the server folds
/// them.
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
            // What is put together of strings alone is read as one.
            while tokens.next_if_eq(&"|").is_some() {
                tokens.next_if_eq(&"|");
                match tokens.peek().and_then(|token| string(token)) {
                    Some(more) => inner.push_str(&more),
                    None => break,
                }
                tokens.next();
            }
            if depth < DEEPEST {
                // Between two strings nothing goes on.
                all.push(";".into());
                collect(&inner, depth + 1, all);
                all.push(";".into());
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

/// The tables that are filled, with the columns where they are named. Where a name is
/// put together, it may be each that occurs and holds nothing sensitive yet.
pub fn targets(words: &[Box<str>], catalog: &Catalog) -> Vec<Carried> {
    let mut all = Vec::new();
    let mut unnamed = false;
    let at = |place: usize| words.get(place).map_or("", |word| &**word);
    for place in 0..words.len() {
        let (name, listed) = match (at(place), at(place + 1)) {
            ("insert" | "merge", "into") => (place + 2, Listed::Brackets),
            ("update", next) if next != "set" && next != "of" => (place + 1, Listed::Assigned),
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
        if !at(name).starts_with(|sign: char| sign.is_alphabetic() || sign == '_') {
            unnamed = true;
            continue;
        }
        let named = match listed {
            Listed::Brackets => bracketed(words, name + 1),
            Listed::Assigned => assigned(words, name + 1),
            Listed::None => Vec::new(),
        };
        let everywhere = named.is_empty();
        all.push(Carried {
            schema: schema.map(Into::into),
            relation: at(name).into(),
            named: named.into_iter().map(|name| (name, Class::Opaque)).collect(),
            others: everywhere.then_some(Class::Opaque),
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
    before.iter().rev().take_while(|word| &***word != ";").any(|word| &**word == "create")
}

/// `(a, b, c)`.
fn bracketed(words: &[Box<str>], mut place: usize) -> Vec<Box<str>> {
    let mut names = Vec::new();
    let at = |place: usize| words.get(place).map_or("", |word| &**word);
    if at(place) == "as" {
        place += 2;
    }
    if at(place) != "(" {
        return names;
    }
    for word in words.iter().skip(place + 1).take(MOST_COLUMNS) {
        match &**word {
            ")" => return names,
            "," => {}
            name => names.push(name.into()),
        }
    }
    Vec::new()
}

/// `SET a = …, (b, c) = …`: every name that something is given to.
fn assigned(words: &[Box<str>], place: usize) -> Vec<Box<str>> {
    let mut names = Vec::new();
    let mut brackets = 0_i32;
    let mut rest = words.iter().skip(place).skip_while(|word| &***word != "set").peekable();
    let mut before: &str = "";
    while let Some(word) = rest.next() {
        match &**word {
            "(" => brackets += 1,
            ")" => brackets -= 1,
            ";" => break,
            "from" | "where" | "returning" if brackets <= 0 => break,
            name => {
                let next = rest.peek().map_or("", |word| &***word);
                let starts = matches!(before, "set" | "," | "(");
                if starts && matches!(next, "=" | ")" | ",") {
                    names.push(name.into());
                }
            }
        }
        before = word;
    }
    names
}

/// The columns of its own row that a trigger's function gives a value.
pub fn assigned_new(words: &[Box<str>]) -> Vec<Box<str>> {
    let at = |place: usize| words.get(place).map_or("", |word| &**word);
    (0..words.len())
        .filter(|place| at(*place) == "new" && at(place + 1) == ".")
        .filter(|place| {
            let before = at(place.wrapping_sub(1));
            matches!(at(place + 3), "=" | ":") || matches!(before, "into" | ",")
        })
        .map(|place| at(place + 2).into())
        .collect()
}

/// Whether a trigger's function gives back a row that it has put together, so that any
/// column may be another.
pub fn gives_other_row(words: &[Box<str>]) -> bool {
    let at = |place: usize| words.get(place).map_or("", |word| &**word);
    let starts = |word: &str| matches!(word, "" | ";" | "begin" | "then" | "else" | "loop");
    (0..words.len()).any(|place| match at(place) {
        "new" => {
            let before = at(place.wrapping_sub(1));
            starts(before) && matches!(at(place + 1), "=" | ":")
                || before == "into" && at(place + 1) != "."
        }
        "return" => !matches!(at(place + 1), "new" | "old" | "null" | ";" | ""),
        _ => false,
    })
}

/// Whether it does something with its whole row, but for giving it back.
pub fn takes_row(words: &[Box<str>]) -> bool {
    let at = |place: usize| words.get(place).map_or("", |word| &**word);
    (0..words.len()).any(|place| {
        matches!(at(place), "new" | "old")
            && (at(place + 1) != "." || at(place + 2) == "*")
            && at(place.wrapping_sub(1)) != "return"
    })
}

const DEEPEST: u32 = 3;
const MOST_WORDS: usize = 65_536;
const MOST_COLUMNS: usize = 2_048;
