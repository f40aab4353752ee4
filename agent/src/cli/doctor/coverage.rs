//! The ways to a database on this host, and how far the agent reaches on each.

use std::path::Path;

use super::{Coverage, Reach};
use crate::config::Settings;
use crate::host::{Running, UnixSocket, powerful};

/// Go-betweens that speak with databases in others' names.
const POOLERS: [&str; 22] = [
    "pgbouncer",
    "pgpool",
    "pgcat",
    "odyssey",
    "supavisor",
    "pgdog",
    "proxysql",
    "mysqlrouter",
    "maxscale",
    "haproxy",
    "nginx",
    "envoy",
    "linkerd2-proxy",
    "docker-proxy",
    "rootlesskit",
    "kube-proxy",
    "cloud-sql-proxy",
    "cloud_sql_proxy",
    "alloydb-auth-proxy",
    "socat",
    "ssh",
    "sshd",
];
/// Network stacks of their own that connect as themselves.
const STACKS: [&str; 6] = ["slirp4netns", "pasta", "passt", "pasta.avx2", "passt.avx2", "gvproxy"];
/// Machines within the machine, and sandboxes with a kernel of their own: their
/// packets leave by a bridge.
const MACHINES: [&str; 6] =
    ["firecracker", "cloud-hypervisor", "crosvm", "VBoxHeadless", "runsc", "runsc-sandbox"];
/// Where databases put their sockets.
const SOCKETS: [(&str, &str); 7] = [
    (".s.PGSQL.", "PostgreSQL"),
    ("mysqld.sock", "MySQL"),
    ("mysql.sock", "MySQL"),
    ("mysqlx.sock", "MySQL"),
    ("mongodb-", "MongoDB"),
    ("redis", "Redis"),
    ("valkey", "Valkey"),
];
const MOST_FOUND: usize = 20;

pub(super) fn list(
    root: &Path,
    settings: &Settings,
    processes: &[Running],
    sockets: &[UnixSocket],
) -> Vec<Coverage> {
    let mut list = vec![tcp(settings)];
    list.extend(go_betweens(processes));
    list.extend(stacks(processes));
    list.extend(machines(processes));
    list.extend(unix(sockets));
    list.extend(privileged(root, settings, processes));
    list
}

fn tcp(settings: &Settings) -> Coverage {
    let names: Vec<String> = settings
        .protect
        .iter()
        .filter(|protect| !protect.exclude)
        .map(|protect| protect.name.clone())
        .collect();
    let who = match &settings.cgroup {
        Some(cgroup) => format!("processes in {} and below", cgroup.display()),
        None => "every process, in every container and network namespace".to_owned(),
    };
    Coverage {
        reach: Reach::Covered,
        what: "TCP connections to protected destinations",
        found: names,
        why: format!("led through the gate and attributed to the process that connects: {who}"),
        next: None,
    }
}

fn go_betweens(processes: &[Running]) -> Option<Coverage> {
    found(processes, |process| is_one_of(process, &POOLERS)).map(|found| {
        Coverage {
        reach: Reach::Seen,
        what: "poolers, proxies and tunnels",
        found,
        why: "what they do towards a database counts as their own: who is behind them isn't told \
              apart"
            .into(),
        next: Some(
            "protect the port on which they take their clients too, so that these are seen as they \
             come"
                .into(),
        ),
    }
    })
}

fn stacks(processes: &[Running]) -> Option<Coverage> {
    let stack = |process: &Running| {
        is_one_of(process, &STACKS) || (is_qemu(process) && !has_bridge(process))
    };
    found(processes, stack).map(|found| Coverage {
        reach: Reach::Seen,
        what: "network stacks in user space",
        found,
        why: "rootless containers and machines behind them connect in their name".into(),
        next: Some(
            "give such containers a network namespace of the kernel's (rootful networking)".into(),
        ),
    })
}

