//! What came of statements that were told together, as rows.
//!
//! It goes into the row of the statement that stands for all of them, which then says
//! how many they were.

use rusqlite::params;

use super::rows::{Ended, MIXED, Told, write};
use super::{Open, Taker};
use crate::audit::record::{Body, Outcome, RecordId, Summed};

impl Taker<'_> {
    pub(super) fn summed(
        &mut self,
        id: RecordId,
        summed: &Summed,
        flow: Option<i64>,
    ) -> rusqlite::Result<()> {
        let position = id.position.checked_sub(summed.intent).filter(|_| summed.intent > 0);
        let Some(intent) = position.map(|position| RecordId { position, ..id }) else {
            // Of transactions.
            return self.plain(id, &Body::Summed(summed.clone()), flow).map(drop);
        };
        let row = match self.open.remove(&intent) {
            Some(Open::Unwritten(asked)) => {
                let row = write(self.database, intent, &asked, None, &Told::default())?;
                self.blocks.note(asked.text, asked.flow, row);
                Some(row)
            }
            Some(Open::Written(row)) => Some(row),
            None => self.find(intent, summed.head.at)?,
        };
        let row = match row {
            Some(row) => row,
            // Retention has let the statement go.
            None => self.plain(id, &Body::Summed(summed.clone()), flow)?,
        };
        let mut states: Vec<&(Box<str>, u64)> = summed.failures.iter().collect();
        states.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut states = states.into_iter().map(|(state, _)| state);
        let outcome = Outcome {
            head: summed.head,
            intent: summed.intent,
            index: 1,
            ending: ending(summed),
            sqlstate: states.next().cloned(),
            tag: 0,
            rows: summed.rows,
            bytes: summed.bytes,
            latency_us: summed.latency_us,
            masked: summed.masked.clone(),
            seen: summed.seen.clone(),
            would_mask: summed.would_mask.clone(),
        };
        let ended = Ended { times: summed.times, ..Ended::of(id, intent.position, &outcome) };
        self.add(id, row, &outcome, ended)?;
        // A row holds one.
        for state in states {
            let other = self.plain(id, &Body::Summed(summed.clone()), flow)?;
            let text = self
                .database
                .prepare_cached(
                    "UPDATE records SET sqlstate = ?2,
                     text = (SELECT text FROM records WHERE id = ?3) WHERE id = ?1 RETURNING text",
                )?
                .query_row(params![other, state, row], |row| row.get(0))?;
            self.blocks.note(text, None, other);
        }
        Ok(())
    }
}

/// How all of them ended, if they all did so.
fn ending(summed: &Summed) -> u8 {
    match summed.endings.as_slice() {
        [(ending, _)] => *ending,
        _ => MIXED,
    }
}
