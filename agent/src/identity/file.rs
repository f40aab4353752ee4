//! Files that people write for this room: TOML, with the line of every mistake,
//! and all mistakes told in one go.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike};

/// All that is wrong with a file, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct FileMistakes(pub Vec<String>);

pub(super) struct Reader<'t> {
    text: &'t str,
    file: &'t str,
    mistakes: Vec<String>,
}

impl<'t> Reader<'t> {
    /// Reads the file's text by `read`, which takes what it can.
    pub fn read<T>(
        text: &'t str,
        file: &'t str,
        read: impl FnOnce(&mut Self, &dyn TableLike) -> T,
    ) -> Result<T, FileMistakes> {
        let mut reader = Self { text, file, mistakes: Vec::new() };
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let message = error.message().trim().replace('\n', ": ");
                reader.mistake(error.span(), &format!("this is not TOML: {message}"));
                return Err(FileMistakes(reader.mistakes));
            }
        };
        let found = read(&mut reader, document.as_table());
        if reader.mistakes.is_empty() { Ok(found) } else { Err(FileMistakes(reader.mistakes)) }
    }

    pub fn mistake(&mut self, span: Option<Range<usize>>, text: &str) {
        self.mistakes.push(format!("{}: {text}", self.place(span)));
    }

    /// File, line and column.
    pub fn place(&self, span: Option<Range<usize>>) -> String {
        match span.and_then(|span| self.text.get(..span.start)) {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                format!("{}:{line}:{column}", self.file)
            }
            None => self.file.to_owned(),
        }
    }

    pub fn only(&mut self, table: &dyn TableLike, known: &[&str]) {
        for (key, item) in table.iter() {
            if !known.contains(&key) {
                let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
                let quoted: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
                let text = format!("unknown key `{key}`: it is one of {}", quoted.join(", "));
                self.mistake(span, &text);
            }
        }
    }

    /// A string.
    pub fn string(&mut self, table: &dyn TableLike, key: &str) -> Option<String> {
        let item = table.get(key)?;
        match item.as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.mistake(item.span(), &format!("`{key}` must be a string"));
                None
            }
        }
    }

    pub fn boolean(&mut self, table: &dyn TableLike, key: &str) -> Option<bool> {
        let item = table.get(key)?;
        match item.as_bool() {
            Some(value) => Some(value),
            None => {
                self.mistake(item.span(), &format!("`{key}` must be true or false"));
                None
            }
        }
    }

    /// A list of strings.
    pub fn strings(&mut self, table: &dyn TableLike, key: &str) -> Vec<String> {
        let Some(item) = table.get(key) else { return Vec::new() };
        let mut found = Vec::new();
        let list = item.as_array();
        for value in list.into_iter().flatten() {
            match value.as_str() {
                Some(text) if !text.is_empty() => found.push(text.to_owned()),
                _ => self.mistake(value.span(), &format!("`{key}` holds strings only, none empty")),
            }
        }
        if list.is_none() {
            let text = format!("`{key}` must be a list of strings, such as `{key} = [\"…\"]`");
            self.mistake(item.span(), &text);
        }
        found
    }

    /// The tables of a table: `[users.alice]`.
    pub fn tables<'i>(
        &mut self,
        top: &'i dyn TableLike,
        key: &str,
    ) -> Vec<(String, &'i dyn TableLike)> {
        let Some(item) = top.get(key) else { return Vec::new() };
        let mut found = Vec::new();
        let Some(table) = item.as_table_like() else {
            self.mistake(item.span(), &format!("`{key}` must be a table"));
            return found;
        };
        for (name, item) in table.iter() {
            match item.as_table_like() {
                Some(inner) => found.push((name.to_owned(), inner)),
                None => {
                    self.mistake(item.span(), &format!("`{key}.{name}` must be a table"));
                }
            }
        }
        found
    }

    /// `[[key]]`
    pub fn list<'i>(&mut self, top: &'i dyn TableLike, key: &str) -> Vec<&'i dyn TableLike> {
        match top.get(key) {
            None => Vec::new(),
            Some(Item::ArrayOfTables(tables)) => {
                tables.iter().map(|table| table as &dyn TableLike).collect()
            }
            Some(item) => {
                self.mistake(item.span(), &format!("write each as a table: `[[{key}]]`"));
                Vec::new()
            }
        }
    }
}
