//! The kernel's side: the programs loaded and attached, their maps, their pins.
//!
//! INVARIANT: links and maps are pinned, so that the end of this process
//! changes nothing about what the kernel refuses.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf, SkStorage};
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, Program};
use aya::{Ebpf, EbpfLoader};
use tidegate_ebpf::{
    DestinationKey, Heartbeat, Namespace, PIN_FOLDER, QuotaKey, Rule, SCHEMA, Settings, Token,
};

use super::abi::Plain;
use super::{KeeperError, btf, sys};
use crate::model::HookReport;

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

const PINNED_MAPS: [&str; 13] = [
    "MAKERS",
    "WINDOWS",
    "SETTINGS",
    "HEARTBEAT",
    "PORTS",
    "DESTINATIONS",
    "FLOWS",
    "TOKENS",
    "NAMESPACES",
    "PUBLISHED",
    "SETTLED",
    "EVENTS",
    "COUNTERS",
];

/// One hook: its program, and what the agent is without it.
struct Hook {
    name: &'static str,
    /// For a raw tracepoint, which.
    tracepoint: Option<&'static str>,
    /// `None`: the agent can't do without it.
    cost: Option<&'static str>,
}

const fn must(name: &'static str) -> Hook {
    Hook { name, tracepoint: None, cost: None }
}

/// In the order of attaching: what leads comes before what drops.
const HOOKS: [Hook; 11] = [
    must("bind4"),
    must("bind6"),
    must("getpeername4"),
    must("getpeername6"),
    must("socket_state"),
    Hook {
        name: "sock_create",
        tracepoint: None,
        cost: Some("the first connect of a new network namespace waits for its listener"),
    },
    Hook {
        name: "process_exec",
        tracepoint: Some("sched_process_exec"),
        cost: Some("a process that ends right after connecting may lack its executable's path"),
    },
    Hook {
        name: "process_exit",
        tracepoint: Some("sched_process_exit"),
        cost: Some("a dead keeper is noticed after its heartbeat is stale, not at once"),
    },
    must("connect4"),
    must("connect6"),
    must("egress"),
];

/// Where things are pinned.
#[derive(Clone, Debug)]
pub struct Pins {
    folder: PathBuf,
}

impl Pins {
    pub fn new(bpffs: &Path) -> Self {
        Self { folder: bpffs.join(PIN_FOLDER) }
    }

    fn link(&self, name: &str) -> PathBuf {
        self.folder.join("links").join(name)
    }

    /// Takes away every pin, links first; what they held is detached at once.
    pub fn remove(&self) -> Result<Vec<String>, KeeperError> {
        let mut removed = Vec::new();
        for folder in [self.folder.join("links"), self.folder.clone()] {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                if path.is_dir() {
                    continue;
                }
                fs::remove_file(&path)
                    .map_err(|error| KeeperError::Pin { path: path.clone(), error })?;
                removed.push(path.display().to_string());
            }
            let _ = fs::remove_dir(&folder);
        }
        if let Some(parent) = self.folder.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(removed)
    }
}

/// The cgroup that the programs govern.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub path: PathBuf,
    pub id: u64,
    /// How deep it lies below the root of cgroup2.
    pub level: u32,
}

impl Attachment {
    pub fn new(mount: &Path, path: &Path) -> Result<Self, KeeperError> {
        let refuse = |reason: String| KeeperError::Cgroup { path: path.to_owned(), reason };
        let path = path.canonicalize().map_err(|error| refuse(error.to_string()))?;
        let below = path.strip_prefix(mount).map_err(|_| {
            refuse(format!("it does not lie below cgroup2's mount {}", mount.display()))
        })?;
        let level = u32::try_from(below.components().count()).unwrap_or(u32::MAX);
        let id = fs::metadata(&path).map_err(|error| refuse(error.to_string()))?.ino();
        Ok(Self { path, id, level })
    }
}

/// The maps that only the gate's thread writes.
pub struct Maps {
    pub settings: Array<MapData, Plain<Settings>>,
    pub heartbeat: Array<MapData, Plain<Heartbeat>>,
    pub ports: Array<MapData, u64>,
    pub destinations: LpmTrie<MapData, Plain<DestinationKey>, Plain<Rule>>,
    pub tokens: SkStorage<MapData, Plain<Token>>,
    pub namespaces: HashMap<MapData, u64, Plain<Namespace>>,
    pub published: HashMap<MapData, Plain<QuotaKey>, u64>,
    pub settled: HashMap<MapData, Plain<QuotaKey>, u64>,
    pub counters: PerCpuArray<MapData, u64>,
    pub events: RingBuf<MapData>,
}

