//! What other threads have to say to a worker's sessions.
//!
//! `hashing, parsers --words--> worker`
//!
//! INVARIANT: a word for a session that is gone is dropped; a sender never
//! waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::slab::Key;
use crate::enforcer::postgres::Word;

/// The worker's end.
#[derive(Debug)]
pub struct Mailbox(Arc<Inner>);

/// A sender's end.
#[derive(Clone, Debug)]
pub struct Post(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    words: Mutex<Vec<(Key, Word)>>,
    wake: OwnedFd,
}

impl Mailbox {
    pub fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { words: Mutex::default(), wake })))
    }

    pub fn post(&self) -> Post {
        Post(Arc::clone(&self.0))
    }

    /// All that has come, in the order in which it came.
    pub fn take(&self) -> Vec<(Key, Word)> {
        let mut count = [0; 8];
        // Empty when somebody's wake was taken with an earlier one.
        let _ = rustix::io::read(&self.0.wake, &mut count);
        std::mem::take(&mut *self.0.words.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Post {
    pub fn send(&self, key: Key, word: Word) {
        self.0.words.lock().unwrap_or_else(PoisonError::into_inner).push((key, word));
        // Full only when the worker has been woken and not looked yet.
        let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}
