use super::*;

const ID: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
const OUTER: &str = "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d";
const UID: &str = "6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5";
const UID_: &str = "6a1f2c3d_0b1e_4c5d_8e9f_a0b1c2d3e4f5";
/// A static pod's uid has no dashes.
const STATIC: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

fn path(text: &str) -> Workload {
    of_path(&filled(text))
}

fn filled(text: &str) -> String {
    text.replace("UID_", UID_).replace("OUTER", OUTER).replace("UID", UID).replace("ID", ID)
}

/// As `unit | slice | runtime | container | outer | pod | qos`.
fn line(found: &Workload) -> String {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let qos = match found.qos {
        None => "-",
        Some(Qos::Guaranteed) => "guaranteed",
        Some(Qos::Burstable) => "burstable",
        Some(Qos::BestEffort) => "besteffort",
    };
    let text = format!(
        "{} | {} | {} | {} | {} | {} | {qos}",
        or(&found.unit),
        or(&found.slice),
        or(&found.runtime),
        or(&found.container),
        if found.outer.is_empty() { "-".into() } else { found.outer.join(",") },
        or(&found.pod),
    );
    text.replace(ID, "ID").replace(OUTER, "OUTER").replace(UID, "UID")
}

#[test]
fn paths_of_every_runtime() {
    for (text, expected) in [
        ("/", "- | - | - | - | - | - | -"),
        (
            "/system.slice/postgresql@15-main.service",
            "postgresql@15-main.service | system.slice | - | - | - | - | -",
        ),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            "postgresql@15-main.service | system-postgresql.slice | - | - | - | - | -",
        ),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            "session-3.scope | user-1000.slice | - | - | - | - | -",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service",
            "sync.service | app.slice | - | - | - | - | -",
        ),
        ("/init.scope", "init.scope | - | - | - | - | - | -"),
        // Docker, systemd's driver and cgroupfs.
        ("/system.slice/docker-ID.scope", "- | system.slice | docker | ID | - | - | -"),
        ("/docker/ID", "- | - | docker | ID | - | - | -"),
        ("/docker/buildkit/ID", "- | - | docker | ID | - | - | -"),
        ("/actions_job/ID", "- | - | - | ID | - | - | -"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
            "- | user.slice | docker | ID | - | - | -",
        ),
        // containerd, by itself and with nerdctl.
        ("/default/ID", "- | - | containerd | ID | - | - | -"),
        ("/system.slice/nerdctl-ID.scope", "- | system.slice | containerd | ID | - | - | -"),
        // Kubernetes on containerd, CRI-O and Docker.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
            "- | kubepods-burstable.slice | containerd | ID | - | UID | burstable",
        ),
        (
            "/kubepods.slice/kubepods-podUID_.slice/cri-containerd-ID.scope",
            "- | kubepods.slice | containerd | ID | - | UID | guaranteed",
        ),
        ("/kubepods/besteffort/podUID/ID", "- | - | - | ID | - | UID | besteffort"),
        ("/kubepods/podUID/ID", "- | - | - | ID | - | UID | guaranteed"),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/crio-ID.scope",
            "- | kubepods-besteffort.slice | cri-o | ID | - | UID | besteffort",
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/crio-ID.scope/container",
            "- | kubepods-besteffort.slice | cri-o | ID | - | UID | besteffort",
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/crio-conmon-ID.scope",
            "- | kubepods-besteffort.slice | - | - | - | UID | besteffort",
        ),
        ("/kubepods/burstable/podUID/crio-ID", "- | - | cri-o | ID | - | UID | burstable"),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/docker-ID.scope",
            "- | kubepods-burstable.slice | docker | ID | - | UID | burstable",
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID",
            "- | system.slice | containerd | ID | - | UID | burstable",
        ),
        // k3s keeps its pods under its own unit when told to use cgroupfs.
        (
            "/system.slice/k3s.service/kubepods/burstable/podUID/ID",
            "- | system.slice | - | ID | - | UID | burstable",
        ),
        // kind: a kubelet in a Docker container.
        (
            "/docker/OUTER/kubelet/kubepods/besteffort/podUID/ID",
            "- | - | - | ID | OUTER | UID | besteffort",
        ),
        (
            "/system.slice/docker-OUTER.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
            "- | kubelet-kubepods-burstable.slice | containerd | ID | OUTER | UID | burstable",
        ),
        // Docker in a pod.
        ("/kubepods/besteffort/podUID/OUTER/docker/ID", "- | - | docker | ID | OUTER | - | -"),
        // systemd in a container.
        (
            "/system.slice/docker-ID.scope/system.slice/nginx.service",
            "nginx.service | system.slice | docker | ID | - | - | -",
        ),
        // Podman, root and not, and with its own name for a payload.
        ("/machine.slice/libpod-ID.scope", "- | machine.slice | podman | ID | - | - | -"),
        ("/machine.slice/libpod-ID.scope/container", "- | machine.slice | podman | ID | - | - | -"),
        ("/machine.slice/libpod-conmon-ID.scope", "- | machine.slice | - | - | - | - | -"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "- | user.slice | podman | ID | - | - | -",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_ID.slice/libpod-OUTER.scope",
            "- | user-libpod_pod_ID.slice | podman | OUTER | - | - | -",
        ),
        ("/libpod_parent/libpod-ID", "- | - | podman | ID | - | - | -"),
        ("/libpod_parent/OUTER/libpod-ID", "- | - | podman | ID | - | - | -"),
        (
            "/system.slice/web.service/libpod-payload-ID",
            "- | system.slice | podman | ID | - | - | -",
        ),
        // ECS, LXC, nspawn.
        ("/ecs/0f9de17a6465404e8b1b2356dc13c2f8/ID", "- | - | - | ID | - | - | -"),
        (
            "/ecs/0f9de17a6465404e8b1b2356dc13c2f8/0f9de17a6465404e8b1b2356dc13c2f8-2005602690",
            "- | - | docker | 0f9de17a6465404e8b1b2356dc13c2f8-2005602690 | - | - | -",
        ),
        (
            "/lxc.payload.web/system.slice/nginx.service",
            "nginx.service | system.slice | lxc | web | - | - | -",
        ),
        ("/lxc/web", "- | - | lxc | web | - | - | -"),
        (
            "/machine.slice/systemd-nspawn@build.service/payload",
            "- | machine.slice | nspawn | build | - | - | -",
        ),
        // Seen from inside another cgroup namespace.
        ("/../cri-containerd-ID.scope", "- | - | containerd | ID | - | - | -"),
        // Nearly, but no.
        ("/docker/3f4c9d6b", "- | - | - | - | - | - | -"),
        ("/podcast.service", "podcast.service | - | - | - | - | - | -"),
        ("/system.slice/my-podman.service", "my-podman.service | system.slice | - | - | - | - | -"),
    ] {
        assert_eq!(line(&path(text)), expected, "{text}");
    }
    assert_eq!(
        path(&format!("/kubepods/burstable/pod{STATIC}/ID")).pod.as_deref(),
        Some(STATIC),
        "a static pod"
    );
    let rootless = path("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope");
    assert_eq!(rootless.user_slice, Some(1000));
    assert_eq!(path("/system.slice/docker-ID.scope").user_slice, None);
}

