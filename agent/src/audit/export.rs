//! Records for others: JSON lines, CSV, and OCSF's Datastore Activity.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::record::{self, RecordId};
use super::render::{Definitions, render};
use super::store::{Folder, Segment, StoreError, segments};

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
    for ((writer, _), path) in segments::files(folder)? {
        let segment = match Segment::still(&path) {
            Ok(Some(segment)) => segment,
            Ok(None) => continue,
            Err(error) => {
                exported.broken.push(error);
                continue;
            }
        };
        if let Segment::Sealed(sealed) = &segment
            && (since.is_some_and(|since| sealed.latest < since)
                || until.is_some_and(|until| sealed.earliest >= until))
        {
            continue;
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
            let Some(at) = body.at().filter(|_| failed.is_none()) else { return };
            if since.is_some_and(|since| at < since) || until.is_some_and(|until| at >= until) {
                return;
            }
            let record = render(id, &body, &mut known);
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
        Form::Ocsf => ocsf(id, at, record).map(|event| harmless(&event.to_string())),
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

/// The event of OCSF for what touches a database; `None` for the agent's own.
pub fn ocsf(id: RecordId, at: u64, record: &Value) -> Option<Value> {
    let get = |pointer: &str| record.pointer(pointer).filter(|value| !value.is_null()).cloned();
    let kind = record.get("kind")?.as_str()?;
    let (activity, name) = match kind {
        "statement" => activity(record),
        "opened" | "session" => (ACTIVITY_CONNECT, "Connect"),
        "outcome" | "summed" | "closed" | "transaction" | "renamed" | "doubted" => {
            (ACTIVITY_OTHER, "Other")
        }
        _ => return None,
    };
    let verdict = get("/statement/verdict");
    let refused = verdict.as_ref().and_then(Value::as_str) == Some("refused");
    let failed = get("/outcome/sqlstate").is_some() || get("/session/refused_login").is_some();
    let (status, status_name) = match (refused || failed, kind) {
        (true, _) => (2, "Failure"),
        (false, "statement") => (0, "Unknown"),
        (false, _) => (1, "Success"),
    };
    let severity = if refused { (3, "Medium") } else { (1, "Informational") };
    let address = |pointer: &str| {
        let text = get(pointer)?.as_str()?.to_owned();
        let (ip, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        Some(json!({ "ip": ip.trim_matches(['[', ']']), "port": port }))
    };
    let process = json!({
        "pid": get("/process/key/tgid"),
        "name": get("/process/comm"),
        "cmd_line": command(record),
        "file": get("/process/exe").map(|path| json!({
            "path": path,
            "name": path.as_str().and_then(|path| path.rsplit('/').next()),
            "type_id": 1,
        })),
    });
    let user = json!({
        "uid": get("/process/uid").map(|uid| uid.to_string()),
        "name": get("/process/user"),
    });
    let mut event = json!({
        "activity_id": activity,
        "activity_name": name,
        "actor": { "process": process, "user": user },
        "count": get("/summed/times").filter(|times| *times != json!(0)),
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "Datastore Activity",
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("Datastore Activity: {name}"),
        "time": at / 1_000,
        "severity_id": severity.0,
        "severity": severity.1,
        "status_id": status,
        "status": status_name,
        "status_code": get("/outcome/sqlstate").or_else(|| get("/session/refused_login")),
        "duration": get("/outcome/latency_us").and_then(|us| us.as_u64()).map(|us| us / 1_000),
        "metadata": {
            "version": "1.6.0",
            "product": { "name": "tidegate", "vendor_name": "tidegate",
                         "version": env!("CARGO_PKG_VERSION") },
            "uid": id.to_string(),
            "sequence": get("/sequence"),
            "log_name": "tidegate",
        },
        // One of the two must be there; a connection always has its endpoint.
        "src_endpoint": address("/flow/client").unwrap_or_else(|| json!({ "uid": "unknown" })),
        "dst_endpoint": address("/flow/destination"),
        "database": { "type_id": 1, "type": "Relational",
                      "name": get("/session/database").or_else(|| get("/flow/rule")) },
        "type": "Database",
        "type_id": 1,
        "query_info": get("/statement/text").or_else(|| get("/statement/fingerprint")).map(|text| {
            json!({ "query_string": text, "uid": get("/statement/fingerprint") })
        }),
        "unmapped": { "tidegate": record },
    });
    strip(&mut event);
    Some(event)
}

/// By what the statement does first of all.
fn activity(record: &Value) -> (u64, &'static str) {
    let effects = record.pointer("/statement/effects").and_then(Value::as_array);
    let has = |word: &str| {
        effects.is_some_and(|all| all.iter().any(|effect| effect.as_str() == Some(word)))
    };
    let words = [
        ("insert", 5, "Write"),
        ("import", 5, "Write"),
        ("update", 2, "Update"),
        ("delete", 7, "Delete"),
        ("truncate", 7, "Delete"),
        ("drop", 7, "Delete"),
        ("create", 6, "Create"),
        ("export", 1, "Read"),
        ("read", 4, "Query"),
    ];
    let found = words.iter().find(|(word, ..)| has(word));
    found.map_or((ACTIVITY_OTHER, "Other"), |(_, id, name)| (*id, *name))
}

fn command(record: &Value) -> Option<String> {
    let arguments: Vec<String> =
        serde_json::from_value(record.pointer("/process/command")?.clone()).ok()?;
    Some(crate::model::command_line(&arguments))
}

/// Takes out what isn't known: OCSF has no nulls.
fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        let kept: Map<String, Value> = std::mem::take(fields)
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, mut value)| {
                if key != "unmapped" {
                    strip(&mut value);
                }
                (key, value)
            })
            .collect();
        *fields = kept;
    }
}

const CLASS: u64 = 6005;
const ACTIVITY_CONNECT: u64 = 3;
const ACTIVITY_OTHER: u64 = 99;

const COLUMNS: [(&str, &[&str]); 26] = [
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
