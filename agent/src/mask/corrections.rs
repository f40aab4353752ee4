//! What operators say a column holds, against what is found of it.
//!
//! INVARIANTS
//! - A class that an operator has given stays with the column, also under another
//!   name; that nothing sensitive is in it holds under the name only that was said.
//! - What was found of a column is kept behind the word, and holds again without it.
//!
//! Never: a guess. A word that fits no column does nothing.

use std::collections::HashMap;

use super::class::{Class, UnknownClass};
use super::names::Evidence;
use crate::model::ColumnWord;

#[cfg(test)]
mod tests;

/// Which column a word is on: its schema, table and name.
pub type Key = [Box<str>; 3];

/// The words on one database's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections {
    /// Newer ones take the place of older ones.
    pub generation: u32,
    /// `None`: nothing sensitive.
    words: HashMap<Key, Option<Class>>,
}

/// What lies behind an operator's word on a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overruled {
    /// What was found of it.
    pub found: Option<(Class, Evidence)>,
    /// The word: the column's own, or that of the table that it is a part of.
    pub key: Key,
}

impl Corrections {
    /// Those of all words that are on this destination and database; the one that
    /// says more about where counts.
    pub fn of(
        generation: u32,
        words: &[ColumnWord],
        destination: Option<&str>,
        database: &str,
    ) -> Result<Self, UnknownClass> {
        let mut fitting: Vec<&ColumnWord> = words
            .iter()
            .filter(|word| word.server.is_none() || word.server.as_deref() == destination)
            .filter(|word| word.database.as_deref().is_none_or(|name| name == database))
            .collect();
        fitting.sort_by_key(|word| (word.server.is_some(), word.database.is_some()));
        let mut known = HashMap::with_capacity(fitting.len());
        for word in fitting {
            let class = word.class.as_deref().map(str::parse).transpose()?;
            let key = [&word.schema, &word.table, &word.column].map(|name| name.as_str().into());
            known.insert(key, class);
        }
        Ok(Self { generation, words: known })
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether both say the same.
    pub fn same_words(&self, other: &Self) -> bool {
        self.words == other.words
    }

    /// The word on a column.
    pub(super) fn on(&self, key: &Key) -> Option<Option<Class>> {
        self.words.get(key).copied()
    }

    /// The class that is given to a column, as far as a statement names it.
    pub(super) fn given(&self, schema: Option<&str>, table: &str, column: &str) -> Option<Class> {
        let Some(schema) = schema else {
            let named = |key: &Key| *key[1] == *table && *key[2] == *column;
            return self.words.iter().find_map(|(key, class)| class.filter(|_| named(key)));
        };
        self.on(&[schema, table, column].map(Box::from)).flatten()
    }

    /// The word on a column, as far as a statement names it.
    pub fn word(&self, schema: Option<&str>, table: &str, column: &str) -> Option<Option<Class>> {
        match schema {
            Some(schema) => self.on(&[schema, table, column].map(Box::from)),
            None => {
                let named = |key: &Key| *key[1] == *table && *key[2] == *column;
                self.words.iter().find(|(key, _)| named(key)).map(|(_, class)| *class)
            }
        }
    }

    /// The columns of a table that were given a class.
    pub fn of_table(
        &self,
        schema: Option<&str>,
        table: &str,
    ) -> impl Iterator<Item = (&str, Class)> {
        self.words.iter().filter_map(move |([within, of, column], class)| {
            let same = **of == *table && schema.is_none_or(|schema| *schema == **within);
            same.then_some((&**column, (*class)?))
        })
    }

    /// Whether something is sensitive by these that wasn't by those `before`.
    pub(super) fn gives_more_than(&self, before: &Self) -> bool {
        let given = self.words.iter().any(|(key, class)| {
            class.is_some() && before.words.get(key).is_none_or(|one| one.is_none())
        });
        // Without its exemption a column has its class again.
        let again = before.words.iter().any(|(key, class)| {
            class.is_none() && self.words.get(key).is_none_or(|one| one.is_some())
        });
        given || again
    }
}
