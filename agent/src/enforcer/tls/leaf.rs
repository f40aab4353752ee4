//! The certificates that clients are shown, each in place of a server's.
//!
//! The private key is this process's own and never leaves it. A leaf that the
//! host's CA signed is for a server that was verified; one that nobody signed
//! stands for a server that couldn't be, so that its client sees just that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::TlsError;
use super::configs::ServerConfigs;
use crate::model::Der;
use crate::wire::postgres::scram::{EndPoint, end_point_hash};

/// All leaves of the process.
pub struct Leaves {
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    public: Vec<u8>,
    known: Mutex<HashMap<Wanted, (Arc<Leaf>, Instant)>>,
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (leaf, made) = known.get(wanted)?;
        if made.elapsed() > RENEWED {
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
        let key = CertifiedKey::new(chain, Arc::clone(&self.signing));
        let leaf = Arc::new(Leaf { configs: ServerConfigs::new(key)?, end_point, trusted });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(wanted, (Arc::clone(&leaf), Instant::now()));
        Ok(leaf)
    }
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
/// The keeper signs for a day.
const RENEWED: Duration = Duration::from_secs(12 * 3600);
const MOST: usize = 1024;
