//! What a session has defined since the catalog was last learnt: until it is learnt
//! anew, names that it touched mean nobody knows what.
//!
//! INVARIANT: an answer that goes through such a name counts as one that nobody has
//! read. A table that is only made, with its columns written out, is known by what is
//! put into it.

use std::collections::HashSet;

use crate::mask::{Catalog, lineage};
use crate::model::code::Kind;
use crate::sql::facts::{CallClass, Note, ObjectKind, Origin, Statement, Verb};
use crate::sql::{Effect, Use};

#[derive(Clone, Debug, Default)]
pub struct Fresh {
    /// Code ran that can define anything.
    code: bool,
    /// Tables and views that were altered, replaced, dropped.
    altered: HashSet<Box<str>>,
    /// Those of them whose own or whose columns' names are others now: what was described
    /// before may be something else.
    renamed: HashSet<Box<str>>,
    /// Those of them that are so for this session alone: a temporary table of its own
    /// bears the name.
    own: HashSet<Box<str>>,
    /// Those that were made.
    made: HashSet<Box<str>>,
    functions: HashSet<Box<str>>,
    operators: HashSet<Box<str>>,
    /// Operators, casts, types.
    others: bool,
    /// So much that nobody kept count of it.
    over: bool,
    /// A table that was known got what it hadn't: views over it show that too.
    filled: bool,
}

impl Fresh {
    /// Anything may have been defined.
    pub fn anything() -> Self {
        Self { code: true, ..Self::default() }
    }

    /// What other sessions are to doubt too: all but what code may have done, which runs
    /// with many a statement of theirs as well.
    pub fn shared(&self, catalog: &Catalog) -> Self {
        let known =
            |name: &str| catalog.named(None, name).next().is_some() && !self.own.contains(name);
        Self {
            // But for what is more than names can be kept of.
            code: self.over,
            altered: self.altered.iter().filter(|name| known(name)).cloned().collect(),
            renamed: self.renamed.iter().filter(|name| known(name)).cloned().collect(),
            own: HashSet::new(),
            made: HashSet::new(),
            ..self.clone()
        }
    }

    pub fn is_empty(&self) -> bool {
        !(self.code || self.others || self.filled)
            && self.altered.is_empty()
            && self.functions.is_empty()
    }

    /// A table got what it hadn't. `true`: more is in doubt than before.
    pub fn fill(&mut self, name: &str, catalog: &Catalog) -> bool {
        catalog.named(None, name).next().is_some() && !std::mem::replace(&mut self.filled, true)
    }

    /// A statement is let through. `true`: more is in doubt than before.
    /// `renames`: its text has words that give things other names.
    pub fn follow(&mut self, statement: &Statement, renames: bool, catalog: &Catalog) -> bool {
        // What was prepared becomes true, whoever did it and whatever it was.
        let prepared = statement.verb == Verb::CommitPrepared;
        let mut changes = !self.code && (prepared || runs_code(statement, catalog));
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
                    if makes && object.temporary {
                        if !self.altered.contains(&name) {
                            self.own.insert(name.clone());
                        }
                    } else {
                        // It may be everybody's that is meant now.
                        changes |= self.own.remove(&name);
                    }
                    if renames && statement.verb == Verb::Alter {
                        changes |= self.renamed.insert(name.clone());
                    }
                    changes |= if new { self.made.insert(name) } else { self.altered.insert(name) };
                }
                ObjectKind::Function | ObjectKind::Aggregate => {
                    changes |= self.functions.insert(name);
                }
                ObjectKind::Operator => {
                    changes |= !std::mem::replace(&mut self.others, true);
                    changes |= self.operators.insert(name);
                }
                ObjectKind::Cast | ObjectKind::Type | ObjectKind::Domain => {
                    changes |= !std::mem::replace(&mut self.others, true);
                }
                _ => {}
            }
        }
        // Who defines so much has defined anything.
        let kept = [&self.altered, &self.made, &self.functions, &self.operators];
        if kept.iter().map(|names| names.len()).sum::<usize>() > MOST_NAMES {
            let Self { others, filled, .. } = *self;
            *self = Self { code: true, others, filled, over: true, ..Self::default() };
        }
        changes
    }

    /// Whether what a statement answers goes through what nobody knows yet.
    pub fn doubts(&self, statement: &Statement, catalog: &Catalog) -> bool {
        let bodies = self.code || !self.functions.is_empty();
        let defined = bodies || self.filled || !self.altered.is_empty();
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
            self.functions.contains(&call.name) || bodies && call.origin == Origin::Foreign
        });
        let kinds = [Note::ForeignType, Note::ForeignOperator];
        let others = (self.others || self.code || !self.functions.is_empty())
            && kinds.iter().any(|note| statement.notes.contains(note));
        tables || calls || others
    }

    /// The names of functions and operators that may be others than were learnt.
    pub fn code(&self) -> impl Iterator<Item = (Kind, &str)> {
        let functions = self.functions.iter().map(|name| (Kind::Function, &**name));
        functions.chain(self.operators.iter().map(|name| (Kind::Operator, &**name)))
    }

    /// Whether a table's columns may be others than the server said once.
    pub fn doubts_names(&self, name: &str) -> bool {
        self.renamed.contains(name)
    }

    /// Whether a view's own columns can't be trusted to be what they were.
    pub fn doubts_view(&self, name: &str) -> bool {
        self.code || self.filled || !self.functions.is_empty() || self.altered.contains(name)
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
