//! The kernel programs: compiled, linked, and left in
//! `target/bpf/tidegate.bpf.o`, where the agent's build script takes them.
//!
//! INVARIANT: the object is replaced whole or not at all, and only when the
//! sources, the locked dependencies, the way of building or the tools changed.
//! The host's own build is never disturbed: everything is under `target/bpf`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::toolchain::{self, Compiler};
use crate::{step, workspace};

const TARGET: &str = "bpfel-unknown-none";

/// The host's release profile does not suit the kernel's machine: the linker
/// optimises everything as one module anyway, and the verifier wants no checks
/// that end in an endless loop. Maps by BTF need full debug information.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
];

/// Settings of the caller's that would reach into the other compiler's build.
const FOREIGN: &[&str] = &[
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
    "LD_LIBRARY_PATH",
];

/// Builds the programs if anything changed, and says where they are.
pub fn build() -> Result<PathBuf> {
    let root = workspace::root();
    let folder = root.join("target/bpf");
    let object = folder.join("tidegate.bpf.o");
    let note = folder.join("tidegate.bpf.o.made-from");

    let compiler = toolchain::compiler()?;
    let linker = toolchain::linker()?;
    let sources = Sources::read(&root)?;
    let made_from = fingerprint(&sources, &compiler, &linker);
    if is_current(&object, &note, &made_from) {
        step::say("kernel programs", "up to date");
        return Ok(object);
    }

    step::say("kernel programs", &format!("building with {}", compiler.summary()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let wrapper = wrap(&folder, &compiler, &linker)?;
    let mut command = Command::new(&compiler.cargo);
    command.current_dir(&root);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
        .env("RUSTC", &compiler.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder.join("build"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&wrapper))
        .envs(PROFILE.iter().copied())
        .args(["build", "--release", "--target", TARGET, "-Z", "build-std=core"])
        .args(["--package", "tidegate-ebpf", "--bin", "tidegate-bpf"]);
    step::shown("kernel programs", &mut command)?;

    let built = folder.join("build").join(TARGET).join("release/tidegate-bpf");
    let fresh = folder.join("tidegate.bpf.o.new");
    fs::copy(&built, &fresh).with_context(|| format!("cannot copy `{}`", built.display()))?;
    fs::rename(&fresh, &object).with_context(|| format!("cannot place `{}`", object.display()))?;
    fs::write(&note, made_from).with_context(|| format!("cannot write `{}`", note.display()))?;
    Ok(object)
}

fn flags(wrapper: &Path) -> String {
    let linker = format!("linker={}", wrapper.display());
    ["-C", "debuginfo=2", "-C", &linker, "-C", "link-arg=--btf"].join("\u{1f}")
}

/// bpf-linker opens the first file called `libLLVM…` in the folders of
/// LD_LIBRARY_PATH, of whatever generation. So it gets a folder with just one,
/// and the compiler, which would take the variable for itself, never sees it.
fn wrap(folder: &Path, compiler: &Compiler, linker: &Path) -> Result<PathBuf> {
    let library = folder.join("llvm");
    let _ = fs::remove_dir_all(&library);
    fs::create_dir_all(&library).with_context(|| format!("cannot make `{}`", library.display()))?;
    symlink(&compiler.llvm, library.join("libLLVM.so"))?;
    let wrapper = folder.join("linker");
    fs::write(
        &wrapper,
        format!("#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n", quoted(&library), quoted(linker)),
    )?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(wrapper)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Everything of the repository that the object is made from.
struct Sources {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Sources {
    fn read(root: &Path) -> Result<Sources> {
        let mut files = Vec::new();
        for name in ["Cargo.lock", "Cargo.toml"] {
            add(&root.join(name), &mut files)?;
        }
        add(&root.join("agent-ebpf"), &mut files)?;
        files.sort();
        Ok(Sources { files })
    }
}

fn add(path: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<()> {
    let cannot = || format!("cannot read `{}`", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(cannot)? {
            add(&entry.with_context(cannot)?.path(), files)?;
        }
        return Ok(());
    }
    files.push((path.to_path_buf(), fs::read(path).with_context(cannot)?));
    Ok(())
}

fn fingerprint(sources: &Sources, compiler: &Compiler, linker: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    sources.files.hash(&mut hasher);
    (TARGET, PROFILE, flags(Path::new("")), &compiler.version, linker).hash(&mut hasher);
    compiler.llvm.hash(&mut hasher);
    format!("{:016x}\n", hasher.finish())
}

fn is_current(object: &Path, note: &Path, made_from: &str) -> bool {
    // The agent's build script leaves an empty file where there was none.
    fs::metadata(object).is_ok_and(|meta| meta.len() > 0)
        && fs::read_to_string(note).is_ok_and(|noted| noted == made_from)
}

#[cfg(test)]
mod tests;
