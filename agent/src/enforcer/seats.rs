//! Which of a server's processes serves which session, where the settings say that a
//! session keeps its own (`pooling = "session"`).
//!
//! INVARIANT: what two sessions say of one process at the same time isn't true of either,
//! and both are told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One process of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub process: u32,
    /// When its server was started: there is no other with that process, and this.
    pub since: Box<str>,
}

/// Of the whole process.
#[derive(Clone, Debug, Default)]
pub struct Seats(Arc<Mutex<HashMap<Place, Sat>>>);

#[derive(Debug, Default)]
struct Sat {
    sessions: usize,
    /// More than one have sat here at once.
    shared: Arc<AtomicBool>,
}

/// A session's, for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    place: Place,
    shared: Arc<AtomicBool>,
}

impl Seats {
    pub fn take(&self, place: Place) -> Seat {
        let mut seats = self.lock();
        let sat = seats.entry(place.clone()).or_default();
        sat.sessions += 1;
        if sat.sessions > 1 {
            sat.shared.store(true, Ordering::Relaxed);
        }
        let shared = Arc::clone(&sat.shared);
        drop(seats);
        Seat { seats: self.clone(), place, shared }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Sat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether another session was there too.
    pub fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock();
        let Some(sat) = seats.get_mut(&self.place) else { return };
        sat.sessions -= 1;
        if sat.sessions == 0 {
            seats.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests;
