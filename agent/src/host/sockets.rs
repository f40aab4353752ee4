//! Listening TCP ports, and unix sockets that have a name.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::Running;

/// The state LISTEN in /proc/net/tcp.
const LISTEN: &str = "0A";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    pub address: IpAddr,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSocket {
    pub path: PathBuf,
    /// The network namespace it was seen in, where it could be told.
    pub netns: Option<u64>,
}

/// TCP listeners in this process's network namespace.
pub fn listening(root: &Path) -> Vec<Listening> {
    ["proc/net/tcp", "proc/net/tcp6"]
        .iter()
        .flat_map(|name| {
            let text = fs::read_to_string(root.join(name)).unwrap_or_default();
            text.lines().skip(1).filter_map(listener).collect::<Vec<_>>()
        })
        .collect()
}

/// `0: 0100007F:1538 00000000:0000 0A …`
fn listener(line: &str) -> Option<Listening> {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next()?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits, each as this machine stores it.
    let mut bytes = Vec::new();
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(Listening { address, port })
}

/// Named unix sockets of every network namespace that a process is in.
pub fn unix_sockets(root: &Path, processes: &[Running]) -> Vec<UnixSocket> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for process in processes {
        let Some(netns) = process.netns else { continue };
        if seen.insert(netns) {
            let file = root.join(format!("proc/{}/net/unix", process.pid));
            read_unix(&file, Some(netns), &mut found);
        }
    }
    if seen.is_empty() {
        read_unix(&root.join("proc/net/unix"), None, &mut found);
    }
    found.into_iter().collect()
}

fn read_unix(file: &Path, netns: Option<u64>, found: &mut BTreeSet<UnixSocket>) {
    let text = fs::read(file).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines().skip(1) {
        // Seven fields, then the path, blanks and all.
        let mut rest = line;
        for _ in 0..7 {
            rest = rest.trim_start();
            rest = rest.find(' ').and_then(|blank| rest.get(blank..)).unwrap_or_default();
        }
        let path = rest.trim_start();
        if path.starts_with('/') {
            found.insert(UnixSocket { path: path.into(), netns });
        }
    }
}
