//! From segments to rows.

mod blocks;
mod cells;
mod rows;
mod summed;

use std::collections::BTreeMap;
use std::path::Path;

use foldhash::HashMap;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{definitions, learnt, processes};
use crate::audit::Verdict;
use crate::audit::frame::SEGMENT_HEAD;
use crate::audit::record::{self, Back, Body, Intent, Outcome, RecordId};
use crate::audit::store::{Folder, Segment, StoreError, segments};
use blocks::Blocks;
use rows::{Asked, Told, Usual, find, insert, number, write};

pub use blocks::{SPAN, unpacked};
pub use cells::counts;
pub use rows::Ended;

/// What was done, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub records: u64,
    /// Told to stop before the end.
    pub stopped: bool,
}

#[derive(Debug)]
pub enum BuildError {
    Store(StoreError),
    Database(rusqlite::Error),
}

impl From<StoreError> for BuildError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for BuildError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// What is remembered from one time to the next.
#[derive(Debug, Default)]
pub struct Build {
    /// Intents whose outcomes haven't come.
    open: HashMap<RecordId, Open>,
    last_id: i64,
    /// How far segments were read that are still written, by writer and first
    /// position.
    tails: BTreeMap<(u64, u64), Tail>,
}

/// Most outcomes come within the same second: then the row is written once, whole.
#[derive(Debug)]
enum Open {
    Unwritten(Asked),
    /// Its row.
    Written(i64),
}

#[derive(Debug)]
struct Tail {
    place: usize,
    position: u64,
    rows: Rows,
}

