//! One process, as /proc tells of it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::memory::Memory;
use super::names::Names;
use crate::identity::{Environment, Kinds, Seen, cgroup, redact, script};
use crate::model::ProgramFile;

pub(super) const CLOCK_TICK: u64 = 10_000_000;
/// A process may make its own as long as it likes.
const LONGEST_COMMAND: u64 = 64 * 1024;
const LONGEST_ENVIRONMENT: u64 = 256 * 1024;
/// Arguments that are kept of a long command line.
const MOST_ARGUMENTS: usize = 64;
const LONGEST_ARGUMENT: usize = 1024;

/// What tells a process and its program from every other: read in one go, and
/// never from the process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    /// Clock ticks since boot.
    pub started: u64,
    pub parent: u32,
    terminal: u64,
    /// Where its arguments lie: another program has them elsewhere.
    program: (u64, u64, u64),
}

impl Mark {
    /// Of a process that runs: one that has ended and waits to be buried has no
    /// program any more.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return None;
        }
        let number = |index: usize| fields.get(index).and_then(|text| text.trim().parse().ok());
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            terminal: number(4).unwrap_or(0),
            started: number(19)?,
            program: (number(25).unwrap_or(0), number(45).unwrap_or(0), number(46).unwrap_or(0)),
        })
    }

    pub fn is_same_program(&self, other: &Self) -> bool {
        self.started == other.started && self.has_program_of(other)
    }

    /// Also of another process: then one is the other's fork.
    pub fn has_program_of(&self, other: &Self) -> bool {
        self.program == other.program
    }
}

/// Everything of a process; nothing if it became another meanwhile. `file`: what it
/// runs, as far as that isn't known yet.
pub(super) fn read(
    pid: u32,
    mark: Mark,
    names: &Names,
    memory: &Memory,
    file: impl FnOnce() -> Option<ProgramFile>,
) -> Option<Seen> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let mut seen = told_in(&folder, pid, mark, names, memory)?;
    // A file may lie where its reading hangs.
    seen.file = memory.read(pid, seen.uid, file).flatten();
    // The same still, or all of it may be another's.
    Mark::of(pid).is_some_and(|now| now.is_same_program(&mark)).then_some(seen)
}

/// What a process's folder tells.
fn told_in(folder: &Path, pid: u32, mark: Mark, names: &Names, memory: &Memory) -> Option<Seen> {
    let status = fs::read(folder.join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let ids = |name: &str| -> Option<(u32, u32)> {
        let mut ids = field(name)?.split_whitespace();
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    let (real_uid, uid) = ids("Uid")?;
    let (_, gid) = ids("Gid")?;
    let comm = fs::read(folder.join("comm")).unwrap_or_default();
    let exe = fs::read_link(folder.join("exe")).ok();
    let current = fs::read_link(folder.join("cwd")).ok();
    let number = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse::<u32>().ok().filter(|number| *number != u32::MAX)
    };
    let login_uid = number("loginuid");
    let raw = memory.read(pid, uid, || command_line(folder)).flatten().unwrap_or_default();
    let cgroups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    let workload = cgroup::of_process(&cgroups);
    let named = |uid| match workload.container {
        None => names.user_of_host(uid),
        Some(_) => names.user(uid),
    };
    // Several numbers: the host's first, the innermost namespace's last.
    let inner = field("NSpid").unwrap_or_default().split_whitespace().skip(1).last();
    Some(Seen {
        pid,
        started: mark.started * CLOCK_TICK,
        parent: mark.parent,
        uid,
        real_uid,
        gid,
        user: named(uid),
        real_user: named(real_uid),
        group: names.group(gid),
        comm: String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned(),
        script: script::of(exe.as_deref(), &raw, current.as_deref()),
        arguments: redact::command(&raw, false),
        exe,
        folder: current,
        terminal: terminal(mark.terminal),
        login_uid,
        login_user: login_uid.and_then(|uid| names.user_of_host(uid)),
        login_session: login_uid.and_then(|_| number("sessionid")),
        effective: field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0),
        inner_pid: inner.and_then(|pid| pid.parse().ok()),
        workload,
        ..Seen::default()
    })
}

