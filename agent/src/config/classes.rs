//! The file of operators' words on columns that `tidegate classify` keeps, and how a
//! column is written: `schema.table.column`, as in SQL.
//!
//! Never: a file that others can write, or that is half written; a word whose class
//! nobody knows.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item};

use super::kept::{self, quoted};
use super::{Mistakes, Place, file};
use crate::model::ColumnWord;

#[cfg(test)]
mod tests;

/// Where it is, unless it is named.
pub const DEFAULT_CLASSES: &str = "/etc/tidegate/classes.toml";
/// What is written where a column holds nothing sensitive.
pub const NONE: &str = "none";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSettings {
    pub file: PathBuf,
    /// What it holds, once it was read and found right. Never written in a file of
    /// settings.
    pub words: Vec<ColumnWord>,
}

impl Default for ClassSettings {
    fn default() -> Self {
        Self { file: PathBuf::from(DEFAULT_CLASSES), words: Vec::new() }
    }
}

impl ClassSettings {
    /// Where the keeper keeps what tables were filled with: beside what operators say.
    pub fn filled(&self) -> PathBuf {
        self.file.with_file_name(FILLED)
    }
}

const FILLED: &str = "filled.jsonl";
const KEYS: [&str; 4] = ["column", "class", "database", "server"];
const HEAD: &str = "\
# What columns hold, kept by `tidegate classify set`: a class, or \"none\" where
# nothing is to be masked. `tidegate reload` makes it hold.
";
const MOST_BYTES: u64 = 8 << 20;
/// PostgreSQL's names are shorter.
const LONGEST_NAME: usize = 512;

/// Reads the file; one that isn't there holds nothing. `classes`: all that there are.
pub fn read(path: &Path, classes: &[&str]) -> Result<Vec<ColumnWord>, Mistakes> {
    let name = path.display().to_string();
    let whole = |text: String| Mistakes::one(Place::Named(name.clone()), text);
    let cannot = |error: io::Error| whole(format!("cannot read it: {error}"));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    // A pipe would keep us waiting.
    if !metadata.is_file() {
        return Err(whole("it is no regular file".into()));
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(whole(format!(
            "others can write it (mode {mode:o}), and so show what is masked: run `chmod go-w \
             {name}`"
        )));
    }
    if metadata.len() > MOST_BYTES {
        return Err(whole(format!("it has more than {MOST_BYTES} bytes")));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(cannot)?;
    parse(&text, &name, classes)
}

/// Checks the file's text; `name` is how mistakes name it.
pub fn parse(text: &str, name: &str, classes: &[&str]) -> Result<Vec<ColumnWord>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let place = |at| Place::at(text, name, at);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let why = error.message().lines().next().unwrap_or_default().to_owned();
            return Err(Mistakes::one(place(error.span()), format!("this is not TOML: {why}")));
        }
    };
    let mut list: Vec<ColumnWord> = Vec::new();
    for (key, item) in document.as_table() {
        let Some(tables) = item.as_array_of_tables().filter(|_| key == "class") else {
            mistakes.add(place(item.span()), file::unknown("table", key, &["[[class]]"]));
            continue;
        };
        for table in tables {
            let at = |key: &str| place(table.get(key).and_then(Item::span));
            for (key, item) in table {
                if !KEYS.contains(&key) {
                    mistakes.add(place(item.span()), file::unknown("key", key, &KEYS));
                }
            }
            let mut word = |key: &str, needed: bool| match table.get(key).map(Item::as_str) {
                Some(Some(word)) if !word.is_empty() => Some(word.to_owned()),
                Some(_) => {
                    mistakes.add(at(key), format!("`{key}`: it must be a text that isn't empty"));
                    None
                }
                None if needed => {
                    mistakes.add(place(table.span()), format!("a word on a column needs `{key}`"));
                    None
                }
                None => None,
            };
            let (column, class) = (word("column", true), word("class", true));
            let (database, server) = (word("database", false), word("server", false));
            let column = column.and_then(|text| match column_name(&text) {
                Ok(names) => Some(names),
                Err(why) => {
                    mistakes.add(at("column"), format!("`column`: {why}"));
                    None
                }
            });
            let class = class.and_then(|text| match class_of(&text, classes) {
                Ok(class) => Some(class),
                Err(why) => {
                    mistakes.add(at("class"), format!("`class`: {why}"));
                    None
                }
            });
            let (Some([schema, table_name, column]), Some(class)) = (column, class) else {
                continue;
            };
            let one = ColumnWord { server, database, schema, table: table_name, column, class };
            if list.iter().any(|known| same_place(known, &one)) {
                let text = format!("`{}` stands here twice", written(&one));
                mistakes.add(place(table.span()), text);
            }
            list.push(one);
        }
    }
    if mistakes.is_empty() { Ok(list) } else { Err(mistakes.sorted()) }
}

