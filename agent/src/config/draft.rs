//! Settings on their way: what was written, and where.

use std::path::PathBuf;
use std::time::Duration;

use super::approvals::ApprovalDraft;
use super::audit::AuditDraft;
use super::{Mistakes, OnExisting, PassthroughSettings, Place, Protect, check, protect};
use crate::model::PolicyMode;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub value: T,
    pub place: Place,
}

/// Every setting, as far as it was written somewhere. Each value has passed
/// the checks that it can pass alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub cgroup: Option<Located<PathBuf>>,
    pub bpffs: Option<Located<PathBuf>>,
    pub listen_port: Option<Located<u16>>,
    pub control: Option<Located<PathBuf>>,
    pub user: Option<Located<String>>,
    pub workers: Option<Located<usize>>,
    pub drain: Option<Located<Duration>>,
    pub on_existing: Option<Located<OnExisting>>,
    pub protect: Option<Located<Vec<Located<Protect>>>>,
    pub passthrough: Vec<Located<PassthroughSettings>>,
    pub ca_certificate: Option<Located<PathBuf>>,
    pub ca_key: Option<Located<PathBuf>>,
    pub audit: AuditDraft,
    pub approvals: ApprovalDraft,
    pub directory: Option<Located<PathBuf>>,
    pub kinds: Option<Located<PathBuf>>,
    pub runtimes: Option<Located<Vec<PathBuf>>>,
    pub kubelet: Option<Located<PathBuf>>,
    pub pod_logs: Option<Located<PathBuf>>,
    pub logins: Option<Located<PathBuf>>,
    pub classes: Option<Located<PathBuf>>,
    pub policy_mode: Option<Located<PolicyMode>>,
    pub policy_folder: Option<Located<PathBuf>>,
    pub policy_packs: Vec<Located<String>>,
    pub policy_bare: Option<Located<bool>>,
    pub policy_enforced: Vec<Located<String>>,
    pub policy_enforce_file: Option<Located<PathBuf>>,
    pub canary_every: Option<Located<Duration>>,
    pub resolve_every: Option<Located<Duration>>,
    pub resolve_grace: Option<Located<Duration>>,
    pub quota_user: Option<Located<u32>>,
    pub quota_cgroup: Option<Located<u32>>,
    pub debug_programs: Option<Located<bool>>,
}

/// What the command line and the environment say; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub cgroup: Option<PathBuf>,
    pub bpffs: Option<PathBuf>,
    pub listen_port: Option<u16>,
    pub control: Option<PathBuf>,
    pub on_existing: Option<OnExisting>,
    /// Replaces the file's list, unless it is empty.
    pub protect: Vec<String>,
    pub policy: Option<PolicyMode>,
    pub debug_programs: Option<bool>,
}

impl Overrides {
    pub(super) fn over(self, mut draft: Draft, mut mistakes: Mistakes) -> (Draft, Mistakes) {
        take(&mut draft.cgroup, self.cgroup, "cgroup", check::absolute, &mut mistakes);
        take(&mut draft.bpffs, self.bpffs, "bpffs", check::absolute, &mut mistakes);
        take(&mut draft.control, self.control, "control", check::socket, &mut mistakes);
        take(&mut draft.listen_port, self.listen_port, "listen-port", check::port, &mut mistakes);
        take(&mut draft.on_existing, self.on_existing, "on-existing", Ok, &mut mistakes);
        take(&mut draft.policy_mode, self.policy, "policy", Ok, &mut mistakes);
        take(&mut draft.debug_programs, self.debug_programs, "debug-programs", Ok, &mut mistakes);
        if !self.protect.is_empty() {
            let place = named("protect");
            let mut list = Vec::new();
            for text in &self.protect {
                match protect::parse(text) {
                    Ok(value) => list.push(Located { value, place: place.clone() }),
                    Err(error) => mistakes.add(place.clone(), error),
                }
            }
            draft.protect = Some(Located { value: list, place });
        }
        (draft, mistakes)
    }
}

fn take<T>(
    slot: &mut Option<Located<T>>,
    value: Option<T>,
    flag: &str,
    check: impl Fn(T) -> Result<T, String>,
    mistakes: &mut Mistakes,
) {
    let Some(value) = value else { return };
    let place = named(flag);
    match check(value) {
        Ok(value) => *slot = Some(Located { value, place }),
        Err(error) => mistakes.add(place, error),
    }
}

fn named(flag: &str) -> Place {
    let variable = flag.replace('-', "_").to_ascii_uppercase();
    Place::Named(format!("--{flag} (TIDEGATE_{variable})"))
}
