//! The host's certificate authority: made, kept, and read. Its key is the
//! keeper's alone.
//!
//! INVARIANT: the key lies in a file that only root can read, is refused
//! otherwise, and is never sent, shown or logged.

mod keeping;
mod making;
mod names;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rcgen::{Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use keeping::{Scope, ensure, pem, previous, previous_file, public, replace};
pub use making::{DAYS, Made, Plan, import, make, write};
pub(super) use making::{dates, serial};
pub use names::{Constraints, Name, Permit};

pub use super::terms::names_of;

use crate::config::CaSettings;
use crate::model::Der;

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("cannot read `{path}`: {error}")]
    Read { path: String, error: io::Error },
    #[error("cannot write `{path}`: {error}")]
    Write { path: String, error: io::Error },
    #[error("`{path}` is there already: `tidegate ca rotate` makes a new CA beside the old one")]
    There { path: String },
    #[error(
        "`{there}` is there without `{missing}`: put it back, or move the other away and run `tidegate ca init`"
    )]
    Half { there: String, missing: String },
    #[error(
        "`{path}` can be read by others (mode {mode:04o}): `chmod 600 {path}`, and if somebody may have, `tidegate ca rotate`"
    )]
    Readable { path: String, mode: u32 },
    #[error("`{path}` belongs to uid {uid}, who could change it: `chown root {path}`")]
    Owner { path: String, uid: u32 },
    #[error("`{path}`: {what}")]
    Unusable { path: String, what: String },
    #[error("{0}")]
    Plan(String),
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

/// A CA that can sign.
pub struct Authority {
    /// Its own certificate first, then what stands above it.
    pub chain: Vec<Der>,
    pub facts: Facts,
    pub(super) issuer: Issuer<'static, KeyPair>,
    /// Of every certificate of the chain.
    constraints: Vec<Constraints>,
}

/// What can be told of a CA's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub subject: String,
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub constraints: Constraints,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    pub self_signed: bool,
}

impl Authority {
    /// `None`: there is neither a certificate nor a key.
    pub fn load(settings: &CaSettings) -> Result<Option<Self>, CaError> {
        let (certificate, key) = (&settings.certificate, &settings.key);
        match (certificate.exists(), key.exists()) {
            (false, false) => return Ok(None),
            (true, false) => return Err(half(certificate, key)),
            (false, true) => return Err(half(key, certificate)),
            (true, true) => {}
        }
        private(key)?;
        let chain = read(certificate)?;
        let text = read(key)?;
        Self::from_pem(&chain, &text, certificate, key).map(Some)
    }

