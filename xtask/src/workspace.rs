//! Where things lie in this repository.
//!
//! INVARIANT: the kernel programs and everything made for them stay under
//! `target/bpf` of the checkout, whatever `CARGO_TARGET_DIR` says: the agent's
//! build script looks for them there.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder for the host's own code.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        // Cargo itself takes a relative one from the current folder.
        Some(folder) => env::current_dir().unwrap_or_else(|_| root()).join(folder),
        None => root().join("target"),
    }
}

/// A built binary of the host's.
pub fn binary(name: &str, profile: Profile) -> PathBuf {
    target().join(profile.folder()).join(name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Release,
    Debug,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Profile::Release => "release",
            Profile::Debug => "debug",
        }
    }
}
