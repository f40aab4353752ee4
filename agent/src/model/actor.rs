//! Who acts: the program, its ancestry, the person behind it, and what kind of
//! actor that makes, each fact with its source.
//!
//! INVARIANT: every text and list here is cut to the bounds below, so that a
//! flow with the largest actor still fits one message of the channel. What a
//! connection says of itself never replaces what the kernel says of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Ancestors that are told.
pub const MOST_ANCESTORS: usize = 16;
/// Ancestors that are looked at, for what kind of actor they make.
pub const MOST_LOOKED_AT: usize = 64;
pub const MOST_ATTRIBUTES: usize = 24;
pub const MOST_GROUPS: usize = 24;
pub const MOST_SWITCHES: usize = 4;
/// Bytes of a path; of a longer one the end is kept.
pub const LONGEST_PATH: usize = 128;
/// Bytes of an ancestor's command line.
pub const LONGEST_COMMAND: usize = 160;
/// Bytes of an attribute's name, a group's, a user's.
pub const LONGEST_NAME: usize = 48;
/// The attribute that names a pod's account: `namespace/name`.
pub const SERVICE_ACCOUNT: &str = "kubernetes.service_account";
/// Bytes of an attribute's value, a reason.
pub const LONGEST_VALUE: usize = 128;

/// What a program is, by how it must be treated.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person's: it has a terminal, or descends from a login.
    Terminal,
    /// An AI agent, or a tool that one has started.
    Agent,
    /// A notebook's kernel.
    Notebook,
    /// A job: scheduled, batch, training, transformation.
    Pipeline,
    /// A unit or a container that runs on its own.
    Service,
    /// Nobody can say.
    #[default]
    Unplaced,
}

/// Where a fact comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The kernel's own word: ids, start times, ancestry, program files.
    Kernel,
    /// The path of the cgroup, which only who may manage cgroups can choose.
    Cgroup,
    /// The container runtime, asked over its socket.
    Runtime,
    /// The host's own log of logins.
    Log,
    /// The directory file.
    Directory,
    /// The process's own memory: arguments and environment, which it may write.
    Process,
    /// The statement, or the session's parameters.
    Statement,
    /// The kubelet's own folders on this node.
    Kubelet,
    /// The host's lists of users: its files, or whom its name service asks.
    Host,
    /// Taken in the kernel's hook, in the process's own context.
    #[serde(rename = "kernel-hook")]
    Hook,
    /// Read from /proc while the process sat in its connect.
    Proc,
}

/// How sure a fact is, the least sure first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The actor's own word.
    Claimed,
    /// A sign that is seldom wrong, and could be forged with effort.
    Likely,
    /// The actor could not have chosen it.
    Certain,
}

/// A fact with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sourced<T> {
    pub value: T,
    pub origin: Origin,
    pub confidence: Confidence,
}

/// A named fact with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    pub value: String,
    pub origin: Origin,
    pub confidence: Confidence,
}

/// Where a group of facts comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    pub facts: String,
    pub origin: Origin,
    pub confidence: Confidence,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub kind: Kind,
    /// Which one, where the table of kinds names it: `claude-code`, `airflow`.
    pub name: Option<String>,
    /// Of the kind; absent for what nobody can place.
    pub confidence: Option<Confidence>,
    /// Why it is of this kind, for people.
    pub reason: String,
    /// Everything was asked while the process waited in its connect.
    pub complete: bool,
    /// The kernel's id of this boot: a process's key is unique within it.
    pub boot: String,
    pub program: Program,
    /// The parent first, then its parent, and so on.
    pub ancestry: Vec<Ancestor>,
    /// There are more ancestors than are told.
    pub ancestry_cut: bool,
    pub person: Option<Person>,
    /// From the directory file.
    pub teams: Vec<String>,
    pub groups: Vec<String>,
    /// Of each group of facts that is known.
    pub sources: Vec<Provenance>,
    pub attributes: Vec<Attribute>,
}

/// What is known of a program beyond what stands in [`super::Process`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub file: Option<ProgramFile>,
    /// What an interpreter runs: a file, a module (`-m …`), a class, or `-c`
    /// for code in the arguments.
    pub script: Option<String>,
    pub folder: Option<PathBuf>,
    /// The name of its group, where the host knows one.
    pub group: Option<String>,
    pub terminal: Option<String>,
    /// The audit session of its login.
    pub login_session: Option<u32>,
    /// Effective capabilities of note, by name.
    pub capabilities: Vec<String>,
}

