//! Who connected: what the hook took in the process's own context, and what
//! /proc adds while the process is still there.
//!
//! INVARIANT: nothing read from /proc is believed of another process: its
//! start time must be the one that the kernel told.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tidegate_ebpf::{FLOW_COMMAND_CUT, RawFlow, Verdict};

use super::registrar::{Names, carried};
use crate::identity::{cgroup, redact};
use crate::model::{Process, ProcessKey, Source, Workload, cut};

/// Facts are kept for so many programs; then the table starts anew.
const MOST_KNOWN: usize = 16_384;
const CLOCK_TICK: u64 = 10_000_000;
/// A process may make its own as long as it likes.
const LONGEST_COMMAND: u64 = 4096;
/// Of a cgroup's path, as a flow carries it.
const LONGEST_CGROUP: usize = 1024;

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
    cgroups: Cgroups,
    names: Names,
    with_command: bool,
}

/// The paths of cgroups, by their ids.
#[derive(Debug)]
pub struct Cgroups {
    mount: PathBuf,
    known: HashMap<u64, Option<String>>,
}

impl Processes {
    /// Without the command line of /proc: to read it is to read the process's
    /// own memory, which may never end. The hook's is used.
    pub fn never_waiting(cgroup_mount: &Path) -> Self {
        Self { with_command: false, ..Self::new(cgroup_mount) }
    }

    pub fn new(cgroup_mount: &Path) -> Self {
        Self {
            with_command: true,
            known: HashMap::new(),
            cgroups: Cgroups::new(cgroup_mount),
            names: Names::default(),
        }
    }

    pub fn of_flow(&mut self, flow: &RawFlow) -> Process {
        let key = ProcessKey { tgid: flow.tgid, started: flow.started, exec: flow.exec };
        let length = usize::try_from(flow.command_length).unwrap_or_default();
        let block = flow.command.get(..length).unwrap_or_default();
        let mut process = self.describe(key, flow.uid, flow.gid, flow.cgroup, &flow.comm);
        process.tid = flow.tid;
        if !block.is_empty() {
            process.command_cut = flow.flags & FLOW_COMMAND_CUT != 0;
            process.command = redact::command(&arguments(block), process.command_cut);
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
                fs::metadata(self.cgroups.mount.join(path.trim_start_matches('/'))).ok()
            })
            .map_or(0, |data| data.ino());
        let key = ProcessKey { tgid, started: 0, exec: 0 };
        let mut process =
            self.describe(key, owner.uid(), owner.gid(), id, comm.trim_end().as_bytes());
        process.cgroup = cgroup;
        process.workload = cgroup::of_path(process.cgroup.as_deref().unwrap_or_default());
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
        let cgroup_path = self.cgroups.path(cgroup, key.tgid);
        let missing = facts.exe.is_none() && facts.command.is_none();
        Process {
            key,
            tid: key.tgid,
            uid,
            gid,
            user: self.names.user(uid),
            comm,
            command: facts.command.unwrap_or_default(),
            command_cut: false,
            command_source: if missing { Source::Missing } else { Source::Proc },
            exe: facts.exe.as_deref().map(carried),
            parent: facts.parent,
            login_uid: facts.login_uid,
            cgroup_id: cgroup,
            workload: cgroup::of_path(cgroup_path.as_deref().unwrap_or_default()),
            cgroup: cgroup_path.map(|path| cut(&path, LONGEST_CGROUP)),
        }
    }

    fn facts(&mut self, key: ProcessKey) -> Facts {
        if let Some(facts) = self.known.get(&key) {
            return facts.clone();
        }
        let facts = read(key, self.with_command);
        // Only what is told apart from its successors may be remembered.
        if key.started != 0 && facts.exe.is_some() {
            if self.known.len() >= MOST_KNOWN {
                self.known.clear();
            }
            self.known.insert(key, facts.clone());
        }
        facts
    }
}

impl Cgroups {
    pub fn new(mount: &Path) -> Self {
        Self { mount: mount.to_owned(), known: HashMap::new() }
    }

    /// Below the mount of cgroup2, as its process tells it, else as it is found.
    pub fn path(&mut self, id: u64, tgid: u32) -> Option<String> {
        if let Some(path) = self.known.get(&id) {
            return path.clone();
        }
        let is_it = |path: &String| {
            fs::metadata(self.mount.join(path.trim_start_matches('/')))
                .is_ok_and(|data| data.ino() == id)
        };
        let path = cgroup_of(tgid).filter(is_it).or_else(|| search(&self.mount, id));
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        // Ids aren't given twice: who was not found is gone.
        self.known.insert(id, path.clone());
        path
    }
}

fn read(key: ProcessKey, with_command: bool) -> Facts {
    let folder = PathBuf::from(format!("/proc/{}", key.tgid));
    let Some((parent, started)) = stat(&folder) else { return Facts::default() };
    if key.started != 0 && started.abs_diff(key.started / CLOCK_TICK) > 1 {
        return Facts::default();
    }
    let facts = Facts {
        exe: fs::read_link(folder.join("exe")).ok(),
        command: with_command.then(|| command_line(&folder)).flatten(),
        parent: Some(parent),
        login_uid: fs::read_to_string(folder.join("loginuid"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|uid| *uid != u32::MAX),
    };
    // The same process still, or all of it may be another's.
    if stat(&folder).is_some_and(|(_, now)| now == started) { facts } else { Facts::default() }
}

fn command_line(folder: &Path) -> Option<Vec<String>> {
    let mut block = Vec::new();
    fs::File::open(folder.join("cmdline"))
        .ok()?
        .take(LONGEST_COMMAND)
        .read_to_end(&mut block)
        .ok()?;
    Some(redact::command(&arguments(&block), false))
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

pub fn arguments(block: &[u8]) -> Vec<String> {
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

#[cfg(test)]
mod tests;
