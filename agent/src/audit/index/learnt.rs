//! What was learnt of processes after they had connected: it stands beside what was
//! frozen with their connections, and finds these too.
//!
//! INVARIANT: nothing that a connection was judged by is replaced by it.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::definitions::text;
use crate::audit::render::parsed;

/// The facts of an `enriched` record.
pub fn learn(database: &Connection, json: &str) -> rusqlite::Result<()> {
    let told = parsed(json);
    let number = |pointer: &str| told.pointer(pointer).and_then(Value::as_i64);
    let (Some(tgid), Some(started)) = (number("/process/key/tgid"), number("/process/key/started"))
    else {
        return Ok(());
    };
    let facts = told.get("facts").and_then(Value::as_array).into_iter().flatten();
    let facts: Vec<(&str, &str)> =
        facts.filter_map(|fact| Some((text(fact, "/name")?, text(fact, "/value")?))).collect();
    let named = |wanted: &str| facts.iter().find(|(name, _)| *name == wanted).map(|it| it.1);
    // As pods are asked for.
    let pod =
        named("namespace").zip(named("pod_name")).map(|(space, name)| format!("{space}/{name}"));
    let whole = pod.as_deref().map(|pod| ("pod_name", pod));
    for (name, value) in facts.iter().copied().chain(whole) {
        database
            .prepare_cached(
                "INSERT INTO learnt(tgid, started, boot, uid, container, name, value)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                tgid,
                started,
                text(&told, "/boot"),
                number("/process/uid"),
                text(&told, "/process/workload/container"),
                name,
                value,
            ])?;
        let id = database.last_insert_rowid();
        database
            .prepare_cached("INSERT INTO learnt_words(rowid, body) VALUES (?1, ?2)")?
            .execute(params![id, value])?;
    }
    Ok(())
}

/// What makes a row of `learnt` one of a process's: it had this user then, and was in
/// this container. Behind it these names, if they are few, and a condition.
pub fn whose(names: &[&str], condition: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let names = match names.as_slice() {
        [] => String::new(),
        names => format!("learnt.name IN ({}) AND", names.join(", ")),
    };
    format!(
        "processes.tgid = learnt.tgid AND processes.started = learnt.started
         AND (processes.boot IS NULL OR processes.boot = learnt.boot)
         AND actors.uid = learnt.uid AND actors.container IS learnt.container
         AND {names} ({condition})"
    )
}
