//! The compiler and the linker of the kernel programs, and cargo's own tools.
//!
//! The kernel's machine (`bpfel-unknown-none`) has no ready-made `core`, so the
//! compiler must come with its library's source, and nightly features must be
//! on. bpf-linker reads the compiler's bitcode through an LLVM library that it
//! loads when it runs.
//!
//! INVARIANT: compiler, linker and library are of one LLVM generation
//! ([`LLVM`]), and the library is the compiler's own: bitcode is read by what
//! wrote it. Never replaces a tool of the person's: ours go to `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{is_program, locate};
use crate::{apt, step, workspace};

/// The LLVM generation that bpf-linker 0.10 is made for.
const LLVM: u32 = 22;
const BPF_LINKER: (&str, &str) = ("bpf-linker", "0.10.3");
const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const CARGO_FUZZ: (&str, &str) = ("cargo-fuzz", "0.13.1");
const DEBIAN: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler for the kernel programs.
#[derive(Debug)]
pub struct Compiler {
    /// Whose it is, for people.
    pub origin: String,
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    /// `rustc -vV`, whole.
    pub version: String,
    /// Its LLVM as a shared library.
    pub llvm: PathBuf,
}

impl Compiler {
    /// One line for people.
    pub fn summary(&self) -> String {
        let first = self.version.lines().next().unwrap_or_default();
        format!("{} ({first})", self.origin)
    }
}

/// The compiler for the kernel programs: found, else installed.
pub fn compiler() -> Result<Compiler> {
    let mut refusals = match find() {
        Ok(compiler) => return Ok(compiler),
        Err(refusals) => refusals,
    };
    for toolchain in rustup_toolchains() {
        if !without_source(&toolchain) {
            continue;
        }
        // Where there is no way to the servers, rustup would wait for minutes.
        let mut command = Command::new("timeout");
        command.args(["30", "rustup", "component", "add", "rust-src", "--toolchain", &toolchain]);
        if step::quiet("bpf compiler", &format!("adding rust-src to {toolchain}"), &mut command)
            .is_ok()
        {
            match find() {
                Ok(compiler) => return Ok(compiler),
                Err(again) => refusals = again,
            }
        } else {
            step::say("bpf compiler", "rustup could not fetch it; looking at apt");
            break;
        }
    }
    if apt::is_apt_machine() && apt::offers("rust-web-src") {
        apt::install(DEBIAN)?;
        match find() {
            Ok(compiler) => return Ok(compiler),
            Err(again) => refusals = again,
        }
    }
    bail!(
        "no compiler can build the kernel programs:\n{}\ninstall one with `rustup component add \
         rust-src --toolchain {}`, or on Debian 12 with:\n{}",
        refusals.iter().map(|why| format!("  {why}")).collect::<Vec<_>>().join("\n"),
        pinned().unwrap_or_else(|| "nightly".to_owned()),
        apt::commands(DEBIAN)
    )
}

/// The first compiler that will do: nightlies of rustup, the pinned toolchain,
/// Debian's; or why each will not.
fn find() -> std::result::Result<Compiler, Vec<String>> {
    let mut refusals = Vec::new();
    for toolchain in rustup_toolchains() {
        let found = rustup_which(&toolchain, "rustc").and_then(|rustc| {
            inspect(format!("rustup {toolchain}"), rustc, rustup_which(&toolchain, "cargo")?)
        });
        match found {
            Ok(compiler) => return Ok(compiler),
            Err(error) => refusals.push(format!("rustup {toolchain}: {error:#}")),
        }
    }
    match inspect("Debian's rustc-web".to_owned(), "/usr/bin/rustc".into(), "/usr/bin/cargo".into())
    {
        Ok(compiler) => Ok(compiler),
        Err(error) => {
            refusals.push(format!("/usr/bin/rustc: {error:#}"));
            Err(refusals)
        }
    }
}

fn inspect(origin: String, rustc: PathBuf, cargo: PathBuf) -> Result<Compiler> {
    if !is_program(&rustc) || !is_program(&cargo) {
        bail!("rustc and cargo are not there");
    }
    let version = step::read(Command::new(&rustc).arg("-vV"))?;
    let generation = llvm_generation(&version).context("does not say which LLVM it has")?;
    if generation != LLVM {
        bail!("has LLVM {generation}, and the linker is made for LLVM {LLVM}");
    }
    let sysroot =
        PathBuf::from(step::read(Command::new(&rustc).args(["--print", "sysroot"]))?.trim());
    if !has_source(&sysroot) {
        bail!("has no source of `core` (component rust-src)");
    }
    let llvm = library(&sysroot).with_context(|| {
        format!(
            "its libLLVM {LLVM} lies neither in `{}/lib` nor in the system's folders",
            sysroot.display()
        )
    })?;
    Ok(Compiler { origin, rustc, cargo, version, llvm })
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

/// A toolchain that would do if only the source were there.
fn without_source(toolchain: &str) -> bool {
    let Ok(rustc) = rustup_which(toolchain, "rustc") else { return false };
    let Ok(version) = step::read(Command::new(&rustc).arg("-vV")) else { return false };
    let Ok(sysroot) = step::read(Command::new(&rustc).args(["--print", "sysroot"])) else {
        return false;
    };
    llvm_generation(&version) == Some(LLVM) && !has_source(Path::new(sysroot.trim()))
}

fn llvm_generation(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.trim().parse().ok()
}

/// The compiler's LLVM. Beside rustup's there is a linker script of a similar
/// name, and a system can have several generations in one folder.
fn library(sysroot: &Path) -> Option<PathBuf> {
    let mut folders = vec![sysroot.join("lib"), PathBuf::from(format!("/usr/lib/llvm-{LLVM}/lib"))];
    folders.extend(
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
            .map(PathBuf::from),
    );
    folders.iter().find_map(|folder| library_in(folder))
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    const SMALLEST: u64 = 1 << 20;
    let mut matching: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| is_library(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.len() >= SMALLEST))
        .collect();
    matching.sort();
    matching.into_iter().next()
}

