//! A set of policies that holds together: read, checked against the schema, and cut
//! by action, so that a question meets only the policies that can fit it.
//!
//! INVARIANT: a [`Set`] exists only if everything in it is right; whoever holds a
//! good one keeps it until the next good one is there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use cedar_policy::{ActionConstraint, EntityUid, PolicySet, Schema, ValidationMode, Validator};
use serde_json::Value;

use super::anywhere::{self, Named};
use super::lint;
use super::local::Locals;
use super::source::{self, Mistake, Mistakes, Place, Policy, Read, Source};
use super::vocabulary::{Action, Fact, FactSet, schema};
use crate::sql::{Effect, Effects};

/// Which policies: the hash of their names and texts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(u64);

/// What is laid over what. A policy replaces the one of the same name in an earlier
/// layer; with `@off` it only takes it out.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Without the default policies: then nothing is permitted but what these permit.
    pub bare: bool,
    /// By name; see [`PACKS`].
    pub packs: Vec<String>,
    /// The operator's own.
    pub own: Vec<Source>,
}

/// Policies that are ready to decide.
#[derive(Debug)]
pub struct Set {
    generation: Generation,
    policies: BTreeMap<Arc<str>, Arc<Policy>>,
    texts: BTreeMap<Arc<str>, Box<str>>,
    slices: HashMap<Action, Slice>,
    looks: HashMap<Arc<str>, Looks>,
    /// Of those that tell one table from another: by which words.
    named: HashMap<Arc<str>, Named>,
    locals: Locals,
    /// By effect: what its slice reads.
    reads: Box<[FactSet]>,
    /// … and what any does.
    reads_at_all: FactSet,
    /// What lint tells: nothing of it keeps a set from being used.
    remarks: Vec<Mistake>,
}

/// The policies that can fit one action, and what they look at.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub policies: PolicySet,
    pub reads: FactSet,
    /// Whether one of them tells one table from another.
    pub tells_names: bool,
}

impl Set {
    /// The default set.
    pub fn embedded() -> Result<Self, Mistakes> {
        Self::load(&Layers::default())
    }

    /// These files and nothing else.
    pub fn parse(files: &[Source]) -> Result<Self, Mistakes> {
        Self::load(&Layers { bare: true, packs: Vec::new(), own: files.to_vec() })
    }

