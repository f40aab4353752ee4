//! What a session needs of a connection's end, and the socket that gives it.
//!
//! A session never sees a descriptor: it works on [`Io`], so that it can run
//! over TLS, and in tests over an end that misbehaves.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketType, sockopt,
};

/// One end of a session. Nothing here ever blocks.
pub trait Io {
    /// 0: the other side has sent all it will.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes from several places at once.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices.iter().find(|slice| !slice.is_empty()) {
            Some(slice) => self.write(slice),
            None => Ok(0),
        }
    }
    /// Tells the other side that no more will come.
    fn finish(&mut self) -> io::Result<()>;
    /// The error that the kernel holds for this end, if any. Asking clears it.
    fn failure(&mut self) -> Option<io::Error>;
    /// Whether all that was written has left this host's send queue. When not,
    /// readiness to write is reported once it has.
    fn sent(&mut self) -> bool;
    /// Makes the coming close a reset.
    fn abort(&mut self);
    /// Shows whoever stands in between, and ourselves, that the connection lives
    /// while nothing is said on it: sooner than always. Lasts as long as the connection.
    fn keep_alive(&mut self) {}
}

/// A connected TCP socket. Its descriptor's blocking mode, which it shares
/// with whoever else holds it, is neither needed nor changed.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// `None`: it isn't a stream socket of the internet's.
    pub fn checked(descriptor: OwnedFd) -> Option<Self> {
        let stream = sockopt::socket_type(&descriptor) == Ok(SocketType::STREAM);
        let inet = sockopt::socket_domain(&descriptor)
            .is_ok_and(|domain| matches!(domain, AddressFamily::INET | AddressFamily::INET6));
        if !stream || !inet {
            return None;
        }
        // Databases answer in small packets. What a socket does not know (an
        // MPTCP one on an old kernel) costs latency, not correctness.
        let _ = sockopt::set_tcp_nodelay(&descriptor, true);
        // What an application asks of its own socket ends at our listener.
        keep_alive(&descriptor, &ALWAYS);
        Some(Self(descriptor))
    }
}

impl Io for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (read, _) = rustix::net::recv(&self.0, into, RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // The usual case, and the cheaper call.
        if let [one] = slices {
            return self.write(one);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut nothing = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(&self.0, slices, &mut nothing, flags)?)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, Shutdown::Write)?)
    }

    fn failure(&mut self) -> Option<io::Error> {
        match sockopt::socket_error(&self.0) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error.into()),
        }
    }

    fn sent(&mut self) -> bool {
        // From here on the socket counts as writable only with nothing unsent,
        // and asking tells the kernel to say when.
        if report_writable_when_sent(self.0.as_fd()).is_err() {
            return true;
        }
        let mut polled = [PollFd::new(&self.0, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A socket that can't be asked isn't waited for.
        !matches!(poll(&mut polled, Some(&now)), Ok(0))
    }

    fn abort(&mut self) {
        // Fails only on a socket that is gone already.
        let _ = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }

    fn keep_alive(&mut self) {
        keep_alive(&self.0, &SOON);
    }
}

/// When a silent connection is shown to live, and when it is taken for dead.
struct Probing {
    after: Duration,
    every: Duration,
    times: u32,
}

/// Firewalls and NATs forget a silent connection after minutes, seldom sooner. A server
/// that is gone is noticed after some minutes more; one that is slow answers probes.
/// TCP_USER_TIMEOUT is left alone: it ends a connection whose reader only rests.
const ALWAYS: Probing =
    Probing { after: Duration::from_secs(60), every: Duration::from_secs(20), times: 9 };
const SOON: Probing =
    Probing { after: Duration::from_secs(30), every: Duration::from_secs(10), times: 6 };

/// What a socket doesn't know costs nothing but the keeping alive.
fn keep_alive(socket: &OwnedFd, probing: &Probing) {
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, probing.after);
    let _ = sockopt::set_tcp_keepintvl(socket, probing.every);
    let _ = sockopt::set_tcp_keepcnt(socket, probing.times);
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[expect(unsafe_code, reason = "TCP_NOTSENT_LOWAT has no safe wrapper")]
fn report_writable_when_sent(socket: BorrowedFd<'_>) -> io::Result<()> {
    let lowest: libc::c_int = 1;
    // SAFETY: the option reads one int from a pointer to a live int, and the
    // descriptor is borrowed for the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            std::ptr::from_ref(&lowest).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
