//! A folder that is gone after the test, with whatever was mounted in it.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::leftovers;

#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    pub fn fresh() -> Result<Self> {
        let path = std::env::temp_dir().join(leftovers::unique_name());
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        // Other users run the enforcer and the databases.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file that only its owner may read, as passwords lie in.
    pub fn secret(&self, name: &str, text: &str) -> Result<()> {
        let file = self.0.join(name);
        std::fs::write(&file, text)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// A bpffs of the test's own, so that no two agents share their pins.
    pub fn bpffs(&self) -> Result<PathBuf> {
        let point = self.0.join("bpf");
        std::fs::create_dir_all(&point)?;
        mount("bpf", &point)?;
        Ok(point)
    }

    /// A small disk of the test's own, which can be filled.
    pub fn disk(&self, mebibytes: usize) -> Result<PathBuf> {
        let point = self.0.join("disk");
        std::fs::create_dir_all(&point)?;
        mount_with("tmpfs", &point, Some(&format!("size={mebibytes}m,mode=755")))?;
        Ok(point)
    }
}

/// Mounts a file system that needs no device.
pub fn mount(kind: &str, point: &Path) -> Result<()> {
    mount_with(kind, point, None)
}

fn mount_with(kind: &str, point: &Path, options: Option<&str>) -> Result<()> {
    let kind_c = CString::new(kind)?;
    let point_c = CString::new(point.as_os_str().as_bytes())?;
    let options = options.map(CString::new).transpose()?;
    let data = options.as_ref().map_or(std::ptr::null(), |options| options.as_ptr());
    // SAFETY: valid C strings; the data is one, or nothing.
    let done =
        unsafe { libc::mount(kind_c.as_ptr(), point_c.as_ptr(), kind_c.as_ptr(), 0, data.cast()) };
    if done != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("cannot mount {kind} on {}", point.display()));
    }
    Ok(())
}

/// Unmounts what is mounted below `folder` and removes it.
pub fn remove(folder: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let prefix = folder.to_string_lossy().into_owned() + "/";
    for line in mounts.lines().rev() {
        let Some(point) = line.split(' ').nth(4) else { continue };
        if point.starts_with(&prefix) {
            let point_c = CString::new(point)?;
            // SAFETY: a valid C string.
            unsafe { libc::umount2(point_c.as_ptr(), libc::MNT_DETACH) };
        }
    }
    std::fs::remove_dir_all(folder)
        .with_context(|| format!("cannot remove the folder {}", folder.display()))
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("{error:#}");
        }
    }
}
