use super::*;

const VERSION: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x86_64-unknown-linux-gnu\n\
                       release: 1.96.0\nLLVM version: 22.1.8\n";

#[test]
fn the_generation_of_llvm_is_read_from_the_version() {
    assert_eq!(llvm_generation(VERSION), Some(22));
    assert_eq!(llvm_generation("rustc 1.96.0"), None);
}

#[test]
fn only_libraries_of_our_generation_count() {
    for name in ["libLLVM.so.22.1", "libLLVM-22.so", "libLLVM.so.22.1-rust-1.95.0-stable"] {
        assert!(is_library(name), "{name}");
    }
    for name in
        ["libLLVM-14.so.1", "libLLVM.so", "libLLVM-221.so", "libLLVMCore.a", "libclang.so.22"]
    {
        assert!(!is_library(name), "{name}");
    }
}

#[test]
fn a_linker_script_is_not_taken_for_the_library() {
    let folder = std::env::temp_dir().join(format!("tidegate-llvm-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("libLLVM-22-rust-1.95.0.so"), "INPUT(libLLVM.so.22.1)\n").unwrap();
    assert_eq!(library_in(&folder), None);
    let real = folder.join("libLLVM.so.22.1-rust-1.95.0");
    fs::File::create(&real).unwrap().set_len(2 << 20).unwrap();
    assert_eq!(library_in(&folder), Some(real));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn nightlies_come_before_the_pinned_toolchain_and_others_not_at_all() {
    let list = "stable-x86_64-unknown-linux-gnu (default)\n1.95.0-x86_64-unknown-linux-gnu (active)\n\
                nightly-x86_64-unknown-linux-gnu\n1.95.01-x86_64\n";
    assert_eq!(
        order(list, Some("1.95.0")),
        ["nightly-x86_64-unknown-linux-gnu", "1.95.0-x86_64-unknown-linux-gnu"]
    );
    assert_eq!(order(list, None), ["nightly-x86_64-unknown-linux-gnu"]);
}

#[test]
fn a_compiler_is_refused_for_a_reason() {
    let folder = std::env::temp_dir().join(format!("tidegate-rustc-{}", std::process::id()));
    let source = folder.join("lib/rustlib/src/rust/library/core/src");
    fs::create_dir_all(&source).unwrap();
    let script = |name: &str, llvm: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join(name);
        let text = format!(
            "#!/bin/sh\ncase $1 in -vV) echo 'LLVM version: {llvm}.1.0';; *) echo {};; esac\n",
            folder.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let (old, right) = (script("old", 21), script("right", 22));
    let refusal = |rustc: &Path| {
        format!("{:#}", inspect(String::new(), rustc.into(), rustc.into()).unwrap_err())
    };
    assert!(refusal(&folder.join("absent")).contains("not there"));
    assert!(refusal(&old).contains("has LLVM 21"));
    assert!(refusal(&right).contains("no source of `core`"));
    fs::write(source.join("lib.rs"), "").unwrap();
    let library = folder.join("lib/libLLVM.so.22.1");
    fs::File::create(&library).unwrap().set_len(2 << 20).unwrap();
    assert_eq!(inspect(String::new(), right.clone(), right.clone()).unwrap().llvm, library);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn another_version_of_a_tool_is_not_ours() {
    let sh = Path::new("/bin/sh");
    assert!(!is_version(sh, "bpf-linker", "0.10.3"));
}
