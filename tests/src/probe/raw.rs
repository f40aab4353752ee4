//! A SYN made by hand, past every connect hook.

use std::io::Error;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::sys::{self, RawAddress};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawKind {
    /// The kernel makes the IP header.
    Tcp,
    /// The IP header is made by hand too (IPPROTO_RAW; IPv4 only).
    WholePacket,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawReport {
    pub pid: u32,
    /// sendto's; absent: it was sent.
    pub errno: Option<i32>,
    /// A SYN+ACK or RST came back from the destination's port.
    pub answered: bool,
}

/// Source and destination are the same loopback address.
pub fn syn(to: SocketAddr, kind: RawKind) -> Result<RawReport> {
    let (family, level) = match to {
        SocketAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_TCP),
        SocketAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_TCP),
    };
    if kind == RawKind::WholePacket && to.is_ipv6() {
        bail!("whole packets are made for IPv4 only");
    }
    let protocol = if kind == RawKind::WholePacket { libc::IPPROTO_RAW } else { level };
    let sender = sys::socket(family, libc::SOCK_RAW, protocol)?;
    // What hears the answer; made first, so that none is missed.
    let ear = sys::socket(family, libc::SOCK_RAW, libc::IPPROTO_TCP)?;
    let wait = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
    sys::set_option(ear.as_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, &wait)?;

    let from_port = 30_000 + (std::process::id() % 2_000) as u16;
    let segment = segment(to, from_port);
    let packet = if kind == RawKind::WholePacket { with_ip_header(to, &segment) } else { segment };
    // A raw socket's address has no port.
    let address = RawAddress::from(SocketAddr::new(to.ip(), 0));
    // SAFETY: buffer and address go with their lengths.
    let sent = unsafe {
        libc::sendto(
            sender.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            address.pointer(),
            address.length,
        )
    };
    let errno = (sent < 0).then(|| Error::last_os_error().raw_os_error()).flatten();
    let answered = hear(ear.as_fd().as_raw_fd(), to, from_port);
    Ok(RawReport { pid: std::process::id(), errno, answered })
}

fn hear(ear: i32, to: SocketAddr, port: u16) -> bool {
    let started = Instant::now();
    let mut buffer = [0_u8; 2048];
    while started.elapsed() < Duration::from_millis(500) {
        // SAFETY: the buffer is as long as said.
        let length = unsafe { libc::recv(ear, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let Ok(length) = usize::try_from(length) else { continue };
        let packet = &buffer[..length];
        let segment = match to {
            // A raw IPv4 socket is given the IP header as well.
            SocketAddr::V4(_) => {
                let header = packet.first().map_or(0, |byte| usize::from(byte & 15) * 4);
                packet.get(header..).unwrap_or_default()
            }
            SocketAddr::V6(_) => packet,
        };
        if let [a, b, c, d, _, _, _, _, _, _, _, _, _, flags, ..] = segment
            && u16::from_be_bytes([*a, *b]) == to.port()
            && u16::from_be_bytes([*c, *d]) == port
            && (flags & 0x12 == 0x12 || flags & 0x04 != 0)
        {
            return true;
        }
    }
    false
}

fn segment(to: SocketAddr, from_port: u16) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20);
    segment.extend_from_slice(&from_port.to_be_bytes());
    segment.extend_from_slice(&to.port().to_be_bytes());
    segment.extend_from_slice(&0x1234_5678_u32.to_be_bytes());
    segment.extend_from_slice(&0_u32.to_be_bytes());
    segment.extend_from_slice(&[5 << 4, 0x02]); // 20 bytes, SYN
    segment.extend_from_slice(&64_000_u16.to_be_bytes());
    segment.extend_from_slice(&[0; 4]); // checksum, urgent
    let mut pseudo = Vec::new();
    match to {
        SocketAddr::V4(v4) => {
            pseudo.extend_from_slice(&v4.ip().octets());
            pseudo.extend_from_slice(&v4.ip().octets());
            pseudo.extend_from_slice(&[0, 6]);
            pseudo.extend_from_slice(&20_u16.to_be_bytes());
        }
        SocketAddr::V6(v6) => {
            pseudo.extend_from_slice(&v6.ip().octets());
            pseudo.extend_from_slice(&v6.ip().octets());
            pseudo.extend_from_slice(&20_u32.to_be_bytes());
            pseudo.extend_from_slice(&[0, 0, 0, 6]);
        }
    }
    pseudo.extend_from_slice(&segment);
    let checksum = internet_checksum(&pseudo);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}

fn with_ip_header(to: SocketAddr, segment: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(v4) = to else { return segment.to_vec() };
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&((20 + segment.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend_from_slice(&v4.ip().octets());
    packet.extend_from_slice(&v4.ip().octets());
    let checksum = internet_checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(segment);
    packet
}

fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(high) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
