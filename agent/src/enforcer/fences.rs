//! Locks the process in, and then finds out what holds.
//!
//! Root at the start, it ends as a user with no capability and no way to a new
//! one, that cannot write (nor read) a file outside its own folders, and that
//! can make no socket, reach no address and start no program. Each fence is
//! tried after it was raised: [`Fences`] tells what was seen, not what was
//! asked for.
//!
//! INVARIANT: raised before any other thread exists and before any message is
//! read; threads that come later inherit everything.
//!
//! Never: to go on when the user, the capabilities or no_new_privs don't hold.

mod landlock;
mod privileges;
mod seccomp;

use std::path::PathBuf;

use crate::model::Fences;
use seccomp::Role;

/// Who the process is to be, once it is no longer root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    #[error("the enforcer was told to run as root, which it never does; give it a user of its own")]
    Root,
    #[error("{threads} threads run already, and only one would be locked in; this is a defect")]
    Threads { threads: String },
    #[error(
        "cannot {what}: {error}; start the enforcer as root with CAP_SETUID, CAP_SETGID and CAP_SETPCAP"
    )]
    Refused { what: &'static str, error: std::io::Error },
    #[error("cannot read /proc/self/status: {0}; is /proc mounted?")]
    Status(std::io::Error),
    #[error("cannot give the enforcer `{}`: {error}; make the folder first", path.display())]
    Writable { path: PathBuf, error: String },
    #[error("{fence} does not hold after it was raised: {seen}")]
    Open { fence: &'static str, seen: String },
}

/// Locks the calling process in. Started without root it keeps its user, and
/// gets all the other fences.
pub fn raise(user: User, writable: &[PathBuf]) -> Result<Fences, FenceError> {
    // Opened while that is still allowed; what it tells is always of now.
    let status = privileges::Status::open()?;
    let bait = seccomp::Bait::new();
    let expected = privileges::give_up(user, &status)?;
    let landlock = landlock::raise(writable)?;
    let seccomp = seccomp::raise(Role::Enforcer { read_only: writable.is_empty() }, bait);
    let held = privileges::verify(expected, &status)?;
    Ok(fences(held, landlock, seccomp))
}

/// Locks a parser process in, closer yet: it opens nothing and makes nothing.
/// `limit`: what is done while limits can be set.
pub fn raise_for_parser(
    user: User,
    limit: impl FnOnce() -> std::io::Result<()>,
) -> Result<Fences, FenceError> {
    let status = privileges::Status::open()?;
    let bait = seccomp::Bait::new();
    let expected = privileges::give_up(user, &status)?;
    let landlock = landlock::raise(&[])?;
    limit().map_err(|error| FenceError::Refused { what: "limit itself", error })?;
    let seccomp = seccomp::raise(Role::Parser, bait);
    let held = privileges::verify(expected, &status)?;
    Ok(fences(held, landlock, seccomp))
}

fn fences(held: privileges::Held, landlock: String, seccomp: String) -> Fences {
    Fences {
        uid: held.uid,
        no_capabilities: held.no_capabilities,
        no_new_privs: held.no_new_privs,
        not_dumpable: held.not_dumpable,
        landlock,
        seccomp,
    }
}

#[cfg(test)]
mod tests;
