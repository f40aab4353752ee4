//! The rows of statements and events: how they are written, and how one is found again.

use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::record::{Outcome, RecordId};

/// What an intent says.
#[derive(Debug)]
pub(super) struct Asked {
    pub row: i64,
    pub flow: Option<i64>,
    pub text: Option<i64>,
    pub verdict: u8,
    pub policies: Option<i64>,
}

/// What an outcome adds to its statement's row.
pub(super) struct Told<'o> {
    pub id: RecordId,
    pub outcome: &'o Outcome,
    pub classes: Option<i64>,
    pub masked: Option<String>,
    pub seen: Option<String>,
}

/// A statement's row.
pub(super) fn write(
    database: &Connection,
    id: RecordId,
    asked: &Asked,
    told: Option<&Told<'_>>,
) -> rusqlite::Result<i64> {
    let outcome = told.map(|told| told.outcome);
    insert(asked.row, |row| {
        database
            .prepare_cached(
                "INSERT INTO records(id, writer, position, kind, flow, text, verdict, policies,
                 ending, rows, latency, masked, sqlstate, outcome, bytes, cells, seen)
                 VALUES (?1, ?2, ?3, 32, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .execute(params![
                row,
                number(id.writer),
                number(id.position),
                asked.flow,
                asked.text,
                asked.verdict,
                asked.policies,
                outcome.map(|outcome| outcome.ending),
                outcome.map(|outcome| number(outcome.rows)),
                outcome.map(|outcome| number(outcome.latency_us)),
                told.and_then(|told| told.classes),
                outcome.and_then(|outcome| outcome.sqlstate.as_deref()),
                told.map(|told| number(told.id.position)),
                outcome.map(|outcome| number(outcome.bytes)),
                told.and_then(|told| told.masked.as_deref()),
                told.and_then(|told| told.seen.as_deref()),
            ])
    })
}

/// At this place, or at the next that is free: another writer's record may be of
/// the same moment.
pub(super) fn insert(
    mut row: i64,
    put: impl Fn(i64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<i64> {
    loop {
        match put(row) {
            Ok(_) => return Ok(row),
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                row += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The row of an intent that isn't remembered. A writer's positions rise with
/// the rows, so it is searched by halves, before its outcome's moment.
pub(super) fn find(
    database: &Connection,
    intent: RecordId,
    at: u64,
) -> rusqlite::Result<Option<i64>> {
    let wanted = number(intent.position);
    let mut statement = database.prepare_cached(
        "SELECT id, position FROM records WHERE id >= ?1 AND writer = ?2 ORDER BY id LIMIT 1",
    )?;
    let mut from = |row: i64| -> rusqlite::Result<Option<(i64, i64)>> {
        statement
            .query_row([row, number(intent.writer)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
    };
    // Some rows are a little later than their records say.
    let mut high = number(at.saturating_add(SECOND) << 12);
    let mut reach = number((2 * SECOND) << 12);
    let mut low = loop {
        let low = high.saturating_sub(reach).max(0);
        match from(low)? {
            Some((row, position)) if position == wanted => return Ok(Some(row)),
            Some((row, position)) if position < wanted => break row + 1,
            _ if low == 0 => return Ok(None),
            _ => reach = reach.saturating_mul(4),
        }
    };
    while low < high {
        let middle = low + (high - low) / 2;
        match from(middle)? {
            Some((row, position)) if position == wanted => return Ok(Some(row)),
            Some((row, position)) if position < wanted => low = row + 1,
            _ => high = middle,
        }
    }
    Ok(None)
}

pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const SECOND: u64 = 1_000_000;
