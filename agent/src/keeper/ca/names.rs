//! Names in certificates, and which of them a CA may sign.
//!
//! RFC 5280's constraints count per form: a list that permits host names only
//! says nothing of addresses. So a CA that is for host names excludes all
//! addresses, and one that is for addresses all host names.

use std::fmt;
use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use x509_parser::extensions::{GeneralName, GeneralSubtree as Subtree};
use x509_parser::prelude::X509Certificate;

pub use crate::model::LeafName as Name;

/// What a CA is for: one host name with those below it, or one network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permit {
    Dns(String),
    Network { address: IpAddr, prefix: u8 },
}

impl Permit {
    /// `db.example`, `10.0.0.0/8`, `2001:db8::1`
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = match prefix {
                None => longest,
                Some(digits) => digits.parse().ok().filter(|p| *p <= longest).ok_or_else(|| {
                    format!("`/{digits}` in `{text}` is not a prefix of 0 to {longest}")
                })?,
            };
            return Ok(Self::Network { address, prefix });
        }
        match Name::parse(text.trim_start_matches('.')) {
            Some(Name::Dns(name)) if !name.starts_with("*.") => Ok(Self::Dns(name)),
            Some(Name::Dns(name)) => {
                let plain = name.trim_start_matches("*.");
                Err(format!("`{text}`: write `{plain}`, which permits what is below it too"))
            }
            _ => Err(format!(
                "`{text}` is neither a host name nor a network, such as `db.example` or \
                 `10.0.0.0/8`"
            )),
        }
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

/// As the certificate says them. Nothing permitted and nothing excluded: free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    permitted_dns: Vec<String>,
    excluded_dns: Vec<String>,
    permitted: Vec<Network>,
    excluded: Vec<Network>,
}

/// Address and mask, 4 or 16 bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    address: Vec<u8>,
    mask: Vec<u8>,
}

impl Constraints {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Result<Self, String> {
        let extension = certificate.name_constraints().map_err(|error| error.to_string())?;
        let Some(extension) = extension else { return Ok(Self::default()) };
        let split = |subtrees: &Option<Vec<Subtree<'_>>>| {
            let (mut names, mut networks) = (Vec::new(), Vec::new());
            for subtree in subtrees.iter().flatten() {
                match &subtree.base {
                    GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(bytes) => {
                        let (address, mask) = bytes.split_at(bytes.len() / 2);
                        networks.push(Network { address: address.into(), mask: mask.into() });
                    }
                    // Of forms that our leaves don't have.
                    _ => {}
                }
            }
            (names, networks)
        };
        let (permitted_dns, permitted) = split(&extension.value.permitted_subtrees);
        let (excluded_dns, excluded) = split(&extension.value.excluded_subtrees);
        Ok(Self { permitted_dns, excluded_dns, permitted, excluded })
    }

    /// Whether the CA is free to sign anything.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    pub fn permit(&self, name: &Name) -> bool {
        match name {
            Name::Dns(name) => {
                let plain = name.strip_prefix("*.").unwrap_or(name);
                // A wildcard reaches into what is excluded below it.
                let excluded = self.excluded_dns.iter().any(|base| {
                    below(plain, base)
                        || (plain != name && below(base.trim_start_matches('.'), plain))
                });
                let permitted = self.permitted_dns.is_empty()
                    || self.permitted_dns.iter().any(|base| below(name, base));
                permitted && !excluded
            }
            Name::Address(address) => {
                let bytes: Vec<u8> = match address {
                    IpAddr::V4(v4) => v4.octets().into(),
                    IpAddr::V6(v6) => v6.octets().into(),
                };
                let within = |network: &Network| network.holds(&bytes);
                let permitted = self.permitted.is_empty() || self.permitted.iter().any(within);
                permitted && !self.excluded.iter().any(within)
            }
        }
    }

    /// What is permitted, for people; empty where that is everything.
    pub fn shown(&self) -> Vec<String> {
        let names = self.permitted_dns.iter().cloned();
        names.chain(self.permitted.iter().map(Network::shown)).collect()
    }
}

/// RFC 5280 for host names: the base itself, and all that has labels before it.
/// An empty base is everything.
fn below(name: &str, base: &str) -> bool {
    if base.is_empty() {
        return true;
    }
    match name.strip_suffix(base) {
        Some("") => !base.starts_with('.'),
        Some(before) => before.ends_with('.') || base.starts_with('.'),
        None => false,
    }
}

impl Network {
    fn holds(&self, address: &[u8]) -> bool {
        address.len() == self.address.len()
            && address
                .iter()
                .zip(&self.address)
                .zip(&self.mask)
                .all(|((one, other), mask)| one & mask == other & mask)
    }

    fn shown(&self) -> String {
        let bits: u32 = self.mask.iter().map(|byte| byte.count_ones()).sum();
        let v4 = <[u8; 4]>::try_from(self.address.as_slice()).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(self.address.as_slice()).map(IpAddr::from);
        match v4.or(v6) {
            Ok(address) => format!("{address}/{bits}"),
            Err(_) => "an unreadable network".into(),
        }
    }
}

/// The extension for a CA that is for these and nothing else.
pub(super) fn extension(permits: &[Permit]) -> NameConstraints {
    let mut permitted = Vec::new();
    let (mut dns, mut v4, mut v6) = (false, false, false);
    for permit in permits {
        permitted.push(match permit {
            Permit::Dns(name) => {
                dns = true;
                GeneralSubtree::DnsName(name.clone())
            }
            Permit::Network { address, prefix } => {
                v4 |= address.is_ipv4();
                v6 |= address.is_ipv6();
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *prefix))
            }
        });
    }
    // The forms that are not named. IPv4 and IPv6 are one form; but verifiers
    // differ in whether a list of the one speaks of the other.
    let mut excluded = Vec::new();
    if !dns {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    if !v4 {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
    }
    if !v6 {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}
