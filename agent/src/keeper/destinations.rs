//! Protected destinations: settings → the kernel's table, host names followed.
//!
//! INVARIANT: an entry is taken out of the kernel only when what stands for it
//! now is in already; and a name that can't be resolved takes nothing out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use aya::maps::lpm_trie::Key;
use tidegate_ebpf::{DestinationKey, RULE_CANARY, RULE_EXCLUDE, RULE_STRICT, Rule};

use super::KeeperError;
use super::abi::Plain;
use super::hooks::Maps;
use crate::config::{Protect, ProtectTarget};
use crate::model::{CANARY_RULE, DestinationReport, Mode};

const PORT_BITS: u32 = 16;
const ADDRESS_BITS: u32 = 128;

/// Prefix length and key of an entry.
type Entry = (u32, DestinationKey);

#[derive(Debug, Default)]
struct Name {
    /// When each address was last an answer.
    addresses: HashMap<IpAddr, Instant>,
    error: Option<String>,
}

#[derive(Debug)]
pub struct Destinations {
    protect: Vec<Protect>,
    canary: Option<SocketAddr>,
    names: BTreeMap<String, Name>,
    /// Rules by id; ids are never given twice.
    rules: Vec<(String, Mode)>,
    installed: HashMap<Entry, Rule>,
    ports: Vec<u64>,
    listen_port: u16,
}

impl Destinations {
    /// Takes over what the kernel's table holds from an earlier keeper.
    pub fn new(maps: &Maps, listen_port: u16) -> Self {
        let mut installed = HashMap::new();
        for key in maps.destinations.keys().flatten() {
            let prefix = key.prefix_len();
            let Plain(data) = key.data();
            if let Ok(Plain(rule)) = maps.destinations.get(&key, 0) {
                installed.insert((prefix, data), rule);
            }
        }
        let ports = (0..1024).map(|index| maps.ports.get(&index, 0).unwrap_or(0)).collect();
        Self {
            protect: Vec::new(),
            canary: None,
            names: BTreeMap::new(),
            rules: Vec::new(),
            installed,
            ports,
            listen_port,
        }
    }

    pub fn set(&mut self, protect: &[Protect]) {
        self.protect = protect.to_vec();
        let hosts = self.hosts();
        self.names.retain(|host, _| hosts.contains(host));
        for host in hosts {
            self.names.entry(host).or_default();
        }
    }

    pub fn set_canary(&mut self, canary: SocketAddr) {
        self.canary = Some(canary);
    }

    /// The host names to resolve.
    pub fn hosts(&self) -> Vec<String> {
        hosts_of(&self.protect)
    }

    /// Notes what a name resolved to. Addresses that it no longer has stay for
    /// `grace`.
    pub fn resolved(&mut self, host: &str, answer: Result<Vec<IpAddr>, String>, grace: Duration) {
        let Some(name) = self.names.get_mut(host) else { return };
        match answer {
            Ok(addresses) => {
                let now = Instant::now();
                for address in addresses {
                    name.addresses.insert(address, now);
                }
                name.addresses.retain(|_, seen| now.duration_since(*seen) <= grace);
                name.error = None;
            }
            Err(error) => name.error = Some(error),
        }
    }

    /// The name and mode of a rule.
    pub fn rule(&self, id: u32) -> Option<(&str, Mode)> {
        let (name, mode) = self.rules.get(usize::try_from(id).ok()?)?;
        Some((name, *mode))
    }

    /// Whether, and how, an address is protected: the longest prefix decides, as
    /// it does in the kernel.
    pub fn protects(&self, to: SocketAddr) -> Option<Mode> {
        let wanted = key(to.port(), v6(to.ip()));
        let (_, rule) = self
            .installed
            .iter()
            .filter(|((prefix, key), _)| {
                key.port == wanted.port
                    && agree(&key.address, &wanted.address, prefix.saturating_sub(PORT_BITS))
            })
            .max_by_key(|((prefix, _), _)| *prefix)?;
        match rule.flags {
            flags if flags & RULE_EXCLUDE != 0 => None,
            flags if flags & RULE_STRICT != 0 => Some(Mode::Strict),
            _ => Some(Mode::Permissive),
        }
    }