/// Whether two words are on the same column at the same places.
pub fn same_place(one: &ColumnWord, other: &ColumnWord) -> bool {
    (&one.server, &one.database) == (&other.server, &other.database)
        && (&one.schema, &one.table, &one.column) == (&other.schema, &other.table, &other.column)
}

/// A class's name, or `none`.
pub fn class_of(text: &str, classes: &[&str]) -> Result<Option<String>, String> {
    if text == NONE {
        return Ok(None);
    }
    if classes.contains(&text) {
        return Ok(Some(text.to_owned()));
    }
    let all: Vec<&str> = classes.iter().copied().chain([NONE]).collect();
    Err(file::unknown("class", text, &all))
}

// ---- columns ----------------------------------------------------------------

/// `schema.table.column`: in small letters, unless it is quoted, as in SQL.
pub fn column_name(text: &str) -> Result<[String; 3], String> {
    names(text).ok_or_else(|| {
        format!(
            "`{text}` is no column: write `schema.table.column`, with double quotes around names \
             that hold capitals or signs"
        )
    })
}

/// `schema.table`.
pub fn table_name(text: &str) -> Result<[String; 2], String> {
    names(text).ok_or_else(|| {
        format!(
            "`{text}` is no table: write `schema.table`, with double quotes around names that \
             hold capitals or signs"
        )
    })
}

fn names<const COUNT: usize>(text: &str) -> Option<[String; COUNT]> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, more) = one_name(rest)?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return None;
        }
        names.push(name);
        match more.strip_prefix('.') {
            Some(more) => rest = more,
            None if more.is_empty() => break,
            None => return None,
        }
    }
    names.try_into().ok()
}

fn one_name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        let fine = !name.chars().any(|sign| sign.is_whitespace() || sign.is_control());
        return fine.then(|| (name.to_ascii_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// As [`column_name`] reads it.
pub fn written(word: &ColumnWord) -> String {
    [&word.schema, &word.table, &word.column].map(|name| identifier(name)).join(".")
}

/// A name as SQL has it.
pub fn identifier(name: &str) -> String {
    let plain = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_';
    match name.chars().all(plain) && !name.starts_with(|sign: char| sign.is_ascii_digit()) {
        true if !name.is_empty() => name.to_owned(),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

// ---- writing ----------------------------------------------------------------

/// Lets the file be changed, while nobody else does.
pub fn change<T>(
    path: &Path,
    classes: &[&str],
    change: impl FnOnce(&mut Vec<ColumnWord>) -> T,
) -> Result<T, Mistakes> {
    kept::change(
        path,
        0o644,
        || read(path, classes),
        |list| {
            let changed = change(list);
            list.sort_by_cached_key(|one| (written(one), one.database.clone(), one.server.clone()));
            (text(list), changed)
        },
    )
}

fn text(list: &[ColumnWord]) -> String {
    let mut text = HEAD.to_owned();
    for word in list {
        let column = written(word);
        let class = word.class.as_deref().unwrap_or(NONE);
        text += "\n[[class]]\n";
        let values =
            [Some(&*column), Some(class), word.database.as_deref(), word.server.as_deref()];
        for (key, value) in KEYS.iter().zip(values) {
            if let Some(value) = value {
                text += &format!("{key} = {}\n", quoted(value));
            }
        }
    }
    text
}
