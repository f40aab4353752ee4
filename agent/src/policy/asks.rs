//! A statement's facts → what is asked of the policies: each action on each thing,
//! once.
//!
//! INVARIANTS
//! - Every effect of a statement is asked for, on the things it is known to touch,
//!   else on the database.
//! - A name that may mean one of several things is asked for as each of them: all
//!   must be allowed.
//! - What a prepared statement or a cursor holds is asked for each time it runs.
//! - What is kept to run later is asked for as if it ran, but for what a function's body
//!   calls and hides: whoever calls the function is asked about that.

use std::fmt;

use super::catalog::Catalog;
use super::known;
use super::scene::Scene;
use crate::sql::builtin;
use crate::sql::effect::Use;
use crate::sql::facts::{CallClass, Doubt, Object, ObjectKind, Origin, Setting};
use crate::sql::{Bound, Effect, Effects, Facts, Statement, Verb};

/// Whether the policies allow this action on this thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    pub effect: Effect,
    pub thing: Thing,
    pub bound: Bound,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    Database,
    Schema(Box<str>),
    Table {
        schema: Box<str>,
        name: Box<str>,
        kind: ObjectKind,
        temporary: bool,
        /// The schema is written in the text, or known.
        certain: bool,
    },
    Object {
        schema: Option<Box<str>>,
        name: Box<str>,
        kind: ObjectKind,
        /// A function of a widely used extension that only computes.
        known: bool,
    },
}

/// What is asked of one statement.
#[derive(Debug, Default)]
pub(super) struct Asks {
    pub all: Vec<Ask>,
    /// There are more than anybody should be asked.
    pub too_many: bool,
    /// By the catalog it may run code under a name of the server's.
    pub meets_code: bool,
    /// … unless the session's path, which nobody knows, leaves it out.
    pub hangs_on_path: bool,
}

pub(super) const MOST: usize = 2_048;

impl Asks {
    /// `prepared`: the text of the prepared statement or cursor that this one runs.
    pub fn of(
        statement: &Statement,
        prepared: Option<&Facts>,
        scene: &Scene,
        catalog: &dyn Catalog,
    ) -> Self {
        let mut asks = Self::default();
        Asking { statement, scene, catalog, asks: &mut asks }.all(prepared);
        asks
    }

    pub fn push(&mut self, ask: Ask) {
        if self.all.len() >= MOST {
            self.too_many = true;
        } else if !self.all.contains(&ask) {
            self.all.push(ask);
        }
    }
}

/// Whether it runs a prepared statement or a cursor by name.
pub(super) fn executes(statement: &Statement) -> bool {
    statement.handle.is_some()
        && (statement.verb == Verb::Execute
            || fetches(statement)
            || statement.parts.iter().any(|part| part.verb == Verb::Execute))
}

/// Whether it runs a cursor: its rows are made when they are asked for.
fn fetches(statement: &Statement) -> bool {
    matches!(statement.verb, Verb::Fetch | Verb::Move)
}

/// Whether what it runs is a cursor that nobody knows: it may read any table.
pub(super) fn gropes(statement: &Statement, prepared: Option<&Facts>) -> bool {
    match prepared {
        None => fetches(statement),
        // A portal may be bound to a FETCH of another one.
        Some(facts) => executes(statement) && behind(statement, facts).any(fetches),
    }
}

/// What it runs of the text in which that was prepared: others of that text have run.
pub(super) fn behind<'p>(
    statement: &Statement,
    prepared: &'p Facts,
) -> impl Iterator<Item = &'p Statement> + use<'p> {
    let handle = statement.handle.clone();
    let names = move |one: &Statement| {
        matches!(one.verb, Verb::Prepare | Verb::DeclareCursor) && one.handle == handle
    };
    let by_sql = prepared.running().any(&names);
    prepared.running().filter(move |one| !by_sql || names(one))
}

