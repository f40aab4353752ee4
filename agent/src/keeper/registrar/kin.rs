//! Processes and their ancestors, remembered beyond their ends.
//!
//! INVARIANT: a link to a parent is taken when its child is first read and kept
//! from then on: a parent that ends later doesn't make its child an orphan here.
//!
//! INVARIANT: what a process was, and what it ran, is not undone by what it does later:
//! of its earlier programs each is kept once, and where one is dropped all the same,
//! [`Seen::forgotten`] says so.

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
/// Different ones: a daemon that starts itself anew is the same, with whatever arguments
/// it does.
const MOST_BEFORE: usize = 8;
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
    /// How many execs it had, as far as anybody said.
    exec: u64,
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
        let mut exec = key.exec;
        for _ in 0..MOST_LOOKED_AT {
            if wanted.1 == 0 {
                return;
            }
            let Some((one, _)) = self.find(wanted, exec, memory) else { return };
            (wanted, exec) = (one.parent, 0);
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
        let mut next = self.find(wanted, key.exec, memory);
        let mut line = Vec::new();
        while let Some((current, ended)) = next {
            line.push(Seen { ended, ..current.seen.clone() });
            let before = current.before.iter().cloned();
            line.extend(before.map(|before| Seen { ended, ..before }));
            let parent = current.parent;
            if line.len() >= MOST_LINE || parent.0 == 0 || parent.0 == current.seen.pid {
                break;
            }
            next = self.find(parent, 0, memory);
        }
        line.truncate(MOST_LINE);
        line
    }

    /// What is known of a process that started then, read if need be, and
    /// whether it has ended. A start of 0: whoever has the number; an exec of 0: not
    /// known.
    fn find(&self, wanted: Key, exec: u64, memory: &Memory) -> Option<(Arc<Relative>, bool)> {
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
            && known.is_same(&mark, exec)
            && known.read_at.elapsed() < FRESH
        {
            return Some((Arc::clone(known), false));
        }
        // Of the same program it is the same file, whatever lies there by now.
        let same = known.as_ref().filter(|known| known.is_same(&mark, exec));
        let file = same.and_then(|known| known.seen.file.clone());
        let look = || file.or_else(|| self.files.of(pid));
        let Some(mut seen) = proc::read(pid, mark, &self.names, memory, look) else {
            // It ended, or became another, as it was read.
            return known.map(|known| (known, true));
        };
        let (mut before, mut parent, mut exec) = (Vec::new(), None, exec);
        if let Some(known) = known {
            parent = Some(known.parent);
            seen.forgotten = known.seen.forgotten;
            if known.is_same(&mark, exec) {
                if !known.seen.arguments.is_empty() {
                    seen.script.clone_from(&known.seen.script);
                }
                before.clone_from(&known.before);
            } else {
                before = known.with_before();
                before.retain(|earlier| !is_alike(earlier, &seen));
                if before.len() > MOST_BEFORE {
                    before = first_of_each(before);
                }
                seen.forgotten |= before.len() > MOST_BEFORE;
                before.truncate(MOST_BEFORE);
            }
            exec = exec.max(known.exec);
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
        let mut known = lock(&self.known);
        // A fork without an exec, which has written over its arguments: a worker.
        if seen.script.is_none()
            && let Some(parent) = known.get(&parent)
            && parent.mark.has_program_of(&mark)
            && parent.seen.exe == seen.exe
        {
            seen.script.clone_from(&parent.seen.script);
        }
        let relative = Arc::new(Relative { mark, seen, parent, exec, before, read_at });
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

impl Relative {
    /// Of whoever has its number and its start: the same program still. Where the
    /// kernel lays all programs out alike, only its count of execs tells.
    fn is_same(&self, mark: &Mark, exec: u64) -> bool {
        let more = exec != 0 && self.exec != 0 && exec > self.exec;
        self.mark.is_same_program(mark) && !more
    }

    /// What it is and what it was before, each once, the last first.
    fn with_before(&self) -> Vec<Seen> {
        let mut all = vec![Seen { relation: Relation::Before, ..self.seen.clone() }];
        all.extend(self.before.iter().filter(|one| !is_alike(one, &self.seen)).cloned());
        all
    }
}

/// Of each program the first that was run: the others differ from it in arguments alone.
fn first_of_each(all: Vec<Seen>) -> Vec<Seen> {
    let mut firsts: Vec<Seen> = Vec::new();
    for one in all {
        match firsts.iter_mut().find(|known| is_same_program(known, &one)) {
            Some(later) => *later = one,
            None => firsts.push(one),
        }
    }
    firsts
}

/// Whether nobody who looks for what they were could tell them apart.
fn is_alike(one: &Seen, other: &Seen) -> bool {
    is_same_program(one, other) && one.arguments == other.arguments
}

fn is_same_program(one: &Seen, other: &Seen) -> bool {
    let told = |seen: &Seen| (seen.uid, seen.gid, seen.login_uid, seen.terminal.is_some());
    told(one) == told(other)
        && one.program() == other.program()
        && one.exe.as_ref().map(|exe| exe.parent()) == other.exe.as_ref().map(|exe| exe.parent())
        && one.script == other.script
        && one.comm == other.comm
}
