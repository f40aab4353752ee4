//! Processes and their ancestors, remembered beyond their ends.
//!
//! INVARIANT: a link to a parent is taken when its child is first read and kept
//! from then on: a parent that ends later doesn't make its child an orphan here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::files::Files;
use super::lock;
use super::memory::Memory;
use super::names::Names;
use super::proc::{self, CLOCK_TICK, Mark};
use crate::identity::Seen;
use crate::model::{MOST_LOOKED_AT, ProcessKey, Relation};

/// Processes kept; then those that nobody asked for of late go.
const MOST_KNOWN: usize = 8_192;
/// How long what can change (user, folder, terminal) is taken for granted.
const FRESH: Duration = Duration::from_secs(2);
const KEPT_AT_LEAST: Duration = Duration::from_secs(60);
const MOST_BEFORE: usize = 3;
/// The process, its ancestors, and one that tells that there are more.
const MOST_LINE: usize = 1 + MOST_LOOKED_AT + 1;

#[derive(Debug)]
pub(super) struct Kin {
    known: Mutex<HashMap<Key, Arc<Relative>>>,
    pub names: Arc<Names>,
    pub files: Files,
}

/// pid, and clock ticks at its start.
pub(super) type Key = (u32, u64);

#[derive(Debug)]
struct Relative {
    mark: Mark,
    seen: Seen,
    parent: Key,
    /// Its earlier programs, the last first.
    before: Vec<Seen>,
    read_at: Instant,
}

impl Kin {
    pub fn new(names: Arc<Names>, files: Files) -> Self {
        Self { known: Mutex::default(), names, files }
    }

    /// Reads a program that has just started, and those that it descends from,
    /// as far as they aren't known yet.
    pub fn remember(&self, key: ProcessKey, memory: &Memory) {
        let mut wanted = (key.tgid, key.started / CLOCK_TICK);
        for _ in 0..MOST_LOOKED_AT {
            if wanted.1 == 0 {
                return;
            }
            let Some((one, _)) = self.find(wanted, memory) else { return };
            wanted = one.parent;
            if lock(&self.known).contains_key(&wanted) {
                return;
            }
        }
    }

    #[cfg(test)]
    pub fn knows(&self, key: Key) -> bool {
        lock(&self.known).contains_key(&key)
    }

    /// The process, what it was before, its parent, and so on up: one more than is
    /// looked at, where there are more. Empty: it is gone, and was never read.
    pub fn line(&self, key: ProcessKey, memory: &Memory) -> Vec<Seen> {
        let wanted = (key.tgid, key.started / CLOCK_TICK);
        let mut next = self.find(wanted, memory);
        let mut line = Vec::new();
        while let Some((current, ended)) = next {
            line.push(Seen { ended, ..current.seen.clone() });
            let before = current.before.iter().cloned();
            line.extend(before.map(|before| Seen { ended, ..before }));
            let parent = current.parent;
            if line.len() >= MOST_LINE || parent.0 == 0 || parent.0 == current.seen.pid {
                break;
            }
            next = self.find(parent, memory);
        }
        line.truncate(MOST_LINE);
        line
    }

    /// What is known of a process that started then, read if need be, and
    /// whether it has ended. A start of 0: whoever has the number.
    fn find(&self, wanted: Key, memory: &Memory) -> Option<(Arc<Relative>, bool)> {
        let (pid, started) = wanted;
        let mark = Mark::of(pid).filter(|m| started == 0 || m.started.abs_diff(started) <= 1);
        let Some(mark) = mark else {
            // Gone: only what was read while it was there.
            let known = lock(&self.known);
            let near = [started, started.wrapping_sub(1), started.wrapping_add(1)];
            let gone = near.into_iter().find_map(|started| known.get(&(pid, started)).cloned());
            return gone.map(|gone| (gone, true));
        };
        let key = (pid, mark.started);
        let known = lock(&self.known).get(&key).cloned();
        if let Some(known) = &known
            && known.mark.is_same_program(&mark)
            && known.read_at.elapsed() < FRESH
        {
            return Some((Arc::clone(known), false));
        }
        // Of the same program it is the same file, whatever lies there by now.
        let same = known.as_ref().filter(|known| known.mark.is_same_program(&mark));
        let file = same.and_then(|known| known.seen.file.clone());
        let look = || file.or_else(|| self.files.of(pid));
        let Some(seen) = proc::read(pid, mark, &self.names, memory, look) else {
            // It ended, or became another, as it was read.
            return known.map(|known| (known, true));
        };
        let (mut before, mut parent) = (Vec::new(), None);
        if let Some(known) = known {
            parent = Some(known.parent);
            if known.mark.is_same_program(&mark) {
                before.clone_from(&known.before);
            } else {
                before.push(Seen { relation: Relation::Before, ..known.seen.clone() });
                before.extend(known.before.iter().take(MOST_BEFORE - 1).cloned());
            }
        }
        let parent = parent.unwrap_or_else(|| {
            let started = Mark::of(mark.parent).map(|parent| parent.started);
            // Nobody is older than their parent.
            match started.filter(|started| *started <= mark.started) {
                Some(started) => (mark.parent, started),
                None => (0, 0),
            }
        });
        let read_at = Instant::now();
        let relative = Arc::new(Relative { mark, seen, parent, before, read_at });
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, one| one.read_at.elapsed() < KEPT_AT_LEAST);
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
        }
        known.insert(key, Arc::clone(&relative));
        Some((relative, false))
    }
}