/// A statement's effects without what was only there because the prepared statement
/// wasn't known.
pub(super) fn own_effects(statement: &Statement, prepared: Option<&Facts>) -> Effects {
    if statement.is_body() {
        return statement.effects.without(Effect::Execute).without(Effect::Unknown);
    }
    if prepared.is_none() || !executes(statement) {
        return statement.effects;
    }
    if fetches(statement) {
        return statement.effects.without(Effect::Read);
    }
    let mut effects = statement.effects;
    let runs = |class: CallClass| statement.calls.iter().any(|call| call.class == class);
    let foreign = statement.calls.iter().any(|call| call.origin == Origin::Foreign);
    if !foreign && !runs(CallClass::RunsText) {
        effects = effects.without(Effect::Execute);
        if statement.doubts.iter().all(|doubt| *doubt == Doubt::Dynamic) {
            effects = effects.without(Effect::Unknown);
        }
    }
    effects
}

struct Asking<'a> {
    statement: &'a Statement,
    scene: &'a Scene,
    catalog: &'a dyn Catalog,
    asks: &'a mut Asks,
}

impl Asking<'_> {
    fn all(&mut self, prepared: Option<&Facts>) {
        let effects = own_effects(self.statement, prepared);
        let mut left = effects;
        self.writes(effects, &mut left);
        self.uses(effects, &mut left);
        self.code(effects, &mut left);
        for effect in left.iter() {
            self.database(effect);
        }
        if let Some(prepared) = prepared.filter(|_| executes(self.statement)) {
            for statement in behind(self.statement, prepared) {
                let Self { scene, catalog, .. } = *self;
                Asking { statement, scene, catalog, asks: self.asks }.all(None);
            }
        }
    }

    fn database(&mut self, effect: Effect) {
        self.asks.push(Ask { effect, thing: Thing::Database, bound: Bound::NotApplicable });
    }

    fn thing(&mut self, effect: Effect, object: &Object, bound: Bound) {
        // How many rows, a function's call tells.
        let bound = if self.statement.is_body() { Bound::NotApplicable } else { bound };
        let mut push = |thing| self.asks.push(Ask { effect, thing, bound });
        match object.kind {
            ObjectKind::Relation
            | ObjectKind::View
            | ObjectKind::MaterializedView
            | ObjectKind::Sequence => {
                tables(object, self.scene, self.catalog).into_iter().for_each(push);
            }
            ObjectKind::Index if object.temporary => {
                tables(object, self.scene, self.catalog).into_iter().for_each(push);
            }
            ObjectKind::Schema if !object.name.is_empty() => {
                push(Thing::Schema(object.name.clone()));
            }
            ObjectKind::Database if *object.name == *self.scene.target().database => {
                push(Thing::Database);
            }
            kind => push(Thing::Object {
                schema: object.schema.clone(),
                name: object.name.clone(),
                kind,
                known: false,
            }),
        }
    }

    /// Rows that are changed: in whose table, and how many.
    fn writes(&mut self, effects: Effects, left: &mut Effects) {
        let statement = self.statement;
        let mut done = Effects::NONE;
        for part in &statement.parts {
            let target = part.target.and_then(|target| statement.objects.get(target as usize));
            let Some(target) = target else { continue };
            for effect in part.effects.iter().filter(|effect| ROWS.contains(*effect)) {
                self.thing(effect, target, part.bound);
                done.insert(effect);
            }
        }
        let written = || statement.objects.iter().filter(|o| o.uses.contains(Use::Written));
        let of_part = |object: &Object| {
            statement.parts.iter().any(|part| {
                let target = part.target.and_then(|at| statement.objects.get(at as usize));
                target == Some(object)
            })
        };
        let own = by_verb(statement.verb).iter().filter(|effect| effects.contains(*effect));
        let own: Effects = own.collect();
        let all_of_parts = written().all(of_part);
        for object in written().filter(|object| all_of_parts || !of_part(object)) {
            for effect in own.iter() {
                self.thing(effect, object, statement.bound);
                done.insert(effect);
            }
        }
        if statement.calls.iter().any(|call| call.class == CallClass::Writes) {
            self.database(Effect::Update);
        }
        *left = left.iter().filter(|effect| !done.contains(*effect)).collect();
    }

    /// What is read, defined, dropped, granted and looked after.
    fn uses(&mut self, effects: Effects, left: &mut Effects) {
        let statement = self.statement;
        // How many rows a view gives, whoever asks it tells.
        let kept = statement.later_of.is_some();
        let bound = if kept { Bound::NotApplicable } else { statement.reads };
        let called = |class| statement.calls.iter().any(|call| call.class == class);
        for (effect, used) in [
            (Effect::Read, Use::Read),
            (Effect::Export, Use::Read),
            (Effect::Create, Use::Defined),
            (Effect::Alter, Use::Defined),
            (Effect::Drop, Use::Dropped),
            (Effect::Grant, Use::Granted),
            (Effect::Administer, Use::Maintained),
        ] {
            if !effects.contains(effect) {
                continue;
            }
            let reads = used == Use::Read;
            let through_another_door = match effect {
                Effect::Read => called(CallClass::Reads),
                Effect::Administer => called(CallClass::Administers) || self.sets_guarded(),
                _ => false,
            };
            if through_another_door {
                self.database(effect);
            }
            // What ALTER drops is a part of what it alters.
            let dropped = |object: &Object| object.uses.contains(Use::Dropped);
            let part = effect == Effect::Drop
                && statement.verb == Verb::Alter
                && !statement.objects.iter().any(dropped);
            let used = if part { Use::Defined } else { used };
            for object in statement.objects.iter().filter(|object| object.uses.contains(used)) {
                if reads && matches!(object.kind, ObjectKind::Function | ObjectKind::Type) {
                    continue;
                }
                if object.kind == ObjectKind::Index && effect == Effect::Create && self.on_own() {
                    continue;
                }
                self.thing(effect, object, if reads { bound } else { Bound::NotApplicable });
                *left = left.without(effect);
            }
        }
    }

    /// CREATE INDEX on a table of the session's own: the index is that table's.
    fn on_own(&self) -> bool {
        let statement = self.statement;
        let mut tables = statement.objects.iter().filter(|object| {
            object.kind == ObjectKind::Relation && object.uses.contains(Use::Defined)
        });
        statement.verb == Verb::Create
            && statement.parts.is_empty()
            && tables.next().is_some_and(|table| is_own(table, self.scene))
            && tables.next().is_none()
    }

    /// It may set something that does more than say how the session's texts are read.
    fn sets_guarded(&self) -> bool {
        self.statement.session.iter().any(|one| {
            let any = &*one.setting == "*" && one.value == Setting::Dynamic;
            any || builtin::guarded_setting(&one.setting).is_some()
        })
    }

    /// What runs that isn't the server's own.
    fn code(&mut self, effects: Effects, left: &mut Effects) {
        if self.statement.is_body() {
            return;
        }
        super::code::ask(self.statement, self.scene, self.catalog, self.asks);
        let mut functions: Vec<(Option<&str>, &str)> = Vec::new();
        for call in self.statement.calls.iter().filter(|call| call.class == CallClass::Foreign) {
            functions.push((call.schema.as_deref(), &call.name));
        }
        // `t.f` is a column, or a call of `f` where the table has no such column.
        let columns = self.statement.columns.iter();
        for column in columns.filter(|column| column.certain && column.qualified) {
            let table = self.statement.objects.get(column.relation as usize);
            if let (Some(table), Some(name)) = (table, column.name.as_deref())
                && !SYSTEM_COLUMNS.contains(&name)
                && !is_own(table, self.scene)
                && self.catalog.has_column(table.schema.as_deref(), &table.name, name)
                    == Some(false)
            {
                functions.push((None, name));
                self.asks.meets_code |= !known::computes(name);
            }
        }
        for (schema, name) in &functions {
            let thing = Thing::Object {
                schema: schema.map(Into::into),
                name: (*name).into(),
                kind: ObjectKind::Function,
                known: known::computes(name),
            };
            let effect = Effect::Execute;
            self.asks.push(Ask { effect, thing, bound: Bound::NotApplicable });
        }
        let by_name = !functions.is_empty();
        let otherwise = matches!(self.statement.verb, Verb::Do | Verb::Execute)
            || self.statement.calls.iter().any(|call| call.class == CallClass::RunsText);
        if effects.contains(Effect::Execute) && by_name && !otherwise {
            *left = left.without(Effect::Execute);
        }
    }
}

