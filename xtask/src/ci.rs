//! `cargo xtask ci`: what a change must pass, the quickest to fail first.
//!
//! INVARIANT: the tests are run by the very command that the README gives, read
//! from the README: what a newcomer types is what is checked.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::setup::{self, need};
use crate::{layering, step, toolchain, workspace};

#[derive(clap::Args)]
pub struct Arguments {
    /// Check the dependencies against the advisory database, which is fetched
    #[arg(long)]
    advisories: bool,
}

/// `cargo xtask ci`
pub fn run(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let tests = readme_tests()?;

    layering::run()?;
    step::shown("format", step::cargo().args(["fmt", "--all", "--check"]))?;
    // Clippy builds what makes its bindings while it is built.
    need(setup::BUILD)?;
    step::shown(
        "clippy",
        step::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    need(setup::CI)?;
    deny(arguments.advisories)?;
    step::shown("tests", Command::new("sh").args(["-euc", &tests]).current_dir(workspace::root()))?;
    step::shown("demo", step::cargo().args(["xtask", "demo", "--check"]))?;
    step::say("ci", &format!("passed in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Licences, bans and sources always; advisories when asked for, because their
/// database lives in a repository of its own.
fn deny(advisories: bool) -> Result<()> {
    let deny = toolchain::cargo_deny()?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(workspace::root()).args(["--all-features", "check"]).args(what);
        command
    };
    step::quiet("deny", "licences, bans, sources", &mut check(&["licenses", "bans", "sources"]))?;

    if !advisories {
        step::say("deny", "advisories not asked for (`--advisories` fetches their database)");
        return Ok(());
    }
    step::quiet("deny advisories", "checking", &mut check(&["advisories"]))
}

fn readme_tests() -> Result<String> {
    let path = workspace::root().join("README.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match command_in(&text) {
        Some(command) => Ok(command.to_owned()),
        None => bail!(
            "README.md gives no command for the tests: none of its code blocks has a line that begins with `{TESTS}`"
        ),
    }
}

const TESTS: &str = "cargo xtask test";

/// The first line in a code block that runs the tests, without its comment.
fn command_in(readme: &str) -> Option<&str> {
    let mut inside = false;
    for line in readme.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let command = line.split('#').next().unwrap_or_default().trim();
            let rest = command.strip_prefix(TESTS);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
                return Some(command);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