fn command_line(folder: &Path) -> Option<Vec<String>> {
    let mut block = Vec::new();
    fs::File::open(folder.join("cmdline"))
        .ok()?
        .take(LONGEST_COMMAND)
        .read_to_end(&mut block)
        .ok()?;
    let mut arguments = crate::keeper::processes::arguments(&block);
    arguments.truncate(MOST_ARGUMENTS);
    for argument in &mut arguments {
        if argument.len() > LONGEST_ARGUMENT {
            *argument = crate::model::cut(argument, LONGEST_ARGUMENT);
        }
    }
    Some(arguments)
}

/// Of the environment what may be kept; nothing if it can't be read, or if the
/// process became another meanwhile.
pub(super) fn environment(pid: u32, seen: &Seen, kinds: &Kinds) -> Option<Environment> {
    let block = variables(pid, seen.started)?;
    let mut kept = Environment::default();
    for (name, value) in split(&block) {
        match name {
            "OTEL_SERVICE_NAME" => kept.service_name = Some(value.into_owned()),
            "OTEL_RESOURCE_ATTRIBUTES" => kept.resource = Some(value.into_owned()),
            _ if kinds.asks(name) && kept.names.len() < 16 => kept.names.push(name.to_owned()),
            _ => {}
        }
    }
    Some(kept)
}

/// One variable of a process's environment.
pub(super) fn variable(pid: u32, started: u64, wanted: &[&str]) -> Option<Vec<(String, String)>> {
    let block = variables(pid, started)?;
    let found = split(&block)
        .filter(|(name, _)| wanted.contains(name))
        .map(|(name, value)| (name.to_owned(), value.into_owned()));
    Some(found.take(wanted.len()).collect())
}

fn variables(pid: u32, started: u64) -> Option<Vec<u8>> {
    let mut block = Vec::new();
    fs::File::open(format!("/proc/{pid}/environ"))
        .ok()?
        .take(LONGEST_ENVIRONMENT)
        .read_to_end(&mut block)
        .ok()?;
    let same = Mark::of(pid)?.started.abs_diff(started / CLOCK_TICK) <= 1;
    same.then_some(block)
}

fn split(block: &[u8]) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
    block.split(|byte| *byte == 0).filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let name = std::str::from_utf8(entry.get(..at)?).ok()?;
        Some((name, String::from_utf8_lossy(entry.get(at + 1..)?)))
    })
}

