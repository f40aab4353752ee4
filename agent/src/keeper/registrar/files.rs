//! Programs' files: which they are, when a program starts; and what is in them, once
//! somebody connects who runs it or descends from it. Content is hashed once a file, by
//! a thread of its own: a host that starts many programs has none hashed for it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

use super::lock;
use crate::identity::elf;
use crate::model::ProgramFile;

/// Files kept; then those that nobody asked the content of go.
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

#[derive(Clone, Debug)]
struct Known {
    build_id: Option<String>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// Nobody has asked for it.
    Unread,
    Waiting,
    Hashed(String),
    /// It is too large, or was changed as it was read.
    Unhashed,
}

/// What can be said of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hashed {
    Known(String),
    /// It is being read.
    Later,
    /// It is nowhere to be found any more, too large, or too many wait.
    Unknown,
}

impl Files {
    pub fn start() -> io::Result<Self> {
        let hashes = Arc::<Hashes>::default();
        let (files_tx, files_rx) = sync_channel(MOST_WAITING);
        let shared = Arc::clone(&hashes);
        crate::keeper::start("hasher", move || run(&files_rx, &shared))?;
        Ok(Self { hashes, files_tx })
    }

    /// The file that a process runs now, without its hash. Whether it is still the same
    /// process afterwards is for whoever asks to see.
    pub fn of(&self, pid: u32) -> Option<ProgramFile> {
        // Through the process: the path may be another namespace's, or gone.
        let mut file = File::open(format!("/proc/{pid}/exe")).ok()?;
        let key = key_of(&file)?;
        let known = lock(&self.hashes.known).get(&key).map(|known| known.build_id.clone());
        let build_id = match known {
            Some(build_id) => build_id,
            None => {
                let mut head = Vec::new();
                file.by_ref().take(elf::HEAD as u64).read_to_end(&mut head).ok()?;
                let build_id = elf::build_id(&head);
                self.keep(key, Known { build_id: build_id.clone(), content: Content::Unread });
                build_id
            }
        };
        let (device, inode, changed, size) = key;
        Some(ProgramFile { device, inode, build_id, sha256: None, written: (changed, size) })
    }

    /// What is in a file that was looked at before, as far as that is known within
    /// `patience`. Where nobody has asked yet, it is sought at these places.
    pub fn hash(
        &self,
        file: &ProgramFile,
        places: impl FnOnce() -> Vec<PathBuf>,
        patience: Duration,
    ) -> Hashed {
        let (changed, size) = file.written;
        let key = (file.device, file.inode, changed, size);
        let known = lock(&self.hashes.known).get(&key).map(|known| known.content.clone());
        match known {
            Some(Content::Hashed(sha256)) => return Hashed::Known(sha256),
            Some(Content::Unhashed) => return Hashed::Unknown,
            Some(Content::Waiting) => {}
            Some(Content::Unread) | None => {
                let found = places().iter().find_map(|place| open(place, key));
                let build_id = file.build_id.clone();
                if !found.is_some_and(|found| self.ask(key, build_id, found)) {
                    return Hashed::Unknown;
                }
            }
        }
        self.wait(key, patience)
    }

