//! Connections older than the agent: found, then bound to their peer and
//! listed until they end, or ended.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tidegate_ebpf::{TOKEN_ADOPTED, Token};

use super::destinations::Destinations;
use super::processes::Processes;
use super::{Tokens, sys};
use crate::config::OnExisting;
use crate::model::{Adopted, Mode, OriginalDestination, Peer};

const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";

/// A connection, as /proc/net/tcp lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    local: SocketAddr,
    remote: SocketAddr,
    inode: u64,
}

/// One that was found, and what became of it.
#[derive(Debug)]
pub struct Found {
    pub adopted: Adopted,
    pub mode: Mode,
    pub kept: bool,
}

/// Looks through the host's processes for connections to protected
/// destinations whose socket is governed by `cgroup`, and deals with each.
pub fn deal(
    cgroup: &Governed,
    what: OnExisting,
    destinations: &Destinations,
    processes: &mut Processes,
    tokens: &mut Tokens<'_>,
) -> Vec<Found> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let inside: HashSet<u32> = pids_below(&cgroup.path).into_iter().collect();
    for (pid, inodes) in sockets_of_all() {
        for listed in listed_in(&format!("/proc/{pid}/net")) {
            let Some(mode) = destinations.protects(listed.remote) else { continue };
            let Some(number) = inodes.get(&listed.inode) else { continue };
            let Ok(socket) = borrow_socket(pid, *number) else { continue };
            // The hooks govern a socket by the cgroup that it was made in,
            // which the kernel tells only of our own network namespace; else
            // its holder's has to do. An earlier agent's own go on under the
            // token they have, and who shares a descriptor is asked once.
            let governs = cgroup_of_socket(&socket, &listed)
                .map_or_else(|| inside.contains(&pid), |id| cgroup.governs(id));
            if !governs || tokens.has(socket.as_fd()) || !seen.insert(listed.inode) {
                continue;
            }
            let Some(process) = processes.of_pid(pid) else { continue };
            let kept = what == OnExisting::Adopt && adopt(&socket, &listed, pid, tokens);
            if !kept {
                end(&socket, &listed);
            }
            let adopted = Adopted {
                process,
                client: Peer(listed.local),
                destination: OriginalDestination(listed.remote),
            };
            found.push(Found { adopted, mode, kept });
        }
    }
    found
}

/// The cgroup attached to, with all below it.
#[derive(Debug)]
pub struct Governed {
    path: PathBuf,
    ids: HashSet<u64>,
}

impl Governed {
    pub fn new(path: &Path) -> Self {
        let ids = folders_below(path)
            .iter()
            .filter_map(|folder| fs::metadata(folder).ok())
            .map(|data| data.ino())
            .collect();
        Self { path: path.to_owned(), ids }
    }

    fn governs(&self, id: u64) -> bool {
        self.ids.contains(&id)
    }
}

fn adopt(socket: &OwnedFd, listed: &Listed, pid: u32, tokens: &mut Tokens<'_>) -> bool {
    let destination = OriginalDestination(listed.remote).into();
    let purpose = Token { kind: TOKEN_ADOPTED, reserved: 0, destination, flow: 0 };
    let bound = tokens.bind(socket.as_fd(), purpose);
    if let Err(error) = &bound {
        tracing::warn!("cannot adopt a connection of pid {pid}: {error}");
    }
    bound.is_ok()
}

/// Which of the adopted are still there.
pub fn still_there(adopted: &[Adopted]) -> Vec<Adopted> {
    let mut lists: HashMap<u32, Vec<Listed>> = HashMap::new();
    adopted
        .iter()
        .filter(|one| {
            let pid = one.process.key.tgid;
            let list = lists.entry(pid).or_insert_with(|| listed_in(&format!("/proc/{pid}/net")));
            list.iter().any(|l| l.local == one.client.0 && l.remote == one.destination.0)
        })
        .cloned()
        .collect()
}

/// Every process below a cgroup.
fn pids_below(cgroup: &Path) -> Vec<u32> {
    folders_below(cgroup)
        .iter()
        .flat_map(|folder| {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

fn folders_below(cgroup: &Path) -> Vec<PathBuf> {
    let mut folders = vec![cgroup.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            inside
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        next += 1;
    }
    folders
}

/// Every process's sockets: inode to descriptor.
fn sockets_of_all() -> Vec<(u32, HashMap<u64, i32>)> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let mut inodes = HashMap::new();
            for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
                let Ok(target) = fs::read_link(entry.path()) else { continue };
                let inode = target
                    .to_str()
                    .and_then(|text| text.strip_prefix("socket:["))
                    .and_then(|text| text.strip_suffix(']'))
                    .and_then(|text| text.parse().ok());
                let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
                if let (Some(inode), Some(number)) = (inode, number) {
                    inodes.insert(inode, number);
                }
            }
            (!inodes.is_empty()).then_some((pid, inodes))
        })
        .collect()
}