/// A program's file: which, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFile {
    pub device: u64,
    pub inode: u64,
    pub build_id: Option<String>,
    /// Of its content, in hex; absent while it is being computed, and where the file
    /// is nowhere to be found any more.
    pub sha256: Option<String>,
    /// When it was written last (nanoseconds since 1970), and its size: by these one
    /// content of it is told from another. Told to nobody.
    #[serde(skip)]
    pub written: (i128, u64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    #[default]
    Parent,
    /// The same process, before its exec.
    Before,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    pub pid: u32,
    /// Nanoseconds after boot at which it started, to the kernel's clock tick.
    pub started: u64,
    pub relation: Relation,
    /// It had ended by the time of the connect.
    pub ended: bool,
    pub uid: u32,
    pub gid: u32,
    pub user: Option<String>,
    pub group: Option<String>,
    pub comm: String,
    pub exe: Option<PathBuf>,
    pub file: Option<ProgramFile>,
    /// Its arguments as one line, secrets redacted.
    pub command: String,
    pub script: Option<String>,
    pub folder: Option<PathBuf>,
    pub terminal: Option<String>,
    pub login_uid: Option<u32>,
    /// The audit session of its login.
    pub login_session: Option<u32>,
    pub capabilities: Vec<String>,
}

/// How a person came to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    Ssh,
    /// A login on the host itself.
    Login,
    /// Into a running container (`kubectl exec`, `docker exec`).
    Exec,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub via: Via,
    /// Who logged in, as the host knows them.
    pub user: Option<Sourced<String>>,
    pub login_uid: Option<u32>,
    /// Where they came from.
    pub address: Option<Sourced<String>>,
    /// The fingerprint of the key they showed.
    pub key: Option<Sourced<String>>,
    /// Who they became since (sudo, su, setuid), the first first.
    pub switches: Vec<Switch>,
    /// Their name, from the directory file.
    pub name: Option<String>,
}

/// One change of user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The program that did it, where it is seen: `sudo`, `su`.
    pub by: Option<String>,
    pub from: String,
    pub to: String,
}

/// The group of facts that is there once a process's memory could be read.
pub const ENVIRONMENT: &str = "environment";

impl Provenance {
    /// Of what every connect has: its process, its user, its cgroup.
    pub fn of_hook() -> Self {
        let (origin, confidence) = (Origin::Hook, Confidence::Certain);
        Self { facts: "process".to_owned(), origin, confidence }
    }
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Terminal,
        Self::Agent,
        Self::Notebook,
        Self::Pipeline,
        Self::Service,
        Self::Unplaced,
    ];

    pub fn word(self) -> &'static str {
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

impl Actor {
    /// Nothing could be found out but what the hook itself took.
    pub fn unknown(reason: &str) -> Self {
        let sources = vec![Provenance::of_hook()];
        Self { reason: cut(reason, LONGEST_VALUE), sources, ..Self::default() }
    }

    /// Whether its memory could be read, by which an AI agent would be known.
    pub fn was_read(&self) -> bool {
        self.sources.iter().any(|one| one.facts == ENVIRONMENT)
    }

    /// `agent claude-code`, `service`
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.kind.word()),
            None => self.kind.word().to_owned(),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The Kubernetes service account, where the process could not have chosen it.
    pub fn service_account(&self) -> Option<&str> {
        self.attribute(SERVICE_ACCOUNT)
            .filter(|account| account.confidence == Confidence::Certain)
            .map(|account| account.value.as_str())
    }

    /// Adds what was learnt later. What is known stays; a surer source may
    /// replace a less sure one, never the reverse. True: it was taken.
    pub fn enrich(&mut self, attribute: Attribute) -> bool {
        let attribute = Attribute {
            name: cut(&attribute.name, LONGEST_NAME),
            value: cut(&attribute.value, LONGEST_VALUE),
            ..attribute
        };
        if let Some(known) = self.attributes.iter_mut().find(|one| one.name == attribute.name) {
            let surer = attribute.confidence > known.confidence;
            if surer {
                *known = attribute;
            }
            return surer;
        }
        let room = self.attributes.len() < MOST_ATTRIBUTES;
        if room {
            self.attributes.push(attribute);
        }
        room
    }
}

/// At most so many bytes of a text; one that is longer ends with `…`.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// The same from the other end: `…/bin/run`.
pub fn cut_front(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut start = text.len() - most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("…{}", text.get(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests;