    /// Brings the kernel's table to what is wanted now.
    pub fn install(&mut self, maps: &mut Maps) -> Result<(), KeeperError> {
        let wanted = self.wanted();
        let mut ports = vec![0_u64; 1024];
        let mut add_port = |port: u16| {
            if let Some(word) = ports.get_mut(usize::from(port >> 6)) {
                *word |= 1 << (port & 63);
            }
        };
        add_port(self.listen_port);
        for (entry, rule) in &wanted {
            add_port(u16::from_be_bytes(entry.1.port));
            if self.installed.get(entry) != Some(rule) {
                maps.destinations
                    .insert(&Key::new(entry.0, Plain(entry.1)), Plain(*rule), 0)
                    .map_err(|error| KeeperError::map("DESTINATIONS", &error))?;
            }
        }
        for (index, word) in ports.iter().enumerate() {
            if self.ports.get(index) != Some(word) {
                maps.ports
                    .set(u32::try_from(index).unwrap_or_default(), word, 0)
                    .map_err(|error| KeeperError::map("PORTS", &error))?;
            }
        }
        for entry in self.installed.keys().filter(|entry| !wanted.contains_key(*entry)) {
            let _ = maps.destinations.remove(&Key::new(entry.0, Plain(entry.1)));
        }
        self.ports = ports;
        self.installed = wanted;
        Ok(())
    }

    pub fn reports(&self) -> Vec<DestinationReport> {
        self.protect
            .iter()
            .filter(|protect| !protect.exclude)
            .map(|protect| {
                let name = match &protect.target {
                    ProtectTarget::Host { host, .. } => self.names.get(host),
                    _ => None,
                };
                let mut addresses: Vec<String> = name
                    .iter()
                    .flat_map(|name| name.addresses.keys())
                    .map(ToString::to_string)
                    .collect();
                addresses.sort();
                DestinationReport {
                    name: protect.name.clone(),
                    mode: protect.mode,
                    addresses,
                    error: name.and_then(|name| name.error.clone()),
                }
            })
            .collect()
    }

    fn wanted(&mut self) -> HashMap<Entry, Rule> {
        let mut wanted = HashMap::new();
        let mut held = HashSet::new();
        for protect in self.protect.clone() {
            let id = self.id(&protect.name, protect.mode);
            let mut flags = 0;
            if protect.mode == Mode::Strict {
                flags |= RULE_STRICT;
            }
            if protect.exclude {
                flags |= RULE_EXCLUDE;
            }
            let rule = Rule { id, flags };
            match &protect.target {
                ProtectTarget::Port(port) => {
                    wanted.insert((PORT_BITS, key(*port, Ipv6Addr::UNSPECIFIED)), rule);
                }
                ProtectTarget::Network { address, prefix, port } => {
                    let above = if address.is_ipv4() { 96 } else { 0 };
                    let bits = PORT_BITS + above + u32::from(*prefix);
                    wanted.insert((bits, key(*port, v6(*address))), rule);
                }
                ProtectTarget::Host { host, port } => {
                    let name = self.names.get(host);
                    for address in name.iter().flat_map(|name| name.addresses.keys()) {
                        wanted.insert((PORT_BITS + ADDRESS_BITS, key(*port, v6(*address))), rule);
                    }
                    if name.is_none_or(|name| name.addresses.is_empty()) {
                        held.insert((port.to_be_bytes(), rule.id, rule.flags));
                    }
                }
            }
        }
        // A name that has not resolved yet keeps what an earlier keeper knew
        // of it: which of the single addresses on its port were its own isn't
        // written down, so it keeps them all.
        for (port, id, flags) in held {
            for entry in self.installed.keys() {
                if entry.0 == PORT_BITS + ADDRESS_BITS && entry.1.port == port {
                    wanted.entry(*entry).or_insert(Rule { id, flags });
                }
            }
        }
        if let Some(canary) = self.canary {
            let id = self.id(CANARY_RULE, Mode::Strict);
            let entry = (PORT_BITS + ADDRESS_BITS, key(canary.port(), v6(canary.ip())));
            wanted.insert(entry, Rule { id, flags: RULE_STRICT | RULE_CANARY });
        }
        wanted
    }

    fn id(&mut self, name: &str, mode: Mode) -> u32 {
        let known = self.rules.iter().position(|(known, its)| known == name && *its == mode);
        let index = known.unwrap_or_else(|| {
            self.rules.push((name.to_owned(), mode));
            self.rules.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

/// The host names among destinations.
pub fn hosts_of(protect: &[Protect]) -> Vec<String> {
    let mut hosts: Vec<String> = protect
        .iter()
        .filter_map(|protect| match &protect.target {
            ProtectTarget::Host { host, .. } => Some(host.clone()),
            _ => None,
        })
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn key(port: u16, address: Ipv6Addr) -> DestinationKey {
    DestinationKey { port: port.to_be_bytes(), address: address.octets(), reserved: [0; 2] }
}

/// Are the first `bits` bits the same?
fn agree(one: &[u8; 16], other: &[u8; 16], bits: u32) -> bool {
    let difference = u128::from_be_bytes(*one) ^ u128::from_be_bytes(*other);
    difference.leading_zeros() >= bits
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests;
