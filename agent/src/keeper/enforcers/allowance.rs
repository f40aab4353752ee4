//! How often something may be asked: so many at once, so many a second.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    most: u32,
    /// How long one takes to come back.
    each: Duration,
    left: u32,
    since: Instant,
    /// It ran out, and nothing was given since.
    out: bool,
}

/// What was asked for once too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften {
    /// The first time since something was given: worth a line in the log, which
    /// whoever asks must not fill.
    pub first: bool,
}

impl Allowance {
    pub fn new(at_once: u32, a_second: u32) -> Self {
        Self {
            most: at_once,
            each: Duration::from_secs(1) / a_second.max(1),
            left: at_once,
            since: Instant::now(),
            out: false,
        }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), TooOften> {
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
            return Err(TooOften { first: !std::mem::replace(&mut self.out, true) });
        }
        self.left -= 1;
        self.out = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
