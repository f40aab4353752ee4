//! What was seen of a process, its ancestors and its surroundings: the input.

use std::path::PathBuf;

use crate::model::{Origin, ProgramFile, Relation, Source, Sourced, Workload};

/// One process as it was at one moment. Its arguments are redacted already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub pid: u32,
    /// Nanoseconds after boot, to the clock tick.
    pub started: u64,
    pub parent: u32,
    pub relation: Relation,
    pub ended: bool,
    pub uid: u32,
    /// Who started it, where its file is set-uid.
    pub real_uid: u32,
    pub gid: u32,
    pub user: Option<String>,
    pub real_user: Option<String>,
    pub group: Option<String>,
    pub comm: String,
    pub exe: Option<PathBuf>,
    pub file: Option<ProgramFile>,
    pub arguments: Vec<String>,
    /// As its program was started: what it writes over its arguments later is no other.
    pub script: Option<String>,
    /// It was more programs before than are known.
    pub forgotten: bool,
    pub folder: Option<PathBuf>,
    pub terminal: Option<String>,
    pub login_uid: Option<u32>,
    pub login_user: Option<String>,
    pub login_session: Option<u32>,
    pub effective: u64,
    /// Its number in the pid namespace it lives in, where that isn't the
    /// host's.
    pub inner_pid: Option<u32>,
    /// Of its cgroup, by its path alone.
    pub workload: Workload,
}

/// Of a process's environment, what may be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Names that the table of kinds asks for.
    pub names: Vec<String>,
    /// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    pub service_name: Option<String>,
    pub resource: Option<String>,
}

/// What is known of the SSH login that a process descends from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The far end of sshd's own socket.
    pub peer: Option<String>,
    /// The host's log: user, address, fingerprint.
    pub logged: Option<Accepted>,
    /// SSH_CONNECTION of the session's first process.
    pub connection: Option<String>,
    /// Of the key in the file that SSH_USER_AUTH names.
    pub shown_key: Option<String>,
}

/// A line of the log: `Accepted publickey for …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub user: String,
    pub address: String,
    pub key: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub boot: String,
    pub process: Seen,
    /// The parent first; a process's earlier programs stand before its parent. One
    /// more than [`crate::model::MOST_LOOKED_AT`] where there are more.
    pub ancestors: Vec<Seen>,
    pub environment: Environment,
    pub login: Option<Login>,
    /// The workload with the runtime's word in it.
    pub workload: Workload,
    /// The service account of its pod, `namespace/name`.
    pub account: Option<Sourced<String>>,
    /// Who says its pod's name and namespace.
    pub pod_named_by: Option<Origin>,
    /// Where the arguments come from.
    pub command: Source,
    /// Its environment could be read, whatever is in it.
    pub environment_read: bool,
    /// Nothing was left out for want of time.
    pub complete: bool,
}

impl Seen {
    /// The name of its program's file, else what it calls itself.
    pub fn program(&self) -> &str {
        self.exe
            .as_deref()
            .and_then(|exe| exe.file_name())
            .and_then(|name| name.to_str())
            .map_or(self.comm.as_str(), |name| name.strip_suffix(" (deleted)").unwrap_or(name))
    }
}

impl Facts {
    /// The process, then its ancestors.
    pub fn all(&self) -> impl Iterator<Item = &Seen> {
        std::iter::once(&self.process).chain(&self.ancestors)
    }
}
