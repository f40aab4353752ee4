//! One record, proven to somebody who sees no other.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::super::record::{self, Body, RecordError, RecordId};
use super::super::render::{self, Known};
use super::super::store::segments::Lookup;
use super::super::store::{Folder, Segments, StoreError, Tree};
use crate::ledger::{Checkpoint, NoteError, VerifierKey, merkle, note};

/// Stands alone: with the log's key, nothing else is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub schema: u32,
    pub record: RecordId,
    /// The record, and what it refers to.
    pub leaves: Vec<Leaf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Its place in the tree.
    pub index: u64,
    /// The record's bytes, in base64.
    pub payload: String,
    /// From the leaf to the root, in base64.
    pub path: Vec<String>,
    /// The signed head that brought it in, as a C2SP checkpoint. It says whose record
    /// stands at this place: what is written later can't stand for it.
    pub checkpoint: String,
}

/// What a proof has shown.
#[derive(Debug, Serialize)]
pub struct Proven {
    pub origin: String,
    pub size: u64,
    pub signed: String,
    pub record: serde_json::Value,
}

#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("record {0} is not in the log")]
    Absent(RecordId),
    #[error("record {0} is behind the last checkpoint: try again in a second")]
    Tail(RecordId),
    #[error("record {0} can't be read: {1}")]
    Unreadable(RecordId, String),
    #[error("the hashes that lead to record {0} are missing in `tree/`")]
    Hashes(RecordId),
    #[error("this is no proof: {0}")]
    Malformed(String),
    #[error("the proof's checkpoint: {0}")]
    Note(#[from] NoteError),
    #[error("record {0} doesn't lead to the signed root: it is not what was recorded")]
    Wrong(String),
    #[error("record {0} was put into the log at another place than the signed head says")]
    Misplaced(RecordId),
    #[error("the proof lacks record {0}, which it speaks of")]
    Lacking(RecordId),
    #[error("record {0}: {1}")]
    Record(RecordId, RecordError),
}

/// Takes what proves one record out of the log.
pub fn prove(folder: &Folder, key: &VerifierKey, id: RecordId) -> Result<Proof, ProofError> {
    let mut segments = Segments::read(folder)?;
    let mut tree = Tree::open(folder)?;
    let heads: Vec<(Checkpoint, String)> =
        tree.notes()?.into_iter().filter_map(|text| Some((note::peek(&text)?, text))).collect();
    // Who signed a head is asked of those alone that are wanted: there may be millions.
    let brought_in = |RecordId { writer, position }| {
        heads.iter().find_map(|(head, text)| {
            let index = head.leaf_of(writer, position)?;
            key.open(text).ok().map(|head| (head, text, index))
        })
    };
    let mut leaves = Vec::new();
    let mut wanted = vec![id];
    let mut done = Vec::new();
    while let Some(id) = wanted.pop() {
        if done.contains(&id) {
            continue;
        }
        done.push(id);
        let payload = match segments.payload(id) {
            Lookup::Payload(payload) => payload.to_vec(),
            Lookup::Absent => return Err(ProofError::Absent(id)),
            Lookup::Damaged(why) => return Err(ProofError::Unreadable(id, why)),
        };
        let (_, body) = record::decode(&payload).map_err(|e| ProofError::Record(id, e))?;
        wanted.extend(referred(id, &body));
        let (head, checkpoint, index) = brought_in(id).ok_or(ProofError::Tail(id))?;
        let path = merkle::inclusion(index, head.size, &mut |begin, end| tree.subtree(begin, end))
            .ok_or(ProofError::Hashes(id))?;
        leaves.push(Leaf {
            index,
            payload: STANDARD.encode(payload),
            path: path.iter().map(|hash| STANDARD.encode(hash)).collect(),
            checkpoint: checkpoint.clone(),
        });
    }
    let proof = Proof { schema: SCHEMA, record: id, leaves };
    // One that proves nothing is of no use to anybody.
    proof.verify(key)?;
    Ok(proof)
}

/// What a record can't be shown without.
fn referred(id: RecordId, body: &Body) -> impl Iterator<Item = RecordId> {
    let positions = body.refers().into_iter().filter_map(move |back| id.position.checked_sub(back));
    positions.map(move |position| RecordId { position, ..id })
}

impl Proof {
    pub fn read(text: &str) -> Result<Self, ProofError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let malformed = |error: serde_json::Error| ProofError::Malformed(error.to_string());
        let Version { schema } = serde_json::from_str(text).map_err(malformed)?;
        known_schema(schema)?;
        serde_json::from_str(text).map_err(malformed)
    }

    /// Shows the record, if it is in the log that this key signs.
    pub fn verify(&self, key: &VerifierKey) -> Result<Proven, ProofError> {
        known_schema(self.schema)?;
        let mut known = Leaves(BTreeMap::new());
        let mut signed = None;
        for leaf in &self.leaves {
            let (id, body, head) = leaf.open(key)?;
            if id == self.record {
                signed = Some(head);
            }
            known.0.insert(id, body);
        }
        // All that it speaks of, so that nobody leaves out who it was.
        let mut wanted = vec![self.record];
        let mut shown = BTreeSet::new();
        while let Some(id) = wanted.pop() {
            let body = known.0.get(&id).ok_or(ProofError::Lacking(id))?;
            if shown.insert(id) {
                wanted.extend(referred(id, body));
            }
        }
        let lacking = ProofError::Lacking(self.record);
        let Some((head, body)) = signed.zip(known.0.get(&self.record).cloned()) else {
            return Err(lacking);
        };
        Ok(Proven {
            origin: head.origin,
            size: head.size,
            signed: head.at.to_string(),
            record: render::render(self.record, &body, &mut known),
        })
    }
}

fn known_schema(schema: u32) -> Result<(), ProofError> {
    if schema == SCHEMA {
        return Ok(());
    }
    let why = format!("it is of schema {schema}, and {SCHEMA} is known here");
    Err(ProofError::Malformed(why))
}

impl Leaf {
    /// The record, and the head that brought it in.
    fn open(&self, key: &VerifierKey) -> Result<(RecordId, Body, Checkpoint), ProofError> {
        let malformed = |why: &str| ProofError::Malformed(why.into());
        let head = key.open(&self.checkpoint)?;
        let payload = STANDARD.decode(&self.payload).map_err(|_| malformed("a record is cut"))?;
        let path = self
            .path
            .iter()
            .map(|hash| STANDARD.decode(hash).ok()?.try_into().ok())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| malformed("a hash is none"))?;
        let root = merkle::root_of(self.index, head.size, merkle::leaf(&payload), &path);
        if root != Some(head.root) {
            let named = record::identify(&payload)
                .map_or_else(|_| format!("at {}", self.index), |(id, _)| id.to_string());
            return Err(ProofError::Wrong(named));
        }
        let (id, body) = record::decode(&payload).map_err(|error| malformed(&error.to_string()))?;
        if head.leaf_of(id.writer, id.position) != Some(self.index) {
            return Err(ProofError::Misplaced(id));
        }
        Ok((id, body, head))
    }
}

struct Leaves(BTreeMap<RecordId, Body>);

impl Known for Leaves {
    fn definition(&mut self, id: RecordId) -> Option<Body> {
        self.0.get(&id).cloned()
    }
}

/// Since each record stands under the head that brought it in.
const SCHEMA: u32 = 2;

#[cfg(test)]
mod tests;
