//! `cargo xtask demo`: the agent at work, on this machine, with nothing
//! configured. The demonstration itself is `tests/src/bin/demo.rs`.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, need};
use crate::workspace::Profile;
use crate::{build, step, test};

#[derive(clap::Args)]
pub struct Arguments {
    /// Handed on to the demonstration (`--check` fails if anything is untrue)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// `cargo xtask demo`
pub fn run(arguments: &Arguments) -> Result<()> {
    test::as_root("the demo attaches kernel programs to a cgroup of its own", "demo")?;
    need(setup::DEMO)?;
    let agent = build::agent(Profile::Release)?;
    let demo = build::companion("demo")?;
    step::shown("demo", Command::new(demo).args(&arguments.rest).env("TIDEGATE_BIN", agent))
}
