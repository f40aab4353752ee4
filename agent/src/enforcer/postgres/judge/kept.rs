//! The operator's word that a session keeps one process of the server
//! (`pooling = "session"`), held against what the server says whenever it is asked.
//!
//! INVARIANT: the word counts until the server says otherwise once, and never again in
//! that session.
//!
//! It is asked before the session gives anything a name, and again before it leans on one
//! for the first time, the second, the fourth, the eighth …: a session that lives for long
//! pays next to nothing, and one behind a pooler that changes processes is soon found out.

use crate::enforcer::postgres::probe::Held;
use crate::enforcer::seats::{Place, Seat, Seats};

#[derive(Debug)]
pub struct Kept {
    seats: Seats,
    seat: Option<Seat>,
    /// How often something has hung on it, and at which time the server is asked.
    leaned: u64,
    due: u64,
}

/// Why it doesn't count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Moved,
    Shared,
    Unanswered,
}

impl Broken {
    pub fn why(self) -> &'static str {
        match self {
            Self::Moved => {
                "`pooling = \"session\"` is not so: another process of the server serves the \
                 session than before"
            }
            Self::Shared => {
                "`pooling = \"session\"` is not so: the process of the server serves another \
                 session too"
            }
            Self::Unanswered => {
                "`pooling = \"session\"` can't be told: the server doesn't say which process \
                 serves the session"
            }
        }
    }
}

impl Kept {
    pub fn new(seats: &Seats) -> Self {
        Self { seats: seats.clone(), seat: None, leaned: 0, due: 1 }
    }

    /// Whether it is known which process that is.
    pub fn is_seated(&self) -> bool {
        self.seat.is_some()
    }

    /// Something hangs on it. `true`: the server is to be asked first.
    pub fn leans(&mut self) -> bool {
        let asks = self.leaned + 1 >= self.due;
        // Else it is counted when it comes again.
        self.leaned += u64::from(!asks);
        asks
    }

    /// What the server has said, if anything.
    pub fn hear(&mut self, held: Option<&Held>) -> Result<(), Broken> {
        self.due = if self.is_seated() { 2 * (self.leaned + 1) } else { self.leaned + 1 };
        let since = held.and_then(|held| Some((held.process, held.since.clone()?)));
        let (process, since) = since.ok_or(Broken::Unanswered)?;
        let place = Place { process, since };
        match &self.seat {
            Some(seat) if *seat.place() != place => return Err(Broken::Moved),
            Some(_) => {}
            None => self.seat = Some(self.seats.take(place)),
        }
        self.check()
    }

    /// Whether another session has turned up at its process.
    pub fn check(&self) -> Result<(), Broken> {
        match &self.seat {
            Some(seat) if seat.is_shared() => Err(Broken::Shared),
            _ => Ok(()),
        }
    }

    /// The session's end is on its way to the pooler, which gives the process to others.
    pub fn leave(&mut self) {
        self.seat = None;
    }
}

#[cfg(test)]
mod tests;