/// Columns that every table has, and no catalog of columns lists.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// Whether it is a temporary table of this session's own.
fn is_own(object: &Object, scene: &Scene) -> bool {
    let named = object.schema.is_none() && scene.target().temporary.contains(&object.name);
    object.temporary || named
}

/// The tables that a name may mean.
fn tables(object: &Object, scene: &Scene, catalog: &dyn Catalog) -> Vec<Thing> {
    let (name, kind) = (&object.name, object.kind);
    let one = |schema: &str, temporary, certain| Thing::Table {
        schema: schema.into(),
        name: name.clone(),
        kind,
        temporary,
        certain,
    };
    if is_own(object, scene) {
        return vec![one("pg_temp", true, true)];
    }
    if let Some(schema) = &object.schema {
        return vec![one(schema, false, true)];
    }
    if let Some(schema) = catalog.schema_of(name) {
        return vec![one(&schema, false, true)];
    }
    let server = name.starts_with("pg_").then_some("pg_catalog");
    let path = scene.schemas().iter().map(AsRef::as_ref);
    let all: Vec<_> = server.into_iter().chain(path).map(|s| one(s, false, false)).collect();
    // With no path at all the name means nothing, or what only the server knows.
    if all.is_empty() { vec![one("", false, false)] } else { all }
}

