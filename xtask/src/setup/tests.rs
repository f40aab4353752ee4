use super::*;

#[test]
fn names_are_found_on_path_and_paths_by_their_star() {
    assert!(locate("sh").is_some());
    assert!(locate("no-such-program-anywhere").is_none());

    let folder = env::temp_dir().join(format!("tidegate-locate-{}", std::process::id()));
    for version in ["15", "17"] {
        fs::create_dir_all(folder.join(version).join("bin")).unwrap();
        fs::write(folder.join(version).join("bin/postgres"), "").unwrap();
    }
    fs::create_dir_all(folder.join("18")).unwrap();
    let pattern = format!("{}/*/bin/postgres", folder.display());
    assert_eq!(locate(&pattern), Some(folder.join("17/bin/postgres")));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(locate(&pattern), None);
}

#[test]
fn a_file_that_cannot_be_run_is_no_program() {
    assert!(is_program(Path::new("/bin/sh")));
    assert!(!is_program(&workspace::root().join("Cargo.toml")));
    assert!(!is_program(Path::new("/bin")));
}

#[test]
fn every_package_is_asked_for_once() {
    // Asked for twice, missing or not, it is named at most once.
    let twice = [Tool::Cc, Tool::Cc, Tool::Haproxy, Tool::Haproxy];
    let missing = missing_packages(&twice);
    let mut unique = missing.clone();
    unique.dedup();
    assert_eq!(missing, unique);
}
