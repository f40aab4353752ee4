//! Retention: sealed segments that are too old, or the oldest once all take up
//! too much. What goes is first told in the log, and the tree keeps what it came
//! to, so that the rest is still proven.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;

use serde_json::json;

use super::Work;
use crate::audit::frame::Start;
use crate::audit::log::{LogError, micros};
use crate::audit::record::Body;
use crate::audit::store::sealed::Sealed;
use crate::audit::store::{StoreError, segments};
use crate::ledger::note::{self, Checkpoint};

/// Told in the log at a position; done once that is in the tree.
#[derive(Debug)]
pub struct Removal {
    told_at: u64,
    before: u64,
    files: Vec<PathBuf>,
}

/// A sealed segment.
struct Kept {
    /// The tree's size with its last record.
    end: u64,
    /// When that was written, in microseconds.
    latest: u64,
    writer: u64,
    positions: Range<u64>,
    path: PathBuf,
    size: u64,
}

impl Work {
    /// Looks for what may go.
    pub(super) fn let_go(&mut self) -> Result<(), LogError> {
        if self.removing.is_some() {
            return Ok(());
        }
        let terms = self.shared.lock().terms.clone();
        let now = micros();
        let mut heads: Vec<Checkpoint> =
            self.tree.notes()?.iter().filter_map(|note| note::peek(note)).collect();
        heads.sort_by_key(|head| head.size);
        let mut sealed = self.sealed(&heads, now)?;
        // INVARIANT: in the tree's order, since only a beginning of it can go. Times decide
        // how much of that; one that is wrong keeps nothing behind it from making room.
        sealed.sort_by_key(|one| (one.end, one.writer, one.positions.start));
        let mut total: u64 = sealed.iter().map(|one| one.size).sum();
        // Up to where each writer's records may go.
        let mut until: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut aged, mut crowded) = (0_u64, 0_u64);
        for one in &sealed {
            let old = terms.keep_ms > 0 && one.latest.saturating_add(terms.keep_ms * 1_000) < now;
            if !old && total <= terms.keep_bytes {
                break;
            }
            if old {
                aged += 1
            } else {
                crowded += 1
            }
            total = total.saturating_sub(one.size);
            until.insert(one.writer, one.positions.end);
        }
        let (before, gone) = self.whole_batches(&heads, &until);
        if before <= self.tree.base().end() {
            return Ok(());
        }
        let files: Vec<PathBuf> = sealed
            .into_iter()
            .filter(|one| gone.get(&one.writer).is_some_and(|end| one.positions.end <= *end))
            .map(|one| one.path)
            .collect();
        if files.is_empty() {
            return Ok(());
        }
        let told = self.log.tell(
            Body::Removed,
            &json!({
                "before": before,
                "records": before - self.tree.base().end(),
                "segments": files.len(),
                "for_age": aged,
                "for_size": crowded,
            }),
        )?;
        self.removing = Some(Removal { told_at: told.position, before, files });
        Ok(())
    }

    /// All sealed segments that can be read: what can't be isn't let go either.
    fn sealed(&self, heads: &[Checkpoint], now: u64) -> Result<Vec<Kept>, LogError> {
        let heads = Heads::new(heads);
        let mut all = Vec::new();
        for path in segments::files(&self.shared.folder)?.into_values() {
            if path.extension().is_none_or(|extension| extension != "sealed") {
                continue;
            }
            let Ok(one) = Sealed::open(&path) else { continue };
            let size = std::fs::metadata(&path).map_or(0, |file| file.len());
            let Start { writer, first, .. } = one.start;
            let positions = first..first + one.count;
            let last = positions.end.saturating_sub(1);
            let behind = heads.since(writer, last).unwrap_or_default();
            let end = behind.first().map_or(u64::MAX, |head| head.size);
            let latest = moment(one.latest, behind, now);
            all.push(Kept { end, latest, writer, positions, path, size });
        }
        Ok(all)
    }

    /// The largest beginning of the tree that consists of what may go, and how
    /// far that is for each writer.
    fn whole_batches(
        &self,
        heads: &[Checkpoint],
        until: &BTreeMap<u64, u64>,
    ) -> (u64, BTreeMap<u64, u64>) {
        let mut before = self.tree.base().end();
        let mut gone = BTreeMap::new();
        for head in heads {
            let batch = head.batch;
            let end = batch.first.saturating_add(batch.count);
            if head.size <= before {
                gone.insert(batch.writer, end);
                continue;
            }
            let follows = head.size.checked_sub(batch.count) == Some(before);
            if !follows || until.get(&batch.writer).is_none_or(|until| end > *until) {
                break;
            }
            before = head.size;
            gone.insert(batch.writer, end);
        }
        (before, gone)
    }

    /// Removes what was told to go.
    pub(super) fn removed(&mut self) -> Result<(), LogError> {
        let Some(removal) = self.removing.take_if(|removal| removal.told_at < self.sequenced)
        else {
            return Ok(());
        };
        self.tree.cut(removal.before)?;
        for path in removal.files {
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        self.tree.drop_notes(removal.before)?;
        Ok(())
    }
}

/// The heads of each writer, in the tree's order.
struct Heads<'h> {
    all: &'h [Checkpoint],
    of: HashMap<u64, Vec<usize>>,
}

impl<'h> Heads<'h> {
    fn new(all: &'h [Checkpoint]) -> Self {
        let mut of: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, head) in all.iter().enumerate() {
            of.entry(head.batch.writer).or_default().push(at);
        }
        Self { all, of }
    }

    /// From the one on that brought a record in.
    fn since(&self, writer: u64, position: u64) -> Option<&'h [Checkpoint]> {
        let of = self.of.get(&writer)?;
        let first = |at: usize| self.all.get(at).map_or(u64::MAX, |head| head.batch.first);
        let at = of.partition_point(|at| first(*at) <= position).checked_sub(1)?;
        let since = self.all.get(*of.get(at)?..)?;
        since.first()?.leaf_of(writer, position)?;
        Some(since)
    }
}

/// When a segment's last record was written, as far as can be believed. `behind`: the
/// heads from its own on, if that is known. No record is younger than the head that covers it, and a time
/// that is still to come was told by a clock that was wrong: then it is the first one
/// behind it that isn't.
pub(super) fn moment(latest: u64, behind: &[Checkpoint], now: u64) -> u64 {
    let mut signed = behind.iter().map(|head| head.at.0 / 1_000);
    let latest = signed.clone().next().map_or(latest, |own| latest.min(own));
    if latest <= now { latest } else { signed.find(|at| *at <= now).unwrap_or(now) }
}
