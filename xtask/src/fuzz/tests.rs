use super::*;

#[test]
fn every_target_is_listed_with_its_purpose_and_built() {
    let manifest = fs::read_to_string(workspace::root().join("agent/fuzz/Cargo.toml")).unwrap();
    let all = targets().unwrap();
    for wanted in ["audit", "login", "mask", "sql", "wire_postgres"] {
        assert!(all.iter().any(|(name, _)| name == wanted), "{wanted}: {all:?}");
    }
    for (name, about) in all {
        assert!(!about.is_empty(), "{name} doesn't say what it is for");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} isn't built");
    }
}

#[test]
fn every_target_has_seeds_of_the_corpora() {
    let folder = std::env::temp_dir().join(format!("tidegate-seeds-{}", std::process::id()));
    for (name, _) in targets().unwrap() {
        let count = seeds::write(&name, &folder).unwrap();
        assert!(count >= 40, "{name} has only {count}");
        assert_eq!(listed(&folder).len(), count);
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_no_target_is_refused_before_anything_is_built() {
    let arguments = Arguments { target: Some("nothing".into()), seconds: 1, input: None };
    let error = run(&arguments).unwrap_err().to_string();
    assert!(error.contains("`nothing`") && error.contains("wire_postgres"), "{error}");
}
