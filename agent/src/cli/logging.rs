//! The agent's own log: lines on stderr, in the journal's form where stderr is
//! the journal.

use std::fmt;
use std::io::IsTerminal;

use clap::Args;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, time::FormatTime};
use tracing_subscriber::registry::LookupSpan;

use super::exit::{Exit, Failure};
use super::output::safe;
use crate::model::Timestamp;

#[derive(Debug, Args)]
pub struct Logging {
    /// What to log: error, warn, info, debug or trace, also by room, such as
    /// `info,tidegate::keeper=debug`
    #[arg(long, global = true, value_name = "LEVEL", env = "TIDEGATE_LOG", default_value = "info")]
    #[arg(help_heading = "Log", hide_env_values = true)]
    log_level: String,
}

impl Logging {
    pub fn install(&self) -> Result<(), Failure> {
        let filter = EnvFilter::builder().parse(&self.log_level).map_err(|error| {
            let text = format!(
                "`{}` is not a log level ({error}): write `info`, `debug` or \
                 `info,tidegate::keeper=debug`",
                self.log_level
            );
            Failure::text(Exit::Usage, text)
        })?;
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        let colour = !journal
            && std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(colour);
        let installed = if journal {
            tracing::subscriber::set_global_default(subscriber.event_format(Journal).finish())
        } else {
            tracing::subscriber::set_global_default(subscriber.with_timer(Clock).finish())
        };
        installed.map_err(|error| Failure::text(Exit::Failed, error))
    }
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Timestamp::now())
    }
}

/// The journal stamps the time itself, and takes the level as `<6>`.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        // Each line of the message is a record of its own to the journal.
        for line in fields.lines() {
            writeln!(writer, "<{priority}>{}: {}", event.metadata().target(), safe(line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
