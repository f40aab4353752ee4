//! `cargo xtask build`: the kernel programs, then the agent with them inside.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::setup::{self, need};
use crate::workspace::{Profile, binary, root};
use crate::{bpf, step};

#[derive(clap::Args)]
pub struct Arguments {
    /// Build the agent unoptimised (the kernel programs are always optimised)
    #[arg(long)]
    debug: bool,
}

/// `cargo xtask build`
pub fn run(arguments: &Arguments) -> Result<()> {
    let agent = agent(if arguments.debug { Profile::Debug } else { Profile::Release })?;
    step::say("agent", &format!("{}", agent.display()));
    Ok(())
}

/// Builds the agent and says where it is.
pub fn agent(profile: Profile) -> Result<PathBuf> {
    need(setup::BUILD)?;
    let object = bpf::build()?;
    let mut command = step::cargo();
    command.args(["build", "--package", "tidegate"]).arg("--bin").arg("tidegate");
    // What the caller set for cargo's own sake must not put another object in.
    if std::env::var_os("TIDEGATE_BPF_OBJECT").is_some() {
        step::say("agent", "TIDEGATE_BPF_OBJECT is set, and not followed here");
        command.env_remove("TIDEGATE_BPF_OBJECT");
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    step::shown("agent", &mut command)?;
    let agent = binary("tidegate", profile);
    if !agent.is_file() {
        bail!("cargo left no binary at `{}` (made for {})", agent.display(), object.display());
    }
    Ok(agent)
}

/// Builds a program of the tests' crate, in release, and says where it is.
pub fn companion(name: &str) -> Result<PathBuf> {
    let source = root().join("tests/src/bin").join(format!("{name}.rs"));
    if !source.is_file() && !source.with_extension("").join("main.rs").is_file() {
        bail!("this checkout has no `tests/src/bin/{name}.rs`: there is nothing to run");
    }
    let mut command = step::cargo();
    command.args(["build", "--release", "--package", "tidegate-tests", "--bin", name]);
    step::shown(name, &mut command)?;
    Ok(binary(name, Profile::Release))
}
