//! Holds a log against its signed heads, with nothing but the public key.
//!
//! The tree is computed from the records themselves. Where that doesn't lead to
//! the root that was signed, the stored hashes, if *they* lead there, tell which
//! record is not what it was. What can't be proven is counted and told.

mod loose;
mod proof;

use std::collections::BTreeMap;

use serde::Serialize;

use super::frame::Start;
use super::record::{self, Body, RecordId};
use super::store::segments::Lookup;
use super::store::{Folder, Segments, StoreError, Tree};
use crate::ledger::merkle::{self, Hash, Range};
use crate::ledger::{Checkpoint, MOST_AT_ONCE, NoteError, VerifierKey, note};

use loose::Seen;

pub use proof::{Proof, ProofError, Proven, prove};

/// What was found out.
#[derive(Debug, Serialize)]
pub struct Verified {
    pub origin: String,
    /// Records that a signed head covers.
    pub records: u64,
    pub checkpoints: u64,
    /// Records that were removed in order before; the tree still holds them.
    pub removed: u64,
    /// When the last head was signed.
    pub signed_until: Option<String>,
    /// Records behind the last head: nothing is proven of them.
    pub tail: u64,
    /// Records before the first head that is left: nothing is proven of them any more.
    pub unproven: u64,
    /// The size of the head that was held against this log, and that it is in it.
    pub held: Option<u64>,
    /// The first is the earliest.
    pub findings: Vec<Finding>,
    /// What can't be proven, in words.
    pub remarks: Vec<String>,
}

/// Something that is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The record, where one can be named.
    pub record: Option<RecordId>,
    /// Its place in the tree.
    pub leaf: Option<u64>,
    pub what: String,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the checkpoint that the log is held against: {0}")]
    Held(NoteError),
    #[error("{0} checkpoints stand in the file that the log is held against: leave one in it")]
    Many(usize),
}

impl Verified {
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    pub fn last_size(&self) -> u64 {
        self.removed + self.records
    }
}

/// `held` is a checkpoint that was kept elsewhere.
pub fn verify(
    folder: &Folder,
    key: &VerifierKey,
    held: Option<&str>,
) -> Result<Verified, VerifyError> {
    let held = held.map(|note| open_held(note, key)).transpose()?;
    for _ in 0..ATTEMPTS {
        let verified = once(folder, key, held.clone())?;
        // What retention took meanwhile is not missing.
        let base = Tree::open(folder).map_or(verified.removed, |tree| tree.base().end());
        if verified.is_whole() || base == verified.removed {
            return Ok(verified);
        }
    }
    once(folder, key, held)
}

fn once(
    folder: &Folder,
    key: &VerifierKey,
    held: Option<Checkpoint>,
) -> Result<Verified, VerifyError> {
    let mut auditor = Auditor::new(folder, key, held)?;
    let heads = auditor.heads();
    for head in &heads {
        if !auditor.batch(head) {
            break;
        }
    }
    Ok(auditor.finish(&heads))
}

/// The one note of a file, with whatever empty lines came along.
fn open_held(text: &str, key: &VerifierKey) -> Result<Checkpoint, VerifyError> {
    match note::split(text).as_slice() {
        [one] => key.open(one).map_err(VerifyError::Held),
        [] => Err(VerifyError::Held(NoteError::Malformed("nothing is in it"))),
        many => Err(VerifyError::Many(many.len())),
    }
}

struct Auditor<'k> {
    key: &'k VerifierKey,
    notes: Vec<String>,
    stored: Tree,
    segments: Segments,
    /// As computed.
    tree: Range,
    /// How far each writer's records are in it.
    writers: BTreeMap<u64, u64>,
    /// What was read of each segment.
    seen: BTreeMap<(u64, u64), Seen>,
    /// Up to where the log itself says that records were removed.
    told_removed: u64,
    held: Option<Checkpoint>,
    held_seen: bool,
    verified: Verified,
}

/// What a batch's records came to.
struct Read {
    id: RecordId,
    hash: Result<Hash, String>,
}

impl<'k> Auditor<'k> {
    fn new(
        folder: &Folder,
        key: &'k VerifierKey,
        held: Option<Checkpoint>,
    ) -> Result<Self, VerifyError> {
        let mut findings = Vec::new();
        let stored = match Tree::open(folder) {
            Ok(tree) => tree,
            Err(error) => {
                findings.push(Finding { record: None, leaf: None, what: error.to_string() });
                Tree::without_base(folder)
            }
        };
        // Before the segments: what a head covers is in them by then.
        let notes = stored.notes()?;
        let segments = Segments::read(folder)?;
        findings.extend(segments.broken.iter().map(|error| Finding {
            record: None,
            leaf: None,
            what: error.to_string(),
        }));
        let tree = stored.base().clone();
        let verified = Verified {
            origin: key.name.clone(),
            records: 0,
            checkpoints: 0,
            removed: tree.end(),
            signed_until: None,
            tail: 0,
            unproven: 0,
            held: None,
            findings,
            remarks: Vec::new(),
        };
        Ok(Self {
            key,
            notes,
            stored,
            segments,
            tree,
            writers: BTreeMap::new(),
            seen: BTreeMap::new(),
            told_removed: 0,
            held,
            held_seen: false,
            verified,
        })
    }

