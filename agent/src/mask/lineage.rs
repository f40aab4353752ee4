//! From what each output column of a statement is made, and of which classes
//! that is: the facts of the text, held against the catalog.
//!
//! INVARIANTS
//! - A function that isn't known passes on what goes into it.
//! - What may be several columns is all of them.
//! - What touches something sensitive in a way that can't be followed is
//!   [`Class::Opaque`].

use std::sync::Arc;

use super::catalog::{Catalog, Relation};
use super::class::Class;
use super::names::{self, Named};
use crate::sql::facts::{self, CallClass, Note, Origin, Output, Statement};
use crate::sql::{ColumnUse, Effect, Path, Step};

#[cfg(test)]
pub(super) mod tests;

/// A sensitive column that an output is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceClass {
    pub class: Class,
    /// Nothing where only a name speaks for it.
    pub relation: Option<u32>,
    pub number: u16,
}

/// One output column of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Traced {
    /// The sensitive ones only.
    pub sources: Vec<SourceClass>,
    /// Something was done to the value: what is shown is another.
    pub derived: bool,
    /// All that it is made of is known.
    pub certain: bool,
    /// Whole rows of these tables are in it.
    pub rows_of: Vec<u32>,
    /// And nothing else.
    pub whole_rows_only: bool,
    /// What is sensitive in it stands under keys of documents that the statement's own
    /// text names: these, with what is under each.
    pub keys: Option<Vec<(Box<str>, SourceClass)>>,
    /// It is the value of columns of which an operator has said that nothing
    /// sensitive is in them, and of nothing else.
    pub exempt: bool,
    /// The one column that it is, unchanged.
    pub origin: Option<(u32, u16)>,
}

/// From what the answer to a statement is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origins {
    /// By output, where that could be followed.
    pub traced: Option<Vec<Traced>>,
    /// Any output, where it could not.
    pub untold: Traced,
}

impl Origins {
    pub fn of(statement: &Statement, catalog: &Catalog) -> Self {
        let mut origins =
            Self { traced: trace(statement, catalog), untold: untold(statement, catalog) };
        if calls_out(statement, catalog) {
            origins.untold = opaque();
            // Which of them is made by the call isn't known.
            for traced in origins.traced.iter_mut().flatten() {
                if traced.origin.is_none() {
                    *traced = opaque();
                }
            }
        }
        origins
    }

    /// Of a statement that nobody has read.
    pub fn dark() -> Self {
        Self { traced: None, untold: opaque() }
    }
}

fn opaque() -> Traced {
    let source = SourceClass { class: Class::Opaque, relation: None, number: 0 };
    Traced { sources: vec![source], derived: true, ..Traced::default() }
}

/// The outputs of a statement, in order. Nothing where their number can't be
/// told, or where they aren't known.
pub fn trace(statement: &Statement, catalog: &Catalog) -> Option<Vec<Traced>> {
    let outputs = statement.returns.as_ref()?;
    if !statement.doubts.is_empty() {
        return None;
    }
    let mut all = Vec::with_capacity(outputs.len());
    for output in outputs {
        if output.star {
            expand(statement, catalog, output, &mut all)?;
        } else {
            all.push(one(statement, catalog, output));
        }
    }
    Some(all)
}

/// What a statement gives in a column that can't be followed: where it reads what
/// is sensitive, or isn't understood, that. A function of somebody's own passes
/// on what goes into it, and no more.
pub fn untold(statement: &Statement, catalog: &Catalog) -> Traced {
    if !statement.doubts.is_empty() || reads_sensitive(statement, catalog) {
        return opaque();
    }
    Traced { derived: true, ..Traced::default() }
}

/// Whether what a statement makes the server say may hold something sensitive:
/// it reads such, isn't understood, or runs somebody's code.
pub fn touches(statement: &Statement, catalog: &Catalog) -> bool {
    statement.effects.contains(Effect::Unknown)
        || statement.effects.contains(Effect::Execute)
        || statement.calls.iter().any(|call| call.class == CallClass::RunsText)
        || calls_out(statement, catalog)
        || reads_sensitive(statement, catalog)
}

fn reads_sensitive(statement: &Statement, catalog: &Catalog) -> bool {
    let read = [ColumnUse::Read, ColumnUse::Returned, ColumnUse::Filtered];
    statement.columns.iter().enumerate().any(|(place, column)| {
        read.iter().any(|used| column.uses.contains(*used))
            && !classes(statement, catalog, place).0.is_empty()
    })
}

