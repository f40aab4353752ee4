//! `cargo xtask bench`: builds what is measured, unmeasured, then measures.
//! The benches themselves are `tests/src/bin/bench.rs`: they need the tests'
//! cgroups, namespaces and servers.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, need};
use crate::workspace::{self, Profile};
use crate::{build, step, test};

#[derive(clap::Args)]
pub struct Arguments {
    /// Which bench (all, if none is named), and what it is told: `--json` gives
    /// one JSON line a value; `--check` holds what is promised of `sql` and `policy`, or of
    /// `audit`, `log` or `postgres` (an idle session's memory) if that is named, and fails
    /// where that is broken
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
        command.args(["bench", "-p", "tidegate", "--bench", "audit", "--"]);
        command.args(arguments.rest.iter().filter(|word| *word == "--check"));
        return step::shown("audit", command.current_dir(workspace::root()));
    }
    if let Some(benches) = of_one_call(&arguments.rest)? {
        for bench in benches {
            let told = arguments.rest.iter().filter(|word| word.starts_with('-'));
            let mut command = Command::new(env!("CARGO"));
            command.args(["bench", "-p", "tidegate", "--bench", bench, "--"]).args(told);
            step::shown(bench, command.current_dir(workspace::root()))?;
        }
        return Ok(());
    }
    test::as_root("benches attach kernel programs and make cgroups", "bench")?;
    need(setup::BENCH)?;
    let agent = build::agent(Profile::Release)?;
    let bench = build::companion("bench")?;
    step::shown("bench", Command::new(bench).args(&arguments.rest).env("TIDEGATE_BIN", agent))
}

/// Benches of single calls, which need no server and say what they promise.
const ONE_CALL: [&str; 2] = ["sql", "policy"];

/// Those of them that are asked for; `None`: others are.
fn of_one_call(rest: &[String]) -> Result<Option<Vec<&'static str>>> {
    let named: Vec<&str> =
        rest.iter().map(String::as_str).filter(|w| !w.starts_with('-')).collect();
    let check = rest.iter().any(|word| word == "--check");
    let ours: Vec<&str> = ONE_CALL.into_iter().filter(|bench| named.contains(bench)).collect();
    // With a server of its own, it holds its promise by itself.
    if named == ["log"] {
        return Ok(None);
    }
    match (ours.len() == named.len(), named.is_empty(), check) {
        (_, true, true) => Ok(Some(ONE_CALL.to_vec())),
        (_, true, false) => Ok(None),
        (true, ..) => Ok(Some(ours)),
        (false, _, false) if ours.is_empty() => Ok(None),
        (false, _, true) if named == ["postgres"] && rest.len() == 2 => Ok(None),
        _ => {
            bail!(
                "`--check` and {} stand alone, and so do `audit`, `log` and `postgres`: no other \
                 bench has promises",
                ONE_CALL.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::of_one_call;

    #[test]
    fn what_is_promised_is_checked_by_itself() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            of_one_call(&words).map_err(drop)
        };
        assert_eq!(of(&["--check"]), Ok(Some(vec!["sql", "policy"])));
        assert_eq!(of(&["policy", "--check"]), Ok(Some(vec!["policy"])));
        assert_eq!(of(&["sql", "--json"]), Ok(Some(vec!["sql"])));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["postgres", "--json"]), Ok(None));
        assert_eq!(of(&["log", "--check"]), Ok(None));
        assert_eq!(of(&["postgres", "--check"]), Ok(None));
        assert_eq!(of(&["postgres", "--check", "--json"]), Err(()));
        assert_eq!(of(&["postgres", "sql", "--check"]), Err(()));
        assert_eq!(of(&["log", "postgres", "--check"]), Err(()));
        assert_eq!(of(&["masks", "--check"]), Err(()));
        assert_eq!(of(&["sql", "postgres"]), Err(()));
    }
}
