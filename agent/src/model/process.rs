//! The process behind a connection, as it was when it connected.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One process, and one program in it, on one boot of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    pub tgid: u32,
    /// Boot-time nanoseconds at which it started; 0 unknown.
    pub started: u64,
    /// The kernel's count of its execs; 0 unknown.
    pub exec: u64,
}

/// Where a fact comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Taken in the hook, in the process's own context.
    Kernel,
    /// Read from /proc right afterwards.
    Proc,
    /// The process had ended before it could be read.
    #[default]
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub key: ProcessKey,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    /// The user's name, where the host knows one.
    pub user: Option<String>,
    pub comm: String,
    /// The arguments; empty when unknown.
    pub command: Vec<String>,
    pub command_cut: bool,
    pub command_source: Source,
    pub exe: Option<PathBuf>,
    pub parent: Option<u32>,
    /// The login it descends from; absent for services.
    pub login_uid: Option<u32>,
    pub cgroup_id: u64,
    /// The cgroup's path below the mount of cgroup2.
    pub cgroup: Option<String>,
    pub workload: Workload,
}

/// What the cgroup's path says about the workload, and what the container
/// runtime adds where it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// systemd's unit: a service, or the scope of a session.
    pub unit: Option<String>,
    /// The innermost container.
    pub container: Option<String>,
    /// The Kubernetes pod's uid.
    pub pod: Option<String>,
    /// systemd's innermost slice.
    pub slice: Option<String>,
    /// Whose slice it is in, where it is a user's.
    pub user_slice: Option<u32>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `nspawn`.
    pub runtime: Option<String>,
    /// Containers around the innermost one, the outermost first.
    pub outer: Vec<String>,
    pub qos: Option<Qos>,
    /// From here on the runtime's word.
    pub image: Option<String>,
    /// By which a registry knows the image; none for one that was never in any.
    pub image_digest: Option<String>,
    /// Of the image's configuration, wherever it lies.
    pub image_id: Option<String>,
    pub container_name: Option<String>,
    pub pod_name: Option<String>,
    pub namespace: Option<String>,
    /// Something keeps it running: an orchestrator, a restart policy.
    pub managed: Option<bool>,
    /// The container's labels, those of note.
    pub labels: Vec<(String, String)>,
}

impl Workload {
    /// The unit, where an administrator made it: a user's own session manager
    /// and what runs in a container may name their units as they like.
    pub fn system_unit(&self) -> Option<&str> {
        let theirs = self.user_slice.is_some() || self.container.is_some();
        self.unit.as_deref().filter(|_| !theirs)
    }

    /// The Kubernetes namespace, where root's runtime says it.
    pub fn system_namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|_| self.user_slice.is_none())
    }
}

/// Kubernetes' quality of service of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Process {
    /// How an operator may call the workload: by its unit, its container's image (with
    /// its tag or without) or its executable; the one that says most first.
    ///
    /// A user's own runtime may call its images as it likes.
    pub fn names(&self) -> Vec<&str> {
        let workload = &self.workload;
        let image = workload.image.as_deref().filter(|_| workload.user_slice.is_none());
        let executable = self.exe.as_deref().and_then(|path| path.to_str());
        let all = [workload.system_unit(), image, image.map(without_tag), executable];
        all.into_iter().flatten().collect()
    }

    /// The arguments as one line, see [`command_line`].
    pub fn command_line(&self) -> String {
        let mut line = command_line(&self.command);
        if self.command_cut {
            line.push_str(" …");
        }
        line
    }
}

/// An image's name alone.
pub fn without_tag(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // A registry's port is no tag.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// Arguments as one line, quoted where a shell would need it, with no control
/// character that a terminal could obey.
pub fn command_line(arguments: &[String]) -> String {
    let mut line = String::new();
    for argument in arguments {
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            line.push_str(argument);
        } else {
            line.push('\'');
            for c in argument.chars() {
                match c {
                    '\'' => line.push_str(r"'\''"),
                    c if c.is_control() => line.extend(c.escape_default()),
                    c => line.push(c),
                }
            }
            line.push('\'');
        }
    }
    line
}

#[cfg(test)]
mod tests;
