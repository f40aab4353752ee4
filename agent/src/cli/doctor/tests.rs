use super::*;
use crate::host::tests::Tree;

fn settings() -> Settings {
    Settings { control: "/nonexistent/control.sock".into(), ..Settings::default() }
}

fn verdict_of<'c>(checks: &'c [Check], name: &str) -> &'c Check {
    checks.iter().find(|check| check.name == name).unwrap()
}

/// A host on which everything is as it should be.
fn good(name: &str) -> Tree {
    let tree = Tree::new(name);
    tree.file("proc/sys/kernel/osrelease", "6.12.9-amd64\n")
        .file("sys/kernel/btf/vmlinux", "")
        .file(
            "proc/self/mountinfo",
            "31 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
             32 25 0:28 / /sys/fs/bpf rw - bpf bpf rw\n",
        )
        .file("proc/filesystems", "nodev\tbpf\n\text4\n")
        .file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
        .file("proc/sys/net/core/bpf_jit_enable", "1\n")
        .file("proc/sys/net/core/somaxconn", "4096\n")
        .file("proc/sys/kernel/seccomp/actions_avail", "kill_process\n")
        .file("proc/sys/net/mptcp/enabled", "1\n")
        .file("etc/passwd", "root:x:0:0::/:/bin/sh\ntidegate:x:990:990::/:/sbin/nologin\n")
        .file("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
        .file("sys/class/net/lo/flags", "0x9\n");
    tree
}

fn examined(tree: &Tree, settings: &Settings) -> Vec<Check> {
    let mut checks = kernel::checks(tree.root(), settings);
    checks.extend(host::checks(tree.root(), settings, false));
    checks
}

#[test]
fn a_good_host_is_fit_and_says_so() {
    let tree = good("doctor-good");
    let checks = examined(&tree, &settings());
    assert!(checks.iter().all(|check| check.verdict == Verdict::Ok), "{checks:#?}");
    assert_eq!(fit(&checks), Some(true));
    let coverage = coverage::list(tree.root(), &settings(), &[], &[]);
    let examination =
        Examination { schema: SCHEMA, version: "0.1.0", fit: fit(&checks), checks, coverage };
    let mut out = Vec::new();
    let page = Page { width: None, colour: false };
    page::write(&mut out, page, &examination, false).unwrap();
    crate::cli::tests::snapshot("doctor-good", &String::from_utf8(out).unwrap());
}

#[test]
fn each_lack_is_found_and_says_what_to_do() {
    for (file, text, name, verdict, finding) in [
        ("proc/sys/kernel/osrelease", "4.19.0\n", "kernel", Verdict::Fail, "too old"),
        ("proc/sys/kernel/osrelease", "5.15.0\n", "kernel", Verdict::Warn, "may do"),
        ("proc/self/mountinfo", "", "cgroup2", Verdict::Fail, "not mounted"),
        (
            "sys/kernel/security/lockdown",
            "none integrity [confidentiality]\n",
            "lockdown",
            Verdict::Warn,
            "every verdict holds",
        ),
        ("proc/sys/net/core/bpf_jit_enable", "0\n", "BPF compiler", Verdict::Warn, "off"),
        ("proc/sys/net/core/somaxconn", "128\n", "accept backlog", Verdict::Warn, "128"),
        ("etc/passwd", "", "enforcer's user", Verdict::Warn, "61843"),
        ("etc/passwd", "tidegate:x:0:0::/:\n", "enforcer's user", Verdict::Fail, "root by"),
        ("sys/class/net/lo/flags", "0x8\n", "loopback interface", Verdict::Fail, "down"),
        (
            "proc/sys/net/ipv4/ip_local_port_range",
            "1024\t60999\n",
            "listeners' port",
            Verdict::Warn,
            "1024 to 60999",
        ),
        (
            "proc/net/tcp",
            "head\n 0: 00000000:3E7F 00000000:0000 0A\n",
            "listeners' port",
            Verdict::Fail,
            "somebody listens at 0.0.0.0",
        ),
        (
            "proc/sys/kernel/yama/ptrace_scope",
            "3\n",
            "connections older than the agent",
            Verdict::Warn,
            "can't be adopted",
        ),
    ] {
        let tree = good("doctor-lack");
        tree.file(file, text);
        let checks = examined(&tree, &settings());
        let check = verdict_of(&checks, name);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.finding.contains(finding), "{check:?}");
        assert!(check.next.is_some(), "{check:?}");
    }
}

#[test]
fn bpffs_is_there_or_can_be_made() {
    let tree = good("doctor-bpffs");
    let cgroup = "31 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    tree.file("proc/self/mountinfo", cgroup);
    let check = |settings: &Settings| verdict_of(&examined(&tree, settings), "bpffs").clone();
    assert_eq!(check(&settings()).verdict, Verdict::Fail);
    tree.file("sys/fs/bpf/.keep", "");
    assert!(check(&settings()).finding.contains("the agent does that"));
    let elsewhere = Settings { bpffs: "/run/bpf".into(), ..settings() };
    assert_eq!(check(&elsewhere).verdict, Verdict::Ok);
    tree.file("proc/filesystems", "ext4\n");
    assert_eq!(check(&elsewhere).verdict, Verdict::Fail);
}

#[test]
fn the_cgroup_of_the_settings_must_be_there() {
    let tree = good("doctor-cgroup");
    tree.file("sys/fs/cgroup/apps/cgroup.procs", "");
    for (cgroup, verdict) in [
        ("/sys/fs/cgroup/apps", Verdict::Ok),
        ("/sys/fs/cgroup/none", Verdict::Fail),
        ("/mnt/apps", Verdict::Fail),
    ] {
        let settings = Settings { cgroup: Some(cgroup.into()), ..settings() };
        let checks = examined(&tree, &settings);
        assert_eq!(verdict_of(&checks, "cgroup2").verdict, verdict, "{cgroup}");
    }
}

