//! Connects that are held back: from the kernel's word to the handover.
//!
//! INVARIANT: each attempt leaves the table once, and is settled with the
//! kernel's quota then.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tidegate_ebpf::{Attempt, RawFlow};

use super::enforcers::WorkerId;
use super::packet::Syn;

/// Longer than any client waits (Linux gives up after 127 s by default).
const LONGEST: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub struct Held {
    pub flow: Box<RawFlow>,
    pub syn: Syn,
    pub stage: Stage,
    since: Instant,
}

#[derive(Debug)]
pub enum Stage {
    /// The destination hasn't answered yet.
    Dialling(OwnedFd),
    /// It has; no worker has a credit.
    Reached(OwnedFd),
    /// The SYN is on its way to the listener.
    Released(OwnedFd, WorkerId),
    /// It never will; the client is left to its own timer.
    Hopeless,
}

#[derive(Debug, Default)]
pub struct Attempts {
    held: HashMap<u64, Held>,
    by_client: HashMap<(u64, SocketAddr), u64>,
}

impl Held {
    /// `None`: what the kernel kept is no SYN.
    pub fn new(attempt: &Attempt) -> Option<Self> {
        let length = usize::try_from(attempt.syn_length).ok()?;
        Some(Self {
            flow: Box::new(attempt.flow),
            syn: Syn::parse(attempt.syn.get(..length)?)?,
            stage: Stage::Hopeless,
            since: Instant::now(),
        })
    }
}

impl Attempts {
    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn insert(&mut self, held: Held) {
        self.by_client.insert((held.flow.netns, held.syn.source), held.flow.cookie);
        self.held.insert(held.flow.cookie, held);
    }

    pub fn get(&self, cookie: u64) -> Option<&Held> {
        self.held.get(&cookie)
    }

    pub fn get_mut(&mut self, cookie: u64) -> Option<&mut Held> {
        self.held.get_mut(&cookie)
    }

    pub fn remove(&mut self, cookie: u64) -> Option<Held> {
        let held = self.held.remove(&cookie)?;
        let client = (held.flow.netns, held.syn.source);
        if self.by_client.get(&client) == Some(&cookie) {
            self.by_client.remove(&client);
        }
        Some(held)
    }

    /// Whose connection was just accepted.
    pub fn of_client(&self, netns: u64, client: SocketAddr) -> Option<u64> {
        self.by_client.get(&(netns, client)).copied()
    }

    pub fn too_old(&self) -> Vec<u64> {
        let old = |held: &&Held| held.since.elapsed() > LONGEST;
        self.held.values().filter(old).map(|held| held.flow.cookie).collect()
    }

    /// Those whose handover a dead worker owed.
    pub fn released_to(&self, generation: u32) -> Vec<u64> {
        self.held
            .values()
            .filter(|held| {
                matches!(held.stage, Stage::Released(_, worker) if worker.generation == generation)
            })
            .map(|held| held.flow.cookie)
            .collect()
    }
}
