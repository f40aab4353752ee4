//! What tables were filled with: by what statements that passed put into them, not by
//! what the server says.
//!
//! INVARIANT: a table may not be known yet, or not any more; what it was filled with
//! holds for each of its name.

use std::sync::Arc;

use super::{Catalog, Column, Relation, can_hold_text};
use crate::mask::class::Class;
use crate::mask::filling::Carried;
use crate::mask::names::{Evidence, Kind};
use crate::mask::postgres::plan::Unrevealed;

/// In which ways a table was filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The how manyeth name it is.
    number: u64,
    ways: Vec<Arc<Carried>>,
}

impl Catalog {
    /// Whether it is known that a table was filled like that.
    pub fn knows(&self, carried: &Carried) -> bool {
        let known = self.made.get(&carried.relation);
        // A table that is filled in so many ways may hold it anywhere.
        known.is_some_and(|made| {
            made.ways.len() > MOST_WAYS || made.ways.iter().any(|one| **one == *carried)
        })
    }

    /// A statement fills a table with what is sensitive. What of it is known now, if it
    /// wasn't before.
    pub fn carry(&mut self, mut carried: Carried) -> Option<Arc<Carried>> {
        if self.knows(&carried) {
            return None;
        }
        self.make_room();
        let number = self.made_ever;
        let known = self.made.entry(carried.relation.clone()).or_insert_with(|| {
            self.made_ever += 1;
            Made { number, ways: Vec::new() }
        });
        if known.ways.len() >= MOST_WAYS {
            // Of any schema, and whatever a column can hold.
            carried = Carried {
                schema: None,
                others: Some(Class::Opaque),
                guessed: false,
                passing: false,
                ..carried
            };
        }
        let carried = Arc::new(carried);
        known.ways.push(Arc::clone(&carried));
        self.generation += 1;
        let found: Vec<Arc<Relation>> =
            self.named(carried.schema.as_deref(), &carried.relation).cloned().collect();
        for relation in found {
            for column in &relation.columns {
                let (schema, name) = (&*relation.schema, &*relation.name);
                if column.class.is_some() {
                    if self.holds_others((schema, name), column) {
                        self.worsen(relation.oid, column.number);
                    }
                    continue;
                }
                let texts =
                    can_hold_text(&self.form(column.type_oid, column.modifier, &Unrevealed));
                let class = self.filled_with(Some(schema), name, &column.name, texts);
                if let Some(class) = class {
                    self.classify(relation.oid, column.number, class, Evidence::Lineage);
                }
            }
            self.follow(relation.oid);
        }
        self.share();
        Some(carried)
    }

    /// Names that no table has (any more) are forgotten, the oldest first: a program
    /// that makes a table a minute mustn't fill the memory.
    fn make_room(&mut self) {
        if self.made.len() < MOST_MADE {
            return;
        }
        let nameless = |name: &str| self.by_name.get(name).is_none_or(Vec::is_empty);
        let mut numbers: Vec<u64> = self
            .made
            .iter()
            .filter(|(name, _)| nameless(name))
            .map(|(_, made)| made.number)
            .collect();
        numbers.sort_unstable();
        if let Some(last) = numbers.get(numbers.len() / 2).copied() {
            let by_name = &self.by_name;
            let nameless = |name: &str| by_name.get(name).is_none_or(Vec::is_empty);
            self.made.retain(|name, made| made.number > last || !nameless(name));
        }
    }

