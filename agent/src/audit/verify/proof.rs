//! One record, proven to somebody who sees no other.

use std::collections::BTreeMap;

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
    /// The signed head, as a C2SP checkpoint.
    pub checkpoint: String,
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
    #[error("the proof speaks of record {named}, and holds record {held}")]
    Another { named: RecordId, held: RecordId },
    #[error("record {0}: {1}")]
    Record(RecordId, RecordError),
}

/// Takes what proves one record out of the log.
pub fn prove(folder: &Folder, id: RecordId) -> Result<Proof, ProofError> {
    let mut segments = Segments::read(folder)?;
    let mut tree = Tree::open(folder)?;
    let mut heads: Vec<(Checkpoint, String)> =
        tree.notes()?.into_iter().filter_map(|text| Some((note::peek(&text)?, text))).collect();
    heads.sort_by_key(|(head, _)| head.size);
    let Some((last, checkpoint)) = heads.last().cloned() else { return Err(ProofError::Tail(id)) };
    let place = |id: RecordId| {
        heads.iter().find_map(|(head, _)| {
            let batch = head.batch;
            let offset = id.position.checked_sub(batch.first)?;
            (batch.writer == id.writer && offset < batch.count)
                .then(|| head.size - batch.count + offset)
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
        let referred = body.refers().into_iter().filter_map(|back| id.position.checked_sub(back));
        wanted.extend(referred.map(|position| RecordId { position, ..id }));
        let index = place(id).ok_or(ProofError::Tail(id))?;
        let path = merkle::inclusion(index, last.size, &mut |begin, end| tree.subtree(begin, end))
            .ok_or(ProofError::Hashes(id))?;
        leaves.push(Leaf {
            index,
            payload: STANDARD.encode(payload),
            path: path.iter().map(|hash| STANDARD.encode(hash)).collect(),
        });
    }
    Ok(Proof { schema: SCHEMA, record: id, checkpoint, leaves })
}

impl Proof {
    /// Shows the record, if it is in the log that this key signs.
    pub fn verify(&self, key: &VerifierKey) -> Result<Proven, ProofError> {
        if self.schema != SCHEMA {
            let why = format!("it is of schema {}, and {SCHEMA} is known here", self.schema);
            return Err(ProofError::Malformed(why));
        }
        let head = key.open(&self.checkpoint)?;
        let malformed = |why: &str| ProofError::Malformed(why.into());
        let mut known = Leaves(BTreeMap::new());
        for leaf in &self.leaves {
            let payload =
                STANDARD.decode(&leaf.payload).map_err(|_| malformed("a record is cut"))?;
            let path = leaf
                .path
                .iter()
                .map(|hash| STANDARD.decode(hash).ok()?.try_into().ok())
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| malformed("a hash is none"))?;
            let root = merkle::root_of(leaf.index, head.size, merkle::leaf(&payload), &path);
            let named = record::identify(&payload)
                .map_or_else(|_| format!("at {}", leaf.index), |(id, _)| id.to_string());
            if root != Some(head.root) {
                return Err(ProofError::Wrong(named));
            }
            let (id, body) =
                record::decode(&payload).map_err(|error| malformed(&error.to_string()))?;
            known.0.insert(id, body);
        }
        let Some(body) = known.0.get(&self.record).cloned() else {
            let held = known.0.keys().next().copied().ok_or_else(|| malformed("it is empty"))?;
            return Err(ProofError::Another { named: self.record, held });
        };
        Ok(Proven {
            origin: head.origin,
            size: head.size,
            signed: head.at.to_string(),
            record: render::render(self.record, &body, &mut known),
        })
    }
}

struct Leaves(BTreeMap<RecordId, Body>);

impl Known for Leaves {
    fn definition(&mut self, id: RecordId) -> Option<Body> {
        self.0.get(&id).cloned()
    }
}

const SCHEMA: u32 = 1;
