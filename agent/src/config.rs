//! tidegate.toml: raw text → checked settings, once. All mistakes of a file
//! are found in one go; nothing outside this room ever sees a raw value.
//!
//! INVARIANT: whatever comes from a flag, the environment or the file passes
//! the same checks, and a contradiction between them is found like one within
//! the file. Settings with a mistake are never handed out in part.

mod approvals;
mod audit;
mod check;
pub mod classes;
mod draft;
mod duration;
pub mod enforced;
mod file;
pub mod filled;
mod kept;
pub mod logins;
mod mistakes;
mod policy;
mod protect;
mod service;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{Mode, Protocol};

pub use approvals::ApprovalSettings;
pub use audit::AuditSettings;
pub use classes::ClassSettings;
pub use draft::Overrides;
pub use duration::{parse as parse_duration, write as write_duration};
pub use mistakes::{Mistake, Mistakes, Place};
pub use policy::{FOLDER as POLICY_FOLDER, PolicySettings};
pub use service::{
    AccountSettings, AuthSettings, CaSettings, ClientFiles, LoginSettings, PassthroughSettings,
    QuerySettings, Service, TlsSettings, WhoSettings,
};

/// The file that is read when none is named; it may be absent.
pub const DEFAULT_FILE: &str = "/etc/tidegate/tidegate.toml";

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Settings, Mistakes> {
    parse(&text_of(path)?, &path.display().to_string())
}

/// Checks a file's text; `file_name` is how mistakes name it.
pub fn parse(text: &str, file_name: &str) -> Result<Settings, Mistakes> {
    let (draft, mistakes) = file::read(text, file_name);
    check::settle(draft, mistakes)
}

/// Flag > environment > file > default. The command line has merged the first
/// two into `overrides`. Without a named file the default one is read if it is
/// there; a named one must be.
pub fn resolve(file: Option<&Path>, overrides: Overrides) -> Result<Settings, Mistakes> {
    let (draft, mistakes) = match file {
        Some(path) => file::read(&text_of(path)?, &path.display().to_string()),
        None => match std::fs::read_to_string(DEFAULT_FILE) {
            Ok(text) => file::read(&text, DEFAULT_FILE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
            Err(error) => return Err(unreadable(Path::new(DEFAULT_FILE), &error)),
        },
    };
    let (draft, mistakes) = overrides.over(draft, mistakes);
    check::settle(draft, mistakes)
}

fn text_of(path: &Path) -> Result<String, Mistakes> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Mistakes {
    let next = match error.kind() {
        io::ErrorKind::NotFound => "write it, or leave out `--config` to use the defaults",
        io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
        io::ErrorKind::InvalidData => "it must be a text file in UTF-8",
        _ => "is the path right?",
    };
    let place = Place::Named(path.display().to_string());
    Mistakes::one(place, format!("cannot read the settings ({error}): {next}"))
}

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
    /// Who is carried unread, by name.
    pub passthrough: Vec<PassthroughSettings>,
    pub ca: CaSettings,
    pub audit: AuditSettings,
    pub approvals: ApprovalSettings,
    pub identity: IdentitySettings,
    /// The verifiers that `tidegate login` keeps.
    pub logins: PathBuf,
    /// What operators say of columns: `tidegate classify` keeps it.
    pub classes: ClassSettings,
    pub policy: PolicySettings,
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

/// What is asked about the processes that connect, and what is known of them
/// beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The file that says which people and teams stand behind users and units.
    pub directory: Option<PathBuf>,
    /// The file with a host's own kinds of programs.
    pub kinds: Option<PathBuf>,
    /// Sockets of container runtimes, asked as their names say; none: nobody is asked.
    pub runtimes: Vec<PathBuf>,
    /// The kubelet's folder, and the one of its pods' logs.
    pub kubelet: PathBuf,
    pub pod_logs: PathBuf,
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
    /// What policies know it as; `None` counts as production.
    pub environment: Option<String>,
    pub service: Service,
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

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            directory: None,
            kinds: None,
            runtimes: RUNTIMES.map(PathBuf::from).into(),
            kubelet: "/var/lib/kubelet".into(),
            pod_logs: "/var/log/pods".into(),
        }
    }
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
                environment: None,
                service: Service::of(Protocol::Postgres),
            }],
            passthrough: Vec::new(),
            ca: CaSettings::default(),
            audit: AuditSettings::default(),
            approvals: ApprovalSettings::default(),
            identity: IdentitySettings::default(),
            logins: PathBuf::from(logins::DEFAULT_LOGINS),
            classes: ClassSettings::default(),
            policy: PolicySettings::default(),
            canary_every: Duration::from_millis(500),
            resolve_every: Duration::from_secs(30),
            resolve_grace: Duration::from_secs(600),
            quota_user: 1024,
            quota_cgroup: 2048,
            debug_programs: false,
        }
    }
}

/// Where container runtimes listen, by their own defaults and by the distributions' of
/// Kubernetes: those that aren't there cost a look.
const RUNTIMES: [&str; 8] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];

#[cfg(test)]
mod tests;
