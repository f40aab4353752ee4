//! One protected destination, as written: `PORT`, `HOST:PORT`, `CIDR:PORT`,
//! `[v6]:PORT`, with `,permissive`, `,strict` or `,exclude`, `,postgres` or `,unread`,
//! and `,environment=NAME` behind it.

use std::net::{IpAddr, Ipv6Addr};

use super::{Protect, ProtectTarget, Service};
use crate::model::{Mode, Protocol};

/// Ports that other databases are known by: MySQL and its X protocol, Redis,
/// SQL Server, Oracle, MongoDB and its shards, Cassandra, Elasticsearch and
/// OpenSearch, memcached, NATS, ClickHouse, InfluxDB, Neo4j, CouchDB, Db2,
/// Kafka.
const OTHERS: [u16; 29] = [
    3306, 33060, 6379, 6380, 1433, 1434, 1521, 2484, 27017, 27018, 27019, 9042, 9142, 9160, 9200,
    9300, 11211, 4222, 8123, 9000, 9440, 8086, 7473, 7474, 7687, 5984, 6984, 50000, 9092,
];

const FORMS: &str = "`5432`, `db.example:5432`, `10.0.0.0/8:5432` or `[2001:db8::/32]:5432`";

/// Reads a target with its options.
pub(super) fn parse(text: &str) -> Result<Protect, String> {
    let mut parts = text.split(',').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let target = target(name)?;
    let mut protect = Protect {
        name: name.into(),
        service: Service::of(usual_protocol(target.port())),
        target,
        mode: Mode::Strict,
        exclude: false,
        environment: None,
    };
    let (mut stance, mut protocol) = (None, None);
    for option in parts {
        if let Some(name) = option.strip_prefix("environment=") {
            let name = super::policy::environment(name)?;
            if let Some(before) = protect.environment.replace(name) {
                return Err(format!("`{text}` says `environment={before}` and more: choose one"));
            }
            continue;
        }
        let spoken = super::service::protocol(option).ok();
        let slot = if spoken.is_some() { &mut protocol } else { &mut stance };
        if let Some(before) = slot.replace(option) {
            return Err(format!("`{text}` says both `{before}` and `{option}`: choose one"));
        }
        match (option, spoken) {
            (_, Some(spoken)) => protect.service.protocol = spoken,
            ("exclude", _) => protect.exclude = true,
            (other, _) => protect.mode = option_of(other)?,
        }
    }
    if let (true, Some(protocol)) = (protect.exclude, protocol) {
        return Err(format!("`{text}`: what is left alone is not read: take out `{protocol}`"));
    }
    if let (true, Some(environment)) = (protect.exclude, &protect.environment) {
        return Err(format!(
            "`{text}`: what is left alone has no environment: take out `environment={environment}`"
        ));
    }
    Ok(protect)
}

/// What is spoken at a port where nothing else is said.
pub(super) fn usual_protocol(port: u16) -> Protocol {
    if OTHERS.contains(&port) { Protocol::Unread } else { Protocol::Postgres }
}

fn option_of(text: &str) -> Result<Mode, String> {
    mode(text).map_err(|_| {
        let known = ["strict", "permissive", "exclude", "postgres", "unread", "environment=NAME"];
        super::file::unknown("option", text, &known)
    })
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "strict" => Ok(Mode::Strict),
        "permissive" => Ok(Mode::Permissive),
        other => Err(super::file::unknown("mode", other, &["strict", "permissive"])),
    }
}

pub(super) fn target(text: &str) -> Result<ProtectTarget, String> {
    if text.is_empty() {
        return Err(format!("a destination is missing: write {FORMS}"));
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(ProtectTarget::Port(port(text, text)?));
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (address, after) = inside
            .split_once(']')
            .ok_or_else(|| format!("`{text}` has no `]`: write `[2001:db8::1]:5432`"))?;
        let digits = after
            .strip_prefix(':')
            .ok_or_else(|| format!("`{text}` has no port: write `[{address}]:5432`"))?;
        // The prefix may stand inside the brackets or behind them.
        if let Some((_, behind)) = digits.split_once('/') {
            return Err(format!(
                "`{text}` has `/{behind}` behind the port: write `[{address}/{behind}]:5432`"
            ));
        }
        let port = port(digits, text)?;
        return network(address, port, text);
    }
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 {
        return Err(format!(
            "`{text}` leaves open where the address ends: write IPv6 as `[2001:db8::1]:5432`"
        ));
    }
    let Some((host, digits)) = text.rsplit_once(':') else {
        return Err(format!("`{text}` has no port: write `{text}:5432`"));
    };
    if host.is_empty() || host == "*" {
        return Err(format!("`{text}`: a port on any address is written `{digits}`"));
    }
    let port = port(digits, text)?;
    if host.contains('/') || host.parse::<IpAddr>().is_ok() {
        return network(host, port, text);
    }
    Ok(ProtectTarget::Host { host: host_name(host)?, port })
}

