//! What was learnt of a process after it had connected.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attribute, Process};

/// Nothing that was known is another by it: who judged, judged by what was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enriched {
    pub process: Process,
    /// The kernel's id of this boot.
    pub boot: String,
    pub facts: Vec<Attribute>,
}

impl Enriched {
    /// The word by which an event of the keeper's is known as one of these.
    pub const EVENT: &'static str = "enriched";

    /// For the log, which an enforcer writes that may be older than this: one that
    /// doesn't know the word records it as it records any event.
    pub fn event(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(process) = value.get_mut("process").and_then(Value::as_object_mut) {
            // What was told with the connection, and may be long.
            process.remove("command");
            if let Some(workload) = process.get_mut("workload").and_then(Value::as_object_mut) {
                workload.remove("labels");
            }
        }
        if let Some(value) = value.as_object_mut() {
            value.insert("event".into(), Self::EVENT.into());
        }
        value.to_string()
    }
}
