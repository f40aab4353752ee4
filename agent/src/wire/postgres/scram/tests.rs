use std::num::NonZeroU32;

use super::client::{self, Binding};
use super::server::{Judged, Offered, Rejection};
use super::*;
use crate::wire::postgres::Fault;
use crate::wire::postgres::testing::Dice;

const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_LAST: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Salted {
    Derivation::new(&Password::new(password.into()), salt, count(iterations)).run()
}

fn verifier(password: &[u8], salt: &[u8], iterations: u32) -> Verifier {
    salted(password, salt, iterations).verifier(salt, count(iterations))
}

fn end_point(certificate: &str) -> EndPoint {
    EndPoint::for_test(certificate.as_bytes())
}

#[test]
fn the_server_agrees_with_rfc_7677() {
    let salt = decode(SALT.as_bytes()).unwrap();
    let verifier = verifier(b"pencil", &salt, 4096);
    let begun = Offered::new(None).chosen(PLAIN).unwrap().first(FIRST.as_bytes()).unwrap();
    let (challenging, first) =
        begun.challenge_by(&salt, count(4096), b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    assert_eq!(String::from_utf8(first).unwrap(), SERVER_FIRST);
    let Judged::Good(key, last) = challenging.last(LAST.as_bytes(), Some(&verifier)).unwrap()
    else {
        panic!("the proof is good");
    };
    assert_eq!(String::from_utf8(last).unwrap(), SERVER_LAST);
    // The proof has yielded the key.
    assert!(key.0.equals(salted(b"pencil", &salt, 4096).client_key().0.bytes()));
}

#[test]
fn the_client_agrees_with_rfc_7677() {
    let begun = client::Begun {
        binding: Binding::Unable,
        nonce: "rOprNGfwEbeRWgbNEkqO".into(),
        bare: b"n=user,r=rOprNGfwEbeRWgbNEkqO".as_slice().into(),
    };
    let challenged = begun.challenged(SERVER_FIRST.as_bytes(), 4096).unwrap();
    let salted = salted(b"pencil", challenged.salt(), challenged.iterations().get());
    let (last, proven) = challenged.prove(&salted.client_key(), &salted.server_key());
    assert_eq!(String::from_utf8(last).unwrap(), LAST);
    assert_eq!(proven.server_proves(SERVER_LAST.as_bytes()), Ok(()));
    let forged = SERVER_LAST.replace("6rri", "6rrj");
    assert_eq!(proven.server_proves(forged.as_bytes()), Err(Fault::Unproven));
}

/// One exchange; says what the server thinks of it, and whether the client
/// believes the server.
fn exchange(
    password: &[u8],
    verifier: &Verifier,
    binding: Binding,
    offers: Option<EndPoint>,
) -> Result<bool, Rejection> {
    let (begun, mechanism, first) = client::begin(binding, Nonce([1; 18]));
    let greeted = Offered::new(offers).chosen(mechanism)?.first(&first)?;
    let (challenging, message) =
        greeted.challenge(verifier.salt(), verifier.iterations(), Nonce([2; 18]));
    let challenged = begun.challenged(&message, u32::MAX).unwrap();
    let salted = salted(password, challenged.salt(), challenged.iterations().get());
    let (last, proven) = challenged.prove(&salted.client_key(), &salted.server_key());
    match challenging.last(&last, Some(verifier))? {
        Judged::Good(_, message) => {
            assert_eq!(proven.server_proves(&message), Ok(()));
            Ok(true)
        }
        Judged::Wrong => Ok(false),
    }
}

#[test]
fn any_password_goes_both_ways_and_no_other_does() {
    let mut dice = Dice::new(7);
    for _ in 0..200 {
        let bytes = |dice: &mut Dice, most: usize| -> Vec<u8> {
            let length = dice.below(most);
            (0..length).map(|_| dice.throw() as u8).collect()
        };
        let password = bytes(&mut dice, 40);
        let mut salt = bytes(&mut dice, 30);
        salt.push(dice.throw() as u8);
        let verifier = verifier(&password, &salt, 1 + dice.below(3) as u32);
        let again = Verifier::parse(verifier.to_text().as_bytes()).unwrap();
        for binding in [Binding::Unable, Binding::Unoffered, Binding::To(end_point("leaf"))] {
            let offers = matches!(binding, Binding::To(_)).then(|| end_point("leaf"));
            assert_eq!(exchange(&password, &again, binding.clone(), offers.clone()), Ok(true));
            let mut other = password.clone();
            other.push(b'x');
            assert_eq!(exchange(&other, &again, binding, offers), Ok(false));
        }
    }
}

#[test]
fn bindings_are_held_against_each_other_as_postgresql_does() {
    let verifier = verifier(b"pencil", b"salt", 1);
    let go = |binding, offers| exchange(b"pencil", &verifier, binding, offers);
    let leaf = || Some(end_point("leaf"));
    // A client that doesn't bind may log in where it could have.
    assert_eq!(go(Binding::Unable, leaf()), Ok(true));
    let downgraded = go(Binding::Unoffered, leaf()).unwrap_err();
    assert_eq!(downgraded.message, "SCRAM channel binding negotiation error");
    let elsewhere = go(Binding::To(end_point("other")), leaf()).unwrap_err();
    assert_eq!(elsewhere.message, "SCRAM channel binding check failed");
    assert_eq!(elsewhere.sqlstate, "28000");
    let unoffered = go(Binding::To(end_point("leaf")), None).unwrap_err();
    assert_eq!(unoffered.message, "client selected an invalid SASL authentication mechanism");
}

#[test]
fn a_client_that_errs_is_told_as_postgresql_tells_it() {
    let verifier = verifier(b"pencil", b"salt", 1);
    let first = |message: &str, bound: bool| {
        let offered = Offered::new(bound.then(|| end_point("leaf")));
        let mechanism = if bound { PLUS } else { PLAIN };
        offered
            .chosen(mechanism)
            .unwrap()
            .first(message.as_bytes())
            .err()
            .map(|error| error.message)
    };
    assert_eq!(first("n,,n=,r=abc", false), None);
    assert_eq!(first("y,,n=,r=abc,x=later", false), None);
    assert_eq!(first("p=tls-server-end-point,,n=,r=abc", true), None);
    let malformed = Some("malformed SCRAM message");
    for message in
        ["", "x,,n=,r=a", "n", "n,", "n,,", "n,,n=", "n,,n=,r", "n,,r=a", "n,,n=,r=a,b", "n,,n=\0"]
    {
        assert_eq!(first(message, false), malformed, "{message}");
    }
    assert_eq!(first("p=tls-server-end-point,,n=,r=abc", false), malformed);
    assert_eq!(first("n,,n=,r=abc", true), malformed);
    assert_eq!(first("y,,n=,r=abc", true), malformed);
    let kind = Some("unsupported SCRAM channel-binding type");
    assert_eq!(first("p=tls-unique,,n=,r=abc", true), kind);
    assert_eq!(first("p=tls-server-end-pointless,,n=,r=abc", true), kind);
    let name = Some("client uses authorization identity, but it is not supported");
    assert_eq!(first("n,a=me,n=,r=abc", false), name);
    let extension = Some("client requires an unsupported SCRAM extension");
    assert_eq!(first("n,,m=x,n=,r=abc", false), extension);
    let nonce = Some("non-printable characters in SCRAM nonce");
    assert_eq!(first("n,,n=,r=a b", false), nonce);

    let last = |message: &str| {
        let offered = Offered::new(None).chosen(PLAIN).unwrap();
        let begun = offered.first(b"n,,n=,r=abc").unwrap();
        let (challenging, _) = begun.challenge_by(b"salt", count(1), b"def");
        match challenging.last(message.as_bytes(), Some(&verifier)) {
            Ok(Judged::Wrong) => "wrong",
            Ok(Judged::Good(..)) => "good",
            Err(rejection) => rejection.message,
        }
    };
    let proof = encode(&[0; 32]);
    assert_eq!(last(&format!("c=biws,r=abcdef,p={proof}")), "wrong");
    assert_eq!(last(&format!("c=biws,r=abcdef,x=1,p={proof}")), "wrong");
    // A nonce of another exchange.
    assert_eq!(last(&format!("c=biws,r=abcxyz,p={proof}")), "invalid SCRAM response");
    assert_eq!(
        last(&format!("c=eSws,r=abcdef,p={proof}")),
        "unexpected SCRAM channel-binding attribute in client-final-message"
    );
    for message in [
        "c=biws,r=abcdef".to_owned(),
        "c=biws,r=abcdef,p=AAAA".to_owned(),
        format!("c=biws,r=abcdef,p={proof},x=1"),
        format!("r=abcdef,p={proof}"),
        format!("c=biws,p={proof}"),
    ] {
        assert_eq!(last(&message), "malformed SCRAM message", "{message}");
    }
}

#[test]
fn without_a_verifier_every_proof_is_wrong() {
    let offered = Offered::new(None).chosen(PLAIN).unwrap();
    let (begun, _, first) = client::begin(Binding::Unable, Nonce([3; 18]));
    let (challenging, message) =
        offered.first(&first).unwrap().challenge(b"salt", count(1), Nonce([4; 18]));
    let salted = salted(b"pencil", b"salt", 1);
    let (last, _) =
        begun.challenged(&message, 1).unwrap().prove(&salted.client_key(), &salted.server_key());
    assert!(matches!(challenging.last(&last, None), Ok(Judged::Wrong)));
}

#[test]
fn a_server_that_errs_is_refused() {
    let go = |message: &str| {
        let (begun, _, first) = client::begin(Binding::Unable, Nonce([0; 18]));
        let nonce = String::from_utf8(first).unwrap().replace("n,,n=,r=", "");
        begun.challenged(message.replace("NONCE", &nonce).as_bytes(), 1000).map(|_| ())
    };
    assert_eq!(go("r=NONCEx,s=AAAA,i=1000"), Ok(()));
    let too_many = go("r=NONCEx,s=AAAA,i=1001");
    assert!(matches!(too_many, Err(Fault::Limit { limit: 1000, .. })), "{too_many:?}");
    for message in [
        "",
        "r=NONCE,s=AAAA,i=1",
        "r=other,s=AAAA,i=1",
        "r=NONCE x,s=AAAA,i=1",
        "r=NONCEx,s=,i=1",
        "r=NONCEx,s=!,i=1",
        "r=NONCEx,s=AAAA,i=0",
        "r=NONCEx,s=AAAA,i=-1",
        "r=NONCEx,s=AAAA,i=+1",
        "r=NONCEx,s=AAAA,i=99999999999",
        "r=NONCEx,s=AAAA,i=1,x=1",
        "m=x,r=NONCEx,s=AAAA,i=1",
        "e=other-error",
    ] {
        assert!(matches!(go(message), Err(Fault::Malformed { .. })), "{message}");
    }
}

#[test]
fn foreign_bytes_are_never_a_panic() {
    let verifier = verifier(b"pencil", b"salt", 1);
    let mut dice = Dice::new(99);
    let seeds = [FIRST, SERVER_FIRST, LAST, SERVER_LAST, "p=tls-server-end-point,,n=,r=a"];
    for _ in 0..20_000 {
        let mut message = seeds[dice.below(seeds.len())].as_bytes().to_vec();
        for _ in 0..dice.below(6) {
            match dice.below(3) {
                0 if !message.is_empty() => {
                    let at = dice.below(message.len());
                    message[at] = dice.throw() as u8;
                }
                1 => message.truncate(dice.below(message.len() + 1)),
                _ => message.insert(dice.below(message.len() + 1), b",=rsipcvm"[dice.below(9)]),
            }
        }
        let _ = Verifier::parse(&message);
        let _ = end_point_hash(&message);
        let (begun, ..) = client::begin(Binding::Unable, Nonce([0; 18]));
        let _ = begun.challenged(&message, 5000);
        for offers in [None, Some(end_point("leaf"))] {
            for mechanism in [PLAIN, PLUS] {
                let Ok(offered) = Offered::new(offers.clone()).chosen(mechanism) else { continue };
                if let Ok(begun) = offered.first(&message) {
                    let (challenging, _) = begun.challenge_by(b"salt", count(1), b"x");
                    let _ = challenging.last(&message, Some(&verifier));
                }
            }
        }
    }
}

#[test]
fn passwords_are_prepared_as_postgresql_prepares_them() {
    let prepared = |password: &[u8]| Password::new(password.into()).prepared().bytes().to_vec();
    assert_eq!(prepared(b"plain"), b"plain");
    // ASCII stays, control characters too.
    assert_eq!(prepared(b"tab\tbell\x07"), b"tab\tbell\x07");
    // RFC 4013's own examples.
    assert_eq!(prepared("I\u{ad}X".as_bytes()), b"IX");
    assert_eq!(prepared("\u{aa}".as_bytes()), b"a");
    assert_eq!(prepared("\u{2168}".as_bytes()), b"IX");
    // What is forbidden, or no text, stays as it is.
    assert_eq!(prepared("\u{627}1".as_bytes()), "\u{627}1".as_bytes());
    assert_eq!(prepared(b"\xff\xfe"), b"\xff\xfe");
    assert_eq!(prepared("\u{ad}".as_bytes()), "\u{ad}".as_bytes());
}

#[test]
fn verifiers_are_read_as_they_are_written() {
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let parsed = Verifier::parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.to_text().as_str(), text);
    // It is the one of RFC 7677's password.
    let salt = decode(SALT.as_bytes()).unwrap();
    assert_eq!(verifier(b"pencil", &salt, 4096).to_text().as_str(), text);
    assert!(!format!("{parsed:?}").contains("WG5d"));
    let wrong = |text: &str| Verifier::parse(text.as_bytes()).unwrap_err();
    assert_eq!(wrong("md5d41d8cd98f00b204e9800998ecf8427e"), BadVerifier::Md5);
    assert_eq!(wrong("SCRAM-SHA-512$1:AA==$AA==:AA=="), BadVerifier::Kind);
    assert_eq!(wrong(&text.replace("4096", "0")), BadVerifier::Iterations);
    assert_eq!(wrong(&text.replace("4096", "-1")), BadVerifier::Iterations);
    assert_eq!(wrong(&text.replace("qY=", "qY")), BadVerifier::Encoding);
    assert_eq!(wrong(&text.replace(':', ";")), BadVerifier::Form);
    assert_eq!(wrong(&format!("{text}$")), BadVerifier::Form);
}

