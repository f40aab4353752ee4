//! What a value must be alone, and what values must not be together.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::draft::{Draft, Located};
use super::{
    CaSettings, ClassSettings, EnforcerSettings, IdentitySettings, Mistakes, OnExisting,
    PolicySettings, Protect, Settings, duration, protect,
};

/// Longest path that fits a unix socket's address.
const LONGEST_SOCKET: usize = 107;
pub(super) const MOST_WORKERS: usize = 1024;
pub(super) const MOST_QUOTA: u32 = 1_000_000;
/// A heartbeat is stale after two canaries; nobody waits long for that.
pub(super) const CANARY: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(30));
pub(super) const RESOLVE: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(86_400));
pub(super) const GRACE: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(7 * 86_400));
pub(super) const DRAIN: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(7 * 86_400));

/// The draft becomes settings, or all that is wrong with it is told.
pub(super) fn settle(draft: Draft, mut mistakes: Mistakes) -> Result<Settings, Mistakes> {
    contradictions(&draft, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(mistakes.sorted());
    }
    let default = Settings::default();
    let or = |written: Option<Located<PathBuf>>, default| written.map_or(default, |l| l.value);
    Ok(Settings {
        cgroup: draft.cgroup.map(|l| l.value).or(default.cgroup),
        bpffs: or(draft.bpffs, default.bpffs),
        listen_port: value(draft.listen_port, default.listen_port),
        control: or(draft.control, default.control),
        enforcer: EnforcerSettings {
            user: value(draft.user, default.enforcer.user),
            workers: value(draft.workers, default.enforcer.workers),
            drain: value(draft.drain, default.enforcer.drain),
        },
        on_existing: value(draft.on_existing, default.on_existing),
        protect: draft.protect.map_or(default.protect, |list| {
            list.value.into_iter().map(|protect| protect.value).collect()
        }),
        passthrough: draft.passthrough.into_iter().map(|one| one.value).collect(),
        ca: CaSettings {
            certificate: or(draft.ca_certificate, default.ca.certificate),
            key: or(draft.ca_key, default.ca.key),
        },
        audit: draft.audit.settled(default.audit),
        approvals: draft.approvals.settled(default.approvals),
        logins: or(draft.logins, default.logins),
        classes: ClassSettings { file: or(draft.classes, default.classes.file), words: Vec::new() },
        policy: PolicySettings {
            mode: value(draft.policy_mode, default.policy.mode),
            folder: or(draft.policy_folder, default.policy.folder),
            packs: values(draft.policy_packs),
            bare: value(draft.policy_bare, default.policy.bare),
            enforced: values(draft.policy_enforced),
            enforce_file: or(draft.policy_enforce_file, default.policy.enforce_file),
            ..default.policy
        },
        identity: IdentitySettings {
            directory: draft.directory.map(|l| l.value),
            kinds: draft.kinds.map(|l| l.value),
            runtimes: value(draft.runtimes, default.identity.runtimes),
            kubelet: or(draft.kubelet, default.identity.kubelet),
            pod_logs: or(draft.pod_logs, default.identity.pod_logs),
        },
        canary_every: value(draft.canary_every, default.canary_every),
        resolve_every: value(draft.resolve_every, default.resolve_every),
        resolve_grace: value(draft.resolve_grace, default.resolve_grace),
        quota_user: value(draft.quota_user, default.quota_user),
        quota_cgroup: value(draft.quota_cgroup, default.quota_cgroup),
        debug_programs: value(draft.debug_programs, default.debug_programs),
    })
}

fn value<T>(written: Option<Located<T>>, default: T) -> T {
    written.map_or(default, |located| located.value)
}

fn values<T>(written: Vec<Located<T>>) -> Vec<T> {
    written.into_iter().map(|located| located.value).collect()
}

