use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config;
use crate::host::tests::Tree;
use crate::keeper::ca::{Permit, Plan};

fn found(tree: &Tree, protect: &str) -> (Verdict, String, Option<String>) {
    let settings = config::parse(&format!("protect = [{protect}]"), "tidegate.toml").unwrap();
    let check = authority(tree.root(), &settings);
    assert_eq!(check.verdict == Verdict::Ok, check.next.is_none());
    (check.verdict, check.finding, check.next)
}

fn make(tree: &Tree, permits: &[&str], days: u32) -> CaSettings {
    let permits = permits.iter().map(|text| Permit::parse(text).unwrap()).collect();
    let files = CaSettings {
        certificate: tree.root().join("etc/tidegate/ca.crt"),
        key: tree.root().join("etc/tidegate/ca.key"),
    };
    drop(fs::remove_file(&files.certificate));
    drop(fs::remove_file(&files.key));
    ca::write(&ca::make(&Plan { name: None, days, permits }).unwrap(), &files).unwrap();
    files
}

#[test]
fn the_ca_is_looked_at() {
    let tree = Tree::new("doctor-tls");
    let (verdict, finding, next) = found(&tree, "5432, 3306");
    assert_eq!(verdict, Verdict::Warn);
    assert!(finding.contains("there is none") && finding.contains("`5432`"), "{finding}");
    assert!(!finding.contains("3306") && next.unwrap().contains("tidegate ca init"));
    assert_eq!(found(&tree, "3306").0, Verdict::Ok);

    make(&tree, &[], 3650);
    let (verdict, finding, _) = found(&tree, "5432");
    assert_eq!(verdict, Verdict::Ok);
    assert!(finding.starts_with("for every name, good for 36"), "{finding}");

    make(&tree, &["db.example"], 3650);
    let (verdict, finding, _) = found(&tree, "\"db.example:5432\"");
    assert_eq!(verdict, Verdict::Ok);
    assert!(finding.starts_with("for db.example, good for 36"), "{finding}");
    let (verdict, finding, next) = found(&tree, "\"db.example:5432\", \"10.0.0.7:5432\"");
    assert_eq!(verdict, Verdict::Warn);
    assert!(
        finding.contains("not for `10.0.0.7`") && next.unwrap().contains("rotate"),
        "{finding}"
    );

    make(&tree, &[], 3);
    let (verdict, finding, _) = found(&tree, "5432");
    assert_eq!(verdict, Verdict::Warn);
    assert!(finding.starts_with("it expires in "), "{finding}");

    let files = make(&tree, &[], 3650);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let (verdict, finding, _) = found(&tree, "5432");
    assert_eq!(verdict, Verdict::Fail);
    assert!(finding.contains("can be read by others"), "{finding}");
    fs::remove_file(&files.key).unwrap();
    assert_eq!(found(&tree, "5432").0, Verdict::Fail);
}
