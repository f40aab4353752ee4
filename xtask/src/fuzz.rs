//! `cargo xtask fuzz`: foreign bytes against the rooms that read them.
//!
//! Targets lie in `agent/fuzz`. They are built by nightly with a sanitizer, to
//! `target/fuzz`, where what was found to be interesting (the corpus) stays from
//! one run to the next; `tests/corpora` is where it begins.
//!
//! INVARIANT: a finding is a failure, and the line that shows it again is printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, need};
use crate::{step, toolchain, workspace};

mod seeds;

#[derive(clap::Args)]
pub struct Arguments {
    /// What to fuzz, or `all`; without it, what there is
    target: Option<String>,
    /// How long, for each target
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run this one input instead: a finding, to see it again
    #[arg(long, requires = "target", conflicts_with = "seconds")]
    input: Option<PathBuf>,
}

/// An input that takes longer has found something.
const LONGEST: u32 = 25;
/// The stacks of the parser's threads count, and so does the sanitizer.
const MEMORY: u32 = 4096;

/// `cargo xtask fuzz`
pub fn run(arguments: &Arguments) -> Result<()> {
    let targets = targets()?;
    let Some(wanted) = &arguments.target else {
        for (name, about) in &targets {
            println!("{name:<15} {about}");
        }
        return Ok(());
    };
    let chosen: Vec<&str> = targets
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| wanted == "all" || wanted == name)
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
        bail!("there is no target `{wanted}`: take one of {}, or `all`", names.join(", "));
    }
    // A path is the caller's, and the target runs elsewhere.
    let input = arguments.input.as_deref().map(|path| {
        path.canonicalize().with_context(|| format!("cannot read the input `{}`", path.display()))
    });
    let input = input.transpose()?;

    need(setup::FUZZ)?;
    let folder = build(&chosen)?;
    let scratch = Scratch::new()?;
    let mut found = Vec::new();
    for name in chosen {
        let done = match &input {
            Some(input) => again(&folder, name, &scratch, input)?,
            None => fuzz(&folder, name, &scratch, arguments.seconds)?,
        };
        if !done {
            found.push(name);
        }
    }
    if !found.is_empty() {
        bail!("{} found something: see above", found.join(", "));
    }
    Ok(())
}

/// Name and purpose of each, as its file has it.
fn targets() -> Result<Vec<(String, String)>> {
    let folder = workspace::root().join("agent/fuzz/fuzz_targets");
    let cannot = || format!("cannot read `{}`", folder.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|e| e == "rs"))
        else {
            continue;
        };
        let text = fs::read_to_string(&path).with_context(cannot)?;
        let about = text.lines().next().and_then(|line| line.strip_prefix("//! "));
        all.push((name.to_string_lossy().into_owned(), about.unwrap_or_default().to_owned()));
    }
    all.sort();
    Ok(all)
}

/// Builds these, and says where they are.
fn build(targets: &[&str]) -> Result<PathBuf> {
    let nightly = toolchain::nightly()?;
    let output = place("");
    for target in targets {
        let mut command = Command::new(toolchain::cargo_fuzz()?);
        command
            .current_dir(workspace::root())
            .env("RUSTUP_TOOLCHAIN", &nightly)
            // Set for the cargo that runs this, of another toolchain.
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .args(["fuzz", "build", "--fuzz-dir", "agent/fuzz", "--target-dir"])
            .args([output.as_os_str(), target.as_ref()]);
        step::shown(&format!("build {target}"), &mut command)?;
    }
    let version = step::read(Command::new("rustup").args(["run", &nightly, "rustc", "-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(output
        .join(host.context("nightly's rustc doesn't say for which host it is")?)
        .join("release"))
}

/// True when nothing was found.
fn fuzz(binaries: &Path, target: &str, scratch: &Scratch, seconds: u32) -> Result<bool> {
    let (corpus, seeds) = (place("corpus").join(target), place("seeds").join(target));
    let findings = place("findings").join(target);
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    let count = seeds::write(target, &seeds)?;
    step::say(target, &format!("{count} seeds; {seconds} s"));
    let before = listed(&findings);
    let mut command = started(binaries, target, scratch);
    command
        .args([&corpus, &seeds])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg("-print_final_stats=1");
    if step::run(&mut command)?.success() {
        step::say(target, "found nothing");
        return Ok(true);
    }
    for finding in listed(&findings).iter().filter(|one| !before.contains(one)) {
        let root = workspace::root();
        let shown = finding.strip_prefix(&root).unwrap_or(finding).display();
        step::say(target, &format!("to see it again: cargo xtask fuzz {target} --input {shown}"));
    }
    Ok(false)
}

fn again(binaries: &Path, target: &str, scratch: &Scratch, input: &Path) -> Result<bool> {
    Ok(step::run(started(binaries, target, scratch).arg(input))?.success())
}

fn started(binaries: &Path, target: &str, scratch: &Scratch) -> Command {
    let mut command = Command::new(binaries.join(target));
    command
        .current_dir(workspace::root())
        .env("RUST_BACKTRACE", "1")
        .env("TMPDIR", &scratch.0)
        // Rust's own statics look twice defined to it.
        .env("ASAN_OPTIONS", "detect_odr_violation=0")
        .arg(format!("-timeout={LONGEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"));
    command
}

/// Where a target puts the files that its code wants to read: in memory, if it can
/// be. A fuzzer ends by aborting, so they are removed here.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = parent.join(format!("tidegate-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

fn place(folder: &str) -> PathBuf {
    workspace::root().join("target/fuzz").join(folder)
}

#[cfg(test)]
mod tests;
