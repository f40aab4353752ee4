//! What the keeper is still to be told. A channel that is full delays a
//! message; it neither loses it nor makes the worker wait.
//!
//! Its length is bounded by credits and sessions: while nothing can be sent no
//! credit reaches the keeper, so that no more sessions come than were granted.

use std::collections::VecDeque;

use crate::channel::{Channel, ChannelError, ToEnforcer, ToKeeper};

#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<ToKeeper>,
}

impl Outbox {
    pub fn push(&mut self, message: ToKeeper) {
        self.waiting.push_back(message);
    }

    /// Sends what the channel takes, in order. Ends with an error only when
    /// the channel is no more.
    pub fn flush(&mut self, channel: &Channel<ToKeeper, ToEnforcer>) -> Result<(), ChannelError> {
        while let Some(message) = self.waiting.front() {
            match channel.send(message, &[]) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
