//! Bounds the reading of what a process can make hang: its memory and its
//! program's file.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lock;

/// A read that lasts longer hangs: far longer than a reader on a busy host is
/// kept from its work.
const HANGS: Duration = Duration::from_millis(300);
/// So many of one user's may hang; no more of them is read meanwhile.
const MOST_HANGING: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Memory {
    reading: Mutex<HashMap<u64, Reading>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Reading {
    pid: u32,
    uid: u32,
    since: Instant,
}

impl Memory {
    /// Reads, unless this process hangs a reader, or this user two. Root is a user
    /// like any other here: a container's root has its number too.
    pub fn read<T>(&self, pid: u32, uid: u32, work: impl FnOnce() -> T) -> Option<T> {
        if !self.may_of(pid, uid) {
            return None;
        }
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.reading).insert(ticket, Reading { pid, uid, since: Instant::now() });
        let done = work();
        lock(&self.reading).remove(&ticket);
        Some(done)
    }

    fn may_of(&self, pid: u32, uid: u32) -> bool {
        let reading = lock(&self.reading);
        let mut hanging = reading.values().filter(|one| one.since.elapsed() > HANGS);
        let this_one = hanging.clone().any(|one| one.pid == pid);
        !this_one && hanging.by_ref().filter(|one| one.uid == uid).count() < MOST_HANGING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn who_hangs_readers_is_left_out_and_nobody_else() {
        let memory = Memory::default();
        let (release_tx, release_rx) = channel::<()>();
        let release_rx = Mutex::new(release_rx);
        std::thread::scope(|scope| {
            let (memory, release_rx) = (&memory, &release_rx);
            for pid in [10, 11] {
                scope.spawn(move || {
                    memory.read(pid, 1000, || {
                        let _ = release_rx.lock().unwrap().recv();
                    })
                });
            }
            while memory.reading.lock().unwrap().len() < 2 {
                std::thread::yield_now();
            }
            std::thread::sleep(HANGS * 2);
            assert_eq!(memory.read(12, 1000, || 1), None);
            assert_eq!(memory.read(10, 1001, || 1), None);
            assert_eq!(memory.read(12, 1001, || 1), Some(1));
            assert_eq!(memory.read(12, 0, || 1), Some(1));
            drop(release_tx);
        });
        assert_eq!(memory.read(12, 1000, || 1), Some(1));
    }
}
