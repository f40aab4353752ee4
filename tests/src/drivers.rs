//! Unmodified drivers, each with a small program of ours (`tests/drivers`), and
//! their installation below `target`, once, at pinned versions.
//!
//! INVARIANT: what cannot be installed fails the test that wanted it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::agent::target_folder;
use crate::diff::{Leg, Way, trusted};
use crate::postgres::run;
use crate::venv;

/// Packages of npm's; a change installs them anew.
const NODE: &[&str] = &["pg@8.16.3", "pg-cursor@2.15.3", "pg-copy-streams@7.0.0", "postgres@3.4.7"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    PsycopgSync,
    PsycopgAsync,
    Asyncpg,
    Sqlalchemy,
    NodePostgres,
    PostgresJs,
    Jdbc,
    TokioPostgres,
    Sqlx,
}

impl Driver {
    /// Runs the driver's program where the client is; what it prints is
    /// compared.
    pub fn run(self, way: &Way<'_>) -> Result<String> {
        let mut command = self.command(way)?;
        command.env("PGHOST", "127.0.0.1").env("PGPORT", way.stage.port.to_string());
        command.env("PGUSER", "app").env("PGDATABASE", "app");
        command.env("PGSSLMODE", way.leg.mode()).env("TZ", "UTC").env("PGGSSENCMODE", "disable");
        if way.leg == Leg::Verified {
            command.env("PGSSLROOTCERT", trusted(way.stage, way.led)?);
        }
        way.tool(&format!("{self:?}"), &mut command)
    }

    /// The program that reads a value of every type. `start`: in its place.
    pub fn types(self, start: &dyn Fn(&OsStr) -> Result<Command>) -> Result<Command> {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/masked");
        let python = |file: &str| -> Result<Command> {
            let mut command = start(venv::python()?.as_os_str())?;
            command.arg("-u").arg(programs.join(file));
            Ok(command)
        };
        let script = |file: &str| -> Result<Command> {
            let folder = node()?;
            std::fs::copy(programs.join(file), folder.join(file))?;
            let mut command = start(OsStr::new("node"))?;
            command.arg(folder.join(file));
            Ok(command)
        };
        match self {
            Self::PsycopgSync | Self::PsycopgAsync => python("psycopg_types.py"),
            Self::Asyncpg => python("asyncpg_types.py"),
            Self::Sqlalchemy => python("sqlalchemy_types.py"),
            Self::NodePostgres => script("node_types.mjs"),
            Self::PostgresJs => script("postgres_js_types.mjs"),
            Self::Jdbc => {
                let mut command = start(OsStr::new("java"))?;
                command.args(["-cp", &class_path()?]).arg(programs.join("JdbcTypes.java"));
                Ok(command)
            }
            Self::TokioPostgres => start(rust("tokio_postgres_types")?.as_os_str()),
            Self::Sqlx => start(rust("sqlx_types")?.as_os_str()),
        }
    }

    fn command(self, way: &Way<'_>) -> Result<Command> {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
        let python = |file: &str| -> Result<Command> {
            let mut command = way.command(venv::python()?)?;
            command.arg("-u").arg(programs.join(file));
            Ok(command)
        };
        let node = |file: &str| -> Result<Command> {
            // Imports are looked for beside the program.
            let folder = node()?;
            std::fs::copy(programs.join(file), folder.join(file))?;
            let mut command = way.command("node")?;
            command.arg(folder.join(file));
            Ok(command)
        };
        match self {
            Self::PsycopgSync => python("psycopg_sync.py"),
            Self::PsycopgAsync => python("psycopg_async.py"),
            Self::Asyncpg => python("asyncpg_all.py"),
            Self::Sqlalchemy => python("sqlalchemy_pool.py"),
            Self::NodePostgres => node("node_postgres.mjs"),
            Self::PostgresJs => node("postgres_js.mjs"),
            Self::Jdbc => {
                let mut command = way.command("java")?;
                command.args(["-cp", &class_path()?]).arg(programs.join("Jdbc.java"));
                Ok(command)
            }
            Self::TokioPostgres => way.command(rust("tokio_postgres")?),
            Self::Sqlx => way.command(rust("sqlx")?),
        }
    }
}

static ONCE: Mutex<()> = Mutex::new(());

/// The folder whose `node_modules` has them.
pub fn node() -> Result<PathBuf> {
    let _one = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = target_folder().join("node");
    let stamp = folder.join("packages");
    let wanted = NODE.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(folder);
    }
    eprintln!("installing {} in {} (once)", NODE.join(" "), folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--save-exact"]).args(NODE);
    run(npm.current_dir(&folder))
        .context("install nodejs and npm; is npm's registry reachable?")?;
    std::fs::write(&stamp, wanted)?;
    Ok(folder)
}

/// pgjdbc as Debian has it, with what it needs.
pub fn class_path() -> Result<String> {
    let folder = Path::new("/usr/share/java");
    let driver = folder.join("postgresql.jar");
    ensure!(driver.is_file(), "{} is not there: install libpostgresql-jdbc-java", driver.display());
    let mut paths = vec![driver.display().to_string()];
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("scram")
            || name.starts_with("saslprep")
            || name.starts_with("stringprep")
        {
            paths.push(entry.path().display().to_string());
        }
    }
    Ok(paths.join(":"))
}

/// A program of the crate `tests/drivers/rust`.
fn rust(name: &str) -> Result<PathBuf> {
    let _one = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target_folder().join("drivers");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/rust/Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--quiet", "--manifest-path"]).arg(&manifest);
    cargo.arg("--target-dir").arg(&target);
    // What cargo says to a crate's own tests is not for this one.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("CARGO_PKG_") {
            cargo.env_remove(variable);
        }
    }
    run(&mut cargo).context("cannot build the Rust drivers' programs")?;
    Ok(target.join("debug").join(name))
}
