//! A program at a terminal of its own, as somebody sits at one.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys;

pub struct Terminal {
    ours: File,
    child: Child,
    shown: String,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Terminal {
    pub fn start(mut command: Command) -> Result<Self> {
        let (mut ours, mut theirs) = (-1, -1);
        let (name, modes, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
        // SAFETY: two numbers to write to; no name, modes or size are given.
        sys::check(unsafe { libc::openpty(&mut ours, &mut theirs, name, modes, size) })?;
        // SAFETY: both are new, and nobody else's.
        let (ours, theirs) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
        // SAFETY: the number is the open file's.
        sys::check(unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
        // SAFETY: as above.
        sys::check(unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
        // SAFETY: two system calls that take numbers.
        unsafe {
            command.pre_exec(|| {
                sys::check(libc::setsid())?;
                sys::check(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop)
            });
        }
        let child = command.spawn().context("cannot start it at a terminal")?;
        // Its own side of the terminal goes with it.
        drop(command);
        Ok(Self { ours, child, shown: String::new() })
    }

    /// Waits for the program to show this.
    pub fn until(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(text) {
            if !self.more(deadline)? {
                bail!("it ended without `{text}`: {}", self.shown);
            }
        }
        Ok(())
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> Result<bool> {
        // SAFETY: all zero is a valid termios, which is then written.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the number is the open terminal's.
        sys::check(unsafe { libc::tcgetattr(self.ours.as_raw_fd(), &mut modes) })?;
        Ok(modes.c_lflag & libc::ECHO != 0)
    }

    pub fn types(&mut self, text: &str) -> Result<()> {
        Ok(self.ours.write_all(text.as_bytes())?)
    }

    /// All that was shown, and how it ended.
    pub fn end(&mut self) -> Result<(String, ExitStatus)> {
        let deadline = Instant::now() + PATIENCE;
        while self.more(deadline)? {}
        let status = self.child.wait()?;
        Ok((std::mem::take(&mut self.shown), status))
    }

    /// Takes what comes; `false`: nobody is left to show anything.
    fn more(&mut self, deadline: Instant) -> Result<bool> {
        let mut poll = libc::pollfd { fd: self.ours.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let left = deadline.saturating_duration_since(Instant::now());
        let left = libc::c_int::try_from(left.as_millis())?;
        // SAFETY: one entry, which outlives the call.
        if sys::check(unsafe { libc::poll(&mut poll, 1, left) })? == 0 {
            bail!("nothing more came: {}", self.shown);
        }
        let mut buffer = [0; 4096];
        match self.ours.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.shown += &String::from_utf8_lossy(&buffer[..read]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            // How the kernel says that the other side is closed.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
