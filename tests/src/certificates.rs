//! A certificate authority of the test's own, and what it signs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};

use crate::folder::TempFolder;

/// The kinds of key that servers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Key {
    #[default]
    P256,
    Rsa,
}

impl Key {
    fn make(self) -> Result<KeyPair> {
        Ok(match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Self::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        })
    }
}

pub struct Authority {
    folder: TempFolder,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn fresh() -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "tidegate's test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = Key::P256.make()?;
        let certificate = params.self_signed(&key)?;
        std::fs::write(folder.path().join("ca.crt"), certificate.pem())?;
        Ok(Self { folder, issuer: Issuer::new(params, key) })
    }

    /// Another one, for which this one vouches.
    pub fn intermediate(&self, name: &str) -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let key = Key::P256.make()?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign")?;
        std::fs::write(folder.path().join("ca.crt"), certificate.pem())?;
        private(&folder.path().join("ca.key"), &key.serialize_pem())?;
        Ok(Self { folder, issuer: Issuer::new(params, key) })
    }

    /// An intermediate's own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair { certificate: self.root(), key: self.folder.path().join("ca.key") }
    }

    /// What clients trust.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// For a server of these names and addresses.
    pub fn server(&self, into: &Path, names: &[&str], key: Key) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "a server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(into, "server", params, key)
    }

    /// For a client that is called `role`.
    pub fn client(&self, into: &Path, role: &str) -> Result<Pair> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, role);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(into, &format!("client-{role}"), params, Key::P256)
    }

    fn sign(&self, into: &Path, name: &str, params: CertificateParams, key: Key) -> Result<Pair> {
        let key = key.make()?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign")?;
        let pair = Pair {
            certificate: into.join(format!("{name}.crt")),
            key: into.join(format!("{name}.key")),
        };
        std::fs::write(&pair.certificate, certificate.pem())?;
        private(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

/// Clients refuse a key that others may read.
fn private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
