//! A child cgroup of the test's own.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::leftovers;
use crate::wait::until_true;

/// Ends its members and is removed when dropped, with all cgroups below it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub fn fresh() -> Result<Self> {
        Self::make(mount_point()?.join(leftovers::unique_name()))
    }

    pub fn child(&self, name: &str) -> Result<Self> {
        Self::make(self.path.join(name))
    }

    fn make(path: PathBuf) -> Result<Self> {
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path below the mount of cgroup2, as the agent names cgroups.
    pub fn name(&self) -> Result<String> {
        let below = self.path.strip_prefix(mount_point()?)?;
        Ok(format!("/{}", below.display()))
    }

    /// The kernel's id of it.
    pub fn id(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path)?.ino())
    }

    /// Open for a process to write itself into.
    pub fn door(&self) -> Result<File> {
        let path = self.path.join("cgroup.procs");
        OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    pub fn processes(&self) -> Result<Vec<u32>> {
        members(&self.path)
    }

    /// Ends every member, and waits until they are gone.
    pub fn kill(&self) -> Result<()> {
        kill(&self.path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("{error:#}");
        }
    }
}

/// Where cgroup2 is mounted.
pub fn mount_point() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .find(|(_, kind)| kind.starts_with("cgroup2 "))
        .and_then(|(mount, _)| mount.split(' ').nth(4))
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("cgroup2 is not mounted: mount it with `mount -t cgroup2 none DIR`"))
}

fn members(path: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for line in std::fs::read_to_string(path.join("cgroup.procs"))?.lines() {
        found.push(line.trim().parse()?);
    }
    for below in children(path)? {
        found.extend(members(&below)?);
    }
    Ok(found)
}

fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn kill(path: &Path) -> Result<()> {
    let door = path.join("cgroup.kill");
    if let Ok(mut file) = OpenOptions::new().write(true).open(&door) {
        file.write_all(b"1").with_context(|| format!("cannot write {}", door.display()))?;
    } else {
        for pid in members(path)? {
            // SAFETY: kill(2) takes any number.
            unsafe { libc::kill(libc::pid_t::try_from(pid)?, libc::SIGKILL) };
        }
    }
    until_true("the members of a cgroup to end", Duration::from_secs(10), || {
        members(path).is_ok_and(|members| members.is_empty())
    })
}

/// Ends the members of a cgroup of ours and removes it.
pub fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    kill(path)?;
    for below in children(path)? {
        remove(&below)?;
    }
    until_true(&format!("{} to be removable", path.display()), Duration::from_secs(10), || {
        std::fs::remove_dir(path).is_ok() || !path.exists()
    })
}
