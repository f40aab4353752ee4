//! One end of a PostgreSQL connection: socket, TLS where it has any, frames.
//!
//! What goes out goes through here alone: [`End::say`] for bytes of our own,
//! [`End::pass`] for what a machine let through.

use std::io::IoSlice;

use crate::enforcer::relay::{Buffers, Io, Leg};
use crate::enforcer::tls::{Tls, TlsError};
use crate::wire::postgres::{Framer, Splice};
use zeroize::Zeroize as _;

pub struct End<I> {
    pub leg: Leg<I>,
    pub tls: Option<Box<Tls>>,
    pub framer: Framer,
    /// What the kernel hasn't taken yet: sealed records, or bytes of our own.
    unsent: Vec<u8>,
    gone: usize,
    /// Our end is to be told once all is sent.
    closing: bool,
    /// Bytes of the protocol that were read, encrypted or not.
    pub moved: u64,
}

impl<I: Io> End<I> {
    pub fn new(io: I, framer: Framer) -> Self {
        Self {
            leg: Leg::new(io),
            tls: None,
            framer,
            unsent: Vec::new(),
            gone: 0,
            closing: false,
            moved: 0,
        }
    }

    /// Nothing more will be read.
    pub fn has_ended(&self) -> bool {
        self.leg.ended || self.tls.as_ref().is_some_and(|tls| tls.has_ended())
    }

    /// Reads once into the framer; says how many bytes came from the socket.
    pub fn read(&mut self, buffers: &mut Buffers) -> Result<usize, TlsError> {
        if self.framer.is_bare()
            && let Some(buffer) = buffers.frames.pop()
        {
            self.framer.lend(buffer);
        }
        let Some(tls) = &mut self.tls else {
            let read = self.leg.take(self.framer.room());
            self.framer.filled(read);
            self.count(read);
            return Ok(read);
        };
        let before = tls.partial().len();
        // A record is never longer than the room behind its head.
        let split = buffers.records.split_at_mut_checked(before);
        let Some((head, room)) = split.filter(|(_, room)| !room.is_empty()) else {
            return Err(TlsError::Unwritable("a record of its is too long".into()));
        };
        head.copy_from_slice(tls.partial());
        let read = self.leg.take(room);
        if read == 0 {
            return Ok(0);
        }
        let records = buffers.records.get_mut(..before + read).unwrap_or_default();
        let framer = &mut self.framer;
        let start = self.unsent.len();
        let mut plain = 0;
        let taken = tls.take(records, &mut self.unsent, |bytes| {
            plain += bytes.len();
            framer.append(bytes);
        });
        if self.unsent.len() > start {
            self.flush();
        }
        self.count(plain);
        taken.map(|()| read)
    }

    /// The same, of what may hold a password: where records were read to, nothing of it
    /// is left. What is in the framer is to be wiped by who takes it.
    pub fn read_secret(&mut self, buffers: &mut Buffers) -> Result<usize, TlsError> {
        let before = self.tls.as_ref().map(|tls| tls.partial().len());
        let read = self.read(buffers);
        if let Some(before) = before {
            let filled = read.as_ref().map_or(buffers.records.len(), |read| before + read);
            buffers.records.get_mut(..filled).unwrap_or_default().zeroize();
        }
        read
    }

    /// Starts TLS on what was plain until now.
    pub fn secure(&mut self, mut tls: Tls) -> Result<(), TlsError> {
        let begun = tls.begin(&mut self.unsent);
        self.tls = Some(Box::new(tls));
        self.flush();
        begun
    }

    /// The same, with records that were read already.
    pub fn secure_with(&mut self, mut tls: Tls, mut records: Vec<u8>) -> Result<(), TlsError> {
        let framer = &mut self.framer;
        let taken = tls.take(&mut records, &mut self.unsent, |bytes| framer.append(bytes));
        self.tls = Some(Box::new(tls));
        self.flush();
        taken
    }

