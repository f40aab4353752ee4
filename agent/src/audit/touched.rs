//! What a statement touches, and of which class that is: by its facts, held against
//! what is known of the database. What no catalog knows has the class that its name
//! gives it.

use std::borrow::Cow;

use serde::Serialize;

use super::beside::{Beside, Which};
use crate::mask::{Catalog, Class, lineage};
use crate::sql::Facts;
use crate::sql::facts::{Object, ObjectKind};

/// A relation, or a column of it, that a statement touches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Touched {
    /// With its schema, where that is known.
    pub table: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<Box<str>>,
    /// What is in it: `email`, `iban` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Box<str>>,
    pub uses: Vec<&'static str>,
}

/// A column that may be each of several has a line for each of their classes. An empty
/// catalog leaves it to the text.
pub(super) fn touched_by(facts: &Facts, catalog: &Catalog) -> Vec<Touched> {
    let mut all = Vec::new();
    for statement in facts.running() {
        let name = |object: &Object| match &object.schema {
            Some(schema) => format!("{schema}.{}", object.name),
            None => object.name.to_string(),
        };
        for object in &statement.objects {
            all.push(Touched {
                table: name(object).into(),
                uses: object.uses.iter().map(|one| one.as_str()).collect(),
                ..Touched::default()
            });
        }
        for (place, column) in statement.columns.iter().enumerate() {
            let object = statement.objects.get(column.relation as usize);
            let uses = || column.uses.iter().map(|one| one.as_str()).collect();
            let table: Box<str> = object.map(name).unwrap_or_default().into();
            let Some(called) = &column.name else {
                let known = all.len();
                if let Some(object) = object {
                    let columns = star(object, column.place, catalog);
                    all.extend(columns.map(|one| Touched { uses: uses(), ..one }));
                }
                if all.len() == known {
                    let column = Some(STAR.into());
                    all.push(Touched { table, column, class: None, uses: uses() });
                }
                continue;
            };
            let (sources, _) = lineage::classes(statement, catalog, place);
            let mut classes: Vec<Option<Class>> = Vec::new();
            for source in &sources {
                if !classes.contains(&Some(source.class)) {
                    classes.push(Some(source.class));
                }
            }
            if classes.is_empty() {
                classes.push(None);
            }
            all.extend(classes.iter().map(|class| Touched {
                table: table.clone(),
                column: Some(called.clone()),
                class: class.map(|class| class.as_str().into()),
                uses: uses(),
            }));
        }
    }
    all.dedup();
    all.truncate(MOST_TOUCHED);
    all
}

fn is_table(object: &&Object) -> bool {
    object.kind == ObjectKind::Relation && object.catalog.is_none()
}

/// The columns that a `*` stands for. Of a bare name that several tables have, each:
/// which one it is only the server knows. With a place, the one that is there.
fn star<'c>(
    object: &'c Object,
    place: Option<u32>,
    catalog: &'c Catalog,
) -> impl Iterator<Item = Touched> {
    let table = Some(object).filter(is_table);
    let named = table.map(|one| catalog.named(one.schema.as_deref(), &one.name));
    let relations = named.into_iter().flatten().take(MOST_RELATIONS);
    let columns = relations.flat_map(move |one| {
        let there = move |at: &usize| place.is_none_or(|place| place as usize == *at);
        let columns = (0..).zip(&one.columns).filter(move |(at, _)| there(at));
        columns.map(move |(_, column)| (one, column))
    });
    columns.map(|(one, column)| Touched {
        table: format!("{}.{}", one.schema, one.name).into(),
        column: Some(column.name.clone()),
        class: column.class.map(|(class, _)| class.as_str().into()),
        uses: Vec::new(),
    })
}

/// The class that the catalog gives to a column beside a value, whichever table of the
/// text it may be of.
pub(super) fn class_beside(facts: &Facts, catalog: &Catalog, beside: &Beside<'_>) -> Option<Class> {
    let named = match beside.column {
        Which::Named(name) => Some(folded(name)),
        Which::Nth(_) => None,
    };
    let in_table = |schema: Option<&str>, table: &str| {
        let mut known = false;
        for relation in catalog.named(schema, table) {
            known = true;
            let column = match (beside.column, &named) {
                (Which::Nth(place), _) => relation.columns.get(place),
                (_, Some(name)) => relation.columns.iter().find(|one| *one.name == **name),
                _ => None,
            };
            if let Some((class, _)) = column.and_then(|column| column.class) {
                return Some(class);
            }
        }
        match &named {
            _ if known => None,
            Some(name) => {
                let said = catalog.said(schema, table, name);
                said.or_else(|| catalog.made_of(schema, table, name))
            }
            None => catalog.is_made(schema, table).then_some(Class::Opaque),
        }
    };
    if let Some((schema, table)) = beside.table {
        return in_table(schema.map(folded).as_deref(), &folded(table));
    }
    let mut tables = facts.statements.iter().flat_map(|one| &one.objects).filter(is_table);
    tables.find_map(|one| in_table(one.schema.as_deref(), &one.name))
}

/// A name of the text as the server reads it.
fn folded(name: &str) -> Cow<'_, str> {
    let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let name: Cow<'_, str> = match inner {
        Some(inner) if inner.contains("\"\"") => inner.replace("\"\"", "\"").into(),
        Some(inner) => inner.into(),
        None if name.bytes().any(|sign| sign.is_ascii_uppercase()) => {
            name.to_ascii_lowercase().into()
        }
        None => name.into(),
    };
    match name.len() {
        0..=LONGEST_NAME => name,
        _ => super::redact::cut(&name, LONGEST_NAME).to_owned().into(),
    }
}

/// Any number of columns, where nobody knows which.
pub(super) const STAR: &str = "*";
pub(super) const MOST_TOUCHED: usize = 512;
const MOST_RELATIONS: usize = 16;
/// The server cuts names to it.
const LONGEST_NAME: usize = 63;

#[cfg(test)]
mod tests;
