//! One connect, in one manner.

use std::io::{BufRead, BufReader, Error, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Connect, Family, Manner, Report, uring};
use crate::echo::Echo;
use crate::sys::{self, RawAddress};

/// Which step failed, and how.
pub type Failure = (&'static str, Error);

pub fn run(plan: &Connect) -> Report {
    let mut report = introduce(plan);
    let mut own_server = None;
    if plan.serve {
        match Echo::start_at(plan.to.port()) {
            Ok(echo) => {
                if let Some(gate) = plan.gate {
                    echo.gate_is(gate);
                }
                own_server = Some(echo);
            }
            Err(error) => {
                report.step = "serve".into();
                report.error = Some(format!("{error:#}"));
                return report;
            }
        }
    }
    if let Err((step, error)) = attempt(plan, &mut report) {
        report.step = step.into();
        report.errno = error.raw_os_error();
        if report.errno.is_none() {
            report.error = Some(error.to_string());
        }
    }
    drop(own_server);
    report
}

pub fn introduce(plan: &Connect) -> Report {
    Report {
        label: plan.label.clone(),
        pid: std::process::id(),
        parent: std::os::unix::process::parent_id(),
        tid: sys::thread_id(),
        uid: sys::user_id(),
        netns: sys::namespace_cookie().unwrap_or_default(),
        ..Report::default()
    }
}

/// The socket that the plan wants, as it is before connecting.
pub fn prepare(plan: &Connect) -> Result<OwnedFd, Failure> {
    let at = |error| ("socket", error);
    let family = if plan.family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 };
    let protocol = if plan.manner == Manner::Mptcp { libc::IPPROTO_MPTCP } else { 0 };
    let socket = sys::socket(family, libc::SOCK_STREAM, protocol).map_err(at)?;
    let fd = socket.as_fd();
    match plan.manner {
        Manner::Bound => sys::bind(fd, source(plan)).map_err(|error| ("bind", error))?,
        Manner::Device => {
            let device = plan.device.as_deref().unwrap_or("lo");
            // SAFETY: pointer and length describe the name.
            sys::check(unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_BINDTODEVICE,
                    device.as_ptr().cast(),
                    device.len() as libc::socklen_t,
                )
            })
            .map_err(at)?;
        }
        Manner::Mark => {
            let mark = plan.mark.unwrap_or(1);
            sys::set_option(fd, libc::SOL_SOCKET, libc::SO_MARK, &mark).map_err(at)?;
        }
        Manner::TfoConnect => {
            sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &1_i32)
                .map_err(at)?;
        }
        Manner::Nonblocking => set_blocking(fd, false).map_err(at)?,
        _ => {}
    }
    Ok(socket)
}

