//! `tidegate detach`: as if it had never been there.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::reach::Reach;
use crate::config::{self, Overrides};
use crate::control::{Client, ControlError, Order};
use crate::keeper;

/// Ends the agent and takes away everything it attached or pinned
///
/// Databases are then reached directly, by everybody. Works with no agent
/// running too, on what an earlier one left.
#[derive(Debug, Args)]
pub struct Detach {
    /// Where bpffs is mounted [default: the settings']
    #[arg(long, value_name = "PATH", env = "TIDEGATE_BPFFS", hide_env_values = true)]
    bpffs: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Detach {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let path = self.reach.path();
        match Client::connect(&path) {
            Ok(_) => return self.reach.order(&Order::Detach),
            Err(ControlError::Unreachable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !rustix::process::geteuid().is_root() {
            let text = "only root can take away what an agent attached: run this as root";
            return Err(Failure::text(Exit::Denied, text));
        }
        let overrides = Overrides { bpffs: self.bpffs, ..Overrides::default() };
        let settings = config::resolve(self.reach.config.as_deref(), overrides)?;
        let removed = keeper::detach(&settings).map_err(|e| Failure::new(Exit::Failed, e))?;
        if removed.is_empty() {
            super::say("no agent is running, and none has left anything attached or pinned");
        }
        for what in removed {
            super::say(&format!("removed {what}"));
        }
        Ok(Exit::Ok)
    }
}
