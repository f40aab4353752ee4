//! The host around the kernel: users, ports, units, others' programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Check, Verdict};
use crate::config::{FALLBACK_UID, Settings};
use crate::host::{self, CgroupHook};

/// The system's own helpers, which deny themselves the network and need none.
const WITHOUT_NETWORK: [&str; 2] = ["systemd-", "dbus-org.freedesktop."];
/// Where units and their drop-ins lie, the weightiest last.
const UNIT_FOLDERS: [&str; 7] = [
    "lib/systemd/system",
    "usr/lib/systemd/system",
    "run/systemd/generator",
    "run/systemd/system",
    "etc/systemd/system",
    "run/systemd/transient",
    "run/systemd/system.control",
];
const LEAST_BACKLOG: i64 = 1024;
/// No more names than fit a line or two.
const MOST_NAMES: usize = 8;

pub(super) fn checks(root: &Path, settings: &Settings, running: bool) -> Vec<Check> {
    vec![
        user(root, settings),
        port(root, settings, running),
        loopback(root),
        backlog(root),
        units(root),
    ]
}

fn user(root: &Path, settings: &Settings) -> Check {
    const NAME: &str = "enforcer's user";
    let wanted = &settings.enforcer.user;
    let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let uid = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| fields.nth(1).map(str::to_owned)).flatten()
    });
    match uid.as_deref() {
        Some("0") => Check::but(
            NAME,
            Verdict::Fail,
            format!("`{wanted}` is root by another name"),
            "give the enforcer a user of its own",
        ),
        Some(uid) => Check::ok(NAME, format!("{wanted}, uid {uid}")),
        None => Check::but(
            NAME,
            Verdict::Warn,
            format!(
                "`{wanted}` is not in /etc/passwd: it runs as uid {FALLBACK_UID}, without a name"
            ),
            format!(
                "systemd-sysusers tidegate.conf, or useradd --system --no-create-home {wanted}"
            ),
        ),
    }
}

fn port(root: &Path, settings: &Settings, running: bool) -> Check {
    const NAME: &str = "listeners' port";
    let port = settings.listen_port;
    let taken: BTreeSet<String> = host::listening(root)
        .iter()
        .filter(|listening| listening.port == port)
        .map(|listening| listening.address.to_string())
        .collect();
    if !taken.is_empty() && !running {
        let at = taken.into_iter().collect::<Vec<_>>().join(", ");
        return Check::but(
            NAME,
            Verdict::Fail,
            format!("{port} is taken: somebody listens at {at}"),
            format!("set `listen_port` to another, or find out who it is: ss -ltnp sport = {port}"),
        );
    }
    let range = fs::read_to_string(root.join("proc/sys/net/ipv4/ip_local_port_range"));
    let bounds: Vec<u16> = range
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let reserved = fs::read_to_string(root.join("proc/sys/net/ipv4/ip_local_reserved_ports"));
    let reserved = is_listed(&reserved.unwrap_or_default(), port);
    if let [low, high] = bounds.as_slice()
        && (low..=high).contains(&&port)
        && !reserved
    {
        return Check::but(
            NAME,
            Verdict::Warn,
            format!("{port} is among those that the kernel gives to clients ({low} to {high})"),
            format!(
                "set `listen_port` outside of them, or sysctl -w \
                 net.ipv4.ip_local_reserved_ports={port}"
            ),
        );
    }
    let whose = if running { "the running agent's" } else { "free" };
    Check::ok(NAME, format!("{port} is {whose}"))
}

/// `8080,9000-9100`
fn is_listed(list: &str, port: u16) -> bool {
    list.trim().split(',').any(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high))
            if (low..=high).contains(&port))
    })
}

fn loopback(root: &Path) -> Check {
    const NAME: &str = "loopback interface";
    let flags = fs::read_to_string(root.join("sys/class/net/lo/flags")).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
    match flags {
        Ok(flags) if flags & 1 == 0 => Check::but(
            NAME,
            Verdict::Fail,
            "down: connections are led to a listener on it",
            "ip link set lo up",
        ),
        Ok(_) => Check::ok(NAME, "up"),
        Err(_) => Check::but(
            NAME,
            Verdict::Warn,
            "its state can't be read",
            "see `ip link show lo`: it has to be up",
        ),
    }
}

fn backlog(root: &Path) -> Check {
    const NAME: &str = "accept backlog";
    match host::number(root, "net/core/somaxconn") {
        Some(number) if number < LEAST_BACKLOG => Check::but(
            NAME,
            Verdict::Warn,
            format!("net.core.somaxconn is {number}: a burst of connects may have to try again"),
            "sysctl -w net.core.somaxconn=4096",
        ),
        Some(number) => Check::ok(NAME, format!("up to {number}")),
        None => Check::ok(NAME, "not to be told"),
    }
}

