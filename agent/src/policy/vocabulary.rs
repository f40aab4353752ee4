//! The words that policies are written in: entities, actions and their groups, and
//! what a policy can ask of a statement.
//!
//! INVARIANT: the schema is written from here ([`schema`]), and a test holds
//! `policies/schema.cedarschema` against it. A word that the code doesn't give
//! can't be used by a policy that loads.

use std::fmt::{self, Write as _};

use super::values;
use crate::model::{ActorKind, GroupKind};
use crate::sql::Effect;

/// What is asked: may this actor …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// … have a session on this database at all.
    Connect,
    /// … do this to it.
    Does(Effect),
    /// … see this column in the clear.
    Reveal,
}

impl Action {
    pub fn all() -> impl Iterator<Item = Self> {
        let does = Effect::ALL.iter().map(|effect| Self::Does(*effect));
        [Self::Connect, Self::Reveal].into_iter().chain(does)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Does(effect) => effect.as_str(),
            Self::Reveal => "reveal",
        }
    }

    /// The groups that it is in, the narrowest first.
    pub fn groups(self) -> &'static [&'static str] {
        use Effect as E;
        match self {
            Self::Connect | Self::Reveal => &[],
            Self::Does(E::Read | E::Export) => &[STATEMENT],
            Self::Does(E::Insert | E::Update | E::Delete | E::Truncate | E::Import) => {
                &["write", STATEMENT]
            }
            Self::Does(E::Create | E::Alter | E::Drop) => &["define", STATEMENT],
            Self::Does(E::Grant | E::Administer) => &["control", STATEMENT],
            Self::Does(E::Execute | E::UnsafeIo | E::Unknown) => &["code", STATEMENT],
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything that a statement can do.
pub const STATEMENT: &str = "statement";

/// The groups of actions, each with the one above it.
const GROUPS: &[(&str, Option<&str>)] = &[
    (STATEMENT, None),
    ("write", Some(STATEMENT)),
    ("define", Some(STATEMENT)),
    ("control", Some(STATEMENT)),
    ("code", Some(STATEMENT)),
];

/// What an actor belongs to, as entity types.
pub fn group_type(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Unit => "Unit",
        GroupKind::Container => "Container",
        GroupKind::Namespace => "Namespace",
        GroupKind::ServiceAccount => "ServiceAccount",
        GroupKind::Team => "Team",
        GroupKind::Group => "Group",
    }
}

/// A type of thing: what it is in, and its attributes with their types.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    pub name: &'static str,
    pub within: &'static [&'static str],
    pub attributes: &'static [(&'static str, &'static str)],
}

/// Things, from the widest to the narrowest. `Object` is whatever is no table: a
/// function, a role, an index.
pub const THINGS: &[Thing] = &[
    Thing { name: "Environment", within: &[], attributes: &[] },
    Thing { name: "Server", within: &["Environment"], attributes: &[] },
    Thing { name: "Database", within: &["Server"], attributes: &[("name", "String")] },
    Thing {
        name: "Schema",
        within: &["Database"],
        attributes: &[("name", "String"), ("database", "String")],
    },
    Thing {
        name: "Table",
        within: &["Schema"],
        attributes: &[
            ("name", "String"),
            ("schema", "String"),
            ("database", "String"),
            ("kind", "String"),
            ("temporary", "Bool"),
        ],
    },
    Thing {
        name: "Object",
        within: &["Schema", "Database"],
        attributes: &[
            ("name", "String"),
            ("schema?", "String"),
            ("database", "String"),
            ("kind", "String"),
            ("known", "Bool"),
        ],
    },
    Thing {
        name: "Column",
        within: &["Table", "Class"],
        attributes: &[
            ("name", "String"),
            ("table", "String"),
            ("schema", "String"),
            ("database", "String"),
            ("class", "String"),
        ],
    },
];

/// All types of entities.
pub fn types() -> impl Iterator<Item = &'static str> {
    ["Action", "Actor", "Kind", "Person", "Class"]
        .into_iter()
        .chain(GroupKind::ALL.iter().map(|kind| group_type(*kind)))
        .chain(THINGS.iter().map(|thing| thing.name))
}

