//! Who is behind a connection, in the words of policies: a workload, the person
//! at it where one is known, and what both belong to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One workload, with the person at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    pub kind: ActorKind,
    /// The workload's name, the same after a restart: its unit, its container's
    /// image, its executable.
    pub workload: String,
    pub person: Option<String>,
    /// The host's user that it runs as.
    pub user: Option<String>,
    /// The executable's path.
    pub program: Option<String>,
    pub groups: Vec<Group>,
}

/// What kind of workload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A person at a terminal.
    Terminal,
    /// An AI agent.
    Agent,
    Notebook,
    Pipeline,
    /// A unit or a long-running container.
    Service,
    /// Nobody can tell.
    Unplaced,
}

/// Something that an actor belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    pub kind: GroupKind,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    Unit,
    Container,
    Namespace,
    /// `namespace/name`.
    ServiceAccount,
    Team,
    /// A group of the host's users.
    Group,
}

impl ActorKind {
    pub const ALL: &[Self] = &[
        Self::Terminal,
        Self::Agent,
        Self::Notebook,
        Self::Pipeline,
        Self::Service,
        Self::Unplaced,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Agent => "agent",
            Self::Notebook => "notebook",
            Self::Pipeline => "pipeline",
            Self::Service => "service",
            Self::Unplaced => "unplaced",
        }
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ActorKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("`{text}` is no kind of workload (one of {})", all.join(", "))
        })
    }
}

impl GroupKind {
    pub const ALL: &[Self] = &[
        Self::Unit,
        Self::Container,
        Self::Namespace,
        Self::ServiceAccount,
        Self::Team,
        Self::Group,
    ];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Namespace => "namespace",
            Self::ServiceAccount => "service_account",
            Self::Team => "team",
            Self::Group => "group",
        }
    }
}
