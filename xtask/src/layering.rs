//! `cargo xtask layering`: imports between the agent's rooms run one way only.
//!
//! Data goes through the rooms in an order, and a later room never reaches back:
//! so an earlier one must not know that the later exists. This reads every path
//! in `agent/src` that leaves its room (`crate::room::…`, `super` beyond the
//! room's own root, groups, globs) and holds it against one table, [`ROOMS`].
//! Comments and strings do not count; macros do, as written.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{step, workspace};

mod paths;

/// Every room, and the rooms that it may import:
/// `model ← wire ← sql ← policy ← mask ← approval ← audit ← enforcer ← cli`,
/// with `host`, `channel`, `control`, `config`, `identity`, `telemetry` on `model`
/// (settings also know where the control socket is), `keeper` on those, and
/// `replay` on `audit`.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("host", &["model"]),
    ("channel", &["model"]),
    ("control", &["model"]),
    ("config", &["model", "control"]),
    ("identity", &["model"]),
    ("telemetry", &["model"]),
    // The log's arithmetic: who signs it and who writes it both need it.
    ("ledger", &["model"]),
    ("wire", &["model"]),
    ("sql", &["model", "wire"]),
    ("policy", &["model", "wire", "sql"]),
    ("mask", &["model", "wire", "sql", "policy"]),
    // Plain data in, plain data out: the keeper decides by it too, and reads no SQL.
    ("approval", &["model"]),
    ("audit", &["model", "ledger", "wire", "sql", "policy", "mask", "approval"]),
    ("replay", &["model", "wire", "sql", "policy", "mask", "approval", "audit"]),
    (
        "keeper",
        &[
            "model",
            "host",
            "channel",
            "control",
            "config",
            "identity",
            "telemetry",
            "ledger",
            "approval",
        ],
    ),
    (
        "enforcer",
        &["model", "channel", "telemetry", "wire", "sql", "policy", "mask", "approval", "audit"],
    ),
    (
        "cli",
        &[
            "model",
            "host",
            "channel",
            "control",
            "config",
            "identity",
            "telemetry",
            "ledger",
            "wire",
            "sql",
            "policy",
            "mask",
            "approval",
            "audit",
            "replay",
            "keeper",
            "enforcer",
        ],
    ),
    // The binary: arguments in, exit code out.
    ("main", &["cli"]),
    // The list of the rooms.
    ("lib", &[]),
    // The list of those that are fuzzed.
    ("fuzzed", &[]),
];

/// `cargo xtask layering`
pub fn run() -> Result<()> {
    let source = workspace::root().join("agent/src");
    let (files, violations) = check(&source)?;
    if !violations.is_empty() {
        for violation in &violations {
            eprintln!("{violation}");
        }
        bail!(
            "{} import(s) run against the way of the data: move what both need to an earlier room, \
             or hand it in from the later one (the order: xtask/src/layering.rs)",
            violations.len()
        );
    }
    step::say("layering", &format!("{files} files, imports run one way"));
    Ok(())
}

/// A path that leads where it must not: both its ends.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: PathBuf,
    line: usize,
    from: String,
    to: To,
}

#[derive(Debug, PartialEq, Eq)]
enum To {
    /// A room that stands later, and the file that is its root.
    Room { name: String, root: PathBuf },
    /// The room of the path, or of the file itself, is not in the table.
    Unknown(String),
    /// The crate's root under another name, or whole: what is reached through
    /// it cannot be seen.
    Root,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { file, line, from, to } = self;
        write!(f, "{}:{line}: room `{from}` ", file.display())?;
        match to {
            To::Room { name, root } => {
                let may = match allowed(from) {
                    Some([]) | None => "no other room".to_owned(),
                    Some(rooms) => rooms.join(", "),
                };
                write!(
                    f,
                    "imports room `{name}` ({}), which is not before it; `{from}` may import {may}",
                    root.display()
                )
            }
            To::Unknown(name) => write!(
                f,
                "imports `{name}`, and the table in xtask/src/layering.rs has no such room: give it its place there"
            ),
            To::Root => write!(
                f,
                "takes the crate's root whole or under another name, which hides what it imports: name the room"
            ),
        }
    }
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, rooms)| *rooms)
}

/// How many files were read, and what is wrong in them.
fn check(source: &Path) -> Result<(usize, Vec<Violation>)> {
    let mut files = Vec::new();
    collect(source, &mut files)?;
    files.sort();
    let mut violations = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let relative = file.strip_prefix(source).unwrap_or(file);
        let module = module_of(relative);
        let Some(room) = module.first().cloned() else { continue };
        let mut wrong = |line: usize, to: To| {
            violations.push(Violation { file: file.clone(), line, from: room.clone(), to });
        };
        let Some(may) = allowed(&room) else {
            wrong(1, To::Unknown(room.clone()));
            continue;
        };
        // The roots of the crate have no room above them.
        let module = if room == "lib" || room == "main" { Vec::new() } else { module };
        for path in paths::leaving(&text, &module) {
            match path.room {
                None => wrong(path.line, To::Root),
                Some(name) if name == room || may.contains(&name.as_str()) => {}
                Some(name) if allowed(&name).is_none() => wrong(path.line, To::Unknown(name)),
                Some(name) => {
                    let root = root_of(source, &name);
                    wrong(path.line, To::Room { name, root });
                }
            }
        }
    }
    Ok((files.len(), violations))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let cannot = || format!("cannot read `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `wire/postgres/codec.rs` is the module `wire::postgres::codec`.
fn module_of(relative: &Path) -> Vec<String> {
    relative
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect()
}

fn root_of(source: &Path, room: &str) -> PathBuf {
    let file = source.join(format!("{room}.rs"));
    if file.exists() { file } else { source.join(room) }
}

#[cfg(test)]
mod tests;