fn contradictions(draft: &Draft, mistakes: &mut Mistakes) {
    passthrough(draft, mistakes);
    let default = Settings::default();
    let listen_port = draft.listen_port.as_ref().map_or(default.listen_port, |l| l.value);
    let Some(list) = &draft.protect else {
        if let (Some(port), true) =
            (&draft.listen_port, default.protect.iter().any(|p| p.target.port() == listen_port))
        {
            mistakes.add(
                port.place.clone(),
                format!(
                    "the listeners' port {listen_port} is protected by default: choose another"
                ),
            );
        }
        return;
    };
    if list.value.iter().all(|entry| entry.value.exclude) {
        // Entries that could not be read have been told already.
        if mistakes.is_empty() {
            mistakes.add(
                list.place.clone(),
                "nothing is protected: name a destination, such as `5432`",
            );
        }
        return;
    }
    for (index, entry) in list.value.iter().enumerate() {
        if entry.value.target.port() == listen_port {
            let name = &entry.value.name;
            mistakes.add(
                entry.place.clone(),
                format!(
                    "`{name}` is on the listeners' own port: protect another, or move \
                     `listen_port`"
                ),
            );
        }
        let earlier = list.value.iter().take(index);
        if let Some(first) = earlier.rev().find(|o| o.value.target == entry.value.target) {
            mistakes.add(entry.place.clone(), twice(first, &entry.value));
        } else if entry.value.exclude && !held(entry, &list.value) {
            mistakes.add(
                entry.place.clone(),
                format!(
                    "`{}` is excluded, and nothing wider protects it: take it out",
                    entry.value.name
                ),
            );
        }
    }
}

/// Whoever is named for a destination names one that is there.
fn passthrough(draft: &Draft, mistakes: &mut Mistakes) {
    let default = Settings::default().protect;
    let written = draft.protect.as_ref().map(|list| list.value.iter().map(|entry| &entry.value));
    let names: Vec<&str> = match written {
        Some(list) => list.filter(|p| !p.exclude).map(|p| p.name.as_str()).collect(),
        None => default.iter().map(|protect| protect.name.as_str()).collect(),
    };
    for one in &draft.passthrough {
        let Some(to) = &one.value.to else { continue };
        if !names.contains(&to.as_str()) {
            mistakes.add(
                one.place.clone(),
                format!("`{to}` is no protected destination: write it as it stands in `protect`"),
            );
        }
    }
}

fn held(entry: &Located<Protect>, list: &[Located<Protect>]) -> bool {
    list.iter().any(|o| !o.value.exclude && protect::within(&entry.value.target, &o.value.target))
}

fn twice(first: &Located<Protect>, second: &Protect) -> String {
    let (name, there) = (&second.name, first.place.beside());
    let word = |p: &Protect| match (p.exclude, p.mode) {
        (true, _) => "excluded",
        (false, crate::model::Mode::Strict) => "strict",
        (false, crate::model::Mode::Permissive) => "permissive",
    };
    let (was, is) = (word(&first.value), word(second));
    if was == is {
        format!("`{name}` is named twice, first at {there}: take one out")
    } else {
        format!("`{name}` is {is} here and {was} at {there}: choose one")
    }
}

// ---- single values ----------------------------------------------------------

pub(super) fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("`{}` is not an absolute path: begin it with `/`", path.display()))
    }
}

pub(super) fn socket(path: PathBuf) -> Result<PathBuf, String> {
    let path = absolute(path)?;
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST_SOCKET {
        return Err(format!(
            "a socket's path has at most {LONGEST_SOCKET} bytes, and this one {length}: choose a \
             shorter one"
        ));
    }
    Ok(path)
}

pub(super) fn port(port: u16) -> Result<u16, String> {
    if port == 0 { Err("`0` is not a port: they go from 1 to 65535".into()) } else { Ok(port) }
}

pub(super) fn user(name: String) -> Result<String, String> {
    if name == "root" || name == "0" {
        return Err("the enforcer never runs as root: name a user of its own, such as \
                    `tidegate`"
            .into());
    }
    let fine = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.$".contains(&b))
        && !name.starts_with('-');
    if fine { Ok(name) } else { Err(format!("`{name}` is not a user's name")) }
}

pub(super) fn on_existing(text: &str) -> Result<OnExisting, String> {
    match text {
        "adopt" => Ok(OnExisting::Adopt),
        "kill" => Ok(OnExisting::Kill),
        other => Err(super::file::unknown("value", other, &["adopt", "kill"])),
    }
}

pub(super) fn between(text: &str, range: (Duration, Duration)) -> Result<Duration, String> {
    let duration = duration::parse(text)?;
    if duration < range.0 || duration > range.1 {
        return Err(format!(
            "`{text}` is out of range: from {} to {}",
            duration::write(range.0),
            duration::write(range.1),
        ));
    }
    Ok(duration)
}
