//! What the kubelet's own folders on this node say of a pod: its name, its
//! namespace, and by which service account it runs. No API server is asked.
//!
//! INVARIANT: a service account is `certain` only where the kubelet's folder of
//! logs puts its pod into the same namespace: whoever may make pods there may
//! make them with any account of it anyway. A file that the workload could have
//! put where it is read is no more than `claimed`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use zeroize::Zeroizing;

use super::lock;
use crate::identity::token::{Account, LONGEST_TOKEN, is_name};
use crate::model::{Confidence, Origin, Sourced, Workload};

/// How long an answer holds: the kubelet changes a pod's token, never its account.
const FRESH: Duration = Duration::from_secs(300);
/// … and the want of one: a pod's folders come before its containers.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const MOST_KNOWN: usize = 4096;
/// Pods on a node; volumes of a pod.
const MOST_FOLDERS: usize = 4096;
const MOST_VOLUMES: usize = 64;
/// Volumes that Kubernetes adds to pods by itself, as it names them.
const OWN_VOLUME: &str = "kube-api-access-";
/// Where pods find it.
const INSIDE: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pod {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub account: Option<Sourced<String>>,
}

#[derive(Debug)]
pub(super) struct Pods {
    /// The kubelet's folder, and the one of its pods' logs.
    kubelet: PathBuf,
    logs: PathBuf,
    known: Mutex<HashMap<String, (Instant, Pod)>>,
}

impl Pods {
    pub fn new(kubelet: PathBuf, logs: PathBuf) -> Self {
        Self { kubelet, logs, known: Mutex::default() }
    }

    /// Of the pod that a workload is in, by the uid in its cgroup.
    pub fn of(&self, workload: &Workload) -> Pod {
        // A user's own kubelet has its folders elsewhere, and says what it likes.
        let Some(uid) = workload
            .pod
            .as_deref()
            .filter(|uid| workload.user_slice.is_none() && is_name(uid, 36) && !uid.contains('.'))
        else {
            return Pod::default();
        };
        if let Some((read_at, pod)) = lock(&self.known).get(uid) {
            let holds = if pod.account.is_some() { FRESH } else { ASK_AGAIN };
            if read_at.elapsed() < holds {
                return pod.clone();
            }
        }
        let pod = self.read(uid);
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(uid.to_owned(), (Instant::now(), pod.clone()));
        pod
    }

    fn read(&self, uid: &str) -> Pod {
        let (namespace, name) = self.logged(uid).unzip();
        let account = self.account(uid).map(|account| {
            let confirmed = namespace.as_deref() == Some(&account.namespace);
            Sourced {
                value: account.whole(),
                origin: Origin::Kubelet,
                confidence: if confirmed { Confidence::Certain } else { Confidence::Likely },
            }
        });
        Pod { namespace, name, account }
    }

    /// By the folder of its logs: `NAMESPACE_NAME_UID`.
    fn logged(&self, uid: &str) -> Option<(String, String)> {
        fs::read_dir(&self.logs).ok()?.flatten().take(MOST_FOLDERS).find_map(|entry| {
            let name = entry.file_name();
            let mut parts = name.to_str()?.strip_suffix(uid)?.strip_suffix('_')?.split('_');
            let (namespace, pod) = (parts.next()?, parts.next()?);
            let fine = parts.next().is_none() && is_name(namespace, 63) && is_name(pod, 253);
            fine.then(|| (namespace.to_owned(), pod.to_owned()))
        })
    }

    /// By the token in a volume of the kubelet's; nothing where two don't agree.
    fn account(&self, uid: &str) -> Option<Account> {
        let volumes = self.kubelet.join("pods").join(uid).join("volumes/kubernetes.io~projected");
        let mut found: Option<Account> = None;
        for entry in fs::read_dir(&volumes).ok()?.flatten().take(MOST_VOLUMES) {
            if !entry.file_name().to_str().is_some_and(|name| name.starts_with(OWN_VOLUME)) {
                continue;
            }
            // The kubelet's links lead to a folder beside them, and no further.
            let token = read_below(&entry.path(), "token", ResolveFlags::BENEATH);
            let account = token.and_then(|token| Account::of(&token));
            let Some(account) = account.filter(|account| account.pod == uid) else { continue };
            if found.as_ref().is_some_and(|found| *found != account) {
                return None;
            }
            found = Some(account);
        }
        found
    }
}

/// The account that a process's own files name: whoever has the container may have
/// put it there. For pods whose kubelet's folders aren't this host's.
pub(super) fn claimed(pid: u32, uid: &str) -> Option<Sourced<String>> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let token = read_below(&root, INSIDE, ResolveFlags::IN_ROOT)?;
    let account = Account::of(&token).filter(|account| account.pod == uid)?;
    let (origin, confidence) = (Origin::Process, Confidence::Claimed);
    Some(Sourced { value: account.whole(), origin, confidence })
}

/// A regular file within a folder, wherever the links in it point.
fn read_below(folder: &Path, path: &str, bounds: ResolveFlags) -> Option<Zeroizing<Vec<u8>>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, flags, Mode::empty()).ok()?;
    let bounds = bounds | ResolveFlags::NO_MAGICLINKS;
    // To open a pipe or a device may do something: it is looked at first.
    let looked: OwnedFd =
        openat2(&folder, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), bounds).ok()?;
    let kind = rustix::fs::fstat(&looked).ok()?.st_mode;
    if !rustix::fs::FileType::from_raw_mode(kind).is_file() {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat2(&folder, path, flags, Mode::empty(), bounds).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_TOKEN + 1));
    file.take(LONGEST_TOKEN as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
