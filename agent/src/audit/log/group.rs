//! A record with all that it refers to, made ready to be copied in.

use super::{State, encode};
use crate::audit::frame;
use crate::audit::record::{Back, Body, RecordId};

#[derive(Debug, Default)]
pub struct Buffers {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// What became known with it, to be forgotten if it doesn't fit.
    keys: Vec<u128>,
    words: Vec<Box<str>>,
}

/// What [`Group::finish`] came to.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub room: usize,
    pub records: u64,
    pub too_long: bool,
}

pub struct Group<'s> {
    writer: u64,
    next: u64,
    state: &'s mut State,
    buffers: &'s mut Buffers,
}

impl Buffers {
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(&0).chain(&self.ends);
        begins.zip(&self.ends).map(|(begin, end)| self.bytes.get(*begin..*end).unwrap_or_default())
    }
}

impl<'s> Group<'s> {
    pub fn new(writer: u64, state: &'s mut State, buffers: &'s mut Buffers) -> Self {
        buffers.bytes.clear();
        buffers.ends.clear();
        buffers.keys.clear();
        buffers.words.clear();
        Self { writer, next: state.position, state, buffers }
    }

    /// Writes one; it is told its own position.
    pub fn put(&mut self, body: impl FnOnce(u64) -> Body) {
        let body = body(self.next);
        let id = RecordId { writer: self.writer, position: self.next };
        let bytes = std::mem::take(&mut self.buffers.bytes);
        self.buffers.bytes = encode(id, &body, bytes);
        self.buffers.ends.push(self.buffers.bytes.len());
        self.next += 1;
    }

    /// Where in this segment an entry of the dictionary stands.
    pub fn known(&self, key: u128) -> Option<u64> {
        self.state.known.get(&key).copied()
    }

    /// The position of an entry of the dictionary, which is written if it isn't
    /// in this segment yet.
    pub fn define(&mut self, key: u128, body: impl FnOnce(u64) -> Body) -> u64 {
        if let Some(position) = self.known(key) {
            return position;
        }
        let position = self.next;
        self.put(body);
        self.state.known.insert(key, position);
        self.buffers.keys.push(key);
        position
    }

    pub fn words(&mut self, text: &str) -> u64 {
        if let Some(position) = self.state.words.get(text) {
            return *position;
        }
        let position = self.next;
        self.put(|_| Body::Words(text.into()));
        self.state.words.insert(text.into(), position);
        self.buffers.words.push(text.into());
        position
    }

    /// Nothing to refer to is 0.
    pub fn back(here: u64, there: Option<u64>) -> Back {
        there.map_or(0, |there| here.saturating_sub(there))
    }

    pub fn records(&self) -> usize {
        self.buffers.ends.len()
    }

    /// How much has been made so far.
    pub fn bytes(&self) -> usize {
        self.buffers.bytes.len()
    }

    pub fn finish(self) -> Done {
        let (mut room, mut too_long) = (0, false);
        for payload in self.buffers.payloads() {
            room += frame::room(payload.len());
            too_long |= payload.len() > frame::LONGEST;
        }
        let done = Done { room, records: self.buffers.ends.len() as u64, too_long };
        if too_long {
            undo(self.state, self.buffers);
        }
        done
    }
}

/// Forgets what a group that isn't written made known.
pub fn undo(state: &mut State, buffers: &Buffers) {
    for key in &buffers.keys {
        state.known.remove(key);
    }
    for words in &buffers.words {
        state.words.remove(words);
    }
}
