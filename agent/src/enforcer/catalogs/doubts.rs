//! What sessions have defined and nobody has learnt yet, for the others: a definition
//! may hold at the server before its session has heard so.
//!
//! INVARIANT: a doubt ends with a learning that began after its session was outside of
//! any transaction; one that was left open, once the server has had its time as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use crate::enforcer::postgres::Fresh;

#[derive(Debug, Default)]
pub struct Doubts {
    all: Mutex<Vec<Doubt>>,
    version: AtomicU64,
}

#[derive(Debug)]
struct Doubt {
    session: u64,
    fresh: Arc<Fresh>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    /// Its session is gone, and what it asked for may still run.
    Left(Instant),
    /// Any learning after this one tells it.
    Settled(u64),
}

impl Doubts {
    /// Changes with them; looked at without the lock.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// All that a session has defined since the catalog was learnt.
    pub fn tell(&self, session: u64, fresh: Fresh) {
        if fresh.is_empty() {
            return;
        }
        let mut all = lock(&self.all);
        all.retain(|one| one.session != session);
        if all.len() >= MOST {
            // Who defines so much has defined anything.
            all.clear();
            all.push(Doubt::of_anything());
        }
        all.push(Doubt { session, fresh: Arc::new(fresh), state: State::Open });
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    pub fn settle(&self, session: u64, begun: u64) {
        let mut all = lock(&self.all);
        for one in all.iter_mut().filter(|one| one.session == session) {
            one.state = State::Settled(begun);
        }
    }

    pub fn leave(&self, session: u64) {
        let mut all = lock(&self.all);
        for one in all.iter_mut().filter(|one| one.session == session) {
            one.state = State::Left(Instant::now());
        }
    }

    /// The catalog was learnt, by a learning of this number.
    pub fn learnt(&self, ended: u64) {
        let mut all = lock(&self.all);
        let before = all.len();
        all.retain(|one| match one.state {
            State::Open => true,
            State::Left(since) => since.elapsed() < RUNS_ON,
            State::Settled(begun) => ended <= begun,
        });
        if all.len() != before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// With the version that they are of.
    pub fn of_others(&self, session: u64) -> (u64, Vec<Arc<Fresh>>) {
        let all = lock(&self.all);
        let others = all.iter().filter(|one| one.session != session);
        (self.version(), others.map(|one| Arc::clone(&one.fresh)).collect())
    }
}

impl Doubt {
    fn of_anything() -> Self {
        let state = State::Left(Instant::now());
        Self { session: 0, fresh: Arc::new(Fresh::anything()), state }
    }
}

/// Sessions whose definitions are told apart.
const MOST: usize = 256;
/// For so long a server may go on with what nobody waits for any more.
const RUNS_ON: Duration = Duration::from_secs(3600);
