//! What a session has defined since the catalog was last learnt: until it is learnt
//! anew, names that it touched mean nobody knows what.
//!
//! INVARIANT: an answer that goes through such a name counts as one that nobody has
//! read. A table that is only made, with its columns written out, is known by what is
//! put into it.

use std::collections::HashSet;

use crate::mask::{Catalog, lineage};
use crate::sql::facts::{CallClass, Note, ObjectKind, Origin, Statement, Verb};
use crate::sql::{Effect, Use};

#[derive(Debug, Default)]
pub struct Fresh {
    /// Code ran that can define anything.
    code: bool,
    /// Tables and views that were altered, replaced, dropped.
    altered: HashSet<Box<str>>,
    /// Those that were made.
    made: HashSet<Box<str>>,
    functions: HashSet<Box<str>>,
    /// Operators, casts, types.
    others: bool,
}

impl Fresh {
    /// Anything may have been defined.
    pub fn anything() -> Self {
        Self { code: true, ..Self::default() }
    }

    /// A statement is let through. `true`: more is in doubt than before.
    pub fn follow(&mut self, statement: &Statement, catalog: &Catalog) -> bool {
        let mut changes = !self.code && runs_code(statement, catalog);
        self.code |= changes;
        let effects = statement.effects;
        if !effects.define() {
            return changes;
        }
        let makes = matches!(statement.verb, Verb::Create | Verb::CreateTableAs | Verb::SelectInto);
        for object in &statement.objects {
            if object.uses.iter().all(|used| used == Use::Read) {
                continue;
            }
            let name = object.name.clone();
            match object.kind {
                ObjectKind::Relation | ObjectKind::View | ObjectKind::MaterializedView => {
                    let new = makes
                        && !effects.contains(Effect::Alter)
                        && catalog.named(None, &name).next().is_none()
                        && !self.altered.contains(&name);
                    changes |= if new { self.made.insert(name) } else { self.altered.insert(name) };
                }
                ObjectKind::Function | ObjectKind::Aggregate => {
                    changes |= self.functions.insert(name);
                }
                ObjectKind::Operator | ObjectKind::Cast | ObjectKind::Type | ObjectKind::Domain => {
                    changes |= !std::mem::replace(&mut self.others, true);
                }
                _ => {}
            }
        }
        // Who defines so much has defined anything.
        if self.altered.len() + self.made.len() + self.functions.len() > MOST_NAMES {
            *self = Self { code: true, others: self.others, ..Self::default() };
        }
        changes
    }

    /// Whether what a statement answers goes through what nobody knows yet.
    pub fn doubts(&self, statement: &Statement, catalog: &Catalog) -> bool {
        let defined = self.code || !self.altered.is_empty();
        let tables = defined
            && statement.objects.iter().any(|object| {
                let known = || catalog.named(object.schema.as_deref(), &object.name).next();
                matches!(
                    object.kind,
                    ObjectKind::Relation | ObjectKind::View | ObjectKind::MaterializedView
                ) && (self.altered.contains(&object.name)
                    || (self.code || !self.made.contains(&object.name))
                        && known().is_none_or(is_view))
            });
        let calls = statement.calls.iter().any(|call| {
            self.functions.contains(&call.name) || self.code && call.origin == Origin::Foreign
        });
        let kinds = [Note::ForeignType, Note::ForeignOperator];
        let others = (self.others || self.code || !self.functions.is_empty())
            && kinds.iter().any(|note| statement.notes.contains(note));
        tables || calls || others
    }

    /// Whether a table's own columns can't be trusted to be what they were.
    pub fn doubts_view(&self, name: &str) -> bool {
        self.code || self.altered.contains(name)
    }
}

fn is_view(relation: &std::sync::Arc<crate::mask::catalog::Relation>) -> bool {
    matches!(relation.kind, 'v' | 'm')
}

/// Whether somebody's code runs that may have seen what is sensitive, and may define
/// anything.
pub fn runs_code(statement: &Statement, catalog: &Catalog) -> bool {
    matches!(statement.verb, Verb::Do | Verb::Call | Verb::Unknown)
        || statement.calls.iter().any(|call| call.class == CallClass::RunsText)
        || lineage::calls_out(statement, catalog)
}

/// Names that a session remembers. A catalog remembers more of what is filled.
const MOST_NAMES: usize = 1_024;