    pub fn load(layers: &Layers) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let mut remarks = Vec::new();
        let mut all: BTreeMap<Arc<str>, Read> = BTreeMap::new();
        let shipped = |(name, text): (&str, &str)| Source { name: name.into(), text: text.into() };
        let mut stack: Vec<Vec<Source>> = Vec::new();
        if !layers.bare {
            stack.push(DEFAULT.iter().copied().map(shipped).collect());
        }
        for wanted in &layers.packs {
            match PACKS.iter().find(|(name, _, _)| name == wanted) {
                Some((_, file, text)) => stack.push(vec![shipped((file, text))]),
                None => {
                    let known: Vec<_> = PACKS.iter().map(|(name, _, _)| *name).collect();
                    mistakes.push(Mistake {
                        place: Place { file: "packs".into(), line: 0 },
                        text: format!("no pack is called `{wanted}`: {}", known.join(", ")),
                    });
                }
            }
        }
        stack.push(layers.own.clone());
        for (number, layer) in stack.iter().enumerate() {
            lay(number, layer, &mut all, &mut mistakes, &mut remarks);
        }
        let cedar = whole(&all, &mut mistakes);
        validate(&cedar, &all, &mut mistakes, &mut remarks);
        lint::remarks(all.values(), &mut remarks);
        if !mistakes.is_empty() {
            mistakes.sort();
            return Err(Mistakes(mistakes));
        }
        let looks: Vec<(&Read, Looks)> = all.values().map(|read| (read, Looks::of(read))).collect();
        let slices: HashMap<Action, Slice> =
            Action::all().map(|action| (action, Slice::of(action, looks.iter()))).collect();
        let reads = Effect::ALL.iter().map(|effect| {
            slices.get(&Action::Does(*effect)).map_or(FactSet::ALL, |slice| slice.reads)
        });
        let telling = looks.iter().filter(|(_, looks)| looks.tells_names);
        let named = telling.map(|(read, _)| (Arc::clone(&read.policy.id), Named::of(read)));
        let named = named.collect();
        let reads_at_all = looks.iter().fold(FactSet::NONE, |all, (_, one)| all.union(one.reads));
        let seen =
            looks.iter().map(|(read, looks)| (Arc::clone(&read.policy.id), *looks)).collect();
        remarks.sort();
        Ok(Self {
            generation: Generation::of(&all),
            policies: all
                .iter()
                .map(|(id, read)| (Arc::clone(id), Arc::new(read.policy.clone())))
                .collect(),
            texts: all.into_iter().map(|(id, read)| (id, read.text)).collect(),
            reads: reads.collect(),
            reads_at_all,
            slices,
            looks: seen,
            named,
            locals: Locals::default(),
            remarks,
        })
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// In the order of their names.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    pub fn policy(&self, id: &str) -> Option<&Arc<Policy>> {
        self.policies.get(id)
    }

    /// A policy as it stands in its file.
    pub fn text(&self, id: &str) -> Option<&str> {
        self.texts.get(id).map(AsRef::as_ref)
    }

    /// What is odd about it.
    pub fn remarks(&self) -> &[Mistake] {
        &self.remarks
    }

    pub(super) fn slice(&self, action: Action) -> Option<&Slice> {
        self.slices.get(&action)
    }

    /// Whether any policy tells one table from another.
    pub fn tells_tables(&self) -> bool {
        !self.named.is_empty()
    }

    /// The schemas that any of them may speak of.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &str> {
        self.named.values().flat_map(Named::schemas)
    }

    pub(super) fn named(&self, id: &str) -> Option<&Named> {
        self.named.get(id)
    }

    pub(super) fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Some of a slice's policies, as a slice.
    pub(super) fn part<'p>(
        &self,
        policies: impl Iterator<Item = &'p cedar_policy::Policy>,
    ) -> Slice {
        let mut slice = Slice::default();
        for policy in policies {
            let id: &str = policy.id().as_ref();
            slice.add(policy.clone(), self.looks.get(id).copied().unwrap_or(Looks::ALL));
        }
        slice
    }

    /// What one of its policies looks at.
    pub(super) fn reads_of(&self, id: &str) -> FactSet {
        self.looks.get(id).map_or(FactSet::ALL, |looks| looks.reads)
    }

    /// Whether any of its policies asks for this.
    pub fn reads_any(&self, fact: Fact) -> bool {
        self.reads_at_all.contains(fact)
    }

    /// What the policies look at that can fit one of these effects.
    pub(super) fn reads(&self, effects: Effects) -> FactSet {
        // What isn't read is asked about as if it did everything.
        let unread = effects.contains(Effect::Unknown);
        let effects = if unread { effects.union(anywhere::EFFECTS) } else { effects };
        effects.iter().fold(FactSet::NONE, |all, effect| {
            all.union(self.reads.get(effect as usize).copied().unwrap_or(FactSet::ALL))
        })
    }
}

/// Reads a layer's files over what is there.
fn lay(
    number: usize,
    files: &[Source],
    all: &mut BTreeMap<Arc<str>, Read>,
    mistakes: &mut Vec<Mistake>,
    remarks: &mut Vec<Mistake>,
) {
    let mut layer: BTreeMap<Arc<str>, Read> = BTreeMap::new();
    for file in files {
        for read in source::read(file, mistakes) {
            let id = Arc::clone(&read.policy.id);
            if let Some(before) = layer.get(&id) {
                mistakes.push(Mistake {
                    place: read.policy.place.clone(),
                    text: format!("`{id}` is there already: {}", before.policy.place),
                });
                continue;
            }
            layer.insert(id, Read { layer: number, ..read });
        }
    }
    for (id, read) in layer {
        if read.policy.off.is_none() {
            all.insert(id, read);
        } else if all.remove(&id).is_none() {
            remarks.push(Mistake {
                place: read.policy.place,
                text: format!("no policy is called `{id}`: this takes nothing out"),
            });
        }
    }
}

fn whole(all: &BTreeMap<Arc<str>, Read>, mistakes: &mut Vec<Mistake>) -> PolicySet {
    let mut set = PolicySet::new();
    for read in all.values() {
        if let Err(error) = set.add(read.cedar.clone()) {
            let place = read.policy.place.clone();
            mistakes.push(Mistake { place, text: error.to_string() });
        }
    }
    set
}

