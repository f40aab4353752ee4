//! The head is brought to the disk once a second, so the loss of power may take
//! the last ones. What was signed lies in the log: it is taken in again, and so
//! nothing is ever signed that contradicts it.
//!
//! What is read here was written by a process that is trusted less: only what
//! this key has signed counts, and hashes only if they lead to a signed root.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::ledger::merkle::Hash;
use crate::ledger::{Checkpoint, Head, SigningKey, note};

/// Gives how many heads were taken in, or why the last one that was signed
/// can't be reached.
pub fn catch_up(head: &mut Head, key: &SigningKey, log: &Path) -> Result<u64, String> {
    let tree = log.join("tree");
    let text = match end_of(&tree.join("checkpoints")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(format!("its checkpoints can't be read: {error}")),
    };
    let mut newer: Vec<(Checkpoint, String)> = note::split(&text)
        .into_iter()
        .filter_map(|note| Some((key.verifier().open(&note).ok()?, note)))
        .filter(|(signed, _)| signed.size > head.size())
        .collect();
    newer.sort_by_key(|(signed, _)| signed.size);
    newer.dedup();
    let mut taken = 0;
    for (signed, note) in newer {
        let leaves = leaves(&tree, head.size(), signed.size)
            .map_err(|error| format!("the hashes of a signed head can't be read: {error}"))?;
        if !head.replay(&signed, &note, &leaves) {
            return Err(format!("a head of {} records was signed, and isn't reached", signed.size));
        }
        taken += 1;
    }
    Ok(taken)
}

/// The last part of a file: whole notes, but for the first.
fn end_of(path: &Path) -> io::Result<String> {
    let file = look_into(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(ENOUGH);
    let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// No pipe keeps the keeper waiting, and no link leads it elsewhere.
fn look_into(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no ordinary file"))
    }
}

fn leaves(tree: &Path, from: u64, to: u64) -> io::Result<Vec<Hash>> {
    if to.saturating_sub(from) > MOST_LEAVES {
        return Err(io::Error::other("they are too many"));
    }
    let mut leaves = Vec::new();
    for leaf in from..to {
        let file = look_into(&tree.join(format!("leaves-{:08}", leaf / PER_FILE)))?;
        let mut hash = [0; 32];
        file.read_exact_at(&mut hash, leaf % PER_FILE * 32)?;
        leaves.push(hash);
    }
    Ok(leaves)
}

/// Leaves in one file, as the log's writers lay them down.
const PER_FILE: u64 = 1 << 16;
/// Far more than a few seconds' heads.
const ENOUGH: u64 = 4 << 20;
/// Of one head.
const MOST_LEAVES: u64 = 1 << 17;
