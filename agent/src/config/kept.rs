//! A file of TOML that commands of tidegate's keep: changed as a whole, by one at a
//! time.
//!
//! Never: half written, or readable by more than its mode says.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Mistakes, Place};

/// Reads what it holds, lets that be changed and written anew, and puts the new text
/// in its place.
pub fn change<L, T>(
    path: &Path,
    mode: u32,
    read: impl FnOnce() -> Result<L, Mistakes>,
    change: impl FnOnce(&mut L) -> (String, T),
) -> Result<T, Mistakes> {
    let whole = |text: String| Mistakes::one(Place::Named(path.display().to_string()), text);
    let cannot = |error: io::Error| whole(format!("cannot write it: {error}"));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(cannot)?;
    let lock = File::open(folder).map_err(cannot)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| cannot(error.into()))?;
    let mut list = read()?;
    let (text, changed) = change(&mut list);
    replace(path, mode, &text).and_then(|()| lock.sync_all()).map_err(cannot)?;
    Ok(changed)
}

/// Puts a text in the place of a file's.
pub fn replace(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    let write = || {
        let mut how = OpenOptions::new();
        let mut file = how.write(true).create(true).truncate(true).mode(mode).open(beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(beside)))
}

/// As a basic string of TOML.
pub fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for sign in value.chars() {
        match sign {
            '"' | '\\' => text.extend(['\\', sign]),
            sign if sign.is_control() => text += &format!("\\u{:04X}", u32::from(sign)),
            sign => text.push(sign),
        }
    }
    text.push('"');
    text
}
