//! Who connected: what the hook took in the process's own context, and what
//! /proc adds while the process is still there.
//!
//! INVARIANT: nothing read from /proc is believed of another process: its
//! start time must be the one that the kernel told.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tidegate_ebpf::{FLOW_COMMAND_CUT, RawFlow, Verdict};

use crate::model::{Process, ProcessKey, Source, Workload};

/// Facts are kept for so many programs; then the table starts anew.
const MOST_KNOWN: usize = 16_384;
const CLOCK_TICK: u64 = 10_000_000;

/// What /proc says of one program of one process.
#[derive(Clone, Debug, Default)]
struct Facts {
    exe: Option<PathBuf>,
    command: Option<Vec<String>>,
    parent: Option<u32>,
    login_uid: Option<u32>,
}

#[derive(Debug)]
pub struct Processes {
    known: HashMap<ProcessKey, Facts>,
    cgroups: HashMap<u64, Option<String>>,
    users: Users,
    cgroup_mount: PathBuf,
}

impl Processes {
    pub fn new(cgroup_mount: &Path) -> Self {
        Self {
            known: HashMap::new(),
            cgroups: HashMap::new(),
            users: Users::default(),
            cgroup_mount: cgroup_mount.to_owned(),
        }
    }

    /// A program has started: read it before it can end.
    pub fn started(&mut self, key: ProcessKey) {
        if key.started != 0 {
            self.facts(key);
        }
    }

    pub fn ended(&mut self, tgid: u32, started: u64) {
        // Its last connections may still be on their way: forgotten later.
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|key, _| key.tgid != tgid || key.started != started);
        }
    }

    pub fn of_flow(&mut self, flow: &RawFlow) -> Process {
        let key = ProcessKey { tgid: flow.tgid, started: flow.started, exec: flow.exec };
        let length = usize::try_from(flow.command_length).unwrap_or_default();
        let block = flow.command.get(..length).unwrap_or_default();
        let mut process = self.describe(key, flow.uid, flow.gid, flow.cgroup, &flow.comm);
        process.tid = flow.tid;
        if !block.is_empty() {
            process.command = arguments(block);
            process.command_cut = flow.flags & FLOW_COMMAND_CUT != 0;
            process.command_source = Source::Kernel;
        }
        process
    }

    /// The agent's own canary: nobody asks about its process, and it comes
    /// twice a second.
    pub fn of_canary(&mut self, flow: &RawFlow) -> Process {
        Process {
            key: ProcessKey { tgid: flow.tgid, started: flow.started, exec: flow.exec },
            tid: flow.tid,
            uid: flow.uid,
            gid: flow.gid,
            user: None,
            comm: "canary".into(),
            command: Vec::new(),
            command_cut: false,
            command_source: Source::Kernel,
            exe: None,
            parent: None,
            login_uid: None,
            cgroup_id: flow.cgroup,
            cgroup: None,
            workload: Workload::default(),
        }
    }

    pub fn of_verdict(&mut self, verdict: &Verdict) -> Process {
        let key = ProcessKey { tgid: verdict.tgid, started: verdict.started, exec: verdict.exec };
        let mut process =
            self.describe(key, verdict.uid, verdict.gid, verdict.cgroup, &verdict.comm);
        process.tid = verdict.tid;
        process
    }

    /// A process that is there now, of which only the number is known.
    pub fn of_pid(&mut self, tgid: u32) -> Option<Process> {
        let folder = PathBuf::from(format!("/proc/{tgid}"));
        let owner = fs::metadata(&folder).ok()?;
        let comm = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        let cgroup = cgroup_of(tgid);
        let id = cgroup
            .as_deref()
            .and_then(|path| {
                fs::metadata(self.cgroup_mount.join(path.trim_start_matches('/'))).ok()
            })
            .map_or(0, |data| data.ino());
        let key = ProcessKey { tgid, started: 0, exec: 0 };
        let mut process =
            self.describe(key, owner.uid(), owner.gid(), id, comm.trim_end().as_bytes());
        process.cgroup = cgroup;
        process.workload = workload(process.cgroup.as_deref().unwrap_or_default());
        Some(process)
    }

    fn describe(
        &mut self,
        key: ProcessKey,
        uid: u32,
        gid: u32,
        cgroup: u64,
        comm: &[u8],
    ) -> Process {
        let facts = self.facts(key);
        let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
        let comm = String::from_utf8_lossy(comm.get(..end).unwrap_or_default()).into_owned();
        let cgroup_path = self.cgroup(cgroup, key.tgid);
        let missing = facts.exe.is_none() && facts.command.is_none();
        Process {
            key,
            tid: key.tgid,
            uid,
            gid,
            user: self.users.name(uid),
            comm,
            command: facts.command.unwrap_or_default(),
            command_cut: false,
            command_source: if missing { Source::Missing } else { Source::Proc },
            exe: facts.exe,
            parent: facts.parent,
            login_uid: facts.login_uid,
            cgroup_id: cgroup,
            workload: workload(cgroup_path.as_deref().unwrap_or_default()),
            cgroup: cgroup_path,
        }
    }

    fn facts(&mut self, key: ProcessKey) -> Facts {
        if let Some(facts) = self.known.get(&key) {
            return facts.clone();
        }
        let facts = read(key);
        // Only what is told apart from its successors may be remembered.
        if key.started != 0 && facts.exe.is_some() {
            if self.known.len() >= MOST_KNOWN {
                self.known.clear();
            }
            self.known.insert(key, facts.clone());
        }
        facts
    }

    fn cgroup(&mut self, id: u64, tgid: u32) -> Option<String> {
        if let Some(path) = self.cgroups.get(&id) {
            return path.clone();
        }
        let is_it = |path: &String| {
            fs::metadata(self.cgroup_mount.join(path.trim_start_matches('/')))
                .is_ok_and(|data| data.ino() == id)
        };
        let path = cgroup_of(tgid).filter(is_it).or_else(|| search(&self.cgroup_mount, id));
        if self.cgroups.len() >= MOST_KNOWN {
            self.cgroups.clear();
        }
        if path.is_some() {
            self.cgroups.insert(id, path.clone());
        }
        path
    }
}

