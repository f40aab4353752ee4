//! What is told once, as rows.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::audit::render::parsed;
use crate::audit::statement::key_of;

/// What a name in `touched` is.
pub const TABLE: i64 = 0;
pub const COLUMN: i64 = 1;
pub const CLASS: i64 = 2;

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

pub fn statement(database: &Connection, json: &str) -> rusqlite::Result<i64> {
    let hash = key_of(3, json.as_bytes()).to_le_bytes();
    if let Some(id) = known(database, "texts", &hash)? {
        return Ok(id);
    }
    let value = parsed(json);
    let shown = text(&value, "/text").or_else(|| text(&value, "/fingerprint"));
    database
        .prepare_cached("INSERT INTO texts(hash, json) VALUES (?1, ?2)")?
        .execute(params![hash.as_slice(), json])?;
    let id = database.last_insert_rowid();
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
    database
        .prepare_cached(
            "INSERT INTO flows(hash, json, process, destination, rule) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            hash.as_slice(),
            json,
            process,
            text(&value, "/destination"),
            text(&value, "/rule"),
        ])?;
    Ok(database.last_insert_rowid())
}

/// Database and role, once they are known.
pub fn session(database: &Connection, flow: i64, json: &str) -> rusqlite::Result<()> {
    let value = parsed(json);
    database
        .prepare_cached("UPDATE flows SET database = ?1, role = ?2 WHERE id = ?3")?
        .execute(params![text(&value, "/database"), text(&value, "/role"), flow])
        .map(drop)
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
