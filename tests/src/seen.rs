//! The agent's output as its documented schema has it: what the suites look at,
//! read from JSON, not from the agent's own types.

use std::net::SocketAddr;

use serde::Deserialize;

/// One line of `observe -o jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub schema: u32,
    pub at: String,
    /// `opened`, `closed`, `failed`, `refused`, `direct`, `existing`.
    pub event: String,
    pub flow: Option<Flow>,
    pub closing: Option<Closing>,
    pub error: Option<String>,
    pub why: Option<String>,
    pub process: Option<Process>,
    pub destination: Option<SocketAddr>,
    pub netns: Option<u64>,
    pub client: Option<SocketAddr>,
    pub adopted: Option<bool>,
}

impl Event {
    /// Whose doing it was.
    pub fn whose(&self) -> Option<&Process> {
        self.flow.as_ref().map(|flow| &flow.process).or(self.process.as_ref())
    }

    pub fn is_of(&self, kind: &str, tgid: u32) -> bool {
        self.event == kind && self.whose().is_some_and(|process| process.key.tgid == tgid)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Flow {
    pub id: String,
    pub opened: String,
    pub process: Process,
    pub actor: Actor,
    pub client: SocketAddr,
    pub destination: SocketAddr,
    pub netns: u64,
    pub rule: String,
    pub mode: String,
    pub socket: String,
    pub generation: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ProcessKey {
    pub tgid: u32,
    pub started: u64,
    pub exec: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    pub key: ProcessKey,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    pub user: Option<String>,
    pub comm: String,
    pub command: Vec<String>,
    pub command_cut: bool,
    pub command_source: String,
    pub exe: Option<String>,
    pub cgroup_id: u64,
    pub cgroup: Option<String>,
    #[serde(default)]
    pub parent: Option<u32>,
    pub workload: Workload,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Workload {
    pub unit: Option<String>,
    pub container: Option<String>,
    pub runtime: Option<String>,
    pub pod: Option<String>,
    pub image: Option<String>,
    pub image_digest: Option<String>,
    pub container_name: Option<String>,
    pub pod_name: Option<String>,
    pub namespace: Option<String>,
    pub managed: Option<bool>,
    pub labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Actor {
    pub kind: String,
    pub name: Option<String>,
    pub confidence: Option<String>,
    pub reason: String,
    pub complete: bool,
    pub program: Program,
    pub ancestry: Vec<Ancestor>,
    pub ancestry_cut: bool,
    pub person: Option<Person>,
    pub teams: Vec<String>,
    pub groups: Vec<String>,
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Program {
    pub file: Option<ProgramFile>,
    pub script: Option<String>,
    pub folder: Option<String>,
    pub terminal: Option<String>,
    pub login_session: Option<u32>,
    pub capabilities: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ProgramFile {
    pub device: u64,
    pub inode: u64,
    pub build_id: Option<String>,
    pub sha256: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Ancestor {
    pub pid: u32,
    pub relation: String,
    pub ended: bool,
    pub uid: u32,
    pub gid: u32,
    pub comm: String,
    pub exe: Option<String>,
    pub file: Option<ProgramFile>,
    pub command: String,
    pub script: Option<String>,
    pub login_uid: Option<u32>,
    pub login_session: Option<u32>,
    pub capabilities: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    pub via: String,
    pub user: Option<Sourced>,
    pub switches: Vec<Switch>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Sourced {
    pub value: String,
    pub origin: String,
    pub confidence: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Switch {
    pub by: Option<String>,
    pub from: String,
    pub to: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Attribute {
    pub name: String,
    pub value: String,
    pub origin: String,
    pub confidence: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Closing {
    pub flow: String,
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub duration_us: u64,
    pub end: String,
    pub carried: Option<Carried>,
}

/// How it was carried.
#[derive(Clone, Debug, Deserialize)]
pub struct Carried {
    pub verified: Option<String>,
    pub leaf: Option<String>,
    pub fault: Option<String>,
}

/// `status -o json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub version: String,
    pub keeper: u32,
    /// `healthy`, `degraded`, `failing`.
    pub verdict: String,
    pub cgroup: String,
    pub listen_port: u16,
    pub generation: u32,
    pub policy: Policy,
    pub canary: Canary,
    pub hooks: Vec<Hook>,
    pub destinations: Vec<Destination>,
    pub namespaces: Vec<NamespaceSeen>,
    pub enforcers: Vec<Enforcer>,
    pub open: u64,
    pub connecting: u64,
    pub losses: Losses,
    pub log: Log,
    pub adopted: Vec<Adopted>,
    pub powerful: Vec<Process>,
    pub notes: Vec<String>,
}

impl Status {
    /// The enforcer that gets new connections.
    pub fn current(&self) -> Option<&Enforcer> {
        self.enforcers.iter().find(|enforcer| !enforcer.draining)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Policy {
    /// `enforce`, `shadow`, `off`.
    pub mode: String,
    pub generation: Option<String>,
    pub bare: bool,
    pub packs: Vec<String>,
    pub files: Vec<String>,
    pub enforced: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Canary {
    pub crossed: u64,
    pub failed: u64,
    pub last: Option<String>,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Hook {
    pub name: String,
    pub attached: bool,
    pub cost: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Destination {
    pub name: String,
    pub mode: String,
    pub addresses: Vec<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct NamespaceSeen {
    pub cookie: u64,
    pub inode: u64,
    pub host: bool,
    pub open: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Enforcer {
    pub pid: u32,
    pub version: String,
    pub draining: bool,
    pub sessions: u64,
    pub restarts: u32,
    pub fences: Option<Fences>,
    pub parsers: Parsers,
}

/// What reads long statements.
#[derive(Clone, Debug, Deserialize)]
pub struct Parsers {
    pub pids: Vec<u32>,
    pub lost: u32,
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Fences {
    pub uid: u32,
    pub no_capabilities: bool,
    pub no_new_privs: bool,
    pub not_dumpable: bool,
    pub landlock: String,
    pub seccomp: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Losses {
    pub events: u64,
    pub direct: u64,
    pub refused: u64,
    pub dropped_packets: u64,
    pub over_quota: u64,
    #[serde(default)]
    pub untold: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    pub enabled: bool,
    pub records: u64,
    pub lost: u64,
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Adopted {
    pub process: Process,
    pub client: SocketAddr,
    pub destination: SocketAddr,
}
