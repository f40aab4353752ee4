//! `lo_unlink`: a call that deletes, as many large objects as there are rows that it is
//! called for.
//!
//! Errs to the strict side: a query counts with all that it reads, and what a condition, an
//! order or DISTINCT calls is called for every row.

use super::super::effect::{ColumnUse, Effect, Effects, Use, Uses};
use super::super::facts::{Bound, ObjectKind, Part, Verb, Way};
use super::{Role, Walk};

impl Walk<'_, '_> {
    /// It is called here: once, or for the rows of each query around it.
    pub(super) fn unlinks(&mut self, role: Role) {
        if self.unlinks.is_none() {
            let kind = ObjectKind::Relation;
            let object = self.named(kind, Some("pg_catalog"), STORE, Uses::of(Use::Written));
            self.unlinks = Some(self.out.parts.len());
            self.out.parts.push(Part {
                verb: Verb::Delete,
                way: Way::Text,
                effects: Effects::of(Effect::Delete),
                bound: Bound::NotApplicable,
                target: Some(object),
            });
        }
        let mut rows = false;
        for level in &mut self.levels {
            level.unlinks = true;
            rows |= !level.items.is_empty();
        }
        if rows && role.used == ColumnUse::Filtered {
            self.unlinked(Bound::Unbounded);
        }
    }

    /// For so many.
    pub(super) fn unlinked(&mut self, bound: Bound) {
        if let Some(part) = self.unlinks.and_then(|part| self.out.parts.get_mut(part)) {
            part.bound = part.bound.max(bound);
        }
    }
}

/// Where the server keeps what is in them.
const STORE: &str = "pg_largeobject";
