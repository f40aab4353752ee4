//! The channels, as the keeper left them in this process.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::EnforcerError;

/// Takes the descriptors that the arguments name, each only once, and only if
/// it is a SEQPACKET socket. Call it once, before anything else is opened.
pub fn channels(numbers: &[RawFd]) -> Result<Vec<OwnedFd>, EnforcerError> {
    let mut taken: Vec<OwnedFd> = Vec::new();
    for (place, &number) in numbers.iter().enumerate() {
        let wrong = |why: &'static str| EnforcerError::Inherited { number, why };
        if number <= STANDARD_ERROR {
            return Err(wrong("it is one of the standard streams"));
        }
        if numbers.iter().take(place).any(|earlier| *earlier == number) {
            return Err(wrong("it is named twice"));
        }
        let channel = take(number).ok_or_else(|| wrong("it isn't open"))?;
        let kind = sockopt::socket_type(&channel);
        let family = sockopt::socket_domain(&channel);
        if kind != Ok(SocketType::SEQPACKET) || family != Ok(AddressFamily::UNIX) {
            return Err(wrong("it is no SEQPACKET socket"));
        }
        let kept = rustix::io::fcntl_setfd(&channel, FdFlags::CLOEXEC)
            .and_then(|()| rustix::io::ioctl_fionbio(channel.as_fd(), true));
        if kept.is_err() {
            return Err(wrong("it can't be made non-blocking"));
        }
        taken.push(channel);
    }
    Ok(taken)
}

/// The log's channel, beside the workers'.
pub fn log_channel(
    named: Option<(RawFd, PathBuf)>,
    workers: &[RawFd],
) -> Result<Option<(OwnedFd, PathBuf)>, EnforcerError> {
    let Some((number, folder)) = named else { return Ok(None) };
    if workers.contains(&number) {
        return Err(EnforcerError::Inherited { number, why: "it is named twice" });
    }
    let channel = channels(&[number])?.pop();
    Ok(channel.map(|channel| (channel, folder)))
}

/// The channel by which parser processes come, beside all others.
pub fn parsers_channel(
    named: Option<RawFd>,
    others: &[RawFd],
) -> Result<Option<OwnedFd>, EnforcerError> {
    let Some(number) = named else { return Ok(None) };
    if others.contains(&number) {
        return Err(EnforcerError::Inherited { number, why: "it is named twice" });
    }
    Ok(channels(&[number])?.pop())
}

/// Closes all but the standard streams. Call it before anything is opened.
pub fn close_others() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> =
        open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The folder's own is closed by now.
    for number in numbers.into_iter().filter(|number| *number > STANDARD_ERROR) {
        drop(take(number));
    }
}

#[expect(unsafe_code, reason = "a number from the arguments becomes a descriptor")]
fn take(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: used for one call only, which fails harmlessly if it isn't open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(borrowed).ok()?;
    // SAFETY: it is open, it came by exec, so that nothing in this process
    // owns it, and the caller asks for each number once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

const STANDARD_ERROR: RawFd = 2;
