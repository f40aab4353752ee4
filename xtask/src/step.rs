//! Steps: one line each, and what a failed one had to say.
//!
//! A quiet step's output goes to a log under `target/xtask` and is shown, from
//! its end, only when the step fails. Cargo's own builds and tests write to the
//! terminal themselves.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Lines of a failed step's log that are shown.
const SHOWN: usize = 30;

/// Says that something is as it should be, or what was found.
pub fn say(what: &str, detail: &str) {
    eprintln!("  {what:<18} {detail}");
}

/// Runs a command whose output matters only if it fails.
pub fn quiet(what: &str, doing: &str, command: &mut Command) -> Result<()> {
    say(what, doing);
    let folder = workspace::root().join("target/xtask");
    fs::create_dir_all(&folder).with_context(|| {
        format!("cannot make `{}`: is the checkout writable?", folder.display())
    })?;
    let log = folder.join(format!("{}.log", what.replace([' ', '/'], "-")));
    let file =
        File::create(&log).with_context(|| format!("cannot write the log `{}`", log.display()))?;
    let began = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if status.success() {
        say(what, &format!("done in {:.1} s", began.elapsed().as_secs_f64()));
        return Ok(());
    }
    let text = fs::read(&log).unwrap_or_default();
    eprintln!("{}", end_of(&String::from_utf8_lossy(&text), SHOWN));
    bail!("{what} failed ({status}): `{}`; whole log: {}", line(command), log.display())
}

/// Runs a command that talks to the terminal itself.
pub fn shown(what: &str, command: &mut Command) -> Result<()> {
    say(what, &line(command));
    let status = run(command)?;
    if !status.success() {
        bail!("{what} failed ({status}): `{}`", line(command));
    }
    Ok(())
}

/// Runs a command that talks to the terminal itself, and gives its status.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start `{}`", line(command)))
}

/// What a command prints on its standard output.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}): {}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Cargo as it was called, so that the pinned toolchain stays the one in use.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

/// A command as a person would type it; for reading, not for a shell.
pub fn line(command: &Command) -> String {
    let program = command.get_program();
    let name = std::path::Path::new(program).file_name().unwrap_or(program);
    std::iter::once(name)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn end_of(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
