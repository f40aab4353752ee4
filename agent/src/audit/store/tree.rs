//! The tree's hashes and heads as they lie on disk. Nothing in here is trusted:
//! whoever verifies computes it anew, and these say *where* something is wrong.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Folder, StoreError, look_into, replace, sync_data, sync_folder_of};
use crate::ledger::merkle::{self, Hash, Range};
use crate::ledger::note;

/// Leaves in one file.
pub const PER_FILE: u64 = 1 << 16;

#[derive(Debug)]
pub struct Tree {
    folder: PathBuf,
    /// The file that was used last, and whether its name is on the disk.
    open: Option<(u64, File, bool)>,
    /// That of the heads' file is.
    named: bool,
    /// What is left of the leaves that were removed.
    base: Range,
    /// Files read for computing, and roots of whole aligned pieces.
    read: HashMap<u64, Vec<Hash>>,
    roots: HashMap<(u64, u64), Hash>,
}

impl Tree {
    pub fn open(folder: &Folder) -> Result<Self, StoreError> {
        let folder = folder.tree();
        let base = read_base(&folder)?;
        Ok(Self::of(folder, base))
    }

    /// As if nothing had been removed, where what is left of that can't be read.
    pub fn without_base(folder: &Folder) -> Self {
        Self::of(folder.tree(), Range::empty(0))
    }

    fn of(folder: PathBuf, base: Range) -> Self {
        let (read, roots) = (HashMap::new(), HashMap::new());
        Self { folder, open: None, named: false, base, read, roots }
    }

    pub fn base(&self) -> &Range {
        &self.base
    }

    fn path(&self, file: u64) -> PathBuf {
        self.folder.join(format!("leaves-{file:08}"))
    }

