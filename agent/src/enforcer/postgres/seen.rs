//! A database's catalog, as policies ask about it.

use super::sights::Viewer;
use crate::mask::names::{self, Named};
use crate::mask::postgres::plan::ColumnName;
use crate::mask::{Class, Mask};
use crate::model::code::{Kind, Own};
use crate::policy;

/// What it may see in the clear isn't sensitive for it.
impl Viewer<'_> {
    fn is_masked(&self, class: Class, column: ColumnName<'_>) -> bool {
        self.judge.scope_of_reveal(self.means).nothing
            || self.judge.mask(self.means, class, column) != Mask::Keep
    }
}

impl policy::Catalog for Viewer<'_> {
    fn generation(&self) -> u64 {
        self.judge.generation()
    }

    fn schema_of(&self, relation: &str) -> Option<Box<str>> {
        let mut all = self.judge.catalog().named(None, relation);
        all.next().filter(|_| all.next().is_none()).map(|one| one.schema.clone())
    }

    fn has_column(&self, schema: Option<&str>, relation: &str, column: &str) -> Option<bool> {
        let mut found: Option<bool> = None;
        for one in self.judge.catalog().named(schema, relation) {
            let has = one.columns.iter().any(|known| *known.name == *column);
            // What one has and another lacks can't be told.
            if found.is_some_and(|before| before != has) {
                return None;
            }
            found = Some(has);
        }
        found
    }

    fn is_sensitive(&self, schema: Option<&str>, relation: &str, column: &str) -> Option<bool> {
        let catalog = self.judge.catalog();
        let mut known = false;
        for one in catalog.named(schema, relation) {
            let Some(found) = one.columns.iter().find(|known| *known.name == *column) else {
                continue;
            };
            known = true;
            let name = ColumnName { schema: &one.schema, table: &one.name, column };
            if found.class.is_some_and(|(class, _)| self.is_masked(class, name)) {
                return Some(true);
            }
        }
        if known {
            return Some(false);
        }
        // Only its name speaks, and what was put into it.
        let named = Named { table: relation, column, ..Named::default() };
        let filled = catalog.made_of(schema, relation, column);
        let class = filled.or_else(|| names::classify(&named).map(|(class, _)| class))?;
        let name = ColumnName { schema: schema.unwrap_or_default(), table: relation, column };
        self.is_masked(class, name).then_some(true)
    }

    fn has_sensitive(&self, schema: Option<&str>, relation: &str) -> Option<bool> {
        let catalog = self.judge.catalog();
        let mut known = false;
        for one in catalog.named(schema, relation) {
            known = true;
            let masked = one.columns.iter().any(|column| {
                let (schema, table) = (&*one.schema, &*one.name);
                let name = ColumnName { schema, table, column: &column.name };
                column.class.is_some_and(|(class, _)| self.is_masked(class, name))
            });
            if masked {
                return Some(true);
            }
        }
        if known {
            return Some(false);
        }
        // What was put into it speaks: into which column isn't asked.
        let name = ColumnName { schema: schema.unwrap_or_default(), table: relation, column: "" };
        let mut filled = catalog.all_made_of(schema, relation);
        filled.any(|class| self.is_masked(class, name)).then_some(true)
    }

    fn is_sensitive_at(&self, schema: Option<&str>, relation: &str, place: u32) -> Option<bool> {
        let mut sensitive = None;
        for one in self.judge.catalog().named(schema, relation) {
            // Fewer are known than it has.
            let Some(column) = one.columns.get(place as usize) else {
                return self.has_sensitive(schema, relation);
            };
            let name = ColumnName { schema: &one.schema, table: &one.name, column: &column.name };
            let masked = column.class.is_some_and(|(class, _)| self.is_masked(class, name));
            sensitive = Some(masked || sensitive == Some(true));
        }
        sensitive.or_else(|| self.has_sensitive(schema, relation))
    }

    fn is_scanned(&self, schema: Option<&str>, relation: &str, column: Option<&str>) -> bool {
        let catalog = self.judge.catalog();
        let fits = |name: &str| column.is_none_or(|column| *column == *name);
        catalog.named(schema, relation).any(|one| {
            let mut columns = one.columns.iter().filter(|known| fits(&known.name));
            columns.any(|known| catalog.is_scanned(one, known))
        }) && Class::ALL.iter().any(|class| self.is_masked(*class, ColumnName::default()))
    }

    fn own(&self, kind: Kind, name: &str) -> &[Own] {
        self.judge.code().named(kind, name)
    }
}