fn validate(
    cedar: &PolicySet,
    all: &BTreeMap<Arc<str>, Read>,
    mistakes: &mut Vec<Mistake>,
    remarks: &mut Vec<Mistake>,
) {
    let schema = match &*SCHEMA {
        Ok(schema) => schema.clone(),
        Err(error) => {
            let place = Place { file: "schema".into(), line: 1 };
            mistakes.push(Mistake { place, text: error.clone() });
            return;
        }
    };
    let found = Validator::new(schema).validate(cedar, ValidationMode::Strict);
    let place = |id: &cedar_policy::PolicyId| {
        let id: &str = id.as_ref();
        all.get(id)
            .map_or_else(|| Place { file: id.into(), line: 0 }, |read| read.policy.place.clone())
    };
    let plain = |text: String, id: &cedar_policy::PolicyId| {
        let prefix = format!("for policy `{id}`, ");
        text.strip_prefix(&prefix).map_or_else(|| text.clone(), ToOwned::to_owned)
    };
    for error in found.validation_errors() {
        use miette::Diagnostic as _;
        let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
        let id = error.policy_id();
        let text = format!("`{id}`: {}{help}", plain(error.to_string(), id));
        mistakes.push(Mistake { place: place(id), text });
    }
    for warning in found.validation_warnings() {
        use cedar_policy::ValidationWarning as W;
        let id = warning.policy_id();
        let text = match warning {
            // Its conditions exclude each other, or nothing is of such a kind.
            W::ImpossiblePolicy(_) | W::InvalidActionApplication(_) => {
                format!("`{id}` can never fit: {}", lint::NO_REQUEST)
            }
            other => format!("`{id}`: {}", plain(other.to_string(), id)),
        };
        let remark = Mistake { place: place(id), text };
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }
}

impl Slice {
    fn of<'r>(action: Action, all: impl Iterator<Item = &'r (&'r Read, Looks)>) -> Self {
        let mut slice = Self::default();
        for (read, looks) in all {
            if fits(&read.cedar.action_constraint(), action) {
                slice.add(read.cedar.clone(), *looks);
            }
        }
        slice
    }

    fn add(&mut self, policy: cedar_policy::Policy, looks: Looks) {
        // Names are unique: it has been a set before.
        drop(self.policies.add(policy));
        self.reads = self.reads.union(looks.reads);
        self.tells_names |= looks.tells_names;
    }
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    reads: FactSet,
    tells_names: bool,
}

impl Looks {
    const ALL: Self = Self { reads: FactSet::ALL, tells_names: true };

    fn of(read: &Read) -> Self {
        let mut looks = Self::default();
        match read.cedar.to_json() {
            Ok(tree) => looks.look(&tree),
            Err(_) => looks = Self::ALL,
        }
        looks
    }

    /// Out of its syntax tree.
    fn look(&mut self, tree: &Value) {
        match tree {
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.look_field(key, value);
                }
            }
            _ => {}
        }
    }

    fn look_field(&mut self, key: &str, value: &Value) {
        let variable = value.pointer("/left/Var").and_then(Value::as_str);
        let of = |name: &str| variable == Some(name);
        let attribute = value.get("attr").and_then(Value::as_str).unwrap_or_default();
        match key {
            "." | "has" if of("context") => {
                let fact = Fact::ALL.iter().find(|fact| fact.as_str() == attribute);
                self.reads = fact.map_or(FactSet::ALL, |fact| self.reads.with(*fact));
            }
            "." | "has" if of("resource") => {
                self.tells_names |= !matches!(attribute, "temporary" | "kind" | "database");
            }
            // The whole of it: anything may be looked at.
            "Var" if *value == "context" => self.reads = FactSet::ALL,
            "type" | "entity_type" | "__entity" => {
                let name = value.as_str().or_else(|| value.get("type")?.as_str());
                let names = ["Schema", "Table", "Object", "Column"];
                self.tells_names |=
                    key != "entity_type" && name.is_some_and(|n| names.contains(&n));
                self.look(value);
            }
            _ => self.look(value),
        }
    }
}

pub(super) fn fits(constraint: &ActionConstraint, action: Action) -> bool {
    let is = |uid: &EntityUid| uid.id().unescaped() == action.as_str();
    let within = |uid: &EntityUid| {
        is(uid) || action.groups().iter().any(|group| uid.id().unescaped() == *group)
    };
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(uid),
        ActionConstraint::In(uids) => uids.iter().any(within),
    }
}

impl Generation {
    fn of(all: &BTreeMap<Arc<str>, Read>) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for (id, read) in all {
            for part in [id.as_ref(), read.text.as_ref()] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        let hash = hash.finish();
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }
}

impl Generation {
    pub(super) fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({self})")
    }
}

static SCHEMA: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    Schema::from_str(&schema()).map_err(|error| format!("the schema is broken: {error}"))
});

/// The files of the default set.
pub const DEFAULT: &[(&str, &str)] =
    &[("policies/default.cedar", include_str!("../../../policies/default.cedar"))];

/// Packs by name, each with its file.
pub const PACKS: &[(&str, &str, &str)] = &[
    (
        "ai-agents",
        "policies/packs/ai-agents.cedar",
        include_str!("../../../policies/packs/ai-agents.cedar"),
    ),
    (
        "read-only",
        "policies/packs/read-only.cedar",
        include_str!("../../../policies/packs/read-only.cedar"),
    ),
];

#[cfg(test)]
mod tests;