/// What a policy can ask beyond who, what and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fact {
    /// `select`, `copy`, `alter_system` …
    Verb,
    /// `none`: the question doesn't arise. `bounded`, `weak`, `unbounded`.
    Bound,
    /// False for `unbounded` only.
    Bounded,
    Understood,
    /// Why not: `unparsable`, `dynamic`, `body` …
    Doubts,
    MultiStatement,
    InTransaction,
    /// `idle`, `open`, `failed`, `pipeline`.
    Transaction,
    /// More goes than is named.
    Cascade,
    RowLocks,
    /// A sensitive column decides which rows are touched.
    FiltersOnMasked,
    /// What a mask wrote is sent back, and a sensitive column is written.
    WritesMasked,
    /// False: a column's name could not be held against the catalog. What is
    /// written as `t.f` may then be a call of `f`.
    ColumnsKnown,
    /// Functions called that aren't the server's own.
    Functions,
    /// Settings of the session that it changes.
    Settings,
    /// What the code may do that it stores for later (a function, a view, a rule).
    Defines,
    /// What is bound to its parameters, each with its type.
    Parameters,
    /// The database's role.
    Role,
    /// 0 to 23, UTC.
    Hour,
    /// 1 Monday to 7 Sunday, UTC.
    Weekday,
    /// The approvals that the actor holds. None are known of yet: what an approval lifts
    /// is decided without them.
    Approvals,
}

impl Fact {
    pub const ALL: &[Self] = &[
        Self::Verb,
        Self::Bound,
        Self::Bounded,
        Self::Understood,
        Self::Doubts,
        Self::MultiStatement,
        Self::InTransaction,
        Self::Transaction,
        Self::Cascade,
        Self::RowLocks,
        Self::FiltersOnMasked,
        Self::WritesMasked,
        Self::ColumnsKnown,
        Self::Functions,
        Self::Settings,
        Self::Defines,
        Self::Parameters,
        Self::Role,
        Self::Hour,
        Self::Weekday,
        Self::Approvals,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verb => "verb",
            Self::Bound => "bound",
            Self::Bounded => "bounded",
            Self::Understood => "understood",
            Self::Doubts => "doubts",
            Self::MultiStatement => "multi_statement",
            Self::InTransaction => "in_transaction",
            Self::Transaction => "transaction",
            Self::Cascade => "cascade",
            Self::RowLocks => "row_locks",
            Self::FiltersOnMasked => "filters_on_masked",
            Self::WritesMasked => "writes_masked",
            Self::ColumnsKnown => "columns_known",
            Self::Functions => "functions",
            Self::Settings => "settings",
            Self::Defines => "defines",
            Self::Parameters => "parameters",
            Self::Role => "role",
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::Approvals => "approvals",
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Verb | Self::Bound | Self::Transaction | Self::Role => "String",
            Self::Bounded
            | Self::Understood
            | Self::MultiStatement
            | Self::InTransaction
            | Self::Cascade
            | Self::RowLocks
            | Self::FiltersOnMasked
            | Self::WritesMasked
            | Self::ColumnsKnown => "Bool",
            Self::Doubts | Self::Functions | Self::Settings | Self::Defines | Self::Approvals => {
                "Set<String>"
            }
            Self::Hour | Self::Weekday => "Long",
            Self::Parameters => "Parameters",
        }
    }

    /// What is known of every request, statement or not.
    pub fn is_common(self) -> bool {
        matches!(self, Self::Role | Self::Hour | Self::Weekday | Self::Approvals)
    }
}

/// Facts that policies read, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactSet(u32);

impl FactSet {
    pub const NONE: Self = Self(0);

    /// Every fact, and room for more.
    pub const ALL: Self = Self(u32::MAX);

