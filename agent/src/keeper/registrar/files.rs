//! Programs' files: which they are, and what is in them. Content is hashed once
//! a file, by a thread of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

use super::lock;
use super::proc::{CLOCK_TICK, Mark};
use crate::identity::{Seen, elf};
use crate::model::ProgramFile;

/// Files kept; then the table starts anew.
const MOST_KNOWN: usize = 4096;
const MOST_WAITING: usize = 64;
/// A file that is larger is told by its inode and build id alone.
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// device, inode, time of change in nanoseconds, size.
type Key = (u64, u64, i128, u64);

#[derive(Debug)]
pub(super) struct Files {
    hashes: Arc<Hashes>,
    /// readers --files--> hasher
    files_tx: SyncSender<(Key, File)>,
}

#[derive(Debug, Default)]
struct Hashes {
    known: Mutex<HashMap<Key, Known>>,
    done: Condvar,
}

#[derive(Clone, Debug, Default)]
struct Known {
    build_id: Option<String>,
    sha256: Option<String>,
    waiting: bool,
}

impl Files {
    pub fn start() -> io::Result<Self> {
        let hashes = Arc::<Hashes>::default();
        let (files_tx, files_rx) = sync_channel(MOST_WAITING);
        let shared = Arc::clone(&hashes);
        crate::keeper::start("hasher", move || run(&files_rx, &shared))?;
        Ok(Self { hashes, files_tx })
    }

    /// The file that a process runs, while it runs it; its hash as far as it is
    /// there within `patience`.
    pub fn of(&self, seen: &Seen, patience: Duration) -> Option<ProgramFile> {
        // Through the process: the path may be another namespace's, or gone.
        let mut file = File::open(format!("/proc/{}/exe", seen.pid)).ok()?;
        let data = file.metadata().ok()?;
        let same = Mark::of(seen.pid)?.started.abs_diff(seen.started / CLOCK_TICK) <= 1;
        if !same || !data.is_file() {
            return None;
        }
        let changed = i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec());
        let key = (data.dev(), data.ino(), changed, data.size());
        let known = lock(&self.hashes.known).get(&key).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let mut head = Vec::new();
                file.by_ref().take(elf::HEAD as u64).read_to_end(&mut head).ok()?;
                let build_id = elf::build_id(&head);
                let wanted = data.size() <= LARGEST;
                let waiting = wanted && self.hash(key, build_id.as_deref(), file);
                Known { build_id, sha256: None, waiting }
            }
        };
        let sha256 = if known.waiting { self.wait(key, patience) } else { known.sha256 };
        let (device, inode) = (data.dev(), data.ino());
        Some(ProgramFile { device, inode, build_id: known.build_id, sha256 })
    }

    /// The hash of a file that was looked at before, as far as it is there within
    /// `patience`.
    pub fn hash_of(&self, file: &ProgramFile, patience: Duration) -> Option<String> {
        let known = lock(&self.hashes.known);
        let is_it = |key: &&Key| (key.0, key.1) == (file.device, file.inode);
        // Of one that was written anew meanwhile nobody can tell which it was.
        let mut all = known.keys().filter(is_it).copied();
        let (key, None) = (all.next()?, all.next()) else { return None };
        drop(known);
        self.wait(key, patience)
    }

    fn hash(&self, key: Key, build_id: Option<&str>, file: File) -> bool {
        let mut known = lock(&self.hashes.known);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        let build_id = build_id.map(str::to_owned);
        let entry = Known { build_id, sha256: None, waiting: true };
        known.insert(key, entry);
        drop(known);
        if self.files_tx.try_send((key, file)).is_err() {
            // Another connect of it will ask again.
            lock(&self.hashes.known).remove(&key);
            return false;
        }
        true
    }

    fn wait(&self, key: Key, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        let mut known = lock(&self.hashes.known);
        loop {
            let entry = known.get(&key)?;
            let left = until.saturating_duration_since(Instant::now());
            if !entry.waiting || left.is_zero() {
                return entry.sha256.clone();
            }
            known = self
                .hashes
                .done
                .wait_timeout(known, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

fn run(files_rx: &Receiver<(Key, File)>, hashes: &Hashes) {
    while let Ok((key, file)) = files_rx.recv() {
        let sha256 = hash(file, key.3);
        let mut known = lock(&hashes.known);
        if let Some(entry) = known.get_mut(&key) {
            entry.sha256 = sha256;
            entry.waiting = false;
        }
        hashes.done.notify_all();
    }
}

/// Of the whole file, from its beginning; nothing if it changed on the way.
fn hash(file: File, size: u64) -> Option<String> {
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; 256 * 1024];
    let mut at = 0;
    loop {
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut block, at).ok()?;
        if read == 0 {
            break;
        }
        context.update(block.get(..read)?);
        at += u64::try_from(read).ok()?;
        if at > size {
            return None;
        }
    }
    (at == size).then(|| elf::hex(context.finish().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_hash_is_its_files() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let exe = format!("/proc/{}/exe", child.id());
        while std::fs::read_link(&exe).is_ok_and(|exe| exe == std::env::current_exe().unwrap()) {
            std::thread::yield_now();
        }
        let mark = Mark::of(child.id()).unwrap();
        let seen = Seen { pid: child.id(), started: mark.started * CLOCK_TICK, ..Seen::default() };
        let path = std::fs::read_link(&exe).unwrap();
        let files = Files::start().unwrap();
        let found = files.of(&seen, Duration::from_secs(20)).unwrap();
        let again = files.of(&seen, Duration::ZERO).unwrap();
        let later = Seen { started: seen.started + 5_000_000_000, ..seen };
        let other = files.of(&later, Duration::ZERO);
        child.kill().unwrap();
        child.wait().unwrap();
        let told = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert_eq!(found.sha256.as_deref(), told.split(' ').next());
        let notes = std::process::Command::new("readelf").arg("-n").arg(&path).output().unwrap();
        let notes = String::from_utf8_lossy(&notes.stdout).into_owned();
        let (_, build_id) = notes.split_once("Build ID: ").expect("`sleep` has a build id");
        assert_eq!(found.build_id.as_deref(), build_id.lines().next().map(str::trim));
        assert_eq!(found.inode, std::fs::metadata(&path).unwrap().ino());
        assert_eq!(again, found);
        assert_eq!(other, None);
    }
}