/// The address to bind to, in the socket's family.
fn source(plan: &Connect) -> SocketAddr {
    let source = plan.source.unwrap_or_else(|| match plan.to {
        SocketAddr::V4(_) => (Ipv4Addr::new(127, 0, 0, 9), 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    });
    if plan.family == Family::Mapped { sys::mapped(source) } else { source }
}

/// Where the connect aims, in the socket's family.
fn target(plan: &Connect) -> SocketAddr {
    if plan.family == Family::Mapped { sys::mapped(plan.to) } else { plan.to }
}

/// Connects a prepared socket. True: the header went out with the SYN.
pub fn establish(plan: &Connect, socket: BorrowedFd<'_>) -> Result<bool, Failure> {
    let at = |error| ("connect", error);
    let to = RawAddress::from(target(plan));
    match plan.manner {
        Manner::Tfo => {
            let header = format!("tg1 echo {} -\n", plan.label);
            // SAFETY: buffer and address go with their lengths.
            let sent = unsafe {
                libc::sendto(
                    socket.as_raw_fd(),
                    header.as_ptr().cast(),
                    header.len(),
                    libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL,
                    to.pointer(),
                    to.length,
                )
            };
            if sent < 0 {
                return Err(at(Error::last_os_error()));
            }
            if sent as usize != header.len() {
                return Err(at(Error::other("the header was cut")));
            }
            Ok(true)
        }
        Manner::IoUring => uring::connect(socket, &to, false).map_err(at).map(|()| false),
        Manner::IoUringAsync => uring::connect(socket, &to, true).map_err(at).map(|()| false),
        Manner::Nonblocking => {
            match sys::connect(socket, &to) {
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
                Err(error) => return Err(at(error)),
                Ok(()) => {}
            }
            if !sys::wait_writable(socket, plan.patience_ms as i32).map_err(at)? {
                return Err(at(Error::from_raw_os_error(libc::ETIMEDOUT)));
            }
            let errno = sys::int_option(socket, libc::SOL_SOCKET, libc::SO_ERROR).map_err(at)?;
            if errno != 0 {
                return Err(at(Error::from_raw_os_error(errno)));
            }
            set_blocking(socket, true).map_err(at)?;
            Ok(false)
        }
        _ => sys::connect(socket, &to).map_err(at).map(|()| false),
    }
}

fn attempt(plan: &Connect, report: &mut Report) -> Result<(), Failure> {
    let socket = match plan.socket {
        // SAFETY: the parent left this descriptor for us alone.
        Some(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        None => prepare(plan)?,
    };
    if let Some(door) = &plan.leave_to {
        std::fs::write(door, "0").map_err(|error| ("leave", error))?;
    }
    let timeout = libc::timeval {
        tv_sec: i64::from(plan.patience_ms / 1000),
        tv_usec: i64::from(plan.patience_ms % 1000) * 1000,
    };
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDTIMEO, &timeout)
        .map_err(|error| ("socket", error))?;
    let started = Instant::now();
    let spoken = if plan.connected { Ok(false) } else { establish(plan, socket.as_fd()) };
    report.connect_us = started.elapsed().as_micros() as u64;
    speak(plan, socket, spoken?, report)
}

pub fn speak(
    plan: &Connect,
    socket: OwnedFd,
    spoken: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let started = Instant::now();
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_millis(u64::from(plan.patience_ms).max(1))))
        .map_err(|error| ("socket", error))?;
    let send = |error| ("send", error);
    if plan.manner == Manner::TfoConnect {
        // The first write is what sends the SYN.
        stream
            .write_all(format!("tg1 echo {} -\n", plan.label).as_bytes())
            .map_err(|error| ("connect", error))?;
        report.connect_us += started.elapsed().as_micros() as u64;
    }
    let two_lines = spoken || plan.manner == Manner::TfoConnect;
    if two_lines {
        // The handshake may still be under way: only then has it an address.
        wait_established(&stream, plan.patience_ms).map_err(|error| ("connect", error))?;
    }
    let own = sys::socket_name(stream.as_fd()).map_err(send)?;
    report.socket_name = Some(own);
    report.peer_name = sys::peer_name(stream.as_fd()).ok();
    let line = if two_lines {
        format!("{}\n", sys::plain(own))
    } else {
        format!("tg1 echo {} {}\n", plan.label, sys::plain(own))
    };
    stream.write_all(line.as_bytes()).map_err(send)?;
    let mut reader = BufReader::new(stream.try_clone().map_err(send)?);
    let mut greeting = String::new();
    let at = |error| ("greeting", error);
    reader.read_line(&mut greeting).map_err(at)?;
    let mut words = greeting.split_whitespace().skip(1);
    report.seen_as = words.next().and_then(|word| word.parse().ok());
    report.direct = words.next().map(|word| word == "direct");
    if report.seen_as.is_none() || report.direct.is_none() {
        return Err(at(Error::other(format!("the server's first line was `{greeting}`"))));
    }
    let at = |error| ("echo", error);
    let payload = format!("payload of {}\n", plan.label);
    stream.write_all(payload.as_bytes()).map_err(at)?;
    let mut back = String::new();
    reader.read_line(&mut back).map_err(at)?;
    if back != payload {
        return Err(at(Error::other(format!("`{back}` came back"))));
    }
    stream.shutdown(std::net::Shutdown::Write).map_err(at)?;
    back.clear();
    reader.read_line(&mut back).map_err(at)?;
    if !back.is_empty() {
        return Err(at(Error::other(format!("`{back}` came after the end"))));
    }
    report.step = "done".into();
    Ok(())
}

fn wait_established(stream: &TcpStream, milliseconds: u32) -> Result<(), Error> {
    if !sys::wait_writable(stream.as_fd(), milliseconds as i32)? {
        return Err(Error::from_raw_os_error(libc::ETIMEDOUT));
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

pub fn set_blocking(socket: BorrowedFd<'_>, blocking: bool) -> Result<(), Error> {
    // SAFETY: fcntl(2) takes numbers here.
    unsafe {
        let flags = sys::check(libc::fcntl(socket.as_raw_fd(), libc::F_GETFL))?;
        let flags = if blocking { flags & !libc::O_NONBLOCK } else { flags | libc::O_NONBLOCK };
        sys::check(libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags))?;
    }
    Ok(())
}
