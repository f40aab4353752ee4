//! `tidegate upgrade`: a new enforcer beside the old one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Failure};
use super::reach::Reach;
use crate::config;
use crate::control::Order;

/// Starts a new enforcer; it gets all new connections, and the old one drains
///
/// No connection is refused meanwhile. What the old enforcer still holds at the
/// deadline is ended.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// The new enforcer's binary [default: the running agent's own file]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// How long the old one may go on [default: the settings']
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    drain: Option<Duration>,
    #[command(flatten)]
    reach: Reach,
}

impl Upgrade {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        // The agent has another working directory.
        let binary = match self.binary {
            None => None,
            Some(path) => Some(path.canonicalize().map_err(|error| {
                let shown = path.display();
                let text =
                    format!("cannot find the new enforcer `{shown}` ({error}): is the path right?");
                Failure::text(Exit::Usage, text)
            })?),
        };
        let drain_ms = self.drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
        self.reach.order(&Order::Upgrade { binary, drain_ms })
    }
}
