//! rustls' settings for both legs.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName, UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use super::{ALPN, TlsError};
use crate::model::ClientCertificate;

/// Towards a server: with and without ALPN. Their sessions are resumed where
/// the server lets them.
#[derive(Clone, Debug)]
pub struct ClientConfigs {
    plain: Arc<ClientConfig>,
    alpn: Arc<ClientConfig>,
}

/// Towards a client: with and without ALPN.
#[derive(Clone, Debug)]
pub struct ServerConfigs {
    plain: Arc<ServerConfig>,
    alpn: Arc<ServerConfig>,
}

impl ClientConfigs {
    pub fn new(certificate: Option<&ClientCertificate>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(HoldsItsKey(algorithms)));
        let plain = match certificate {
            None => builder.with_no_client_auth(),
            Some(ClientCertificate { chain, key }) => {
                let chain = chain.iter().map(|der| CertificateDer::from(der.0.clone())).collect();
                builder.with_client_auth_cert(chain, private_key(&key.0)?)?
            }
        };
        let mut alpn = plain.clone();
        alpn.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { plain: Arc::new(plain), alpn: Arc::new(alpn) })
    }

    pub fn of(&self, alpn: bool) -> Arc<ClientConfig> {
        Arc::clone(if alpn { &self.alpn } else { &self.plain })
    }
}

impl ServerConfigs {
    pub fn new(key: CertifiedKey) -> Result<Self, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let mut plain = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        // As PostgreSQL itself has it: no tickets, nothing resumed.
        plain.send_tls13_tickets = 0;
        plain.session_storage = Arc::new(NoServerSessionStorage {});
        let mut alpn = plain.clone();
        alpn.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { plain: Arc::new(plain), alpn: Arc::new(alpn) })
    }

    pub fn of(&self, alpn: bool) -> Arc<ServerConfig> {
        Arc::clone(if alpn { &self.alpn } else { &self.plain })
    }
}

/// Whether PostgreSQL was agreed on by ALPN.
pub fn has_postgres_alpn(common: &CommonState) -> bool {
    common.alpn_protocol() == Some(ALPN)
}

fn private_key(der: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let tries = [
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec())),
        PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.to_vec())),
        PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der.to_vec())),
    ];
    tries
        .into_iter()
        .find(|key| aws_lc_rs::sign::any_supported_type(key).is_ok())
        .ok_or_else(|| TlsError::Unwritable("the client key is of no kind that is known".into()))
}

/// The handshake proves that the server holds its certificate's key. Whose
/// certificate it is, [`super::verify()`] says before anything is sent.
#[derive(Debug)]
struct HoldsItsKey(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for HoldsItsKey {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

const VERSIONS: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;

#[cfg(test)]
mod tests;
