//! `tidegate ca`: the host's certificate authority, made, replaced, shown, and
//! given to those who are to trust it.
//!
//! Never shows a key, and writes only where it says.

mod init;
mod page;
mod runtimes;
mod store;
mod trust;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page};
use crate::config::{self, CaSettings, Overrides, Settings};
use crate::keeper::ca::{self, CaError, Facts};
use crate::model::Timestamp;

/// The schema of what these commands print as JSON.
const SCHEMA: u32 = 1;

/// Makes, replaces, shows and gives out the host's certificate authority
///
/// tidegate ends TLS on both sides, and shows clients certificates that this CA
/// signs. `tidegate run` makes one at its first start. Clients that verify have
/// to trust it: see `tidegate ca trust`.
#[derive(Debug, Args)]
pub struct Ca {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Rotate(init::Rotate),
    Trust(trust::Trust),
    Show(Show),
}

/// Shows what the CA is, and until when
///
/// Exits with 1 if there is none, or it can't be used.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl Ca {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Init(init) => init.carry_out(),
            Command::Rotate(rotate) => rotate.carry_out(),
            Command::Trust(trust) => trust.carry_out(),
            Command::Show(show) => show.carry_out(),
        }
    }
}

impl Common {
    fn settings(&self) -> Result<Settings, Failure> {
        Ok(config::resolve(self.config.as_deref(), Overrides::default())?)
    }

    /// Tells in the form that was asked for.
    fn tell<T: Serialize>(
        &self,
        value: &T,
        page: impl Fn(&mut dyn std::io::Write, Page, bool) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                page(&mut out, Page::of_stdout(), self.output == Format::Wide)?;
                std::io::Write::flush(&mut out)?;
            }
            machine => output::document(machine, value)?,
        }
        Ok(())
    }
}

impl Show {
    fn carry_out(self) -> Result<Exit, Failure> {
        let settings = self.common.settings()?;
        let Some(report) = Report::of(&settings)? else {
            return Err(none(&settings.ca));
        };
        self.common.tell(&report, |out, page, _| page::report(out, page, &report))?;
        Ok(if report.problem.is_none() { Exit::Ok } else { Exit::Failed })
    }
}

/// What is there.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(flatten)]
    own: Certificate,
    /// Why it can't be used.
    problem: Option<String>,
    /// Signed by somebody else, whom clients may trust already.
    intermediate: bool,
    /// CAs from before that clients still trust.
    previous: Vec<Certificate>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    subject: String,
    /// SHA-256.
    fingerprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
    expired: bool,
    /// Host names (with those below) and networks; empty: everything.
    permits: Vec<String>,
    constrained: bool,
}

impl Report {
    fn of(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(chain) = ca::public(&settings.ca).map_err(failure)? else { return Ok(None) };
        let Some(first) = chain.first() else { return Ok(None) };
        let facts = ca::facts(first).map_err(|what| unusable(&settings.ca, what))?;
        let mut previous = Vec::new();
        for der in ca::previous(&settings.ca).map_err(failure)? {
            previous.extend(ca::facts(&der).ok().map(|facts| Certificate::of(&facts)));
        }
        let problem = ca::Authority::load(&settings.ca).err().map(|error| error.to_string());
        Ok(Some(Self {
            schema: SCHEMA,
            certificate: settings.ca.certificate.clone(),
            key: settings.ca.key.clone(),
            own: Certificate::of(&facts),
            problem,
            intermediate: !facts.self_signed,
            previous,
        }))
    }
}

impl Certificate {
    fn of(facts: &Facts) -> Self {
        let hex: Vec<String> = facts.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        let at = |seconds: i64| {
            Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000))
        };
        Self {
            subject: facts.subject.clone(),
            fingerprint: hex.join(":"),
            not_before: at(facts.not_before),
            not_after: at(facts.not_after),
            expired: facts.not_after <= ca::now(),
            permits: facts.constraints.shown(),
            constrained: !facts.constraints.are_none(),
        }
    }
}

fn none(settings: &CaSettings) -> Failure {
    Failure::text(
        Exit::Failed,
        format!(
            "there is no CA at `{}`: `tidegate ca init` makes one, and so does the first \
             `tidegate run`",
            settings.certificate.display()
        ),
    )
}

fn unusable(settings: &CaSettings, what: String) -> Failure {
    failure(CaError::Unusable { path: settings.certificate.display().to_string(), what })
}

fn failure(error: CaError) -> Failure {
    let denied = matches!(&error, CaError::Read { error, .. } | CaError::Write { error, .. }
        if error.kind() == std::io::ErrorKind::PermissionDenied);
    match error {
        error if denied => Failure::text(Exit::Denied, format!("{error}: run it with sudo")),
        CaError::Plan(what) => Failure::text(Exit::Usage, what),
        error => Failure::new(Exit::Failed, error),
    }
}
