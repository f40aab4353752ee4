//! The system's store of roots: the CA put into it, and taken out again.
//!
//! A file is named by what it holds. Those who keep stores of their own beside
//! the system's (Java's) are told of names that come, never of a file that holds
//! something else than before.
//!
//! Never touches a file that is not of the CA's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::trust::{find, must, write};
use crate::keeper::ca;

/// Where distributions take further roots from, and what then renews the store.
const STORES: [(&str, &str, &[&str]); 2] = [
    ("/usr/local/share/ca-certificates", "update-ca-certificates", &[]),
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust", &["extract"]),
];

/// These certificates and no others of the CA's are in it; their files.
pub(super) fn put(own: &[Vec<u8>]) -> Result<Vec<PathBuf>, String> {
    let (folder, program, arguments) = STORES
        .iter()
        .find_map(|(folder, program, arguments)| {
            Some((Path::new(folder), find(program)?, *arguments))
        })
        .ok_or(
            "neither update-ca-certificates nor update-ca-trust is here (Debian: apt install \
             ca-certificates)",
        )?;
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    if own.is_empty() && !folder.exists() {
        return Ok(Vec::new());
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let mut written = Vec::new();
    for der in own {
        let path = folder.join(name(der)?);
        write(&path, &ca::pem(der)).map_err(failed)?;
        written.push(path);
    }
    // Those that no longer count go.
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ours = path.file_name().is_some_and(|name| is_ours(&name.to_string_lossy()));
        if ours && !written.contains(&path) {
            fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    must(Command::new(program).args(arguments))?;
    Ok(written)
}

fn name(der: &[u8]) -> Result<String, String> {
    let facts = ca::facts(der)?;
    let hex: String = facts.fingerprint.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("tidegate-{hex}.crt"))
}

fn is_ours(name: &str) -> bool {
    let middle = name.strip_prefix("tidegate-").and_then(|rest| rest.strip_suffix(".crt"));
    middle.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
