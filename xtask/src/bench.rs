//! `cargo xtask bench`: builds what is measured, unmeasured, then measures.
//! The benches themselves are `tests/src/bin/bench.rs`: they need the tests'
//! cgroups, namespaces and servers.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, need};
use crate::workspace::{self, Profile};
use crate::{build, step, test};

#[derive(clap::Args)]
pub struct Arguments {
    /// Which bench (all, if none is named), and what it is told: `--json` gives
    /// one JSON line a value
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// `cargo xtask bench`
pub fn run(arguments: &Arguments) -> Result<()> {
    // What masking tells from what: no server is needed for that.
    if arguments.rest.first().is_some_and(|bench| bench == "mask-quality") {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "-p", "tidegate", "--test", "mask_quality", "--", "--nocapture"]);
        return step::shown("mask-quality", command.current_dir(workspace::root()));
    }
    // The log alone: 10 million records. No server either.
    if arguments.rest.first().is_some_and(|bench| bench == "audit") {
        let mut command = Command::new(env!("CARGO"));
        command.args(["bench", "-p", "tidegate", "--bench", "audit"]);
        return step::shown("audit", command.current_dir(workspace::root()));
    }
    test::as_root("benches attach kernel programs and make cgroups", "bench")?;
    need(setup::BENCH)?;
    let agent = build::agent(Profile::Release)?;
    let bench = build::companion("bench")?;
    step::shown("bench", Command::new(bench).args(&arguments.rest).env("TIDEGATE_BIN", agent))
}
