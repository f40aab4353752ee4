//! The names of leaves: the certificates that clients are shown in servers' places.
//!
//! INVARIANT: who asks for a leaf and who signs it read names by the same grammar, and
//! know the same bounds. All that is asked for at once fits one message.

use std::fmt;
use std::net::IpAddr;

/// A name as a leaf bears it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeafName {
    /// In lower case; `*.` may stand before it.
    Dns(String),
    Address(IpAddr),
}

impl LeafName {
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        let fine = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let last = plain.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|b| b.is_ascii_digit());
        (name.len() <= 253 && plain.split('.').all(fine) && !numeric).then_some(Self::Dns(name))
    }

    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with("*."))
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Names of one leaf, and the bytes of them all.
pub const MOST_LEAF_NAMES: usize = 128;
pub const MOST_LEAF_NAME_BYTES: usize = 3 << 10;
/// What a server's chain may have, for a leaf to be signed by it: a server's own, two
/// intermediates, a cross-signed one and a root are five.
pub const MOST_CHAIN: usize = 8;
pub const MOST_CHAIN_BYTES: usize = 28 << 10;