    #[must_use]
    pub const fn with(self, fact: Fact) -> Self {
        Self(self.0 | 1 << fact as u8)
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this and in the other.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn contains(self, fact: Fact) -> bool {
        self.0 & 1 << fact as u8 != 0
    }
}

/// What `context.bound` can be.
pub const BOUNDS: &[&str] = &["none", "bounded", "weak", "unbounded"];

/// Annotations, and what each says.
pub const ANNOTATIONS: &[(&str, &str)] = &[
    ("id", "its name, the same over all files; a later one of that name takes its place"),
    ("reason", "why, in the words that the person refused will read"),
    ("severity", "`low`, `medium`, `high` or `critical`"),
    ("advice", "what to do instead"),
    ("hold", "who may lift this refusal: `approvers` or `group:NAME`"),
    ("hold_in_transaction", "also hold within a transaction, which keeps its locks meanwhile"),
    ("mask", "how a column that is not revealed is shown"),
    ("off", "takes the policy of that name out, and says why"),
];

/// What `@mask` can ask for: the masks that show less than the value.
pub const MASKS: &[&str] = &["truncate", "partial", "hash", "redact", "null"];

pub const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];

/// The schema, as Cedar writes it.
pub fn schema() -> String {
    let mut out = String::new();
    // Writing to a String doesn't fail.
    let _ = write_schema(&mut out);
    out
}

fn write_schema(out: &mut String) -> fmt::Result {
    out.push_str(
        "// The words of tidegate's policies. Written by the agent's own vocabulary\n\
         // (agent/src/policy/vocabulary.rs), which a test holds this file against.\n\n\
         // Who: a workload, and what it belongs to.\n",
    );
    let kinds: Vec<_> = ActorKind::ALL.iter().map(|kind| format!("\"{kind}\"")).collect();
    writeln!(out, "entity Kind enum [{}];", kinds.join(", "))?;
    let mut parents = vec!["Kind", "Person"];
    writeln!(out, "entity Person;")?;
    for kind in GroupKind::ALL {
        writeln!(out, "entity {};", group_type(*kind))?;
        parents.push(group_type(*kind));
    }
    writeln!(out, "entity Actor in [{}] {{", parents.join(", "))?;
    for attribute in ACTOR {
        writeln!(out, "    {attribute}?: String,")?;
    }
    out.push_str("};\n\n// What: from the environment down to the column.\n");
    writeln!(out, "entity Class in [Class];")?;
    for Thing { name, within: parents, attributes } in THINGS {
        write!(out, "entity {name}")?;
        if !parents.is_empty() {
            write!(out, " in [{}]", parents.join(", "))?;
        }
        if attributes.is_empty() {
            out.push_str(";\n");
            continue;
        }
        out.push_str(" {\n");
        for (attribute, type_name) in *attributes {
            writeln!(out, "    {attribute}: {type_name},")?;
        }
        out.push_str("};\n");
    }
    writeln!(out, "\n{}type Parameters = {};", values::PARAMETER, values::type_name())?;
    out.push_str("\n// What is known of every request.\n");
    write_context(out, "Session", Fact::is_common)?;
    out.push_str(
        "\n// What is known of a statement. `bound`: how many rows a write changes; of `read` and\n\
         // `export`, how much of what is read is given away.\n",
    );
    write_context(out, "Statement", |_| true)?;
    out.push('\n');
    for (group, above) in GROUPS {
        match above {
            Some(above) => writeln!(out, "action {group} in [{above}];")?,
            None => writeln!(out, "action {group};")?,
        }
    }
    for action in Action::all() {
        write!(out, "action {action}")?;
        if let Some(group) = action.groups().first() {
            write!(out, " in [{group}]")?;
        }
        let (resources, context) = match action {
            Action::Connect => ("[Database]", "Session"),
            Action::Reveal => ("[Column]", "Session"),
            Action::Does(_) => ("[Table, Object, Schema, Database]", "Statement"),
        };
        writeln!(out, " appliesTo {{")?;
        writeln!(out, "    principal: [Actor],\n    resource: {resources},")?;
        writeln!(out, "    context: {context},\n}};")?;
    }
    Ok(())
}

fn write_context(out: &mut String, name: &str, has: impl Fn(Fact) -> bool) -> fmt::Result {
    writeln!(out, "type {name} = {{")?;
    for fact in Fact::ALL.iter().filter(|fact| has(**fact)) {
        writeln!(out, "    {}: {},", fact.as_str(), fact.type_name())?;
    }
    writeln!(out, "}};")
}

/// The actor's attributes: each a text, where it is known.
pub const ACTOR: &[&str] = &["person", "user", "program"];

#[cfg(test)]
mod tests;
