//! What `tidegate classify` shows of a catalog.

use std::collections::HashMap;
use std::io::Write;

use serde::Serialize;

use super::super::exit::Failure;
use super::super::output::{self, Cell, Colour, Format, Page, Table};
use crate::config::classes::{self, NONE};
use crate::mask::catalog::Relation;
use crate::mask::names::Evidence;
use crate::mask::{Catalog, Class};

#[cfg(test)]
mod tests;

/// How columns' types are written, by table and number.
pub type Types = HashMap<(u32, u16), Box<str>>;

/// Which tables are shown.
pub struct Filter {
    schema: Option<String>,
    table: String,
}

#[derive(Debug)]
pub struct Report<'c> {
    columns: Vec<Row<'c>>,
    functions: Vec<Function<'c>>,
    /// Of tables that are shown.
    seen: usize,
}

#[derive(Debug, Serialize)]
struct Row<'c> {
    schema: &'c str,
    table: &'c str,
    column: &'c str,
    r#type: &'c str,
    /// `null`: nothing sensitive.
    class: Option<Class>,
    mask: Option<String>,
    reason: Option<Evidence>,
    /// Somebody's statement put it there.
    #[serde(skip_serializing_if = "is_false")]
    filled: bool,
    /// What was found of it, where an operator says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    class: Option<Class>,
    reason: Option<Evidence>,
}

#[derive(Debug, Serialize)]
struct Function<'c> {
    schema: &'c str,
    function: &'c str,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`--table`: `{text}` is no table: write `table` or `schema.table`");
        let mut parts = text.split('.').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(table), None, None) if !table.is_empty() => Ok(Self { schema: None, table }),
            (Some(schema), Some(table), None) if !schema.is_empty() && !table.is_empty() => {
                Ok(Self { schema: Some(schema), table })
            }
            _ => Err(form()),
        }
    }

    fn fits(&self, relation: &Relation) -> bool {
        self.schema.as_ref().is_none_or(|schema| like(schema, &relation.schema))
            && like(&self.table, &relation.name)
    }
}

/// Whether a text is as a pattern says; `*` stands for any signs.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

impl<'c> Report<'c> {
    /// `all`: also columns that hold nothing sensitive.
    pub fn of(catalog: &'c Catalog, types: &'c Types, filter: Option<&Filter>, all: bool) -> Self {
        let mut seen = 0;
        let mut columns = Vec::new();
        for relation in catalog.relations() {
            let wanted = match filter {
                Some(filter) => filter.fits(relation),
                None => !is_of_server(&relation.schema),
            };
            // A type's fields are columns of none.
            if !wanted || relation.kind == 'c' {
                continue;
            }
            for column in &relation.columns {
                seen += 1;
                let exempt = catalog.is_exempt(relation.oid, column.number);
                let by_word = column.class.is_some_and(|(_, why)| why == Evidence::Policy);
                if !all && !exempt && column.class.is_none() {
                    continue;
                }
                let found = (exempt || by_word).then(|| {
                    let found = catalog.found(relation.oid, column.number);
                    Found { class: found.map(|one| one.0), reason: found.map(|one| one.1) }
                });
                let by_lineage = column.class.is_some_and(|(_, why)| why == Evidence::Lineage);
                let filled = by_lineage && relation.definition.is_none() && {
                    let schema = Some(&*relation.schema);
                    catalog.made_of(schema, &relation.name, &column.name).is_some()
                };
                let r#type = types.get(&(relation.oid, column.number)).map_or("", |name| name);
                columns.push(Row {
                    schema: &relation.schema,
                    table: &relation.name,
                    column: &column.name,
                    r#type,
                    class: column.class.map(|(class, _)| class),
                    mask: column.class.map(|(class, _)| word(&class.default_mask())),
                    reason: match exempt {
                        true => Some(Evidence::Policy),
                        false => column.class.map(|(_, why)| why),
                    },
                    filled,
                    found,
                });
            }
        }
        // Tables by name, their columns as they stand.
        columns.sort_by_key(|row| (row.schema, row.table));
        let mut functions: Vec<Function<'c>> = match filter {
            Some(_) => Vec::new(),
            None => catalog
                .telling()
                .filter(|(schema, _)| !is_of_server(schema))
                .map(|(schema, function)| Function { schema, function })
                .collect(),
        };
        functions.sort_by_key(|one| (one.schema, one.function));
        functions.dedup_by_key(|one| (one.schema, one.function));
        Self { columns, functions, seen }
    }

    pub fn show(
        &self,
        format: Format,
        at: &str,
        database: &str,
        destination: Option<&str>,
    ) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Shown<'r, 'c> {
            schema: u32,
            server: &'r str,
            database: &'r str,
            destination: Option<&'r str>,
            columns: &'r [Row<'c>],
            functions: &'r [Function<'c>],
        }
        match format {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                self.write(&mut out, Page::of_stdout())?;
                out.flush()?;
                let sensitive = self.columns.iter().filter(|row| row.class.is_some()).count();
                let Self { seen, .. } = self;
                super::super::say(&format!("{sensitive} of {seen} columns are sensitive"));
            }
            Format::Jsonl => {
                for row in &self.columns {
                    output::document(Format::Jsonl, row)?;
                }
                for function in &self.functions {
                    output::document(Format::Jsonl, function)?;
                }
            }
            machine => {
                let Self { columns, functions, .. } = self;
                let schema = 1;
                let shown = Shown { schema, server: at, database, destination, columns, functions };
                output::document(machine, &shown)?;
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut impl Write, page: Page) -> Result<(), Failure> {
        let mut table = Table::new(0, &["COLUMN", "TYPE", "CLASS", "MASK", "REASON"]);
        for row in &self.columns {
            let name = [row.schema, row.table, row.column].map(classes::identifier).join(".");
            let class = match (row.class, &row.found) {
                (Some(class), _) => Cell::new(class.as_str()),
                (None, Some(_)) => Cell::painted(NONE, Colour::Yellow),
                (None, None) => Cell::new(""),
            };
            let reason = row.reason.map(|why| word(&why)).unwrap_or_default();
            let found = row.found.as_ref().and_then(|found| Some((found.class?, found.reason?)));
            let reason = match row.filled {
                true => format!("{reason} (filled)"),
                false => reason,
            };
            let reason = match found {
                Some((class, why)) => format!("{reason} (else {class} by {})", word(&why)),
                None => reason,
            };
            let mask = row.mask.as_deref().unwrap_or_default();
            table.row(vec![name.into(), row.r#type.into(), class, mask.into(), reason.into()]);
        }
        if !table.is_empty() {
            table.write(out, page)?;
        }
        if !self.functions.is_empty() {
            let mut table = Table::new(0, &["FUNCTION", "WHAT IT GIVES"]);
            for Function { schema, function } in &self.functions {
                let name = [*schema, *function].map(classes::identifier).join(".");
                table.row(vec![name.into(), "may be sensitive: masked whole".into()]);
            }
            if !self.columns.is_empty() {
                writeln!(out)?;
            }
            table.write(out, page)?;
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_of_server(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
}

/// As it is written in documents for machines.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
