//! The certificates that clients are shown, each in place of a server's.
//!
//! The private key is this process's own and never leaves it. A leaf that the
//! host's CA signed is for a server that was verified; one that nobody signed
//! stands for a server that couldn't be, so that its client sees just that.
//!
//! INVARIANT: none is shown that is past the half of its life, by the clock that its
//! clients go by: a host may have slept meanwhile, or its clock been set.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use super::configs::ServerConfigs;
use crate::model::Der;
use crate::wire::postgres::scram::{EndPoint, end_point_hash};

/// All leaves of the process.
pub struct Leaves {
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    public: Vec<u8>,
    known: Mutex<HashMap<Wanted, Kept>>,
}

#[derive(Debug)]
struct Kept {
    leaf: Arc<Leaf>,
    /// In seconds since 1970.
    shown: Range<i64>,
}

/// For which names, signed by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub names: Vec<String>,
    /// The CA's chain; empty: by nobody.
    pub issuer: Arc<[Der]>,
}

pub struct Leaf {
    configs: ServerConfigs,
    /// What clients bind SCRAM to.
    pub end_point: Option<EndPoint>,
    /// Whether the host's CA has signed it.
    pub trusted: bool,
}

impl Leaves {
    pub fn new() -> Result<Self, TlsError> {
        let broken = |error: rcgen::Error| TlsError::Unwritable(error.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(broken)?;
        let der = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|why| TlsError::Unwritable(why.into()))?;
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)?;
        let public = key.subject_public_key_info();
        Ok(Self { key, signing, public, known: Mutex::default() })
    }

    /// The public key of all leaves, as DER.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    pub fn known(&self, wanted: &Wanted) -> Option<Arc<Leaf>> {
        self.known_at(wanted, now())
    }

    fn known_at(&self, wanted: &Wanted, now: i64) -> Option<Arc<Leaf>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { leaf, shown } = known.get(wanted)?;
        if !shown.contains(&now) {
            known.remove(wanted);
            return None;
        }
        Some(Arc::clone(leaf))
    }

    /// Takes a leaf that the CA has signed.
    pub fn signed(&self, wanted: Wanted, leaf: Vec<u8>) -> Result<Arc<Leaf>, TlsError> {
        let mut chain = vec![CertificateDer::from(leaf)];
        chain.extend(wanted.issuer.iter().map(|der| CertificateDer::from(der.0.clone())));
        self.keep(wanted, chain, true)
    }

    /// Makes one that nobody has signed.
    pub fn untrusted(&self, names: Vec<String>) -> Result<Arc<Leaf>, TlsError> {
        let wanted = Wanted { names, issuer: Arc::default() };
        if let Some(leaf) = self.known(&wanted) {
            return Ok(leaf);
        }
        let broken = |error: rcgen::Error| TlsError::Unwritable(error.to_string());
        let mut params = CertificateParams::new(wanted.names.clone()).map_err(broken)?;
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(rcgen::DnType::CommonName, "server not verified by tidegate");
        params.distinguished_name = subject;
        let now = std::time::SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + 2 * DAY).into();
        let made = params.self_signed(&self.key).map_err(broken)?;
        self.keep(wanted, vec![made.der().clone()], false)
    }

    fn keep(
        &self,
        wanted: Wanted,
        chain: Vec<CertificateDer<'static>>,
        trusted: bool,
    ) -> Result<Arc<Leaf>, TlsError> {
        let end_point = chain.first().and_then(|certificate| end_point_hash(certificate));
        let shown = chain.first().map(|certificate| half_of_life(certificate, now()));
        let key = CertifiedKey::new(chain, Arc::clone(&self.signing));
        let leaf = Arc::new(Leaf { configs: ServerConfigs::new(key)?, end_point, trusted });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(wanted, Kept { leaf: Arc::clone(&leaf), shown: shown.unwrap_or_default() });
        Ok(leaf)
    }
}

/// From now until half of what it has yet to live is over: whoever is shown it then has
/// as long as that to use it.
fn half_of_life(certificate: &[u8], now: i64) -> Range<i64> {
    let ends = X509Certificate::from_der(certificate)
        .map_or(now, |(_, parsed)| parsed.validity().not_after.timestamp());
    now..now + (ends - now).max(0) / 2
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Leaf {
    /// With or without ALPN, as the server itself has it.
    pub fn config(&self, alpn: bool) -> Arc<ServerConfig> {
        self.configs.of(alpn)
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaves")
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const MOST: usize = 1024;

#[cfg(test)]
mod tests;
