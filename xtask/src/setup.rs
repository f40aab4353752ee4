//! What each command needs of the machine, and how it gets there.
//!
//! Every tool is declared once, here: how it is recognised and where it comes
//! from. INVARIANT: a package's program is looked for without starting anything,
//! so that a command which needs nothing new starts at once; only compilers and
//! cargo's tools are asked for their version.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{apt, step, toolchain, workspace};

/// Something that a command uses and the repository does not contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// A Rust compiler that can build `core` for the kernel's machine.
    BpfCompiler,
    BpfLinker,
    CargoDeny,
    /// Sanitizers are nightly's.
    Nightly,
    CargoFuzz,
    /// A C compiler, as the linker of everything.
    Cc,
    /// For bindings that are made while building.
    LibClang,
    Postgres,
    Psql,
    /// A client under it is one of the kinds that are told apart.
    Sudo,
    Haproxy,
    Pgbouncer,
    Iproute,
    Procps,
    Python,
    /// Makes the environments that Python's drivers live in.
    PythonVenv,
    Node,
    Npm,
    Java,
    /// PostgreSQL's driver for Java.
    Jdbc,
    /// A client in it is one whose script is told.
    Ruby,
    OpenSsl,
    Qemu,
    Busybox,
    /// Kernel modules come compressed.
    Xz,
}

pub const BUILD: &[Tool] = &[Tool::Cc, Tool::BpfCompiler, Tool::BpfLinker, Tool::LibClang];
pub const DEMO: &[Tool] = &[Tool::Postgres, Tool::Psql, Tool::Python];
pub const SUITES: &[Tool] = &[
    Tool::Postgres,
    Tool::Psql,
    Tool::Sudo,
    Tool::Haproxy,
    Tool::Pgbouncer,
    Tool::Iproute,
    Tool::Procps,
    Tool::Python,
    Tool::PythonVenv,
    Tool::Node,
    Tool::Npm,
    Tool::Java,
    Tool::Jdbc,
    Tool::Ruby,
    Tool::OpenSsl,
    Tool::Busybox,
];
/// For the long suites, beyond [`SUITES`].
pub const ALL: &[Tool] = &[Tool::Cc];
pub const CI: &[Tool] = &[Tool::CargoDeny];
pub const BENCH: &[Tool] = &[Tool::Postgres, Tool::Haproxy, Tool::Pgbouncer, Tool::Iproute];
pub const FUZZ: &[Tool] = &[Tool::Cc, Tool::LibClang, Tool::Nightly, Tool::CargoFuzz];
pub const VM: &[Tool] = &[Tool::Qemu, Tool::Busybox, Tool::Iproute, Tool::Xz];

/// Where a tool comes from.
enum Origin {
    /// Found by any of these paths or names, else these packages.
    Apt { found: &'static [&'static str], packages: &'static [&'static str] },
    /// Found and installed in its own way.
    Own(fn() -> Result<()>),
}

