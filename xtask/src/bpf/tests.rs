use super::*;

fn compiler() -> Compiler {
    Compiler {
        origin: "a test".to_owned(),
        rustc: "/rustc".into(),
        cargo: "/cargo".into(),
        version: "rustc 1.96.0".to_owned(),
        llvm: "/libLLVM.so.22.1".into(),
    }
}

fn checkout(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
    fs::create_dir_all(root.join("agent-ebpf/src/programs")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "agent-ebpf/src/main.rs"] {
        fs::write(root.join(file), "one").unwrap();
    }
    fs::write(root.join("agent-ebpf/src/programs/connect.rs"), "one").unwrap();
    root
}

#[test]
fn the_fingerprint_follows_sources_lock_and_tools_and_nothing_else() {
    let root = checkout("fingerprint");
    let linker = Path::new("/bpf-linker");
    let of = |compiler: &Compiler, linker: &Path| {
        fingerprint(&Sources::read(&root).unwrap(), compiler, linker)
    };
    let first = of(&compiler(), linker);
    assert_eq!(first, of(&compiler(), linker));

    fs::write(root.join("README.md"), "two").unwrap();
    assert_eq!(first, of(&compiler(), linker));

    for file in ["Cargo.lock", "agent-ebpf/src/programs/connect.rs"] {
        fs::write(root.join(file), "two").unwrap();
        assert_ne!(first, of(&compiler(), linker), "{file}");
        fs::write(root.join(file), "one").unwrap();
        assert_eq!(first, of(&compiler(), linker), "{file} as it was");
    }
    fs::write(root.join("agent-ebpf/src/programs/bind.rs"), "").unwrap();
    assert_ne!(first, of(&compiler(), linker));
    fs::remove_file(root.join("agent-ebpf/src/programs/bind.rs")).unwrap();

    let newer = Compiler { version: "rustc 1.97.0".to_owned(), ..compiler() };
    assert_ne!(first, of(&newer, linker));
    assert_ne!(first, of(&compiler(), Path::new("/another/bpf-linker")));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn an_empty_or_foreign_object_is_not_current() {
    let root = checkout("current");
    let (object, note) = (root.join("object"), root.join("note"));
    assert!(!is_current(&object, &note, "a\n"));
    fs::write(&object, "").unwrap();
    fs::write(&note, "a\n").unwrap();
    assert!(!is_current(&object, &note, "a\n"));
    fs::write(&object, "elf").unwrap();
    assert!(is_current(&object, &note, "a\n"));
    assert!(!is_current(&object, &note, "b\n"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_linker_sees_one_library_only_and_gets_its_arguments_whole() {
    let root = checkout("it's wrapped");
    let llvm = root.join("libLLVM.so.22.1");
    fs::write(&llvm, "").unwrap();
    let linker = root.join("linker that prints");
    fs::write(&linker, "#!/bin/sh\nls \"$LD_LIBRARY_PATH\"\nprintf '<%s>' \"$@\"\n").unwrap();
    fs::set_permissions(&linker, fs::Permissions::from_mode(0o755)).unwrap();
    let compiler = Compiler { llvm, ..compiler() };
    // Twice: what an earlier compiler left there must go.
    wrap(&root, &compiler, &linker).unwrap();
    let wrapper = wrap(&root, &compiler, &linker).unwrap();
    let printed = step::read(Command::new(wrapper).args(["-o", "a b"])).unwrap();
    assert_eq!(printed, "libLLVM.so\n<-o><a b>");
    fs::remove_dir_all(root).unwrap();
}
