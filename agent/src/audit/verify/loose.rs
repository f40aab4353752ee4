//! What the heads don't speak of: what lies behind the last and before the first of
//! them, and what segments say of themselves. Others read it, so it must be what it
//! looks like, though nothing is signed.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::record::{self, RecordId};
use super::super::store::Segment;
use super::{Auditor, MOST_FINDINGS};
use crate::ledger::Checkpoint;

/// What was read of a segment's records.
#[derive(Debug, Default)]
pub(super) struct Seen {
    records: u64,
    /// When the first and the last of them happened.
    span: Option<(u64, u64)>,
}

impl Seen {
    pub(super) fn take(&mut self, payload: &[u8]) {
        self.records += 1;
        if let Some(at) = record::moment(payload) {
            let (earliest, latest) = self.span.unwrap_or((at, at));
            self.span = Some((earliest.min(at), latest.max(at)));
        }
    }
}

impl Auditor<'_> {
    pub(super) fn look_at_segments(&mut self, heads: &[Checkpoint]) {
        let covered = covered(heads);
        let segments = std::mem::take(&mut self.segments);
        let mut last: Option<RecordId> = None;
        for segment in segments.iter() {
            let (start, positions) = (segment.start(), segment.positions());
            let id = RecordId { writer: start.writer, position: start.first };
            // Of those before it, as far as they go.
            if last.is_some_and(|end| end.writer == id.writer && end.position > id.position) {
                self.find(Some(id), None, "it lies in two segments: one of them was put there");
            }
            let end = last.filter(|last| last.writer == id.writer).map_or(0, |last| last.position);
            last = Some(RecordId { position: positions.end.max(end), ..id });
            // A writer of whom no head speaks: all of it is tail.
            let covered = covered.get(&id.writer).cloned().unwrap_or(id.position..id.position);
            self.look_at_rest(segment, &covered);
            self.look_at_head(segment);
            if let Segment::Live { torn: true, .. } = segment {
                self.verified.remarks.push(format!(
                    "behind record {}-{} lie bytes that are no whole record",
                    id.writer, positions.end
                ));
            }
        }
        if self.verified.tail > 0 {
            self.verified.remarks.push(format!(
                "{} records behind the last checkpoint: nothing is proven of them yet",
                self.verified.tail
            ));
        }
        if self.verified.unproven > 0 {
            self.verified.remarks.push(format!(
                "{} records of those that were removed lie there still: nothing is proven of them \
                 any more",
                self.verified.unproven
            ));
        }
        if self.verified.findings.len() >= MOST_FINDINGS {
            let more = format!("there may be more: {MOST_FINDINGS} findings are told");
            self.verified.remarks.push(more);
        }
    }

    /// Its records that no head covers.
    fn look_at_rest(&mut self, segment: &Segment, covered: &Range<u64>) {
        let (start, positions) = (segment.start(), segment.positions());
        let before = positions.start < covered.start;
        if !before && positions.end <= covered.end {
            return;
        }
        let from = if before { positions.start } else { covered.end };
        let mut seen = self.seen.remove(&(start.writer, start.first)).unwrap_or_default();
        let (mut unproven, mut tail, mut wrong) = (0, 0, None);
        let read = segment.each(from, |position, payload| {
            if covered.contains(&position) {
                return;
            }
            if position < covered.start {
                unproven += 1
            } else {
                tail += 1
            }
            seen.take(payload);
            let id = RecordId { writer: start.writer, position };
            match record::identify(payload) {
                Ok((found, _)) if found == id => {}
                Ok((found, _)) => {
                    wrong.get_or_insert((id, format!("record {found} stands in its place")));
                }
                Err(error) => {
                    wrong.get_or_insert((id, error.to_string()));
                }
            }
        });
        self.seen.insert((start.writer, start.first), seen);
        self.verified.unproven += unproven;
        self.verified.tail += tail;
        if let Some((id, what)) = wrong {
            self.find(Some(id), None, what);
        }
        if let Err(error) = read {
            self.find(None, None, error.to_string());
        }
    }

    /// What it says of all its records: by that others pass it over, or let it go.
    fn look_at_head(&mut self, segment: &Segment) {
        let Segment::Sealed(sealed) = segment else { return };
        // What is damaged has been told.
        if !self.verified.is_whole() {
            return;
        }
        let start = sealed.start;
        let seen = self.seen.remove(&(start.writer, start.first)).unwrap_or_default();
        let id = RecordId { writer: start.writer, position: start.first };
        let outside = seen
            .span
            .is_some_and(|(earliest, latest)| earliest < sealed.earliest || latest > sealed.latest);
        if seen.records != sealed.count {
            let (said, held) = (sealed.count, seen.records);
            let what = format!("its segment says that it holds {said} records, and holds {held}");
            self.find(Some(id), None, what);
        } else if outside {
            let what = "its segment says that its records are of another time than they are";
            self.find(Some(id), None, what);
        }
    }
}

/// Which of each writer's records heads speak of.
fn covered(heads: &[Checkpoint]) -> BTreeMap<u64, Range<u64>> {
    let mut covered: BTreeMap<u64, Range<u64>> = BTreeMap::new();
    for batch in heads.iter().map(|head| head.batch) {
        let end = batch.first.saturating_add(batch.count);
        let one = covered.entry(batch.writer).or_insert(batch.first..end);
        *one = one.start.min(batch.first)..one.end.max(end);
    }
    covered
}

#[cfg(test)]
mod tests;
