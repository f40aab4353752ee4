//! Who is behind a connect: asked as soon as its SYN is held back, known before
//! it is let in, or before it is told that it failed. A process whose memory
//! hangs delays its own connects by [`PATIENCE`], and nobody else's.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_ebpf::{FLOW_CANARY, FLOW_COMMAND_CUT, RawFlow};

use super::Gate;
use crate::identity::redact;
use crate::keeper::attempts::{Held, Stage, Who};
use crate::keeper::processes::arguments;
use crate::keeper::registrar::Answer;
use crate::model::{Actor, Process, ProcessKey};

/// Longer than any answer takes on a busy host.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A program that goes on connecting is asked again so often.
const HOLDS: Duration = Duration::from_secs(30);
/// … and sooner while its file's hash is being computed.
const HOLDS_UNFINISHED: Duration = Duration::from_secs(1);
const MOST: usize = 4096;

/// Programs that have connected of late: those that open connection after
/// connection don't wait for an answer again.
#[derive(Debug, Default)]
pub(super) struct Acquainted {
    known: HashMap<Key, Known>,
}

/// The program, and what it could change of itself: user, group, cgroup.
type Key = (ProcessKey, u32, u32, u64);

#[derive(Debug)]
struct Known {
    until: Instant,
    process: Process,
    actor: Arc<Actor>,
}

/// A question whose patience ends at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    until: Instant,
    cookie: u64,
    connected_at: u64,
}

impl Acquainted {
    fn of(&mut self, flow: &RawFlow) -> Option<(Process, Arc<Actor>)> {
        let process = ProcessKey { tgid: flow.tgid, started: flow.started, exec: flow.exec };
        let key = (process, flow.uid, flow.gid, flow.cgroup);
        let known = self.known.get(&key)?;
        if known.until <= Instant::now() {
            self.known.remove(&key);
            return None;
        }
        let mut process = known.process.clone();
        process.tid = flow.tid;
        // Its arguments are what the hook saw this time.
        let length = usize::try_from(flow.command_length).unwrap_or_default();
        let block = flow.command.get(..length).unwrap_or_default();
        if !block.is_empty() {
            process.command_cut = flow.flags & FLOW_COMMAND_CUT != 0;
            process.command = redact::command(&arguments(block), process.command_cut);
        }
        Some((process, Arc::clone(&known.actor)))
    }

    fn keep(&mut self, process: &Process, actor: &Arc<Actor>) {
        let key = (process.key, process.uid, process.gid, process.cgroup_id);
        // Only what is told apart from its successors may be remembered.
        if process.key.started == 0 || process.key.exec == 0 || !actor.complete {
            return;
        }
        if self.known.len() >= MOST {
            self.known.retain(|_, known| known.until > Instant::now());
            if self.known.len() >= MOST {
                self.known.clear();
            }
        }
        let hashed = actor.program.file.as_ref().is_some_and(|file| file.sha256.is_some());
        let holds = if hashed { HOLDS } else { HOLDS_UNFINISHED };
        let known = Known {
            until: Instant::now() + holds,
            process: process.clone(),
            actor: Arc::clone(actor),
        };
        self.known.insert(key, known);
    }

    pub fn forget_all(&mut self) {
        self.known.clear();
    }
}

impl Gate {
    pub(super) fn ask_who(&mut self, cookie: u64) {
        let Some(held) = self.attempts.get_mut(cookie) else { return };
        if held.flow.flags & FLOW_CANARY != 0 {
            return;
        }
        if let Some(known) = self.acquainted.of(&held.flow) {
            held.who = Who::Known(Box::new(known));
            return;
        }
        held.who = Who::Asked;
        let connected_at = held.flow.connected_at;
        let until = Instant::now() + PATIENCE;
        self.asked.push_back(Asked { until, cookie, connected_at });
        self.parts.registrar.ask(&held.flow);
    }

    pub(super) fn on_known(&mut self, answer: Answer) {
        let Answer { cookie, connected_at, process, actor } = answer;
        self.acquainted.keep(&process, &actor);
        let Some(held) = self.waiting_for(cookie, connected_at) else { return };
        held.who = Who::Known(Box::new((process, actor)));
        self.go_on(cookie);
    }

    /// Who has waited long enough goes on without an answer.
    pub(super) fn lose_patience(&mut self) {
        while let Some(asked) = self.asked.front().copied() {
            if self.waiting_for(asked.cookie, asked.connected_at).is_some() {
                if asked.until > Instant::now() {
                    return;
                }
                if let Some(held) = self.attempts.get_mut(asked.cookie) {
                    tracing::debug!("pid {} was not told of in time", held.flow.tgid);
                    held.who = Who::NotAsked;
                }
                self.go_on(asked.cookie);
            }
            self.asked.pop_front();
        }
    }

    pub(super) fn patience_left(&self) -> Option<Duration> {
        self.asked.front().map(|asked| asked.until.saturating_duration_since(Instant::now()))
    }

    fn waiting_for(&mut self, cookie: u64, connected_at: u64) -> Option<&mut Held> {
        self.attempts
            .get_mut(cookie)
            .filter(|held| held.flow.connected_at == connected_at && matches!(held.who, Who::Asked))
    }

    fn go_on(&mut self, cookie: u64) {
        let Some(held) = self.attempts.get_mut(cookie) else { return };
        match &held.stage {
            Stage::Reached(_) => self.release(cookie),
            Stage::Failed(_) => {
                let stage = std::mem::replace(&mut held.stage, Stage::Hopeless);
                if let Stage::Failed(error) = stage {
                    self.fail(cookie, &error);
                }
            }
            _ => {}
        }
    }

    /// The process and the actor of a connect that goes on now.
    pub(super) fn who(&mut self, cookie: u64) -> Option<(Process, Arc<Actor>)> {
        let held = self.attempts.get_mut(cookie)?;
        if let Who::Known(known) = std::mem::replace(&mut held.who, Who::NotAsked) {
            return Some(*known);
        }
        let raw = &held.flow;
        Some(if raw.flags & FLOW_CANARY != 0 {
            (self.parts.processes.of_canary(raw), Arc::new(Actor::unknown("the agent's own")))
        } else {
            let actor = Actor::unknown("its process could not be read in time");
            (self.parts.processes.of_flow(raw), Arc::new(actor))
        })
    }
}

/// The same error once more.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
