//! Statement texts: exact bytes, kept once for all sessions that have them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;

/// The exact bytes of a statement, in the client's encoding.
pub type Text = Arc<[u8]>;

/// The texts that sessions share. Its budget bounds what is *shared*; beyond
/// it a session has a text of its own, under its own budget.
#[derive(Debug)]
pub struct Texts {
    pool: Mutex<Pool>,
    budget: usize,
}

#[derive(Debug, Default)]
struct Pool {
    texts: HashSet<Text, RandomState>,
    bytes: usize,
    /// Bytes that found no room since the last sweep.
    turned_away: usize,
}

impl Texts {
    pub fn new(budget: usize) -> Self {
        Self { pool: Mutex::default(), budget }
    }

    /// The one copy of this text.
    pub fn share(&self, text: &[u8]) -> Text {
        if text.len() > LARGEST_SHARED {
            return text.into();
        }
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pool.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Text = text.into();
        if pool.bytes.saturating_add(text.len()) > self.budget {
            pool.turned_away = pool.turned_away.saturating_add(text.len());
            // A sweep is worth its walk only once in a while.
            if pool.turned_away >= self.budget / 8 {
                pool.sweep();
            }
        }
        if pool.bytes.saturating_add(text.len()) <= self.budget {
            pool.bytes += text.len();
            pool.texts.insert(Arc::clone(&text));
        }
        text
    }

    /// Bytes held at the moment, used or not.
    pub fn bytes(&self) -> usize {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

/// What is longer is seldom two sessions', and whoever looks it up holds up the others.
const LARGEST_SHARED: usize = 64 * 1024;

impl Default for Texts {
    fn default() -> Self {
        Self::new(64 * 1024 * 1024)
    }
}

impl Pool {
    fn sweep(&mut self) {
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.bytes = self.texts.iter().map(|text| text.len()).sum();
        self.turned_away = 0;
    }
}

/// A session's own budget; what is kept is given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: Arc<AtomicUsize>,
}

impl Budget {
    /// Keeps a text while the session's budget has room for it.
    pub fn keep(
        &self,
        limit: usize,
        text: &[u8],
        make: impl FnOnce(&[u8]) -> Text,
    ) -> Option<Kept> {
        let used = self.used.load(Ordering::Relaxed);
        if used.saturating_add(text.len()) > limit {
            return None;
        }
        self.used.fetch_add(text.len(), Ordering::Relaxed);
        Some(Kept { text: make(text), used: Arc::clone(&self.used) })
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct Kept {
    text: Text,
    used: Arc<AtomicUsize>,
}

impl Kept {
    pub fn text(&self) -> &Text {
        &self.text
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.used.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
