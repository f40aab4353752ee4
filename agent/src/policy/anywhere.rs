//! What could not be read may touch any table: whoever is forbidden one is refused it.
//!
//! The engine decides about one thing at a time. So a policy that tells tables apart is
//! asked about tables made up from its own words, and one that nobody has: the policy
//! counts where it would refuse any of them.
//!
//! INVARIANT: a policy with more words than can be tried counts as one that refuses.

use std::sync::Arc;

use cedar_policy::{PolicySet, Response};
use serde_json::Value;

use super::asks::{Ask, Asks, Thing, behind, executes, gropes, kind_name, own_effects};
use super::context::{About, bounded, of_statement};
use super::decide::{Things, ask, store};
use super::permit::{Cause, Ruling, Why};
use super::scene::{Scene, Subject};
use super::set::Set;
use super::source::Read;
use super::vocabulary::Action;
use crate::sql::facts::ObjectKind;
use crate::sql::{Bound, Effect, Effects, Statement};

/// What can be done to tables.
pub(super) const EFFECTS: Effects = Effects::of(Effect::Read)
    .with(Effect::Export)
    .with(Effect::Insert)
    .with(Effect::Update)
    .with(Effect::Delete)
    .with(Effect::Truncate)
    .with(Effect::Import)
    .with(Effect::Create)
    .with(Effect::Alter)
    .with(Effect::Drop)
    .with(Effect::Grant)
    .with(Effect::Administer);

/// The words by which a policy tells one table from another.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// What its entities are called: `server/database/schema/table`.
    entities: Vec<String>,
    /// What names are compared with.
    texts: Vec<String>,
}

impl Named {
    /// Out of its syntax tree.
    pub fn of(read: &Read) -> Self {
        let mut named = Self::default();
        match read.cedar.to_json() {
            Ok(tree) => named.look(&tree),
            // Never said of one that was parsed; it counts as too many.
            Err(_) => named.texts = vec![String::new(); MOST_WORDS + 1],
        }
        named
    }

    fn look(&mut self, tree: &Value) {
        match tree {
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(fields) => {
                let field = |name: &str| fields.get(name).and_then(Value::as_str);
                if let (Some(_), Some(id)) = (field("type"), field("id")) {
                    self.entities.push(id.to_owned());
                }
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("Value", Value::String(text)) => self.texts.push(text.clone()),
                        ("pattern", Value::Array(parts)) => {
                            let literals = parts.iter().filter_map(|part| part.get("Literal"));
                            self.texts.push(literals.filter_map(Value::as_str).collect());
                        }
                        _ => self.look(value),
                    }
                }
            }
            _ => {}
        }
    }

    /// The schemas that its words may mean.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        // `server/database/schema`, and perhaps a table.
        let of_entity = |id| str::split(id, '/').nth(2);
        let of_entities = self.entities.iter().map(String::as_str).filter_map(of_entity);
        self.texts.iter().map(String::as_str).chain(of_entities)
    }

    /// Tables that it may be about, in this place. `None`: more than can be tried.
    fn tables(&self, scene: &Scene) -> Option<Vec<Thing>> {
        if self.texts.len() > MOST_WORDS || self.entities.len() > MOST_ENTITIES {
            return None;
        }
        let texts = || self.texts.iter().map(|text| &**text);
        let kinds: Vec<ObjectKind> = KINDS
            .iter()
            .copied()
            .filter(|kind| {
                *kind == ObjectKind::Relation || texts().any(|text| *text == kind_name(*kind))
            })
            .collect();
        let mut all = Vec::new();
        let mut table = |schema: &str, name: &str| {
            all.extend(kinds.iter().map(|kind| Thing::Table {
                schema: schema.into(),
                name: name.into(),
                kind: *kind,
                temporary: false,
                certain: false,
            }));
        };
        let here = scene.path(&[""]);
        for rest in self.entities.iter().filter_map(|id| id.strip_prefix(&here)) {
            match rest.split_once('/') {
                Some((schema, name)) => table(schema, name),
                None => table(rest, NOBODYS),
            }
        }
        let path = scene.schemas().iter().map(|schema| &**schema);
        let schemas: Vec<&str> = texts().chain(path).chain([NOBODYS]).collect();
        for schema in schemas {
            texts().chain([NOBODYS]).for_each(|name| table(schema, name));
        }
        Some(all)
    }
}