    /// What is under another name now has its class under that one too, for whoever
    /// learns the table under this name first.
    pub(super) fn note_names(&mut self, relation: &Relation) {
        let Some(before) = self.relations.get(&relation.oid) else { return };
        // Views are told by their definitions.
        if relation.definition.is_some() || relation.schema.starts_with("pg_temp") {
            return;
        }
        let moved = (&before.schema, &before.name) != (&relation.schema, &relation.name);
        let named: Vec<(Box<str>, Class)> = relation
            .columns
            .iter()
            .filter(|column| {
                let renamed = |one: &Column| moved || one.name != column.name;
                let before = before.columns.iter().find(|one| one.number == column.number);
                before.is_some_and(renamed)
            })
            .filter_map(|column| Some((column, column.class?.0)))
            .filter(|(column, class)| {
                let by_name = self.told_by_name(&relation.name, column);
                by_name.is_none_or(|(one, _)| one != *class)
            })
            .map(|(column, class)| (column.name.clone(), class))
            .collect();
        if named.is_empty() {
            return;
        }
        let carried = Carried {
            schema: Some(relation.schema.clone()),
            relation: relation.name.clone(),
            named,
            others: None,
            guessed: false,
            passing: false,
        };
        if !self.knows(&carried) {
            self.renamed.push(carried);
        }
    }

    /// What was called otherwise since this was asked.
    pub fn take_renamed(&mut self) -> Vec<Carried> {
        std::mem::take(&mut self.renamed)
    }

    /// The names of tables that were filled and are there.
    pub fn made_and_there(&self) -> impl Iterator<Item = &str> {
        let there =
            |name: &str| self.named(None, name).any(|one| !one.schema.starts_with("pg_temp"));
        self.made.keys().map(|name| &**name).filter(move |name| there(name))
    }

    /// Whether something sensitive was put into a table.
    pub fn is_made(&self, schema: Option<&str>, relation: &str) -> bool {
        self.ways(relation).iter().any(|one| match (schema, one.schema.as_deref()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        })
    }

    fn ways(&self, relation: &str) -> &[Arc<Carried>] {
        self.made.get(relation).map_or(&[], |made| &made.ways)
    }

    /// The class of what a table's column was filled with.
    pub fn made_of(&self, schema: Option<&str>, relation: &str, column: &str) -> Option<Class> {
        self.filled_with(schema, relation, column, true)
    }

    /// Whether something else was made into a column than what it is known for: then
    /// nothing of it may stay, nor a document's keys.
    pub(super) fn holds_others(&self, (schema, table): (&str, &str), column: &Column) -> bool {
        let Some((class, _)) = column.class else { return false };
        self.shows_parts(column)
            && self.ways(table).iter().any(|one| {
                let here = one.schema.as_deref().is_none_or(|own| own == schema);
                let mut named = one.named.iter();
                here && !one.guessed
                    && named.any(|(name, other)| *name == column.name && *other != class)
            })
    }

    /// A date cut to its year, an address to its network are that of whatever they were.
    pub(super) fn shows_parts(&self, column: &Column) -> bool {
        let kind = self.form(column.type_oid, column.modifier, &Unrevealed).kind();
        matches!(kind, Kind::Text | Kind::Json | Kind::Bytes | Kind::Integer | Kind::Decimal)
    }

    /// The classes of all that a table was filled with.
    pub fn all_made_of<'c>(
        &'c self,
        schema: Option<&'c str>,
        relation: &str,
    ) -> impl Iterator<Item = Class> + 'c {
        let ways = self.ways(relation).iter();
        let fitting = ways.filter(move |one| match (schema, one.schema.as_deref()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        });
        fitting.flat_map(|one| one.named.iter().map(|(_, class)| *class).chain(one.others))
    }

    pub(super) fn filled_with(
        &self,
        schema: Option<&str>,
        relation: &str,
        column: &str,
        texts: bool,
    ) -> Option<Class> {
        let all = self.ways(relation);
        let fitting = || {
            all.iter().filter(|one| texts || !one.guessed).filter(|one| {
                match (schema, one.schema.as_deref()) {
                    (Some(one), Some(other)) => one == other,
                    _ => true,
                }
            })
        };
        let named = fitting()
            .flat_map(|one| &one.named)
            .find(|(name, _)| **name == *column)
            .map(|(_, class)| *class);
        named.or_else(|| fitting().find_map(|one| one.others))
    }
}

/// In which one table is filled: more are taken for one that fills all of it.
const MOST_WAYS: usize = 64;
/// Names of tables that were filled. More than one session remembers, who then
/// counts as having defined anything.
const MOST_MADE: usize = 8_192;
