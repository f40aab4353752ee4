//! As whom a connection is in its database, for the records that don't tell it
//! themselves: said once a connection, and asked for at each statement.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::audit::record::{self, Body, OnFlow, RecordId};
use crate::audit::render::{Definitions, Known, parsed};
use crate::audit::store::Segment;

/// What is known of the connections of each writer that have not ended yet.
#[derive(Default)]
pub(super) struct Sessions {
    known: HashMap<(u64, String), Value>,
    /// Segments before the time that is asked for: read once a connection is met whose
    /// login must be in one.
    skipped: Vec<(u64, PathBuf)>,
}

impl Sessions {
    pub fn skip(&mut self, writer: u64, path: PathBuf) {
        self.skipped.push((writer, path));
    }

    pub fn learn(&mut self, id: RecordId, body: &Body, known: &mut dyn Known) {
        if let Body::Session(event) = body
            && let Some(flow) = flow(id, event, known)
        {
            let told = parsed(&event.json);
            let kept = json!({ "role": told.get("role"), "database": told.get("database") });
            self.known.insert((id.writer, flow), kept);
        }
    }

    /// Once its last record is told.
    pub fn end(&mut self, id: RecordId, body: &Body, known: &mut dyn Known) {
        if let Body::Closed(event) = body
            && let Some(flow) = flow(id, event, known)
        {
            self.known.remove(&(id.writer, flow));
        }
    }

    /// Adds it to a record of a connection.
    pub fn tell(&mut self, writer: u64, record: &mut Value) {
        if record.get("session").is_some() {
            return;
        }
        let Some(flow) = record.get("flow").and_then(name) else { return };
        let key = (writer, flow);
        if !self.known.contains_key(&key) {
            self.look_back(writer);
        }
        if let (Some(known), Some(fields)) = (self.known.get(&key), record.as_object_mut()) {
            fields.insert("session".into(), known.clone());
        }
    }

    /// What lies before the time; what can't be read there tells nothing.
    fn look_back(&mut self, writer: u64) {
        let (own, rest) =
            std::mem::take(&mut self.skipped).into_iter().partition(|(of, _)| *of == writer);
        self.skipped = rest;
        // The later word holds.
        let later = std::mem::take(&mut self.known);
        for (_, path) in own {
            let Ok(Some(segment)) = Segment::still(&path) else { continue };
            let mut known = Definitions::default();
            let _ = segment.each(0, |_, payload| {
                if let Ok((id, body)) = record::decode(payload) {
                    known.learn(id, &body);
                    self.learn(id, &body, &mut known);
                    self.end(id, &body, &mut known);
                }
            });
        }
        self.known.extend(later);
    }
}

/// Which connection a record is of.
fn flow(id: RecordId, event: &OnFlow, known: &mut dyn Known) -> Option<String> {
    let position = id.position.checked_sub(event.head.flow)?;
    match known.definition(RecordId { position, ..id })? {
        Body::Flow(flow) => name(&parsed(&flow.json)),
        _ => None,
    }
}

fn name(flow: &Value) -> Option<String> {
    Some(flow.get("id")?.as_str()?.to_owned())
}
