//! The packets that the keeper sends in others' names, and only these: a SYN
//! that was held back, as it was; and the answer to one whose destination
//! could not be reached, a reset or an ICMP error.
//!
//! Parses headers that the host's own kernel has made; no byte of a database's
//! ever comes here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const SYN: u8 = 0x02;
const RST_ACK: u8 = 0x14;

/// A held SYN: who sent it to which listener, and its TCP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syn {
    pub source: SocketAddr,
    pub listener: SocketAddr,
    tcp: Vec<u8>,
}

impl Syn {
    /// Reads what the egress program kept. Data that a fast open put behind
    /// the header is left out: the client sends it again.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let byte = |at: usize| packet.get(at).copied();
        let (source, listener, tcp): (IpAddr, IpAddr, _) = match byte(0)? >> 4 {
            4 if byte(9)? == TCP => {
                let header = usize::from(byte(0)? & 0x0f) * 4;
                let ip = |at| {
                    let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::from(octets))
                };
                (ip(12)?, ip(16)?, packet.get(header..)?)
            }
            6 if byte(6)? == TCP => {
                let ip = |at| {
                    let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::from(octets))
                };
                (ip(8)?, ip(24)?, packet.get(40..)?)
            }
            _ => return None,
        };
        let length = usize::from(*tcp.get(12)? >> 4) * 4;
        if length < 20 || tcp.get(13)? & 0x3f != SYN {
            return None;
        }
        let tcp = tcp.get(..length)?.to_vec();
        let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
        Some(Self {
            source: SocketAddr::new(source, port(0)?),
            listener: SocketAddr::new(listener, port(2)?),
            tcp,
        })
    }

    /// The SYN, ready to be sent.
    pub fn packet(&self) -> Vec<u8> {
        datagram(self.source.ip(), self.listener.ip(), TCP, self.tcp.clone(), 16)
    }

    /// What the listener's kernel would say if nobody listened.
    pub fn reset(&self) -> Vec<u8> {
        let mut tcp = vec![0; 20];
        put(&mut tcp, 0, &self.listener.port().to_be_bytes());
        put(&mut tcp, 2, &self.source.port().to_be_bytes());
        put(&mut tcp, 8, &self.sequence().wrapping_add(1).to_be_bytes());
        put(&mut tcp, 12, &[0x50, RST_ACK]);
        datagram(self.listener.ip(), self.source.ip(), TCP, tcp, 16)
    }

    /// What a router would say that has no way to the destination.
    pub fn unreachable(&self, why: Unreachable) -> Vec<u8> {
        let quoted = self.packet();
        let mut message = vec![0; 8];
        match self.source.ip() {
            IpAddr::V4(_) => {
                let code = match why {
                    Unreachable::Network => 0,
                    Unreachable::Host => 1,
                    Unreachable::Prohibited => 13,
                };
                put(&mut message, 0, &[3, code]);
                message.extend(quoted);
                datagram(self.listener.ip(), self.source.ip(), ICMP, message, 2)
            }
            IpAddr::V6(_) => {
                let code = match why {
                    Unreachable::Network => 0,
                    Unreachable::Host => 3,
                    Unreachable::Prohibited => 1,
                };
                put(&mut message, 0, &[1, code]);
                message.extend(quoted);
                datagram(self.listener.ip(), self.source.ip(), ICMPV6, message, 2)
            }
        }
    }

    /// Asks for MPTCP: only the SYN tells, the hook sees the inner TCP socket.
    pub fn is_mptcp(&self) -> bool {
        const MPTCP: u8 = 30;
        let mut options = self.tcp.get(20..).unwrap_or_default();
        loop {
            match options {
                [MPTCP, ..] => return true,
                [1, rest @ ..] => options = rest,
                [0, ..] => return false,
                [_, length, ..] => {
                    let Some(rest) = options.get(usize::from((*length).max(2))..) else {
                        return false;
                    };
                    options = rest;
                }
                _ => return false,
            }
        }
    }

    fn sequence(&self) -> u32 {
        self.tcp.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Network,
    Host,
    Prohibited,
}

/// How a failed connect is told to the client, so that it sees the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Reset,
    Unreachable(Unreachable),
    /// It is left to its own timer, as it would be.
    Silence,
}

impl Answer {
    pub fn to(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENETUNREACH) => Self::Unreachable(Unreachable::Network),
            Some(libc::EHOSTUNREACH) => Self::Unreachable(Unreachable::Host),
            Some(libc::EACCES | libc::EPERM) => Self::Unreachable(Unreachable::Prohibited),
            Some(libc::ETIMEDOUT) => Self::Silence,
            _ => Self::Reset,
        }
    }
}

fn datagram(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    mut payload: Vec<u8>,
    checksum_at: usize,
) -> Vec<u8> {
    put(&mut payload, checksum_at, &[0, 0]);
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let pseudo = if protocol == TCP { pseudo4(from, to, protocol, length) } else { 0 };
            let sum = checksum(pseudo, &payload);
            put(&mut payload, checksum_at, &sum.to_be_bytes());
            let mut packet = vec![0; 20];
            put(&mut packet, 0, &[0x45, 0]);
            put(&mut packet, 2, &(length.saturating_add(20)).to_be_bytes());
            put(&mut packet, 6, &[0x40, 0, 64, protocol]);
            put(&mut packet, 12, &from.octets());
            put(&mut packet, 16, &to.octets());
            let sum = checksum(0, &packet);
            put(&mut packet, 10, &sum.to_be_bytes());
            packet.extend(payload);
            packet
        }
        (from, to) => {
            let (from, to) = (v6(from), v6(to));
            let sum = checksum(pseudo6(from, to, protocol, length), &payload);
            put(&mut payload, checksum_at, &sum.to_be_bytes());
            let mut packet = vec![0; 40];
            put(&mut packet, 0, &[0x60]);
            put(&mut packet, 4, &length.to_be_bytes());
            put(&mut packet, 6, &[protocol, 64]);
            put(&mut packet, 8, &from.octets());
            put(&mut packet, 24, &to.octets());
            packet.extend(payload);
            packet
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

fn pseudo4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: u16) -> u32 {
    sum(&from.octets()) + sum(&to.octets()) + u32::from(protocol) + u32::from(length)
}

fn pseudo6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, length: u16) -> u32 {
    sum(&from.octets()) + sum(&to.octets()) + u32::from(protocol) + u32::from(length)
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            u32::from(u16::from_be_bytes([high, low]))
        })
        .sum()
}

fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut total = start + sum(bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !u16::try_from(total).unwrap_or(0)
}

#[cfg(test)]
mod tests;