/// Loaded programs; attached ones stay attached when this is dropped.
pub struct Hooks {
    ebpf: Ebpf,
    pins: Pins,
    attachment: Attachment,
    reports: Vec<HookReport>,
}

/// Loads the programs over the pinned maps (or makes and pins them).
pub fn load(
    bpffs: &Path,
    attachment: Attachment,
    debug: bool,
) -> Result<(Hooks, Maps), KeeperError> {
    let object = PROGRAMS.ok_or(KeeperError::NoPrograms)?;
    ensure_bpffs(bpffs)?;
    let pins = Pins::new(bpffs);
    let links = pins.folder.join("links");
    fs::create_dir_all(&links).map_err(|error| KeeperError::Pin { path: links, error })?;

    let types = btf::Types::of_this_kernel();
    let offset = |structure: &str, member: &str| {
        types.as_ref().and_then(|types| types.offset(structure, member)).unwrap_or(u32::MAX)
    };
    let offsets = [
        ("TASK_LEADER", offset("task_struct", "group_leader")),
        ("TASK_STARTED", offset("task_struct", "start_boottime")),
        ("TASK_EXEC", offset("task_struct", "self_exec_id")),
        ("TASK_MM", offset("task_struct", "mm")),
        ("MM_ARG_START", offset("mm_struct", "arg_start")),
        ("MM_ARG_END", offset("mm_struct", "arg_end")),
    ];
    let level = if debug { u8::MAX } else { 0 };
    let mut loader = EbpfLoader::new();
    for (name, offset) in &offsets {
        loader.override_global(name, offset, true);
    }
    loader.override_global(aya_log::LEVEL, &level, false);
    for name in PINNED_MAPS {
        loader.map_pin_path(name, pins.folder.join(name));
    }
    let mut ebpf = loader.load(object).map_err(|error| KeeperError::Load(error.into()))?;
    let maps = take_maps(&mut ebpf)?;
    Ok((Hooks { ebpf, pins, attachment, reports: Vec::new() }, maps))
}

fn take_maps(ebpf: &mut Ebpf) -> Result<Maps, KeeperError> {
    macro_rules! take {
        ($kind:ident, $name:literal) => {
            $kind::try_from(
                ebpf.take_map($name).ok_or_else(|| KeeperError::Map {
                    name: $name,
                    reason: "it is missing".into(),
                })?,
            )
            .map_err(|error| KeeperError::Map { name: $name, reason: error.to_string() })?
        };
    }
    Ok(Maps {
        settings: take!(Array, "SETTINGS"),
        heartbeat: take!(Array, "HEARTBEAT"),
        ports: take!(Array, "PORTS"),
        destinations: take!(LpmTrie, "DESTINATIONS"),
        tokens: take!(SkStorage, "TOKENS"),
        namespaces: take!(HashMap, "NAMESPACES"),
        published: take!(HashMap, "PUBLISHED"),
        settled: take!(HashMap, "SETTLED"),
        counters: take!(PerCpuArray, "COUNTERS"),
        events: take!(RingBuf, "EVENTS"),
    })
}

impl Maps {
    /// The settings that an earlier keeper left.
    pub fn previous(&self) -> Option<Settings> {
        let Plain(settings) = self.settings.get(&0, 0).ok()?;
        (settings.schema == SCHEMA).then_some(settings)
    }

    /// Forgets what an earlier keeper had under way.
    pub fn forget(&mut self) {
        let namespaces: Vec<_> = self.namespaces.keys().flatten().collect();
        for key in namespaces {
            let _ = self.namespaces.remove(&key);
        }
        let quotas: Vec<_> = self.published.keys().chain(self.settled.keys()).flatten().collect();
        for key in quotas {
            let _ = self.published.remove(&key);
            let _ = self.settled.remove(&key);
        }
    }
}

impl Hooks {
    /// Attaches every hook but `egress`: from here on connects are led.
    pub fn attach_leading(&mut self) -> Result<(), KeeperError> {
        for hook in HOOKS.iter().filter(|hook| hook.name != "egress") {
            self.attach(hook)?;
        }
        Ok(())
    }

    /// Attaches `egress`: from here on what wasn't led is dropped.
    pub fn attach_dropping(&mut self) -> Result<(), KeeperError> {
        for hook in HOOKS.iter().filter(|hook| hook.name == "egress") {
            self.attach(hook)?;
        }
        Ok(())
    }

    pub fn reports(&self) -> &[HookReport] {
        &self.reports
    }

    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Takes everything away; what is attached is detached at once.
    pub fn detach(&self) -> Result<Vec<String>, KeeperError> {
        self.pins.remove()
    }

