//! A connection of the agent's own commands that goes past the gate: root may
//! mark a socket with a token for the one destination that it is to have.
//!
//! Never: a socket marked for whatever it connects to next.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use aya::maps::{Map, MapData, SkStorage};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use tidegate_ebpf::{PIN_FOLDER, TOKEN_UPSTREAM, Token};

use super::abi::Plain;
use crate::model::OriginalDestination;

/// Connects past the gate, where there is one; within the time that also each
/// read and write then has.
pub fn dial(bpffs: &Path, to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let pin = bpffs.join(PIN_FOLDER).join("TOKENS");
    // Without a gate there is nothing to go past. Who may not even look is told
    // by the map.
    let gate = !matches!(pin.try_exists(), Ok(false));
    if gate {
        let map = MapData::from_pin(&pin).map_err(|error| {
            io::Error::other(format!("cannot go past the gate ({error}): run it as root"))
        })?;
        let mut tokens: SkStorage<MapData, Plain<Token>> =
            Map::SkStorage(map).try_into().map_err(io::Error::other)?;
        let destination = OriginalDestination(to).into();
        let token = Token { kind: TOKEN_UPSTREAM, reserved: 0, destination, flow: 0 };
        tokens.insert(&socket.as_fd().as_raw_fd(), Plain(token), 0).map_err(io::Error::other)?;
    }
    // The time to write is the time to connect, too.
    for which in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&socket, which, Some(within))?;
    }
    connect(&socket, &to).map_err(|error| match error {
        rustix::io::Errno::INPROGRESS => io::Error::from(io::ErrorKind::TimedOut),
        other => other.into(),
    })?;
    Ok(socket.into())
}
