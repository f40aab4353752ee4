//! Cuts one direction of a connection into frames, in place.
//!
//! Bytes are read into [`Framer::room`]; [`Framer::frame`] yields what is
//! complete, borrowed from the buffer. A frame's [`Span`] stays valid, also
//! across further reads, until [`Framer::consume`] has gone past it: a request
//! that is held lies here and nowhere else.
//!
//! Invariants: the spans of a stream's frames follow each other without gap or
//! overlap; a header alone never makes us allocate what it promises.

use std::sync::Arc;

use super::error::{Fault, Side, WireError};
use super::opening::{Opening, TlsAnswer};
use crate::wire::limits::Limits;

/// A range of the stream, counted from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub length: usize,
}

impl Span {
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.length as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The header and the first bytes of a body that comes in pieces.
    First,
    Middle,
    Last,
}

/// One frame, or one piece of a long one.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'b> {
    pub tag: u8,
    pub part: Part,
    pub span: Span,
    /// The bytes of the span; with the header in `Whole` and `First`.
    pub bytes: &'b [u8],
}

impl<'b> Frame<'b> {
    /// What follows the header; of a `Middle` or `Last`, all of it.
    pub fn body(&self) -> &'b [u8] {
        match self.part {
            Part::Whole | Part::First => self.bytes.get(HEADER..).unwrap_or_default(),
            Part::Middle | Part::Last => self.bytes,
        }
    }
}

/// A set of message types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags(u128);

impl Tags {
    pub const fn of(tags: &[u8]) -> Self {
        let mut set = 0;
        let mut rest = tags;
        while let [tag, others @ ..] = rest {
            set |= 1 << (*tag & 0x7f);
            rest = others;
        }
        Self(set)
    }

    pub const fn contains(self, tag: u8) -> bool {
        tag < 0x80 && self.0 >> tag & 1 == 1
    }
}

/// The only messages whose bodies the session machine never needs whole.
pub const DATA: Tags = Tags::of(b"Dd");

#[derive(Debug)]
pub struct Framer {
    side: Side,
    limits: Arc<Limits>,
    /// All of it is initialised; `head..tail` is what holds the stream.
    buffer: Vec<u8>,
    /// The place in the stream of `buffer[0]`.
    base: u64,
    head: usize,
    cursor: usize,
    tail: usize,
    /// What the next frame needs beyond the cursor, as far as known.
    wanted: usize,
    /// The long frame that is under way: its type and the bytes to come.
    under_way: Option<(u8, usize)>,
    in_pieces: Tags,
}

impl Framer {
    pub fn new(side: Side, limits: Arc<Limits>) -> Self {
        Self {
            side,
            limits,
            buffer: Vec::new(),
            base: 0,
            head: 0,
            cursor: 0,
            tail: 0,
            wanted: 0,
            under_way: None,
            in_pieces: if side == Side::Client { Tags::of(b"d") } else { DATA },
        }
    }

    /// Which long messages may come in pieces: of DataRow and CopyData those
    /// whose content nobody looks at. Holds from the next frame on.
    pub fn allow_pieces(&mut self, tags: Tags) {
        let possible = if self.side == Side::Client { Tags::of(b"d") } else { DATA };
        self.in_pieces = Tags(tags.0 & possible.0);
    }

    /// Where to read the next bytes to: never empty. It grows with what has
    /// come, not with what a header promises.
    pub fn room(&mut self) -> &mut [u8] {
        if self.head == self.tail {
            self.restart(self.tail);
        }
        let chunk = self.limits.chunk.max(HEADER);
        let held = self.tail - self.head;
        let missing = self.wanted.saturating_sub(self.tail - self.cursor);
        let wish =
            if missing > chunk { missing.min(held.max(chunk)) } else { missing.max(chunk / 2) };
        if self.buffer.len() - self.tail < wish && self.head > 0 {
            self.buffer.copy_within(self.head..self.tail, 0);
            self.base += self.head as u64;
            self.cursor -= self.head;
            self.tail = held;
            self.head = 0;
        }
        if self.buffer.len() - self.tail < wish {
            let length = self.tail + wish.max(chunk);
            self.buffer.reserve_exact(length - self.buffer.len());
            self.buffer.resize(length, 0);
        }
        self.buffer.get_mut(self.tail..).unwrap_or_default()
    }

    /// `count` bytes were read into the room.
    pub fn filled(&mut self, count: usize) {
        self.tail = self.tail.saturating_add(count).min(self.buffer.len());
    }