impl Build {
    pub fn catch_up(
        &mut self,
        database: &mut Connection,
        folder: &Folder,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Progress, BuildError> {
        let mut progress = Progress::default();
        let files = segments::files(folder)?;
        let nexts = nexts(database)?;
        let mut later = files.keys().skip(1);
        for ((writer, first), path) in &files {
            let after = later.next();
            if !go_on() {
                progress.stopped = true;
                return Ok(progress);
            }
            let next = nexts.get(writer).copied().unwrap_or(0);
            let end = after.filter(|(of, _)| of == writer).map(|(_, at)| *at);
            if is_done(path, *first, end, next) {
                continue;
            }
            match self.take_in(database, path, (*writer, *first)) {
                Ok(records) => progress.records += records,
                // Sealed or removed a moment ago: the next time finds it.
                Err(BuildError::Store(StoreError::Io { error, .. }))
                    if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(BuildError::Store(error)) => tracing::warn!("not in the index: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(progress)
    }

    /// What is new in one segment, in one transaction.
    fn take_in(
        &mut self,
        database: &mut Connection,
        path: &Path,
        (writer, first): (u64, u64),
    ) -> Result<u64, BuildError> {
        // Lost with the transaction: then the segment is read from its start.
        let tail = self.tails.remove(&(writer, first));
        let mut tail = tail.unwrap_or_else(|| Tail::of(first));
        let work = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another may have been quicker.
        let next = next_of(&work, writer)?.max(first);
        let mut taker = Taker {
            // What fails is read again, with nothing known of it.
            open: std::mem::take(&mut self.open),
            last_id: self.last_id,
            database: &work,
            rows: std::mem::take(&mut tail.rows),
            phrases: HashMap::default(),
            usual: Usual::new(&work, writer)?,
            uses: Uses::default(),
            blocks: Blocks::default(),
            taken: 0,
            failed: None,
        };
        let mut take = |position: u64, payload: &[u8]| {
            if taker.failed.is_none()
                && let Ok((id, body)) = record::decode(payload)
                // One that stands in another's place is none of this log's.
                && id == (RecordId { writer, position })
                && let Err(error) = taker.take(id, &body, position >= next)
            {
                taker.failed = Some(error);
            }
        };
        let live = path.extension().is_some_and(|extension| extension == "live");
        if live {
            tail.place = segments::follow(path, tail.place, |payload| {
                take(tail.position, payload);
                tail.position += 1;
            })?;
        } else {
            let sealed = Segment::open(path)?;
            if let Err(error) = sealed.each(tail.position, take) {
                tracing::warn!("not all of it is in the index: {error}");
            }
            tail.position = sealed.positions().end;
        }
        if let Some(error) = taker.failed.take() {
            return Err(error.into());
        }
        taker.write_open()?;
        let Left { open, last_id, taken, rows, uses, blocks } = taker.end();
        blocks.write(&work)?;
        if tail.position > next {
            uses.count(&work)?;
            work.prepare_cached(
                "INSERT INTO writers VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET next = ?2, taken = taken + ?3",
            )?
            .execute(params![number(writer), number(tail.position), number(taken)])?;
        }
        work.commit()?;
        self.last_id = last_id;
        // Those that never got one; what is forgotten here is looked up.
        if open.len() <= MOST_OPEN {
            self.open = open;
        }
        if live {
            tail.rows = rows;
            // A writer has one at a time, and those that it left are sealed soon.
            if self.tails.len() >= MOST_TAILS {
                self.tails.pop_first();
            }
            self.tails.insert((writer, first), tail);
        }
        Ok(taken)
    }
}

impl Tail {
    fn of(first: u64) -> Self {
        Self { place: SEGMENT_HEAD, position: first, rows: Rows::default() }
    }
}

/// A sealed segment's end isn't in its name; the begin of the writer's next one
/// tells it, and of the last one a look at its head.
fn is_done(path: &Path, first: u64, end: Option<u64>, next: u64) -> bool {
    if next <= first || path.extension().is_some_and(|extension| extension == "live") {
        return false;
    }
    end.map_or_else(
        || crate::audit::store::sealed::Sealed::open(path).ok().map(|it| first + it.count),
        Some,
    )
    .is_some_and(|end| end <= next)
}

/// How far each writer's records are in the index.
fn nexts(database: &Connection) -> rusqlite::Result<HashMap<u64, u64>> {
    let mut statement = database.prepare_cached("SELECT writer, next FROM writers")?;
    let rows = statement.query_map([], |row| {
        let (writer, next): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok((u64::try_from(writer).unwrap_or(0), u64::try_from(next).unwrap_or(0)))
    })?;
    rows.collect()
}

fn next_of(database: &Connection, writer: u64) -> rusqlite::Result<u64> {
    let next: Option<i64> = database
        .prepare_cached("SELECT next FROM writers WHERE writer = ?1")?
        .query_row([number(writer)], |row| row.get(0))
        .optional()?;
    Ok(next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0))
}

/// The rows of what was defined in this segment, by position.
#[derive(Debug, Default)]
struct Rows {
    ids: HashMap<u64, i64>,
    words: HashMap<u64, Box<str>>,
    /// Of words that are names of policies.
    policies: HashMap<u64, i64>,
}

/// How often a text, a flow was used.
#[derive(Default)]
struct Uses {
    texts: HashMap<i64, i64>,
    flows: HashMap<i64, i64>,
}

impl Rows {
    fn at(&self, id: RecordId, back: Back) -> Option<i64> {
        (back > 0).then(|| self.ids.get(&id.position.checked_sub(back)?).copied())?
    }

    fn word(&self, id: RecordId, back: Back) -> Option<&str> {
        (back > 0).then(|| self.words.get(&id.position.checked_sub(back)?).map(|word| &**word))?
    }
}

impl Uses {
    fn count(&self, work: &Transaction<'_>) -> rusqlite::Result<()> {
        for (table, counted) in [("texts", &self.texts), ("flows", &self.flows)] {
            let sql = format!("UPDATE {table} SET uses = uses + ?1 WHERE id = ?2");
            let mut statement = work.prepare_cached(&sql)?;
            for (id, uses) in counted {
                statement.execute([uses, id])?;
            }
        }
        Ok(())
    }
}

struct Taker<'b> {
    open: HashMap<RecordId, Open>,
    last_id: i64,
    database: &'b Transaction<'b>,
    rows: Rows,
    /// The rows of phrases that were met.
    phrases: HashMap<String, i64>,
    usual: Usual<'b>,
    uses: Uses,
    blocks: Blocks,
    taken: u64,
    failed: Option<rusqlite::Error>,
}

/// What outlives the work on the database.
struct Left {
    open: HashMap<RecordId, Open>,
    last_id: i64,
    rows: Rows,
    uses: Uses,
    blocks: Blocks,
    taken: u64,
}

impl Taker<'_> {
    fn end(self) -> Left {
        let Self { open, last_id, rows, uses, blocks, taken, .. } = self;
        Left { open, last_id, rows, uses, blocks, taken }
    }

    /// `new`: it isn't in the index yet; definitions are learnt in any case.
    fn take(&mut self, id: RecordId, body: &Body, new: bool) -> rusqlite::Result<()> {
        let database = self.database;
        let row = match body {
            Body::Statement(json) => definitions::statement(database, json)?,
            Body::Process(json) => processes::process(database, json)?,
            Body::Flow(flow) => {
                let process = self.rows.at(id, flow.process).unwrap_or(0);
                definitions::flow(database, &flow.json, process)?
            }
            Body::Words(words) => {
                self.rows.words.insert(id.position, words.clone());
                return Ok(());
            }
            Body::Grounds(json) => {
                if let Some(row) = definitions::grounds(database, json)? {
                    self.rows.policies.insert(id.position, row);
                }
                return Ok(());
            }
            event => {
                if new {
                    self.taken += 1;
                    self.event(id, event)?;
                }
                return Ok(());
            }
        };
        self.rows.ids.insert(id.position, row);
        Ok(())
    }

    fn event(&mut self, id: RecordId, body: &Body) -> rusqlite::Result<()> {
        let seen = match body {
            Body::Observed(told) => processes::observed(self.database, &told.json)?,
            Body::Enriched(told) => {
                learnt::learn(self.database, &told.json)?;
                processes::observed(self.database, &told.json)?
            }
            _ => None,
        };
        let flow = match &seen {
            Some(seen) => Some(seen.flow),
            None => body.head().and_then(|head| self.rows.at(id, head.flow)),
        };
        if let Some(flow) = flow {
            *self.uses.flows.entry(flow).or_default() += 1;
        }
        match body {
            Body::Intent(intent) => self.intent(id, intent, flow),
            Body::Standing(standing) => self.intent(id, &standing.intent, flow),
            Body::Summed(summed) => self.summed(id, summed, flow),
            Body::Outcome(outcome) => self.outcome(id, outcome, flow),
            Body::Session(session) => {
                if let Some(flow) = flow {
                    definitions::session(self.database, flow, &session.json)?;
                }
                self.plain(id, body, flow).map(drop)
            }
            _ => {
                let row = self.plain(id, body, flow)?;
                if seen.is_some_and(|seen| seen.refused) {
                    self.database
                        .prepare_cached("UPDATE records SET verdict = ?1 WHERE id = ?2")?
                        .execute(params![Verdict::Refused.code(), row])?;
                }
                Ok(())
            }
        }
    }

    /// A time that no row has yet.
    fn id(&mut self, at: u64) -> i64 {
        let id = number(at << 12).max(0);
        // Close records come in order; a clock set back makes no row vanish.
        let id =
            if id <= self.last_id && self.last_id - id < 1 << 24 { self.last_id + 1 } else { id };
        self.last_id = id;
        id
    }

    /// Gives its row.
    fn plain(&mut self, id: RecordId, body: &Body, flow: Option<i64>) -> rusqlite::Result<i64> {
        let row = self.id(body.at().unwrap_or(0));
        let database = self.database;
        let row = insert(row, |row| {
            database
                .prepare_cached(
                    "INSERT INTO records(id, writer, position, kind, flow) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![row, number(id.writer), number(id.position), body.code(), flow])
        })?;
        self.blocks.note(None, flow, row);
        Ok(row)
    }

    fn intent(&mut self, id: RecordId, intent: &Intent, flow: Option<i64>) -> rusqlite::Result<()> {
        let text = self.rows.at(id, intent.statement);
        if let Some(text) = text {
            *self.uses.texts.entry(text).or_default() += 1;
        }
        let policies = self.policies(id, intent.grounds)?;
        let row = self.id(intent.head.at);
        let asked = Asked { row, flow, text, verdict: intent.verdict, policies };
        self.open.insert(id, Open::Unwritten(asked));
        Ok(())
    }

    fn policies(&mut self, id: RecordId, back: Back) -> rusqlite::Result<Option<i64>> {
        let Some(position) = id.position.checked_sub(back) else { return Ok(None) };
        if let Some(known) = self.rows.policies.get(&position) {
            return Ok(Some(*known));
        }
        let Some(policies) = self.rows.word(id, back) else { return Ok(None) };
        let row = definitions::phrase(self.database, policies, (&[], &[]))?;
        self.rows.policies.insert(position, row);
        Ok(Some(row))
    }

    /// Goes into its intent's row; a text with several statements adds up.
    fn outcome(
        &mut self,
        id: RecordId,
        outcome: &Outcome,
        flow: Option<i64>,
    ) -> rusqlite::Result<()> {
        let intent = id
            .position
            .checked_sub(outcome.intent)
            .filter(|_| outcome.intent > 0)
            .map(|position| RecordId { position, ..id });
        let row = match intent.and_then(|intent| Some((intent, self.open.remove(&intent)?))) {
            Some((intent, Open::Unwritten(mut asked))) => {
                asked.verdict = judged(asked.verdict, outcome);
                let ended = Ended::of(id, intent.position, outcome);
                if self.usual.takes(intent, outcome) {
                    return self.usual.put(intent.position, asked, ended, &mut self.blocks);
                }
                let told = self.told(id, None, outcome)?;
                let row = write(self.database, intent, &asked, Some(ended), &told)?;
                self.blocks.note(asked.text, asked.flow, row);
                return Ok(());
            }
            Some((_, Open::Written(row))) => Some(row),
            None => match intent {
                Some(intent) => self.find(intent, outcome.head.at)?,
                None => None,
            },
        };
        let (Some(row), Some(intent)) = (row, intent) else {
            return self.plain(id, &Body::Outcome(outcome.clone()), flow).map(drop);
        };
        self.add(id, row, outcome, Ended::of(id, intent.position, outcome))
    }

    /// Puts another end into a statement's row.
    fn add(
        &mut self,
        id: RecordId,
        row: i64,
        outcome: &Outcome,
        ended: Ended,
    ) -> rusqlite::Result<()> {
        let (before, verdict, cells): (Option<Vec<u8>>, Option<u8>, _) = self
            .database
            .prepare_cached("SELECT ended, verdict, cells, seen, would FROM records WHERE id = ?1")?
            .query_row([row], |row| {
                Ok((row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?, row.get(4)?)))
            })?;
        let before = before.as_deref().and_then(Ended::from_bytes).unwrap_or_default();
        // Of a text's first statement, unless others were told together with it.
        let more = outcome.index > 0 || ended.times > 0 || before.times > 0;
        let ended = ended.and(before).to_bytes();
        let told = self.told(id, Some(cells).filter(|_| more), outcome)?;
        self.database
            .prepare_cached(
                "UPDATE records SET ended = ?2, masked = coalesce(?3, masked),
                 sqlstate = coalesce(?4, sqlstate), cells = coalesce(?5, cells), seen = coalesce(?6, seen),
                 would = coalesce(?7, would), verdict = ?8 WHERE id = ?1",
            )?
            .execute(params![
                row,
                ended.0.get(..ended.1),
                told.classes,
                told.sqlstate,
                told.masked,
                told.seen,
                told.would,
                verdict.map(|verdict| judged(verdict, outcome)),
            ])
            .map(drop)
    }

    fn find(&mut self, intent: RecordId, at: u64) -> rusqlite::Result<Option<i64>> {
        self.usual.flush(&mut self.blocks)?;
        find(self.database, intent, at)
    }

    /// Those whose outcome isn't there yet are found without it.
    fn write_open(&mut self) -> rusqlite::Result<()> {
        self.usual.flush(&mut self.blocks)?;
        let mut unwritten: Vec<_> = self
            .open
            .iter_mut()
            .filter_map(|(id, open)| match open {
                Open::Unwritten(asked) => Some((asked.row, *id, open)),
                Open::Written(_) => None,
            })
            .collect();
        unwritten.sort_unstable_by_key(|(row, ..)| *row);
        for (_, id, open) in unwritten {
            if let Open::Unwritten(asked) = open {
                let row = write(self.database, id, asked, None, &Told::default())?;
                self.blocks.note(asked.text, asked.flow, row);
                *open = Open::Written(row);
            }
        }
        Ok(())
    }
}

/// The verdict, by what the outcome adds to it.
fn judged(verdict: u8, outcome: &Outcome) -> u8 {
    let shown = verdict == Verdict::Allowed.code() && !outcome.would_mask.is_empty();
    if shown { Verdict::WouldMask.code() } else { verdict }
}

/// Intents that are remembered for their outcomes.
const MOST_OPEN: usize = 100_000;
/// Segments that are followed while they are written.
const MOST_TAILS: usize = 16;
