use super::*;

#[test]
fn this_process_is_known_by_its_start() {
    let tgid = std::process::id();
    let (_, ticks) = stat(Path::new("/proc/self")).unwrap();
    let right = read(ProcessKey { tgid, started: ticks * CLOCK_TICK, exec: 1 });
    assert_eq!(right.exe, std::env::current_exe().ok());
    assert!(right.command.is_some_and(|command| !command.is_empty()));
    let wrong = read(ProcessKey { tgid, started: (ticks + 500) * CLOCK_TICK, exec: 1 });
    assert!(wrong.exe.is_none() && wrong.command.is_none());
}

#[test]
fn an_argument_block_is_split_where_its_nuls_are() {
    assert_eq!(arguments(b"psql\0-c\0select 1\0"), ["psql", "-c", "select 1"]);
    assert_eq!(arguments(b"psql\0\0x"), ["psql", "", "x"]);
    assert!(arguments(b"").is_empty());
}

#[test]
fn workloads_are_read_from_paths_of_real_hosts() {
    let id = "0123456789abcdef".repeat(4);
    let of = |path: &str| workload(&path.replace("ID", &id));
    let container = Some(id.clone());
    let docker = of("/system.slice/docker-ID.scope");
    assert_eq!((docker.container, docker.unit), (container.clone(), None));
    assert_eq!(of("/docker/ID").container, container);
    let pod = of(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6a1f2c3d_0b1e_4c5d_8e9f_a0b1c2d3e4f5.slice/cri-containerd-ID.scope",
    );
    assert_eq!(pod.pod.as_deref(), Some("6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5"));
    assert_eq!(pod.container, container);
    assert_eq!(
        of("/kubepods/besteffort/pod6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5/ID").pod.as_deref(),
        Some("6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5")
    );
    let unit = of("/system.slice/postgresql-backup.service");
    assert_eq!(unit.unit.as_deref(), Some("postgresql-backup.service"));
    assert_eq!(of("/"), Workload::default());
    assert_eq!(
        of("/user.slice/user-1000.slice/session-3.scope").unit.as_deref(),
        Some("session-3.scope")
    );
}
