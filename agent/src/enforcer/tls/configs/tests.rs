use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

use super::*;

/// A server that hands tickets out, as PostgreSQL's own does not.
fn server(versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["db.example".into()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
}

/// How the handshake went, and whether the server's certificate is known after.
fn shake(
    configs: &ClientConfigs,
    server: &Arc<ServerConfig>,
    name: &str,
) -> (Option<HandshakeKind>, bool) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(configs.of(false), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    assert!(!client.is_handshaking());
    (client.handshake_kind(), client.peer_certificates().is_some_and(|chain| chain.len() == 1))
}

/// Verification looks at the certificate after each handshake: it must be known
/// after a resumed one too.
#[test]
fn a_server_that_lets_us_is_resumed_and_still_known() {
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let server = server(versions);
        let configs = ClientConfigs::new(None).unwrap();
        assert!(matches!(
            shake(&configs, &server, "db.example"),
            (Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), true)
        ));
        for _ in 0..3 {
            let again = shake(&configs, &server, "db.example");
            assert_eq!(again, (Some(HandshakeKind::Resumed), true), "{versions:?}");
        }
        // Another name is another server.
        let other = shake(&configs, &server, "other.example");
        assert_ne!(other.0, Some(HandshakeKind::Resumed));
    }
}
