//! The events, for whoever watches: the newest are kept, and none waits for a
//! slow watcher.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::notary::Notary;
use crate::model::{EVENT_SCHEMA, Event, EventKind, LogNote, Timestamp};

const KEPT: usize = 10_000;
/// A watcher that is so far behind is left behind.
const WATCHER_CAPACITY: usize = 65_536;

#[derive(Debug, Default)]
struct Inside {
    kept: VecDeque<Arc<Event>>,
    /// gate --events--> a control connection.
    watchers: Vec<SyncSender<Arc<Event>>>,
    /// Records what no enforcer sees.
    notary: Option<Notary>,
}

#[derive(Debug, Default)]
pub struct Observers {
    inside: Mutex<Inside>,
}

impl Observers {
    pub fn tell(&self, kind: EventKind) {
        let event = Arc::new(Event { schema: EVENT_SCHEMA, at: Timestamp::now(), kind });
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.watchers.retain(|watcher| match watcher.try_send(Arc::clone(&event)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        });
        if !matches!(event.kind, EventKind::Opened { .. } | EventKind::Closed { .. })
            && let Some(notary) = &inside.notary
        {
            notary.note(LogNote::Observed { event: noted(&event) });
        }
        if inside.kept.len() >= KEPT {
            inside.kept.pop_front();
        }
        inside.kept.push_back(event);
    }

    pub fn note_to(&self, notary: Option<Notary>) {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).notary = notary;
    }

    /// Something for the log alone.
    pub fn note(&self, note: LogNote) {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notary) = &inside.notary {
            notary.note(note);
        }
    }

    /// The events kept so far.
    pub fn kept(&self) -> Vec<Arc<Event>> {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.kept.iter().cloned().collect()
    }

    /// The events kept so far, and all that come from here on.
    pub fn watch(&self) -> (Vec<Arc<Event>>, Receiver<Arc<Event>>) {
        let (events_tx, events_rx) = sync_channel(WATCHER_CAPACITY);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.watchers.push(events_tx);
        (inside.kept.iter().cloned().collect(), events_rx)
    }
}

/// An event for the log, as JSON: the channel's form doesn't take what that
/// flattens. Who has a connection stands in the log with it already, and as a whole
/// might be too long for a message.
fn noted(event: &Event) -> String {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let Some(flow) = value.get_mut("flow").and_then(serde_json::Value::as_object_mut) {
        flow.remove("actor");
        if let Some(process) = flow.get_mut("process").and_then(serde_json::Value::as_object_mut) {
            process.remove("command");
            process.remove("workload");
        }
    }
    value.to_string()
}

#[cfg(test)]
mod tests;
