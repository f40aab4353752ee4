//! Where and as whom a process runs: cgroup, network namespace, user.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Result;

use crate::cgroup::Cgroup;
use crate::namespace::Namespace;
use crate::sys;

#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    cgroup: Option<&'a Cgroup>,
    namespace: Option<&'a Namespace>,
    new_namespace: bool,
    user: Option<(u32, u32)>,
}

impl<'a> Place<'a> {
    /// Where the harness is.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn cgroup(mut self, cgroup: &'a Cgroup) -> Self {
        self.cgroup = Some(cgroup);
        self
    }

    pub fn namespace(mut self, namespace: &'a Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// A network namespace that only the process itself has, loopback up.
    pub fn new_namespace(mut self) -> Self {
        self.new_namespace = true;
        self
    }

    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// A command that moves to this place after fork and before exec, so that
    /// the program never was anywhere else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        let door = self.cgroup.map(Cgroup::door).transpose()?;
        let namespace = self.namespace.map(Namespace::descriptor);
        let (fresh, user) = (self.new_namespace, self.user);
        // SAFETY: the closure makes system calls only, which are safe between
        // fork and exec; `door` lives as long as the command.
        unsafe {
            command.pre_exec(move || settle(door.as_ref(), namespace, fresh, user));
        }
        Ok(command)
    }
}

fn settle(
    door: Option<&File>,
    namespace: Option<RawFd>,
    fresh: bool,
    user: Option<(u32, u32)>,
) -> std::io::Result<()> {
    if let Some(door) = door {
        // SAFETY: writes one byte from a static.
        sys::check(unsafe { libc::write(door.as_raw_fd(), b"0".as_ptr().cast(), 1) } as i32)?;
    }
    if let Some(namespace) = namespace {
        sys::enter_namespace(namespace)?;
    }
    if fresh {
        sys::new_namespace()?;
        sys::loopback_up()?;
    }
    if let Some((uid, gid)) = user {
        // SAFETY: three system calls that take numbers and an empty list.
        unsafe {
            sys::check(libc::setgroups(0, std::ptr::null()))?;
            sys::check(libc::setgid(gid))?;
            sys::check(libc::setuid(uid))?;
        }
    }
    Ok(())
}
