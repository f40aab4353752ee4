use super::*;

#[test]
fn libraries_are_read_from_what_the_loader_prints() {
    let printed = "\tlinux-vdso.so.1 (0x00007ffe)\n\
                   \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f52)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f53)\n";
    assert_eq!(
        listed(printed).unwrap(),
        [
            PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"),
            PathBuf::from("/lib64/ld-linux-x86-64.so.2"),
        ]
    );
    assert!(listed("\tlibgone.so => not found\n").is_err());
}

#[test]
fn an_archive_is_what_another_program_unpacks() {
    let mut tree = Tree::default();
    tree.file("etc/deep/hosts", b"127.0.0.1 localhost\n");
    tree.file("etc/deep/hosts", b"only the first counts");
    tree.program("init", b"#!/bin/sh\n".to_vec());
    tree.symlink("bin/sh", "busybox");
    let root = std::env::temp_dir().join(format!("tidegate-cpio-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("archive"), tree.finish()).unwrap();

    // busybox's cpio stands in for the kernel.
    let unpack = Command::new("busybox")
        .args(["sh", "-c", "busybox cpio -idm < archive"])
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(unpack.status.success(), "{unpack:?}");
    assert_eq!(fs::read(root.join("etc/deep/hosts")).unwrap(), b"127.0.0.1 localhost\n");
    assert_eq!(fs::read_link(root.join("bin/sh")).unwrap(), Path::new("busybox"));
    assert_eq!(fs::metadata(root.join("init")).unwrap().permissions().mode() & 0o777, 0o755);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_program_brings_its_libraries() {
    let mut tree = Tree::default();
    tree.with_libraries(&std::env::current_exe().unwrap(), Path::new("program")).unwrap();
    assert!(tree.there.iter().any(|path| path.to_string_lossy().contains("libc.so")));
}
