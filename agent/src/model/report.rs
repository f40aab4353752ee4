//! What `tidegate status` tells: the running agent's own account of itself.

use serde::{Deserialize, Serialize};

use super::{Mode, OriginalDestination, Peer, PolicyMode, Process, Timestamp};

/// The schema of [`StatusReport`] as JSON.
pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub schema: u32,
    pub version: String,
    pub started: Timestamp,
    pub keeper: u32,
    pub verdict: Verdict,
    pub cgroup: String,
    pub listen_port: u16,
    pub generation: u32,
    pub policy: PolicyReport,
    pub canary: CanaryReport,
    pub hooks: Vec<HookReport>,
    pub destinations: Vec<DestinationReport>,
    pub namespaces: Vec<NamespaceReport>,
    pub enforcers: Vec<EnforcerReport>,
    pub open: u64,
    /// Held back, waiting for their destination to answer.
    pub connecting: u64,
    pub losses: Losses,
    pub log: LogReport,
    /// Connections older than the agent that go on, bound to their peer.
    pub adopted: Vec<Adopted>,
    /// Processes under the cgroup that could pass around the hooks.
    pub powerful: Vec<Process>,
    /// What is wrong or missing on this host, and what it costs.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything holds.
    Healthy,
    /// It holds, with something that needs a look.
    Degraded,
    /// Connections are not led through the enforcer.
    Failing,
}

/// Which policies hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    pub mode: PolicyMode,
    /// The hash of the policies, as `tidegate policy lint` prints it. `None`: nothing
    /// is decided.
    pub generation: Option<String>,
    /// Without the default policies.
    pub bare: bool,
    pub packs: Vec<String>,
    /// The operator's own files.
    pub files: Vec<String>,
    /// Services that are no longer in shadow.
    pub enforced: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryReport {
    pub crossed: u64,
    pub failed: u64,
    /// When one last crossed the enforcer.
    pub last: Option<Timestamp>,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    pub name: String,
    pub attached: bool,
    /// What its absence costs.
    pub cost: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationReport {
    /// As configured: `5432`, `10.0.0.0/8:5432`, `db.example:5432`.
    pub name: String,
    pub mode: Mode,
    /// The addresses it stands for now, where it is a host name.
    pub addresses: Vec<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceReport {
    pub cookie: u64,
    pub inode: u64,
    /// The agent's own network namespace.
    pub host: bool,
    pub open: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcerReport {
    pub pid: u32,
    pub started: Timestamp,
    pub version: String,
    /// Gets no new connections.
    pub draining: bool,
    pub sessions: u64,
    pub restarts: u32,
    pub fences: Option<Fences>,
    /// What reads its long statements.
    #[serde(default)]
    pub parsers: ParsersReport,
}

/// The processes that read an enforcer's long statements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsersReport {
    pub pids: Vec<u32>,
    /// Those that a statement ended, or that took too long over one.
    pub lost: u32,
    /// Why there is none.
    pub trouble: Option<String>,
}

/// What holds the enforcer, as it found itself after locking itself in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fences {
    pub uid: u32,
    pub no_capabilities: bool,
    pub no_new_privs: bool,
    pub not_dumpable: bool,
    /// `full`, `partial`, or why it isn't there.
    pub landlock: String,
    pub seccomp: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Events for which the ring had no room.
    pub events: u64,
    /// Connects that went direct while the agent wasn't there.
    pub direct: u64,
    pub refused: u64,
    pub dropped_packets: u64,
    pub over_quota: u64,
    /// Refusals and starts of processes that came too thick to be told one by
    /// one.
    pub untold: u64,
}

/// The log, over all enforcers since the keeper's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    pub enabled: bool,
    pub records: u64,
    /// Records that are missing: what they tell of went through without.
    pub lost: u64,
    /// Why records aren't written or signed at the moment.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    pub process: Process,
    pub client: Peer,
    pub destination: OriginalDestination,
}
