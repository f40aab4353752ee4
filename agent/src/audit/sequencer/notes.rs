//! What the keeper wants to have in the log, as records.

use serde_json::{Value, json};

use crate::audit::log::{Log, LogError};
use crate::audit::record::{Body, RecordId};
use crate::audit::render::parsed;
use crate::model::{Enriched, LogCaller, LogNote, Process, Verdict};

/// Records what happened at a time. `None`: whoever it is about writes too much.
pub(in crate::audit) fn tell(
    log: &Log,
    at: u64,
    note: &LogNote,
) -> Result<Option<RecordId>, LogError> {
    let told = match note {
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
            let is = |wanted: &str| event.get("event").is_some_and(|word| word == wanted);
            // Who approved what is never left out.
            let (learnt, matters) = (is(Enriched::EVENT), is(HOLD));
            let process = whose(&event);
            if let Some(facts) = event.as_object_mut().filter(|_| learnt) {
                facts.remove("event");
            }
            let kind = if learnt { Body::Enriched } else { Body::Observed };
            return log.tell_observed(at, kind, &event, (process.as_ref(), matters));
        }
    };
    told.map(Some)
}

/// The process that an event is about.
fn whose(event: &Value) -> Option<Process> {
    let process = event.get("process").or_else(|| event.pointer("/flow/process"))?;
    let mut process = process.clone();
    // It stands with the connection, where there is one.
    process.as_object_mut()?.entry("command").or_insert_with(|| json!([]));
    serde_json::from_value(process).ok()
}

/// The word for an event of a statement that waits.
const HOLD: &str = "hold";

/// `by` says who, `by_uid` the number alone.
fn with(by: Option<&LogCaller>, mut facts: Value) -> Value {
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("by_uid".into(), json!(by.map(|by| by.uid)));
        facts.insert("by".into(), json!(by));
    }
    facts
}
