//! The statements of a worker's sessions that wait for an approval.
//!
//! `session --Ask::Hold--> worker --Hold--> keeper --Held, Decided--> worker --Word--> session`
//!
//! INVARIANT: every statement that was asked for hears of it: by the keeper, by the
//! client's own cancel, or by the end of whoever could answer.

use std::collections::HashMap;
use std::time::Instant;

use super::Sessions;
use super::slab::Key;
use crate::channel::ToKeeper;
use crate::enforcer::postgres::{Asking, HoldWord, Word};
use crate::enforcer::relay::Io;
use crate::model::{FlowId, HoldAnswer, HoldEnd, Withdrawal};
use crate::wire::postgres::session::CancelKey;

#[derive(Default)]
pub struct Holds {
    /// A session waits for one at a time.
    held: HashMap<Key, Held>,
    /// The worker drains: nothing waits any more, and what comes is refused with an
    /// id, as a program's is.
    closed: bool,
}

struct Held {
    request: u64,
    cancel: Option<CancelKey>,
    /// Its session waits no longer.
    until: Option<Instant>,
}

impl Holds {
    /// When the first of them has waited for long enough.
    pub(super) fn next(&self) -> Option<Instant> {
        self.held.values().filter_map(|held| held.until).min()
    }

    fn key_of(&self, request: u64) -> Option<Key> {
        self.held.iter().find(|(_, held)| held.request == request).map(|(key, _)| *key)
    }
}

impl<I: Io> Sessions<I> {
    pub(super) fn ask_to_hold(&mut self, key: Key, flow: FlowId, asking: Asking) {
        if self.keeper_lost {
            return self.post.send(key, Word::Hold(HoldWord::Gone(Withdrawal::Lost)));
        }
        let Asking { asked, waits, patience, cancel } = asking;
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let waits = waits && !self.holds.closed;
        self.requests += 1;
        let request = self.requests;
        let patience_ms =
            patience.map(|patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        let asked = Box::new(asked);
        self.told.push(ToKeeper::Hold { request, flow, asked, waits, patience_ms });
        if let Some(cancel) = &cancel {
            let post = self.post.clone();
            let cancelled = move || {
                post.send(key, Word::Hold(HoldWord::Gone(Withdrawal::Cancelled)));
            };
            self.means.shared.cancels.expect(cancel, cancelled);
        }
        self.holds.held.insert(key, Held { request, cancel, until });
    }

    /// Those whose sessions let no statement take longer.
    pub(super) fn end_late_holds(&mut self) {
        if self.holds.held.is_empty() {
            return;
        }
        let now = Instant::now();
        let late = |held: &Held| held.until.is_some_and(|until| until <= now);
        let held = self.holds.held.iter_mut().filter(|(_, held)| late(held));
        let keys: Vec<Key> = held
            .map(|(key, held)| {
                held.until = None;
                *key
            })
            .collect();
        for key in keys {
            self.tell(key, Word::Hold(HoldWord::Gone(Withdrawal::TimedOut)));
        }
    }

    /// The session waits no longer; the keeper is to know.
    pub(super) fn withdraw(&mut self, key: Key, why: Withdrawal) {
        if let Some(request) = self.forget_hold(key) {
            self.told.push(ToKeeper::Withdraw { request, why });
        }
    }

    pub(super) fn hold_answered(&mut self, request: u64, answer: HoldAnswer) {
        let Some(key) = self.holds.key_of(request) else { return };
        if !matches!(answer, HoldAnswer::Waits { .. }) {
            self.forget_hold(key);
        }
        self.tell(key, Word::Hold(HoldWord::Answer(answer)));
    }

    pub(super) fn hold_ended(&mut self, request: u64, end: HoldEnd) {
        let Some(key) = self.holds.key_of(request) else { return };
        self.forget_hold(key);
        self.tell(key, Word::Hold(HoldWord::End(end)));
    }

    /// Nothing more is held: what waits is refused.
    pub(super) fn drain_holds(&mut self) {
        self.holds.closed = true;
        self.end_holds(Withdrawal::Drained);
    }

    /// What waits is refused: no answer will come, or none is waited for.
    pub(super) fn end_holds(&mut self, why: Withdrawal) {
        let keys: Vec<Key> = self.holds.held.keys().copied().collect();
        for key in keys {
            self.withdraw(key, why);
            self.tell(key, Word::Hold(HoldWord::Gone(why)));
        }
    }

    /// Also for a session that is gone: its end tells the keeper.
    pub(super) fn forget_hold(&mut self, key: Key) -> Option<u64> {
        let Held { request, cancel, .. } = self.holds.held.remove(&key)?;
        if let Some(cancel) = cancel {
            self.means.shared.cancels.forget(&cancel);
        }
        Some(request)
    }
}
