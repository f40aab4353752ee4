//! The events, for whoever watches: the newest are kept, and none waits for a
//! slow watcher.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

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
/// flattens. Who has a connection might be too long for a message as a whole: what he
/// is searched for by stays.
fn noted(event: &Event) -> String {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let Some(flow) = value.get_mut("flow") {
        keep(flow.get_mut("actor"), &["name", "boot", "person", "ancestry"]);
        let above = flow.pointer_mut("/actor/ancestry").and_then(Value::as_array_mut);
        for one in above.into_iter().flatten() {
            keep(Some(one), &["pid", "started"]);
        }
        let actor = flow.as_object_mut().and_then(|flow| flow.remove("actor"));
        if let Some(process) = flow.get_mut("process").and_then(Value::as_object_mut) {
            process.remove("command");
            process.extend(actor.map(|actor| ("actor".to_owned(), actor)));
            if let Some(workload) = process.get_mut("workload").and_then(Value::as_object_mut) {
                workload.remove("labels");
            }
        }
    }
    value.to_string()
}

fn keep(object: Option<&mut Value>, names: &[&str]) {
    if let Some(object) = object.and_then(Value::as_object_mut) {
        object.retain(|name, _| names.contains(&name.as_str()));
    }
}

#[cfg(test)]
mod tests;
