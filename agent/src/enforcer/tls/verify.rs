//! Whether a server is who it should be.
//!
//! TLS proves that it holds its certificate's key; here the certificate is
//! held against roots and name, after the handshake and before a byte of ours
//! is sent. So the outcome can be a fact rather than a failure, and holds for
//! resumed sessions too.

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};

use crate::model::Verify;

/// How far a server's identity is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The chain leads to a root, and the certificate bears this name.
    Full(String),
    /// The chain leads to a root; no name was known to ask for.
    Nameless,
    /// The chain leads to a root, and the settings ask for no more.
    Chain,
    /// It isn't known, and the settings don't ask for it; why.
    Not(String),
}

/// Why a server is not talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// `configured` is the destination's own name, `asked` the client's (SNI).
pub fn verify(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    mode: Verify,
    configured: Option<&str>,
    asked: Option<&str>,
) -> Result<Verified, Refused> {
    if mode == Verify::None {
        return Ok(Verified::Not("the settings say not to (verify = \"none\")".into()));
    }
    let found = look(chain, roots, mode, configured, asked);
    match (found, mode) {
        (Ok(verified), _) => Ok(verified),
        (Err(why), Verify::Mirror) => Ok(Verified::Not(why)),
        (Err(why), _) => Err(Refused(why)),
    }
}

fn look(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    mode: Verify,
    configured: Option<&str>,
    asked: Option<&str>,
) -> Result<Verified, String> {
    let (end, between) = chain.split_first().ok_or("it showed no certificate")?;
    let parsed = ParsedCertificate::try_from(end).map_err(words)?;
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        roots,
        between,
        UnixTime::now(),
        algorithms.all,
    )
    .map_err(words)?;
    if mode == Verify::Ca {
        return Ok(Verified::Chain);
    }
    let Some(name) = configured.or(asked) else { return Ok(Verified::Nameless) };
    let server = ServerName::try_from(name).map_err(|_| format!("`{name}` is no host name"))?;
    verify_server_name(&parsed, &server).map_err(words)?;
    Ok(Verified::Full(name.into()))
}

/// A name as an operator writes it, of `DnsName("…")` or `IpAddress(…)`.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    format!("`{}`", inner.unwrap_or(presented).trim_matches('"'))
}

/// What an operator can do something with.
fn words(error: rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = error else { return error.to_string() };
    match why {
        CertificateError::UnknownIssuer => {
            "no trusted root has signed its certificate (set `roots`)".into()
        }
        CertificateError::BadSignature => {
            "the trusted root of that name has not signed its certificate (was the root made anew? \
             set `roots`)"
                .into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate isn't valid yet".into()
        }
        CertificateError::NotValidForName => {
            "its certificate doesn't bear the name (set `server_name`)".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for `{}` (set `server_name`)",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            expected.to_str()
        ),
        other => format!("its certificate is no good: {other}"),
    }
}
