//! In which of time's blocks a text, a connection occurs.
//!
//! A busy one occurs in nearly each, so one row tells of many: the first block, and how
//! far behind it the others are.

use foldhash::HashMap;
use rusqlite::{Connection, params};

use super::super::BLOCK;

/// Where texts and connections occur, in the order of time.
#[derive(Default)]
pub(super) struct Blocks {
    texts: Occurring,
    flows: Occurring,
}

#[derive(Default)]
struct Occurring {
    /// The last block of each, and all of them.
    last: HashMap<i64, i64>,
    all: Vec<(i64, i64)>,
}

impl Occurring {
    fn note(&mut self, what: Option<i64>, row: i64) {
        let block = row >> BLOCK;
        if let Some(what) = what
            && self.last.insert(what, block) != Some(block)
        {
            self.all.push((what, block));
        }
    }
}

impl Blocks {
    pub fn note(&mut self, text: Option<i64>, flow: Option<i64>, row: i64) {
        self.texts.note(text, row);
        self.flows.note(flow, row);
    }

    pub fn write(mut self, database: &Connection) -> rusqlite::Result<()> {
        for (occurring, table) in
            [(&mut self.texts, "text_blocks"), (&mut self.flows, "flow_blocks")]
        {
            let sql = format!("INSERT OR IGNORE INTO {table} VALUES (?1, ?2, ?3)");
            let mut statement = database.prepare_cached(&sql)?;
            occurring.all.sort_unstable();
            occurring.all.dedup();
            for of_one in occurring.all.chunk_by(|(one, _), (other, _)| one == other) {
                let mut rest = of_one;
                while let Some(((what, first), others)) = rest.split_first() {
                    let (more, count) = packed(*first, others.iter().map(|(_, block)| *block));
                    statement.execute(params![what, first, more])?;
                    rest = others.get(count..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

/// How far each is behind the one before it, and how many of them are told so.
fn packed(first: i64, others: impl Iterator<Item = i64>) -> (Vec<u8>, usize) {
    let (mut more, mut before, mut count) = (Vec::new(), first, 0);
    for block in others {
        if block - first > SPAN || more.len() >= LONGEST {
            break;
        }
        let Ok(mut steps) = u16::try_from(block - before) else { break };
        while steps > 0x7f {
            more.push((steps & 0x7f) as u8 | 0x80);
            steps >>= 7;
        }
        more.push(steps as u8);
        (before, count) = (block, count + 1);
    }
    (more, count)
}

/// The blocks that a row tells of.
pub fn unpacked(first: i64, more: &[u8]) -> impl Iterator<Item = i64> {
    let (mut block, mut steps, mut shift) = (first, 0_i64, 0_u32);
    let others = more.iter().filter_map(move |byte| {
        steps |= i64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        (byte & 0x80 == 0).then(|| {
            block = block.saturating_add(std::mem::take(&mut steps));
            shift = 0;
            block
        })
    });
    std::iter::once(first).chain(others)
}

/// How far a row's last block is behind its first, at most: it is read for whatever
/// is asked for between them.
pub const SPAN: i64 = 4_096;
/// A row that is longer takes a page of its own.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests;