impl Set {
    /// Where nobody can say in which schema a bare name lies, it is asked about in each
    /// that a policy speaks of, and in one that none does.
    pub(super) fn elsewhere(&self, scene: &Scene, asks: &mut Asks) {
        if !scene.target().anywhere || !self.tells_tables() {
            return;
        }
        let bare = |ask: &&Ask| matches!(ask.thing, Thing::Table { certain: false, .. });
        let bare: Vec<Ask> = asks.all.iter().filter(bare).cloned().collect();
        for ask in bare {
            for schema in self.schemas().chain([NOBODYS]) {
                let mut ask = ask.clone();
                if let Thing::Table { schema: its, .. } = &mut ask.thing {
                    *its = schema.into();
                }
                asks.push(ask);
            }
        }
    }

    /// The refusals that something would meet in what could not be read.
    pub(super) fn anywhere(&self, subject: &Subject, about: &About<'_>, ruling: &mut Ruling) {
        if !may_touch_anything(about) {
            return;
        }
        let local = self.locals().of(subject, about.scene);
        let mut met: Vec<Arc<str>> = Vec::new();
        for action in EFFECTS.iter().map(Action::Does) {
            let Some(slice) = local.slice(self, action).filter(|slice| slice.tells_names) else {
                continue;
            };
            // As many rows as there are.
            let pairs = of_statement(about, slice.reads);
            let context = bounded(pairs, Bound::Unbounded, slice.reads);
            for policy in slice.policies.policies() {
                let id: &str = policy.id().as_ref();
                let Some((own, named)) = self.policy(id).zip(self.named(id)) else { continue };
                if !own.forbids {
                    continue;
                }
                let lifted =
                    own.hold.is_some() && about.circumstances.lifted.iter().any(|l| l == id);
                if lifted || met.contains(&own.id) {
                    continue;
                }
                let answer = |thing: &Thing| -> Option<Response> {
                    let mut things = Things::new(about.scene);
                    let uid = things.add(thing);
                    let store = store(subject, about.scene, &[action], things.entities)?;
                    let mut alone = PolicySet::new();
                    alone.add(policy.clone()).ok()?;
                    ask(&alone, subject, action, &uid, context.clone()?, &store)
                };
                let refuses = |thing: &Thing| {
                    answer(thing).is_none_or(|answer| {
                        let told = answer.diagnostics();
                        told.reason().next().is_some() || told.errors().next().is_some()
                    })
                };
                if named.tables(about.scene).is_none_or(|all| all.iter().any(refuses)) {
                    met.push(Arc::clone(&own.id));
                    let why = Why::Forbidden(Arc::clone(own));
                    ruling.causes.push(Cause { action, thing: ANYTHING.into(), why });
                }
            }
        }
        ruling.sort();
    }
}

fn may_touch_anything(about: &About<'_>) -> bool {
    let About { statement, prepared, .. } = *about;
    let unread = own_effects(statement, prepared).contains(Effect::Unknown)
        && statement.may_touch_anything();
    let prepared = prepared.filter(|_| executes(statement));
    let held = || prepared.into_iter().flat_map(|facts| behind(statement, facts));
    unread || gropes(statement, prepared) || held().any(Statement::may_touch_anything)
}

/// How a cause calls what could be touched.
const ANYTHING: &str = "any table";
/// A schema's and a table's name that no policy has.
const NOBODYS: &str = "*";
const KINDS: [ObjectKind; 4] =
    [ObjectKind::Relation, ObjectKind::View, ObjectKind::MaterializedView, ObjectKind::Sequence];
/// Each is tried as a schema and as a table, with each other.
const MOST_WORDS: usize = 12;
const MOST_ENTITIES: usize = 256;

#[cfg(test)]
mod tests;