/// What is done to rows.
const ROWS: Effects = Effects::of(Effect::Insert)
    .with(Effect::Update)
    .with(Effect::Delete)
    .with(Effect::Truncate)
    .with(Effect::Import);

/// Of those, what the verb itself does to its own target.
fn by_verb(verb: Verb) -> Effects {
    let one = Effects::of;
    match verb {
        Verb::Insert => one(Effect::Insert).with(Effect::Update),
        Verb::Update | Verb::Refresh => one(Effect::Update),
        Verb::Delete => one(Effect::Delete),
        Verb::Truncate => one(Effect::Truncate),
        Verb::Merge => one(Effect::Insert).with(Effect::Update).with(Effect::Delete),
        Verb::Copy => one(Effect::Insert).with(Effect::Import),
        Verb::CreateTableAs | Verb::SelectInto => one(Effect::Insert),
        // What these do, their parts do.
        Verb::Select
        | Verb::Values
        | Verb::Explain
        | Verb::Prepare
        | Verb::DeclareCursor
        | Verb::Do => Effects::NONE,
        _ => ROWS,
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("the database"),
            Self::Schema(name) => write!(f, "schema `{name}`"),
            Self::Table { schema, name, certain: true, .. } => write!(f, "`{schema}.{name}`"),
            Self::Table { name, .. } => write!(f, "`{name}`"),
            Self::Object { schema, name, kind, .. } => {
                write!(f, "{}", kind_name(*kind))?;
                match (schema, &**name) {
                    (_, "") => Ok(()),
                    (Some(schema), name) => write!(f, " `{schema}.{name}`"),
                    (None, name) => write!(f, " `{name}`"),
                }
            }
        }
    }
}

/// A kind's name, as in a policy: `materialized_view`.
pub(super) fn kind_name(kind: ObjectKind) -> String {
    word(&kind)
}

/// A unit variant's name, as it is written in records.
pub(super) fn word(of: &impl serde::Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
