//! How long clients are waited for that take their time: to log in, and to take what
//! ends their session.
//!
//! No session has a timer. Those that open, and those that end, each stand in a queue in
//! the order of their deadlines, and one whose turn comes is looked at.
//!
//! INVARIANT: a session that waits for nothing but its client, and isn't there yet or is
//! over, ends by itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Sessions;
use super::slab::Key;
use crate::enforcer::relay::Io;

#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a login, as PostgreSQL's own `authentication_timeout`. What a server takes to
    /// answer in it is the server's affair.
    pub opening: Duration,
    /// For a client that takes nothing more of what is left for it.
    pub ending: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { opening: Duration::from_secs(60), ending: Duration::from_secs(30) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    pub patience: Patience,
    openings: VecDeque<(Instant, Key)>,
    /// With how much was given to the legs when it was looked at last.
    endings: VecDeque<(Instant, Key, u64)>,
}

impl Deadlines {
    pub fn opens(&mut self, key: Key) {
        self.openings.push_back((Instant::now() + self.patience.opening, key));
    }

    pub fn ends(&mut self, key: Key, given: u64) {
        self.endings.push_back((Instant::now() + self.patience.ending, key, given));
    }
}

impl<I: Io> Sessions<I> {
    /// When somebody's patience is at its end. Who has gone on isn't waited for.
    pub(super) fn first_deadline(&mut self) -> Option<Instant> {
        let Self { live, deadlines, .. } = self;
        let mut opens = |key| live.get_mut(key).is_some_and(|live| live.carriage.opens());
        while deadlines.openings.front().is_some_and(|(_, key)| !opens(*key)) {
            deadlines.openings.pop_front();
        }
        while deadlines.endings.front().is_some_and(|(_, key, _)| live.get_mut(*key).is_none()) {
            deadlines.endings.pop_front();
        }
        let opening = deadlines.openings.front().map(|(until, _)| *until);
        let ending = deadlines.endings.front().map(|(until, ..)| *until);
        [opening, ending].into_iter().flatten().min()
    }

    /// Ends those that took too long.
    pub(super) fn end_late(&mut self) {
        if self.first_deadline().is_none_or(|first| first > Instant::now()) {
            return;
        }
        let now = Instant::now();
        while let Some((_, key)) = self.deadlines.openings.pop_front_if(|(until, _)| *until <= now)
        {
            let Some(live) = self.live.get_mut(key) else { continue };
            if live.carriage.waits_for_server() {
                self.deadlines.opens(key);
            } else if live.carriage.opens() {
                let within = self.deadlines.patience.opening;
                let who = match live.carriage.awaits_tls_of_server() {
                    true => "the server has not set up TLS",
                    false => "its client has not logged in",
                };
                let end = live.carriage.late(format!("{who} within {within:?}"));
                self.end(key, end);
            }
        }
        while let Some((_, key, before)) =
            self.deadlines.endings.pop_front_if(|(until, ..)| *until <= now)
        {
            let Some(live) = self.live.get_mut(key) else { continue };
            let given = live.carriage.given();
            if given > before {
                self.deadlines.ends(key, given);
            } else {
                let within = self.deadlines.patience.ending;
                let end =
                    live.carriage.late(format!("nobody took what was left of it for {within:?}"));
                self.end(key, end);
            }
        }
    }
}

#[cfg(test)]
mod tests;
