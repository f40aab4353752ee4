use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::*;

/// A certificate of this common name and these subject names.
fn certificate(common: &str, names: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(*name).unwrap()),
        })
        .collect();
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn what_is_asked_for_is_among_them_where_a_wildcard_covers_it() {
    let pool = certificate("pool", &["*.pool.example", "10.0.0.1"]);
    let named = |asked: &[Option<&str>]| verified_names(&pool, asked);
    assert_eq!(named(&[]), ["*.pool.example", "10.0.0.1"]);
    let both = [Some("A.pool.example"), Some("b.pool.example")];
    assert_eq!(named(&both), ["*.pool.example", "10.0.0.1", "a.pool.example", "b.pool.example"]);
    // One label, and no more; never the star itself.
    for other in ["pool.example", "a.b.pool.example", "a.pool.test", "*.b.example", "10.0.0.2"] {
        assert_eq!(named(&[Some(other), None]), ["*.pool.example", "10.0.0.1"], "{other}");
    }
}

#[test]
fn names_that_the_keeper_does_not_read_are_left_out() {
    let odd =
        certificate("db.example", &["f*o.example", "a.*.example", "db.example", "-x.example"]);
    assert_eq!(verified_names(&odd, &[None]), ["db.example"]);
    for name in names_of(&odd) {
        assert!(LeafName::parse(&name).is_some(), "{name}");
    }
}

#[test]
fn a_common_name_is_shown_but_nobody_verifies_by_it() {
    let old = certificate("db.example", &[]);
    assert_eq!(names_of(&old), ["db.example"]);
    assert!(verified_names(&old, &[Some("db.example")]).is_empty());
}

#[test]
fn of_very_many_what_is_asked_for_stays() {
    let many: Vec<String> = (0..300).map(|n| format!("n{n}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let many = certificate("many", &many);
    assert_eq!(names_of(&many).len(), MOST_LEAF_NAMES);
    let named = verified_names(&many, &[Some("n299.example")]);
    assert_eq!(named.len(), MOST_LEAF_NAMES);
    assert!(named.contains(&"n299.example".into()));
    let long: Vec<String> = (0..64).map(|n| format!("{n}.{}.example", "x".repeat(60))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let named = verified_names(&certificate("long", &long), &[]);
    assert!(named.concat().len() <= MOST_LEAF_NAME_BYTES && named.len() > 40);
}