    fn keep(&self, key: Key, one: Known) {
        let mut known = lock(&self.hashes.known);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, known| !matches!(known.content, Content::Unread));
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
        }
        known.insert(key, one);
    }

    fn ask(&self, key: Key, build_id: Option<String>, file: File) -> bool {
        if key.3 > LARGEST {
            self.keep(key, Known { build_id, content: Content::Unhashed });
            return false;
        }
        self.keep(key, Known { build_id: build_id.clone(), content: Content::Waiting });
        if self.files_tx.try_send((key, file)).is_err() {
            // Another connect of it will ask again.
            self.keep(key, Known { build_id, content: Content::Unread });
            return false;
        }
        true
    }

    fn wait(&self, key: Key, patience: Duration) -> Hashed {
        let until = Instant::now() + patience;
        let mut known = lock(&self.hashes.known);
        loop {
            match known.get(&key).map(|known| &known.content) {
                Some(Content::Hashed(sha256)) => return Hashed::Known(sha256.clone()),
                Some(Content::Waiting) => {}
                _ => return Hashed::Unknown,
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Hashed::Later;
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

fn key_of(file: &File) -> Option<Key> {
    let data = file.metadata().ok()?;
    let changed = i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec());
    data.is_file().then(|| (data.dev(), data.ino(), changed, data.size()))
}

/// The file at a place, if it is this very one: others are not even opened.
fn open(place: &Path, key: Key) -> Option<File> {
    let found = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(place).ok()?;
    if key_of(&found)? != key {
        return None;
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

fn run(files_rx: &Receiver<(Key, File)>, hashes: &Hashes) {
    while let Ok((key, file)) = files_rx.recv() {
        let sha256 = hash(file, key.3);
        let mut known = lock(&hashes.known);
        if let Some(entry) = known.get_mut(&key) {
            entry.content = sha256.map_or(Content::Unhashed, Content::Hashed);
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

    fn sleeping(program: &Path) -> std::process::Child {
        let child = std::process::Command::new(program).arg("60").spawn().unwrap();
        let exe = format!("/proc/{}/exe", child.id());
        while std::fs::read_link(&exe).is_ok_and(|exe| exe == std::env::current_exe().unwrap()) {
            std::thread::yield_now();
        }
        child
    }

    fn ended(mut child: std::process::Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn sha256sum(path: &Path) -> String {
        let told = std::process::Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(told.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }

    #[test]
    fn a_programs_hash_is_its_files() {
        let child = sleeping(Path::new("sleep"));
        let exe = PathBuf::from(format!("/proc/{}/exe", child.id()));
        let path = std::fs::read_link(&exe).unwrap();
        let files = Files::start().unwrap();
        let found = files.of(child.id()).unwrap();
        let hashed = files.hash(&found, || vec![exe], Duration::from_secs(20));
        let again = files.of(child.id()).unwrap();
        ended(child);
        assert_eq!(hashed, Hashed::Known(sha256sum(&path)));
        // It is known now, wherever it lies.
        assert_eq!(files.hash(&again, || panic!("sought"), Duration::ZERO), hashed);
        let notes = std::process::Command::new("readelf").arg("-n").arg(&path).output().unwrap();
        let notes = String::from_utf8_lossy(&notes.stdout).into_owned();
        let (_, build_id) = notes.split_once("Build ID: ").expect("`sleep` has a build id");
        assert_eq!(found.build_id.as_deref(), build_id.lines().next().map(str::trim));
        assert_eq!(found.inode, std::fs::metadata(&path).unwrap().ino());
        assert_eq!(again, found);
        assert_eq!(files.of(u32::MAX), None);
    }

    #[test]
    fn the_file_of_a_program_that_has_ended_is_found_by_its_path_unless_another_lies_there() {
        let folder = std::env::temp_dir().join(format!("tidegate-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("program");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let files = Files::start().unwrap();
        let child = sleeping(&program);
        let found = files.of(child.id()).unwrap();
        ended(child);
        let nowhere = || vec![folder.join("nothing"), PathBuf::from("/bin/sleep"), folder.clone()];
        assert_eq!(files.hash(&found, nowhere, Duration::from_secs(20)), Hashed::Unknown);
        let here = || vec![folder.join("nothing"), program.clone()];
        let right = sha256sum(&program);
        let hashed = files.hash(&found, here, Duration::from_secs(20));
        // Written anew it is another file, though its inode is the same.
        std::fs::write(&program, "another").unwrap();
        let other = Files::start().unwrap().hash(&found, here, Duration::from_secs(20));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(hashed, Hashed::Known(right));
        assert_eq!(other, Hashed::Unknown);
    }

    #[test]
    fn what_nobody_asks_about_goes_first() {
        let files = Files::start().unwrap();
        let content = |number: u64| match number {
            0 => Content::Hashed("h".into()),
            _ => Content::Unread,
        };
        for number in 0..=MOST_KNOWN as u64 {
            files.keep((1, number, 0, 0), Known { build_id: None, content: content(number) });
        }
        assert_eq!(lock(&files.hashes.known).len(), 2);
        let first = ProgramFile { device: 1, ..ProgramFile::default() };
        assert_eq!(files.hash(&first, Vec::new, Duration::ZERO), Hashed::Known("h".into()));
    }
}
