//! The command line: arguments in, one command carried out, an exit code out.
//!
//! One file a command. Data goes to stdout, all else to stderr, and a failure
//! says what to do next. Decides nothing that an agent decides.

mod approvals;
mod audit;
mod ca;
mod classify;
mod detach;
mod dial;
mod doctor;
mod enforce;
mod exit;
mod internal;
mod logging;
mod login;
mod manual;
mod observe;
mod output;
mod password;
mod policy;
mod reach;
mod reload;
mod run;
mod status;
mod upgrade;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use exit::{Exit, Failure};

const EXIT_CODES: &str = "\
Exit codes:
  0  ok                          4  waiting for an approval
  1  failed                      5  the log's integrity is broken
  2  wrong arguments or settings 6  this host can't carry the agent
  3  denied                      7  no agent is running

Settings: a flag wins over its TIDEGATE_… variable, that over the settings file,
that over the default. `tidegate man` prints the whole manual.";

/// Sees every database connection of this host's processes, and leads it
/// through a gate.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXIT_CODES)]
#[command(propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    logging: logging::Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Status(status::Status),
    Observe(observe::Observe),
    Doctor(doctor::Doctor),
    Upgrade(upgrade::Upgrade),
    Reload(reload::Reload),
    Detach(detach::Detach),
    Audit(Box<audit::Audit>),
    Approvals(approvals::Approvals),
    Ca(ca::Ca),
    Policy(policy::Policy),
    Enforce(enforce::Enforce),
    Login(login::Login),
    Classify(Box<classify::Classify>),
    Completions(manual::Completions),
    Man(manual::Man),
    #[command(hide = true)]
    Enforcer(internal::Enforcer),
    #[command(hide = true)]
    ParseCell(internal::ParseCell),
    #[command(hide = true)]
    Canary(internal::Canary),
}

/// The process's whole life.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody may be reading it any more.
            drop(error.print());
            return if asked { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    match carry_out(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if let Some(error) = failure.error {
                // A room's error tells its cause in its own text.
                say(&error.to_string());
            }
            failure.exit.into()
        }
    }
}

fn carry_out(arguments: Arguments) -> Result<Exit, Failure> {
    arguments.logging.install()?;
    match arguments.command {
        Command::Run(run) => run.carry_out(),
        Command::Status(status) => status.carry_out(),
        Command::Observe(observe) => observe.carry_out(),
        Command::Doctor(doctor) => doctor.carry_out(),
        Command::Upgrade(upgrade) => upgrade.carry_out(),
        Command::Reload(reload) => reload.carry_out(),
        Command::Detach(detach) => detach.carry_out(),
        Command::Audit(audit) => audit.carry_out(),
        Command::Approvals(approvals) => approvals.carry_out(),
        Command::Ca(ca) => ca.carry_out(),
        Command::Policy(policy) => policy.carry_out(),
        Command::Enforce(enforce) => enforce.carry_out(),
        Command::Login(login) => login.carry_out(),
        Command::Classify(classify) => classify.carry_out(),
        Command::Completions(completions) => completions.carry_out(),
        Command::Man(man) => man.carry_out(),
        Command::Enforcer(enforcer) => enforcer.carry_out(),
        Command::ParseCell(cell) => cell.carry_out(),
        Command::Canary(canary) => canary.carry_out(),
    }
}

/// The whole tree of arguments, for completions, the manual and tests.
fn arguments() -> clap::Command {
    Arguments::command()
}

/// A message to whoever started the command, line by line.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        // With stderr gone there is nobody to tell.
        drop(writeln!(stderr, "tidegate: {}", output::safe(line)));
    }
}

#[cfg(test)]
mod tests;
