//! One end of a session with what is known of its readiness, and what lies
//! between two of them.

use std::io::{ErrorKind, IoSlice};

use super::Io;

/// What the kernel said about one end since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    pub read: bool,
    pub write: bool,
    /// The other side has closed, wholly or by half: a read ends in order or
    /// with an error, and no further word of it will come.
    pub hung_up: bool,
    pub failed: bool,
}

/// An end and its readiness, as edges leave it: it holds until a call shows
/// otherwise.
#[derive(Debug)]
pub struct Leg<I> {
    pub io: I,
    pub readable: bool,
    pub writable: bool,
    hung_up: bool,
    /// Nothing more will be read.
    pub ended: bool,
    /// Our own end was sent.
    pub finished: bool,
    /// It was reset, or failed otherwise.
    pub broken: bool,
    /// Bytes that the kernel took for it.
    pub given: u64,
}

impl<I: Io> Leg<I> {
    pub fn new(io: I) -> Self {
        Self {
            io,
            readable: false,
            writable: true,
            hung_up: false,
            ended: false,
            finished: false,
            broken: false,
            given: 0,
        }
    }

    /// The other side has closed, wholly or by half; what it sent before may not be
    /// read yet.
    pub fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    pub fn notice(&mut self, ready: Ready) {
        self.readable |= ready.read || ready.hung_up || ready.failed;
        self.writable |= ready.write;
        self.hung_up |= ready.hung_up || ready.failed;
        if ready.failed && self.io.failure().is_some() {
            self.break_off();
        }
    }

    /// Reads once; 0 when there is nothing, or nothing any more.
    pub fn take(&mut self, into: &mut [u8]) -> usize {
        match self.io.read(into) {
            Ok(0) => {
                self.ended = true;
                0
            }
            Ok(read) => {
                // Less than was asked for: the queue is empty, and what comes
                // next is a new edge. Unless the end's own edge has passed.
                if read < into.len() && !self.hung_up {
                    self.readable = false;
                }
                read
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                // Of a broken end nothing will come.
                self.ended |= self.broken;
                0
            }
            Err(_) => {
                self.break_off();
                self.ended = true;
                0
            }
        }
    }

    /// Writes what the kernel takes now.
    ///
    /// INVARIANT: this and [`Leg::put_slices`] are the only places where a
    /// session writes to a connection.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let mut put = 0;
        while self.writable && !self.broken {
            let Some(rest) = bytes.get(put..).filter(|rest| !rest.is_empty()) else { break };
            match self.io.write(rest) {
                Ok(written) => put += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(_) => self.break_off(),
            }
        }
        self.given += put as u64;
        put
    }

    /// The same, from several places at once.
    pub fn put_slices(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if !self.writable || self.broken || slices.is_empty() {
            return 0;
        }
        loop {
            match self.io.write_vectored(slices) {
                Ok(written) => {
                    self.given += written as u64;
                    return written;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(_) => self.break_off(),
            }
            if !self.writable || self.broken {
                return 0;
            }
        }
    }

    pub fn finish(&mut self) {
        if !self.finished && !self.broken {
            self.finished = true;
            if self.io.finish().is_err() {
                self.break_off();
            }
        }
    }

    /// What it had sent before it broke can still be read, and is.
    fn break_off(&mut self) {
        self.broken = true;
        self.hung_up = true;
        self.readable = true;
    }
}

/// One direction: what was read on one leg and not yet taken by the other.
#[derive(Debug, Default)]
pub struct Lane {
    /// INVARIANT: has no allocation while nothing is held, so that an idle
    /// session owns no buffer.
    held: Vec<u8>,
    /// How much of `held` was written.
    gone: usize,
    /// Bytes that the other leg took.
    pub moved: u64,
}

impl Lane {
    /// Writes what is held. `false`: the leg takes no more for now.
    pub fn flush<I: Io>(&mut self, to: &mut Leg<I>, buffers: &mut Buffers) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let put = to.put(self.held.get(self.gone..).unwrap_or_default());
        self.gone += put;
        self.count(put);
        if self.gone < self.held.len() && !to.broken {
            return false;
        }
        self.gone = 0;
        buffers.give_back(std::mem::take(&mut self.held));
        true
    }

    /// Writes `bytes`, and holds what isn't taken.
    pub fn forward<I: Io>(&mut self, bytes: &[u8], to: &mut Leg<I>, spare: &mut Vec<Vec<u8>>) {
        let put = to.put(bytes);
        self.count(put);
        if !to.broken
            && let Some(rest) = bytes.get(put..).filter(|rest| !rest.is_empty())
        {
            self.held = spare.pop().unwrap_or_default();
            self.held.extend_from_slice(rest);
        }
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.capacity()
    }

    fn count(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

/// A thread's own buffers, lent to its sessions while they need them.
#[derive(Debug)]
pub struct Buffers {
    /// What every read goes into.
    pub scratch: Vec<u8>,
    /// For what a slow reader leaves over: kept so that a blocked session
    /// doesn't go to the allocator at each turn.
    pub spare: Vec<Vec<u8>>,
    /// For framers, whose buffers are filled to their end.
    pub frames: Vec<Vec<u8>>,
    /// What TLS reads into: a handshake's message may lie here for longer than
    /// one read.
    pub records: Vec<u8>,
    /// What is sealed by TLS before it is written.
    pub sealed: Vec<u8>,
}

/// Read at once; also the most that one direction of a session ever holds.
pub const SCRATCH: usize = 64 * 1024;
const RECORDS: usize = 2 * SCRATCH + SCRATCH / 2;
const MOST_SPARE: usize = 16;

impl Buffers {
    pub fn new() -> Self {
        Self {
            scratch: vec![0; SCRATCH],
            spare: Vec::new(),
            frames: Vec::new(),
            records: vec![0; RECORDS],
            sealed: Vec::new(),
        }
    }

    fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < MOST_SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
