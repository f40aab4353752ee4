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
use crate::sql::facts::{self, CallClass, Object, ObjectKind, Origin, Output, Statement, Verb};
use crate::sql::{ColumnUse, Effect, Path, Step};

#[cfg(test)]
mod tests;

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
        Self { traced: trace(statement, catalog), untold: untold(statement, catalog) }
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
        || reads_sensitive(statement, catalog)
}

fn reads_sensitive(statement: &Statement, catalog: &Catalog) -> bool {
    let read = [ColumnUse::Read, ColumnUse::Returned, ColumnUse::Filtered];
    statement.columns.iter().enumerate().any(|(place, column)| {
        read.iter().any(|used| column.uses.contains(*used))
            && !classes(statement, catalog, place).0.is_empty()
    })
}

/// What a statement fills another table with: its name, and the classes of what
/// goes in. For CREATE TABLE AS, SELECT INTO, CREATE VIEW and INSERT … SELECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub schema: Option<Box<str>>,
    pub relation: Box<str>,
    /// By the name that the column has there.
    pub named: Vec<(Box<str>, Class)>,
    /// For every other column that could hold it.
    pub others: Option<Class>,
}

pub fn carried(statement: &Statement, catalog: &Catalog) -> Option<Carried> {
    let fills = matches!(
        statement.verb,
        Verb::CreateTableAs
            | Verb::SelectInto
            | Verb::Insert
            | Verb::Create
            | Verb::Refresh
            | Verb::Merge
            | Verb::Update
    );
    let target = statement.objects.iter().find(|object| {
        use crate::sql::Use;
        (object.uses.contains(Use::Written) || object.uses.contains(Use::Defined))
            && is_relation(object)
    })?;
    if !fills {
        return None;
    }
    let mut named: Vec<(Box<str>, Class)> = Vec::new();
    let mut others: Option<Class> = None;
    for (place, column) in statement.columns.iter().enumerate() {
        let (sources, _) = classes(statement, catalog, place);
        for source in sources {
            let name = source
                .relation
                .and_then(|relation| catalog.name_of(relation, source.number))
                .map(|name| name.column)
                .or(column.name.as_deref());
            if let Some(name) = name
                && !named.iter().any(|(known, _)| **known == *name)
            {
                named.push((name.into(), source.class));
            }
            others = match others {
                None => Some(source.class),
                Some(class) if class == source.class => Some(class),
                Some(_) => Some(Class::Opaque),
            };
        }
    }
    // Under other names it may be anywhere: only a plain copy keeps them.
    let plain = statement.calls.is_empty() && statement.returns.is_none();
    (!named.is_empty()).then(|| Carried {
        schema: target.schema.clone(),
        relation: target.name.clone(),
        named,
        others: others.filter(|_| !plain || statement.verb != Verb::Insert),
    })
}

fn is_relation(object: &Object) -> bool {
    matches!(object.kind, ObjectKind::Relation | ObjectKind::View | ObjectKind::MaterializedView)
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
    let same = same_value(statement);
    for source in &output.sources {
        let (sources, certain) = classes(statement, catalog, source.column as usize);
        traced.certain &= certain;
        if is_count(statement, source.path) || is_alias(statement, catalog, output, source.column) {
            continue;
        }
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
                traced.whole_rows_only &= makes_documents(statement);
            }
            _ => traced.whole_rows_only = false,
        }
    }
    if traced.rows_of.is_empty() {
        traced.whole_rows_only = false;
    }
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
fn same_paths() -> Path {
    Path::of(Step::Cast)
        .with(Step::Conditional)
        .with(Step::SetOperation)
        .with(Step::Subquery)
        .with(Step::Composite)
}

/// Only functions are called that change how a value looks, not what it is.
fn same_value(statement: &Statement) -> bool {
    statement.calls.iter().all(|call| {
        call.origin != Origin::Foreign
            && matches!(
                &*call.name,
                "lower"
                    | "upper"
                    | "initcap"
                    | "btrim"
                    | "ltrim"
                    | "rtrim"
                    | "trim"
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
fn makes_documents(statement: &Statement) -> bool {
    statement.calls.iter().all(|call| {
        call.origin != Origin::Foreign
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

/// How many there are tells nothing of any. Only where no other aggregate could
/// be meant.
fn is_count(statement: &Statement, path: Path) -> bool {
    path.contains(Step::Aggregate)
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
fn classes(statement: &Statement, catalog: &Catalog, place: usize) -> (Vec<SourceClass>, bool) {
    let Some(column) = statement.columns.get(place) else { return (Vec::new(), false) };
    let mut found: Vec<SourceClass> = Vec::new();
    let mut certain = true;
    let mut any = false;
    for relation in relations_of(statement, catalog, column.relation) {
        any = true;
        let (classes, sure) = classes_in(relation, column);
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
    let class = column.name.as_deref().and_then(|name| {
        let named = Named { table, column: name, ..Named::default() };
        catalog.made_of(schema, table, name).or(names::classify(&named).map(|(class, _)| class))
    });
    let source = class.map(|class| SourceClass { class, relation: None, number: 0 });
    (source.into_iter().collect(), false)
}

fn classes_in(relation: &Relation, column: &facts::Column) -> (Vec<SourceClass>, bool) {
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
        // Newer than the catalog, or another table's.
        None => {
            let named = Named { table: &relation.name, column: name, ..Named::default() };
            let class = names::classify(&named).filter(|_| column.certain);
            let source = class.map(|(class, _)| SourceClass { class, relation: None, number: 0 });
            (source.into_iter().collect(), !column.certain)
        }
    }
}
