//! Records for others: JSON lines, CSV, and OCSF's Datastore Activity.

mod ocsf;
mod sessions;

use std::io::{self, Write};

use serde_json::Value;

use super::record::{self, RecordId};
use super::render::{Definitions, render};
use super::store::{Folder, Segment, StoreError, segments};
use sessions::Sessions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Jsonl,
    Csv,
    /// Class 6005 of OCSF 1.6, one event a line.
    Ocsf,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

/// Microseconds since 1970; from, and before.
pub type Span = (Option<u64>, Option<u64>);

/// What was written, and what could not be: that keeps nothing else back.
#[derive(Debug, Default)]
pub struct Exported {
    pub records: u64,
    /// Of segments that can be read, those that are damaged, stand in another's place, or are of a
    /// kind that isn't known here.
    pub unread: u64,
    /// Whole segments.
    pub broken: Vec<StoreError>,
}

/// Writes every record of a time, each writer's in its order.
pub fn export(
    folder: &Folder,
    form: Form,
    (since, until): Span,
    out: &mut impl Write,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    if form == Form::Csv {
        writeln!(out, "{}", COLUMNS.map(|(name, _)| name).join(","))?;
    }
    let mut sessions = Sessions::default();
    for ((writer, _), path) in segments::files(folder)? {
        let segment = match Segment::still(&path) {
            Ok(Some(segment)) => segment,
            Ok(None) => continue,
            Err(error) => {
                exported.broken.push(error);
                continue;
            }
        };
        if let Segment::Sealed(sealed) = &segment {
            if since.is_some_and(|since| sealed.latest < since) {
                sessions.skip(writer, path);
                continue;
            }
            if until.is_some_and(|until| sealed.earliest >= until) {
                continue;
            }
        }
        let mut known = Definitions::default();
        let mut failed = None;
        let mut read = 0;
        // How it ended is told by how much was read.
        let _ = segment.each(0, |position, payload| {
            read += 1;
            let here = RecordId { writer, position };
            let Some((id, body)) = record::decode(payload).ok().filter(|(id, _)| *id == here)
            else {
                exported.unread += 1;
                return;
            };
            known.learn(id, &body);
            sessions.learn(id, &body, &mut known);
            let Some(at) = body.at().filter(|_| failed.is_none()) else { return };
            if since.is_some_and(|since| at < since) || until.is_some_and(|until| at >= until) {
                sessions.end(id, &body, &mut known);
                return;
            }
            let mut record = render(id, &body, &mut known);
            sessions.tell(writer, &mut record);
            sessions.end(id, &body, &mut known);
            if let Some(line) = line(form, id, at, &record) {
                exported.records += 1;
                failed = writeln!(out, "{line}").err();
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        exported.unread += segment.count().saturating_sub(read);
    }
    out.flush()?;
    Ok(exported)
}

/// `None`: this form doesn't speak of such records.
fn line(form: Form, id: RecordId, at: u64, record: &Value) -> Option<String> {
    match form {
        Form::Jsonl => Some(harmless(&record.to_string())),
        Form::Csv => Some(
            COLUMNS
                .iter()
                .map(|(_, pointers)| {
                    let value = pointers.iter().find_map(|pointer| record.pointer(pointer));
                    field(value)
                })
                .collect::<Vec<_>>()
                .join(","),
        ),
        Form::Ocsf => ocsf::event(id, at, record).map(|event| harmless(&event.to_string())),
    }
}

/// What a terminal obeys is escaped; such characters stand in strings only.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a terminal does something else with it than showing it.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// RFC 4180; a sheet must not take a field for a formula.
fn field(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let text: String = text.chars().map(|c| if obeyed(c) { ' ' } else { c }).collect();
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\'', ' ']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

const COLUMNS: [(&str, &[&str]); 29] = [
    ("record", &["/record"]),
    ("at", &["/at"]),
    ("kind", &["/kind"]),
    ("sequence", &["/sequence"]),
    ("pid", &["/process/key/tgid"]),
    ("comm", &["/process/comm"]),
    ("exe", &["/process/exe"]),
    ("uid", &["/process/uid"]),
    ("user", &["/process/user"]),
    ("unit", &["/process/workload/unit"]),
    ("container", &["/process/workload/container"]),
    ("pod", &["/process/workload/pod"]),
    ("agent", &["/process/actor/name"]),
    ("actor_kind", &["/process/actor/kind"]),
    ("person", &["/process/actor/person/name", "/process/actor/person/user/value"]),
    ("client", &["/flow/client"]),
    ("flow", &["/flow/id"]),
    ("destination", &["/flow/destination"]),
    ("database", &["/session/database"]),
    ("role", &["/session/role"]),
    ("text", &["/statement/text", "/statement/fingerprint"]),
    ("trace", &["/statement/says/trace"]),
    ("verdict", &["/statement/verdict"]),
    ("of", &["/outcome/of", "/summed/of"]),
    ("ending", &["/outcome/ending", "/transaction/ending"]),
    ("sqlstate", &["/outcome/sqlstate"]),
    ("rows", &["/outcome/rows", "/summed/rows"]),
    ("latency_us", &["/outcome/latency_us", "/summed/latency_us"]),
    ("times", &["/summed/times"]),
];

#[cfg(test)]
mod tests;