    /// Sends bytes that were made here.
    pub fn say(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        match &mut self.tls {
            None => self.unsent.extend_from_slice(bytes),
            Some(tls) => tls.seal(bytes, &mut self.unsent)?,
        }
        self.flush();
        Ok(())
    }

    /// Sends what a splice holds of the other end's stream. `true`: all of it
    /// was taken, and its bytes may go.
    pub fn pass(
        &mut self,
        splice: &mut Splice,
        from: &mut Framer,
        buffers: &mut Buffers,
    ) -> Result<bool, TlsError> {
        if splice.is_empty() {
            return Ok(true);
        }
        if !self.flush() {
            return Ok(false);
        }
        if let Some(tls) = &mut self.tls {
            let sealed = &mut buffers.sealed;
            sealed.clear();
            seal(tls, splice, from, &mut buffers.records, sealed)?;
            let put = self.leg.put(sealed);
            if let Some(rest) = sealed.get(put..).filter(|rest| !rest.is_empty()) {
                self.unsent = buffers.spare.pop().unwrap_or_default();
                self.unsent.extend_from_slice(rest);
                self.gone = 0;
            }
            splice.written(usize::MAX);
            from.consume_framed();
            return Ok(true);
        }
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = splice.gather(from, &mut slices);
            let put = self.leg.put_slices(slices.get(..count).unwrap_or_default());
            if put == 0 && (self.leg.broken || !self.leg.writable) {
                // Of a broken leg nothing is kept.
                if self.leg.broken {
                    splice.written(usize::MAX);
                    from.consume_framed();
                }
                return Ok(self.leg.broken);
            }
            if splice.written(put) {
                from.consume_framed();
                return Ok(true);
            }
        }
    }

    /// Sends what is left over, and the end where that is due. `true`: nothing
    /// is left.
    pub fn flush(&mut self) -> bool {
        if !self.unsent.is_empty() {
            let put = self.leg.put(self.unsent.get(self.gone..).unwrap_or_default());
            self.gone += put;
            if self.gone < self.unsent.len() && !self.leg.broken {
                return false;
            }
            self.gone = 0;
            // In clear it may have been a password.
            if self.tls.is_none() {
                self.unsent.zeroize();
            }
            self.unsent = Vec::new();
        }
        if self.closing && !self.leg.finished {
            self.leg.finish();
        }
        true
    }

    /// No more will be said: the other side is told once all is sent.
    pub fn finish(&mut self) {
        if self.closing {
            return;
        }
        self.closing = true;
        if let Some(tls) = &mut self.tls {
            tls.finish(&mut self.unsent);
        }
        self.flush();
    }

    /// Lends its buffers to others while there is nothing in them.
    pub fn rest(&mut self, buffers: &mut Buffers) {
        if let Some(buffer) = self.framer.rest()
            && buffers.frames.len() < MOST_SPARE
        {
            buffers.frames.push(buffer);
        }
    }

    fn count(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }
}

impl<I> std::fmt::Debug for End<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Seals what a splice holds; many small pieces as one: fewer records, fewer
/// bytes.
fn seal(
    tls: &mut Tls,
    splice: &Splice,
    from: &Framer,
    joined: &mut [u8],
    sealed: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let mut slices = splice.slices(from).filter(|slice| !slice.is_empty());
    let first = slices.next().unwrap_or_default();
    let Some(second) = slices.next() else { return tls.seal(first, sealed) };
    let mut filled = 0;
    for mut slice in [first, second].into_iter().chain(slices) {
        while !slice.is_empty() {
            let room = joined.get_mut(filled..).unwrap_or_default();
            let count = room.len().min(slice.len());
            let (now, later) = slice.split_at_checked(count).unwrap_or_default();
            room.get_mut(..count).unwrap_or_default().copy_from_slice(now);
            filled += count;
            slice = later;
            if filled == joined.len() {
                tls.seal(joined, sealed)?;
                filled = 0;
            }
        }
    }
    tls.seal(joined.get(..filled).unwrap_or_default(), sealed)
}

const SLICES: usize = 16;
const MOST_SPARE: usize = 16;
