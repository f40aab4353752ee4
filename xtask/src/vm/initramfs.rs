//! The guest's whole file system, as an archive that the kernel unpacks.
//!
//! The archive is in the kernel's "newc" form: written here, it needs no tool
//! and no right to make device files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Payload;
use super::kernel::Kernel;
use crate::setup::locate;
use crate::step;

/// First program of the guest: a machine with what the matrix expects, then
/// the suite, then the end. `reboot` ends the emulator, as a panic does.
const INIT: &str = "#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
rm /bin/ip
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for folder in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $folder; done
chmod 1777 /tmp /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*; do insmod $module || echo \"cannot load $module\"; done
ip link set lo up
ulimit -n 65536
echo
echo \"GUEST READY $(uname -r)\"
/suite </dev/null 2>&1
echo \"GUEST EXIT $?\"
reboot -f
";

/// The suite of `--boot-only`: what the agent will lean on, is it there. The
/// shell would take its own `ip` before that of iproute2, so that one is named.
const LOOK: &str = "#!/bin/sh
failed=0
look() {
    name=$1; shift
    if \"$@\" >/dev/null 2>/tmp/why; then echo \"RESULT $name ok\"
    else failed=1; echo \"RESULT $name failed $(head -n 1 /tmp/why)\"; fi
}
look cgroup2 mkdir /sys/fs/cgroup/look
look bpffs mkdir /sys/fs/bpf/look
look btf test -s /sys/kernel/btf/vmlinux
look veth /usr/sbin/ip link add one type veth peer name two
look netns /usr/sbin/ip netns add look
look ipv6 ping -6 -c 1 ::1
look tcp_diag grep -q '^tcp_diag ' /proc/modules
look mptcp test -e /proc/sys/net/mptcp/enabled
exit $failed
";

/// The suite itself.
const SUITE: &str = "#!/bin/sh\nexec /matrix --core --agent /tidegate\n";

/// Writes the file system for a kernel and what it runs.
pub fn write(archive: &Path, kernel: &Kernel, payload: Option<&Payload>) -> Result<()> {
    let mut tree = Tree::default();
    for folder in ["dev", "proc", "sys", "tmp", "run", "root", "bin", "etc", "var/log", "var/lib"] {
        tree.folder(Path::new(folder));
    }
    tree.device("dev/console", 5, 1);
    tree.program("init", INIT.as_bytes().to_vec());
    tree.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n");
    tree.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n");
    tree.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n");

    let busybox = locate("busybox").context("busybox is not there")?;
    if !libraries(&busybox)?.is_empty() {
        bail!("`{}` needs shared libraries: install busybox-static", busybox.display());
    }
    tree.copy(&busybox, Path::new("bin/busybox"))?;
    tree.symlink("bin/sh", "busybox");
    let ip = locate("ip").context("ip is not there")?;
    tree.with_libraries(&ip, Path::new("usr/sbin/ip"))?;
    for (at, module) in kernel.modules.iter().enumerate() {
        tree.file(&format!("modules/{at:02}-{}.ko", module.name), &module.bytes);
    }
    match payload {
        Some(payload) => {
            tree.with_libraries(&payload.agent, Path::new("tidegate"))?;
            tree.with_libraries(&payload.matrix, Path::new("matrix"))?;
            tree.program("suite", SUITE.as_bytes().to_vec());
        }
        None => tree.program("suite", LOOK.as_bytes().to_vec()),
    }
    fs::write(archive, tree.finish())
        .with_context(|| format!("cannot write `{}`", archive.display()))
}

/// The shared libraries of a program, as the loader names them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("ldd");
    command.arg(program).env("LC_ALL", "C");
    let output = command.output().context("cannot start `ldd`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if is_static(&text) || is_static(&error) {
            return Ok(Vec::new());
        }
        bail!("`{}` failed: {}", step::line(&command), error.trim());
    }
    listed(&text)
}

fn is_static(text: &str) -> bool {
    text.contains("not a dynamic executable") || text.contains("statically linked")
}

fn listed(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("=> not found") {
            bail!("a library is missing on this machine: {line}");
        }
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        if place.starts_with('/')
            && let Some((path, _)) = place.split_once(" (")
        {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// An archive that grows.
#[derive(Default)]
struct Tree {
    bytes: Vec<u8>,
    entries: u32,
    there: BTreeSet<PathBuf>,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

impl Tree {
    /// A folder, and those it lies in.
    fn folder(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || self.there.contains(path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.add(path, FOLDER, (0, 0), &[]);
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        self.put(Path::new(path), FILE, bytes);
    }

    fn program(&mut self, path: &str, bytes: Vec<u8>) {
        self.put(Path::new(path), PROGRAM, &bytes);
    }

    fn symlink(&mut self, path: &str, to: &str) {
        self.put(Path::new(path), LINK, to.as_bytes());
    }

    fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(Path::new(path), DEVICE, (major, minor), &[]);
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let cannot = || format!("cannot read `{}`", from.display());
        let bytes = fs::read(from).with_context(cannot)?;
        let program = fs::metadata(from).with_context(cannot)?.permissions().mode() & 0o111 != 0;
        self.put(to, if program { PROGRAM } else { FILE }, &bytes);
        Ok(())
    }

    /// A program, and its libraries where its loader looks for them.
    fn with_libraries(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.copy(from, to)?;
        for library in libraries(from)? {
            let place = library.strip_prefix("/").unwrap_or(&library).to_path_buf();
            self.copy(&library, &place)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &Path, mode: u32, bytes: &[u8]) {
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.add(path, mode, (0, 0), bytes);
    }

    fn add(&mut self, path: &Path, mode: u32, device: (u32, u32), bytes: &[u8]) {
        if !self.there.insert(path.to_path_buf()) {
            return;
        }
        self.entries += 1;
        let name = path.display().to_string();
        self.entry(&name, self.entries, mode, device, bytes);
    }

    fn entry(&mut self, name: &str, inode: u32, mode: u32, device: (u32, u32), bytes: &[u8]) {
        // inode, mode, uid, gid, links, mtime, size, device of the archive
        // (two), device (two), length of the name with its end, checksum
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        let whole = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(whole, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests;
