//! The keeper's door, as the command line calls it.

use std::io;
use std::net::SocketAddr;

use crate::config::Settings;

/// Reads the settings again, as the command line named them.
pub type Reload = Box<dyn Fn() -> Result<Settings, String> + Send>;

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("the keeper is not in this build")]
    NotInThisBuild,
}

pub fn run(_settings: Settings, _reload: Reload) -> Result<(), KeeperError> {
    Err(KeeperError::NotInThisBuild)
}

pub fn detach(_settings: &Settings) -> Result<Vec<String>, KeeperError> {
    Err(KeeperError::NotInThisBuild)
}

pub mod canary {
    use super::{SocketAddr, io};

    pub fn child(_to: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
