use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A folder that stands for `/`.
pub(crate) struct Tree(pub PathBuf);

impl Tree {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidegate-host-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// A process with what its /proc folder says.
    pub fn process(&self, pid: u32, exe: &str, capabilities: &str, userns: u32) -> &Self {
        let name = exe.rsplit('/').next().unwrap();
        let folder = format!("proc/{pid}");
        self.file(&format!("{folder}/comm"), &format!("{name}\n"))
            .file(
                &format!("{folder}/status"),
                &format!("Name:\t{name}\nPPid:\t1\nUid:\t0\t33\t33\t33\nCapEff:\t{capabilities}\n"),
            )
            .file(&format!("{folder}/cmdline"), &format!("{exe}\0-D\0two words\0"))
            .file(&format!("{folder}/cgroup"), "1:name=systemd:/x\n0::/app.slice/web.service\n")
            .file(&format!("{folder}/stat"), &format!("{pid} (a) b) S 1 1 1 0 -1 4194560 0"))
            .link(&format!("{folder}/exe"), exe)
            .link(&format!("{folder}/ns/user"), &format!("user:[{userns}]"))
            .link(&format!("{folder}/ns/net"), "net:[4026531840]")
    }

    pub fn root(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn releases_compare_by_number() {
    let tree = Tree::new("release");
    tree.file("proc/sys/kernel/osrelease", "6.12.9+deb12-cloud-amd64\n");
    let release = kernel_release(tree.root()).unwrap();
    assert_eq!((release.major, release.minor), (6, 12));
    assert_eq!(release.to_string(), "6.12.9+deb12-cloud-amd64");
    assert!(release.at_least(6, 1) && release.at_least(5, 15) && release.at_least(6, 12));
    assert!(!release.at_least(6, 13) && !release.at_least(7, 0));
    tree.file("proc/sys/kernel/osrelease", "weird\n");
    assert_eq!(kernel_release(tree.root()), None);
}

#[test]
fn lockdown_is_the_word_in_brackets() {
    let tree = Tree::new("lockdown");
    assert_eq!(lockdown(tree.root()), Lockdown::Unknown);
    for (text, mode) in [
        ("[none] integrity confidentiality\n", Lockdown::None),
        ("none [integrity] confidentiality\n", Lockdown::Integrity),
        ("none integrity [confidentiality]\n", Lockdown::Confidentiality),
        ("something else\n", Lockdown::Unknown),
    ] {
        tree.file("sys/kernel/security/lockdown", text);
        assert_eq!(lockdown(tree.root()), mode, "{text}");
    }
    tree.file("sys/kernel/security/lsm", "lockdown,capability,landlock\n");
    assert_eq!(security_modules(tree.root()), ["lockdown", "capability", "landlock"]);
}

#[test]
fn cgroup2_is_found_in_unified_and_hybrid_hosts_and_whole_before_part() {
    let tree = Tree::new("mounts");
    assert_eq!(cgroup2_mount(tree.root()), None);
    let v1 = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    let hybrid = "31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    let part = "32 25 0:27 /a /mnt/a\\040part rw - cgroup2 none rw\n";
    tree.file("proc/self/mountinfo", &format!("{v1}{part}{hybrid}"));
    assert_eq!(cgroup2_mount(tree.root()), Some("/sys/fs/cgroup/unified".into()));
    tree.file("proc/self/mountinfo", &format!("{v1}{part}"));
    assert_eq!(cgroup2_mount(tree.root()), Some("/mnt/a part".into()));
    assert_eq!(mounts(tree.root()).len(), 2);
    tree.file("proc/self/mountinfo", v1);
    assert_eq!(cgroup2_mount(tree.root()), None);
}

#[test]
fn processes_are_read_with_their_powers() {
    let tree = Tree::new("processes");
    tree.process(1, "/sbin/init", "000001ffffffffff", 10)
        .process(7, "/usr/bin/tcpdump", "0000000000003000", 10)
        .process(8, "/usr/bin/rootless", "000001ffffffffff", 11)
        .process(9, "/usr/bin/web", "0000000000000400", 10)
        .file("proc/self/status", "")
        .file("proc/12/comm", "half gone\n");
    let found = processes(tree.root());
    let pids: Vec<u32> = found.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [1, 7, 8, 9]);
    let dump = &found[1];
    assert_eq!(dump.powers(), [Power::NetAdmin, Power::NetRaw]);
    assert_eq!(dump.uid, 33);
    assert_eq!(dump.program(), "tcpdump");
    assert_eq!(dump.arguments, ["/usr/bin/tcpdump", "-D", "two words"]);
    assert_eq!(dump.cgroup.as_deref(), Some("/app.slice/web.service"));
    assert_eq!(dump.netns, Some(4_026_531_840));
    assert!(!dump.kernel_thread);
    // Another user namespace's capabilities don't count here.
    assert_eq!(found[2].powers(), []);
    let list = |cgroup| powerful(&found, cgroup).map(|p| p.pid).collect::<Vec<_>>();
    assert_eq!(list(None), [1, 7]);
    assert_eq!(list(Some("/app.slice")), [1, 7]);
    assert_eq!(list(Some("/")), [1, 7]);
    assert_eq!(list(Some("/app")), [] as [u32; 0]);
}

#[test]
fn a_kernel_thread_has_no_powers_of_its_own() {
    let tree = Tree::new("kthread");
    tree.process(2, "/kthreadd", "000001ffffffffff", 10)
        .file("proc/2/stat", "2 (kthreadd) S 0 0 0 0 -1 2129984 0");
    let found = processes(tree.root());
    assert!(found[0].kernel_thread);
    assert_eq!(found[0].powers(), []);
}

#[test]
fn listeners_and_unix_sockets_are_found() {
    let tree = Tree::new("sockets");
    let head = "  sl  local_address rem_address   st\n";
    tree.file(
        "proc/net/tcp",
        &format!(
            "{head}   0: 0100007F:1538 00000000:0000 0A 0\n   1: 0100007F:1539 0100007F:D431 01 0\n"
        ),
    )
    .file(
        "proc/net/tcp6",
        &format!("{head}   0: 00000000000000000000000001000000:3E7F 0:0 0A 0\n"),
    );
    let found = listening(tree.root());
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].address, found[0].port), ("127.0.0.1".parse().unwrap(), 5432));
    assert_eq!((found[1].address, found[1].port), ("::1".parse().unwrap(), 15_999));

    let unix = "Num RefCount Protocol Flags Type St Inode Path\n\
                0: 00000002 00000000 00010000 0001 01 43084 /run/postgresql/.s.PGSQL.5432\n\
                0: 00000002 00000000 00010000 0001 01 43085 /a path/with blanks\n\
                0: 00000003 00000000 00000000 0001 03 1123\n\
                0: 00000003 00000000 00000000 0001 03 1124 @abstract\n";
    tree.process(5, "/bin/a", "0", 1).file("proc/5/net/unix", unix);
    let sockets = unix_sockets(tree.root(), &processes(tree.root()));
    let paths: Vec<&str> = sockets.iter().map(|s| s.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/a path/with blanks", "/run/postgresql/.s.PGSQL.5432"]);
    assert_eq!(sockets[0].netns, Some(4_026_531_840));
}

#[test]
fn the_real_host_can_be_read() {
    let root = Path::new("/");
    assert!(kernel_release(root).unwrap().at_least(4, 0));
    assert!(!mounts(root).is_empty());
    let own = std::process::id();
    let found = processes(root);
    let this = found.iter().find(|process| process.pid == own).unwrap();
    assert_eq!(this.exe.as_deref(), std::env::current_exe().ok().as_deref());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(listening(root).iter().any(|listening| listening.port == port));
}
