//! Other people's test suites, for `cargo xtask test --all`: PostgreSQL's own,
//! of exactly the version that is installed.
//!
//! INVARIANT: nothing of it is installed on the machine: sources and headers
//! are unpacked below `target/suites`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, step, workspace};

/// The folder with `regress`, `isolation` and `lib`, as
/// `tests/tests/suites.rs` looks for it.
pub fn postgres() -> Result<PathBuf> {
    let release = installed()?;
    let package = format!("postgresql-{release}");
    let version = step::read(Command::new("dpkg-query").args(["-W", "-f", "${Version}", &package]))
        .with_context(|| format!("`{package}` is not Debian's: its suites are not known"))?;
    let folder = workspace::root().join("target/suites/postgresql");
    let stamp = folder.join("version");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == version) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("lib"))?;
    let source = apt::Source::code()?;
    apt::update(&source)?;
    let exact = format!("{package}={version}");
    let mut fetch = source.command("apt-get");
    fetch.args(["source", "--download-only", "--tar-only", &exact]).current_dir(&folder);
    step::quiet("suites", &format!("fetching the source of {exact}"), &mut fetch)?;
    let archive = only(&folder, ".orig.tar.")?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(&archive).args(["--strip-components=3", "--wildcards"]);
    unpack.args(["*/src/test/regress", "*/src/test/isolation"]).current_dir(&folder);
    step::quiet("suites", "unpacking its tests", &mut unpack)?;
    let headers = format!("postgresql-server-dev-{release}={version}");
    let mut fetch = Command::new("apt-get");
    fetch.args(["download", &headers]).current_dir(&folder);
    step::quiet("suites", &format!("fetching {headers}"), &mut fetch)?;
    let mut unpack = Command::new("dpkg");
    unpack.arg("-x").arg(only(&folder, ".deb")?).arg(folder.join("headers"));
    step::quiet("suites", "unpacking its headers", &mut unpack)?;
    let include = folder.join(format!("headers/usr/include/postgresql/{release}/server"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-w", "-I"]).arg(include);
    cc.arg("-o").arg(folder.join("lib/regress.so")).arg(folder.join("regress/regress.c"));
    step::quiet("suites", "compiling the functions that they call", &mut cc)?;
    // Tests load these from the same folder.
    for module in ["autoinc.so", "refint.so"] {
        let from = Path::new("/usr/lib/postgresql").join(&release).join("lib").join(module);
        fs::copy(&from, folder.join("lib").join(module))
            .with_context(|| format!("cannot copy `{}`", from.display()))?;
    }
    fs::write(&stamp, version)?;
    Ok(folder)
}

/// The newest release that is installed, as the harness takes it.
fn installed() -> Result<String> {
    let releases = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    releases
        .filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok())
        .max()
        .map(|release| release.to_string())
        .context("no PostgreSQL is installed: run `cargo xtask setup`")
}

fn only(folder: &Path, part: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().contains(part)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (one, _) => bail!("`{}` should have one `*{part}*`, not {one:?}", folder.display()),
    }
}

#[cfg(test)]
mod tests;
