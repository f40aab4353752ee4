//! Terms, and what enforcers have learnt, as a sealed memory file: one for all
//! workers, which none of them can change, and which is no file that anybody could
//! open.
//!
//! INVARIANT: the file has all four seals before it leaves the keeper, and the
//! enforcer reads none without them: what it measured is what it reads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ChannelError;
use crate::model::{DatabaseName, Learnt, Terms};

/// Some hundred roots are a quarter of a megabyte; a thousand destinations with
/// verifiers, logins and roots of their own are still well below.
const MOST_BYTES: usize = 32 << 20;

/// All that is kept of what enforcers have learnt.
pub type Kept = Vec<(DatabaseName, Vec<Learnt>)>;

/// For the keeper.
pub fn seal_terms(terms: &Terms) -> io::Result<OwnedFd> {
    let bytes = postcard::to_stdvec(terms).map_err(io::Error::other)?;
    if bytes.len() > MOST_BYTES {
        return Err(io::Error::other(format!(
            "the terms have {} bytes, and no more than {MOST_BYTES} are carried: name fewer \
             destinations, or smaller files of roots",
            bytes.len()
        )));
    }
    seal("tidegate-terms", &bytes)
}

/// For the keeper.
pub fn seal_kept(kept: &impl Serialize) -> io::Result<OwnedFd> {
    seal("tidegate-learnt", &postcard::to_stdvec(kept).map_err(io::Error::other)?)
}

fn seal(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    fcntl_add_seals(&file, all())?;
    Ok(file)
}

/// For the enforcer: what came with [`super::ToEnforcer::Terms`].
pub fn unseal_terms(file: impl AsFd) -> Result<Terms, ChannelError> {
    unseal("the terms", file)
}

/// For the enforcer: what came with [`super::ToEnforcer::Kept`].
pub fn unseal_kept(file: impl AsFd) -> Result<Kept, ChannelError> {
    unseal("what is kept", file)
}

fn unseal<T: DeserializeOwned>(whose: &str, file: impl AsFd) -> Result<T, ChannelError> {
    let malformed = |what: String| ChannelError::Malformed(format!("{whose}: {what}"));
    // Pipes, sockets and files of a disk have no seals, and fail here.
    let seals = fcntl_get_seals(&file)
        .map_err(|error| malformed(format!("this is no memory file: {error}")))?;
    if !seals.contains(all()) {
        return Err(malformed("the memory file is not sealed".into()));
    }
    let length = fstat(&file).map_err(|error| malformed(error.to_string()))?.st_size;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Err(malformed(format!("{length} bytes are too many")));
    }
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        // Others read the same open file: its offset is nobody's.
        let offset = u64::try_from(filled).unwrap_or(u64::MAX);
        match rustix::io::pread(&file, room, offset) {
            Ok(0) => return Err(malformed("they end too early".into())),
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(malformed(error.to_string())),
        }
    }
    let (whole, rest) =
        postcard::take_from_bytes(&bytes).map_err(|error| malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes are left over", rest.len())));
    }
    Ok(whole)
}

fn all() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

#[cfg(test)]
mod tests;
