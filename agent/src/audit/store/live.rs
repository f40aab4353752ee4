//! A segment that is being written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

use super::map::Map;
use super::{Folder, StoreError, sync_folder_of};
use crate::audit::frame::{self, Start};

#[derive(Debug)]
pub struct Live {
    map: Map,
    file: File,
    path: PathBuf,
    start: Start,
    /// The place behind the last record, and how many records there are.
    end: AtomicUsize,
    count: AtomicU64,
    /// No record will follow.
    full: AtomicBool,
    /// Its name is on the disk, and so many of its records.
    named: AtomicBool,
    on_disk: AtomicU64,
}

/// Room for a segment, with all its blocks: a full disk is met when it is made
/// and not in the middle of a record.
#[derive(Debug)]
pub struct Spare {
    map: Map,
    file: File,
    path: PathBuf,
}

impl Spare {
    pub fn make(folder: &Folder, writer: u64, size: usize) -> Result<Self, StoreError> {
        let path = folder.spare(writer, SPARES.fetch_add(1, Ordering::Relaxed));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(StoreError::io("make", &path))?;
        let made = reserve(&file, size)
            .and_then(|()| Map::new(&file, size))
            .map_err(StoreError::io("reserve room for", &path));
        match made {
            Ok(map) => Ok(Self { map, file, path }),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// It isn't needed any more.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// The segment itself.
    pub fn into_live(self, folder: &Folder, start: Start) -> Result<Live, StoreError> {
        let Self { map, file, path: spare } = self;
        let path = folder.live(start.writer, start.first);
        map.write(0, &start.to_bytes());
        std::fs::rename(&spare, &path).map_err(|error| {
            // Another is made the next time; nobody comes for this one.
            let _ = std::fs::remove_file(&spare);
            StoreError::io("rename", &spare)(error)
        })?;
        Ok(Live {
            map,
            file,
            path,
            start,
            end: AtomicUsize::new(frame::SEGMENT_HEAD),
            count: AtomicU64::new(0),
            full: AtomicBool::new(false),
            named: AtomicBool::new(false),
            on_disk: AtomicU64::new(0),
        })
    }
}

impl Live {
    pub fn start(&self) -> Start {
        self.start
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// The position behind its last record.
    pub fn next(&self) -> u64 {
        self.start.first + self.count()
    }

    pub fn fits(&self, room: usize) -> bool {
        let end = self.end.load(Ordering::Relaxed);
        // A length word of 0 must be left.
        end.saturating_add(room).saturating_add(4) <= self.map.len()
    }

    /// How much of it is used, of 100.
    pub fn used(&self) -> usize {
        self.end.load(Ordering::Relaxed) * 100 / self.map.len().max(1)
    }

    /// Copies records in. The caller is the one writer, and has asked whether
    /// they fit.
    pub fn append<'p>(&self, payloads: impl Iterator<Item = &'p [u8]>) {
        let mut end = self.end.load(Ordering::Relaxed);
        let mut count = self.count.load(Ordering::Relaxed);
        for payload in payloads {
            let (length, sum) = frame::head(payload);
            self.map.write(end + frame::HEAD, payload);
            self.map.write(end + 4, &sum.to_le_bytes());
            self.map.publish(end, length);
            end += frame::room(payload.len());
            count += 1;
        }
        self.count.store(count, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    /// All that has been written.
    pub fn written(&self) -> &[u8] {
        self.map.written(self.end.load(Ordering::Acquire))
    }

    pub fn close(&self) {
        self.full.store(true, Ordering::Release);
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Brings it to the disk. INVARIANT: with its name, or what was promised would lie
    /// in a file that nobody looks for.
    pub fn sync(&self) -> Result<(), StoreError> {
        let count = self.count();
        self.file.sync_data().map_err(StoreError::io("bring to the disk", &self.path))?;
        if !self.named.load(Ordering::Acquire) {
            sync_folder_of(&self.path)?;
            self.named.store(true, Ordering::Release);
        }
        self.on_disk.fetch_max(count, Ordering::AcqRel);
        Ok(())
    }

    /// All of it is there, and nothing will follow.
    pub fn is_on_disk(&self) -> bool {
        self.is_full() && self.on_disk.load(Ordering::Acquire) == self.count()
    }
}

/// Two threads may make one at the same time.
static SPARES: AtomicU64 = AtomicU64::new(0);

fn reserve(file: &File, size: usize) -> std::io::Result<()> {
    let length = size as u64;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        // Not every file system can; zeros reserve as well.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            use std::os::unix::fs::FileExt;
            let zeros = [0; 64 * 1024];
            let mut at = 0;
            while at < length {
                let left = usize::try_from(length - at).unwrap_or(zeros.len()).min(zeros.len());
                file.write_all_at(zeros.get(..left).unwrap_or_default(), at)?;
                at += left as u64;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
