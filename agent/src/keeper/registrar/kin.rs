//! Processes and their ancestors, remembered beyond their ends.
//!
//! INVARIANT: a link to a parent is taken when its child is first read and kept
//! from then on: a parent that ends later doesn't make its child an orphan here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use super::memory::Memory;
use super::names::Names;
use super::proc::{self, CLOCK_TICK, Mark};
use crate::identity::Seen;
use crate::model::{MOST_ANCESTORS, ProcessKey, Relation};

/// Processes kept; then those that nobody asked for of late go.
const MOST_KNOWN: usize = 16_384;
/// How long what can change (user, folder, terminal) is taken for granted.
const FRESH: Duration = Duration::from_secs(2);
const KEPT_AT_LEAST: Duration = Duration::from_secs(60);
const MOST_BEFORE: usize = 3;

#[derive(Debug)]
pub(super) struct Kin {
    known: Mutex<HashMap<Key, Arc<Relative>>>,
    pub names: Arc<Names>,
}

/// pid, and clock ticks at its start.
type Key = (u32, u64);

#[derive(Debug)]
struct Relative {
    mark: Mark,
    seen: Seen,
    parent: Key,
    /// Its earlier programs, the last first.
    before: Vec<Arc<Relative>>,
    read_at: Instant,
}

impl Kin {
    pub fn new(names: Arc<Names>) -> Self {
        Self { known: Mutex::default(), names }
    }

    /// Reads a program that has just started, and those that it descends from.
    pub fn remember(&self, key: ProcessKey, memory: &Memory) {
        if key.started != 0 {
            drop(self.line(key, memory));
        }
    }

    /// The process, what it was before, its parent, and so on up. Empty: it is
    /// gone, and was never read.
    pub fn line(&self, key: ProcessKey, memory: &Memory) -> Vec<Seen> {
        let wanted = (key.tgid, key.started / CLOCK_TICK);
        let Some(mut current) = self.find(wanted, memory) else { return Vec::new() };
        let mut line = Vec::new();
        loop {
            let ended =
                Mark::of(current.seen.pid).is_none_or(|m| m.started != current.mark.started);
            let seen =
                |relative: &Relative, relation| Seen { relation, ended, ..relative.seen.clone() };
            line.push(seen(&current, Relation::Parent));
            line.extend(current.before.iter().map(|before| seen(before, Relation::Before)));
            let parent = current.parent;
            if line.len() > MOST_ANCESTORS || parent.0 == 0 || parent.0 == current.seen.pid {
                break;
            }
            match self.find(parent, memory) {
                Some(next) => current = next,
                None => break,
            }
        }
        line.truncate(MOST_ANCESTORS + 1);
        line
    }

    /// What is known of a process that started then; read if need be. A start
    /// of 0: whoever has the number.
    fn find(&self, wanted: Key, memory: &Memory) -> Option<Arc<Relative>> {
        let (pid, started) = wanted;
        let mark = Mark::of(pid).filter(|m| started == 0 || m.started.abs_diff(started) <= 1);
        let Some(mark) = mark else {
            // Gone: only what was read while it was there.
            let known = lock(&self.known);
            let near = [started, started.wrapping_sub(1), started.wrapping_add(1)];
            return near.into_iter().find_map(|started| known.get(&(pid, started)).cloned());
        };
        let key = (pid, mark.started);
        let known = lock(&self.known).get(&key).cloned();
        if let Some(known) = &known
            && known.mark.is_same_program(&mark)
            && known.read_at.elapsed() < FRESH
        {
            return Some(Arc::clone(known));
        }
        let Some(seen) = proc::read(pid, mark, &self.names, memory) else {
            // It ended, or became another, as it was read.
            return known;
        };
        let (mut before, mut parent) = (Vec::new(), None);
        if let Some(known) = known {
            parent = Some(known.parent);
            if known.mark.is_same_program(&mark) {
                before.clone_from(&known.before);
            } else {
                before.push(Arc::clone(&known));
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
        let relative = Arc::new(Relative { mark, seen, parent, before, read_at: Instant::now() });
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, one| one.read_at.elapsed() < KEPT_AT_LEAST);
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
        }
        known.insert(key, Arc::clone(&relative));
        Some(relative)
    }
}
