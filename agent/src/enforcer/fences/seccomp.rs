//! The system calls that the enforcer may make. All others fail with EPERM,
//! also those that no kernel has yet and those of other calling conventions.
//!
//! A call that is missing here shows as an EPERM where none should be: nothing
//! is killed. What is left out is the point: no socket, connect, bind, listen
//! or accept; no exec and no new process; no ptrace, no other process's memory
//! or descriptors; no namespace, mount, key, BPF or io_uring; no page that is
//! made executable.

mod calls;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, connect, listen, socket};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Whose calls they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// With `read_only`, files can't be opened for writing, whatever Landlock says.
    Enforcer { read_only: bool },
    /// Reads and writes what is open, and computes.
    Parser,
}

/// `full`, or what came through, or why it doesn't hold.
pub fn raise(role: Role, bait: Bait) -> String {
    match filter(role) {
        Ok(()) => match bait.let_through(role).as_slice() {
            [] => "full".into(),
            leaks => format!("does not hold: {} came through", leaks.join(", ")),
        },
        Err(error) => format!("not raised: {error}; is the kernel built with seccomp?"),
    }
}

fn filter(role: Role) -> Result<(), Box<dyn std::error::Error>> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let errno = |errno: i32| u32::try_from(errno).map(SeccompAction::Errno);
    // clone3 hides its flags in memory, where no filter sees them; told that
    // there is none, the C library uses clone.
    let no_clone3 = SeccompFilter::new(
        [(libc::SYS_clone3, vec![])].into(),
        SeccompAction::Allow,
        errno(libc::ENOSYS)?,
        architecture,
    )?;
    let allowed = SeccompFilter::new(
        calls::allowed(role)?,
        errno(libc::EPERM)?,
        SeccompAction::Allow,
        architecture,
    )?;
    for program in [BpfProgram::try_from(no_clone3)?, BpfProgram::try_from(allowed)?] {
        apply_filter_all_threads(&program)?;
    }
    Ok(())
}

/// What the filter is tried with: a socket from before, which a filter that
/// doesn't hold would let out.
#[derive(Debug)]
pub struct Bait(Option<OwnedFd>);

impl Bait {
    pub fn new() -> Self {
        Self(socket(AddressFamily::INET, SocketType::STREAM, None).ok())
    }

    /// The names of the calls that weren't refused.
    fn let_through(&self, role: Role) -> Vec<&'static str> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let refused = |outcome: rustix::io::Result<()>| outcome == Err(Errno::PERM);
        let new = |family, kind| refused(socket(family, kind, None).map(drop));
        let mut tried = vec![
            ("socket(AF_INET)", new(AddressFamily::INET, SocketType::STREAM)),
            ("socket(AF_INET6)", new(AddressFamily::INET6, SocketType::DGRAM)),
            ("socket(AF_UNIX)", new(AddressFamily::UNIX, SocketType::STREAM)),
            ("socket(AF_NETLINK)", new(AddressFamily::NETLINK, SocketType::RAW)),
            ("setuid", refused(rustix::thread::set_thread_uid(rustix::process::Uid::ROOT))),
            ("kill", refused(rustix::process::test_kill_process(rustix::process::getpid()))),
            ("exec", std::process::Command::new("/proc/self/exe").spawn().is_err()),
        ];
        if let Some(socket) = &self.0 {
            // The port `discard`: nothing is there to be disturbed.
            tried.push(("connect", refused(connect(socket, &local(9)))));
            tried.push(("bind", refused(bind(socket, &local(0)))));
            tried.push(("listen", refused(listen(socket, 1))));
        }
        if role != (Role::Enforcer { read_only: false }) {
            let opened = std::fs::File::options().write(true).open("/dev/null");
            tried.push(("open for writing", opened.is_err()));
        }
        if role == Role::Parser {
            // That nobody has: refused by the filter, it isn't even looked up.
            let opened = std::fs::File::open("/nobody/has/this");
            let refused = |error: std::io::Error| error.raw_os_error() == Some(libc::EPERM);
            tried.push(("open", opened.is_err_and(refused)));
        }
        tried.into_iter().filter(|(_, refused)| !refused).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests;
