use std::sync::Arc;

use rcgen::{BasicConstraints, CertifiedIssuer, Issuer, KeyPair};
use rustls::pki_types::TrustAnchor;

use super::*;
use crate::keeper::ca::tests::{Folder, authority, openssl};

const RULE: &str = "db.example:5432";

/// A certificate authority of the servers' world.
struct World {
    root: CertifiedIssuer<'static, KeyPair>,
}

impl World {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self { root: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn anchors(&self) -> Arc<Vec<TrustAnchor<'static>>> {
        Arc::new(vec![webpki::anchor_from_trusted_cert(self.root.der()).unwrap().to_owned()])
    }

    fn server(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Vec<Vec<u8>> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let issuer: &Issuer<'_, KeyPair> = &self.root;
        vec![params.signed_by(&key, issuer).unwrap().der().to_vec()]
    }
}

struct Scene {
    folder: Folder,
    world: World,
    grounds: Grounds,
    key: KeyPair,
}

impl Scene {
    fn new(name: &str, permits: &[&str], verify: Verify) -> Self {
        let folder = Folder::new(&format!("leaf-{name}"));
        let world = World::new("the world's");
        let expected = Name::parse("db.example").unwrap();
        let ground = Ground {
            protocol: Protocol::Postgres,
            verify,
            server_name: Some(expected.clone()),
            configured: vec![expected],
            roots: world.anchors(),
        };
        let mut grounds =
            Grounds { authority: Some(authority(&folder, permits)), ..Default::default() };
        grounds.destinations.insert(RULE.into(), ground);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { folder, world, grounds, key }
    }

    fn wanted(&self, names: &[&str], chain: Vec<Vec<u8>>) -> Wanted {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Wanted { names, key: self.key.subject_public_key_info(), chain }
    }

    fn sign(&self, names: &[&str], chain: Vec<Vec<u8>>) -> Result<Vec<u8>, Refusal> {
        let destination = "192.0.2.7".parse().unwrap();
        sign(&self.grounds, RULE, destination, &self.wanted(names, chain), ca::now())
    }

    fn ground(&mut self) -> &mut Ground {
        self.grounds.destinations.get_mut(RULE).unwrap()
    }

    /// What webpki and openssl say of a leaf, for a client that trusts the CA.
    fn verdicts(&self, leaf: &[u8], name: &str) -> (bool, bool) {
        let authority = self.grounds.authority.as_ref().unwrap();
        let own = CertificateDer::from(authority.chain[0].0.clone());
        let anchor = webpki::anchor_from_trusted_cert(&own).unwrap();
        let der = CertificateDer::from(leaf.to_vec());
        let certificate = webpki::EndEntityCert::try_from(&der).unwrap();
        let time = UnixTime::now();
        let usage = webpki::KeyUsage::server_auth();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let by_webpki = certificate
            .verify_for_usage(algorithms, &[anchor], &[], time, usage, None, None)
            .is_ok()
            && is_for(&certificate, &Name::parse(name).unwrap());
        let pem = self.folder.file("leaf.der", leaf, 0o644);
        let out = self.folder.0.join("leaf.pem");
        let (good, text) = openssl(&[
            "x509",
            "-inform",
            "DER",
            "-in",
            pem.to_str().unwrap(),
            "-out",
            out.to_str().unwrap(),
        ]);
        assert!(good, "{text}");
        let address = name.parse::<IpAddr>().is_ok();
        let (by_openssl, _) = openssl(&[
            "verify",
            "-purpose",
            "sslserver",
            "-x509_strict",
            if address { "-verify_ip" } else { "-verify_hostname" },
            name,
            "-CAfile",
            self.folder.ca().certificate.to_str().unwrap(),
            out.to_str().unwrap(),
        ]);
        (by_webpki, by_openssl)
    }
}

#[test]
fn a_leaf_is_for_the_names_that_are_configured_and_short_lived() {
    for (permits, names) in [
        (&[][..], &["db.example", "192.0.2.7"][..]),
        (&["db.example"], &["db.example"]),
        (&["192.0.2.0/24"], &["192.0.2.7"]),
        (&["db.example", "192.0.2.7"], &["db.example", "192.0.2.7"]),
    ] {
        let scene = Scene::new("configured", permits, Verify::Full);
        let leaf = scene.sign(names, Vec::new()).unwrap();
        for name in names {
            assert_eq!(scene.verdicts(&leaf, name), (true, true), "{permits:?} {name}");
        }
        assert_eq!(scene.verdicts(&leaf, "other.example"), (false, false));
        let facts = ca::facts(&leaf).unwrap();
        assert!((facts.not_after - ca::now() - LIFE).abs() < 60);
        assert!((facts.not_before - ca::now() + BACKDATED).abs() < 60);
        let path = scene.folder.0.join("leaf.pem");
        let text = openssl(&["x509", "-in", path.to_str().unwrap(), "-noout", "-text"]).1;
        for expected in ["CA:FALSE", "TLS Web Server Authentication", "Digital Signature"] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(text.contains("Authority Key Identifier") && !text.contains("Client"), "{text}");
    }
}

#[test]
fn a_leaf_that_the_ca_is_not_for_verifies_nowhere() {
    for (permits, name) in [
        (&["other.example"][..], "db.example"),
        (&["other.example"], "192.0.2.7"),
        (&["10.0.0.0/8"], "192.0.2.7"),
        (&["10.0.0.0/8"], "db.example"),
        (&["2001:db8::/32"], "192.0.2.7"),
    ] {
        let scene = Scene::new("constrained", permits, Verify::Full);
        let leaf = scene.sign(&[name], Vec::new()).unwrap();
        assert_eq!(scene.verdicts(&leaf, name), (false, false), "{permits:?} {name}");
    }
    // A name too many doesn't spoil the rest.
    let scene = Scene::new("constrained", &["db.example"], Verify::Full);
    let leaf = scene.sign(&["192.0.2.7", "db.example"], Vec::new()).unwrap();
    assert_eq!(scene.verdicts(&leaf, "db.example"), (true, true));
}