fn machines(processes: &[Running]) -> Option<Coverage> {
    let machine = |process: &Running| {
        is_one_of(process, &MACHINES) || (is_qemu(process) && has_bridge(process))
    };
    found(processes, machine).map(|found| Coverage {
        reach: Reach::NotCovered,
        what: "virtual machines and sandboxes with a kernel of their own",
        found,
        why: "their packets leave by a bridge: no process of this host connects".into(),
        next: Some("run the agent inside of them".into()),
    })
}

fn unix(sockets: &[UnixSocket]) -> Option<Coverage> {
    let mut found: Vec<String> = sockets
        .iter()
        .filter_map(|socket| {
            let kind = database(&socket.path)?;
            Some(format!("{} ({kind})", socket.path.display()))
        })
        .collect();
    found.dedup();
    shorten(&mut found);
    (!found.is_empty()).then(|| Coverage {
        reach: Reach::NotCovered,
        what: "unix sockets of databases on this host",
        found,
        why: "no TCP connection is made".into(),
        next: Some(
            "let clients come by TCP: take the socket away (PostgreSQL: \
             unix_socket_directories = '') or narrow who may open it"
                .into(),
        ),
    })
}

fn privileged(root: &Path, settings: &Settings, processes: &[Running]) -> Option<Coverage> {
    let mount = crate::host::cgroup2_mount(root);
    let under = settings.cgroup.as_deref().zip(mount.as_deref()).and_then(|(cgroup, mount)| {
        Some(format!("/{}", cgroup.strip_prefix(mount).ok()?.to_str()?))
    });
    let own = std::process::id();
    let mut found: Vec<String> = powerful(processes, under.as_deref())
        .filter(|process| process.pid != own)
        .map(|process| {
            let powers: Vec<&str> = process.powers().iter().map(|power| power.name()).collect();
            format!("{} {} ({})", process.pid, process.program(), powers.join(" "))
        })
        .collect();
    shorten(&mut found);
    (!found.is_empty()).then(|| Coverage {
        reach: Reach::NotCovered,
        what: "processes that may go around the hooks",
        found,
        why: "with NET_ADMIN, NET_RAW, BPF or SYS_ADMIN in the host's sense, a process can send \
              packets without a socket of the kernel's, or take the agent's programs off"
            .into(),
        next: Some(
            "where it isn't needed, take it away: a user of its own, CapabilityBoundingSet= in a \
             unit, `--cap-drop ALL` for a container"
                .into(),
        ),
    })
}

fn found(processes: &[Running], wanted: impl Fn(&Running) -> bool) -> Option<Vec<String>> {
    let mut found: Vec<String> = processes
        .iter()
        .filter(|process| !process.kernel_thread && wanted(process))
        .map(|process| format!("{} {}", process.pid, process.program()))
        .collect();
    shorten(&mut found);
    (!found.is_empty()).then_some(found)
}

fn shorten(found: &mut Vec<String>) {
    if found.len() > MOST_FOUND {
        let more = found.len() - MOST_FOUND;
        found.truncate(MOST_FOUND);
        found.push(format!("and {more} more"));
    }
}

fn is_one_of(process: &Running, names: &[&str]) -> bool {
    names.contains(&process.program()) || names.contains(&process.comm.as_str())
}

fn is_qemu(process: &Running) -> bool {
    process.program().starts_with("qemu-system-") || process.program() == "qemu-kvm"
}

/// `-netdev tap,…` and its kind: packets that no socket of this host sends.
fn has_bridge(process: &Running) -> bool {
    process.arguments.iter().any(|argument| {
        ["tap", "bridge", "vhost-user", "l2tpv3"]
            .iter()
            .any(|kind| argument == kind || argument.starts_with(&format!("{kind},")))
    })
}

fn database(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    SOCKETS
        .iter()
        .find(|(begins, _)| {
            name.starts_with(begins)
                && (!begins.starts_with(['r', 'v', 'm']) || name.ends_with(".sock"))
        })
        .map(|(_, kind)| *kind)
}
