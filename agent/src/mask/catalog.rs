//! What is known of a database: its tables, columns, types and views.
//!
//! Whoever has a connection feeds it ([`learn`](super::learn) has the questions);
//! here it is only kept and asked. What isn't in it counts as unclassified.
//!
//! INVARIANT: nothing that the server says lowers a class that policy or an
//! earlier sight of the same column has given.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::content::Demand;
use super::names::{self, Evidence, Named};
use super::postgres::form::{Field, Form};
use super::postgres::plan::{ColumnName, Reveal, Treatment};
use super::style::Mask;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    relations: HashMap<u32, Relation>,
    types: HashMap<u32, Type>,
    /// By schema and name.
    #[serde(skip)]
    by_name: HashMap<(Box<str>, Box<str>), u32>,
    /// In the order of the session's search path.
    pub search_path: Vec<Box<str>>,
    /// Changes with every change of a class, a table or a type.
    #[serde(skip)]
    generation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    /// As in `pg_class.relkind`.
    pub kind: char,
    /// By attribute number, without those that were dropped.
    pub columns: Vec<Column>,
    /// The text of a view.
    pub definition: Option<Box<str>>,
    /// Partitions' and children's parents.
    pub parents: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub number: u16,
    pub name: Box<str>,
    pub type_oid: u32,
    pub modifier: i32,
    pub comment: Option<Box<str>>,
    pub class: Option<(Class, Evidence)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Type {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    pub sort: TypeSort,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeSort {
    Base,
    Array {
        of: u32,
    },
    Domain {
        of: u32,
        modifier: i32,
    },
    Enum,
    Range,
    Multirange,
    /// The relation that has its fields.
    Composite {
        relation: u32,
    },
}

/// Types within types go no deeper.
const DEEPEST: u32 = 16;

impl Catalog {
    /// Takes a table in, and finds its columns' classes.
    pub fn learn(&mut self, mut relation: Relation) {
        for column in &mut relation.columns {
            let form =
                self.form(column.type_oid, column.modifier, &super::postgres::plan::Unrevealed);
            let type_name = self.types.get(&column.type_oid).map_or("", |one| &one.name);
            let named = Named {
                table: &relation.name,
                column: &column.name,
                type_name,
                comment: column.comment.as_deref().unwrap_or_default(),
                kind: form.kind(),
            };
            let known = self
                .relations
                .get(&relation.oid)
                .and_then(|old| old.columns.iter().find(|old| old.number == column.number))
                .filter(|old| old.name == column.name)
                .and_then(|old| old.class);
            column.class = known.or(column.class).or_else(|| names::classify(&named));
        }
        // A part of a table has what the whole has.
        for parent in relation.parents.clone() {
            let Some(parent) = self.relations.get(&parent) else { continue };
            for column in &mut relation.columns {
                let of_parent = parent.columns.iter().find(|one| one.name == column.name);
                column.class = column.class.or(of_parent.and_then(|one| one.class));
            }
        }
        self.generation += 1;
        self.by_name.insert((relation.schema.clone(), relation.name.clone()), relation.oid);
        self.relations.insert(relation.oid, relation);
    }

    pub fn learn_type(&mut self, one: Type) {
        if self.types.get(&one.oid) != Some(&one) {
            self.generation += 1;
            self.types.insert(one.oid, one);
        }
    }

    /// Gives a column a class. Never takes one away: that is `keep`'s, by policy.
    pub fn classify(&mut self, relation: u32, number: u16, class: Class, evidence: Evidence) {
        let column = self
            .relations
            .get_mut(&relation)
            .and_then(|one| one.columns.iter_mut().find(|column| column.number == number));
        if let Some(column) = column
            && (column.class.is_none() || evidence == Evidence::Policy)
            && column.class != Some((class, evidence))
        {
            column.class = Some((class, evidence));
            self.generation += 1;
        }
    }

    /// A table is gone or changed: it is learnt anew.
    pub fn forget(&mut self, relation: u32) {
        if let Some(gone) = self.relations.remove(&relation) {
            self.by_name.remove(&(gone.schema, gone.name));
            self.generation += 1;
        }
    }

    /// After it was read from where it was kept.
    pub fn index(&mut self) {
        self.by_name = self
            .relations
            .values()
            .map(|one| ((one.schema.clone(), one.name.clone()), one.oid))
            .collect();
        self.generation += 1;
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    pub fn column(&self, relation: u32, number: u16) -> Option<&Column> {
        self.relation(relation)?.columns.iter().find(|column| column.number == number)
    }

    pub fn name_of(&self, relation: u32, number: u16) -> Option<ColumnName<'_>> {
        let relation = self.relation(relation)?;
        let column = relation.columns.iter().find(|column| column.number == number)?;
        Some(ColumnName { schema: &relation.schema, table: &relation.name, column: &column.name })
    }

    /// What a name means; without a schema, on the search path.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Relation> {
        let in_schema = |schema: &str| {
            self.by_name.get(&(schema.into(), name.into())).and_then(|oid| self.relation(*oid))
        };
        match schema {
            Some(schema) => in_schema(schema),
            None => ["pg_temp", "pg_catalog"]
                .into_iter()
                .chain(self.search_path.iter().map(|schema| &**schema))
                .find_map(in_schema),
        }
    }

    /// How values of a type are written.
    pub fn form(&self, oid: u32, modifier: i32, reveal: &dyn Reveal) -> Form {
        self.form_within(oid, modifier, reveal, 0)
    }

    fn form_within(&self, oid: u32, modifier: i32, reveal: &dyn Reveal, depth: u32) -> Form {
        if let Some(form) = Form::of_base(oid, modifier) {
            return form;
        }
        let Some(known) = self.types.get(&oid).filter(|_| depth < DEEPEST) else {
            return Form::Unknown;
        };
        let inner = |oid, modifier| self.form_within(oid, modifier, reveal, depth + 1);
        match (&known.sort, &*known.name) {
            (TypeSort::Base, "citext") => Form::Text { most: None, padded: false },
            (TypeSort::Base, "hstore") => Form::Hstore,
            (TypeSort::Base, "ltree") => Form::Unknown,
            (TypeSort::Base, _) => Form::Unknown,
            (TypeSort::Array { of }, _) => Form::array(inner(*of, modifier), *of),
            (TypeSort::Domain { of, modifier }, _) => inner(*of, *modifier),
            (TypeSort::Enum, _) => Form::Enum,
            (TypeSort::Range, _) => Form::Range,
            (TypeSort::Multirange, _) => Form::Multirange,
            (TypeSort::Composite { relation }, _) => match self.relation(*relation) {
                Some(relation) => Form::Composite(self.fields(relation, reveal, depth)),
                None => Form::Record,
            },
        }
    }

    fn fields(&self, relation: &Relation, reveal: &dyn Reveal, depth: u32) -> Arc<[Field]> {
        relation
            .columns
            .iter()
            .map(|column| {
                let form = self.form_within(column.type_oid, column.modifier, reveal, depth + 1);
                let mask = column.class.map(|(class, _)| {
                    (class, reveal.mask(class, self.name_of(relation.oid, column.number)))
                });
                let treatment = match mask {
                    Some((_, Mask::Keep)) => Treatment::Pass,
                    Some((class, mask)) => Treatment::Mask { class, mask, derived: false },
                    None if !form.can_be_scanned() => Treatment::Pass,
                    None if names::innocent(&column.name) => Treatment::Scan(Demand::Form),
                    None => Treatment::Scan(Demand::Check),
                };
                Field { form, treatment }
            })
            .collect()
    }
}
