//! The socket towards the destination: made in the workload's own network
//! namespace, with its source address, interface and mark, and bound by a
//! token to this one destination for as long as it lives.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getpeername, socket_with,
};
use tidegate_ebpf::{Endpoint, RawFlow, TOKEN_UPSTREAM, Token};

use super::namespaces::Bind;
use super::sys;
use crate::model::OriginalDestination;

/// All of an attempt that a dial needs, now or while its connection is open.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub netns: u64,
    cookie: u64,
    destination: Endpoint,
    source: Endpoint,
    device: u32,
    mark: u32,
    uid: u32,
    gid: u32,
}

impl From<&RawFlow> for Way {
    fn from(flow: &RawFlow) -> Self {
        Self {
            netns: flow.netns,
            cookie: flow.cookie,
            destination: flow.destination,
            source: flow.source,
            device: flow.device,
            mark: flow.mark,
            uid: flow.uid,
            gid: flow.gid,
        }
    }
}

#[cfg(test)]
impl Way {
    pub fn nowhere() -> Self {
        let none = Endpoint::default();
        Self {
            netns: 0,
            cookie: 0,
            destination: none,
            source: none,
            device: 0,
            mark: 0,
            uid: 0,
            gid: 0,
        }
    }
}

#[derive(Debug)]
pub enum Dialled {
    Connected(OwnedFd),
    Connecting(OwnedFd),
}

/// Starts the connect; to be called inside the flow's network namespace.
pub fn dial(flow: &Way, token: Bind<'_>) -> io::Result<Dialled> {
    let OriginalDestination(destination) = flow.destination.into();
    let family = if destination.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    let purpose = Token {
        kind: TOKEN_UPSTREAM,
        reserved: 0,
        destination: flow.destination,
        flow: flow.cookie,
    };
    token(socket.as_fd(), purpose)?;
    // Packet filters that ask whose it is see the workload's user.
    let (uid, gid) = (Uid::from_raw(flow.uid), Gid::from_raw(flow.gid));
    rustix::fs::fchown(&socket, Some(uid), Some(gid))?;
    if flow.mark != 0 {
        sys::set_mark(&socket, flow.mark)?;
    }
    if flow.device != 0 {
        sys::bind_to_interface(&socket, flow.device)?;
    }
    if let Some(source) = source(flow) {
        sys::bind_address_no_port(&socket)?;
        bind(&socket, &source)?;
    }
    let near = destination.ip().is_loopback();
    if near {
        sys::unpaced(socket.as_fd());
    }
    let destination = match destination {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, flow.device).into()
        }
        other => other,
    };
    match connect(&socket, &destination) {
        Ok(()) => Ok(Dialled::Connected(socket)),
        // On this host the other side has mostly answered by now.
        Err(Errno::INPROGRESS) if near && getpeername(&socket).is_ok() => {
            Ok(Dialled::Connected(socket))
        }
        Err(Errno::INPROGRESS) => Ok(Dialled::Connecting(socket)),
        Err(error) => Err(error.into()),
    }
}

/// The address that the client had bound, in the family of its destination.
fn source(flow: &Way) -> Option<SocketAddr> {
    let ip = Ipv6Addr::from(flow.source.address);
    if ip.is_unspecified() || ip.to_ipv4_mapped() == Some(Ipv4Addr::UNSPECIFIED) {
        return None;
    }
    let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
    Some(SocketAddr::new(ip, 0))
}
