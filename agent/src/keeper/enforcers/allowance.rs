//! How often something may be asked: so many at once, so many a second.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    most: u32,
    /// How long one takes to come back.
    each: Duration,
    left: u32,
    since: Instant,
}

impl Allowance {
    pub fn new(at_once: u32, a_second: u32) -> Self {
        Self {
            most: at_once,
            each: Duration::from_secs(1) / a_second.max(1),
            left: at_once,
            since: Instant::now(),
        }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let back = passed.as_nanos() / self.each.as_nanos().max(1);
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back >= self.most - self.left {
            self.left = self.most;
            self.since = now;
        } else {
            self.left += back;
            self.since += self.each * back;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests;
