//! `tidegate reload`: the settings, read again.

use clap::Args;

use super::exit::{Exit, Failure};
use super::reach::Reach;
use crate::control::Order;

/// Makes the agent read its settings again (as SIGHUP does)
///
/// Settings with a mistake are told of and change nothing.
#[derive(Debug, Args)]
pub struct Reload {
    #[command(flatten)]
    reach: Reach,
}

impl Reload {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        self.reach.order(&Order::Reload)
    }
}
