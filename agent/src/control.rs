//! The socket by which the command line speaks with the running keeper: one
//! JSON object a line each way.
//!
//! Only the host's root reaches it (the socket's mode says so), so that it
//! carries orders; it never carries a byte of a database's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Event, StatusReport};

/// Where the running agent listens, unless the settings say otherwise.
pub const DEFAULT_PATH: &str = "/run/tidegate/control.sock";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    Status,
    /// The events kept since the agent started (the newest 10,000), then, with
    /// `follow`, those that come. Ends with [`Answer::Done`] without `follow`.
    Observe {
        follow: bool,
    },
    /// Start an enforcer from `binary` (by default the keeper's own file) and
    /// drain the old one.
    Upgrade {
        binary: Option<PathBuf>,
        drain_ms: Option<u64>,
    },
    /// Read the settings again.
    Reload,
    /// End the agent and take away everything it ever attached or pinned.
    Detach,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    Status(Box<StatusReport>),
    Event(Box<Event>),
    Done {
        message: String,
    },
    /// The order was not carried out.
    Failed {
        error: String,
    },
}
