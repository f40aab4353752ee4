//! `cargo xtask test`: every test there is, or those that bear a name.
//!
//! INVARIANT: a test that cannot run here is a failure, never a silence. So the
//! command ends at once where the suites could not do their work.

use anyhow::{Result, bail};

use crate::setup::{self, need};
use crate::workspace::Profile;
use crate::{build, step, suites, vm};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only tests whose name contains this
    name: Option<String>,
    /// The long suites too, and other kernels (`cargo xtask vm`)
    #[arg(long)]
    all: bool,
}

/// `cargo xtask test`
pub fn run(arguments: &Arguments) -> Result<()> {
    as_root(
        "the suites attach kernel programs and make cgroups and network namespaces (units alone: \
         `cargo test --workspace --exclude tidegate-tests`)",
        "test",
    )?;
    need(setup::SUITES)?;
    let agent = build::agent(Profile::Release)?;

    let mut units = step::cargo();
    units.args(["test", "--workspace", "--exclude", "tidegate-tests"]).args(&arguments.name);
    step::shown("unit tests", &mut units)?;

    let mut tests = step::cargo();
    // The agent is as it is used; its tests need no optimising, which takes minutes.
    tests
        .args(["test", "--package", "tidegate-tests", "--no-fail-fast"])
        .args(&arguments.name)
        .env("TIDEGATE_BIN", &agent);
    if arguments.all {
        need(setup::ALL)?;
        suites::postgres()?;
        tests.env("TIDEGATE_ALL", "1").args(["--", "--include-ignored"]);
    }
    step::shown("suites", &mut tests)?;

    if arguments.all {
        vm::run(&vm::Arguments::default())?;
    }
    Ok(())
}

/// Ends the command, with the one to run instead, for anybody but root.
pub fn as_root(why: &str, command: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("{why}: run it as root (`sudo -E env PATH=\"$PATH\" cargo xtask {command}`)");
    }
    Ok(())
}