fn origin(tool: Tool) -> Origin {
    let (found, packages): (&'static [&'static str], &'static [&'static str]) = match tool {
        Tool::BpfCompiler => return Origin::Own(|| toolchain::compiler().map(drop)),
        Tool::BpfLinker => return Origin::Own(|| toolchain::linker().map(drop)),
        Tool::CargoDeny => return Origin::Own(|| toolchain::cargo_deny().map(drop)),
        Tool::Nightly => return Origin::Own(|| toolchain::nightly().map(drop)),
        Tool::CargoFuzz => return Origin::Own(|| toolchain::cargo_fuzz().map(drop)),
        Tool::Qemu => return Origin::Own(qemu),
        Tool::Cc => (&["cc"], &["gcc", "libc6-dev"]),
        Tool::LibClang => (
            &["/usr/lib/llvm-*/lib/libclang.so", "/usr/lib/llvm-*/lib/libclang.so.1"],
            &["libclang-dev", "clang"],
        ),
        Tool::Postgres => (&["/usr/lib/postgresql/*/bin/postgres"], &["postgresql"]),
        Tool::Psql => (&["psql"], &["postgresql-client"]),
        Tool::Sudo => (&["sudo"], &["sudo"]),
        Tool::Haproxy => (&["haproxy"], &["haproxy"]),
        Tool::Pgbouncer => (&["pgbouncer"], &["pgbouncer"]),
        Tool::Iproute => (&["ip"], &["iproute2"]),
        Tool::Procps => (&["ps"], &["procps"]),
        Tool::Python => (&["python3"], &["python3"]),
        Tool::PythonVenv => (&["/usr/lib/python3*/ensurepip"], &["python3-venv"]),
        Tool::Node => (&["node"], &["nodejs"]),
        Tool::Npm => (&["npm"], &["npm"]),
        // A compiler too: programs are run from their source.
        Tool::Java => (&["javac"], &["default-jdk-headless"]),
        Tool::Jdbc => (&["/usr/share/java/postgresql.jar"], &["libpostgresql-jdbc-java"]),
        Tool::Ruby => (&["/usr/bin/ruby"], &["ruby"]),
        Tool::OpenSsl => (&["openssl"], &["openssl"]),
        Tool::Busybox => (&["busybox"], &["busybox-static"]),
        Tool::Xz => (&["xz"], &["xz-utils"]),
    };
    Origin::Apt { found, packages }
}

/// Sees to it that these tools are there; packages come in one go.
pub fn need(tools: &[Tool]) -> Result<()> {
    apt::install(&missing_packages(tools))?;
    for tool in tools {
        if let Origin::Own(ensure) = origin(*tool) {
            ensure()?;
        }
    }
    Ok(())
}

fn missing_packages(tools: &[Tool]) -> Vec<&'static str> {
    let mut missing = Vec::new();
    for tool in tools {
        if *tool == Tool::LibClang && !binds_while_building() {
            continue;
        }
        if let Origin::Apt { found, packages } = origin(*tool)
            && !found.iter().any(|wanted| locate(wanted).is_some())
        {
            for package in packages {
                if !missing.contains(package) {
                    missing.push(*package);
                }
            }
        }
    }
    missing
}

/// Whether a dependency makes bindings from C headers while it is built.
fn binds_while_building() -> bool {
    fs::read_to_string(workspace::root().join("Cargo.lock"))
        .is_ok_and(|lock| lock.contains("name = \"clang-sys\""))
}

/// A tool's file: a name is looked for on PATH and where servers lie; a path
/// may have one `*` for a whole folder name.
pub fn locate(wanted: &str) -> Option<PathBuf> {
    if wanted.starts_with('/') {
        return match wanted.split_once("*/") {
            Some((before, after)) => one_of(before, after),
            None => Some(PathBuf::from(wanted)).filter(|path| path.exists()),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(wanted))
        .find(|file| is_program(file))
}

fn one_of(before: &str, after: &str) -> Option<PathBuf> {
    let cut = before.rfind('/')?;
    let (folder, prefix) = (before.get(..cut)?, before.get(cut + 1..)?);
    let entries = fs::read_dir(folder).ok()?;
    let mut matching: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after))
        .filter(|path| path.exists())
        .collect();
    matching.sort();
    matching.pop()
}

pub fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn qemu() -> Result<()> {
    const PACKAGE: &[&str] = &["qemu-system-x86"];
    if locate("qemu-system-x86_64").is_some() {
        return Ok(());
    }
    let Err(error) = apt::install(PACKAGE) else { return Ok(()) };
    if !apt::is_apt_machine() || !rustix::process::geteuid().is_root() {
        return Err(error);
    }
    // A machine with parts of qemu from backports wants the rest from there.
    step::say("qemu", "this release's own clashes with what is installed; trying its backports");
    if apt::install_from_backports(PACKAGE).is_err() {
        bail!("{error:#}");
    }
    Ok(())
}

/// `cargo xtask setup`
pub fn run() -> Result<()> {
    for (command, tools) in [
        ("build", BUILD),
        ("demo", DEMO),
        ("test", SUITES),
        ("ci", CI),
        ("bench", BENCH),
        ("fuzz", FUZZ),
        ("vm", VM),
    ] {
        need(tools)?;
        step::say(command, "has what it needs");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
