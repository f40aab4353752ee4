//! The tree as C2SP tiles (<https://c2sp.org/tlog-tiles>): for mirrors and witnesses, and
//! tools that aren't ours.
//!
//! `checkpoint` is the last head that the keeper signed; `tile/LEVEL/NUMBER` are hashes,
//! 256 to a file. They are hashes alone: the records, which would be `tile/entries`, stay
//! on the host.
//!
//! INVARIANT: the checkpoint is written last, over what was just held against it; a
//! whole tile is never written again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::store::{Folder, StoreError, Tree, replace};
use crate::ledger::merkle::Hash;
use crate::ledger::{Checkpoint, VerifierKey, note};

/// What has been published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Records that the checkpoint covers.
    pub size: u64,
    /// Tiles that weren't there.
    pub written: u64,
    /// What lay before this record was removed from the log: of it only tiles that were
    /// published then are there.
    pub from: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the log has no signed head yet: it gets one within a second of its first record")]
    NoHead,
    #[error("the last head is not signed by this key: {0}")]
    Key(#[from] note::NoteError),
    #[error("the log is not as it was signed: `tidegate audit verify` says where")]
    Altered,
    #[error(
        "`{path}` holds the tree of another log: publish this one in a folder of its own",
        path = .0.display()
    )]
    Another(PathBuf),
    #[error(
        "`{path}` holds a checkpoint of {published} records, and the log is of {size}: its end was \
         cut off",
        path = .to.display()
    )]
    Shorter { to: PathBuf, published: u64, size: u64 },
}

/// Brings a folder up to the last head.
pub fn publish(folder: &Folder, key: &VerifierKey, to: &Path) -> Result<Published, TilesError> {
    let mut tree = Tree::open(folder)?;
    let of_size = |text: &String| note::peek(text).map(|head| head.size);
    let last = tree.notes()?.into_iter().max_by_key(of_size).ok_or(TilesError::NoHead)?;
    let head = key.open(&last)?;
    if head.size == 0 {
        return Err(TilesError::NoHead);
    }
    if tree.subtree(0, head.size) != Some(head.root) {
        return Err(TilesError::Altered);
    }
    let from = tree.base().end();
    follows(&mut tree, &head, key, to)?;
    let mut written = 0;
    let mut level = 0;
    let mut span = 1_u64;
    while head.size / span > 0 {
        let hashes = head.size / span;
        for number in 0..hashes.div_ceil(WIDTH) {
            let first = number * WIDTH;
            let width = WIDTH.min(hashes - first);
            let path = to.join(name(level, number, width));
            let there = fs::metadata(&path).is_ok_and(|file| file.len() == width * HASH);
            if there || first * span < from && level == 0 {
                continue;
            }
            let hash = |at: u64| tree.subtree(at * span, (at + 1) * span);
            let tile: Option<Vec<Hash>> = (first..first + width).map(hash).collect();
            // Of what was removed, only what it came to is left.
            let Some(tile) = tile else { continue };
            write(&path, tile.as_flattened())?;
            written += 1;
        }
        (level, span) = (level + 1, span.saturating_mul(WIDTH));
    }
    write(&to.join("checkpoint"), last.as_bytes())?;
    Ok(Published { size: head.size, written, from })
}

/// Whoever has seen what lies there must find it again in what comes.
fn follows(
    tree: &mut Tree,
    head: &Checkpoint,
    key: &VerifierKey,
    to: &Path,
) -> Result<(), TilesError> {
    let path = to.join("checkpoint");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", &path)(error).into()),
    };
    let Ok(published) = key.open(&text) else { return Err(TilesError::Another(to.to_owned())) };
    if published.size > head.size {
        let (to, size) = (to.to_owned(), head.size);
        return Err(TilesError::Shorter { to, published: published.size, size });
    }
    // Before what was removed there is nothing to hold it against.
    let held = published.size > tree.base().end();
    if held && tree.subtree(0, published.size) != Some(published.root) {
        return Err(TilesError::Altered);
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(StoreError::io("make", folder))?;
    }
    replace(path, bytes)
}

/// `tile/0/x001/x234/067`, and where it isn't full `….p/12`.
fn name(level: u32, number: u64, width: u64) -> PathBuf {
    let mut parts = vec![format!("{:03}", number % 1_000)];
    let mut rest = number / 1_000;
    while rest > 0 {
        parts.insert(0, format!("x{:03}", rest % 1_000));
        rest /= 1_000;
    }
    let mut name = format!("tile/{level}/{}", parts.join("/"));
    if width < WIDTH {
        name.push_str(&format!(".p/{width}"));
    }
    name.into()
}

/// Hashes of a whole tile.
const WIDTH: u64 = 256;
/// Bytes of a hash.
const HASH: u64 = size_of::<Hash>() as u64;

#[cfg(test)]
mod tests;