fn port(digits: &str, text: &str) -> Result<u16, String> {
    let number = digits.parse::<u16>().ok().filter(|&port| port > 0);
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    number.filter(|_| plain).ok_or_else(|| {
        if digits == text {
            format!("`{text}` is not a port: they go from 1 to 65535")
        } else {
            format!("`{digits}` in `{text}` is not a port: they go from 1 to 65535")
        }
    })
}

fn network(text: &str, port: u16, whole: &str) -> Result<ProtectTarget, String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| format!("`{address}` in `{whole}` is not an IP address"))?;
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(digits) => {
            digits.parse::<u8>().ok().filter(|prefix| *prefix <= longest).ok_or_else(|| {
                format!("`/{digits}` in `{whole}` is not a prefix of 0 to {longest}")
            })?
        }
    };
    let masked = masked(address, prefix);
    if masked != address {
        return Err(format!(
            "`{whole}` has bits behind its prefix: write {} for the network, or {} for the one \
             address",
            written(masked, prefix, port),
            written(address, longest, port),
        ));
    }
    // IPv4 in IPv6's clothes is IPv4.
    if let IpAddr::V6(v6) = address {
        let holds_mapped = masked_v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), prefix) == v6;
        match v6.to_ipv4_mapped() {
            Some(v4) if prefix >= 96 => {
                let prefix = prefix - 96;
                return Ok(ProtectTarget::Network { address: v4.into(), prefix, port });
            }
            _ if prefix < 96 && holds_mapped => {
                return Err(format!(
                    "`{whole}` would take in every IPv4 address too (the kernel keeps them in \
                     ::ffff:0:0/96): write `{port}` for both, or `[2000::/3]:{port}` for global IPv6"
                ));
            }
            _ => {}
        }
    }
    Ok(ProtectTarget::Network { address, prefix, port })
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => IpAddr::V6(masked_v6(v6, prefix)),
    }
}

fn masked_v6(v6: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    (v6.to_bits() & mask).into()
}

/// As it would be written in the file, in backticks.
fn written(address: IpAddr, prefix: u8, port: u16) -> String {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let slash = if prefix == whole { String::new() } else { format!("/{prefix}") };
    match address {
        IpAddr::V4(v4) => format!("`{v4}{slash}:{port}`"),
        IpAddr::V6(v6) => format!("`[{v6}{slash}]:{port}`"),
    }
}

pub(super) fn host_name(host: &str) -> Result<String, String> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(fine) {
        return Err(format!("`{host}` is neither an address nor a host name: write {FORMS}"));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{host}` is not an IPv4 address, and no host name ends in a number"));
    }
    Ok(name)
}

/// Whether all that `inner` stands for is in `outer`, as far as that can be
/// said without resolving names.
pub(super) fn within(inner: &ProtectTarget, outer: &ProtectTarget) -> bool {
    match (inner, outer) {
        (inner, ProtectTarget::Port(port)) => inner.port() == *port,
        // A name may stand for any address, and any address for a name.
        (ProtectTarget::Host { .. }, ProtectTarget::Network { .. })
        | (ProtectTarget::Network { .. }, ProtectTarget::Host { .. }) => {
            inner.port() == outer.port()
        }
        (
            ProtectTarget::Network { address, prefix, port },
            ProtectTarget::Network { address: wide, prefix: short, port: same },
        ) => {
            port == same
                && prefix >= short
                && address.is_ipv4() == wide.is_ipv4()
                && masked(*address, *short) == *wide
        }
        (inner, outer) => inner == outer,
    }
}

impl ProtectTarget {
    pub fn port(&self) -> u16 {
        match self {
            Self::Port(port) | Self::Network { port, .. } | Self::Host { port, .. } => *port,
        }
    }

    /// Reads `5432`, `db.example:5432`, `10.0.0.0/8:5432`, `[2001:db8::1]:5432`.
    pub fn parse(text: &str) -> Result<Self, String> {
        target(text)
    }

    /// Whether all of it is in `outer`, as far as that can be said without
    /// resolving names.
    pub fn is_within(&self, outer: &Self) -> bool {
        within(self, outer)
    }

    /// Whether this address is in it; a host name says nothing of that.
    pub fn holds(&self, address: IpAddr, port: u16) -> bool {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        match self {
            Self::Host { .. } => false,
            wide => within(&Self::Network { address, prefix, port }, wide),
        }
    }
}
