//! Who may be signed, and how a leaf looks. No I/O.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::Wanted;
use crate::keeper::ca::{self, Authority, Name};
use crate::keeper::terms::{Ground, Grounds};
use crate::model::{MOST_CHAIN, MOST_CHAIN_BYTES, MOST_LEAF_NAMES, Protocol, Verify};

const HOUR: i64 = 3600;
/// Of a leaf. It is made anew long before.
const LIFE: i64 = 24 * HOUR;
/// Clocks of containers and hosts differ a little.
const BACKDATED: i64 = HOUR;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no CA: `tidegate ca init` makes one")]
    NoAuthority,
    #[error("`{0}` is no protected destination any more")]
    NotProtected(String),
    #[error("connections to `{0}` are not read: nobody's TLS is ended there")]
    Unread(String),
    #[error("{0} names are wanted: 1 to {MOST_LEAF_NAMES} are signed")]
    Names(usize),
    #[error("one of the names wanted is none")]
    NotAName,
    #[error("the key is not an ECDSA P-256 key")]
    Key,
    #[error("a chain of {0} certificates ({1} bytes) is not looked at")]
    Chain(usize, usize),
    #[error(
        "`{0}` is not configured for this destination, and the server's certificate proves nothing with `verify = \"none\"`"
    )]
    Unverified(Name),
    #[error(
        "`{name}` is not configured for this destination, and the server's chain is not good: {why}"
    )]
    BadChain { name: Name, why: String },
    #[error(
        "`{name}` is not configured for this destination, and the server's certificate is not for `{expected}`"
    )]
    OtherServer { name: Name, expected: Name },
    #[error(
        "`{0}` is neither configured for this destination nor borne by the server's certificate"
    )]
    Foreign(Name),
    #[error("the leaf could not be made: {0}")]
    Made(String),
}

/// The leaf as DER.
pub(super) fn sign(
    grounds: &Grounds,
    rule: &str,
    destination: IpAddr,
    wanted: &Wanted,
    now: i64,
) -> Result<Vec<u8>, Refusal> {
    let authority = grounds.authority.as_ref().ok_or(Refusal::NoAuthority)?;
    let ground = grounds
        .destinations
        .get(rule)
        .ok_or_else(|| Refusal::NotProtected(rule.chars().take(256).collect()))?;
    if ground.protocol == Protocol::Unread {
        return Err(Refusal::Unread(rule.to_owned()));
    }
    if wanted.names.is_empty() || wanted.names.len() > MOST_LEAF_NAMES {
        return Err(Refusal::Names(wanted.names.len()));
    }
    let mut names = Vec::new();
    for text in &wanted.names {
        let name = Name::parse(text).ok_or(Refusal::NotAName)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let key = SubjectPublicKeyInfo::from_der(&wanted.key).map_err(|_| Refusal::Key)?;
    // An uncompressed point: 4, x, y.
    let point = key.der_bytes();
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 || point.len() != 65 || point.first() != Some(&4)
    {
        return Err(Refusal::Key);
    }
    let configured = |name: &Name| {
        *name == Name::Address(destination.to_canonical()) || ground.configured.contains(name)
    };
    if let Some(name) = names.iter().find(|name| !configured(name)) {
        let chain: Vec<CertificateDer<'_>> =
            wanted.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let server = Server::verified(ground, &chain, name, now)?;
        if let Some(name) = names.iter().find(|name| !configured(name) && !server.bears(name)) {
            return Err(Refusal::Foreign(name.clone()));
        }
    }
    make(authority, &key, &names, now)
}

/// A server whose chain is good.
struct Server<'c> {
    certificate: webpki::EndEntityCert<'c>,
    wildcards: Vec<String>,
}

impl<'c> Server<'c> {
    fn verified(
        ground: &Ground,
        chain: &'c [CertificateDer<'c>],
        wanted: &Name,
        now: i64,
    ) -> Result<Server<'c>, Refusal> {
        if ground.verify == Verify::None {
            return Err(Refusal::Unverified(wanted.clone()));
        }
        let bytes = chain.iter().map(|der| der.len()).sum();
        if chain.len() > MOST_CHAIN || bytes > MOST_CHAIN_BYTES {
            return Err(Refusal::Chain(chain.len(), bytes));
        }
        let bad =
            |why: &dyn ToString| Refusal::BadChain { name: wanted.clone(), why: why.to_string() };
        let (first, rest) = chain.split_first().ok_or_else(|| bad(&"there is none"))?;
        let certificate = webpki::EndEntityCert::try_from(first).map_err(|error| bad(&error))?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(now).unwrap_or(0),
        ));
        certificate
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &ground.roots,
                rest,
                time,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|error| bad(&error))?;
        if let (Verify::Full, Some(expected)) = (ground.verify, &ground.server_name)
            && !is_for(&certificate, expected)
        {
            return Err(Refusal::OtherServer { name: wanted.clone(), expected: expected.clone() });
        }
        let wildcards = certificate
            .valid_dns_names()
            .filter(|name| name.starts_with("*."))
            .map(str::to_ascii_lowercase)
            .collect();
        Ok(Server { certificate, wildcards })
    }

    fn bears(&self, name: &Name) -> bool {
        match name {
            Name::Dns(text) if name.is_wildcard() => self.wildcards.contains(text),
            name => is_for(&self.certificate, name),
        }
    }
}

fn is_for(certificate: &webpki::EndEntityCert<'_>, name: &Name) -> bool {
    let name = match name {
        Name::Dns(name) => ServerName::try_from(name.as_str()).ok(),
        Name::Address(address) => Some(ServerName::from(*address)),
    };
    name.is_some_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

fn make(
    authority: &Authority,
    key: &SubjectPublicKeyInfo,
    names: &[Name],
    now: i64,
) -> Result<Vec<u8>, Refusal> {
    let made = |error: &dyn ToString| Refusal::Made(error.to_string());
    // One name that the CA isn't for spoils a leaf for all of them. Where it is
    // for none, clients that don't verify are still served.
    let permitted: Vec<&Name> = names.iter().filter(|name| authority.permits(name)).collect();
    if permitted.len() < names.len() {
        let for_these = names.iter().filter(|name| !authority.permits(name));
        let list: Vec<String> = for_these.map(ToString::to_string).collect();
        tracing::info!(
            "the CA is not for {}: `tidegate ca rotate --permit` makes one that is",
            list.join(", ")
        );
    }
    let names = if permitted.is_empty() { names.iter().collect() } else { permitted };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let common = names.iter().find_map(|name| match name {
        Name::Dns(name) if name.len() <= 64 => Some(name.clone()),
        _ => None,
    });
    // An address would be taken for a host name there.
    params.distinguished_name.push(DnType::CommonName, common.unwrap_or_else(|| "tidegate".into()));
    for name in names {
        params.subject_alt_names.push(match name {
            Name::Dns(name) => {
                SanType::DnsName(Ia5String::try_from(name.as_str()).map_err(|error| made(&error))?)
            }
            Name::Address(address) => SanType::IpAddress(*address),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(ca::serial().map_err(|error| made(&error))?);
    let mut until = now + LIFE;
    if !authority.is_expired_at(now) {
        until = until.min(authority.facts.not_after);
    }
    ca::dates(&mut params, now - BACKDATED, until);
    let leaf = params.signed_by(key, &authority.issuer).map_err(|error| made(&error))?;
    Ok(leaf.der().to_vec())
}

#[cfg(test)]
mod tests;
