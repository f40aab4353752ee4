//! What the keeper wants to have in the log, as records.

use serde_json::{Value, json};

use crate::audit::log::{Log, LogError};
use crate::audit::record::{Body, RecordId};
use crate::audit::render::parsed;
use crate::model::{Enriched, LogCaller, LogNote, Verdict};

/// Records what happened at a time.
pub(in crate::audit) fn tell(log: &Log, at: u64, note: &LogNote) -> Result<RecordId, LogError> {
    match note {
        LogNote::Started { version } => {
            log.tell_of(at, Body::Agent, &json!({ "what": "started", "version": version }))
        }
        LogNote::Stopping { by } => {
            log.tell_of(at, Body::Agent, &with(by.as_ref(), json!({ "what": "stopping" })))
        }
        LogNote::Degraded { verdict, why } => {
            let what = if *verdict == Verdict::Failing { "failing" } else { "degraded" };
            log.tell_of(at, Body::Agent, &json!({ "what": what, "why": why }))
        }
        LogNote::Whole => log.tell_of(at, Body::Agent, &json!({ "what": "whole" })),
        LogNote::Changed { what, generation, policies, by } => {
            let facts = json!({ "what": what, "generation": generation, "policies": policies });
            log.tell_of(at, Body::Changed, &with(by.as_ref(), facts))
        }
        LogNote::Read { by, command } => {
            let mut facts = serde_json::to_value(by).unwrap_or_default();
            if let Some(facts) = facts.as_object_mut() {
                facts.insert("command".into(), command.as_str().into());
            }
            log.tell_of(at, Body::Read, &facts)
        }
        LogNote::Observed { event } => {
            let mut event = parsed(event);
            let learnt = event.get("event").is_some_and(|word| word == Enriched::EVENT);
            if let Some(facts) = event.as_object_mut().filter(|_| learnt) {
                facts.remove("event");
            }
            let kind = if learnt { Body::Enriched } else { Body::Observed };
            log.tell_of(at, kind, &event)
        }
    }
}

/// `by` says who, `by_uid` the number alone.
fn with(by: Option<&LogCaller>, mut facts: Value) -> Value {
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("by_uid".into(), json!(by.map(|by| by.uid)));
        facts.insert("by".into(), json!(by));
    }
    facts
}