    fn find(&mut self, record: Option<RecordId>, leaf: Option<u64>, what: impl Into<String>) {
        if self.verified.findings.len() < MOST_FINDINGS {
            self.verified.findings.push(Finding { record, leaf, what: what.into() });
        }
    }

    /// All heads whose signature is good, in the tree's order.
    fn heads(&mut self) -> Vec<Checkpoint> {
        let mut heads = Vec::new();
        for (note, number) in std::mem::take(&mut self.notes).iter().zip(1..) {
            match self.key.open(note) {
                Ok(head) => heads.push(head),
                Err(error) => self.find(None, None, format!("checkpoint {number}: {error}")),
            }
        }
        heads.sort_by_key(|head| head.size);
        heads.dedup();
        // Before what was removed there is nothing to hold them against.
        heads.retain(|head| head.size > self.stored.base().end());
        heads
    }

    /// One head and the records that it brought. False: nothing behind it can
    /// be judged.
    fn batch(&mut self, head: &Checkpoint) -> bool {
        let batch = head.batch;
        let end = batch.first.checked_add(batch.count);
        let Some((start, end)) = head.size.checked_sub(batch.count).zip(end) else {
            self.find(None, None, "a signed checkpoint contradicts itself");
            return false;
        };
        // Whoever had it signed wrote no such records: nobody goes through all of them.
        if batch.count > MOST_AT_ONCE as u64 {
            let what = format!(
                "a signed checkpoint brings in {} records at once, and no agent's does more than \
                 {MOST_AT_ONCE}: nothing from there on can be judged",
                batch.count
            );
            let id = RecordId { writer: batch.writer, position: batch.first };
            self.find(Some(id), Some(start), what);
            return false;
        }
        if start < self.tree.end() {
            self.find(
                None,
                Some(start),
                format!(
                    "two signed checkpoints, of {} and {}, can't both be",
                    self.tree.end(),
                    head.size
                ),
            );
            return false;
        }
        if start > self.tree.end() && !self.bridge(start) {
            return false;
        }
        let known = self.writers.insert(batch.writer, end);
        if known.is_some_and(|known| known != batch.first) {
            self.find(None, Some(start), "a signed checkpoint skips records of its writer");
        }
        let read = self.read(head);
        let before = self.tree.clone();
        let whole = read.iter().all(|one| one.hash.is_ok());
        for one in &read {
            if let (true, Ok(hash)) = (whole, &one.hash) {
                self.push(*hash);
            }
        }
        let proven = whole && self.tree.root() == Some(head.root);
        let stored: Vec<Option<Hash>> =
            (start..head.size).map(|leaf| self.stored.leaf(leaf)).collect();
        if proven {
            let wrong = stored
                .iter()
                .zip(&read)
                .zip(start..)
                .find(|((stored, one), _)| **stored != one.hash.as_ref().ok().copied());
            if let Some(((_, one), leaf)) = wrong {
                let id = one.id;
                self.find(
                    None,
                    Some(leaf),
                    format!("the stored hash of record {id} was changed; the record was not"),
                );
            }
        } else {
            self.tree = before;
            let kept: Option<Vec<Hash>> = stored.iter().copied().collect();
            for hash in kept.into_iter().flatten() {
                self.push(hash);
            }
            let good = self.tree.end() == head.size && self.tree.root() == Some(head.root);
            self.name(&read, &stored, start, good);
            if !good {
                self.verified.remarks.push(format!(
                    "nothing from record {}-{} on can be judged: the stored hashes don't lead to \
                     the signed root either",
                    batch.writer, batch.first
                ));
                return false;
            }
        }
        self.verified.records = head.size - self.verified.removed;
        self.verified.checkpoints += 1;
        self.verified.signed_until = Some(head.at.to_string());
        true
    }

    /// The leaves between two heads, one of which is missing between them.
    fn bridge(&mut self, to: u64) -> bool {
        let from = self.tree.end();
        self.find(
            None,
            Some(from),
            format!("the checkpoint that covers leaves {from} to {} is missing", to - 1),
        );
        for leaf in from..to {
            let Some(hash) = self.stored.leaf(leaf) else {
                self.find(None, Some(leaf), "its hash is missing too");
                return false;
            };
            self.push(hash);
        }
        // Whose they are isn't known.
        self.writers.clear();
        true
    }

    fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf);
        let Some(held) = &self.held else { return };
        if self.tree.end() == held.size && !self.held_seen {
            self.held_seen = true;
            if self.tree.root() == Some(held.root) {
                self.verified.held = Some(held.size);
            } else {
                let size = held.size;
                self.find(
                    None,
                    None,
                    format!("the log's first {size} records are not those of the checkpoint held"),
                );
            }
        }
    }

    fn read(&mut self, head: &Checkpoint) -> Vec<Read> {
        let batch = head.batch;
        let mut all = Vec::new();
        for position in batch.first..batch.first + batch.count {
            let id = RecordId { writer: batch.writer, position };
            let segment = self.segments.around(id).map(|segment| segment.start());
            let hash = match self.segments.payload(id) {
                Lookup::Payload(payload) => {
                    if let Some(Start { writer, first, .. }) = segment {
                        self.seen.entry((writer, first)).or_default().take(payload);
                    }
                    match record::identify(payload) {
                        Ok((found, _)) if found != id => {
                            Err(format!("record {found} stands in its place"))
                        }
                        Ok((_, KIND_REMOVED)) => {
                            self.told_removed = self.told_removed.max(removed_before(payload));
                            Ok(merkle::leaf(payload))
                        }
                        _ => Ok(merkle::leaf(payload)),
                    }
                }
                Lookup::Absent => Err("it is missing".into()),
                Lookup::Damaged(why) => Err(format!("it can't be read: {why}")),
            };
            all.push(Read { id, hash });
        }
        all
    }

    /// Names what isn't as it was. `good`: the stored hashes are those that were
    /// signed.
    fn name(&mut self, read: &[Read], stored: &[Option<Hash>], start: u64, good: bool) {
        let found = self.verified.findings.len();
        for ((one, stored), leaf) in read.iter().zip(stored).zip(start..) {
            let what = match (&one.hash, stored) {
                (Err(why), _) => why.clone(),
                (Ok(hash), Some(stored)) if hash != stored => "it was changed".into(),
                (Ok(_), None) => "its hash is missing, and what was signed is another".into(),
                _ => continue,
            };
            self.find(Some(one.id), Some(leaf), what);
        }
        if self.verified.findings.len() == found && !good {
            let (first, last) = (read.first(), read.last());
            let range = first.zip(last).map_or_else(String::new, |(first, last)| {
                format!("of the records {} to {}", first.id, last.id)
            });
            // The root alone doesn't say which.
            let what = format!("one {range} was changed together with its hash");
            self.find(None, Some(start), what);
        }
    }

    fn finish(mut self, heads: &[Checkpoint]) -> Verified {
        let base = self.stored.base().end();
        if base > self.told_removed && base > 0 {
            self.find(
                None,
                Some(0),
                format!("the first {base} records are gone, and no record says who let them go"),
            );
        }
        if heads.is_empty() {
            let nothing = "there is no signed checkpoint: nothing is proven at all";
            self.verified.remarks.push(nothing.into());
        }
        self.look_at_segments(heads);
        self.judge_held(heads);
        self.verified
    }

    fn judge_held(&mut self, heads: &[Checkpoint]) {
        let Some(held) = self.held.clone() else {
            self.verified.remarks.push(
                "whether records and checkpoints were cut off the end can only be told with a \
                 checkpoint that was kept elsewhere (`--since`)"
                    .into(),
            );
            return;
        };
        if self.verified.held.is_some() || self.held_seen {
            return;
        }
        let last = heads.last().map_or(self.stored.base().end(), |head| head.size);
        if held.size > last {
            let size = held.size;
            self.find(
                None,
                Some(last),
                format!(
                    "the checkpoint held is of {size} records, and this log ends at {last}: the \
                     end was cut off"
                ),
            );
        } else if self.stored.base().end() == held.size && held.size > 0 {
            if self.stored.base().root() == Some(held.root) {
                self.verified.held = Some(held.size);
            } else {
                self.find(None, None, "what was removed is not what the checkpoint held covers");
            }
        } else if held.size == 0 {
            self.verified.held = Some(0);
        } else if self.verified.is_whole() {
            self.verified.remarks.push(format!(
                "the checkpoint held is of {} records, which were removed since: it can't be held \
                 against this log any more; take a newer one",
                held.size
            ));
        }
    }
}

/// What a record of a removal says.
fn removed_before(payload: &[u8]) -> u64 {
    let told = match record::decode(payload) {
        Ok((_, Body::Removed(told))) => told,
        _ => return 0,
    };
    let facts: serde_json::Value = super::render::parsed(&told.json);
    facts.get("before").and_then(serde_json::Value::as_u64).unwrap_or(0)
}

const KIND_REMOVED: u8 = 51;
const MOST_FINDINGS: usize = 100;
/// While retention is at work.
const ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests;
