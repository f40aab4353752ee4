//! Who asks and where, prepared once for a session: the engine's entities, and a
//! hash that stands for them in a cache's key.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

use crate::model::Principal;
use crate::sql::facts::{Statement, Verb};
use crate::sql::temporary::{ends_transaction, may_take_all, taken};

use super::held::Held;
use super::vocabulary::{group_type, types};

/// An actor as policies see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Subject(Arc<SubjectParts>);

#[derive(Debug)]
struct SubjectParts {
    actor: Principal,
    uid: EntityUid,
    groups: Vec<EntityUid>,
    entities: Vec<Entity>,
    hash: u64,
}

/// Where a session is, and what decides which thing a name means there. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Scene(Arc<SceneParts>);

#[derive(Debug)]
struct SceneParts {
    target: Target,
    /// Environment, server, database.
    place: [EntityUid; 3],
    place_hash: u64,
    entities: Vec<Entity>,
    schemas: Vec<Box<str>>,
    hash: u64,
}

/// A destination and the state of one session on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The destination's name, as configured.
    pub server: String,
    /// Its label. `None` counts as [`PRODUCTION`].
    pub environment: Option<String>,
    pub database: String,
    /// The database's role, as it is now.
    pub role: Role,
    /// `search_path` as the server shows it; `None` while it is the default.
    pub search_path: Option<Box<str>>,
    /// … and that isn't certain: a bare name may lie in any schema.
    pub anywhere: bool,
    /// Names that are certain to be this session's own temporary tables: what it
    /// has created, and nothing since can have dropped.
    pub temporary: Vec<Box<str>>,
}

/// By whose rights a statement runs: `current_user`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Is(Box<str>),
    /// Nobody can say. These it has been, or was told to be: a name that hangs on the
    /// role means each of them, and a policy that asks for the role can't be answered.
    MayBe(Vec<Box<str>>),
}

impl Role {
    /// Where it is known.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Is(name) => Some(name),
            Self::MayBe(_) => None,
        }
    }

    fn names(&self) -> &[Box<str>] {
        match self {
            Self::Is(name) => std::slice::from_ref(name),
            Self::MayBe(names) => names,
        }
    }
}

impl<T: Into<Box<str>>> From<T> for Role {
    fn from(name: T) -> Self {
        Self::Is(name.into())
    }
}

/// What a destination without a label counts as.
pub const PRODUCTION: &str = "production";

impl Subject {
    pub fn new(actor: Principal) -> Self {
        static ALL: LazyLock<Held<SubjectParts>> = LazyLock::new(Held::default);
        let hash = hash(&actor);
        let same = |held: &SubjectParts| held.actor == actor;
        Self(ALL.one(hash, same, || SubjectParts::new(actor.clone(), hash)))
    }

    pub fn actor(&self) -> &Principal {
        &self.0.actor
    }

    pub(super) fn uid(&self) -> &EntityUid {
        &self.0.uid
    }

    /// Whether it is this, or belongs to it.
    pub(super) fn is_in(&self, uid: &EntityUid) -> bool {
        self.0.uid == *uid || self.0.groups.contains(uid)
    }

    pub(super) fn entities(&self) -> &[Entity] {
        &self.0.entities
    }

    pub(super) fn hash(&self) -> u64 {
        self.0.hash
    }
}

impl SubjectParts {
    fn new(actor: Principal, hash: u64) -> Self {
        let uid = uid("Actor", &actor.workload);
        let mut parents = vec![self::uid("Kind", actor.kind.as_str())];
        parents.extend(actor.person.iter().map(|person| self::uid("Person", person)));
        parents.extend(
            actor.groups.iter().map(|group| self::uid(group_type(group.kind), &group.name)),
        );
        let attributes =
            [("person", &actor.person), ("user", &actor.user), ("program", &actor.program)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, text(value.as_ref()?))));
        let entities = vec![entity(uid.clone(), attributes, parents.clone())];
        Self { actor, uid, groups: parents, entities, hash }
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.actor == other.0.actor
    }
}

impl Scene {
    pub fn new(target: Target) -> Self {
        static ALL: LazyLock<Held<SceneParts>> = LazyLock::new(Held::default);
        let hash = hash(&target);
        let same = |held: &SceneParts| held.target == target;
        Self(ALL.one(hash, same, || SceneParts::new(target.clone(), hash)))
    }

    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// Where no name means a temporary table. `None`: it is so here.
    pub(super) fn without_temporary(&self) -> Option<Self> {
        self.with_temporary(|_| false)
    }

