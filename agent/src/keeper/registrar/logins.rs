//! Logins by SSH: where they came from, and with which key.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Mutex;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::lock;
use super::memory::Memory;
use super::proc;
use crate::identity::{Accepted, Login, Seen, accepted};

/// Where the host logs who logs in.
const LOGS: [&str; 2] = ["/var/log/auth.log", "/var/log/secure"];
/// Of a log's end so much is read.
const LOG_TAIL: u64 = 512 * 1024;
/// Of the table of connections.
const LONGEST_TABLE: u64 = 8 * 1024 * 1024;
const MOST_DESCRIPTORS: usize = 256;
const MOST_KNOWN: usize = 1024;
/// sshd's own names for what it shows a session, so that nobody makes the
/// keeper read another file.
const SHOWN_KEYS: &str = "/tmp/sshauth.";
const LONGEST_KEY: u64 = 16 * 1024;

/// The sshds that serve a login, by pid and start: the nearest to the session first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LoginKey(pub Vec<(u32, u64)>);

/// By the sshd that is nearest.
#[derive(Debug, Default)]
pub(super) struct Logins {
    known: Mutex<HashMap<(u32, u64), Login>>,
}

impl Logins {
    /// Of the sshd nearest to the process, if it descends from one.
    pub fn of(
        &self,
        process: &Seen,
        ancestors: &[Seen],
        memory: &Memory,
    ) -> Option<(LoginKey, Login)> {
        let is_sshd = |seen: &Seen| matches!(seen.program(), "sshd" | "sshd-session");
        let nearest = ancestors.iter().position(is_sshd)?;
        let daemons: Vec<&Seen> = ancestors.iter().skip(nearest).filter(|s| is_sshd(s)).collect();
        let all = LoginKey(daemons.iter().map(|sshd| (sshd.pid, sshd.started)).collect());
        let key = *all.0.first()?;
        if let Some(known) = lock(&self.known).get(&key) {
            return Some((all, known.clone()));
        }
        let peer = daemons.iter().find_map(|sshd| peer_of(sshd.pid));
        let logged = daemons.iter().find_map(|sshd| logged(sshd.pid));
        // The session's first process: the one right below sshd.
        let leader = nearest.checked_sub(1).and_then(|at| ancestors.get(at)).unwrap_or(process);
        let said = memory
            .read(leader.pid, leader.uid, || {
                proc::variable(leader.pid, leader.started, &["SSH_CONNECTION", "SSH_USER_AUTH"])
            })
            .flatten()
            .unwrap_or_default();
        let said = |name: &str| said.iter().find(|(known, _)| known == name).map(|(_, v)| v);
        let login = Login {
            peer,
            logged,
            connection: said("SSH_CONNECTION").map(|text| crate::model::cut(text, 128)),
            shown_key: said("SSH_USER_AUTH").and_then(|path| shown_key(path)),
        };
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(key, login.clone());
        Some((all, login))
    }

    /// What was found in a log of a login that is known.
    pub fn logged(&self, key: &LoginKey) -> Option<Accepted> {
        lock(&self.known).get(key.0.first()?)?.logged.clone()
    }

    /// The same, once it was found.
    pub fn keep(&self, key: &LoginKey, found: &Accepted) {
        let mut known = lock(&self.known);
        if let Some(login) = key.0.first().and_then(|key| known.get_mut(key)) {
            login.logged.get_or_insert_with(|| found.clone());
        }
    }
}

/// The far end of the connection that an sshd holds.
fn peer_of(pid: u32) -> Option<String> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().take(MOST_DESCRIPTORS) {
        let link = fs::read_link(entry.path()).ok();
        let inode = link.as_deref().and_then(|link| {
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        inodes.extend(inode);
    }
    ["tcp", "tcp6"].iter().find_map(|name| {
        let mut text = String::new();
        let file = File::open(format!("/proc/{pid}/net/{name}")).ok()?;
        file.take(LONGEST_TABLE).read_to_string(&mut text).ok()?;
        text.lines().skip(1).find_map(|line| remote(line, &inodes)).map(|ip| ip.to_string())
    })
}

/// `0: 0100007F:0016 0200007F:C001 01 … inode` of a connection among these.
fn remote(line: &str, inodes: &[u64]) -> Option<IpAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, state) = (fields.get(2)?, fields.get(3)?);
    let inode = fields.get(9)?.parse().ok()?;
    if *state != "01" || !inodes.contains(&inode) {
        return None;
    }
    let (address, _) = address.split_once(':')?;
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
    Some(address.to_canonical())
}

fn logged(sshd: u32) -> Option<Accepted> {
    LOGS.iter().find_map(|path| {
        let mut file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL))).ok()?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        text.lines().rev().find_map(|line| accepted(line, sshd))
    })
}

/// `publickey ssh-ed25519 AAAA…`, of which the fingerprint.
fn shown_key(path: &str) -> Option<String> {
    let name = path.strip_prefix(SHOWN_KEYS)?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    // Anybody may write there: no link, no device, no pipe is followed.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let data = file.metadata().ok()?;
    if !data.is_file() || data.nlink() != 1 {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST_KEY).read_to_string(&mut text).ok()?;
    fingerprint(&text)
}

fn fingerprint(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("publickey "))?;
    let key = line.split(' ').nth(1)?;
    let key = STANDARD.decode(key.trim()).ok()?;
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_end_of_a_socket_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let line = "   0: 0100007F:0016 070200C0:C001 01 00000000:00000000 02:0000 00000000     0        0 4242 2";
        assert_eq!(remote(line, &[4242]), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(remote(line, &[1]), None);
        assert_eq!(remote(&line.replace(" 01 ", " 0A "), &[4242]), None);
        let mapped = "0: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF0000070200C0:C001 01 0 0 0 0 0 7";
        assert_eq!(remote(mapped, &[7]), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(remote("", &[7]), None);
        drop(listener);
    }

    /// As `ssh-keygen -lf` prints it.
    #[test]
    fn fingerprints_are_as_ssh_keygen_prints_them() {
        let text = "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n";
        assert_eq!(
            fingerprint(text).as_deref(),
            Some("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU")
        );
        assert_eq!(fingerprint("password\n"), None);
        assert_eq!(fingerprint("publickey x !!!\n"), None);
    }

    #[test]
    fn only_sshds_own_files_are_read() {
        for path in
            ["/etc/shadow", "/tmp/sshauth.", "/tmp/sshauth.../../etc/shadow", "/tmp/sshauth.a/b"]
        {
            assert_eq!(shown_key(path), None, "{path}");
        }
    }
}