    /// Shows the programs' own debug lines, in this process's log.
    pub fn log_lines(&mut self) -> Result<impl FnMut() + Send + use<>, KeeperError> {
        let mut lines = aya_log::EbpfLogger::init_with_logger(&mut self.ebpf, ToTracing)
            .map_err(|error| KeeperError::Load(error.into()))?;
        Ok(move || lines.flush())
    }

    fn attach(&mut self, hook: &Hook) -> Result<(), KeeperError> {
        let result = self.try_attach(hook);
        if let (Err(error), None) = (&result, hook.cost) {
            return Err(KeeperError::Attach { hook: hook.name, reason: error.clone() });
        }
        self.reports.push(HookReport {
            name: hook.name.into(),
            attached: result.is_ok(),
            cost: result.err().map(|error| format!("{}: {error}", hook.cost.unwrap_or_default())),
        });
        Ok(())
    }

    fn try_attach(&mut self, hook: &Hook) -> Result<(), String> {
        let pin = self.pins.link(hook.name);
        let program = self.ebpf.program_mut(hook.name).ok_or("the program is missing")?;
        load_program(program)?;
        if let Some(tracepoint) = hook.tracepoint {
            let _ = fs::remove_file(&pin);
            let Program::RawTracePoint(program) = program else { return Err("wrong kind".into()) };
            let id = program.attach(tracepoint).map_err(chain)?;
            let link: FdLink = program.take_link(id).map_err(chain)?.into();
            return link.pin(&pin).map(drop).map_err(chain);
        }
        if let Ok(link) = sys::open_pinned(&pin) {
            return replace(program, link, &self.attachment, &pin);
        }
        let cgroup = File::open(&self.attachment.path).map_err(chain)?;
        attach_to_cgroup(program, &cgroup)?.pin(&pin).map(drop).map_err(chain)
    }
}

fn replace(program: &Program, link: OwnedFd, at: &Attachment, pin: &Path) -> Result<(), String> {
    let attached = sys::cgroup_of_link(link.as_fd()).map_err(chain)?;
    if attached != at.id {
        return Err(format!(
            "{} is attached to another cgroup (id {attached}): run `tidegate detach` first",
            pin.display()
        ));
    }
    let program = program.fd().map_err(chain)?;
    sys::replace_program(link.as_fd(), program.as_fd()).map_err(chain)
}

fn load_program(program: &mut Program) -> Result<(), String> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => return Err("a kind of program that has no business here".into()),
    }
    .map_err(chain)
}

/// aya takes the mode as the link's flags, and links may only have none: that
/// is `Single` here, and many links at one cgroup all the same.
fn attach_to_cgroup(program: &mut Program, cgroup: &File) -> Result<FdLink, String> {
    use aya::programs::CgroupSkbAttachType::Egress;
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    match program {
        Program::CgroupSockAddr(program) => {
            let id = program.attach(cgroup, MODE).map_err(chain)?;
            program.take_link(id).map_err(chain)?.try_into().map_err(chain)
        }
        Program::CgroupSkb(program) => {
            let id = program.attach(cgroup, Egress, MODE).map_err(chain)?;
            program.take_link(id).map_err(chain)?.try_into().map_err(chain)
        }
        Program::CgroupSock(program) => {
            let id = program.attach(cgroup, MODE).map_err(chain)?;
            program.take_link(id).map_err(chain)?.try_into().map_err(chain)
        }
        Program::SockOps(program) => {
            let id = program.attach(cgroup, MODE).map_err(chain)?;
            program.take_link(id).map_err(chain)?.try_into().map_err(chain)
        }
        _ => Err("a kind of program that has no business here".into()),
    }
}

/// An error with its causes: the kernel's own word is the last of them. Of a
/// verifier's log the end is kept: that is where the reason stands.
fn chain(error: impl std::error::Error + 'static) -> String {
    let mut text = error.to_string();
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    match text.char_indices().rev().nth(1500) {
        Some((from, _)) => format!("… {}", text.get(from..).unwrap_or_default()),
        None => text,
    }
}

fn ensure_bpffs(path: &Path) -> Result<(), KeeperError> {
    const MAGIC: u64 = 0xcafe_4a11;
    let fail = |error: std::io::Error| KeeperError::Bpffs { path: path.to_owned(), error };
    fs::create_dir_all(path).map_err(fail)?;
    let is_bpffs = || -> std::io::Result<bool> {
        Ok(u64::try_from(rustix::fs::statfs(path)?.f_type).unwrap_or(0) == MAGIC)
    };
    if !is_bpffs().map_err(fail)? {
        use rustix::mount::{MountFlags, mount};
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"bpf", path, c"bpf", flags, c"mode=0700").map_err(|error| fail(error.into()))?;
    }
    Ok(())
}

/// Hands the programs' lines on to this process's log.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::debug!(target: "tidegate::programs", "{}", record.args());
    }

    fn flush(&self) {}
}
