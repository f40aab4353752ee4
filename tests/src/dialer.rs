//! A process in the cgroup that connects, and hands its sockets to the test:
//! the connection is made there, the bytes are read and written here.

use std::io::Error;
use std::mem::size_of;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::probe::{self, Task};
use crate::sys;

pub struct Dialer {
    line: OwnedFd,
    child: Child,
}

impl Dialer {
    pub fn start(place: &Place<'_>) -> Result<Self> {
        Self::start_with(place, &[])
    }

    /// With these variables in its environment.
    pub fn start_with(place: &Place<'_>, variables: &[(&str, &str)]) -> Result<Self> {
        let mut pair: [RawFd; 2] = [-1; 2];
        // SAFETY: room for two descriptors, which are ours afterwards.
        let (near, far) = unsafe {
            sys::check(libc::socketpair(
                libc::AF_UNIX,
                libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
                0,
                pair.as_mut_ptr(),
            ))?;
            (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1]))
        };
        let child = probe::command(place, &Task::Dial)?
            .envs(variables.iter().copied())
            .stdin(Stdio::from(far))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the probe")?;
        Ok(Self { line: near, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connected by the process, or why it could not.
    pub fn connect(&mut self, to: SocketAddr) -> Result<Result<TcpStream, Error>> {
        let text = to.to_string();
        // SAFETY: the buffer is as long as said.
        let sent = unsafe {
            libc::send(self.line.as_raw_fd(), text.as_ptr().cast(), text.len(), libc::MSG_NOSIGNAL)
        };
        sys::check(sent as i32)?;
        self.receive()
    }

    /// Connected, or the test fails.
    pub fn open(&mut self, to: SocketAddr) -> Result<TcpStream> {
        self.connect(to)?.with_context(|| format!("cannot connect to {to}"))
    }

    fn receive(&mut self) -> Result<Result<TcpStream, Error>> {
        let mut bytes = [0_u8; 4];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut control = [0_u64; 4];
        // SAFETY: the message points at locals that outlive the call; a
        // descriptor that comes is ours.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let length = sys::check(libc::recvmsg(
                self.line.as_raw_fd(),
                &raw mut message,
                libc::MSG_CMSG_CLOEXEC,
            ) as i32)?;
            if length == 0 {
                bail!("the dialling process has ended");
            }
            let errno = i32::from_ne_bytes(bytes);
            if errno != 0 {
                return Ok(Err(Error::from_raw_os_error(errno)));
            }
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if header.is_null() {
                bail!("the dialling process sent no socket");
            }
            let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
            Ok(Ok(TcpStream::from(OwnedFd::from_raw_fd(fd))))
        }
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
