//! The head of a host's tree: what the signer keeps, and its one rule.
//!
//! The signer is also what puts the writers' records in order: a writer asks to
//! append at the size that it knows; if another was quicker it asks again. So
//! there is one tree, though each process writes files of its own, and no
//! process must trust another.
//!
//! What was signed and whose answer was lost, or came too late, is asked for again, alone
//! or with more behind it, and answered with the same note: it is of those records that
//! the note names, and nothing is signed for it.
//!
//! INVARIANT: nothing leaves before the state that it follows from has been
//! stored; the caller stores [`Head::to_text`] before it passes a note on.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::merkle::{Hash, Range};
use super::note::{self, Batch, Checkpoint, SigningKey};
use crate::model::{LogAnswer, LogAppend, LogWriter, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub origin: String,
    tree: Range,
    /// Those whose records may still come in.
    writers: BTreeMap<u64, Writer>,
    next_writer: u64,
}

/// How far a writer's records are in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    pub sequenced: u64,
    pub note: Option<String>,
    /// What that one was asked for with ([`words_of`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
}

impl Writer {
    /// The last note, if that is what is asked for. At the same place others than those
    /// that were signed would be a fork; at another one nobody can tell, nor has to.
    fn signed_before(&self, asked: &LogAppend, words: &str) -> Option<String> {
        let note = self.note.as_ref()?;
        let Checkpoint { size, batch, .. } = note::peek(note)?;
        let same = batch.first == asked.first && batch.count <= asked.count;
        let told_otherwise = batch.count == asked.count
            && size.checked_sub(batch.count) == Some(asked.at)
            && self.asked.as_ref().is_some_and(|before| before != words);
        (same && !told_otherwise).then(|| note.clone())
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the log's head is not readable: {0}; it is not signed further")]
    Unreadable(String),
}

impl Head {
    pub fn new(origin: String) -> Self {
        Self { origin, tree: Range::empty(0), writers: BTreeMap::new(), next_writer: 1 }
    }

    pub fn size(&self) -> u64 {
        self.tree.end()
    }

    pub fn root(&self) -> Option<Hash> {
        self.tree.root()
    }

    /// A number for a new writer.
    pub fn enlist(&mut self) -> u64 {
        let writer = self.next_writer;
        self.next_writer += 1;
        self.writers.insert(writer, Writer::default());
        writer
    }

    /// A writer's records are all in the tree: none may follow.
    pub fn finish(&mut self, writer: u64) {
        self.writers.remove(&writer);
    }

    pub fn unfinished(&self) -> Vec<LogWriter> {
        self.writers
            .iter()
            .map(|(writer, Writer { sequenced, note, .. })| LogWriter {
                writer: *writer,
                sequenced: *sequenced,
                note: note.clone(),
            })
            .collect()
    }

    /// Appends, and signs what that makes.
    pub fn append(&mut self, asked: &LogAppend, key: &SigningKey, at: Timestamp) -> LogAnswer {
        let refused = |why: String| LogAnswer::Refused { why };
        let Some(writer) = self.writers.get_mut(&asked.writer) else {
            return refused(format!("writer {} is finished, or was never there", asked.writer));
        };
        let words = words_of(asked.at, asked.first, asked.count, &asked.hashes);
        if let Some(note) = writer.signed_before(asked, &words) {
            return LogAnswer::Signed { note };
        }
        if asked.first != writer.sequenced {
            return refused(format!(
                "{} records of writer {} are in the tree, and it tells of those from {} on: that \
                 would fork the log",
                writer.sequenced, asked.writer, asked.first
            ));
        }
        if asked.at != self.tree.end() {
            return LogAnswer::Moved { size: self.tree.end() };
        }
        if asked.count > MOST_AT_ONCE as u64 {
            return refused(format!(
                "{} records are too many at once: a head brings in at most {MOST_AT_ONCE}",
                asked.count
            ));
        }
        let end = asked.at.checked_add(asked.count).filter(|end| *end < 1 << 62);
        let Some((end, added)) = end
            .filter(|_| asked.count > 0)
            .and_then(|end| Some((end, Range::from_hashes(asked.at, end, &asked.hashes)?)))
        else {
            return refused(format!("the hashes are not those of {} records", asked.count));
        };
        let mut tree = self.tree.clone();
        let extended = tree.extend(&added);
        let Some(root) = tree.root().filter(|_| extended) else {
            return refused("the hashes don't follow the tree".into());
        };
        let batch = Batch { writer: asked.writer, first: asked.first, count: asked.count };
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: end, root, batch, at };
        let note = key.sign(&checkpoint);
        self.tree = tree;
        writer.sequenced += asked.count;
        writer.note = Some(note.clone());
        writer.asked = Some(words);
        LogAnswer::Signed { note }
    }

