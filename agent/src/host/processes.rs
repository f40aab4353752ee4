//! The processes that run, and which of them could pass around the hooks.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Of a command line no more is read; a process may make its own very long.
const LONGEST_COMMAND: u64 = 4096;
/// `PF_KTHREAD` of /proc/PID/stat's flags.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process, as /proc tells of it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub pid: u32,
    pub parent: u32,
    pub comm: String,
    pub exe: Option<PathBuf>,
    pub arguments: Vec<String>,
    pub uid: u32,
    /// The effective capabilities, one bit each.
    pub effective: u64,
    /// Its path below the mount of cgroup2.
    pub cgroup: Option<String>,
    /// Inodes of its namespaces, where they can be read.
    pub netns: Option<u64>,
    pub userns: Option<u64>,
    /// Its user namespace is the host's, so that its capabilities count here.
    pub host_user: bool,
    pub kernel_thread: bool,
}

/// A capability with which a process can go around the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Power {
    /// Packet filters and routes of its network namespace.
    NetAdmin,
    /// Packets without a TCP socket.
    NetRaw,
    /// Everything, bpf(2) included.
    SysAdmin,
    /// Programs and maps of the kernel.
    Bpf,
}

impl Power {
    pub const ALL: [Self; 4] = [Self::NetAdmin, Self::NetRaw, Self::SysAdmin, Self::Bpf];

    pub fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "NET_ADMIN",
            Self::NetRaw => "NET_RAW",
            Self::SysAdmin => "SYS_ADMIN",
            Self::Bpf => "BPF",
        }
    }

    fn bit(self) -> u64 {
        1 << match self {
            Self::NetAdmin => 12,
            Self::NetRaw => 13,
            Self::SysAdmin => 21,
            Self::Bpf => 39,
        }
    }
}

impl Running {
    /// What it could go around the hooks with, in the host's sense: nothing
    /// that holds only in a user namespace of its own.
    pub fn powers(&self) -> Vec<Power> {
        if !self.host_user || self.kernel_thread {
            return Vec::new();
        }
        Power::ALL.into_iter().filter(|power| self.effective & power.bit() != 0).collect()
    }

    /// Whether it is in this cgroup (`/a/b`) or below.
    pub fn under(&self, cgroup: &str) -> bool {
        let cgroup = cgroup.trim_end_matches('/');
        self.cgroup.as_deref().is_some_and(|own| {
            own.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The program's name: of its file, else what it calls itself.
    pub fn program(&self) -> &str {
        self.exe
            .as_deref()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .unwrap_or(&self.comm)
    }
}

/// Those with a [`Power`], under a cgroup if one is named.
pub fn powerful<'p>(
    processes: &'p [Running],
    cgroup: Option<&'p str>,
) -> impl Iterator<Item = &'p Running> {
    processes
        .iter()
        .filter(move |process| cgroup.is_none_or(|cgroup| process.under(cgroup)))
        .filter(|process| !process.powers().is_empty())
}

/// All that run, by pid. Who ends meanwhile is left out.
pub fn processes(root: &Path) -> Vec<Running> {
    let host = namespace(&root.join("proc/1"), "user");
    let Ok(entries) = fs::read_dir(root.join("proc")) else { return Vec::new() };
    let mut found: Vec<Running> = entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            read(&entry.path(), pid, host)
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn read(folder: &Path, pid: u32, host: Option<u64>) -> Option<Running> {
    let status = fs::read(folder.join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let effective = field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let comm = fs::read(folder.join("comm")).unwrap_or_default();
    let comm = String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned();
    let userns = namespace(folder, "user");
    Some(Running {
        pid,
        parent: field("PPid").and_then(|text| text.parse().ok()).unwrap_or(0),
        comm,
        exe: fs::read_link(folder.join("exe")).ok(),
        arguments: arguments(folder),
        // Real, effective, saved, file system: the effective one.
        uid: field("Uid").and_then(|text| text.split_whitespace().nth(1)?.parse().ok())?,
        effective,
        cgroup: cgroup(folder),
        netns: namespace(folder, "net"),
        userns,
        // In doubt its capabilities count.
        host_user: host.is_none() || userns.is_none() || userns == host,
        kernel_thread: flags(folder).is_some_and(|flags| flags & KERNEL_THREAD != 0),
    })
}

fn arguments(folder: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(folder.join("cmdline")) {
        drop(file.take(LONGEST_COMMAND).read_to_end(&mut bytes));
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches('\0');
    if text.is_empty() { Vec::new() } else { text.split('\0').map(str::to_owned).collect() }
}

/// The line of the unified hierarchy: `0::/system.slice/x.service`.
fn cgroup(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// The ninth field of stat; the second is in parentheses and may hold any.
fn flags(folder: &Path) -> Option<u64> {
    let stat = fs::read(folder.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(6)?.parse().ok()
}

/// `user:[4026531837]`
fn namespace(folder: &Path, kind: &str) -> Option<u64> {
    let link = fs::read_link(folder.join("ns").join(kind)).ok()?;
    let (_, inode) = link.to_str()?.split_once(":[")?;
    inode.strip_suffix(']')?.parse().ok()
}
