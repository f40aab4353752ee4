//! What this host is: its kernel's features, mounts, processes and sockets.
//!
//! Read-only, on `model` alone, so that keeper and command line can both ask.
//! Whatever lies in files takes the root folder that they lie below: `/`, or a
//! test's own tree. Never changes anything, and never decides what a fact is
//! worth.

pub mod idle;
mod kernel;
mod mounts;
mod probe;
mod processes;
mod sockets;

pub use kernel::{Lockdown, Release, kernel_release, lockdown, number, security_modules};
pub use mounts::{Mount, cgroup2_mount, mounts};
pub use probe::{CgroupHook, cgroup_programs, landlock_abi, socket_destroy};
pub use processes::{Power, Running, powerful, processes};
pub use sockets::{Listening, UnixSocket, listening, unix_sockets};

#[cfg(test)]
pub(crate) mod tests;