fn borrow_socket(pid: u32, number: i32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, number, PidfdGetfdFlags::empty())?)
}

fn listed_in(folder: &str) -> Vec<Listed> {
    let mut all = Vec::new();
    for file in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("{folder}/{file}")).unwrap_or_default();
        all.extend(text.lines().skip(1).filter_map(parse));
    }
    all
}

fn parse(line: &str) -> Option<Listed> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != ESTABLISHED && state != SYN_SENT {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Listed { local: address(local)?, remote: address(remote)?, inode })
}

/// `0100007F:1538`: words in the machine's order, the port plain.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = if ip.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let mut octets = [0; 16];
        for (index, place) in octets.chunks_exact_mut(4).enumerate() {
            place.copy_from_slice(&word(index * 8)?);
        }
        let v6 = Ipv6Addr::from(octets);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    };
    Some(SocketAddr::new(ip, port))
}

/// Ends a connection: by SOCK_DESTROY where the kernel has it (both sides see
/// a reset), else by shutting it down.
fn end(socket: &OwnedFd, listed: &Listed) {
    if let Err(error) = destroy(socket, listed) {
        tracing::debug!("SOCK_DESTROY: {error}; shutting the connection down instead");
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
    }
}

fn destroy(socket: &OwnedFd, listed: &Listed) -> io::Result<()> {
    const SOCK_DESTROY: u16 = 21;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    let answer = diagnose(SOCK_DESTROY, REQUEST_AND_ACK, socket, listed)?;
    let error = answer
        .get(16..20)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(-libc::EPROTO, i32::from_ne_bytes);
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-error)) }
}

/// The id of the cgroup that a socket was made in; `None` when it isn't of our
/// network namespace, or the kernel doesn't tell.
fn cgroup_of_socket(socket: &OwnedFd, listed: &Listed) -> Option<u64> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1;
    const CGROUP_ID: u16 = 21;
    let answer = diagnose(SOCK_DIAG_BY_FAMILY, REQUEST, socket, listed).ok()?;
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if half(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    // struct nlmsghdr, struct inet_diag_msg, then attributes.
    let mut at = 16 + 72;
    loop {
        let (length, kind) = (usize::from(half(at)?), half(at + 2)?);
        if kind == CGROUP_ID {
            let id = answer.get(at + 4..at + 12)?.try_into().ok()?;
            return Some(u64::from_ne_bytes(id));
        }
        at += length.max(4).next_multiple_of(4);
    }
}

/// Asks sock_diag about one socket: struct nlmsghdr, then struct
/// inet_diag_req_v2 naming it by addresses and cookie.
fn diagnose(kind: u16, flags: u16, socket: &OwnedFd, listed: &Listed) -> io::Result<Vec<u8>> {
    let mut message = Vec::with_capacity(72);
    message.extend(72_u32.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    let cookie = sockopt::socket_cookie(socket)?;
    message.extend([0; 8]); // sequence, port
    let domain = sockopt::socket_domain(socket)?;
    let family = if domain == AddressFamily::INET { libc::AF_INET } else { libc::AF_INET6 };
    message.push(u8::try_from(family).unwrap_or_default());
    message.push(6); // TCP
    message.extend([0; 2]);
    message.extend(u32::MAX.to_ne_bytes()); // every state
    message.extend(listed.local.port().to_be_bytes());
    message.extend(listed.remote.port().to_be_bytes());
    for end in [listed.local, listed.remote] {
        let octets = match (end.ip(), family == libc::AF_INET) {
            (IpAddr::V4(v4), true) => {
                let mut octets = [0; 16];
                octets.iter_mut().zip(v4.octets()).for_each(|(place, byte)| *place = byte);
                octets
            }
            (IpAddr::V4(v4), false) => v4.to_ipv6_mapped().octets(),
            (IpAddr::V6(v6), _) => v6.octets(),
        };
        message.extend(octets);
    }
    message.extend(0_u32.to_ne_bytes()); // interface
    message.extend(cookie.to_ne_bytes());
    let protocol = rustix::net::netlink::SOCK_DIAG;
    let netlink = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )?;
    sys::destroy(netlink.as_fd(), &message)?;
    let mut answer = vec![0; 4096];
    let flags = rustix::net::RecvFlags::empty();
    let (length, _) = rustix::net::recv(&netlink, answer.as_mut_slice(), flags)?;
    answer.truncate(length);
    Ok(answer)
}

#[cfg(test)]
mod tests;