/// Whether a statement calls code that may give what is sensitive, whatever goes
/// into it.
pub fn calls_out(statement: &Statement, catalog: &Catalog) -> bool {
    statement.calls.iter().any(|call| {
        let foreign = call.origin == Origin::Foreign;
        catalog.tells(call.schema.as_deref(), &call.name, foreign)
    }) || catalog.casts_tell() && statement.notes.contains(&Note::ForeignType)
        // `t.f` calls `f(t)` where `t` has no such column.
        || statement.columns.iter().any(|column| {
            column.qualified
                && column.name.as_deref().is_some_and(|name| catalog.tells(None, name, false))
                && !relations_of(statement, catalog, column.relation)
                    .any(|one| one.columns.iter().any(|known| Some(&*known.name) == column.name.as_deref()))
        })
}

/// The columns of `t.*`.
fn expand(
    statement: &Statement,
    catalog: &Catalog,
    output: &Output,
    all: &mut Vec<Traced>,
) -> Option<()> {
    let [source] = output.sources.as_slice() else { return None };
    let column = statement.columns.get(source.column as usize)?;
    if column.name.is_some() || !source.path.is_empty() {
        return None;
    }
    let relation = relation_of(statement, catalog, column.relation)?;
    for column in &relation.columns {
        let sources = column.class.map(|(class, _)| SourceClass {
            class,
            relation: Some(relation.oid),
            number: column.number,
        });
        all.push(Traced {
            sources: sources.into_iter().collect(),
            certain: true,
            exempt: catalog.is_exempt(relation.oid, column.number),
            origin: Some((relation.oid, column.number)),
            ..Traced::default()
        });
    }
    Some(())
}

/// Each table that an object of the text may be.
fn relations_of<'c>(
    statement: &'c Statement,
    catalog: &'c Catalog,
    object: u32,
) -> impl Iterator<Item = &'c Arc<Relation>> {
    let object = statement.objects.get(object as usize);
    object.into_iter().flat_map(|object| {
        let schema = if object.temporary { Some("pg_temp") } else { object.schema.as_deref() };
        catalog.named(schema, &object.name)
    })
}

/// The only one that it can be.
fn relation_of<'c>(
    statement: &'c Statement,
    catalog: &'c Catalog,
    object: u32,
) -> Option<&'c Arc<Relation>> {
    let mut all = relations_of(statement, catalog, object);
    all.next().filter(|_| all.next().is_none())
}

fn one(statement: &Statement, catalog: &Catalog, output: &Output) -> Traced {
    let mut traced = Traced { certain: true, whole_rows_only: true, ..Traced::default() };
    let same = same_value(statement, catalog);
    let mut keys = writes_keys(statement, catalog).then(Vec::new);
    for source in &output.sources {
        let (sources, certain) = classes(statement, catalog, source.column as usize);
        traced.certain &= certain;
        if is_count(statement, catalog, source.path)
            || is_alias(statement, catalog, output, source.column)
        {
            continue;
        }
        keys = keys.and_then(|keys| with_keys(keys, statement, source, &sources));
        for class in sources {
            if !traced.sources.contains(&class) {
                traced.sources.push(class);
            }
        }
        traced.derived |= !source.path.within(if same {
            same_paths().with(Step::Function)
        } else {
            same_paths()
        });
        let column = statement.columns.get(source.column as usize);
        let row = column
            .filter(|column| column.name.is_none() && !source.path.contains(Step::Unknown))
            .and_then(|column| relation_of(statement, catalog, column.relation));
        match row {
            Some(relation) if source.path.contains(Step::WholeRow) || source.path.is_empty() => {
                if !traced.rows_of.contains(&relation.oid) {
                    traced.rows_of.push(relation.oid);
                }
                // What picks a part out of a document leaves its keys behind.
                let kept = kept_whole().with(Step::WholeRow).with(Step::Function);
                traced.whole_rows_only &=
                    makes_documents(statement, catalog) && source.path.within(kept);
            }
            _ => traced.whole_rows_only = false,
        }
    }
    if traced.rows_of.is_empty() {
        traced.whole_rows_only = false;
        traced.keys = keys.filter(|keys| !keys.is_empty());
    }
    let exempt = |source: &facts::Source| is_exempt(statement, catalog, source.column);
    traced.exempt = traced.certain
        && !traced.derived
        && !output.sources.is_empty()
        && output.sources.iter().all(exempt);
    if let [source] = output.sources.as_slice()
        && source.path.is_empty()
        && let Some(column) = statement.columns.get(source.column as usize)
        && let Some(name) = column.name.as_deref()
        && let Some(relation) = relation_of(statement, catalog, column.relation)
    {
        traced.origin = relation
            .columns
            .iter()
            .find(|one| *one.name == *name)
            .map(|one| (relation.oid, one.number));
    }
    traced
}

