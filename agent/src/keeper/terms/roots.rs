//! The host's own trusted roots.

use std::path::{Path, PathBuf};

use super::{ca, read_file};
use crate::model::Der;

/// Where distributions keep them as one file: Debian, Ubuntu, Alpine, Arch;
/// Fedora, RHEL; SUSE; others.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of the system's roots: SSL_CERT_FILE, or the usual one.
pub fn bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    named
        .map(PathBuf::from)
        .or_else(|| BUNDLES.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned))
}

/// They are read, our own CA left out: what it signed proves nothing of a
/// server.
pub(super) fn of_system(own: &[Der], notes: &mut Vec<String>) -> Vec<Der> {
    let Some(path) = bundle() else {
        notes.push(
            "this host has no roots that could be found: name a file of them (`roots`, or \
             SSL_CERT_FILE)"
                .into(),
        );
        return Vec::new();
    };
    let read =
        read_file(&path).map_err(|error| error.to_string()).and_then(|pem| ca::certificates(&pem));
    match read {
        Ok(list) => list
            .iter()
            // A root that can't be read is of no use to anybody.
            .filter(|der| webpki::anchor_from_trusted_cert(der).is_ok())
            .map(|der| Der(der.to_vec()))
            .filter(|der| !own.contains(der))
            .collect(),
        Err(what) => {
            notes.push(format!("the host's roots in `{}` can't be used: {what}", path.display()));
            Vec::new()
        }
    }
}
