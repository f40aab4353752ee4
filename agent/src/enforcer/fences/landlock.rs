//! Files, ports, signals and abstract sockets: nothing, but the folders that
//! are the enforcer's own.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope,
};

use super::FenceError;

/// `full`, `partial: …`, or why it doesn't hold.
pub fn raise(writable: &[PathBuf]) -> Result<String, FenceError> {
    let mut folders = Vec::new();
    for path in writable {
        let cannot = |error: String| FenceError::Writable { path: path.clone(), error };
        if !path.is_dir() {
            return Err(cannot("it is no folder".into()));
        }
        folders.push(PathFd::new(path).map_err(|error| cannot(error.to_string()))?);
    }
    Ok(match restrict(folders) {
        Ok(status) => describe(&status, nothing_opens()),
        Err(error) => format!("not raised: {error}"),
    })
}

fn restrict(folders: Vec<PathFd>) -> Result<RestrictionStatus, RulesetError> {
    let own = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for folder in folders {
        rules = rules.add_rule(PathBeneath::new(folder, own))?;
    }
    rules.restrict_self()
}

/// A file that everybody may read can't be.
fn nothing_opens() -> bool {
    File::open("/dev/null").is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn describe(status: &RestrictionStatus, holds: bool) -> String {
    let kernel = match status.landlock {
        LandlockStatus::NotEnabled => {
            return "not there: add `landlock` to the kernel's `lsm=` list".into();
        }
        LandlockStatus::NotImplemented => {
            return "not there: the kernel is older than 5.13 or built without it".into();
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
    };
    match status.ruleset {
        _ if !holds => "does not hold: /dev/null could still be opened".into(),
        RulesetStatus::FullyEnforced => "full".into(),
        RulesetStatus::PartiallyEnforced if kernel < 4 => {
            format!("partial: the kernel has version {kernel}, without ports, signals and sockets")
        }
        RulesetStatus::PartiallyEnforced => {
            format!("partial: the kernel has version {kernel}, without signals and sockets")
        }
        RulesetStatus::NotEnforced => "does not hold: the kernel took no rule".into(),
    }
}

/// Version 6 (Linux 6.12) has all that is asked for.
const NEWEST: ABI = ABI::V6;

#[cfg(test)]
mod tests;
