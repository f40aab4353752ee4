//! What is told once, as rows.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::audit::render::{names, parsed};
use crate::audit::statement::key_of;

/// What a name in `touched` is.
pub const TABLE: i64 = 0;
pub const COLUMN: i64 = 1;
pub const CLASS: i64 = 2;
/// Not touched, but said: the trace that a text names.
pub const TRACE: i64 = 3;

pub(super) fn known(
    database: &Connection,
    table: &str,
    hash: &[u8],
) -> rusqlite::Result<Option<i64>> {
    database
        .prepare_cached(&format!("SELECT id FROM {table} WHERE hash = ?1"))?
        .query_row([hash], |row| row.get(0))
        .optional()
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// What is shown of it.
pub(super) fn tell(database: &Connection, of: &str, id: i64, json: &str) -> rusqlite::Result<()> {
    database
        .prepare_cached(&format!("INSERT INTO {of}_told VALUES (?1, ?2)"))?
        .execute(params![id, json])
        .map(drop)
}

pub fn statement(database: &Connection, json: &str) -> rusqlite::Result<i64> {
    let hash = key_of(3, json.as_bytes()).to_le_bytes();
    if let Some(id) = known(database, "texts", &hash)? {
        return Ok(id);
    }
    let value = parsed(json);
    let shown = text(&value, "/text").or_else(|| text(&value, "/fingerprint"));
    database.prepare_cached("INSERT INTO texts(hash) VALUES (?1)")?.execute([hash.as_slice()])?;
    let id = database.last_insert_rowid();
    tell(database, "texts", id, json)?;
    let mut words = shown.unwrap_or_default().to_owned();
    let mut touch = |name: &str, what: i64| {
        words.push(' ');
        words.push_str(name);
        database
            .prepare_cached("INSERT OR IGNORE INTO touched VALUES (?1, ?2, ?3)")?
            .execute(params![name, what, id])
            .map(drop)
    };
    for touched in value.pointer("/touched").and_then(Value::as_array).into_iter().flatten() {
        if let Some(table) = text(touched, "/table").filter(|table| !table.is_empty()) {
            touch(table, TABLE)?;
            // Also without its schema.
            if let Some((_, name)) = table.rsplit_once('.') {
                touch(name, TABLE)?;
            }
            if let Some(column) = text(touched, "/column") {
                touch(column, COLUMN)?;
                touch(&format!("{table}.{column}"), COLUMN)?;
                if let Some((_, name)) = table.rsplit_once('.') {
                    touch(&format!("{name}.{column}"), COLUMN)?;
                }
            }
        }
        if let Some(class) = text(touched, "/class") {
            touch(class, CLASS)?;
        }
    }
    if let Some(trace) = text(&value, "/says/trace") {
        touch(trace, TRACE)?;
    }
    database
        .prepare_cached("INSERT INTO words(rowid, body) VALUES (?1, ?2)")?
        .execute(params![id, words])?;
    Ok(id)
}

pub fn flow(database: &Connection, json: &str, process: i64) -> rusqlite::Result<i64> {
    flow_under(database, key_of(2, json.as_bytes()), json, process)
}

/// The same under a key that tells it from others whose words are the same.
pub fn flow_under(
    database: &Connection,
    key: u128,
    json: &str,
    process: i64,
) -> rusqlite::Result<i64> {
    let hash = key.to_le_bytes();
    if let Some(id) = known(database, "flows", &hash)? {
        return Ok(id);
    }
    let value = parsed(json);
    let place = place(database, [text(&value, "/destination"), text(&value, "/rule"), None, None])?;
    database
        .prepare_cached(
            "INSERT INTO flows(process, actor, place, hash) VALUES
             (?1, coalesce((SELECT actor FROM processes WHERE id = ?1), 0), ?2, ?3)",
        )?
        .execute(params![process, place, hash.as_slice()])?;
    let id = database.last_insert_rowid();
    tell(database, "flows", id, json)?;
    Ok(id)
}

/// Where connections lead: destination, rule, database, role.
fn place(database: &Connection, named: [Option<&str>; 4]) -> rusqlite::Result<i64> {
    let known = database
        .prepare_cached(
            "SELECT id FROM places WHERE destination IS ?1 AND rule IS ?2 AND database IS ?3
             AND role IS ?4",
        )?
        .query_row(named, |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    database
        .prepare_cached(
            "INSERT INTO places(destination, rule, database, role) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(named)?;
    Ok(database.last_insert_rowid())
}

/// Database and role, once they are known.
pub fn session(database: &Connection, flow: i64, json: &str) -> rusqlite::Result<()> {
    let value = parsed(json);
    let (destination, rule): (Option<String>, Option<String>) = database
        .prepare_cached(
            "SELECT destination, rule FROM flows JOIN places ON places.id = place
             WHERE flows.id = ?1",
        )?
        .query_row([flow], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let place = place(
        database,
        [destination.as_deref(), rule.as_deref(), text(&value, "/database"), text(&value, "/role")],
    )?;
    database
        .prepare_cached("UPDATE flows SET place = ?1 WHERE id = ?2")?
        .execute([place, flow])
        .map(drop)
}

/// Names of the policies that decided, one a line; behind an empty line, of those that
/// had something to say. `None`: nobody spoke.
pub fn grounds(database: &Connection, json: &str) -> rusqlite::Result<Option<i64>> {
    let value = parsed(json);
    let (why, flags) = (names(&value, "why"), names(&value, "flags"));
    if why.is_empty() && flags.is_empty() {
        return Ok(None);
    }
    let all: Vec<String> = why.into_iter().chain([String::new()]).chain(flags).collect();
    phrase(database, all.join("\n").trim_end(), (&[], &[])).map(Some)
}

/// `masked` and `shown` are classes of cells, if it is a list of such.
pub fn phrase(
    database: &Connection,
    phrase: &str,
    (masked, shown): (&[String], &[String]),
) -> rusqlite::Result<i64> {
    let known = database
        .prepare_cached("SELECT id FROM phrases WHERE phrase = ?1")?
        .query_row([phrase], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    database.prepare_cached("INSERT INTO phrases(phrase) VALUES (?1)")?.execute([phrase])?;
    let id = database.last_insert_rowid();
    let masked = masked.iter().map(|class| (class, false));
    for (class, clear) in masked.chain(shown.iter().map(|class| (class, true))) {
        database
            .prepare_cached("INSERT OR IGNORE INTO classes VALUES (?1, ?2, ?3)")?
            .execute(params![class, clear, id])?;
    }
    Ok(id)
}
