//! Exit codes, and the failures that lead to them.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::config::Mistakes;
use crate::control::ControlError;

/// What a script can tell from the exit code. Each is documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    /// The arguments or the settings are wrong.
    Usage = 2,
    /// This user, or the policy, says no.
    Denied = 3,
    /// An approval is awaited.
    Waiting = 4,
    /// The log's integrity is broken.
    Integrity = 5,
    /// The host can't carry the agent.
    Unfit = 6,
    /// No agent is running.
    Unreachable = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command's failure: what to tell, and how to exit.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// `None`: all has been said, or nobody reads it any more.
    pub error: Option<anyhow::Error>,
}

impl Failure {
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: Some(error.into()) }
    }

    pub fn text(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, error: Some(anyhow::anyhow!("{text}")) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.as_ref().map_or(Ok(()), |error| write!(f, "{error:#}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error: Some(error) }
    }
}

impl From<io::Error> for Failure {
    /// Of writing output: a reader that has seen enough is no failure.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Ok, error: None };
        }
        Self::text(Exit::Failed, format!("cannot write the output: {error}"))
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::new(Exit::Usage, mistakes)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let exit = match error {
            ControlError::Unreachable { .. } | ControlError::Silent | ControlError::Ended => {
                Exit::Unreachable
            }
            ControlError::Denied { .. } => Exit::Denied,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}