/// `pts/3`, `tty1` of the device's number in stat.
fn terminal(number: u64) -> Option<String> {
    let major = number >> 8 & 0xfff;
    let minor = number & 0xff | number >> 12 & 0xf_ff00;
    match (major, minor) {
        (0, 0) => None,
        (136..=143, minor) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        (4, minor) if minor < 64 => Some(format!("tty{minor}")),
        (4, minor) => Some(format!("ttyS{}", minor - 64)),
        (5, 1) => Some("console".into()),
        (229, minor) => Some(format!("hvc{minor}")),
        (major, minor) => Some(format!("tty {major}:{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_whole() {
        let pid = std::process::id();
        let mark = Mark::of(pid).unwrap();
        let names = Names::default();
        let memory = Memory::default();
        let seen = read(pid, mark, &names, &memory, || None).unwrap();
        assert_eq!(seen.exe, std::env::current_exe().ok());
        assert_eq!(seen.folder, std::env::current_dir().ok());
        assert_eq!(seen.parent, std::os::unix::process::parent_id());
        assert!(!seen.arguments.is_empty() && !seen.comm.is_empty());
        assert!(seen.inner_pid.is_none_or(|inner| inner > 0));
        // Of another time: another process.
        let wrong = Mark { started: mark.started + 500, ..mark };
        assert!(read(pid, wrong, &names, &memory, || None).is_none());
    }

    /// A process in a container, of a login with a terminal, as a host's /proc has it.
    #[test]
    fn groups_logins_capabilities_and_terminals_are_read() {
        let stat = "90 (a) b) S 80 90 90 34819 90 4194304 100 0 0 0 1 2 0 0 20 0 1 0 5150 \
                    2961408 256 18446744073709551615 4194304 5000000 140720000000000 0 0 0 0 0 0 \
                    0 0 0 17 1 0 0 0 0 0 6000000 6100000 6200000 7 8 9 10 0";
        let mark = Mark::parse(stat).unwrap();
        assert_eq!(
            (mark.parent, mark.started, mark.program),
            (80, 5150, (140_720_000_000_000, 7, 8))
        );
        assert_eq!(Mark::parse(&stat.replace(") S ", ") Z ")), None);
        let folder = std::env::temp_dir().join(format!("tidegate-proc-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write(
            "status",
            "Name:\ta) b\nNSpid:\t90\t7\t3\nUid:\t4242\t0\t0\t0\nGid:\t4243\t0\t0\t0\n\
             CapInh:\tffffffffffffffff\nCapPrm:\t0000000000000000\nCapEff:\t0000000000202000\n",
        );
        write("comm", "a) b\n");
        write("cmdline", "/usr/bin/env\0x\0");
        write("cgroup", "0::/system.slice/app.service\n");
        write("loginuid", "0");
        write("sessionid", "7");
        let read = || told_in(&folder, 90, mark, &Names::default(), &Memory::default()).unwrap();
        let seen = read();
        assert_eq!((seen.uid, seen.real_uid, seen.gid), (0, 4242, 0));
        assert_eq!(seen.group.as_deref(), Some("root"));
        assert_eq!((seen.user.as_deref(), seen.real_user), (Some("root"), None));
        assert_eq!((seen.login_uid, seen.login_session), (Some(0), Some(7)));
        assert_eq!(seen.login_user.as_deref(), Some("root"));
        // NET_RAW and SYS_ADMIN.
        assert_eq!(seen.effective, 1 << 13 | 1 << 21);
        assert_eq!(seen.terminal.as_deref(), Some("pts/3"));
        assert_eq!((seen.comm.as_str(), seen.inner_pid), ("a) b", Some(3)));
        assert_eq!(seen.workload.unit.as_deref(), Some("app.service"));
        // Nobody has logged in: the audit session is nobody's either.
        write("loginuid", "4294967295");
        let seen = read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((seen.login_uid, seen.login_user, seen.login_session), (None, None, None));
    }

    /// What other programs say of the same process.
    #[test]
    fn a_process_with_a_terminal_is_what_others_say() {
        let mut script = std::process::Command::new("script")
            .args(["-qec", "echo $$; read _", "/dev/null"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = script.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        let told = |what: &str| {
            let output = std::process::Command::new("id").arg(what).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let terminal = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
        let mark = Mark::of(pid).unwrap();
        let seen = read(pid, mark, &Names::default(), &Memory::default(), || None);
        script.kill().unwrap();
        script.wait().unwrap();
        let _ = std::process::Command::new("/bin/kill").arg(pid.to_string()).status();
        let seen = seen.unwrap();
        assert_eq!(format!("/dev/{}", seen.terminal.unwrap()), terminal.to_str().unwrap());
        assert_eq!((seen.gid.to_string(), seen.group.unwrap()), (told("-g"), told("-gn")));
        assert_eq!((seen.uid.to_string(), seen.user.unwrap()), (told("-u"), told("-un")));
    }

    #[test]
    fn of_an_environment_only_what_is_asked_for_is_kept() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env_clear()
            .env("OTEL_SERVICE_NAME", "shop")
            .env("CLAUDECODE", "1")
            .env("PGPASSWORD", "hunter2")
            .spawn()
            .unwrap();
        // Until its exec it is this program still.
        let exe = format!("/proc/{}/exe", child.id());
        while fs::read_link(&exe).is_ok_and(|exe| exe == std::env::current_exe().unwrap()) {
            std::thread::yield_now();
        }
        let mark = Mark::of(child.id()).unwrap();
        let seen = Seen { started: mark.started * CLOCK_TICK, ..Seen::default() };
        let kept = environment(child.id(), &seen, &Kinds::own().unwrap());
        let other = Seen { started: 0, ..Seen::default() };
        let none = environment(child.id(), &other, &Kinds::own().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        let expected = Environment {
            names: vec!["CLAUDECODE".into()],
            service_name: Some("shop".into()),
            resource: None,
        };
        assert_eq!((kept, none), (Some(expected), None));
    }

    #[test]
    fn terminals_have_their_names() {
        for (number, expected) in [
            (0, None),
            (34816, Some("pts/0")),
            (34819, Some("pts/3")),
            (136 << 8 | 1 << 20 | 4, Some("pts/260")),
            (1025, Some("tty1")),
            (4 << 8 | 64, Some("ttyS0")),
            (1281, Some("console")),
        ] {
            assert_eq!(terminal(number).as_deref(), expected, "{number}");
        }
    }
}