    /// Reads from a slice, as far as there is room; says how much.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.filled(count);
        count
    }

    /// The next frame, if it is complete (or may come in pieces).
    #[inline]
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let available = self.buffer.get(self.cursor..self.tail).unwrap_or_default();
        if let Some((tag, left)) = self.under_way {
            return Ok(self.piece(tag, left));
        }
        let Some(header) = available.first_chunk::<HEADER>() else {
            // A type that is none is reported at once: its sender may never
            // send the rest of what we would take for a header.
            if let Some(&tag) = available.first() {
                self.bound(tag)?;
            }
            self.wanted = HEADER;
            return Ok(None);
        };
        let [tag, length @ ..] = *header;
        let length = u32::from_be_bytes(length);
        let limit = self.bound(tag)?;
        let body = match length.checked_sub(4) {
            Some(body) if length <= i32::MAX as u32 => body as usize,
            _ => return Err(Fault::Length { tag, length }.at(self.side)),
        };
        if body > limit {
            return Err(Fault::TooLong { tag, length: body, limit }.at(self.side));
        }
        let total = body + HEADER;
        let (part, taken) = if available.len() >= total {
            (Part::Whole, total)
        } else if total > self.limits.whole && self.in_pieces.contains(tag) {
            self.under_way = Some((tag, total - available.len()));
            (Part::First, available.len())
        } else {
            self.wanted = total;
            return Ok(None);
        };
        Ok(Some(self.take(tag, part, taken)))
    }

    fn piece(&mut self, tag: u8, left: usize) -> Option<Frame<'_>> {
        let taken = left.min(self.tail - self.cursor);
        if taken == 0 {
            self.wanted = 0;
            return None;
        }
        let left = left - taken;
        self.under_way = (left > 0).then_some((tag, left));
        let part = if left > 0 { Part::Middle } else { Part::Last };
        Some(self.take(tag, part, taken))
    }

    #[inline]
    fn take(&mut self, tag: u8, part: Part, length: usize) -> Frame<'_> {
        let start = self.cursor;
        self.cursor += length;
        self.wanted = 0;
        let span = Span { start: self.base + start as u64, length };
        let bytes = self.buffer.get(start..self.cursor).unwrap_or_default();
        Frame { tag, part, span, bytes }
    }

    /// The frame that comes next, if all of it is there. It isn't taken, and whether
    /// it may come at all is asked when it is.
    pub fn peek(&self) -> Option<Frame<'_>> {
        if self.under_way.is_some() {
            return None;
        }
        let available = self.buffer.get(self.cursor..self.tail)?;
        let [tag, length @ ..] = *available.first_chunk::<HEADER>()?;
        let body = usize::try_from(u32::from_be_bytes(length).checked_sub(4)?).ok()?;
        let bytes = available.get(..body.checked_add(HEADER)?)?;
        let span = Span { start: self.base + self.cursor as u64, length: bytes.len() };
        Some(Frame { tag, part: Part::Whole, span, bytes })
    }

    /// The next packet of a connection that hasn't started its session yet.
    pub fn opening(&mut self) -> Result<Option<(Opening<'_>, Span)>, WireError> {
        let available = self.buffer.get(self.cursor..self.tail).unwrap_or_default();
        if available.first() == Some(&TLS_HANDSHAKE) {
            // Not taken: the handshake belongs to TLS, from its first byte.
            let span = Span { start: self.base + self.cursor as u64, length: 0 };
            return Ok(Some((Opening::DirectTls, span)));
        }
        let Some(header) = available.first_chunk::<4>() else {
            self.wanted = 4;
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header);
        let total = length as usize;
        if length < 8 || total - 4 > self.limits.opening {
            return Err(Fault::Length { tag: 0, length }.at(self.side));
        }
        if available.len() < total {
            self.wanted = total;
            return Ok(None);
        }
        let (side, limits) = (self.side, Arc::clone(&self.limits));
        let frame = self.take(0, Part::Whole, total);
        let body = frame.bytes.get(4..).unwrap_or_default();
        let opening = Opening::decode(body, &limits).map_err(|fault| fault.at(side))?;
        Ok(Some((opening, frame.span)))
    }

    /// The server's answer to a request for encryption: one byte, and not one
    /// more before the handshake.
    pub fn tls_answer(&mut self) -> Result<Option<TlsAnswer>, WireError> {
        let available = self.buffer.get(self.cursor..self.tail).unwrap_or_default();
        let Some(&byte) = available.first() else { return Ok(None) };
        let answer = TlsAnswer::decode(byte).map_err(|fault| fault.at(self.side))?;
        if answer == TlsAnswer::Error {
            // The byte is the type of an ErrorResponse: it stays.
            return Ok(Some(answer));
        }
        if answer != TlsAnswer::No && available.len() > 1 {
            return Err(Fault::AheadOfEncryption.at(self.side));
        }
        self.take(0, Part::Whole, 1);
        Ok(Some(answer))
    }

    /// The bytes of a span that isn't consumed yet; else nothing.
    pub fn bytes(&self, span: Span) -> &[u8] {
        let Some(start) = span.start.checked_sub(self.base) else { return &[] };
        let Ok(start) = usize::try_from(start) else { return &[] };
        if start < self.head {
            return &[];
        }
        let end = start.saturating_add(span.length).min(self.tail);
        self.buffer.get(start..end).unwrap_or_default()
    }

    /// All that lies before this place of the stream was written, or isn't
    /// needed any more. Never goes past what was framed.
    pub fn consume(&mut self, place: u64) {
        let place = usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.head = place.min(self.cursor).max(self.head);
    }

    /// Un-takes a whole frame: it is the next one again.
    pub fn put_back(&mut self, frame: Span) {
        let start = usize::try_from(frame.start.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.cursor = start.clamp(self.head, self.cursor);
    }

    /// Overwrites the bytes of a span that isn't consumed yet: it held a
    /// password, and nobody needs it any more.
    pub fn wipe(&mut self, span: Span) {
        let start = span.start.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let Some(start) = start.filter(|start| *start >= self.head) else { return };
        let end = start.saturating_add(span.length).min(self.tail);
        if let Some(bytes) = self.buffer.get_mut(start..end) {
            zeroize::Zeroize::zeroize(bytes);
        }
    }

    /// All that was framed and isn't consumed.
    pub fn framed(&self) -> Span {
        Span { start: self.base + self.head as u64, length: self.cursor - self.head }
    }

    /// Where the next frame will start.
    pub fn place(&self) -> u64 {
        self.base + self.cursor as u64
    }

    /// Consumes all that was framed.
    pub fn consume_framed(&mut self) {
        self.head = self.cursor;
    }

    /// Bytes that were read and not yet framed.
    pub fn unframed(&self) -> usize {
        self.tail - self.cursor
    }

    /// Takes what was read and not framed: a TLS handshake's first bytes.
    pub fn take_unframed(&mut self) -> Vec<u8> {
        let rest = self.buffer.get(self.cursor..self.tail).unwrap_or_default().to_vec();
        self.cursor = self.tail;
        self.head = self.tail;
        rest
    }

    /// Gives the memory back while nothing is in it: an idle session keeps none,
    /// and the next one that reads may have it.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        if self.head != self.tail || self.buffer.is_empty() {
            return None;
        }
        self.restart(self.tail);
        let buffer = std::mem::take(&mut self.buffer);
        (!buffer.is_empty()).then_some(buffer)
    }

    /// Takes a buffer that another framer gave back, where it has none itself.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        if self.buffer.is_empty() {
            self.buffer = buffer;
        }
    }

    /// Whether something has come that no frame was cut of yet.
    pub fn has_more(&self) -> bool {
        self.cursor < self.tail
    }

    /// Whether a long message has begun to go by, and more of it is to come.
    #[inline]
    pub fn is_within(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether it owns no buffer.
    pub fn is_bare(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes bytes that were decrypted elsewhere, all of them.
    pub fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.feed(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The stream ended here, and the last frame was asked for in vain.
    pub fn finish(&self) -> Result<(), WireError> {
        let rest = self.unframed();
        let missing = match self.under_way {
            Some((_, left)) => left,
            None if rest == 0 => 0,
            // Nothing is wanted: whole frames lie here that nobody took yet.
            None => self.wanted.saturating_sub(rest),
        };
        if missing == 0 { Ok(()) } else { Err(Fault::Truncated { missing }.at(self.side)) }
    }

    fn restart(&mut self, at: usize) {
        self.base += at as u64;
        (self.head, self.cursor, self.tail) = (0, 0, 0);
        if self.buffer.len() > self.limits.chunk.saturating_mul(4) {
            self.buffer = Vec::new();
        }
    }

    /// The longest body of this type from this side.
    #[inline]
    fn bound(&self, tag: u8) -> Result<usize, WireError> {
        let kinds = if self.side == Side::Client { &CLIENT_KINDS } else { &SERVER_KINDS };
        match kinds.get(usize::from(tag)) {
            Some(Kind::Data) => Ok(self.limits.message),
            Some(Kind::Control) => Ok(self.limits.control),
            Some(Kind::Credential) => Ok(self.limits.credential),
            Some(Kind::Unknown) | None => Err(Fault::UnknownType(tag).at(self.side)),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Unknown,
    Data,
    Control,
    Credential,
}

const fn kinds(data: Tags, control: Tags, credential: Tags) -> [Kind; 128] {
    let mut kinds = [Kind::Unknown; 128];
    let mut tag = 0;
    let mut rest: &mut [Kind] = &mut kinds;
    while let [kind, others @ ..] = rest {
        if data.contains(tag) {
            *kind = Kind::Data;
        } else if control.contains(tag) {
            *kind = Kind::Control;
        } else if credential.contains(tag) {
            *kind = Kind::Credential;
        }
        tag += 1;
        rest = others;
    }
    kinds
}

static CLIENT_KINDS: [Kind; 128] = kinds(Tags::of(b"BFPQd"), Tags::of(b"CDEHSXcf"), Tags::of(b"p"));
/// A server is trusted with long answers only where answers can be long.
static SERVER_KINDS: [Kind; 128] =
    kinds(Tags::of(b"DTVdtENAS"), Tags::of(b"123CGHIKWZcnsv"), Tags::of(b"R"));

const HEADER: usize = 5;
const TLS_HANDSHAKE: u8 = 0x16;

#[cfg(test)]
mod tests;
