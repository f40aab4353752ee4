//! OCSF's Datastore Activity: the events of what touches a database.

use serde_json::{Map, Value, json};

use crate::audit::record::RecordId;

/// `None` for the agent's own.
pub(super) fn event(id: RecordId, at: u64, record: &Value) -> Option<Value> {
    let get = |pointer: &str| record.pointer(pointer).filter(|value| !value.is_null()).cloned();
    let kind = record.get("kind")?.as_str()?;
    let (activity, name) = match kind {
        "statement" => activity(record),
        "opened" | "session" => (ACTIVITY_CONNECT, "Connect"),
        "outcome" | "summed" | "closed" | "transaction" | "renamed" | "doubted" => {
            (ACTIVITY_OTHER, "Other")
        }
        "observed" if is_of_a_connect(record) => (ACTIVITY_CONNECT, "Connect"),
        _ => return None,
    };
    let stopped = matches!(event_of(record), Some("refused" | "failed"));
    let verdict = get("/statement/verdict");
    let refused = verdict.as_ref().and_then(Value::as_str) == Some("refused");
    let refused = refused || event_of(record) == Some("refused");
    let failed =
        stopped || get("/outcome/sqlstate").is_some() || get("/session/refused_login").is_some();
    let (status, status_name) = match (refused || failed, kind) {
        (true, _) => (2, "Failure"),
        (false, "statement" | "observed") => (0, "Unknown"),
        (false, _) => (1, "Success"),
    };
    let severity = if refused { (3, "Medium") } else { (1, "Informational") };
    let address = |pointer: &str| {
        let text = get(pointer)?.as_str()?.to_owned();
        let (ip, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        Some(json!({ "ip": ip.trim_matches(['[', ']']), "port": port }))
    };
    let either = |one: &str, other: &str| get(one).or_else(|| get(other));
    // What was seen of a connect has its own within.
    let who = ["/process", "/observed/process", "/observed/flow/process"];
    let who = who.into_iter().find_map(get).unwrap_or_default();
    let of = |pointer: &str| who.pointer(pointer).filter(|value| !value.is_null()).cloned();
    let process = json!({
        "pid": of("/key/tgid"),
        "name": of("/comm"),
        "cmd_line": command(&who),
        "file": of("/exe").map(|path| json!({
            "path": path,
            "name": path.as_str().and_then(|path| path.rsplit('/').next()),
            "type_id": 1,
        })),
    });
    // One of the two must be there; a connection always has its endpoint.
    let source = ["/flow/client", "/observed/flow/client"].into_iter().find_map(address);
    let source = source.unwrap_or_else(|| json!({ "uid": "unknown" }));
    let destination = ["/flow/destination", "/observed/destination", "/observed/flow/destination"];
    let destination = destination.into_iter().find_map(address);
    let named = ["/flow/rule", "/observed/flow/rule", "/observed/destination"];
    let named = named.into_iter().find_map(get);
    let kind = of("/actor/kind");
    let person = of("/actor/person/name").or_else(|| of("/actor/person/user/value"));
    let role = get("/session/role");
    let user = json!({
        "uid": of("/uid").map(|uid| uid.to_string()),
        "name": of("/user"),
        "full_name": person,
        // What kind of actor it is.
        "type": kind,
        "type_id": kind.as_ref().map(|_| OTHER),
        // As whom it is in the database.
        "account": role.map(|role| json!({
            "name": role, "type": "Database role", "type_id": OTHER,
        })),
    });
    let mut event = json!({
        "activity_id": activity,
        "activity_name": name,
        "actor": { "process": process, "user": user, "app_name": of("/actor/name") },
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
        "status_code": either("/outcome/sqlstate", "/session/refused_login"),
        "status_detail": either("/observed/why", "/observed/error"),
        "duration": get("/outcome/latency_us").and_then(|us| us.as_u64()).map(|us| us / 1_000),
        "metadata": {
            "version": "1.6.0",
            "product": { "name": "tidegate", "vendor_name": "tidegate",
                         "version": env!("CARGO_PKG_VERSION") },
            "uid": id.to_string(),
            "sequence": get("/sequence"),
            "log_name": "tidegate",
        },
        "src_endpoint": source,
        "dst_endpoint": destination,
        // By the settings' name for it, and by its own.
        "database": { "type_id": 1, "type": "Relational", "name": get("/session/database"),
                      "uid": named },
        "type": "Database",
        "type_id": 1,
        "query_info": either("/statement/text", "/statement/fingerprint").map(|text| {
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

/// What was observed, as `tidegate observe` calls it.
fn event_of(record: &Value) -> Option<&str> {
    record.pointer("/observed/event")?.as_str()
}

/// A connect that was refused, failed, or went past the agent.
fn is_of_a_connect(record: &Value) -> bool {
    matches!(event_of(record), Some("refused" | "failed" | "direct" | "existing"))
}

fn command(process: &Value) -> Option<String> {
    let arguments: Vec<String> = serde_json::from_value(process.get("command")?.clone()).ok()?;
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
/// A type that OCSF has no number for.
const OTHER: u64 = 99;