    fn from_pem(
        chain: &[u8],
        key_pem: &[u8],
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, CaError> {
        let unusable = |path: &Path, what: String| CaError::Unusable {
            path: path.display().to_string(),
            what,
        };
        let chain = certificates(chain).map_err(|what| unusable(certificate, what))?;
        let first = chain
            .first()
            .ok_or_else(|| unusable(certificate, "it holds no certificate in PEM form".into()))?;
        let facts = facts(first).map_err(|what| unusable(certificate, what))?;
        let mut constraints = Vec::new();
        for one in &chain {
            constraints.push(of_ca(one).map_err(|what| unusable(certificate, what))?);
        }
        // What the parser says of a key may repeat a part of it.
        let pair = std::str::from_utf8(key_pem)
            .ok()
            .and_then(|text| KeyPair::from_pem(text).ok())
            .ok_or_else(|| {
                unusable(key, "it holds no unencrypted private key in PEM form".into())
            })?;
        if pair.is_compatible(&PKCS_ED25519) {
            return Err(unusable(
                key,
                "an Ed25519 CA has no hash for SCRAM's channel binding: take ECDSA P-256".into(),
            ));
        }
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| unusable(certificate, error.to_string()))?;
        use rcgen::PublicKeyData;
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(unusable(key, format!("it is not the key of `{}`", certificate.display())));
        }
        let issuer = Issuer::from_ca_cert_der(first, pair)
            .map_err(|error| unusable(certificate, error.to_string()))?;
        let authority = Self {
            chain: chain.iter().map(|der| Der(der.to_vec())).collect(),
            facts,
            issuer,
            constraints,
        };
        authority.proves_itself().map_err(|what| unusable(certificate, what))?;
        Ok(authority)
    }

    /// Whether clients that trust this CA take a leaf of this name from it.
    pub fn permits(&self, name: &Name) -> bool {
        self.constraints.iter().all(|constraints| constraints.permit(name))
    }

    pub(super) fn is_expired_at(&self, now: i64) -> bool {
        self.facts.not_after <= now
    }

    /// Whether each certificate of the chain is of whom the one before it names: clients
    /// would be led nowhere.
    fn leads_on(&self) -> Result<(), String> {
        let parsed = self.chain.iter().map(|Der(der)| X509Certificate::from_der(der));
        let parsed: Vec<_> = parsed.map_while(|one| Some(one.ok()?.1)).collect();
        for (one, above) in parsed.iter().zip(parsed.iter().skip(1)) {
            if one.issuer().as_raw() != above.subject().as_raw() {
                return Err(format!(
                    "`{}` is followed by `{}`, which hasn't signed it: `{}` belongs there",
                    one.subject(),
                    above.subject(),
                    one.issuer()
                ));
            }
        }
        Ok(())
    }

    /// Names are written anew in a leaf, not copied: one that comes out another
    /// leads no client to its CA.
    fn proves_itself(&self) -> Result<(), String> {
        let (Some(Der(own)), false) = (self.chain.first(), self.is_expired_at(now())) else {
            return Ok(());
        };
        let leaf = making::trial(&self.issuer, self.facts.not_before, self.facts.not_after)?;
        let own = CertificateDer::from(own.as_slice());
        let anchor = webpki::anchor_from_trusted_cert(&own).map_err(|error| error.to_string())?;
        let leaf = webpki::EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
        let time = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(now().max(self.facts.not_before)).unwrap_or(0),
        ));
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &[],
            time,
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| {
            format!(
                "what it signs does not lead back to it ({error}): a subject that has an \
                 attribute twice can't be written again"
            )
        })
    }
}

/// The certificates of a PEM file, in their order.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is no PEM file: {error}"))
}

/// What is told of a certificate.
pub fn facts(der: &[u8]) -> Result<Facts, String> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| format!("it holds no certificate that can be read: {error}"))?;
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(fingerprint.as_ref().get(..32).unwrap_or(&[0; 32]));
    Ok(Facts {
        subject: certificate.subject().to_string(),
        serial: certificate.raw_serial_as_string(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        constraints: Constraints::of(&certificate)?,
        fingerprint: sha256,
        self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
    })
}

fn of_ca(der: &[u8]) -> Result<Constraints, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    if !certificate.is_ca() {
        return Err(format!("`{}` is no CA's certificate", certificate.subject()));
    }
    // As a trust anchor it would pass with any usage; clients look at them.
    let usage = certificate.key_usage().map_err(|error| error.to_string())?;
    let extended = certificate.extended_key_usage().map_err(|error| error.to_string())?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign())
        || extended.is_some_and(|usage| !usage.value.server_auth && !usage.value.any)
    {
        return Err(format!(
            "`{}` may not sign servers' certificates: it needs the usage keyCertSign, and no \
             extended usage, or serverAuth",
            certificate.subject()
        ));
    }
    Constraints::of(&certificate)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

/// Nobody but root (or who runs this) may read it.
fn private(path: &Path) -> Result<(), CaError> {
    let metadata = fs::metadata(path)
        .map_err(|error| CaError::Read { path: path.display().to_string(), error })?;
    let path = path.display().to_string();
    let uid = metadata.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(CaError::Owner { path, uid });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CaError::Readable { path, mode });
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    super::terms::read_file(path)
        .map_err(|error| CaError::Read { path: path.display().to_string(), error })
}

fn half(there: &Path, missing: &Path) -> CaError {
    CaError::Half { there: there.display().to_string(), missing: missing.display().to_string() }
}

#[cfg(test)]
pub(super) mod tests;