#[test]
fn a_reserved_port_may_lie_in_the_clients_range() {
    let tree = good("doctor-port");
    tree.file("proc/sys/net/ipv4/ip_local_port_range", "1024\t60999\n")
        .file("proc/sys/net/ipv4/ip_local_reserved_ports", "8080,15990-16000\n");
    assert_eq!(verdict_of(&examined(&tree, &settings()), "listeners' port").verdict, Verdict::Ok);
}

#[test]
fn units_that_would_drop_the_loopback_are_named() {
    let tree = good("doctor-units");
    tree.file("usr/lib/systemd/system/free.service", "[Service]\nExecStart=/bin/x\n")
        .file("usr/lib/systemd/system/shut.service", "[Service]\nIPAddressDeny=any\n")
        .file("usr/lib/systemd/system/systemd-x.service", "[Service]\nIPAddressDeny=any\n")
        .file(
            "usr/lib/systemd/system/local.service",
            "[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\n",
        )
        .file("usr/lib/systemd/system/some.service", "[Service]\nIPAddressDeny=10.0.0.0/8\n")
        .file("usr/lib/systemd/system/mended.service", "[Service]\nIPAddressDeny=any\n")
        .file(
            "etc/systemd/system/mended.service.d/override.conf",
            "[Service]\nIPAddressAllow=127.0.0.0/8 ::1\n",
        )
        .file("usr/lib/systemd/system/replaced.service", "[Service]\nIPAddressDeny=any\n")
        .file("etc/systemd/system/replaced.service", "[Service]\n")
        .file("run/systemd/transient/run-7.scope", "[Scope]\nIPAddressDeny=any\n")
        .link("lib", "usr/lib");
    let checks = examined(&tree, &settings());
    let check = verdict_of(&checks, "units' packet filters");
    assert_eq!(check.verdict, Verdict::Warn);
    assert!(check.finding.contains(": run-7.scope, shut.service: "), "{check:?}");
}

#[test]
fn what_could_not_be_looked_at_leaves_the_answer_open() {
    let ok = Check::ok("a", "b");
    let unknown = Check::but("a", Verdict::Unknown, "b", "c");
    let fail = Check::but("a", Verdict::Fail, "b", "c");
    assert_eq!(fit(&[ok.clone(), unknown.clone()]), None);
    assert_eq!(fit(&[unknown, fail, ok]), Some(false));
}

#[test]
fn every_way_around_is_listed_with_its_reach() {
    let tree = Tree::new("doctor-coverage");
    tree.process(1, "/sbin/init", "000001ffffffffff", 10)
        .process(20, "/usr/sbin/pgbouncer", "0", 10)
        .process(21, "/usr/bin/slirp4netns", "0", 10)
        .process(22, "/usr/bin/qemu-system-x86_64", "0", 10)
        .process(23, "/usr/bin/qemu-system-x86_64", "0", 10)
        .file("proc/23/cmdline", "qemu-system-x86_64\0-netdev\0tap,id=n0\0")
        .process(24, "/usr/bin/tcpdump", "0000000000003000", 10)
        .process(25, "/usr/bin/firecracker", "0", 10)
        .process(26, "/usr/bin/python3", "0", 10)
        .file(
            "proc/1/net/unix",
            "head\n\
             0: 2 0 0 1 1 5 /run/postgresql/.s.PGSQL.5432\n\
             0: 2 0 0 1 1 6 /run/mysqld/mysqld.sock\n\
             0: 2 0 0 1 1 7 /tmp/mongodb-27017.sock\n\
             0: 2 0 0 1 1 8 /run/redis/redis-server.sock\n\
             0: 2 0 0 1 1 9 /run/redis-notes.txt\n\
             0: 2 0 0 1 1 9 /run/other.sock\n",
        );
    let processes = crate::host::processes(tree.root());
    let sockets = crate::host::unix_sockets(tree.root(), &processes);
    let list = coverage::list(tree.root(), &settings(), &processes, &sockets);
    let shown: Vec<(Reach, Vec<&str>)> = list
        .iter()
        .map(|coverage| (coverage.reach, coverage.found.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        shown,
        [
            (Reach::Covered, vec!["5432"]),
            (Reach::Seen, vec!["20 pgbouncer"]),
            (Reach::Seen, vec!["21 slirp4netns", "22 qemu-system-x86_64"]),
            (Reach::NotCovered, vec!["23 qemu-system-x86_64", "25 firecracker"]),
            (
                Reach::NotCovered,
                vec![
                    "/run/mysqld/mysqld.sock (MySQL)",
                    "/run/postgresql/.s.PGSQL.5432 (PostgreSQL)",
                    "/run/redis/redis-server.sock (Redis)",
                    "/tmp/mongodb-27017.sock (MongoDB)",
                ]
            ),
            (
                Reach::NotCovered,
                vec!["1 init (NET_ADMIN NET_RAW SYS_ADMIN BPF)", "24 tcpdump (NET_ADMIN NET_RAW)"]
            ),
        ]
    );
    assert!(list.iter().skip(1).all(|coverage| coverage.next.is_some()));
}

#[test]
fn this_host_can_be_examined() {
    let examination = examine(Path::new("/"), &settings());
    let names: std::collections::BTreeSet<&str> =
        examination.checks.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), examination.checks.len(), "each check once");
    assert!(examination.checks.iter().all(|c| (c.verdict == Verdict::Ok) == c.next.is_none()));
    let json = output::compact(&examination).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["coverage"][0]["reach"], "covered");
}
