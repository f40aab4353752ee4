//! What an enforcer has learnt of a database that no server can tell it again: what
//! tables were filled with. The keeper keeps it over restarts.
//!
//! Never: a value. Names of tables, columns and classes only.

use serde::{Deserialize, Serialize};

/// Which database. Whatever certificate its server shows: that is renewed, and each
/// server of a pair has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DatabaseName {
    /// As in [`super::DestinationTerms::name`].
    pub destination: String,
    /// The identifier that the server says; empty where a role may not ask for it.
    pub system: String,
    pub database: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Learnt {
    Filled(Filled),
    /// Something sensitive was sent as a notification.
    Notifications,
    /// … and was put into a large object.
    LargeObjects,
    /// Of the tables that were filled these are there.
    There(Vec<String>),
}

/// A table that was filled with what is sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// `None`: where the search path led.
    pub schema: Option<String>,
    pub relation: String,
    /// The class of what went in, by the column's name there.
    pub columns: Vec<(String, String)>,
    /// For every other column.
    pub others: Option<String>,
    /// By code that nobody followed: then only what can hold a text counts.
    pub guessed: bool,
}

impl Learnt {
    /// Whether it may be written down: what an enforcer says is not believed to be
    /// of any form.
    pub fn is_well_formed(&self) -> bool {
        match self {
            Self::Filled(filled) => filled.is_well_formed(),
            Self::Notifications | Self::LargeObjects => true,
            Self::There(names) => names.len() <= MOST_THERE && names.iter().all(|one| name(one)),
        }
    }
}

impl Filled {
    fn is_well_formed(&self) -> bool {
        let Self { schema, relation, columns, others, .. } = self;
        name(relation)
            && schema.as_deref().is_none_or(name)
            && others.as_deref().is_none_or(class)
            && (others.is_some() || !columns.is_empty())
            && columns.len() <= MOST_COLUMNS
            && columns.iter().all(|(column, of)| name(column) && class(of))
    }
}

impl DatabaseName {
    pub fn is_well_formed(&self) -> bool {
        let Self { destination, system, database } = self;
        let short = |text: &str| text.len() <= LONGEST && !text.contains('\0');
        short(destination) && short(system) && short(database)
    }
}

fn name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.contains('\0')
}

fn class(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=LONGEST_CLASS).contains(&text.len()) && text.bytes().all(sign)
}

/// The class of what can't be followed: also of what was of several.
pub const OPAQUE: &str = "opaque";
/// Of one table; what has more is told of its columns together.
pub const MOST_COLUMNS: usize = 64;
/// That are told at once.
pub const MOST_THERE: usize = 64;
/// PostgreSQL's names are shorter. A message that has the most of all is one that the
/// channel carries.
pub const LONGEST: usize = 256;
const LONGEST_CLASS: usize = 64;