/// Whether an operator has exempted each column that one of the text may be.
fn is_exempt(statement: &Statement, catalog: &Catalog, place: u32) -> bool {
    let Some(column) = statement.columns.get(place as usize) else { return false };
    let Some(name) = column.name.as_deref() else { return false };
    let mut all = relations_of(statement, catalog, column.relation).peekable();
    let exempt = |relation: &Arc<Relation>| {
        let known = relation.columns.iter().find(|one| *one.name == *name);
        known.is_some_and(|known| catalog.is_exempt(relation.oid, known.number))
    };
    all.peek().is_some() && all.all(exempt)
}

/// A name that might have been this table's column, and is its alias: the whole
/// row is in the output too.
fn is_alias(statement: &Statement, catalog: &Catalog, output: &Output, place: u32) -> bool {
    let Some(column) = statement.columns.get(place as usize) else { return false };
    let Some(name) = column.name.as_deref() else { return false };
    let has_row = output.sources.iter().any(|source| {
        source.path.contains(Step::WholeRow)
            && statement
                .columns
                .get(source.column as usize)
                .is_some_and(|row| row.relation == column.relation && row.name.is_none())
    });
    has_row
        && relation_of(statement, catalog, column.relation)
            .is_some_and(|relation| !relation.columns.iter().any(|one| *one.name == *name))
}

/// What is done leaves a value as it was, or picks one of several.
pub(super) fn same_paths() -> Path {
    Path::of(Step::Cast)
        .with(Step::Conditional)
        .with(Step::SetOperation)
        .with(Step::Subquery)
        .with(Step::Composite)
        .with(Step::Part)
}

/// What is done leaves a document's keys where they were.
fn kept_whole() -> Path {
    Path::of(Step::Conditional).with(Step::SetOperation).with(Step::Subquery).with(Step::Aggregate)
}

/// Only functions are called that change how a value looks, not what it is.
pub(super) fn same_value(statement: &Statement, catalog: &Catalog) -> bool {
    statement.calls.iter().all(|call| {
        call.origin != Origin::Foreign
            && !catalog.knows_function(&call.name)
            && matches!(
                &*call.name,
                "lower"
                    | "upper"
                    | "initcap"
                    | "coalesce"
                    | "nullif"
                    | "min"
                    | "max"
                    | "count"
                    | "now"
                    | "array_agg"
                    | "unnest"
                    | "first_value"
                    | "last_value"
                    | "lag"
                    | "lead"
                    | "any_value"
            )
    })
}

/// Rows become documents whose keys are the columns' names.
fn makes_documents(statement: &Statement, catalog: &Catalog) -> bool {
    !statement.notes.contains(&Note::ForeignType)
        && statement.calls.iter().all(|call| {
            call.origin != Origin::Foreign
                && !catalog.knows_function(&call.name)
                && matches!(
                    &*call.name,
                    "row_to_json"
                        | "to_json"
                        | "to_jsonb"
                        | "json_agg"
                        | "jsonb_agg"
                        | "count"
                        | "now"
                        | "array_agg"
                        | "json_strip_nulls"
                        | "jsonb_strip_nulls"
                        | "jsonb_pretty"
                        | "array_to_json"
                        | "coalesce"
                )
        })
}

/// Whether all that becomes a key is told: of the aggregates that make documents, only
/// those that make lists of them are called, and nobody has a function of that name.
fn writes_keys(statement: &Statement, catalog: &Catalog) -> bool {
    !statement.keys.is_empty()
        && !statement.notes.contains(&Note::ForeignType)
        && statement.calls.iter().all(|call| {
            call.origin != Origin::Foreign
                && !catalog.has_function(&call.name)
                && (matches!(&*call.name, "json_agg" | "jsonb_agg" | "count")
                    || crate::sql::builtin::function(&call.name).is_some_and(|function| {
                        function.kind != crate::sql::builtin::FunctionKind::Aggregate
                    }))
        })
}

/// What is sensitive in a source, by the keys under which it stands as it was; nothing
/// where it may be elsewhere too.
fn with_keys(
    mut keys: Vec<(Box<str>, SourceClass)>,
    statement: &Statement,
    source: &facts::Source,
    sensitive: &[SourceClass],
) -> Option<Vec<(Box<str>, SourceClass)>> {
    if sensitive.is_empty() {
        return Some(keys);
    }
    let kept = kept_whole().with(Step::Document).with(Step::Cast);
    let of = || statement.keys.iter().filter(|key| key.column == source.column);
    if !source.path.contains(Step::Document) || !source.path.within(kept) || of().next().is_none() {
        return None;
    }
    keys.extend(of().flat_map(|key| sensitive.iter().map(|one| (key.name.clone(), *one))));
    Some(keys)
}

