//! The kernel: its version, what it was built with, what it lets root do.

use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};

use super::{Check, Verdict};
use crate::config::{OnExisting, Settings};
use crate::host::{self, Lockdown};

/// The oldest kernel with everything that a verdict needs, and the oldest that
/// the agent is tested on.
const OLDEST: (u32, u32) = (5, 15);
const TESTED: (u32, u32) = (6, 1);

/// What can be read from files.
pub(super) fn checks(root: &Path, settings: &Settings) -> Vec<Check> {
    let mut checks = vec![
        version(root),
        btf(root),
        cgroup2(root, settings),
        bpffs(root, settings),
        lockdown(root),
        jit(root),
        seccomp(root),
        mptcp(root),
    ];
    checks.extend(ptrace(root, settings));
    checks
}

/// What only the running kernel can tell.
pub(super) fn probes() -> Vec<Check> {
    let root = rustix::process::geteuid().is_root();
    let mut checks = vec![privileges(root), landlock()];
    if root {
        checks.extend([programs(), maps(), helpers(), enrichment(), socket_destroy()]);
    } else {
        checks.push(Check::but(
            "kernel programs",
            Verdict::Unknown,
            "only root can ask the kernel which programs it takes",
            "run `tidegate doctor` as root",
        ));
    }
    checks
}

fn version(root: &Path) -> Check {
    const NAME: &str = "kernel";
    let Some(release) = host::kernel_release(root) else {
        let next = "is /proc mounted? `mount -t proc proc /proc`";
        return Check::but(NAME, Verdict::Unknown, "its version can't be read", next);
    };
    if !release.at_least(OLDEST.0, OLDEST.1) {
        let next = format!("install {}.{} or newer", TESTED.0, TESTED.1);
        return Check::but(NAME, Verdict::Fail, format!("{release} is too old"), next);
    }
    if !release.at_least(TESTED.0, TESTED.1) {
        let finding = format!("{release} may do, and is older than what the agent is tested on");
        let next = format!("{}.{} or newer is better", TESTED.0, TESTED.1);
        return Check::but(NAME, Verdict::Warn, finding, next);
    }
    Check::ok(NAME, release.to_string())
}

fn btf(root: &Path) -> Check {
    const NAME: &str = "kernel types (BTF)";
    if root.join("sys/kernel/btf/vmlinux").exists() {
        return Check::ok(NAME, "/sys/kernel/btf/vmlinux");
    }
    Check::but(
        NAME,
        Verdict::Warn,
        "not there: command lines and start times come from /proc, a moment later",
        "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build them",
    )
}

fn cgroup2(root: &Path, settings: &Settings) -> Check {
    const NAME: &str = "cgroup2";
    let Some(mount) = host::cgroup2_mount(root) else {
        let next = "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified, or boot with \
                    systemd.unified_cgroup_hierarchy=1";
        return Check::but(NAME, Verdict::Fail, "not mounted", next);
    };
    if let Some(cgroup) = &settings.cgroup {
        let shown = cgroup.display();
        if !cgroup.starts_with(&mount) {
            let finding = format!("`{shown}` is not below its mount at {}", mount.display());
            let next = format!("set `cgroup` to a folder below {}", mount.display());
            return Check::but(NAME, Verdict::Fail, finding, next);
        }
        if !below(root, cgroup).is_dir() {
            let next = format!("mkdir {shown}, or set `cgroup` to one that is there");
            return Check::but(NAME, Verdict::Fail, format!("`{shown}` is not there"), next);
        }
    }
    let hybrid = host::mounts(root).iter().any(|mount| mount.kind == "cgroup");
    let kind = if hybrid { "hybrid, beside cgroup v1" } else { "unified" };
    Check::ok(NAME, format!("{} ({kind})", mount.display()))
}

fn bpffs(root: &Path, settings: &Settings) -> Check {
    const NAME: &str = "bpffs";
    let shown = settings.bpffs.display();
    let last = host::mounts(root).into_iter().rev().find(|mount| mount.point == settings.bpffs);
    if last.is_some_and(|mount| mount.kind == "bpf") {
        return Check::ok(NAME, format!("mounted at {shown}"));
    }
    let known = std::fs::read_to_string(root.join("proc/filesystems")).unwrap_or_default();
    if !known.lines().any(|line| line.split_whitespace().last() == Some("bpf")) {
        let next = "use a kernel with CONFIG_BPF_SYSCALL=y";
        return Check::but(NAME, Verdict::Fail, "the kernel doesn't have it", next);
    }
    // sysfs has no folders but its own.
    let in_sysfs = settings.bpffs.starts_with("/sys") && !below(root, &settings.bpffs).is_dir();
    if in_sysfs {
        let finding = format!("{shown} is not there, and can't be made in sysfs");
        return Check::but(NAME, Verdict::Fail, finding, "set `bpffs` to another folder");
    }
    Check::ok(NAME, format!("not mounted at {shown} yet: the agent does that"))
}