fn read(key: ProcessKey) -> Facts {
    let folder = PathBuf::from(format!("/proc/{}", key.tgid));
    let Some((parent, started)) = stat(&folder) else { return Facts::default() };
    if key.started != 0 && started.abs_diff(key.started / CLOCK_TICK) > 1 {
        return Facts::default();
    }
    let facts = Facts {
        exe: fs::read_link(folder.join("exe")).ok(),
        command: fs::read(folder.join("cmdline")).ok().map(|block| arguments(&block)),
        parent: Some(parent),
        login_uid: fs::read_to_string(folder.join("loginuid"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|uid| *uid != u32::MAX),
    };
    // The same process still, or all of it may be another's.
    if stat(&folder).is_some_and(|(_, now)| now == started) { facts } else { Facts::default() }
}

/// Parent and start time (in clock ticks since boot).
fn stat(folder: &Path) -> Option<(u32, u64)> {
    let text = fs::read(folder.join("stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name stands in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((parent, started))
}

fn arguments(block: &[u8]) -> Vec<String> {
    let block = block.strip_suffix(&[0]).unwrap_or(block);
    if block.is_empty() {
        return Vec::new();
    }
    block.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The path of a process's cgroup below the mount of cgroup2.
pub fn cgroup_of(tgid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{tgid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Looks for a cgroup by its id: for processes that have ended.
fn search(mount: &Path, id: u64) -> Option<String> {
    let mut folders = vec![mount.to_owned()];
    while let Some(folder) = folders.pop() {
        if fs::metadata(&folder).is_ok_and(|data| data.ino() == id) {
            let below = folder.strip_prefix(mount).ok()?;
            return Some(format!("/{}", below.display()));
        }
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            inside
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    None
}

/// What a cgroup's path says: systemd's units, container ids (64 hex digits,
/// bare or as runtimes wrap them), Kubernetes' pod uids.
pub fn workload(path: &str) -> Workload {
    let mut found = Workload::default();
    for part in path.split('/') {
        let bare = part.strip_suffix(".scope").unwrap_or(part);
        let last = bare.rsplit(['-', ':']).next().unwrap_or(bare);
        let is_id = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id(last) {
            found.container = Some(last.to_owned());
        } else if let Some(at) = part.rfind("pod")
            && (part.starts_with("kubepods") || part.starts_with("pod"))
        {
            let uid = part.get(at + 3..).unwrap_or_default();
            let uid = uid.strip_suffix(".slice").unwrap_or(uid).replace('_', "-");
            if uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                found.pod = Some(uid);
            }
        } else if part.ends_with(".service") || part.ends_with(".scope") {
            found.unit = Some(part.to_owned());
        }
    }
    found
}

/// The names of users, as /etc/passwd has them now.
#[derive(Debug, Default)]
struct Users {
    read_at: Option<std::time::SystemTime>,
    names: HashMap<u32, String>,
}

impl Users {
    fn name(&mut self, uid: u32) -> Option<String> {
        if let Some(name) = self.names.get(&uid) {
            return Some(name.clone());
        }
        let changed = fs::metadata("/etc/passwd").and_then(|data| data.modified()).ok();
        if changed != self.read_at || self.read_at.is_none() {
            self.read_at = changed;
            self.names = fs::read_to_string("/etc/passwd")
                .unwrap_or_default()
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split(':');
                    let name = fields.next()?;
                    Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
                })
                .collect();
        }
        self.names.get(&uid).cloned()
    }
}

#[cfg(test)]
mod tests;
