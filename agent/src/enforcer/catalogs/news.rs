//! What is learnt here and must be known after this process: on its way to the keeper.
//!
//! `sessions --news--> workers --learnt--> keeper`

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::{DatabaseName, Learnt};

#[derive(Debug, Default)]
pub struct News {
    waiting: Mutex<Vec<(DatabaseName, Learnt)>>,
    /// Looked at without the lock.
    any: AtomicBool,
}

impl News {
    pub fn tell(&self, database: &DatabaseName, learnt: Learnt) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Workers take it at each turn: only without a keeper it stays.
        if waiting.len() >= MOST_WAITING {
            return;
        }
        if waiting.len() + 1 == MOST_WAITING {
            tracing::error!("nobody takes what is learnt of tables: a restart forgets it");
        }
        waiting.push((database.clone(), learnt));
        self.any.store(true, Ordering::Release);
    }

    /// All that has come since this was asked.
    #[inline]
    pub fn take(&self) -> Vec<(DatabaseName, Learnt)> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut waiting)
    }
}

const MOST_WAITING: usize = 65_536;