    /// What the rest of a text meets behind this statement of it. `None`: the same.
    pub(super) fn behind(&self, statement: &Statement) -> Option<Self> {
        if self.0.target.temporary.is_empty() {
            return None;
        }
        let all = may_take_all(statement) || ends_transaction(statement);
        self.with_temporary(|name| !all && taken(statement).all(|taken| taken != name))
    }

    /// What a block of code meets that may take tables away before it comes to others.
    pub(super) fn within(&self, statement: &Statement) -> Option<Self> {
        let takes = statement.verb == Verb::Do && taken(statement).next().is_some();
        if takes { self.without_temporary() } else { None }
    }

    fn with_temporary(&self, stays: impl Fn(&str) -> bool) -> Option<Self> {
        let target = self.target();
        let left: Vec<_> =
            target.temporary.iter().filter(|name| stays(name.as_ref())).cloned().collect();
        (left.len() != target.temporary.len())
            .then(|| Self::new(Target { temporary: left, ..target.clone() }))
    }

    pub fn environment(&self) -> &str {
        self.0.target.environment.as_deref().unwrap_or(PRODUCTION)
    }

    /// The schemas in which an unqualified name is looked for, without the server's
    /// own.
    pub(super) fn schemas(&self) -> &[Box<str>] {
        &self.0.schemas
    }

    pub(super) fn database(&self) -> &EntityUid {
        let [_, _, database] = &self.0.place;
        database
    }

    /// Environment, server, database.
    pub(super) fn place(&self) -> &[EntityUid; 3] {
        &self.0.place
    }

    pub(super) fn place_hash(&self) -> u64 {
        self.0.place_hash
    }

    pub(super) fn entities(&self) -> &[Entity] {
        &self.0.entities
    }

    pub(super) fn hash(&self) -> u64 {
        self.0.hash
    }

    /// `server/database/rest`: what a thing's entity is called.
    pub(super) fn path(&self, rest: &[&str]) -> String {
        let Target { server, database, .. } = &self.0.target;
        let mut path = format!("{server}/{database}");
        for part in rest {
            path.push('/');
            path.push_str(part);
        }
        path
    }
}

impl SceneParts {
    fn new(target: Target, hash: u64) -> Self {
        let environment = target.environment.as_deref().unwrap_or(PRODUCTION);
        let environment = uid("Environment", environment);
        let server = uid("Server", &target.server);
        let database = uid("Database", &format!("{}/{}", target.server, target.database));
        let name = [("name", text(&target.database))];
        let entities = vec![
            entity(server.clone(), [], vec![environment.clone()]),
            entity(database.clone(), name, vec![server.clone()]),
        ];
        let place_hash = self::hash(&(&target.server, &target.database, &target.environment));
        let place = [environment, server, database];
        let schemas = schemas(&target);
        Self { target, place, place_hash, entities, schemas, hash }
    }
}

impl PartialEq for Scene {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.target == other.0.target
    }
}

fn schemas(target: &Target) -> Vec<Box<str>> {
    let path = target.search_path.as_deref().unwrap_or("\"$user\", public");
    let mut all: Vec<Box<str>> = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut add = |found: &str| {
        let own = matches!(found, "" | "pg_catalog" | "pg_temp");
        if !own && !all.iter().any(|known| **known == *found) {
            all.push(found.into());
        }
    };
    let mut signs = path.chars().chain([',']).peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if quoted && signs.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => {
                match name.as_str() {
                    "$user" => target.role.names().iter().for_each(|role| add(role)),
                    other => add(other.trim()),
                }
                name.clear();
            }
            sign if quoted => name.push(sign),
            sign if sign.is_whitespace() => {}
            sign => name.extend(sign.to_lowercase()),
        }
    }
    all
}

fn hash(of: &impl Hash) -> u64 {
    // Not kept: an equal hash is never taken for an equal thing.
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// An entity of one of the vocabulary's types.
#[expect(clippy::expect_used, reason = "the vocabulary's own words; its tests parse each of them")]
pub(super) fn uid(kind: &str, id: &str) -> EntityUid {
    let name = TYPES.get(kind).expect("a type of the vocabulary").clone();
    EntityUid::from_type_name_and_id(name, EntityId::new(id))
}

static TYPES: LazyLock<HashMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
    let parse = |name: &'static str| Some((name, name.parse().ok()?));
    types().filter_map(parse).collect()
});

pub(super) fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

pub(super) fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    parents: Vec<EntityUid>,
) -> Entity {
    let parents: HashSet<EntityUid> = parents.into_iter().collect();
    let attributes: HashMap<String, RestrictedExpression> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // Texts and truths evaluate to themselves.
    Entity::new(uid.clone(), attributes, parents.clone())
        .unwrap_or_else(|_| Entity::new_no_attrs(uid, parents))
}

#[cfg(test)]
mod tests;
