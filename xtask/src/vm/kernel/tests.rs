use super::*;

#[test]
fn the_newest_is_by_number_not_by_letter() {
    let listed = "linux-image-6.12.9+deb12-cloud-amd64 - Linux 6.12 (signed)\n\
                  linux-image-6.12.117+deb12-cloud-amd64 - Linux 6.12 (signed)\n\
                  linux-image-6.12.90+deb12.1-cloud-amd64 - Linux 6.12 (signed)\n";
    assert_eq!(newest(listed), Some("linux-image-6.12.117+deb12-cloud-amd64"));
    assert_eq!(newest(""), None);
}

#[test]
fn what_a_module_depends_on_is_in_the_module() {
    assert_eq!(
        depends(b"ELF\0license=GPL\0depends=inet-diag,nfnetlink\0retpoline=Y\0"),
        ["inet_diag", "nfnetlink"]
    );
    assert_eq!(depends(b"\0depends=\0"), Vec::<String>::new());
    assert_eq!(depends(b""), Vec::<String>::new());
}

#[test]
fn modules_come_after_those_they_need() {
    let root = std::env::temp_dir().join(format!("tidegate-modules-{}", std::process::id()));
    fs::create_dir_all(root.join("boot")).unwrap();
    let tree = root.join("lib/modules/6.1.0/kernel/net");
    fs::create_dir_all(&tree).unwrap();
    fs::write(root.join("boot/vmlinuz-6.1.0"), "").unwrap();
    assert!(unpacked(&root).is_err(), "a kernel without its modules is not whole");

    fs::write(tree.join("tcp_diag.ko"), "\0depends=inet_diag\0").unwrap();
    fs::write(tree.join("inet_diag.ko"), "\0depends=\0").unwrap();
    fs::write(root.join("lib/modules/6.1.0/modules.builtin"), "kernel/drivers/net/veth.ko\n")
        .unwrap();
    let kernel = unpacked(&root).unwrap();
    assert_eq!(kernel.version, "6.1.0");
    let names: Vec<&str> = kernel.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["inet_diag", "tcp_diag"]);
    fs::remove_dir_all(root).unwrap();
}
