//! `tidegate approvals`: what waits for somebody's word, and the word.

mod page;

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page};
use super::reach::{Reach, unexpected};
use crate::config::parse_duration;
use crate::control::{Answer, Order};
use crate::model::{Hold, HoldState, Reach as Wide, Timestamp, Varying};

/// Shows and decides the statements that wait for an approval
///
/// For root and the group of `[approvals]`. What a policy with @hold stops waits on
/// a terminal, and is refused to a program until somebody approves and it comes
/// again. Nobody approves his own. docs/approvals.md tells the rest.
#[derive(Debug, Args)]
pub struct Approvals {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(List),
    Show(Show),
    Approve(Approve),
    Deny(Deny),
    Watch(Watch),
}

/// Lists what waits, and the approvals that are still good
#[derive(Debug, Args)]
struct List {
    /// Also those that are over, as far as the running agent remembers
    #[arg(short, long)]
    all: bool,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    reach: Reach,
}

/// Shows one hold: who, where, the whole statement with its values, and why
///
/// Exits with 4 while it can be decided.
#[derive(Debug, Args)]
struct Show {
    /// The hold's id, such as `lus-bab`
    id: String,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    reach: Reach,
}

/// Lets the statement pass: the very text and values, for the same actor and place
///
/// Exits with 4 if others must approve as well.
#[derive(Debug, Args)]
struct Approve {
    /// The hold's id, such as `lus-bab`
    id: String,
    /// Why; it goes into the log
    #[arg(short, long, value_name = "TEXT")]
    reason: String,
    /// Once; this is the default
    #[arg(long, conflicts_with = "lasts")]
    once: bool,
    /// For so long, as often as it comes (up to 7 days)
    #[arg(long = "for", id = "lasts", value_name = "TIME", value_parser = parse_duration)]
    lasts: Option<Duration>,
    /// What may vary, as `show` numbers it: '#1' a literal, '$1' a parameter
    #[arg(long, value_name = "MARKS", value_delimiter = ',')]
    shape: Vec<Varying>,
    #[command(flatten)]
    reach: Reach,
}

/// Refuses the statement, or takes an approval back
#[derive(Debug, Args)]
struct Deny {
    /// The hold's id, such as `lus-bab`
    id: String,
    /// Why; it goes into the log, and to whoever waits
    #[arg(short, long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    reach: Reach,
}

/// Shows what waits, and each hold again as something becomes of it
#[derive(Debug, Args)]
struct Watch {
    /// The form of the output; `json` is one document a line
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    reach: Reach,
}

impl Approvals {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Ls(list) => list.carry_out(),
            Command::Show(show) => show.carry_out(),
            Command::Approve(approve) => approve.carry_out(),
            Command::Deny(deny) => deny.carry_out(),
            Command::Watch(watch) => watch.carry_out(),
        }
    }
}

impl List {
    fn carry_out(self) -> Result<Exit, Failure> {
        let holds = ask(&self.reach, &Order::Holds { all: self.all })?;
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                let wide = self.output == Format::Wide;
                page::list(&mut out, Page::of_stdout(), &holds, Timestamp::now(), wide)?;
                out.flush()?;
                if holds.is_empty() {
                    super::say("nothing waits for an approval");
                }
            }
            Format::Jsonl => {
                let mut out = output::stdout();
                for hold in &holds {
                    writeln!(out, "{}", output::compact(hold)?)?;
                }
                out.flush()?;
            }
            machine => output::document(machine, &holds)?,
        }
        Ok(Exit::Ok)
    }
}

impl Show {
    fn carry_out(self) -> Result<Exit, Failure> {
        let holds = ask(&self.reach, &Order::Hold { id: self.id.clone() })?;
        let [hold] = holds.as_slice() else {
            return Err(Failure::text(Exit::Failed, format!("there is no hold `{}`", self.id)));
        };
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                page::whole(&mut out, Page::of_stdout(), hold, Timestamp::now())?;
                out.flush()?;
            }
            machine => output::document(machine, hold)?,
        }
        Ok(if hold.state == HoldState::Waiting { Exit::Waiting } else { Exit::Ok })
    }
}

impl Approve {
    fn carry_out(self) -> Result<Exit, Failure> {
        let Self { id, reason, lasts, shape, reach, once: _ } = self;
        let lasts = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        let wide = Wide { for_ms: lasts, vary: shape };
        decide(&reach, &Order::Approve { id, reason, reach: wide })
    }
}

impl Deny {
    fn carry_out(self) -> Result<Exit, Failure> {
        let Self { id, reason, reach } = self;
        decide(&reach, &Order::Deny { id, reason })
    }
}

impl Watch {
    fn carry_out(self) -> Result<Exit, Failure> {
        let mut out = output::stdout();
        let page = Page::of_stdout();
        for answer in self.reach.client()?.ask(&Order::WatchHolds)? {
            let hold = match answer? {
                Answer::Hold(hold) => hold,
                Answer::Done { .. } => break,
                other => return Err(unexpected(other)),
            };
            match self.output {
                Format::Table => page::line(&mut out, page, &hold)?,
                Format::Wide => page::whole(&mut out, page, &hold, Timestamp::now())?,
                Format::Json | Format::Jsonl => writeln!(out, "{}", output::compact(&*hold)?)?,
                Format::Yaml => {
                    write!(out, "{}", output::yaml(&serde_json::json!([*hold])))?;
                }
            }
            out.flush()?;
        }
        Ok(Exit::Ok)
    }
}

fn ask(reach: &Reach, order: &Order) -> Result<Vec<Hold>, Failure> {
    match reach.client()?.ask(order)?.next() {
        Some(Ok(Answer::Holds { holds })) => Ok(holds),
        Some(Ok(other)) => Err(unexpected(other)),
        Some(Err(error)) => Err(error.into()),
        None => Err(crate::control::ControlError::Ended.into()),
    }
}

fn decide(reach: &Reach, order: &Order) -> Result<Exit, Failure> {
    match reach.client()?.ask(order)?.next() {
        Some(Ok(Answer::Done { message })) => {
            super::say(&message);
            Ok(Exit::Ok)
        }
        Some(Ok(Answer::Waiting { message })) => {
            super::say(&message);
            Ok(Exit::Waiting)
        }
        Some(Ok(other)) => Err(unexpected(other)),
        Some(Err(error)) => Err(error.into()),
        None => Err(crate::control::ControlError::Ended.into()),
    }
}

#[cfg(test)]
mod tests;
