//! The socket by which the command line speaks with the running keeper: one
//! JSON object a line each way.
//!
//! Only the host's root reaches it, and for what is about holds the group of those
//! who approve (the socket's mode says so, and the server asks the kernel who
//! called), so that it carries orders. Of a database's bytes it carries the
//! statements that are held, and no others. A connection is one order and its
//! answers.

mod caller;
mod client;
mod line;
mod server;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Event, Hold, Reach, StatusReport};

pub use client::{Answers, Client};
pub use server::{Asker, Server, Serving};

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
    /// Forget what a table was filled with.
    Forget {
        schema: String,
        table: String,
        database: Option<String>,
        server: Option<String>,
    },
    /// Somebody reads the log: record it.
    LogRead {
        command: String,
    },
    /// End the agent and take away everything it ever attached or pinned.
    Detach,
    /// The holds that wait, or all that are remembered.
    Holds {
        all: bool,
    },
    Hold {
        id: String,
    },
    /// The holds that wait, then each as something becomes of it.
    WatchHolds,
    Approve {
        id: String,
        reason: String,
        reach: Reach,
    },
    Deny {
        id: String,
        reason: String,
    },
}

impl Order {
    /// Whether those who approve may give it too.
    pub fn is_about_holds(&self) -> bool {
        match self {
            Self::Holds { .. }
            | Self::Hold { .. }
            | Self::WatchHolds
            | Self::Approve { .. }
            | Self::Deny { .. } => true,
            Self::Status
            | Self::Observe { .. }
            | Self::Upgrade { .. }
            | Self::Reload
            | Self::Forget { .. }
            | Self::LogRead { .. }
            | Self::Detach => false,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    Status(Box<StatusReport>),
    Event(Box<Event>),
    Holds {
        holds: Vec<Hold>,
    },
    Hold(Box<Hold>),
    /// A decision that isn't the last word: others must approve as well.
    Waiting {
        message: String,
    },
    /// This caller may not.
    Denied {
        error: String,
    },
    Done {
        message: String,
    },
    /// The order was not carried out.
    Failed {
        error: String,
    },
}

impl Answer {
    /// Nothing comes after it.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Event(_) | Self::Hold(_))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the agent is not running: nobody answers at `{}` ({source}): start it with `systemctl \
         start tidegate` or `tidegate run`, or name its socket with `--control`", path.display()
    )]
    Unreachable { path: PathBuf, source: io::Error },
    #[error(
        "this user may not speak with the agent at `{}`: run this as root (who is in the group of \
         `[approvals]` may see and decide holds)", path.display()
    )]
    Denied { path: PathBuf },
    #[error("the agent at `{}` is already running: end it before starting another", path.display())]
    AlreadyRunning { path: PathBuf },
    #[error(
        "cannot listen at `{}`: something that is no socket is there: move it away, or choose \
         another `control`", path.display()
    )]
    NotASocket { path: PathBuf },
    #[error("cannot listen at `{}` ({source}): is its folder on a writable disk?", path.display())]
    Bind { path: PathBuf, source: io::Error },
    #[error("the agent does not answer: look at its log (`journalctl -u tidegate`)")]
    Silent,
    #[error("the agent ended before it had answered: look at its log (`journalctl -u tidegate`)")]
    Ended,
    #[error("a line longer than {0} bytes: is the other side a tidegate of this version?")]
    TooLong(usize),
    #[error(
        "the other side does not speak this version's language ({0}): are both of one version?"
    )]
    Malformed(String),
    #[error("the control socket failed: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;
