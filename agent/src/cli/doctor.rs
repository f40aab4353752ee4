//! `tidegate doctor`: whether this host can carry the agent, before anything
//! is installed, and what of the host the agent then covers.
//!
//! Changes nothing. What it reads lies below a root folder, so that tests can
//! show it hosts of their own.

mod coverage;
mod host;
mod kernel;
mod page;
mod runtimes;
mod tls;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page};
use crate::config::{self, Overrides, Settings};
use crate::control::Client;

/// The schema of [`Examination`] as JSON.
const SCHEMA: u32 = 1;

/// Says whether this host can carry the agent, what to do if not, and what of
/// the host it covers
///
/// Changes nothing. Run it as root: some of it only root can see. Exits with 6
/// if the host can't carry the agent, with 1 if that could not be found out.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The form of the output; `table` shows what needs a look, `wide` all
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The cgroup to be governed [default: the settings']
    #[arg(long, value_name = "PATH", env = "TIDEGATE_CGROUP", hide_env_values = true)]
    cgroup: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Examination {
    schema: u32,
    version: &'static str,
    /// `null`: something that decides it could not be looked at.
    fit: Option<bool>,
    checks: Vec<Check>,
    coverage: Vec<Coverage>,
}

/// One thing that the agent needs, or would like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    finding: String,
    /// What to do about it.
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// The agent runs, with less; or it should be known of.
    Warn,
    /// It could not be looked at.
    Unknown,
    /// The agent can't run.
    Fail,
}

/// One way to a database, and how far the agent reaches on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Coverage {
    reach: Reach,
    what: &'static str,
    /// Which ones were found; empty where it is a rule, not a finding.
    found: Vec<String>,
    why: String,
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Reach {
    /// Led through the gate, and attributed to the process.
    Covered,
    /// Led through the gate, but attributed to a go-between.
    Seen,
    /// Passes by.
    NotCovered,
}

impl Doctor {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let overrides = Overrides { cgroup: self.cgroup.clone(), ..Overrides::default() };
        let settings = config::resolve(self.config.as_deref(), overrides)?;
        let examination = examine(Path::new("/"), &settings);
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                let all = self.output == Format::Wide;
                page::write(&mut out, Page::of_stdout(), &examination, all)?;
                out.flush()?;
            }
            machine => output::document(machine, &examination)?,
        }
        Ok(match examination.fit {
            Some(true) => Exit::Ok,
            Some(false) => Exit::Unfit,
            None => Exit::Failed,
        })
    }
}

fn examine(root: &Path, settings: &Settings) -> Examination {
    let running = Client::connect(&settings.control).is_ok();
    let processes = crate::host::processes(root);
    let mut checks = kernel::checks(root, settings);
    checks.extend(kernel::probes());
    checks.extend(host::checks(root, settings, running));
    checks.push(host::attached(root, settings, running));
    checks.extend(tls::checks(root, settings));
    checks.extend(runtimes::checks(root, settings));
    let sockets = crate::host::unix_sockets(root, &processes);
    let coverage = coverage::list(root, settings, &processes, &sockets);
    Examination {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        fit: fit(&checks),
        checks,
        coverage,
    }
}

fn fit(checks: &[Check]) -> Option<bool> {
    match checks.iter().map(|check| check.verdict).max() {
        Some(Verdict::Fail) => Some(false),
        Some(Verdict::Unknown) => None,
        _ => Some(true),
    }
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, finding: finding.into(), next: None }
    }

    fn but(
        name: &'static str,
        verdict: Verdict,
        finding: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { name, verdict, finding: finding.into(), next: Some(next.into()) }
    }
}

#[cfg(test)]
mod tests;
