//! `tidegate observe`: each connection as it opens and closes.

mod filter;
mod line;

use std::io::Write;

use clap::Args;

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page};
use super::reach::{Reach, unexpected};
use crate::control::{Answer, Order};
use crate::model::{Event, Timestamp};

/// Shows connections as they open and close: who, from where, to where
///
/// Without `--follow`, the events that the running agent has kept (the newest
/// 10,000); with it, those and then each as it comes. Filters of different
/// kinds must all match; of one kind, given several times, any. docs/observe.md
/// describes every field of the JSON.
#[derive(Debug, Args)]
pub struct Observe {
    /// Go on with each event as it comes
    #[arg(short, long)]
    follow: bool,
    /// The form of the output; with --follow, `json` is one document a line
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    filter: filter::Filter,
    #[command(flatten)]
    reach: Reach,
}

impl Observe {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let filter = self.filter.resolve(Timestamp::now());
        let answers = self.reach.client()?.ask(&Order::Observe { follow: self.follow })?;
        let form = match (self.output, self.follow) {
            (Format::Json, true) => Format::Jsonl,
            (form, _) => form,
        };
        let mut printer =
            Printer { out: output::stdout(), page: Page::of_stdout(), form, printed: 0 };
        for answer in answers {
            match answer? {
                Answer::Event(event) if filter.takes(&event) => {
                    printer.event(&event)?;
                    if self.follow {
                        printer.out.flush()?;
                    }
                }
                Answer::Event(_) => {}
                Answer::Done { .. } => break,
                other => return Err(unexpected(other)),
            }
        }
        printer.end()?;
        Ok(Exit::Ok)
    }
}

/// Events, one behind the other, in one of the five forms.
struct Printer<W> {
    out: W,
    page: Page,
    form: Format,
    printed: u64,
}

impl<W: Write> Printer<W> {
    fn event(&mut self, event: &Event) -> std::io::Result<()> {
        let first = self.printed == 0;
        self.printed += 1;
        match self.form {
            Format::Table | Format::Wide => {
                let wide = self.form == Format::Wide;
                if first {
                    writeln!(self.out, "{}", line::heads(self.page, wide))?;
                }
                writeln!(self.out, "{}", line::event(event, self.page, wide))
            }
            Format::Jsonl => writeln!(self.out, "{}", output::compact(event)?),
            Format::Json => {
                let before = if first { "[\n" } else { ",\n" };
                write!(self.out, "{before}{}", output::compact(event)?)
            }
            // A list that grows.
            Format::Yaml => {
                write!(self.out, "{}", output::yaml(&serde_json::json!([event])))
            }
        }
    }

    fn end(&mut self) -> std::io::Result<()> {
        match (self.form, self.printed) {
            (Format::Json, 0) => writeln!(self.out, "[]")?,
            (Format::Json, _) => writeln!(self.out, "\n]")?,
            (Format::Yaml, 0) => writeln!(self.out, "[]")?,
            _ => {}
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