/// No more of a certificate than where its signature's algorithm stands.
fn certificate(algorithm: &[u8]) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let signed = element(0x30, b"what is signed");
    let content = [signed, element(0x30, algorithm), element(0x03, b"\0signature")].concat();
    element(0x30, &content)
}

#[test]
fn end_points_are_hashed_by_the_signatures_hash() {
    let oid = |bytes: &[u8]| [&[6, bytes.len() as u8], bytes].concat();
    let rsa = |last: u8| oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]);
    let ecdsa = |last: u8| oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last]);
    let pss = |hash: &[u8]| {
        let identifier = [&[0x30, hash.len() as u8 + 2, 6, hash.len() as u8], hash].concat();
        let field = [&[0xa0, identifier.len() as u8], identifier.as_slice()].concat();
        [rsa(10), [&[0x30, field.len() as u8], field.as_slice()].concat()].concat()
    };
    let sha = |last: u8| [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last];
    let length = |algorithm: Vec<u8>| {
        let certificate = certificate(&algorithm);
        let found = end_point_hash(&certificate)?;
        let algorithm = match found.bytes().len() {
            28 => &aws_lc_rs::digest::SHA224,
            32 => &aws_lc_rs::digest::SHA256,
            48 => &aws_lc_rs::digest::SHA384,
            _ => &aws_lc_rs::digest::SHA512,
        };
        let expected = aws_lc_rs::digest::digest(algorithm, &certificate);
        assert_eq!(found.bytes(), expected.as_ref());
        Some(found.bytes().len())
    };
    // MD5 and SHA-1 count as SHA-256.
    assert_eq!(length(rsa(4)), Some(32));
    assert_eq!(length(rsa(5)), Some(32));
    assert_eq!(length(oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1])), Some(32));
    for (last, bytes) in [(11, 32), (12, 48), (13, 64), (14, 28)] {
        assert_eq!(length(rsa(last)), Some(bytes));
    }
    for (last, bytes) in [(1, 28), (2, 32), (3, 48), (4, 64)] {
        assert_eq!(length(ecdsa(last)), Some(bytes));
    }
    for (last, bytes) in [(1, 32), (2, 48), (3, 64), (4, 28)] {
        assert_eq!(length(pss(&sha(last))), Some(bytes));
    }
    // RSASSA-PSS without a hash means SHA-1.
    assert_eq!(length([rsa(10), vec![0x30, 0]].concat()), Some(32));
    // Ed25519 has none, nor has what nobody knows.
    assert_eq!(length(oid(&[0x2b, 0x65, 0x70])), None);
    assert_eq!(length(rsa(99)), None);
    assert_eq!(end_point_hash(b""), None);
}

/// Real certificates: rcgen's, as the agent's own leaves are.
#[test]
fn end_points_of_real_certificates() {
    for (kind, bytes) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
        (&rcgen::PKCS_ED25519, None),
    ] {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let names = vec!["server".to_owned()];
        let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let found = end_point_hash(made.der()).map(|found| found.bytes().len());
        assert_eq!(found, bytes);
    }
}