fn is_library(name: &str) -> bool {
    [format!("libLLVM.so.{LLVM}"), format!("libLLVM-{LLVM}")]
        .iter()
        .filter_map(|prefix| name.strip_prefix(prefix.as_str()))
        .any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Nightlies first, then the toolchain that this repository pins.
fn rustup_toolchains() -> Vec<String> {
    if locate("rustup").is_none() {
        return Vec::new();
    }
    let Ok(list) = step::read(Command::new("rustup").args(["toolchain", "list"])) else {
        return Vec::new();
    };
    order(&list, pinned().as_deref())
}

fn order(list: &str, pinned: Option<&str>) -> Vec<String> {
    let installed: Vec<&str> =
        list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let nightlies = installed.iter().filter(|name| name.starts_with("nightly"));
    let ours = installed.iter().filter(|name| {
        pinned.is_some_and(|pinned| {
            name.strip_prefix(pinned).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    });
    nightlies.chain(ours).map(|name| (*name).to_owned()).collect()
}

fn pinned() -> Option<String> {
    let text = fs::read_to_string(workspace::root().join("rust-toolchain.toml")).ok()?;
    let line = text.lines().find(|line| line.trim_start().starts_with("channel"))?;
    line.split('"').nth(1).map(str::to_owned)
}

fn rustup_which(toolchain: &str, program: &str) -> Result<PathBuf> {
    let mut command = Command::new("rustup");
    command.args(["which", "--toolchain", toolchain, program]);
    Ok(PathBuf::from(step::read(&mut command)?.trim()))
}

/// bpf-linker: found, else built.
pub fn linker() -> Result<PathBuf> {
    cargo_tool(BPF_LINKER, &[])
}

/// cargo-deny: found, else built. It runs for a second and is built once a
/// machine: without optimisation that takes a third of the time.
pub fn cargo_deny() -> Result<PathBuf> {
    cargo_tool(
        CARGO_DENY,
        &[
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
            ("CARGO_PROFILE_RELEASE_LTO", "false"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
        ],
    )
}

/// cargo-fuzz: found, else built. It only calls cargo.
pub fn cargo_fuzz() -> Result<PathBuf> {
    cargo_tool(CARGO_FUZZ, &[("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")])
}

/// The nightly toolchain of rustup's: found, else installed.
pub fn nightly() -> Result<String> {
    let find = || rustup_toolchains().into_iter().find(|name| name.starts_with("nightly"));
    if let Some(nightly) = find() {
        return Ok(nightly);
    }
    let install = ["toolchain", "install", "nightly", "--profile", "minimal"];
    let mut command = Command::new("timeout");
    command.args(["300", "rustup"]).args(install);
    let done = step::quiet("nightly", "installing it, for sanitizers", &mut command);
    match (done, find()) {
        (Ok(()), Some(nightly)) => Ok(nightly),
        (Err(error), _) => Err(error.context(format!(
            "fuzzing needs a nightly compiler: get one with `rustup {}`",
            install.join(" ")
        ))),
        (Ok(()), None) => bail!("rustup installed a nightly, and doesn't list it"),
    }
}

fn cargo_tool((name, version): (&str, &str), profile: &[(&str, &str)]) -> Result<PathBuf> {
    let tools = workspace::root().join("target/tools");
    let ours = tools.join("bin").join(name);
    let home =
        std::env::var_os("CARGO_HOME").map(|home| PathBuf::from(home).join("bin").join(name));
    let found = [Some(ours.clone()), locate(name), home]
        .into_iter()
        .flatten()
        .find(|path| is_program(path) && is_version(path, name, version));
    if let Some(found) = found {
        return Ok(found);
    }
    let mut command = step::cargo();
    command
        .args(["install", "--locked", "--force", &format!("{name}@{version}"), "--root"])
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"))
        .envs(profile.iter().copied());
    step::quiet(name, &format!("building {version}, once (about a minute)"), &mut command)?;
    // Only the binary is of use.
    let _ = fs::remove_dir_all(tools.join("build"));
    Ok(ours)
}

fn is_version(path: &Path, name: &str, version: &str) -> bool {
    step::read(Command::new(path).arg("--version"))
        .is_ok_and(|text| text.trim() == format!("{name} {version}"))
}

#[cfg(test)]
mod tests;
