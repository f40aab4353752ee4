//! The names that a certificate bears: those a leaf in its place must bear.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Host names and addresses, as text, without doubles. A certificate without
/// subject names is for its common name.
pub fn names_of(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let mut names: Vec<String> = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => {
            extension.value.general_names.iter().filter_map(name).take(MOST).collect()
        }
        _ => Vec::new(),
    };
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().next();
        names.extend(common.and_then(|name| name.as_str().ok()).and_then(plausible));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => plausible(name),
        GeneralName::IPAddress(bytes) => {
            if let Ok(octets) = <[u8; 4]>::try_from(*bytes) {
                return Some(IpAddr::V4(Ipv4Addr::from(octets)).to_string());
            }
            let octets = <[u8; 16]>::try_from(*bytes).ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_string())
        }
        _ => None,
    }
}

/// A host name or an address; a common name may be anything.
fn plausible(name: &str) -> Option<String> {
    let fine = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | '_' | '*');
    let address = name.parse::<IpAddr>().is_ok();
    (address || (!name.is_empty() && name.len() <= 253 && name.chars().all(fine)))
        .then(|| name.to_ascii_lowercase())
}

/// A leaf with more names would not fit a message to the keeper.
const MOST: usize = 256;
