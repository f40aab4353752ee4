use super::*;

#[test]
fn the_commands_given_are_the_ones_we_would_run() {
    assert_eq!(
        commands(&["haproxy", "iproute2"]),
        "  sudo apt-get update\n  \
         sudo apt-get install -y --no-remove --no-install-recommends haproxy iproute2"
    );
}

#[test]
fn only_a_debian_has_debian_backports() {
    let debian = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\n";
    assert_eq!(debian_codename(debian).as_deref(), Some("bookworm"));
    assert_eq!(debian_codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    assert_eq!(debian_codename("ID=\"debian\"\n"), None);
}

#[test]
fn a_machine_without_lists_is_told_apart() {
    let folder = std::env::temp_dir().join(format!("tidegate-apt-{}", std::process::id()));
    fs::create_dir_all(folder.join("partial")).unwrap();
    assert!(!has_lists(&folder));
    fs::write(folder.join("mirror.example_dists_main_binary-amd64_Packages.lz4"), "").unwrap();
    assert!(has_lists(&folder));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_private_source_leaves_the_machines_lists_alone() {
    let private = Private { folder: "/private".into(), prefer: None };
    let words = Source::Only(private).options().join(" ");
    assert!(words.contains("Dir::State::lists=/private/lists"), "{words}");
    assert!(words.contains("Dir::Etc::sourceparts=-"), "{words}");
    let also = Private { folder: "/private".into(), prefer: Some("sid".to_owned()) };
    let words = Source::Also(also).options().join(" ");
    assert!(!words.contains("sourceparts") && words.ends_with("-t sid"), "{words}");
    assert!(Source::Machine.options().is_empty());
}

#[test]
fn a_mirror_is_found_among_the_machines_own_sources() {
    let known = "http://mirror.example/debian-security/\nhttp://mirror.example/debian/\n";
    assert_eq!(mirror_in(known, "debian").as_deref(), Some("http://mirror.example/debian"));
    let security = mirror_in(known, "debian-security");
    assert_eq!(security.as_deref(), Some("http://mirror.example/debian-security"));
    assert_eq!(mirror_in("http://mirror.example/ubuntu/", "debian"), None);
}
