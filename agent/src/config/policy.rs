//! Which policies hold and on whom they are carried out: the settings, as they were
//! checked. The policies themselves are read and held against their schema by whoever
//! resolves the settings for an agent that is to run: this room doesn't know Cedar.

use std::path::{Path, PathBuf};

use super::enforced::DEFAULT_ENFORCED;
use crate::model::{PACKS, PolicyMode};

/// The operator's own policies; it may be absent.
pub const FOLDER: &str = "/etc/tidegate/policies";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    pub mode: PolicyMode,
    /// Its `*.cedar` are laid over the default policies.
    pub folder: PathBuf,
    pub packs: Vec<String>,
    /// Without the default policies.
    pub bare: bool,
    /// Services that are no longer in shadow.
    pub enforced: Vec<String>,
    /// The file of others, which `tidegate enforce` keeps.
    pub enforce_file: PathBuf,
    /// What the folder's files are called and hold, once they were read and found
    /// right. Never written in a file of settings.
    pub sources: Vec<(String, String)>,
    /// Which policies that makes, all in all. `None`: they were not read.
    pub generation: Option<String>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            mode: PolicyMode::Enforce,
            folder: PathBuf::from(FOLDER),
            packs: Vec::new(),
            bare: false,
            enforced: Vec::new(),
            enforce_file: PathBuf::from(DEFAULT_ENFORCED),
            sources: Vec::new(),
            generation: None,
        }
    }
}

impl PolicySettings {
    /// Whether the folder need not be there: nobody has asked for it.
    pub fn folder_may_be_absent(&self) -> bool {
        self.folder == Path::new(FOLDER)
    }
}

// ---- single values ----------------------------------------------------------

pub(super) fn mode(text: &str) -> Result<PolicyMode, String> {
    match text {
        "enforce" => Ok(PolicyMode::Enforce),
        "shadow" => Ok(PolicyMode::Shadow),
        "off" => Ok(PolicyMode::Off),
        other => Err(super::file::unknown("mode", other, &["enforce", "shadow", "off"])),
    }
}

pub(super) fn pack(text: &str) -> Result<String, String> {
    if PACKS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(super::file::unknown("pack", text, &PACKS))
    }
}

/// A unit, a container's image or an executable: what a workload is called
/// ([`crate::model::Process::names`]).
pub(super) fn workload(text: &str) -> Result<String, String> {
    const LONGEST: usize = 4096;
    let fine = !text.is_empty()
        && text.len() <= LONGEST
        && text.trim() == text
        && !text.chars().any(char::is_control);
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no workload's name: name a unit, such as `shop.service`"))
    }
}

/// Policies compare it letter by letter: `Production` would be another one than
/// `production`, and a lesser one.
pub(super) fn environment(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    if text != lower {
        return Err(format!("an environment is written in lower case: write `{lower}`"));
    }
    let fine = (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_lowercase());
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no environment's name: it has 1 to 63 of a-z, 0-9, `-`, `_` and `.`, and \
             begins with a letter, such as `staging`"
        ))
    }
}
