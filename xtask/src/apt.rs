//! Packages of Debian and Ubuntu: installed when we may, else the exact
//! commands are given.
//!
//! INVARIANT: nothing is ever removed from the machine (`--no-remove`), and no
//! source is added to it: other suites are read through a private folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step;
use crate::workspace;

const INSTALL: [&str; 5] = ["apt-get", "install", "-y", "--no-remove", "--no-install-recommends"];

/// Installs packages, or fails with the commands that do.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if !is_apt_machine() {
        bail!(
            "this machine has no apt-get: install by its own means what Debian calls `{}`",
            packages.join(" ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("packages are missing; as root, run:\n{}", commands(packages));
    }
    if !has_lists(Path::new("/var/lib/apt/lists")) {
        update(&Source::Machine)?;
        return attempt(packages, &Source::Machine);
    }
    if attempt(packages, &Source::Machine).is_ok() {
        return Ok(());
    }
    // Old lists name versions that the mirror no longer has.
    update(&Source::Machine)?;
    attempt(packages, &Source::Machine)
}

/// What a person without our rights has to type.
pub fn commands(packages: &[&str]) -> String {
    format!("  sudo apt-get update\n  sudo {} {}", INSTALL.join(" "), packages.join(" "))
}

/// Installs from the machine's backports suite, which it need not have
/// configured: for a package that clashes with something already there.
pub fn install_from_backports(packages: &[&str]) -> Result<()> {
    let suite = format!("{}-backports", codename()?);
    let source = Source::Also(Private::with(
        "machine",
        &[format!("deb [signed-by={KEYRING}] {} {suite} main", mirror("debian")?)],
        Some(suite),
    )?);
    update(&source)?;
    attempt(packages, &source)
}

/// Where this machine gets Debian's packages from: the address of `archive`
/// among its own sources.
fn mirror(archive: &str) -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)"]);
    let known = step::read(&mut command)?;
    mirror_in(&known, archive).with_context(|| {
        format!("apt has no source of Debian's archive `{archive}` here: add one to its sources")
    })
}

fn mirror_in(known: &str, archive: &str) -> Option<String> {
    known
        .lines()
        .map(|line| line.trim().trim_end_matches('/'))
        .find(|address| address.rsplit('/').next() == Some(archive))
        .map(str::to_owned)
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where apt reads from.
pub enum Source {
    /// The machine's own configuration.
    Machine,
    /// The machine's, and more, for this call only.
    Also(Private),
    /// Nothing of the machine's.
    Only(Private),
}

/// A folder of our own with a list of sources and what apt fetches for it.
pub struct Private {
    folder: PathBuf,
    prefer: Option<String>,
}

impl Private {
    fn with(name: &str, sources: &[String], prefer: Option<String>) -> Result<Private> {
        if !Path::new(KEYRING).is_file() {
            bail!(
                "cannot verify Debian's packages: `{KEYRING}` is not there; install `debian-archive-keyring`"
            );
        }
        let folder = workspace::root().join("target/apt").join(name);
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot make `{}`", folder.join(part).display()))?;
        }
        fs::write(folder.join("sources.list"), sources.join("\n") + "\n")?;
        Ok(Private { folder, prefer })
    }
}

impl Source {
    /// Debian's kernels of release 12, whatever release the machine has.
    pub fn kernels() -> Result<Source> {
        let suites = [
            format!("{} bookworm-security", mirror("debian-security")?),
            format!("{} bookworm-backports", mirror("debian")?),
        ];
        let lines: Vec<String> = suites
            .iter()
            .map(|suite| format!("deb [signed-by={KEYRING} arch=amd64] {suite} main"))
            .collect();
        Ok(Source::Only(Private::with("kernels", &lines, None)?))
    }

    /// Debian's sources of this machine's release.
    pub fn code() -> Result<Source> {
        let codename = codename()?;
        let security = format!("{} {codename}-security", mirror("debian-security")?);
        let suites = [format!("{} {codename}", mirror("debian")?), security];
        let line = |suite: &String| format!("deb-src [signed-by={KEYRING}] {suite} main");
        let lines: Vec<String> = suites.iter().map(line).collect();
        Ok(Source::Only(Private::with("code", &lines, None)?))
    }

    fn options(&self) -> Vec<String> {
        let (private, parts) = match self {
            Source::Machine => return Vec::new(),
            Source::Also(private) => (private, None),
            Source::Only(private) => (private, Some("Dir::Etc::sourceparts=-".to_owned())),
        };
        let folder = private.folder.display();
        let mut options = vec![
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
        ];
        options.extend(parts);
        let mut words: Vec<String> =
            options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
        if let Some(suite) = &private.prefer {
            words.extend(["-t".to_owned(), suite.clone()]);
        }
        words
    }

    /// `apt-get` or `apt-cache`, reading from this source.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DEBIAN_FRONTEND", "noninteractive").args(self.options());
        command
    }
}

/// Fetches the lists of a source.
pub fn update(source: &Source) -> Result<()> {
    step::quiet("apt lists", "fetching", source.command("apt-get").arg("update"))
}

fn attempt(packages: &[&str], source: &Source) -> Result<()> {
    let mut command = source.command("apt-get");
    command.args(INSTALL.iter().skip(1)).args(packages);
    // A package's question about a changed configuration file is answered with
    // the one that is there.
    command.args(["-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=120"]);
    step::quiet("apt packages", &format!("installing {}", packages.join(" ")), &mut command)
        .with_context(|| format!("cannot install; to see more, run:\n{}", commands(packages)))
}

pub fn is_apt_machine() -> bool {
    Path::new("/usr/bin/apt-get").is_file()
}

/// Whether the machine's sources offer a package.
pub fn offers(package: &str) -> bool {
    step::read(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
        .is_ok_and(|text| !text.trim().is_empty())
}

fn has_lists(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    debian_codename(&text)
        .context("this machine is not a Debian release: its backports are not known")
}

fn debian_codename(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME")).flatten()
}

#[cfg(test)]
mod tests;
