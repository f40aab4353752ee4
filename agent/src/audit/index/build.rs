//! From segments to rows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::definitions;
use crate::audit::frame::SEGMENT_HEAD;
use crate::audit::record::{self, Back, Body, Intent, Outcome, RecordId};
use crate::audit::store::{Folder, Segment, StoreError, segments};

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
    /// The rows of intents whose outcomes may come, and those before them.
    intents: HashMap<RecordId, i64>,
    earlier: HashMap<RecordId, i64>,
    last_id: i64,
    /// How far segments were read that are still written, by writer and first
    /// position.
    tails: BTreeMap<(u64, u64), Tail>,
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
        for path in segments::paths(folder)? {
            if !go_on() {
                progress.stopped = true;
                return Ok(progress);
            }
            let Some((writer, first)) = segments::start_of(&path) else { continue };
            let next = next_of(database, writer)?;
            if is_done(&path, first, next) {
                continue;
            }
            match self.take_in(database, &path, (writer, first)) {
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
            build: self,
            database: &work,
            rows: std::mem::take(&mut tail.rows),
            uses: Uses::default(),
            taken: 0,
            failed: None,
        };
        let mut take = |position: u64, payload: &[u8]| {
            if taker.failed.is_none()
                && let Ok((id, body)) = record::decode(payload)
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
        let Taker { failed, taken, rows, uses, .. } = taker;
        if let Some(error) = failed {
            return Err(error.into());
        }
        if tail.position > next {
            uses.count(&rows, &work)?;
            work.prepare_cached("INSERT OR REPLACE INTO writers VALUES (?1, ?2)")?
                .execute(params![number(writer), number(tail.position)])?;
        }
        work.commit()?;
        if live {
            tail.rows = rows;
            // A writer has one at a time, and those that it left are sealed soon.
            if self.tails.len() >= MOST_TAILS {
                self.tails.pop_first();
            }
            self.tails.insert((writer, first), tail);
        }
        if self.intents.len() > MOST_INTENTS {
            self.earlier = std::mem::take(&mut self.intents);
        }
        Ok(taken)
    }
}

impl Tail {
    fn of(first: u64) -> Self {
        Self { place: SEGMENT_HEAD, position: first, rows: Rows::default() }
    }
}

/// A sealed segment's end isn't in its name; the next one's begin tells enough
/// only for those before the last. A quick look at the head does.
fn is_done(path: &Path, first: u64, next: u64) -> bool {
    if next <= first || path.extension().is_some_and(|extension| extension == "live") {
        return false;
    }
    crate::audit::store::sealed::Sealed::open(path).is_ok_and(|sealed| first + sealed.count <= next)
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
    /// The process of a flow's row.
    processes: HashMap<i64, i64>,
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
    fn count(&self, rows: &Rows, work: &Transaction<'_>) -> rusqlite::Result<()> {
        for (id, uses) in &self.texts {
            work.prepare_cached("UPDATE texts SET uses = uses + ?1 WHERE id = ?2")?
                .execute([uses, id])?;
        }
        for (id, uses) in &self.flows {
            work.prepare_cached("UPDATE flows SET uses = uses + ?1 WHERE id = ?2")?
                .execute([uses, id])?;
            if let Some(process) = rows.processes.get(id) {
                work.prepare_cached("UPDATE processes SET uses = uses + ?1 WHERE id = ?2")?
                    .execute([uses, process])?;
            }
        }
        Ok(())
    }
}

struct Taker<'b> {
    build: &'b mut Build,
    database: &'b Transaction<'b>,
    rows: Rows,
    uses: Uses,
    taken: u64,
    failed: Option<rusqlite::Error>,
}