    /// Takes in a head that this key signed, and that was not stored: the loss of
    /// power may take the last ones. `leaves` are those that it brought; what
    /// was signed proves them. False, and nothing is changed: they don't lead
    /// there.
    pub fn replay(&mut self, signed: &Checkpoint, note: &str, leaves: &[Hash]) -> bool {
        let Batch { writer, first, count } = signed.batch;
        let known = self.writers.get(&writer).map_or(first, |known| known.sequenced);
        let mut tree = self.tree.clone();
        let mut added = Range::empty(tree.end());
        for leaf in leaves {
            tree.push(*leaf);
            added.push(*leaf);
        }
        let follows = signed.origin == self.origin
            && count == leaves.len() as u64
            && known == first
            && tree.end() == signed.size
            && tree.root() == Some(signed.root);
        if follows {
            self.tree = tree;
            self.next_writer = self.next_writer.max(writer.saturating_add(1));
            let known = self.writers.entry(writer).or_default();
            known.sequenced = first + count;
            known.note = Some(note.to_owned());
            known.asked = Some(words_of(added.begin(), first, count, &added.hashes()));
        }
        follows
    }

    /// For the signer's own folder.
    pub fn to_text(&self) -> String {
        let stored = Stored {
            origin: self.origin.clone(),
            size: self.tree.end(),
            hashes: self.tree.hashes().iter().map(|hash| STANDARD.encode(hash)).collect(),
            writers: self.writers.clone(),
            next_writer: self.next_writer,
        };
        // Plain data: there is nothing in it that JSON can't hold.
        serde_json::to_string_pretty(&stored).unwrap_or_default()
    }

    pub fn from_text(text: &str) -> Result<Self, HeadError> {
        let wrong = |why: &str| HeadError::Unreadable(why.into());
        let stored: Stored =
            serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let hashes = stored
            .hashes
            .iter()
            .map(|hash| STANDARD.decode(hash).ok()?.try_into().ok())
            .collect::<Option<Vec<Hash>>>()
            .ok_or_else(|| wrong("a hash is none"))?;
        let tree = Range::from_hashes(0, stored.size, &hashes)
            .ok_or_else(|| wrong("its hashes are not those of its size"))?;
        let Stored { origin, writers, next_writer, .. } = stored;
        Ok(Self { origin, tree, writers, next_writer })
    }
}

/// What a writer asks for, in few bytes.
fn words_of(at: u64, first: u64, count: u64, hashes: &[Hash]) -> String {
    let mut sum = Context::new(&SHA256);
    for number in [at, first, count] {
        sum.update(&number.to_le_bytes());
    }
    sum.update(hashes.as_flattened());
    STANDARD.encode(sum.finish())
}

/// Records that one head brings in. Whoever asks for more is no writer of ours: nobody
/// is to go through what isn't there.
pub const MOST_AT_ONCE: usize = 1 << 16;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    origin: String,
    size: u64,
    hashes: Vec<String>,
    writers: BTreeMap<u64, Writer>,
    next_writer: u64,
}

#[cfg(test)]
mod tests;
