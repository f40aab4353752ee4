//! tidegate.toml: raw text → checked settings, once. All mistakes of a file
//! are found in one go; nothing outside this room ever sees a raw value.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Mode;

/// The settings, checked and complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cgroup to attach to; `None`: the root of cgroup2.
    pub cgroup: Option<PathBuf>,
    /// Where bpffs is, or is to be mounted.
    pub bpffs: PathBuf,
    /// The listeners' port, the same in every network namespace.
    pub listen_port: u16,
    /// The control socket.
    pub control: PathBuf,
    pub enforcer: EnforcerSettings,
    pub on_existing: OnExisting,
    pub protect: Vec<Protect>,
    /// How often a canary connects; half of what makes a heartbeat stale.
    pub canary_every: Duration,
    /// How often host names are resolved again.
    pub resolve_every: Duration,
    /// How long an address that a name no longer has stays protected.
    pub resolve_grace: Duration,
    /// Unsettled connects that one user may have in one network namespace.
    pub quota_user: u32,
    /// … and one cgroup.
    pub quota_cgroup: u32,
    /// The kernel programs' own debug lines.
    pub debug_programs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcerSettings {
    /// Who the enforcer runs as: a name, else [`FALLBACK_UID`].
    pub user: String,
    /// Relay threads; 0: as many as there are cores.
    pub workers: usize,
    /// How long an old enforcer may go on after an upgrade.
    pub drain: Duration,
}

/// Runs the enforcer where the configured user doesn't exist; in the range
/// that systemd keeps for users made on the fly.
pub const FALLBACK_UID: u32 = 61_843;

/// What happens to connections older than the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// They go on, bound to their peer, and are listed until they end.
    #[default]
    Adopt,
    /// They are ended.
    Kill,
}

/// One protected destination, or a hole in a wider one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protect {
    /// As it was written.
    pub name: String,
    pub target: ProtectTarget,
    pub mode: Mode,
    /// Leave it alone although a wider one matches.
    pub exclude: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtectTarget {
    /// This port on any address.
    Port(u16),
    Network {
        address: IpAddr,
        prefix: u8,
        port: u16,
    },
    /// Resolved, and followed as it changes.
    Host {
        host: String,
        port: u16,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cgroup: None,
            bpffs: PathBuf::from("/sys/fs/bpf"),
            listen_port: 15_999,
            control: PathBuf::from(crate::control::DEFAULT_PATH),
            enforcer: EnforcerSettings {
                user: "tidegate".into(),
                workers: 0,
                drain: Duration::from_secs(600),
            },
            on_existing: OnExisting::Adopt,
            protect: vec![Protect {
                name: "5432".into(),
                target: ProtectTarget::Port(5432),
                mode: Mode::Strict,
                exclude: false,
            }],
            canary_every: Duration::from_millis(500),
            resolve_every: Duration::from_secs(30),
            resolve_grace: Duration::from_secs(600),
            quota_user: 1024,
            quota_cgroup: 2048,
            debug_programs: false,
        }
    }
}
