//! Python with what the suites need, made once below `target/venv`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::agent::target_folder;

/// What is installed; a change makes the environment anew.
const PACKAGES: &[&str] = &[
    "psycopg[binary]==3.2.3",
    "psycopg_pool==3.2.4",
    "asyncpg==0.30.0",
    "sqlalchemy==2.0.43",
    // What SQLAlchemy's own tests are run by.
    "pytest==8.3.5",
    "distro==1.9.0",
    "jsonschema==4.26.0",
    // With the schema's own files.
    "ocsf-json-schema==1.2.0",
];

static ONCE: Mutex<()> = Mutex::new(());

/// The interpreter of the environment.
pub fn python() -> Result<PathBuf> {
    let _one = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = target_folder().join("venv");
    let python = folder.join("bin/python");
    let stamp = folder.join("packages");
    let wanted = PACKAGES.join("\n");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    eprintln!("making a Python environment in {} (once)", folder.display());
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    run(&mut venv, "install python3-venv")?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    run(&mut pip, "is PyPI reachable?")?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

fn run(command: &mut Command, hint: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}: {hint}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({hint}): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
