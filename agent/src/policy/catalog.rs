//! What is known of a database's tables, for questions that a text alone can't
//! answer. Whoever learns it (later rooms) hands it in.

use crate::model::code::{Code, Kind, Own};

/// A view of one database's catalog. `None` is "not known".
pub trait Catalog {
    /// Changes whenever an answer might.
    fn generation(&self) -> u64;

    /// The schema in which the session finds a relation by its bare name.
    fn schema_of(&self, relation: &str) -> Option<Box<str>>;

    fn has_column(&self, schema: Option<&str>, relation: &str, column: &str) -> Option<bool>;

    /// Whether a column holds what is masked.
    fn is_sensitive(&self, schema: Option<&str>, relation: &str, column: &str) -> Option<bool>;

    /// Whether any of its columns does.
    fn has_sensitive(&self, schema: Option<&str>, relation: &str) -> Option<bool>;

    /// Whether the one in this place (from 0) does.
    fn is_sensitive_at(&self, schema: Option<&str>, relation: &str, _place: u32) -> Option<bool> {
        self.has_sensitive(schema, relation)
    }

    /// Whether of a column (or any) the content is masked, by what it looks like.
    fn is_scanned(&self, schema: Option<&str>, relation: &str, column: Option<&str>) -> bool;

    /// What of somebody's own bears a name of the server's, or is a type that runs code;
    /// in whichever schema.
    fn own(&self, _: Kind, _: &str) -> &[Own] {
        &[]
    }
}

/// Nothing is known.
#[derive(Clone, Copy, Debug)]
pub struct NoCatalog;

impl Catalog for NoCatalog {
    fn generation(&self) -> u64 {
        0
    }

    fn schema_of(&self, _: &str) -> Option<Box<str>> {
        None
    }

    fn has_column(&self, _: Option<&str>, _: &str, _: &str) -> Option<bool> {
        None
    }

    fn is_sensitive(&self, _: Option<&str>, _: &str, _: &str) -> Option<bool> {
        None
    }

    fn has_sensitive(&self, _: Option<&str>, _: &str) -> Option<bool> {
        None
    }

    fn is_scanned(&self, _: Option<&str>, _: &str, _: Option<&str>) -> bool {
        false
    }
}

/// Nothing is known but what is said of these columns (`customers.email`,
/// `public.customers.email`) and of code. For cases and explanations.
#[derive(Clone, Copy, Debug)]
pub struct Supposed<'s> {
    /// They hold what is masked.
    pub masked: &'s [String],
    /// What they hold is masked by what it looks like.
    pub scanned: &'s [String],
    /// What somebody has made; see [`supposed_code`].
    pub code: &'s Code,
}

/// Code that a database is said to have: `lower`, `tools.+`, a type, a table whose columns
/// are converted by it. In `public`, where no schema is named.
pub fn supposed_code<'s>(names: impl IntoIterator<Item = &'s String>) -> Code {
    let mut code = Code::default();
    for path in names {
        // `.` is no sign of an operator's.
        let (schema, name) = path.split_once('.').unwrap_or(("public", path));
        let schema = Some(schema);
        let letters = name.starts_with(|sign: char| sign.is_alphanumeric() || sign == '_');
        let kinds = match letters {
            true => &[Kind::Function, Kind::Type, Kind::Row][..],
            false => &[Kind::Operator],
        };
        kinds.iter().for_each(|kind| code.add(*kind, schema, name, false));
    }
    code
}

impl Supposed<'_> {
    fn any(
        columns: &[String],
        schema: Option<&str>,
        relation: &str,
        column: Option<&str>,
    ) -> Option<bool> {
        let fits = |path: &String| {
            let mut names = path.rsplitn(3, '.');
            let (last, table, of) = (names.next(), names.next(), names.next());
            table == Some(relation)
                && column.is_none_or(|column| last == Some(column))
                && of.is_none_or(|of| schema.is_none_or(|schema| schema == of))
        };
        columns.iter().any(fits).then_some(true)
    }
}

impl Catalog for Supposed<'_> {
    fn generation(&self) -> u64 {
        0
    }

    fn schema_of(&self, _: &str) -> Option<Box<str>> {
        None
    }

    fn has_column(&self, _: Option<&str>, _: &str, _: &str) -> Option<bool> {
        None
    }

    fn is_sensitive(&self, schema: Option<&str>, relation: &str, column: &str) -> Option<bool> {
        Self::any(self.masked, schema, relation, Some(column))
    }

    fn has_sensitive(&self, schema: Option<&str>, relation: &str) -> Option<bool> {
        Self::any(self.masked, schema, relation, None)
    }

    fn is_scanned(&self, schema: Option<&str>, relation: &str, column: Option<&str>) -> bool {
        Self::any(self.scanned, schema, relation, column) == Some(true)
    }

    fn own(&self, kind: Kind, name: &str) -> &[Own] {
        self.code.named(kind, name)
    }
}