fn lockdown(root: &Path) -> Check {
    const NAME: &str = "lockdown";
    match host::lockdown(root) {
        Lockdown::None => Check::ok(NAME, "none"),
        Lockdown::Unknown => Check::ok(NAME, "this kernel has none, or doesn't tell"),
        Lockdown::Integrity => Check::ok(NAME, "integrity: costs the agent nothing"),
        Lockdown::Confidentiality => Check::but(
            NAME,
            Verdict::Warn,
            "confidentiality: every verdict holds; programs that trace the kernel are refused, so \
             that some facts of short-lived processes come from /proc, a moment later",
            "nothing needs doing; lockdown=integrity would give them back",
        ),
    }
}

fn jit(root: &Path) -> Check {
    const NAME: &str = "BPF compiler";
    match host::number(root, "net/core/bpf_jit_enable") {
        Some(0) => Check::but(
            NAME,
            Verdict::Warn,
            "off: the kernel interprets the agent's programs, several times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Check::ok(NAME, "on"),
        // The switch isn't there in kernels where it is always on.
        None => Check::ok(NAME, "always on, or not to be told"),
    }
}

fn seccomp(root: &Path) -> Check {
    const NAME: &str = "seccomp";
    if root.join("proc/sys/kernel/seccomp/actions_avail").exists() {
        return Check::ok(NAME, "there");
    }
    Check::but(
        NAME,
        Verdict::Warn,
        "the kernel doesn't have it: a taken-over enforcer could make system calls that it never \
         needs",
        "use a kernel with CONFIG_SECCOMP_FILTER=y",
    )
}

fn mptcp(root: &Path) -> Check {
    const NAME: &str = "MPTCP";
    match host::number(root, "net/mptcp/enabled") {
        Some(1) => Check::ok(
            NAME,
            "on: its connections are led through the gate; getpeername(2) on them shows the \
             listener, not the database",
        ),
        _ => Check::ok(NAME, "off"),
    }
}

fn ptrace(root: &Path, settings: &Settings) -> Option<Check> {
    const NAME: &str = "connections older than the agent";
    let forbidden = host::number(root, "kernel/yama/ptrace_scope") == Some(3);
    (forbidden && settings.on_existing == OnExisting::Adopt).then(|| {
        Check::but(
            NAME,
            Verdict::Warn,
            "kernel.yama.ptrace_scope=3 keeps even root from taking another process's socket: \
             they can't be adopted, and are cut off",
            "set `on_existing = \"kill\"`, or restart the clients after the agent",
        )
    })
}

fn below(root: &Path, path: &Path) -> std::path::PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

// ---- asked of the running kernel ---------------------------------------------

fn privileges(root: bool) -> Check {
    const NAME: &str = "privileges";
    const NEEDED: [(&str, u64); 6] = [
        ("NET_ADMIN", 12),
        ("NET_RAW", 13),
        ("SYS_PTRACE", 19),
        ("SYS_ADMIN", 21),
        ("PERFMON", 38),
        ("BPF", 39),
    ];
    if !root {
        let next = "run `tidegate doctor` as root";
        return Check::but(NAME, Verdict::Unknown, "this is not root; the agent is", next);
    }
    let own = std::process::id();
    let processes = host::processes(Path::new("/"));
    let effective = processes.iter().find(|process| process.pid == own).map(|p| p.effective);
    let Some(effective) = effective else {
        let next = "is /proc mounted? `mount -t proc proc /proc`";
        return Check::but(NAME, Verdict::Unknown, "its capabilities can't be read", next);
    };
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(_, bit)| effective & (1 << bit) == 0)
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Check::ok(NAME, "root, with every capability that the agent needs");
    }
    Check::but(
        NAME,
        Verdict::Fail,
        format!("root, without {}", missing.join(", ")),
        "run it on the host, or in a container with these capabilities (`--privileged`)",
    )
}

fn landlock() -> Check {
    const NAME: &str = "Landlock";
    match host::landlock_abi() {
        Some(version) => Check::ok(NAME, format!("version {version} of its interface")),
        None => Check::but(
            NAME,
            Verdict::Warn,
            "the kernel doesn't have it, or it is off: the enforcer's files are fenced by its user \
             alone",
            "boot with `lsm=landlock,…` in front of what /sys/kernel/security/lsm says",
        ),
    }
}