/// Units whose own packet filter would drop what is led to the loopback.
fn units(root: &Path) -> Check {
    const NAME: &str = "units' packet filters";
    let mut filters: BTreeMap<String, Filter> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for folder in UNIT_FOLDERS {
        let folder = root.join(folder);
        // /lib is /usr/lib on most hosts.
        let Ok(folder) = folder.canonicalize() else { continue };
        if seen.insert(folder.clone()) {
            read_units(&folder, &mut filters);
        }
    }
    let shut: Vec<&str> = filters
        .iter()
        .filter(|(_, filter)| filter.denies && !filter.allows_loopback)
        .map(|(name, _)| name.as_str())
        .filter(|name| !WITHOUT_NETWORK.iter().any(|own| name.starts_with(own)))
        .collect();
    if shut.is_empty() {
        let count = filters.values().filter(|filter| filter.denies).count();
        return Check::ok(
            NAME,
            match count {
                0 => "no unit has any".to_owned(),
                count => format!("{count} units have one, none that would be in the way"),
            },
        );
    }
    Check::but(
        NAME,
        Verdict::Warn,
        format!(
            "IPAddressDeny= without the loopback: {}: their connects to protected destinations \
             will time out",
            named(&shut)
        ),
        "where they speak with a database, add IPAddressAllow=localhost (systemctl edit UNIT)",
    )
}

#[derive(Debug, Default)]
struct Filter {
    denies: bool,
    allows_loopback: bool,
}

fn read_units(folder: &Path, filters: &mut BTreeMap<String, Filter>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_unit = |name: &str| {
            [".service", ".slice", ".scope", ".socket"].iter().any(|end| name.ends_with(end))
        };
        match name.strip_suffix(".d") {
            Some(unit) if is_unit(unit) && path.is_dir() => {
                let unit = unit.to_owned();
                let Ok(parts) = fs::read_dir(&path) else { continue };
                let mut parts: Vec<PathBuf> = parts.flatten().map(|part| part.path()).collect();
                parts.sort();
                for part in parts.iter().filter(|part| part.extension() == Some("conf".as_ref())) {
                    read_filter(part, unit.clone(), filters);
                }
            }
            None if is_unit(name) && path.is_file() => {
                let unit = name.to_owned();
                // A whole unit stands for itself, not beside one of less weight.
                filters.remove(&unit);
                read_filter(&path, unit, filters);
            }
            _ => {}
        }
    }
}

fn read_filter(file: &Path, unit: String, filters: &mut BTreeMap<String, Filter>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key != "IPAddressDeny" && key != "IPAddressAllow" {
            continue;
        }
        let filter = filters.entry(unit.clone()).or_default();
        let loopback = value.split_whitespace().any(|word| {
            matches!(word, "any" | "localhost" | "0.0.0.0/0" | "::/0")
                || word.starts_with("127.")
                || word == "::1"
                || word == "::1/128"
        });
        match (key, value) {
            // An empty value takes back what was said before.
            ("IPAddressDeny", "") => filter.denies = false,
            ("IPAddressDeny", _) => filter.denies |= loopback,
            (_, "") => filter.allows_loopback = false,
            _ => filter.allows_loopback |= loopback,
        }
    }
}

/// Others' programs at the hooks that the agent uses.
pub(super) fn attached(root: &Path, settings: &Settings, running: bool) -> Check {
    const NAME: &str = "others' programs on the cgroup";
    let Some(path) = settings.cgroup.clone().or_else(|| host::cgroup2_mount(root)) else {
        return Check::ok(NAME, "no cgroup2, no programs");
    };
    let found = fs::File::open(&path).and_then(|cgroup| {
        let mut found = Vec::new();
        for hook in CgroupHook::ALL {
            match host::cgroup_programs(&cgroup, hook) {
                Ok(ids) => found.extend(ids.into_iter().map(|id| (hook, id))),
                // A hook that this kernel doesn't have has no programs.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    });
    match found {
        Ok(found) => others(found, &program_names(), &path, running),
        Err(error) => Check::but(
            NAME,
            Verdict::Unknown,
            format!("those at {} can't be listed ({error})", path.display()),
            "run `tidegate doctor` as root",
        ),
    }
}

fn others(
    found: Vec<(CgroupHook, u32)>,
    names: &BTreeMap<u32, String>,
    path: &Path,
    running: bool,
) -> Check {
    const NAME: &str = "others' programs on the cgroup";
    let path = path.display();
    let words: Vec<String> = found
        .iter()
        .map(|(hook, id)| match names.get(id) {
            Some(name) => format!("{} `{name}` ({id})", hook.name()),
            None => format!("{} ({id})", hook.name()),
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words.is_empty() {
        return Check::ok(NAME, format!("none at {path}"));
    }
    if running {
        return Check::ok(
            NAME,
            format!("with the running agent's own, at {path}: {}", named(&words)),
        );
    }
    let rewrites = found.iter().any(|(hook, _)| {
        use CgroupHook::{Connect4, Connect6, Getpeername4, Getpeername6};
        matches!(hook, Connect4 | Connect6 | Getpeername4 | Getpeername6)
    });
    if rewrites {
        return Check::but(
            NAME,
            Verdict::Warn,
            format!("at {path}: {}: what they rewrite, the agent sees rewritten", named(&words)),
            format!(
                "see what they do (`bpftool cgroup show {path}`): socket load balancers put a \
                 backend's address in a service's place, so protect the backends' addresses or \
                 ports; what an earlier agent has left, `tidegate detach` takes away"
            ),
        );
    }
    Check::ok(NAME, format!("at {path}: {}: none at connect", named(&words)))
}

fn program_names() -> BTreeMap<u32, String> {
    aya::programs::loaded_programs()
        .flatten()
        .filter_map(|program| Some((program.id(), program.name_as_str()?.to_owned())))
        .collect()
}

fn named(names: &[&str]) -> String {
    let shown = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMES) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
