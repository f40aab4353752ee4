//! What a session has at the server: prepared statements, portals, and the
//! descriptions of their results.

use std::sync::{Arc, OnceLock};

use super::Gate;
use super::texts::{Kept, Text};
use crate::wire::postgres::lists::{Columns, Formats16};

/// By which request something was made, and by which statement of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub serial: u64,
    pub index: u32,
}

impl Made {
    /// By a message of its own.
    pub(super) fn alone(serial: u64) -> Self {
        Self { serial, index: 0 }
    }
}

/// A prepared statement, made by Parse or by SQL's PREPARE.
#[derive(Debug)]
pub struct Statement<G: Gate> {
    pub name: Box<[u8]>,
    pub made: Made,
    pub(super) text: Option<Kept>,
    /// The parameter types that the client declared; 0 is "infer it".
    pub declared: Box<[u32]>,
    /// Under what it was let through.
    pub permit: G::Permit,
    /// Made by SQL's PREPARE: the text is the inner statement's.
    pub by_sql: bool,
    pub(super) parameters: OnceLock<Box<[u32]>>,
    pub(super) result: OnceLock<Described>,
}

impl<G: Gate> Statement<G> {
    /// The exact text; nothing when it was beyond the session's budget.
    pub fn text(&self) -> Option<&Text> {
        self.text.as_ref().map(Kept::text)
    }

    /// The parameter types: as the server resolved them, else as declared.
    pub fn parameters(&self) -> &[u32] {
        self.parameters.get().unwrap_or(&self.declared)
    }

    pub fn result(&self) -> Option<&Described> {
        self.result.get()
    }
}

/// A portal, made by Bind or by DECLARE.
#[derive(Debug)]
pub struct Portal<G: Gate> {
    pub name: Box<[u8]>,
    pub made: Made,
    /// Nothing for a cursor, or when the statement is one we don't know.
    pub statement: Option<Arc<Statement<G>>>,
    /// Whether it is certain that this is the statement it was bound to.
    pub certain: bool,
    pub formats: Formats,
    pub permit: G::Permit,
    /// A cursor WITH HOLD survives its transaction.
    pub holdable: bool,
    pub(super) result: OnceLock<Described>,
}

impl<G: Gate> Portal<G> {
    /// Whether nobody has said yet what its rows look like, or that it has none.
    pub fn is_undescribed(&self) -> bool {
        let of_statement =
            || self.certain && self.statement.as_ref().is_some_and(|one| one.result().is_some());
        self.result.get().is_none() && !of_statement()
    }

    /// What its rows look like, and who said so.
    pub fn shape(&self) -> Option<Shape<'_>> {
        if let Some(described) = self.result.get() {
            let description = described.rows()?;
            return Some(Shape { description, formats: None, from: DescribedBy::Portal });
        }
        if !self.certain {
            return None;
        }
        let description = self.statement.as_ref()?.result()?.rows()?;
        Some(Shape { description, formats: Some(&self.formats), from: DescribedBy::Statement })
    }
}

/// The answer to a Describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    Rows(Arc<Description>),
    NoRows,
}

impl Described {
    pub fn rows(&self) -> Option<&Arc<Description>> {
        match self {
            Self::Rows(description) => Some(description),
            Self::NoRows => None,
        }
    }
}

/// A RowDescription, kept as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Description {
    count: usize,
    bytes: Box<[u8]>,
}

impl Description {
    pub(super) fn new(columns: Columns<'_>) -> Self {
        Self { count: columns.len(), bytes: columns.bytes().into() }
    }

    pub fn columns(&self) -> Columns<'_> {
        Columns::checked(self.count, &self.bytes)
    }
}

/// Where a description comes from. One of the statement's can be older than
/// the rows where the statement is a FETCH or EXECUTE of something that was
/// replaced meanwhile; the portal's own never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescribedBy {
    /// RowDescription within the answer itself (simple Query).
    Answer,
    Portal,
    Statement,
}

/// How to read the rows of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'s> {
    pub description: &'s Arc<Description>,
    formats: Option<&'s Formats>,
    pub from: DescribedBy,
}

impl<'s> Shape<'s> {
    pub(super) fn of_answer(description: &'s Arc<Description>) -> Self {
        Self { description, formats: None, from: DescribedBy::Answer }
    }

    /// The format of each column: a statement's description doesn't know what
    /// its Bind asked for.
    pub fn formats(&self) -> impl Iterator<Item = u16> + 's {
        let formats = self.formats;
        self.description
            .columns()
            .iter()
            .enumerate()
            .map(move |(index, column)| formats.map_or(column.format, |asked| asked.of(index)))
    }
}

/// The result formats that a Bind asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Formats {
    #[default]
    Text,
    All(u16),
    Each(Box<[u16]>),
}

impl Formats {
    pub(super) fn new(formats: Formats16<'_>) -> Self {
        let mut codes = formats.iter();
        match (codes.next(), codes.next()) {
            (None, _) => Self::Text,
            (Some(code), None) => Self::All(code),
            _ => Self::Each(formats.iter().collect()),
        }
    }

    /// 0 text, 1 binary.
    pub fn of(&self, index: usize) -> u16 {
        match self {
            Self::Text => 0,
            Self::All(code) => *code,
            Self::Each(codes) => codes.get(index).copied().unwrap_or_default(),
        }
    }
}
