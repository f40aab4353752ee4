//! SEQPACKET with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A flow with the longest command line, cgroup path and names is well below.
const MESSAGE_CAPACITY: usize = 32 * 1024;
const MOST_DESCRIPTORS: usize = 2;

/// One end: sends `Out`, receives `In`.
#[derive(Debug)]
pub struct Channel<Out, In> {
    socket: OwnedFd,
    direction: PhantomData<fn(Out) -> In>,
}

/// A message with the descriptors that came beside it.
#[derive(Debug)]
pub struct Received<In> {
    pub message: In,
    pub descriptors: Vec<OwnedFd>,
}

#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Nothing to read, or no room to write, at the moment.
    #[error("the channel would block")]
    WouldBlock,
    #[error("the other side has closed the channel")]
    Closed,
    #[error("the other side sent what is no message of this version: {0}")]
    Malformed(String),
    #[error("the channel failed: {0}")]
    Io(#[from] io::Error),
}

/// Both ends of a new channel: the keeper's and the enforcer's. Non-blocking,
/// closed on exec.
pub fn pair<Out: Serialize, In: DeserializeOwned>() -> io::Result<(Channel<Out, In>, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Channel::new(ours), theirs))
}

impl<Out: Serialize, In: DeserializeOwned> Channel<Out, In> {
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, direction: PhantomData }
    }

    /// Sends a message whole, or not at all.
    pub fn send(&self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let bytes =
            postcard::to_stdvec(message).map_err(|e| ChannelError::Malformed(e.to_string()))?;
        if bytes.len() > MESSAGE_CAPACITY {
            return Err(ChannelError::Malformed(format!("{} bytes are too many", bytes.len())));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(ChannelError::Malformed("too many descriptors".into()));
        }
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(classify)
    }

    /// Takes the next message.
    pub fn receive(&self) -> Result<Received<In>, ChannelError> {
        let mut bytes = [0; MESSAGE_CAPACITY];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .map_err(classify)?;
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                _ => None,
            })
            .flatten()
            .collect();
        if received.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::Malformed("the message was cut".into()));
        }
        let bytes = bytes.get(..received.bytes).unwrap_or_default();
        let message =
            postcard::from_bytes(bytes).map_err(|e| ChannelError::Malformed(e.to_string()))?;
        Ok(Received { message, descriptors })
    }
}

impl<Out, In> AsFd for Channel<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn classify(error: rustix::io::Errno) -> ChannelError {
    use rustix::io::Errno;
    match error {
        Errno::AGAIN | Errno::INTR => ChannelError::WouldBlock,
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => ChannelError::Closed,
        other => ChannelError::Io(other.into()),
    }
}

#[cfg(test)]
mod tests;