    /// Writes leaves to their places, and brings them to the disk: a head that has lost
    /// its leaves is never signed on. Two processes may: their leaves differ.
    pub fn write(&mut self, mut at: u64, leaves: &[Hash]) -> Result<(), StoreError> {
        let mut rest = leaves;
        while !rest.is_empty() {
            let number = at / PER_FILE;
            let here = usize::try_from(PER_FILE - at % PER_FILE).unwrap_or(rest.len());
            let (now, later) = rest.split_at_checked(here).unwrap_or((rest, &[]));
            self.write_in(number, at % PER_FILE * 32, now.as_flattened())?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn write_in(&mut self, number: u64, place: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(number);
        let (file, named) = match self.open.take() {
            Some((open, file, named)) if open == number => (file, named),
            _ => {
                let mut how = File::options();
                let file = how.read(true).write(true).create(true).truncate(false).open(&path);
                (file.map_err(StoreError::io("open", &path))?, false)
            }
        };
        file.write_all_at(bytes, place).map_err(StoreError::io("write", &path))?;
        sync_data(&file, &path)?;
        if !named {
            sync_folder_of(&path)?;
        }
        self.open = Some((number, file, true));
        Ok(())
    }

    /// A leaf as it was stored. `None`: it isn't there.
    pub fn leaf(&mut self, index: u64) -> Option<Hash> {
        let number = index / PER_FILE;
        if !self.read.contains_key(&number) {
            let mut bytes = Vec::new();
            let file = look_into(&self.path(number)).ok()?;
            file.take(PER_FILE * 32).read_to_end(&mut bytes).ok()?;
            let leaves = bytes.as_chunks::<32>().0.to_vec();
            // Verifying goes through them in order; two are enough.
            if self.read.len() > 1 {
                self.read.clear();
            }
            self.read.insert(number, leaves);
        }
        let leaf = self.read.get(&number)?.get(usize::try_from(index % PER_FILE).ok()?)?;
        (*leaf != [0; 32]).then_some(*leaf)
    }

    /// Takes what was read out of memory: it may have grown.
    pub fn forget(&mut self) {
        self.read.clear();
        self.roots.clear();
    }

    /// The root of the leaves from `begin` to before `end`.
    pub fn subtree(&mut self, begin: u64, end: u64) -> Option<Hash> {
        if end - begin == 1 && begin >= self.base.end() {
            return self.leaf(begin);
        }
        if let Some(known) = self.roots.get(&(begin, end)) {
            return Some(*known);
        }
        let root = if end <= self.base.end() {
            self.base.block(begin, end)?
        } else {
            let half = (end - begin).next_power_of_two() / 2;
            let left = self.subtree(begin, begin + half)?;
            merkle::node(&left, &self.subtree(begin + half, end)?)
        };
        if end - begin >= 256 {
            self.roots.insert((begin, end), root);
        }
        Some(root)
    }

    /// Lets the leaves before `before` go, and keeps what they come to.
    pub fn cut(&mut self, before: u64) -> Result<(), StoreError> {
        let mut base = self.base.clone();
        let mut index = base.end();
        while index < before {
            let Some(leaf) = self.leaf(index) else {
                return Err(StoreError::Damaged {
                    path: self.path(index / PER_FILE),
                    why: format!("leaf {index} is missing"),
                });
            };
            base.push(leaf);
            index += 1;
        }
        let hashes = base.hashes();
        let mut text = format!("{}\n", base.end());
        for hash in hashes {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        replace(&self.folder.join("base"), text.as_bytes())?;
        self.base = base;
        for file in 0..before / PER_FILE {
            // Most are gone since long.
            let _ = std::fs::remove_file(self.path(file));
        }
        self.forget();
        Ok(())
    }

    /// Adds a signed head behind the others. INVARIANT: nobody who holds the lock sees
    /// one that isn't on the disk; what others were shown can't be lost and signed anew.
    pub fn note(&mut self, note: &str) -> Result<(), StoreError> {
        let path = self.folder.join(CHECKPOINTS);
        // Another process may add one too, or write the file anew.
        let _lock = self.lock()?;
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let before = file.metadata().map_err(StoreError::io("look at", &path))?.len();
        let written = file.write_all(format!("{note}\n").as_bytes());
        let written = written.map_err(StoreError::io("write", &path));
        written.and_then(|()| sync_data(&file, &path)).inspect_err(|_| {
            // A full disk takes a part; the next one must not stand behind that.
            let _ = file.set_len(before);
        })?;
        if !self.named {
            sync_folder_of(&path)?;
            self.named = true;
        }
        Ok(())
    }

    /// Lets the heads of what was removed go.
    pub fn drop_notes(&self, before: u64) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let kept: String = self
            .read_notes()?
            .into_iter()
            .filter(|note| note::peek(note).is_none_or(|head| head.size > before))
            .map(|note| note + "\n")
            .collect();
        replace(&self.folder.join(CHECKPOINTS), kept.as_bytes())
    }

    /// Held while the heads' file changes.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.folder.join("lock");
        File::create(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(StoreError::io("lock", &path))
    }

    /// All signed heads, as they stand there.
    pub fn notes(&self) -> Result<Vec<String>, StoreError> {
        // Not while one is being added; a copy elsewhere has no writers.
        let path = self.folder.join("lock");
        let _held = look_into(&path).ok().map(|lock| shared(lock, &path)).transpose()?;
        self.read_notes()
    }

    fn read_notes(&self) -> Result<Vec<String>, StoreError> {
        let path = self.folder.join(CHECKPOINTS);
        match look_into(&path).and_then(|file| note::read(BufReader::new(file))) {
            Ok(notes) => Ok(notes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }
}

fn read_base(folder: &Path) -> Result<Range, StoreError> {
    let path = folder.join("base");
    let mut text = String::new();
    match look_into(&path).and_then(|file| file.take(LONGEST_BASE).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Range::empty(0)),
        Err(error) => return Err(StoreError::io("read", &path)(error)),
    };
    let read = || {
        let mut lines = text.lines();
        let size = lines.next()?.parse().ok()?;
        let hashes = lines
            .map(|line| STANDARD.decode(line).ok()?.try_into().ok())
            .collect::<Option<Vec<Hash>>>()?;
        Range::from_hashes(0, size, &hashes)
    };
    read().ok_or_else(|| StoreError::Damaged { path: path.clone(), why: "it can't be read".into() })
}

/// Whoever adds a head holds it for a moment only.
fn shared(lock: File, path: &Path) -> Result<File, StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock_shared() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(StoreError::io("lock", path)(error.into())),
        }
    }
}

const CHECKPOINTS: &str = "checkpoints";
/// More than a number and 64 hashes.
const LONGEST_BASE: u64 = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
