//! The names that a certificate bears: those a leaf in its place must bear.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::{LeafName, MOST_LEAF_NAME_BYTES, MOST_LEAF_NAMES};

/// Host names and addresses, as text, without doubles. A certificate without
/// subject names is for its common name.
pub fn names_of(certificate: &[u8]) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let mut names = subjects(&parsed);
    if names.is_empty() {
        let common = parsed.subject().iter_common_name().next();
        names.extend(common.and_then(|name| name.as_str().ok()).and_then(LeafName::parse));
    }
    bounded(names)
}

/// Those that whoever verifies would take it for, and so the keeper signs: what clients
/// ask for first (`asked`), where the certificate covers that, if only by a wildcard.
pub fn verified_names(certificate: &[u8], asked: &[Option<&str>]) -> Vec<String> {
    let der = CertificateDer::from(certificate);
    let (Ok((_, parsed)), Ok(checked)) =
        (X509Certificate::from_der(certificate), ParsedCertificate::try_from(&der))
    else {
        return Vec::new();
    };
    let asked = asked.iter().flatten().filter_map(|name| LeafName::parse(name));
    let plain = asked.filter(|name| !name.is_wildcard());
    bounded(plain.chain(subjects(&parsed)).filter(|name| covers(&checked, name)).collect())
}

fn covers(certificate: &ParsedCertificate<'_>, name: &LeafName) -> bool {
    let server = match name {
        LeafName::Address(address) => Ok(ServerName::from(*address)),
        // It is for whatever stands in the star's place.
        LeafName::Dns(text) => ServerName::try_from(match text.strip_prefix("*.") {
            Some(rest) => format!("any.{rest}"),
            None => text.clone(),
        }),
    };
    server.is_ok_and(|server| verify_server_name(certificate, &server).is_ok())
}

fn subjects(certificate: &X509Certificate<'_>) -> Vec<LeafName> {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    }
}

fn name(name: &GeneralName<'_>) -> Option<LeafName> {
    match name {
        GeneralName::DNSName(name) => LeafName::parse(name),
        GeneralName::IPAddress(bytes) => {
            if let Ok(octets) = <[u8; 4]>::try_from(*bytes) {
                return Some(LeafName::Address(IpAddr::V4(Ipv4Addr::from(octets))));
            }
            let octets = <[u8; 16]>::try_from(*bytes).ok()?;
            Some(LeafName::Address(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()))
        }
        _ => None,
    }
}

/// The first of them, as many as a leaf takes.
fn bounded(names: Vec<LeafName>) -> Vec<String> {
    let mut left = MOST_LEAF_NAME_BYTES;
    let mut kept: Vec<String> = Vec::new();
    for text in names.into_iter().map(|name| name.to_string()) {
        if kept.len() < MOST_LEAF_NAMES && text.len() <= left && !kept.contains(&text) {
            left -= text.len();
            kept.push(text);
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests;
