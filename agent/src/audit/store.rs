//! The log's folder. What lies in it, and how it is written and read:
//!
//! ```text
//! segments/<writer>-<first>.live    being written: preallocated and mapped
//! segments/<writer>-<first>.sealed  full: compressed, never written again
//! segments/<writer>-<n>.spare       room for the next one
//! segments/<writer>.lock            held by the process that writes under it
//! tree/leaves-<n>                   hashes of 65,536 records each, in the tree's order
//! tree/base                         what is left of the tree before the first leaf kept
//! tree/checkpoints                  every signed head, one behind the other
//! index/                            for searching; can be removed at any time
//! ```
//!
//! Whoever can write here can destroy the log; what it says about records
//! before a checkpoint can't be changed unseen.

pub mod live;
mod map;
pub mod sealed;
pub mod segments;
pub mod tree;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

pub use live::Live;
pub use segments::{Segment, Segments};
pub use tree::Tree;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what} `{path}`: {error}", path = .path.display())]
    Io { what: &'static str, path: PathBuf, error: io::Error },
    #[error("`{path}` is no segment of the log: {why}", path = .path.display())]
    NoSegment { path: PathBuf, why: &'static str },
    #[error("`{path}` is damaged: {why}", path = .path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("`{path}` holds no log", path = .0.display())]
    NoLog(PathBuf),
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { what, path, error }
    }
}

/// The log's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// For reading: it must be there.
    pub fn existing(path: &Path) -> Result<Self, StoreError> {
        if path.join("segments").is_dir() {
            Ok(Self(path.to_owned()))
        } else {
            Err(StoreError::NoLog(path.to_owned()))
        }
    }

    /// Makes what isn't there yet.
    pub fn prepare(&self) -> Result<(), StoreError> {
        for folder in [self.segments(), self.tree()] {
            match std::fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::io("make", &folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn segments(&self) -> PathBuf {
        self.0.join("segments")
    }

    pub fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }

    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    pub fn lock(&self, writer: u64) -> PathBuf {
        self.segments().join(format!("{writer}.lock"))
    }

    pub fn spare(&self, writer: u64, number: u64) -> PathBuf {
        self.segments().join(format!("{writer:06}-{number}.spare"))
    }

    pub fn live(&self, writer: u64, first: u64) -> PathBuf {
        self.segments().join(stem(writer, first) + ".live")
    }

    pub fn sealed(&self, writer: u64, first: u64) -> PathBuf {
        self.segments().join(stem(writer, first) + ".sealed")
    }
}

/// A segment's name, as the order of names is that of the records.
fn stem(writer: u64, first: u64) -> String {
    format!("{writer:06}-{first:012}")
}

/// Opens what somebody else laid down, to read it: nobody is kept waiting by a pipe,
/// and no link leads out of the folder.
pub fn look_into(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no ordinary file"))
    }
}

/// A new file in place of an old one, whole or not at all. Done when records are let
/// go, and of what is published, which is seldom: it is on the disk before they go.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    use std::io::Write;
    let new = path.with_extension("new");
    let mut file = File::create(&new).map_err(StoreError::io("make", &new))?;
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(StoreError::io("write", &new))?;
    std::fs::rename(&new, path).map_err(StoreError::io("rename", &new))?;
    #[cfg(test)]
    tests::brought(path);
    sync_folder_of(path)
}

/// Brings to the disk what was written to a file.
pub(super) fn sync_data(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_data().map_err(StoreError::io("bring to the disk", path))?;
    #[cfg(test)]
    tests::brought(path);
    Ok(())
}

/// Brings a file's name to the disk: that of a new one, or another than it had.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    tests::NAMED.with_borrow_mut(|named| named.push(path.to_owned()));
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(StoreError::io("bring the name to the disk of", path))
}

#[cfg(test)]
pub(super) mod tests;
