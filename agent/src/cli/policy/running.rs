//! The policies of an agent that runs: what the settings name, read whole and held
//! against the schema, or everything that is wrong with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure};
use crate::config::{PolicySettings, enforced};
use crate::model::PolicyMode;
use crate::policy::{Layers, Set, Source};

/// Of one file: a thousand policies are a tenth of it.
const MOST_BYTES: u64 = 4 << 20;

/// Puts the texts and their generation into the settings. Where nothing is decided,
/// nothing is read.
pub(in crate::cli) fn complete(policy: &mut PolicySettings) -> Result<(), Failure> {
    for name in enforced::read(&policy.enforce_file)? {
        if !policy.enforced.contains(&name) {
            policy.enforced.push(name);
        }
    }
    if policy.mode == PolicyMode::Off {
        return Ok(());
    }
    let mut faults = Vec::new();
    let own = own(policy, &mut faults);
    let layers = Layers { bare: policy.bare, packs: policy.packs.clone(), own };
    let set = match Set::load(&layers) {
        Ok(set) if faults.is_empty() => set,
        set => {
            faults.extend(set.err().iter().flat_map(|all| &all.0).map(ToString::to_string));
            return Err(Failure::text(Exit::Usage, faults.join("\n")));
        }
    };
    for remark in set.remarks() {
        tracing::warn!("{remark}");
    }
    policy.generation = Some(set.generation().to_string());
    let texts = layers.own.into_iter();
    policy.sources = texts.map(|one| (one.name.to_string(), one.text.to_string())).collect();
    Ok(())
}

/// Every `*.cedar` of the folder. What is called so and can't be read is a fault: a
/// policy that is passed over in silence may be the one that forbids.
fn own(policy: &PolicySettings, faults: &mut Vec<String>) -> Vec<Source> {
    let files = match listed(&policy.folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound && policy.folder_may_be_absent() => {
            return Vec::new();
        }
        Err(error) => {
            let next = match error.kind() {
                io::ErrorKind::NotFound => "make it, or leave `policy.folder` out",
                io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
                _ => "is `policy.folder` right?",
            };
            let folder = policy.folder.display();
            faults.push(format!("cannot read the policies in `{folder}` ({error}): {next}"));
            return Vec::new();
        }
    };
    let mut sources = Vec::new();
    for file in files {
        match text(&file) {
            Ok(text) => {
                let name = file.to_string_lossy();
                sources.push(Source { name: name.into(), text: text.into() });
            }
            Err(error) => faults.push(format!("cannot read `{}`: {error}", file.display())),
        }
    }
    sources
}

fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A pipe would keep us waiting.
fn text(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
