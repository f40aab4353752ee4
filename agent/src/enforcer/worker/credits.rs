//! How many more handovers a worker can take: never so many that descriptors
//! run out, and few enough on the way that the channel's buffer holds them.

/// INVARIANT: `outstanding` + the live sessions never pass `capacity`.
#[derive(Debug)]
pub struct Credits {
    outstanding: u32,
    capacity: u32,
}

/// Most handovers on the way to one worker.
const MOST: u32 = 256;
/// Granted at once, so that a grant isn't a message for every connection.
const BATCH: u32 = 64;

impl Credits {
    pub fn new(capacity: u32) -> Self {
        Self { outstanding: 0, capacity }
    }

    /// What can be granted now, and is from here on.
    pub fn grant(&mut self, live: u32) -> Option<u32> {
        let room = self.capacity.saturating_sub(live).saturating_sub(self.outstanding);
        let more = room.min(MOST.saturating_sub(self.outstanding));
        let worth_it = more >= BATCH || (self.outstanding == 0 && more > 0);
        worth_it.then(|| {
            self.outstanding = self.outstanding.saturating_add(more);
            more
        })
    }

    /// A handover came. `false`: it had no credit.
    pub fn spend(&mut self) -> bool {
        let had = self.outstanding > 0;
        self.outstanding = self.outstanding.saturating_sub(1);
        had
    }
}

#[cfg(test)]
mod tests;