/// Docker on a host with hierarchies of version 1.
const DOCKER_V1: &str = "\
12:pids:/docker/ID
11:hugetlb:/docker/ID
10:net_cls,net_prio:/docker/ID
9:perf_event:/docker/ID
8:memory:/docker/ID
7:rdma:/
6:devices:/docker/ID
5:cpuset:/docker/ID
4:blkio:/docker/ID
3:freezer:/docker/ID
2:cpu,cpuacct:/docker/ID
1:name=systemd:/docker/ID
0::/system.slice/containerd.service
";

/// A login on such a host.
const SESSION_V1: &str = "\
12:pids:/user.slice/user-1000.slice/session-4.scope
8:memory:/user.slice/user-1000.slice/session-4.scope
5:cpuset:/
1:name=systemd:/user.slice/user-1000.slice/session-4.scope
0::/user.slice/user-1000.slice/session-4.scope
";

/// EKS with kernel 5.4: everything in version 1, nothing in version 2.
const KUBERNETES_V1: &str = "\
11:cpuset:/kubepods/burstable/podUID/ID
10:memory:/kubepods/burstable/podUID/ID
1:name=systemd:/kubepods/burstable/podUID/ID
";

#[test]
fn whole_files_of_hosts() {
    let of = |text: &str| line(&of_process(&filled(text)));
    assert_eq!(of(DOCKER_V1), "- | - | docker | ID | - | - | -");
    assert_eq!(of(SESSION_V1), "session-4.scope | user-1000.slice | - | - | - | - | -");
    assert_eq!(of(KUBERNETES_V1), "- | - | - | ID | - | UID | burstable");
    assert_eq!(
        of("0::/system.slice/docker-ID.scope\n"),
        "- | system.slice | docker | ID | - | - | -"
    );
    assert_eq!(of(""), "- | - | - | - | - | - | -");
    assert_eq!(of("no such thing\n:\n::\n0:\n"), "- | - | - | - | - | - | -");
    assert_eq!(unified("1:a:/x\n0::/y\n"), Some("/y"));
    assert_eq!(unified("1:a:/x\n"), None);
}

/// As they stood in /proc of real containers, with the runtimes' cgroupfs drivers, on a
/// host with hierarchies of both versions.
#[test]
fn whole_files_of_real_containers() {
    let of = |text: &str| {
        let found = of_process(text);
        let id = found.container.clone().unwrap();
        line(&found).replace(&id, "ID")
    };
    assert_eq!(of(include_str!("fixtures/docker")), "- | - | docker | ID | - | - | -");
    assert_eq!(of(include_str!("fixtures/podman")), "- | - | podman | ID | - | - | -");
    assert_eq!(of(include_str!("fixtures/containerd-pod")), "- | - | - | ID | - | UID | burstable");
}

#[test]
fn a_container_in_version_1_is_found_where_version_2_has_its_runtime() {
    let whole = of_process(&filled(DOCKER_V1));
    let kernels = of_path(unified(DOCKER_V1).unwrap());
    assert_eq!(kernels.unit.as_deref(), Some("containerd.service"));
    assert_eq!(line(&fuller(kernels, whole)), "- | - | docker | ID | - | - | -");
    // Where both say as much, and where only one could be read, the kernel's holds.
    let (own, others) = (path("/docker/ID"), path("/docker/OUTER"));
    assert_eq!(fuller(own.clone(), others), own);
    assert_eq!(fuller(own.clone(), Workload::default()), own);
}

#[test]
fn depth_is_bounded() {
    let deep = "/docker/ID".repeat(1000);
    let found = path(&deep);
    assert_eq!(found.outer.len(), MOST_OUTER);
    assert_eq!(found.container.as_deref(), Some(ID));
}
