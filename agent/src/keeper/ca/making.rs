//! How a CA is made, and put where only root reads its key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::names::{self, Permit};
use super::{Authority, CaError, now};
use crate::config::CaSettings;

/// How long a CA is good for where nothing else is said: it is on one host, is
/// constrained, and whoever trusts it must be told of each new one.
pub const DAYS: u32 = 3650;
const MOST_DAYS: u32 = 36_500;
const DAY: i64 = 86_400;

/// What kind of a CA is wanted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `None`: this host's name, and something random.
    pub name: Option<String>,
    pub days: u32,
    /// Empty: everything.
    pub permits: Vec<Permit>,
}

/// A CA as it is to be written; both as PEM.
pub struct Made {
    pub certificate: String,
    key: String,
}

/// Makes a CA that nobody else has.
pub fn make(plan: &Plan) -> Result<Made, CaError> {
    let failed = |error: rcgen::Error| CaError::Make(error.to_string());
    let name = match &plan.name {
        Some(name) if name.is_empty() || name.chars().count() > 64 => {
            return Err(CaError::Plan("a CA's name has 1 to 64 characters".into()));
        }
        Some(name) => name.clone(),
        None => unique_name()?,
    };
    if plan.days == 0 || plan.days > MOST_DAYS {
        return Err(CaError::Plan(format!("a CA lasts 1 to {MOST_DAYS} days")));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if !plan.permits.is_empty() {
        params.name_constraints = Some(names::extension(&plan.permits));
    }
    // Clocks of containers and hosts differ a little.
    let now = now();
    dates(&mut params, now - DAY, now.saturating_add(i64::from(plan.days) * DAY));
    params.serial_number = Some(serial()?);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Takes a company's intermediate, checked as the keeper will check it.
pub fn import(certificate: &Path, key: &Path, chain: Option<&Path>) -> Result<Made, CaError> {
    let mut pem = super::read(certificate)?;
    if let Some(chain) = chain {
        if !pem.ends_with(b"\n") {
            pem.push(b'\n');
        }
        pem.extend(super::read(chain)?);
    }
    let key_pem = super::read(key)?;
    let authority = Authority::from_pem(&pem, &key_pem, certificate, key)?;
    authority.leads_on().map_err(|what| CaError::Unusable {
        path: chain.unwrap_or(certificate).display().to_string(),
        what,
    })?;
    let text = |bytes: Vec<u8>, path: &Path| {
        String::from_utf8(bytes).map_err(|_| CaError::Unusable {
            path: path.display().to_string(),
            what: "it is no text".into(),
        })
    };
    Ok(Made { certificate: text(pem, certificate)?, key: text(key_pem, key)? })
}

/// Puts a CA into its two files: over nothing that is there.
pub fn write(made: &Made, to: &CaSettings) -> Result<(), CaError> {
    for path in [&to.key, &to.certificate] {
        if path.symlink_metadata().is_ok() {
            return Err(CaError::There { path: path.display().to_string() });
        }
    }
    put(made, to)
}

/// Each file is written whole, or not at all.
pub(super) fn put(made: &Made, to: &CaSettings) -> Result<(), CaError> {
    // The key first: a certificate without one is a mistake that is told.
    place(&to.key, made.key.as_bytes(), 0o600)?;
    place(&to.certificate, made.certificate.as_bytes(), 0o644)
}

pub(super) fn place(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let failed = |error: io::Error| CaError::Write { path: path.display().to_string(), error };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = Path::new(&name);
    let _ = fs::remove_file(beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(beside)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        let _ = fs::remove_file(beside);
    }
    written.map_err(failed)
}

/// A leaf that shows whether the CA's signatures lead back to it.
pub(super) fn trial(
    issuer: &Issuer<'_, KeyPair>,
    not_before: i64,
    not_after: i64,
) -> Result<CertificateDer<'static>, String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    dates(&mut params, not_before, not_after);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_identifier_method = KeyIdMethod::Sha256;
    params
        .signed_by(&key, issuer)
        .map(|certificate| certificate.der().clone())
        .map_err(|error| error.to_string())
}

/// Seconds since 1970, as certificates write them.
pub(in crate::keeper) fn dates(params: &mut CertificateParams, not_before: i64, not_after: i64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |seconds: i64| epoch + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    params.not_before = moment(not_before);
    params.not_after = moment(not_after);
}

/// 127 random bits.
pub(in crate::keeper) fn serial() -> Result<SerialNumber, CaError> {
    let mut bytes = random::<16>()?;
    // Positive, and never shorter than the others.
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn random<const N: usize>() -> Result<[u8; N], CaError> {
    let random = aws_lc_rs::rand::generate::<[u8; N]>(&SystemRandom::new());
    Ok(random.map_err(|_| CaError::Make("no randomness".into()))?.expose())
}

fn unique_name() -> Result<String, CaError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().take(40).collect();
    let tail: String = random::<4>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("tidegate {host} {tail}"))
}
