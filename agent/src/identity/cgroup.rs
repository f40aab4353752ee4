//! A cgroup's path → the workload: systemd's units and slices, containers of
//! every common runtime, Kubernetes pods; hierarchies of version 1 and 2, and
//! one inside the other.

use crate::model::{Qos, Workload};

/// Containers in containers; deeper is nobody's.
const MOST_OUTER: usize = 4;
/// A path that is longer is cut: a process may make its cgroups deep.
const MOST_PARTS: usize = 64;

/// What the whole of /proc/PID/cgroup says. A host with hierarchies of version
/// 1 has a line for each; the line that says most is taken.
pub fn of_process(text: &str) -> Workload {
    let mut best = Workload::default();
    let mut best_weight = 0;
    for wanted in [is_unified, is_systemd, is_other] {
        for line in text.lines() {
            let Some((head, path)) = split(line) else { continue };
            if !wanted(head) {
                continue;
            }
            let found = of_path(path);
            let weight = weight(&found);
            if weight > best_weight {
                best_weight = weight;
                best = found;
            }
        }
    }
    best
}

/// What the kernel's own path says, of the hierarchy of version 2, unless the process's
/// others say more: on a host that still keeps containers in version 1, a container is
/// in the other only where its runtime is.
pub fn fuller(own: Workload, others: Workload) -> Workload {
    if weight(&others) > weight(&own) { others } else { own }
}

/// The path in the hierarchy of version 2.
pub fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What one path says.
pub fn of_path(path: &str) -> Workload {
    let mut found = Workload::default();
    let mut before = "";
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "..").take(MOST_PARTS) {
        if let Some((container, runtime)) = container(part, before) {
            if let Some(outer) = found.container.take()
                && found.outer.len() < MOST_OUTER
            {
                found.outer.push(outer);
            }
            // What lies around a container isn't the container's.
            found.unit = None;
            if !found.outer.is_empty() && !is_pod_part(before) {
                found.pod = None;
                found.qos = None;
            }
            found.runtime = runtime.map(str::to_owned);
            found.container = Some(container.to_owned());
        } else if let Some(uid) = pod(part) {
            found.qos = Some(qos(path, part));
            found.pod = Some(uid);
        } else if let Some(slice) = part.strip_suffix(".slice") {
            found.slice = Some(part.to_owned());
            // The outermost is systemd's own; below it a user names slices at will.
            let user = slice.strip_prefix("user-").and_then(|uid| uid.parse().ok());
            found.user_slice = found.user_slice.or(user);
        } else if is_unit(part) {
            found.unit = Some(part.to_owned());
        }
        // A pod's slice names a container as well in older containerd:
        // `kubepods-pod….slice:cri-containerd:ID`.
        if let Some((head, _)) = part.split_once(".slice:")
            && let Some(uid) = pod(&format!("{head}.slice"))
        {
            found.qos = Some(qos(path, part));
            found.pod = Some(uid);
        }
        before = part;
    }
    found
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

fn is_unified(controllers: &str) -> bool {
    controllers.is_empty()
}

fn is_systemd(controllers: &str) -> bool {
    controllers == "name=systemd"
}

fn is_other(controllers: &str) -> bool {
    !is_unified(controllers) && !is_systemd(controllers)
}

fn weight(found: &Workload) -> u32 {
    u32::from(found.container.is_some()) * 8
        + u32::from(found.pod.is_some()) * 4
        + u32::from(found.unit.is_some()) * 2
        + u32::from(found.slice.is_some())
}

/// A container's id and its runtime, from one part of the path and the one
/// before it.
fn container<'p>(part: &'p str, before: &str) -> Option<(&'p str, Option<&'static str>)> {
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = bare.rsplit_once(['-', ':']).unwrap_or(("", bare));
    if is_id(id) {
        // What watches a container is not in it.
        if prefix.ends_with("conmon") {
            return None;
        }
        // So is the folder of a pod of podman's.
        if prefix.is_empty() && before == "libpod_parent" {
            return None;
        }
        let runtime = match prefix {
            "" => of_folder(before),
            _ if prefix.ends_with("cri-containerd") => Some("containerd"),
            _ if prefix.ends_with("nerdctl") => Some("containerd"),
            _ if prefix.ends_with("docker") => Some("docker"),
            _ if prefix.ends_with("crio") => Some("cri-o"),
            _ if prefix.contains("libpod") => Some("podman"),
            _ => None,
        };
        // `machine-libpod_pod_ID.slice` is a pod of podman's, no container.
        return (!part.ends_with(".slice")).then_some((id, runtime));
    }
    if before_is_ecs_task(before) && is_ecs(bare) {
        return Some((bare, Some("docker")));
    }
    let name = part.strip_prefix("lxc.payload.").or_else(|| (before == "lxc").then_some(part));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        return Some((name, Some("lxc")));
    }
    let nspawn = part
        .strip_prefix("systemd-nspawn@")
        .and_then(|rest| rest.strip_suffix(".service"))
        .filter(|name| !name.is_empty());
    nspawn.map(|name| (name, Some("nspawn")))
}

fn of_folder(folder: &str) -> Option<&'static str> {
    match folder {
        "docker" | "buildkit" | "docker.slice" => Some("docker"),
        "default" => Some("containerd"),
        _ => None,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The task's own folder: 32 hex digits below `ecs`.
fn before_is_ecs_task(before: &str) -> bool {
    before.len() == 32 && before.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `32 hex digits`-`digits`
fn is_ecs(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        before_is_ecs_task(task) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_pod_part(part: &str) -> bool {
    pod(part).is_some()
}

/// `pod6a1f…`, `kubepods-burstable-pod6a1f_….slice`, and what a nested kubelet
/// puts before it.
fn pod(part: &str) -> Option<String> {
    let bare = part.strip_suffix(".slice").unwrap_or(part);
    let (prefix, uid) = match bare.rfind("-pod") {
        Some(at) => (bare.get(..at)?, bare.get(at + 4..)?),
        None => ("kubepods", bare.strip_prefix("pod")?),
    };
    if !prefix.contains("kubepods") {
        return None;
    }
    let uid = uid.replace('_', "-");
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let fine = digits == 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    fine.then_some(uid)
}

fn qos(path: &str, part: &str) -> Qos {
    // The folder right around the pod says it, or the pod's own name.
    let around = path.find(part).and_then(|at| path.get(..at)).unwrap_or_default();
    let folder = around.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if part.contains("burstable") || folder.contains("burstable") {
        Qos::Burstable
    } else if part.contains("besteffort") || folder.contains("besteffort") {
        Qos::BestEffort
    } else {
        Qos::Guaranteed
    }
}

/// A service, or a scope. What a runtime's helper scope says is of no unit.
fn is_unit(part: &str) -> bool {
    if part.contains("conmon") {
        return false;
    }
    part.ends_with(".service") || part.ends_with(".scope") || part.ends_with(".socket")
}

#[cfg(test)]
mod tests;