/// What was asked for, and the answer or why there was none.
type Probe<'a> = (&'a str, Result<bool, String>);

fn programs() -> Check {
    let types = [
        ("cgroup_sock_addr", ProgramType::CgroupSockAddr),
        ("cgroup_skb", ProgramType::CgroupSkb),
        ("cgroup_sock", ProgramType::CgroupSock),
        ("sock_ops", ProgramType::SockOps),
    ];
    let probed = types.map(|(name, kind)| (name, told(is_program_supported(kind))));
    judge("kernel programs", Verdict::Fail, "the hooks", probed.into())
}

fn maps() -> Check {
    let types = [
        ("sk_storage", MapType::SkStorage),
        ("ringbuf", MapType::RingBuf),
        ("lpm_trie", MapType::LpmTrie),
        ("hash", MapType::Hash),
        ("lru_hash", MapType::LruHash),
        ("percpu_array", MapType::PerCpuArray),
    ];
    let probed = types.map(|(name, kind)| (name, told(is_map_supported(kind))));
    judge("kernel maps", Verdict::Fail, "the hooks", probed.into())
}

fn helpers() -> Check {
    let address = ProgramType::CgroupSockAddr;
    let needed = [
        ("sk_storage_get in connect", address, BpfHelper::BPF_FUNC_sk_storage_get),
        ("get_netns_cookie in connect", address, BpfHelper::BPF_FUNC_get_netns_cookie),
        ("get_socket_cookie in connect", address, BpfHelper::BPF_FUNC_get_socket_cookie),
        ("setsockopt in connect", address, BpfHelper::BPF_FUNC_setsockopt),
        ("sk_storage_get in egress", ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_sk_storage_get),
        ("ringbuf_output in egress", ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_ringbuf_output),
        ("sk_storage_get in sock_ops", ProgramType::SockOps, BpfHelper::BPF_FUNC_sk_storage_get),
    ];
    let probed = needed.map(|(name, kind, helper)| (name, told(is_helper_supported(kind, helper))));
    judge("kernel helpers", Verdict::Fail, "the hooks", probed.into())
}

/// What only enriches: process facts taken in the hook itself.
fn enrichment() -> Check {
    let address = ProgramType::CgroupSockAddr;
    let probed = vec![
        (
            "get_current_task_btf in connect",
            told(is_helper_supported(address, BpfHelper::BPF_FUNC_get_current_task_btf)),
        ),
        (
            "probe_read_user in connect",
            told(is_helper_supported(address, BpfHelper::BPF_FUNC_probe_read_user)),
        ),
        ("raw_tracepoint", told(is_program_supported(ProgramType::RawTracePoint))),
    ];
    let cost = "command lines in the hook (else they come from /proc, a moment later)";
    judge("facts from the kernel", Verdict::Warn, cost, probed)
}

fn judge(name: &'static str, without: Verdict, need: &str, probed: Vec<Probe<'_>>) -> Check {
    let (mut missing, mut untold) = (Vec::new(), Vec::new());
    for (what, result) in &probed {
        match result {
            Ok(true) => {}
            Ok(false) => missing.push(*what),
            Err(error) => untold.push(format!("{what} ({error})")),
        }
    }
    if !missing.is_empty() {
        let finding = format!("the kernel has no {}: {need} need it", missing.join(", no "));
        let next = format!("use a kernel of {}.{} or newer", TESTED.0, TESTED.1);
        return Check::but(name, without, finding, next);
    }
    if !untold.is_empty() {
        let verdict = without.min(Verdict::Unknown);
        let finding = format!("the kernel would not say: {}", untold.join(", "));
        let next = "is bpf(2) kept from root here, by a container or a security module?";
        return Check::but(name, verdict, finding, next);
    }
    let words: Vec<&str> = probed.iter().map(|(what, _)| *what).collect();
    Check::ok(name, words.join(", "))
}

/// Of an error, the innermost cause says most.
fn told(answer: Result<bool, impl std::error::Error + 'static>) -> Result<bool, String> {
    answer.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string()
    })
}

fn socket_destroy() -> Check {
    const NAME: &str = "ending connections (SOCK_DESTROY)";
    match host::socket_destroy() {
        Ok(true) => Check::ok(NAME, "there"),
        Ok(false) => Check::but(
            NAME,
            Verdict::Warn,
            "the kernel lacks it: `on_existing = \"kill\"` has to shut connections down from \
             within their processes",
            "use a kernel with CONFIG_INET_DIAG_DESTROY=y",
        ),
        Err(error) => Check::but(
            NAME,
            Verdict::Warn,
            format!("the kernel would not say ({error})"),
            "it matters for `on_existing = \"kill\"` only",
        ),
    }
}
