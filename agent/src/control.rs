//! The socket by which the command line speaks with the running keeper: one
//! JSON object a line each way.
//!
//! Only the host's root reaches it (the socket's mode says so, and the server
//! asks the kernel who called), so that it carries orders; it never carries a
//! byte of a database's. A connection is one order and its answers.

mod client;
mod line;
mod server;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Event, StatusReport};

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
    /// Somebody reads the log: record it.
    LogRead {
        command: String,
    },
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

impl Answer {
    /// Nothing comes after it.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Event(_))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the agent is not running: nobody answers at `{}` ({source}): start it with `systemctl \
         start tidegate` or `tidegate run`, or name its socket with `--control`", path.display()
    )]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("only root may speak with the agent at `{}`: run this as root", path.display())]
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