/// How many there are tells nothing of any. Only where no other aggregate could
/// be meant.
pub(super) fn is_count(statement: &Statement, catalog: &Catalog, path: Path) -> bool {
    path.contains(Step::Aggregate)
        && !catalog.knows_function("count")
        && path.within(
            Path::of(Step::Aggregate)
                .with(Step::WholeRow)
                .with(Step::SetOperation)
                .with(Step::Subquery),
        )
        && statement.calls.iter().any(|call| &*call.name == "count")
        && statement.calls.iter().all(|call| {
            call.origin != Origin::Foreign
                && (&*call.name == "count"
                    || crate::sql::builtin::function(&call.name).is_some_and(|function| {
                        function.kind != crate::sql::builtin::FunctionKind::Aggregate
                    }))
        })
}

/// The sensitive columns that a column of the facts may be, and whether all that
/// it may be is known.
pub fn classes(statement: &Statement, catalog: &Catalog, place: usize) -> (Vec<SourceClass>, bool) {
    let Some(column) = statement.columns.get(place) else { return (Vec::new(), false) };
    let mut found: Vec<SourceClass> = Vec::new();
    let mut certain = true;
    let mut any = false;
    for relation in relations_of(statement, catalog, column.relation) {
        any = true;
        let (classes, sure) = classes_in(statement, relation, column, catalog);
        certain &= sure;
        for class in classes {
            if !found.contains(&class) {
                found.push(class);
            }
        }
    }
    if any {
        return (found, certain);
    }
    // Only its name speaks, and what was put into it.
    let object = statement.objects.get(column.relation as usize);
    let table = object.map_or("", |object| &*object.name);
    let schema = object.and_then(|object| object.schema.as_deref());
    let class = match column.name.as_deref() {
        Some(name) => {
            let named = Named { table, column: name, ..Named::default() };
            let said = catalog.said(schema, table, name);
            let filled = said.or_else(|| catalog.made_of(schema, table, name));
            filled.or_else(|| names::classify(&named).map(|(class, _)| class))
        }
        None => catalog.is_made(schema, table).then_some(Class::Opaque),
    };
    let source = class.map(|class| SourceClass { class, relation: None, number: 0 });
    (source.into_iter().collect(), false)
}

fn classes_in(
    statement: &Statement,
    relation: &Relation,
    column: &facts::Column,
    catalog: &Catalog,
) -> (Vec<SourceClass>, bool) {
    let of = |one: &super::catalog::Column| {
        one.class.map(|(class, _)| SourceClass {
            class,
            relation: Some(relation.oid),
            number: one.number,
        })
    };
    let Some(name) = column.name.as_deref() else {
        return (relation.columns.iter().filter_map(of).collect(), true);
    };
    match relation.columns.iter().find(|one| *one.name == *name) {
        Some(found) => (of(found).into_iter().collect(), true),
        // `t.f` is `f(t)` where `t` has no such column.
        None if column.qualified
            && !SYSTEM.contains(&name)
            && (column.certain || is_function(statement, catalog, name)) =>
        {
            let sensitive = relation.columns.iter().any(|one| one.class.is_some());
            let source = SourceClass { class: Class::Opaque, relation: None, number: 0 };
            (sensitive.then_some(source).into_iter().collect(), false)
        }
        // Newer than the catalog, or another table's.
        None => {
            let named = Named { table: &relation.name, column: name, ..Named::default() };
            let by_name = || names::classify(&named).map(|(class, _)| class);
            let said = catalog.said(Some(&relation.schema), &relation.name, name);
            let class = said.or_else(by_name).filter(|_| column.certain);
            let source = class.map(|class| SourceClass { class, relation: None, number: 0 });
            (source.into_iter().collect(), !column.certain)
        }
    }
}

/// Whether a name that may be one of several tables' column is none, and a function's.
fn is_function(statement: &Statement, catalog: &Catalog, name: &str) -> bool {
    let named = |column: &&facts::Column| column.name.as_deref() == Some(name);
    let has = |relation: &Arc<Relation>| relation.columns.iter().any(|one| *one.name == *name);
    (catalog.knows_function(name) || crate::sql::builtin::function(name).is_some())
        && !statement
            .columns
            .iter()
            .filter(named)
            .any(|column| relations_of(statement, catalog, column.relation).any(has))
}

/// Columns that every table has.
const SYSTEM: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
