//! The rows of statements and events: how they are written, and how one is found again.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
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

/// What is only shown of an outcome and never asked for: one value in its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How many positions behind its statement the outcome stands.
    pub after: u64,
    pub ending: u8,
    pub rows: u64,
    pub bytes: u64,
    pub latency_us: u64,
    /// How many statements it speaks of, where it is not one.
    #[serde(skip)]
    pub times: u64,
}

/// What is asked for: of cells by class, and the error's code.
#[derive(Default)]
pub(super) struct Told<'o> {
    pub classes: Option<i64>,
    pub masked: Option<String>,
    pub seen: Option<String>,
    pub would: Option<String>,
    pub sqlstate: Option<&'o str>,
}

impl Ended {
    pub(super) fn of(id: RecordId, intent: u64, outcome: &Outcome) -> Self {
        Self {
            after: id.position.saturating_sub(intent),
            ending: outcome.ending,
            rows: outcome.rows,
            bytes: outcome.bytes,
            latency_us: outcome.latency_us,
            times: 0,
        }
    }

    /// The statement of which it is has told of another's end before.
    pub(super) fn and(self, before: Self) -> Self {
        let rows = self.rows.saturating_add(before.rows);
        let bytes = self.bytes.saturating_add(before.bytes);
        let times = self.times.saturating_add(before.times);
        let differs = times > 0 && self.ending != before.ending && before != Self::default();
        let ending = if differs { MIXED } else { self.ending };
        Self { rows, bytes, times, ending, ..self }
    }

    /// Behind it `times`, which nearly none has.
    pub(super) fn to_bytes(self) -> ([u8; LONGEST_END], usize) {
        let mut bytes = [0; LONGEST_END];
        let written = match self.times {
            0 => postcard::to_slice(&self, &mut bytes),
            times => postcard::to_slice(&(self, times), &mut bytes),
        };
        let length = written.map_or(0, |written| written.len());
        (bytes, length)
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (ended, rest): (Self, _) = postcard::take_from_bytes(bytes).ok()?;
        let times = if rest.is_empty() { 0 } else { postcard::from_bytes(rest).ok()? };
        Some(Self { times, ..ended })
    }
}

/// Statements of one writer that ended with nothing to be asked for: nearly all. They
/// are written many at once.
pub(super) struct Usual<'b> {
    database: &'b Connection,
    writer: u64,
    many: CachedStatement<'b>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    position: u64,
    asked: Asked,
    ended: Ended,
}

impl<'b> Usual<'b> {
    pub fn new(database: &'b Connection, writer: u64) -> rusqlite::Result<Self> {
        let row = |number: usize| {
            let of = |column: usize| 2 + number * EACH + column;
            format!(
                "(?{}, ?1, ?{}, 32, ?{}, ?{}, ?{}, ?{}, ?{})",
                of(0),
                of(1),
                of(2),
                of(3),
                of(4),
                of(5),
                of(6)
            )
        };
        let rows: Vec<String> = (0..AT_ONCE).map(row).collect();
        // One that is taken is left out and seen by the count; to fail would mean to be
        // ready to undo, for all of them.
        let mut many = database.prepare_cached(&format!(
            "INSERT OR IGNORE INTO records(id, writer, position, kind, flow, text, verdict,
             policies, ended) VALUES {}",
            rows.join(", ")
        ))?;
        many.raw_bind_parameter(1, number(writer))?;
        Ok(Self { database, writer, many, waiting: Vec::new() })
    }

    /// Whether it takes a statement that ended so.
    pub fn takes(&self, intent: RecordId, outcome: &Outcome) -> bool {
        intent.writer == self.writer
            && outcome.sqlstate.is_none()
            && outcome.masked.is_empty()
            && outcome.seen.is_empty()
    }

    pub fn put(
        &mut self,
        position: u64,
        asked: Asked,
        ended: Ended,
        blocks: &mut Blocks,
    ) -> rusqlite::Result<()> {
        self.waiting.push(Waiting { position, asked, ended });
        if self.waiting.len() < MOST_WAITING { Ok(()) } else { self.flush(blocks) }
    }

    /// Writes those that wait.
    pub fn flush(&mut self, blocks: &mut Blocks) -> rusqlite::Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        // The end of a table is where rows go in quickest.
        waiting.sort_unstable_by_key(|one| one.asked.row);
        let (all, rest) = waiting.as_chunks::<AT_ONCE>();
        for these in all {
            if self.write(these)? == AT_ONCE {
                for Waiting { asked, .. } in these {
                    blocks.note(asked.text, asked.flow, asked.row);
                }
            } else {
                self.write_singly(these, blocks)?;
            }
        }
        self.write_singly(rest, blocks)?;
        waiting.clear();
        self.waiting = waiting;
        Ok(())
    }

    fn write(&mut self, these: &[Waiting; AT_ONCE]) -> rusqlite::Result<usize> {
        let mut at = 1;
        let mut next = || {
            at += 1;
            at
        };
        for Waiting { position, asked, ended } in these {
            self.many.raw_bind_parameter(next(), asked.row)?;
            self.many.raw_bind_parameter(next(), number(*position))?;
            self.many.raw_bind_parameter(next(), asked.flow)?;
            self.many.raw_bind_parameter(next(), asked.text)?;
            self.many.raw_bind_parameter(next(), asked.verdict)?;
            self.many.raw_bind_parameter(next(), asked.policies)?;
            let (bytes, length) = ended.to_bytes();
            self.many.raw_bind_parameter(next(), bytes.get(..length))?;
        }
        self.many.raw_execute()
    }

    fn write_singly(&self, these: &[Waiting], blocks: &mut Blocks) -> rusqlite::Result<()> {
        for Waiting { position, asked, ended } in these {
            let id = RecordId { writer: self.writer, position: *position };
            // Some were written with others whose places were taken.
            let written = self
                .database
                .prepare_cached(
                    "SELECT 1 FROM records WHERE id = ?1 AND writer = ?2 AND position = ?3",
                )?
                .exists(params![asked.row, number(id.writer), number(id.position)])?;
            let row = if written {
                asked.row
            } else {
                write(self.database, id, asked, Some(*ended), &Told::default())?
            };
            blocks.note(asked.text, asked.flow, row);
        }
        Ok(())
    }
}

/// A statement's row.
pub(super) fn write(
    database: &Connection,
    id: RecordId,
    asked: &Asked,
    ended: Option<Ended>,
    told: &Told<'_>,
) -> rusqlite::Result<i64> {
    let ended = ended.map(Ended::to_bytes);
    let ended = ended.as_ref().and_then(|(bytes, length)| bytes.get(..*length));
    insert(asked.row, |row| {
        database
            .prepare_cached(
                "INSERT INTO records(id, writer, position, kind, flow, text, verdict, policies,
                 ended, masked, sqlstate, cells, seen, would)
                 VALUES (?1, ?2, ?3, 32, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                row,
                number(id.writer),
                number(id.position),
                asked.flow,
                asked.text,
                asked.verdict,
                asked.policies,
                ended,
                told.classes,
                told.sqlstate,
                told.masked,
                told.seen,
                told.would,
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

/// Statements that were told together ended in several ways.
pub(super) const MIXED: u8 = u8::MAX;
const SECOND: u64 = 1_000_000;
/// Rows that are written with one statement, and the values of each but its writer.
const AT_ONCE: usize = 32;
const EACH: usize = 7;
const MOST_WAITING: usize = 4_096;
/// Five numbers of at most ten bytes, and one byte.
const LONGEST_END: usize = 51;

#[cfg(test)]
mod tests;
