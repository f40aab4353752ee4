//! The CA's files over time: made at a first start, replaced, and those that
//! were before.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use super::making::{self, place};
use super::{CaError, DAYS, Made, Name, Permit, Plan, certificates, facts, now, read};
use crate::config::{CaSettings, ProtectTarget, Settings};
use crate::keeper::terms::names_of;
use crate::model::Protocol;

/// What a CA for these settings is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub permits: Vec<Permit>,
    /// Destinations that name neither a host nor a network: servers of any name
    /// may be behind them.
    pub nameless: Vec<String>,
}

impl Scope {
    pub fn of(settings: &Settings) -> Self {
        let mut scope = Self::default();
        for protect in settings
            .protect
            .iter()
            .filter(|protect| !protect.exclude && protect.service.protocol != Protocol::Unread)
        {
            let mut permits: Vec<Permit> = names_of(protect)
                .into_iter()
                .map(|name| match name {
                    Name::Dns(name) => Permit::Dns(name),
                    Name::Address(address) => Permit::Network {
                        address,
                        prefix: if address.is_ipv4() { 32 } else { 128 },
                    },
                })
                .collect();
            if let ProtectTarget::Network { address, prefix, .. } = protect.target {
                permits.push(Permit::Network { address, prefix });
            }
            if permits.is_empty() {
                scope.nameless.push(protect.name.clone());
            }
            scope.permits.extend(permits);
        }
        scope.permits.sort();
        scope.permits.dedup();
        scope
    }
}

/// Makes a CA at a first start, if anything is to be read. Clients that don't
/// verify (libpq's default) then have TLS ended for them with nothing to be
/// done; nobody trusts this CA before somebody gives it out (`tidegate ca
/// trust`), and the keeper signs for open connections only, so that one without
/// constraints harms nobody. Failing at it keeps no agent from starting.
pub fn ensure(settings: &Settings) {
    let there = settings.ca.certificate.exists() || settings.ca.key.exists();
    let read = settings
        .protect
        .iter()
        .any(|protect| !protect.exclude && protect.service.protocol != Protocol::Unread);
    if there || !read {
        return;
    }
    let Scope { permits, nameless } = Scope::of(settings);
    let permits = if nameless.is_empty() { permits } else { Vec::new() };
    let constrained = !permits.is_empty();
    let made = making::make(&Plan { name: None, days: DAYS, permits })
        .and_then(|made| making::write(&made, &settings.ca));
    let path = settings.ca.certificate.display();
    match made {
        Ok(()) if constrained => {
            tracing::info!("a CA for the protected destinations was made: {path}");
        }
        Ok(()) => tracing::info!(
            "a CA was made: {path}; it is not constrained, for `{}` names no host (`tidegate ca \
             rotate --permit` makes one that is)",
            nameless.join("`, `")
        ),
        Err(error) => tracing::warn!("there is no CA, so TLS can't be ended: {error}"),
    }
}

/// Puts a new CA in the place of the old, whose certificate is kept with those
/// that clients are to trust.
pub fn replace(made: &Made, settings: &CaSettings) -> Result<(), CaError> {
    let mut kept = previous(settings)?;
    // A pair that no longer fits can be replaced too: only its certificate counts.
    match certificates(&read(&settings.certificate)?) {
        Ok(chain) => kept.extend(chain.into_iter().next().filter(|der| is_good(der))),
        Err(what) => {
            return Err(CaError::Unusable {
                path: settings.certificate.display().to_string(),
                what,
            });
        }
    }
    let text: String = kept.iter().map(|der| pem(der)).collect();
    place(&previous_file(settings), text.as_bytes(), 0o644)?;
    making::put(made, settings)
}

/// CAs from before, as long as leaves of theirs may be about.
pub fn previous(settings: &CaSettings) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let path = previous_file(settings);
    let bytes = match super::super::terms::read_file(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CaError::Read { path: path.display().to_string(), error }),
    };
    let list = certificates(&bytes)
        .map_err(|what| CaError::Unusable { path: path.display().to_string(), what })?;
    Ok(list.into_iter().filter(|der| is_good(der)).collect())
}

/// The chain of the CA, read without its key: what anybody may see.
pub fn public(settings: &CaSettings) -> Result<Option<Vec<CertificateDer<'static>>>, CaError> {
    if !settings.certificate.exists() {
        return Ok(None);
    }
    let path = &settings.certificate;
    let unusable = |what: String| CaError::Unusable { path: path.display().to_string(), what };
    let chain = certificates(&read(path)?).map_err(unusable)?;
    if chain.is_empty() {
        return Err(unusable("it holds no certificate in PEM form".into()));
    }
    Ok(Some(chain))
}

pub fn previous_file(settings: &CaSettings) -> PathBuf {
    let mut name = settings.certificate.as_os_str().to_owned();
    name.push(".previous");
    Path::new(&name).to_owned()
}

/// A certificate as PEM.
pub fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 bytes are a line of 64 characters.
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for index in 0..4 {
                let letter = usize::try_from(bits >> (18 - 6 * index) & 63).unwrap_or(0);
                let there = usize::try_from(index).unwrap_or(0) <= three.len();
                let letter = ALPHABET.get(letter).copied().unwrap_or(b'=');
                text.push(char::from(if there { letter } else { b'=' }));
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

fn is_good(der: &[u8]) -> bool {
    facts(der).is_ok_and(|facts| facts.not_after > now())
}
