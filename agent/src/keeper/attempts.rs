//! Connects that are held back: from the kernel's word to the handover.
//!
//! INVARIANT: each attempt leaves the table once, and is settled with the
//! kernel's quota then.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_ebpf::{Attempt, RawFlow};

use super::packet::Syn;
use crate::model::{Actor, Process};

/// Longer than any client waits (Linux gives up after 127 s by default).
const LONGEST: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub struct Held {
    pub flow: Box<RawFlow>,
    pub syn: Syn,
    pub stage: Stage,
    pub who: Who,
    since: Instant,
}

/// What is known of the process that connects.
#[derive(Debug)]
pub enum Who {
    /// It isn't asked, or didn't answer in time.
    NotAsked,
    Asked,
    Known(Box<(Process, Arc<Actor>)>),
}

#[derive(Debug)]
pub enum Stage {
    /// Its network namespace has no listener, and couldn't get one yet.
    NoListener,
    /// The destination hasn't answered yet.
    Dialling(OwnedFd),
    /// It has; but there is no enforcer, or too many wait for one.
    Reached(OwnedFd),
    /// It can't be reached; the client is told as soon as it is known who it is.
    Failed(io::Error),
    /// The SYN is on its way to the listener.
    Released(OwnedFd),
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
            who: Who::NotAsked,
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
}