#[test]
fn names_of_a_verified_server_are_copied_and_no_others() {
    let scene = Scene::new("borne", &[], Verify::Full);
    let names = ["db.example", "alias.example", "*.pool.example", "198.51.100.4"];
    let chain = scene.world.server(&names, |_| {});
    let leaf = scene.sign(&names, chain.clone()).unwrap();
    for name in ["db.example", "alias.example", "a.pool.example", "198.51.100.4"] {
        assert_eq!(scene.verdicts(&leaf, name), (true, true), "{name}");
    }
    // What the client asked for, where a wildcard covers it.
    scene.sign(&["b.pool.example"], chain.clone()).unwrap();
    for name in ["evil.example", "pool.example", "*.example", "a.b.pool.example", "198.51.100.5"] {
        let expected = Refusal::Foreign(Name::parse(name).unwrap());
        assert_eq!(scene.sign(&["db.example", name], chain.clone()), Err(expected));
    }
}

#[test]
fn a_chain_is_verified_and_not_believed() {
    let mut scene = Scene::new("chain", &[], Verify::Full);
    let name = Name::parse("alias.example").unwrap();
    let names = ["db.example", "alias.example"];
    let bad = |result: Result<Vec<u8>, Refusal>| match result {
        Err(Refusal::BadChain { name: told, why }) => {
            assert_eq!(told, name);
            why
        }
        other => panic!("{other:?}"),
    };
    let stranger = World::new("somebody's").server(&names, |_| {});
    assert!(bad(scene.sign(&names, stranger)).contains("UnknownIssuer"));
    let old = scene.world.server(&names, |params| ca::dates(params, 1_000_000, 2_000_000));
    assert!(bad(scene.sign(&names, old)).contains("Expired"));
    let client = scene.world.server(&names, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert!(!bad(scene.sign(&names, client)).is_empty());
    assert_eq!(bad(scene.sign(&names, Vec::new())), "there is none");
    bad(scene.sign(&names, vec![b"no certificate".to_vec()]));
    // Another server's, though the chain is good.
    let other = scene.world.server(&["alias.example"], |_| {});
    let expected = Name::parse("db.example").unwrap();
    assert_eq!(
        scene.sign(&["alias.example"], other.clone()),
        Err(Refusal::OtherServer { name: name.clone(), expected })
    );
    scene.ground().verify = Verify::Ca;
    scene.sign(&["alias.example"], other.clone()).unwrap();
    scene.ground().verify = Verify::None;
    assert_eq!(scene.sign(&["alias.example"], other), Err(Refusal::Unverified(name)));
    scene.sign(&["db.example", "192.0.2.7"], Vec::new()).unwrap();
}

#[test]
fn what_is_too_much_or_nothing_is_refused() {
    let mut scene = Scene::new("bounds", &[], Verify::Full);
    assert_eq!(scene.sign(&[], Vec::new()), Err(Refusal::Names(0)));
    assert_eq!(scene.sign(&["db.example"; 129], Vec::new()), Err(Refusal::Names(129)));
    assert_eq!(scene.sign(&["db\nexample"], Vec::new()), Err(Refusal::NotAName));
    let chain = vec![vec![0; 10]; 9];
    assert_eq!(scene.sign(&["x.example"], chain), Err(Refusal::Chain(9, 90)));
    let chain = vec![vec![0; 30_000]];
    assert_eq!(scene.sign(&["x.example"], chain), Err(Refusal::Chain(1, 30_000)));
    let destination = "192.0.2.7".parse().unwrap();
    let mut wanted = scene.wanted(&["db.example"], Vec::new());
    let gone = sign(&scene.grounds, "gone:1", destination, &wanted, ca::now());
    assert_eq!(gone, Err(Refusal::NotProtected("gone:1".into())));
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let other = KeyPair::generate_for(algorithm).unwrap();
        wanted.key = other.subject_public_key_info();
        let refused = sign(&scene.grounds, RULE, destination, &wanted, ca::now());
        assert_eq!(refused, Err(Refusal::Key));
    }
    wanted.key = b"no key".to_vec();
    let refused = sign(&scene.grounds, RULE, destination, &wanted, ca::now());
    assert_eq!(refused, Err(Refusal::Key));
    scene.ground().protocol = Protocol::Unread;
    assert_eq!(scene.sign(&["db.example"], Vec::new()), Err(Refusal::Unread(RULE.into())));
    scene.grounds.authority = None;
    assert_eq!(scene.sign(&["db.example"], Vec::new()), Err(Refusal::NoAuthority));
}

#[test]
fn no_leaf_outlives_its_ca() {
    let scene = Scene::new("life", &[], Verify::Full);
    let end = scene.grounds.authority.as_ref().unwrap().facts.not_after;
    let destination = "192.0.2.7".parse().unwrap();
    let wanted = scene.wanted(&["db.example"], Vec::new());
    let leaf = sign(&scene.grounds, RULE, destination, &wanted, end - 100).unwrap();
    assert_eq!(ca::facts(&leaf).unwrap().not_after, end);
    // Clients that don't verify are served by one that has expired.
    let leaf = sign(&scene.grounds, RULE, destination, &wanted, end + 100).unwrap();
    assert_eq!(ca::facts(&leaf).unwrap().not_after, end + 100 + LIFE);
}
