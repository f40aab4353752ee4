//! A small text that is stored often: in two files in turn, each written in place,
//! so that the one before stays whole until the next one is.
//!
//! Nothing is made, renamed or grown after the first times: a store costs the disk
//! its bytes and no change of the file system.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Slots {
    files: [File; 2],
    /// Of the next text; its lowest bit says in which file.
    serial: u64,
}

/// The files of a text's two slots.
pub fn paths(folder: &Path, name: &str) -> [PathBuf; 2] {
    [folder.join(name), folder.join(format!("{name}.2"))]
}

/// The newest text that is whole, with its number. `None`: neither is.
pub fn newest(folder: &Path, name: &str) -> io::Result<Option<(u64, String)>> {
    let mut newest: Option<(u64, String)> = None;
    for path in paths(folder, name) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some((serial, text)) = whole(&bytes)
            && newest.as_ref().is_none_or(|(known, _)| *known < serial)
        {
            newest = Some((serial, text));
        }
    }
    Ok(newest)
}

impl Slots {
    /// `serial`: of the text that is there.
    pub fn open(folder: &Path, name: &str, serial: u64) -> io::Result<Self> {
        let [one, other] = paths(folder, name).map(|path| {
            let mut how = File::options();
            let file = how.write(true).create(true).truncate(false).mode(0o600).open(path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            io::Result::Ok(file)
        });
        Ok(Self { files: [one?, other?], serial: serial + 1 })
    }

    pub fn store(&mut self, text: &str, sync: bool) -> io::Result<()> {
        let [even, odd] = &self.files;
        let file = if self.serial.is_multiple_of(2) { even } else { odd };
        file.write_all_at(&written(self.serial, text), 0)?;
        if sync {
            file.sync_data()?;
        }
        // One that failed is written over by the next.
        self.serial += 1;
        Ok(())
    }
}

/// `serial length checksum`, then the text; what is behind it is older.
fn written(serial: u64, text: &str) -> Vec<u8> {
    format!("{serial} {} {:08x}\n{text}\n", text.len(), sum(serial, text.as_bytes())).into_bytes()
}

fn whole(bytes: &[u8]) -> Option<(u64, String)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = bytes.split_at_checked(end + 1)?;
    let mut words = str::from_utf8(head).ok()?.split_whitespace();
    let serial = words.next()?.parse().ok()?;
    let text = rest.get(..words.next()?.parse().ok()?)?;
    let known = u32::from_str_radix(words.next()?, 16).ok()?;
    (sum(serial, text) == known).then(|| Some((serial, str::from_utf8(text).ok()?.to_owned())))?
}

fn sum(serial: u64, text: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&serial.to_le_bytes());
    sum.update(text);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_is_whole_counts() {
        let folder = std::env::temp_dir().join(format!("tidegate-slots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = |folder: &Path| newest(folder, "x").unwrap().map(|(_, text)| text);
        assert_eq!(text(&folder), None);
        let mut slots = Slots::open(&folder, "x", 0).unwrap();
        for stored in ["one and more", "two", "three"] {
            slots.store(stored, false).unwrap();
            assert_eq!(text(&folder).as_deref(), Some(stored));
        }
        // Written over halfway, wherever that was: the one before is still there.
        let [even, odd] = paths(&folder, "x");
        let whole = std::fs::read(&odd).unwrap();
        let next = written(5, "four");
        for cut in 0..next.len() {
            let mut torn = whole.clone();
            torn.splice(..cut, next[..cut].iter().copied());
            std::fs::write(&odd, &torn).unwrap();
            let found = text(&folder).unwrap();
            assert!(["two", "three", "four"].contains(&&*found), "cut at {cut}: {found}");
        }
        std::fs::write(&even, "nothing").unwrap();
        std::fs::write(&odd, &whole).unwrap();
        let (serial, found) = newest(&folder, "x").unwrap().unwrap();
        assert_eq!(found, "three");
        // Who goes on writes over the other.
        Slots::open(&folder, "x", serial).unwrap().store("five", true).unwrap();
        assert_eq!(text(&folder).as_deref(), Some("five"));
        assert_eq!(std::fs::read(&odd).unwrap(), whole);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
