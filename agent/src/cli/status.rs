//! `tidegate status`: the running agent's account of itself.

mod page;

use std::io::Write;

use clap::{Args, ValueEnum};

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page};
use super::reach::{Reach, unexpected};
use crate::control::{Answer, Order};
use crate::model::{Timestamp, Verdict};

/// Shows whether the agent holds, and what it holds
///
/// Exits with 0 if it is healthy or degraded (it holds, and something needs a
/// look), with 1 if connections are not led through the enforcer, and with 7 if
/// no agent is running. `--fail-on degraded` makes a degraded agent exit with 1.
#[derive(Debug, Args)]
pub struct Status {
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    /// Print nothing: the exit code tells
    #[arg(short, long)]
    quiet: bool,
    /// From which state on to exit with 1
    #[arg(long, value_name = "STATE", value_enum, default_value = "failing")]
    fail_on: FailOn,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Degraded,
    Failing,
}

impl Status {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let result = self.report();
        match result {
            Err(failure) if self.quiet => Err(Failure { error: None, ..failure }),
            other => other,
        }
    }

    fn report(&self) -> Result<Exit, Failure> {
        let answer = self.reach.client()?.ask(&Order::Status)?.next();
        let report = match answer {
            Some(Ok(Answer::Status(report))) => report,
            Some(Ok(other)) => return Err(unexpected(other)),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(crate::control::ControlError::Ended.into()),
        };
        let exit = exit_code(report.verdict, self.fail_on);
        if self.quiet {
            return Ok(exit);
        }
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                let wide = self.output == Format::Wide;
                page::write(&mut out, Page::of_stdout(), &report, Timestamp::now(), wide)?;
                out.flush()?;
            }
            machine => output::document(machine, &report)?,
        }
        Ok(exit)
    }
}

fn exit_code(verdict: Verdict, fail_on: FailOn) -> Exit {
    match (verdict, fail_on) {
        (Verdict::Failing, _) | (Verdict::Degraded, FailOn::Degraded) => Exit::Failed,
        (Verdict::Healthy | Verdict::Degraded, _) => Exit::Ok,
    }
}

#[cfg(test)]
mod tests;