impl Taker<'_> {
    /// `new`: it isn't in the index yet; definitions are learnt in any case.
    fn take(&mut self, id: RecordId, body: &Body, new: bool) -> rusqlite::Result<()> {
        let database = self.database;
        let row = match body {
            Body::Statement(json) => definitions::statement(database, json)?,
            Body::Process(json) => definitions::process(database, json)?,
            Body::Flow(flow) => {
                let process = self.rows.at(id, flow.process).unwrap_or(0);
                let row = definitions::flow(database, &flow.json, process)?;
                self.rows.processes.insert(row, process);
                row
            }
            Body::Words(words) => {
                self.rows.words.insert(id.position, words.clone());
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
        let flow = body.head().and_then(|head| self.rows.at(id, head.flow));
        if let Some(flow) = flow {
            *self.uses.flows.entry(flow).or_default() += 1;
        }
        match body {
            Body::Intent(intent) => self.intent(id, intent, flow),
            Body::Outcome(outcome) => self.outcome(id, outcome, flow),
            Body::Session(session) => {
                if let Some(flow) = flow {
                    definitions::session(self.database, flow, &session.json)?;
                }
                self.plain(id, body, flow)
            }
            _ => self.plain(id, body, flow),
        }
    }

    /// A time that no row has yet.
    fn id(&mut self, at: u64) -> i64 {
        let id = number(at << 12).max(0);
        // Close records come in order; a clock set back makes no row vanish.
        let id = if id <= self.build.last_id && self.build.last_id - id < 1 << 24 {
            self.build.last_id + 1
        } else {
            id
        };
        self.build.last_id = id;
        id
    }

    fn insert(
        &mut self,
        id: RecordId,
        body: &Body,
        rest: impl Fn(i64) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<i64> {
        let mut row = self.id(body.at().unwrap_or(0));
        loop {
            match rest(row) {
                Ok(_) => return Ok(row),
                // Another writer's record of the same moment.
                Err(rusqlite::Error::SqliteFailure(error, _))
                    if error.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    row += 1;
                    self.build.last_id = row;
                }
                Err(error) => {
                    tracing::debug!("record {id} is not in the index: {error}");
                    return Err(error);
                }
            }
        }
    }

    fn plain(&mut self, id: RecordId, body: &Body, flow: Option<i64>) -> rusqlite::Result<()> {
        let database = self.database;
        self.insert(id, body, |row| {
            database
                .prepare_cached(
                    "INSERT INTO records(id, writer, position, kind, flow) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![row, number(id.writer), number(id.position), body.code(), flow])
        })
        .map(drop)
    }

    fn intent(&mut self, id: RecordId, intent: &Intent, flow: Option<i64>) -> rusqlite::Result<()> {
        let database = self.database;
        let text = self.rows.at(id, intent.statement);
        if let Some(text) = text {
            *self.uses.texts.entry(text).or_default() += 1;
        }
        let policies = match self.rows.word(id, intent.policies) {
            Some(policies) => Some(definitions::phrase(database, policies, &[])?),
            None => None,
        };
        let row = self.insert(id, &Body::Intent(intent.clone()), |row| {
            database
                .prepare_cached(
                    "INSERT INTO records(id, writer, position, kind, flow, text, verdict, policies)
                     VALUES (?1, ?2, ?3, 32, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    row,
                    number(id.writer),
                    number(id.position),
                    flow,
                    text,
                    intent.verdict,
                    policies
                ])
        })?;
        self.build.intents.insert(id, row);
        Ok(())
    }

    /// Goes into its intent's row; a text with several statements adds up.
    fn outcome(
        &mut self,
        id: RecordId,
        outcome: &Outcome,
        flow: Option<i64>,
    ) -> rusqlite::Result<()> {
        let database = self.database;
        let intent = id
            .position
            .checked_sub(outcome.intent)
            .filter(|_| outcome.intent > 0)
            .map(|position| RecordId { position, ..id });
        let row = match intent {
            Some(intent) => {
                let Build { intents, earlier, .. } = &self.build;
                match intents.get(&intent).or_else(|| earlier.get(&intent)) {
                    Some(row) => Some(*row),
                    None => find(database, intent, outcome.head.at)?,
                }
            }
            None => None,
        };
        let Some(row) = row else {
            return self.plain(id, &Body::Outcome(outcome.clone()), flow);
        };
        let (mut classes, mut masked, mut seen) = (None, None, None);
        if !outcome.masked.is_empty() || !outcome.seen.is_empty() {
            let cells = self.cells(id, row, outcome)?;
            let names = |cells: &Cells| -> Vec<String> { cells.keys().cloned().collect() };
            let (hidden, clear) = (names(&cells.0), names(&cells.1));
            let phrase = format!("masked {} seen {}", hidden.join(" "), clear.join(" "));
            let all: Vec<&str> = hidden.iter().chain(&clear).map(String::as_str).collect();
            classes = Some(definitions::phrase(database, &phrase, &all)?);
            (masked, seen) = (Some(written(&cells.0)), Some(written(&cells.1)));
        }
        database
            .prepare_cached(
                "UPDATE records SET ending = ?2, rows = coalesce(rows, 0) + ?3, latency = ?4,
                 masked = coalesce(?5, masked), sqlstate = ?6, outcome = ?7,
                 bytes = coalesce(bytes, 0) + ?8, cells = coalesce(?9, cells),
                 seen = coalesce(?10, seen) WHERE id = ?1",
            )?
            .execute(params![
                row,
                outcome.ending,
                number(outcome.rows),
                number(outcome.latency_us),
                classes,
                outcome.sqlstate.as_deref(),
                number(id.position),
                number(outcome.bytes),
                masked,
                seen,
            ])
            .map(drop)
    }

    /// How many cells of each class were masked and shown, those of earlier
    /// statements of the same text among them.
    fn cells(&self, id: RecordId, row: i64, outcome: &Outcome) -> rusqlite::Result<(Cells, Cells)> {
        let (mut masked, mut seen) = (Cells::new(), Cells::new());
        if outcome.index > 0 {
            let known: (Option<String>, Option<String>) = self
                .database
                .prepare_cached("SELECT cells, seen FROM records WHERE id = ?1")?
                .query_row([row], |row| Ok((row.get(0)?, row.get(1)?)))?;
            masked = counts(known.0.as_deref().unwrap_or_default());
            seen = counts(known.1.as_deref().unwrap_or_default());
        }
        for (told, cells) in [(&outcome.masked, &mut masked), (&outcome.seen, &mut seen)] {
            for (class, count) in told {
                if let Some(class) = self.rows.word(id, *class) {
                    *cells.entry(class.to_owned()).or_default() += count;
                }
            }
        }
        Ok((masked, seen))
    }
}

/// By class.
type Cells = BTreeMap<String, u64>;

fn written(cells: &Cells) -> String {
    let counts = cells.iter().map(|(class, count)| format!("{class} {count}"));
    counts.collect::<Vec<_>>().join(" ")
}

/// `email 12 phone 3`
pub fn counts(cells: &str) -> Cells {
    let words: Vec<&str> = cells.split_whitespace().collect();
    let pairs = words.as_chunks().0.iter();
    pairs.filter_map(|[class, count]| Some(((*class).to_owned(), count.parse().ok()?))).collect()
}

/// An intent from before this process began to build: within the minute before
/// its outcome, or not at all.
fn find(database: &Connection, intent: RecordId, at: u64) -> rusqlite::Result<Option<i64>> {
    let until = number(at.saturating_add(1) << 12);
    let since = number(at.saturating_sub(60_000_000) << 12);
    database
        .prepare_cached(
            "SELECT id FROM records WHERE id BETWEEN ?1 AND ?2 AND position = ?3 AND writer = ?4
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![since, until, number(intent.position), number(intent.writer)], |row| {
            row.get(0)
        })
        .optional()
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Intents that are remembered for their outcomes.
const MOST_INTENTS: usize = 100_000;
/// Segments that are followed while they are written.
const MOST_TAILS: usize = 16;
