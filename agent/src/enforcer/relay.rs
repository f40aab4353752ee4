//! One connection, carried: client ⇄ upstream, byte for byte.
//!
//! A session is driven by readiness and never waits: told what the kernel
//! said about its two legs, it moves what can be moved, up to a budget, and
//! says whether it wants to go on at once, to be told more, or is over. It
//! knows no descriptor, no thread and no clock.
//!
//! Back-pressure: a direction whose reader is slow holds at most one buffer,
//! and nothing is read for it until that is gone. A direction's end is passed
//! on after its last byte. A leg that breaks takes the other with it, as a
//! reset, once what it had sent before has been passed on.
//!
//! Never: a byte that wasn't read, a byte twice, an end before the bytes, an
//! orderly end in place of a reset.

mod io;
mod leg;

pub use io::{Io, Socket};
pub use leg::{Buffers, Leg, Ready, SCRATCH};

use crate::model::End;
use leg::Lane;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

#[derive(Debug)]
pub struct Session<I> {
    client: Leg<I>,
    upstream: Leg<I>,
    up: Lane,
    down: Lane,
    /// The leg that broke first.
    broken: Option<Side>,
}

/// What a session wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To be told when a leg is ready again.
    Wait,
    /// Another turn, after the others had theirs.
    More,
    Over(End),
}

/// What came of moving one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Nothing to read.
    Idle,
    /// The reader takes no more.
    Blocked,
    /// The budget is spent.
    More,
    /// Its end was reached and all is written.
    Done,
}

/// What one direction may move in one turn: enough to make the turn's own cost
/// small, little enough that a bulk transfer delays nobody.
const BUDGET: usize = 4 * SCRATCH;

impl<I: Io> Session<I> {
    pub fn new(client: I, upstream: I) -> Self {
        Self {
            client: Leg::new(client),
            upstream: Leg::new(upstream),
            up: Lane::default(),
            down: Lane::default(),
            broken: None,
        }
    }

    /// What the kernel says about a leg. Takes effect with the next turn.
    pub fn notice(&mut self, side: Side, ready: Ready) {
        match side {
            Side::Client => self.client.notice(ready),
            Side::Upstream => self.upstream.notice(ready),
        }
        self.note_broken();
    }

    /// One turn.
    pub fn advance(&mut self, buffers: &mut Buffers) -> Progress {
        if self.broken.is_none() {
            let down = pump(&mut self.upstream, &mut self.client, &mut self.down, buffers);
            let up = pump(&mut self.client, &mut self.upstream, &mut self.up, buffers);
            self.note_broken();
            if self.broken.is_none() {
                return match (down, up) {
                    (Pumped::Done, Pumped::Done) => Progress::Over(End::Closed),
                    (Pumped::More, _) | (_, Pumped::More) => Progress::More,
                    _ => Progress::Wait,
                };
            }
        }
        self.wind_up(buffers)
    }

    /// Makes the coming drop a reset of both legs.
    pub fn abort(&mut self) {
        self.client.io.abort();
        self.upstream.io.abort();
    }

    /// Bytes carried from the client to the database.
    pub fn bytes_up(&self) -> u64 {
        self.up.moved
    }

    /// Bytes carried from the database to the client.
    pub fn bytes_down(&self) -> u64 {
        self.down.moved
    }

    /// A leg is broken: what it had sent goes to the other, then that one is
    /// to be reset.
    fn wind_up(&mut self, buffers: &mut Buffers) -> Progress {
        let (from, to, lane, end) = match self.broken {
            Some(Side::Client) => {
                (&mut self.client, &mut self.upstream, &mut self.up, End::ClientReset)
            }
            _ => (&mut self.upstream, &mut self.client, &mut self.down, End::UpstreamReset),
        };
        let pumped = pump(from, to, lane, buffers);
        if to.broken || (pumped == Pumped::Done && to.io.sent()) {
            return Progress::Over(end);
        }
        if pumped == Pumped::More {
            return Progress::More;
        }
        // It doesn't read for the moment. But if it writes, it must learn now
        // that nobody is there.
        if to.readable && !to.ended && to.take(&mut buffers.scratch) > 0 {
            return Progress::Over(end);
        }
        if to.broken { Progress::Over(end) } else { Progress::Wait }
    }

    fn note_broken(&mut self) {
        if self.broken.is_none() {
            self.broken = match (self.client.broken, self.upstream.broken) {
                (true, _) => Some(Side::Client),
                (_, true) => Some(Side::Upstream),
                _ => None,
            };
        }
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.up.held() + self.down.held()
    }
}

fn pump<I: Io>(
    from: &mut Leg<I>,
    to: &mut Leg<I>,
    lane: &mut Lane,
    buffers: &mut Buffers,
) -> Pumped {
    let mut budget = BUDGET;
    loop {
        if !lane.flush(to, buffers) {
            return Pumped::Blocked;
        }
        if to.broken {
            return Pumped::Done;
        }
        if from.ended {
            // A broken leg's end is no orderly one: the caller resets instead.
            if !from.broken {
                to.finish();
            }
            return Pumped::Done;
        }
        if !from.readable {
            return Pumped::Idle;
        }
        if !to.writable {
            return Pumped::Blocked;
        }
        if budget == 0 {
            return Pumped::More;
        }
        let read = from.take(&mut buffers.scratch);
        budget = budget.saturating_sub(read);
        let Buffers { scratch, spare, .. } = &mut *buffers;
        lane.forward(scratch.get(..read).unwrap_or_default(), to, spare);
    }
}

#[cfg(test)]
mod tests;
