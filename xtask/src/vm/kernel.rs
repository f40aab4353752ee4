//! Debian's kernels, with the modules that the matrix needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{self, Source};
use crate::{step, workspace};

/// A kernel, unpacked.
#[derive(Debug)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub version: String,
    pub image: PathBuf,
    /// Uncompressed, in the order in which they can be loaded.
    pub modules: Vec<Module>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Namespaces are joined by veth; sockets are found and closed by the diags.
const WANTED: [&str; 3] = ["veth", "inet_diag", "tcp_diag"];

/// The newest kernel of a series: kept from last time, else fetched.
pub fn obtain(series: &str) -> Result<Kernel> {
    let folder = workspace::root().join("target/vm").join(series);
    if !folder.is_dir() {
        fetch(series, &folder)?;
    }
    unpacked(&folder).with_context(|| {
        format!(
            "the kernel in `{}` is not whole: remove that folder to fetch it anew",
            folder.display()
        )
    })
}

fn fetch(series: &str, folder: &Path) -> Result<()> {
    if !apt::is_apt_machine() {
        bail!("other kernels come from Debian's packages, and this machine has no apt-get");
    }
    let source = Source::kernels()?;
    apt::update(&source)?;
    let pattern = format!("^linux-image-{series}[.].*-cloud-amd64$");
    let names = step::read(source.command("apt-cache").args(["search", "--names-only", &pattern]))?;
    let package = newest(&names)
        .with_context(|| format!("Debian 12 has no package that matches `{pattern}` any more"))?;

    let loading = folder.with_extension("new");
    let _ = fs::remove_dir_all(&loading);
    fs::create_dir_all(&loading).with_context(|| format!("cannot make `{}`", loading.display()))?;
    let mut download = source.command("apt-get");
    download.args(["download", package]).current_dir(&loading);
    step::quiet(&format!("kernel {series}"), &format!("fetching {package}"), &mut download)?;
    let archive = fs::read_dir(&loading)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded no package")?;
    let mut unpack = Command::new("dpkg");
    unpack.arg("-x").arg(&archive).arg(&loading);
    step::quiet(&format!("kernel {series}"), "unpacking", &mut unpack)?;
    fs::remove_file(archive)?;
    fs::rename(&loading, folder)?;
    Ok(())
}

/// The newest of the packages that `apt-cache search` lists.
fn newest(listed: &str) -> Option<&str> {
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .max_by_key(|name| numbers(name))
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|next: char| !next.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

fn unpacked(folder: &Path) -> Result<Kernel> {
    let image = only(&folder.join("boot"), "vmlinuz-")?;
    let version = image
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
        .context("the image has no version in its name")?;
    let tree = ["lib/modules", "usr/lib/modules"]
        .iter()
        .map(|part| folder.join(part).join(&version))
        .find(|tree| tree.is_dir())
        .context("no folder of modules")?;
    let mut files = Vec::new();
    collect(&tree, &mut files)?;
    let builtin = fs::read_to_string(tree.join("modules.builtin")).unwrap_or_default();
    let mut modules = Vec::new();
    for name in WANTED {
        load(name, &files, &builtin, &mut modules)?;
    }
    Ok(Kernel { version, image, modules })
}

fn only(folder: &Path, prefix: &str) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("cannot read `{}`", folder.display()))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .with_context(|| format!("no `{prefix}…` in `{}`", folder.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        // Links lead out of the tree, to the sources.
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Adds a module after those it depends on.
fn load(name: &str, files: &[PathBuf], builtin: &str, modules: &mut Vec<Module>) -> Result<()> {
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(file) = files.iter().find(|file| module_name(file).as_deref() == Some(name)) else {
        if builtin.lines().any(|line| module_name(Path::new(line)).as_deref() == Some(name)) {
            return Ok(());
        }
        bail!("it has no module `{name}`, neither as a file nor built in");
    };
    let bytes = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => {
            let output = Command::new("xz").arg("-dc").arg(file).output()?;
            if !output.status.success() {
                bail!("cannot unpack `{}`", file.display());
            }
            output.stdout
        }
        _ => fs::read(file)?,
    };
    for other in depends(&bytes) {
        load(&other, files, builtin, modules)?;
    }
    modules.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

/// `tcp_diag` of `net/ipv4/tcp_diag.ko.xz`; hyphens and underscores are one.
fn module_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let (name, rest) = name.split_once(".ko")?;
    matches!(rest, "" | ".xz").then(|| name.replace('-', "_"))
}

/// The modules that a module says it depends on.
fn depends(bytes: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = bytes.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = bytes.iter().skip(at + KEY.len()).take_while(|byte| **byte != 0).copied();
    String::from_utf8_lossy(&value.collect::<Vec<u8>>())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests;
