//! What goes out in one go: ranges of the input, unchanged, and bytes made
//! here between them. Adjacent ranges become one slice, so that a batch of
//! frames that nobody touched is one write.

use std::io::IoSlice;

use super::framer::{Framer, Span};

/// The word of a session machine that a span may go on to the other side.
/// Only this room can make one.
#[derive(Debug)]
#[must_use = "what isn't put into a splice never goes out"]
pub struct Pass(Span);

impl Pass {
    pub(super) fn new(span: Span) -> Self {
        Self(span)
    }

    pub fn span(&self) -> Span {
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
enum Segment {
    Input(Span),
    Made { start: usize, end: usize },
}

/// One direction's output.
#[derive(Debug, Default)]
pub struct Splice {
    segments: Vec<Segment>,
    made: Vec<u8>,
    /// Bytes of the first segment that are written already.
    written: usize,
    first: usize,
}

impl Splice {
    pub fn pass(&mut self, pass: Pass) {
        let span = pass.0;
        if let Some(Segment::Input(last)) = self.segments.last_mut()
            && last.end() == span.start
        {
            last.length += span.length;
            return;
        }
        self.segments.push(Segment::Input(span));
    }

    /// Appends bytes of our own.
    pub fn insert(&mut self, bytes: &[u8]) {
        let start = self.made.len();
        self.made.extend_from_slice(bytes);
        let end = self.made.len();
        if let Some(Segment::Made { end: last, .. }) = self.segments.last_mut()
            && *last == start
        {
            *last = end;
            return;
        }
        self.segments.push(Segment::Made { start, end });
    }

    /// Whether the last that goes out is the input up to this place, as it came.
    pub fn ends_at(&self, place: u64) -> bool {
        matches!(self.segments.last(), Some(Segment::Input(span)) if span.end() == place)
    }

    pub fn is_empty(&self) -> bool {
        self.first >= self.segments.len()
    }

    fn resolve<'a>(&'a self, framer: &'a Framer, segment: Segment) -> &'a [u8] {
        match segment {
            Segment::Input(span) => framer.bytes(span),
            Segment::Made { start, end } => self.made.get(start..end).unwrap_or_default(),
        }
    }

    /// What is still to be written, in order.
    pub fn slices<'a>(&'a self, framer: &'a Framer) -> impl Iterator<Item = &'a [u8]> {
        let mut skip = self.written;
        self.segments.iter().skip(self.first).map(move |&segment| {
            let bytes = self.resolve(framer, segment);
            bytes.get(std::mem::take(&mut skip)..).unwrap_or_default()
        })
    }

    /// Fills a vectored write; says how many slices are set.
    pub fn gather<'a>(&'a self, framer: &'a Framer, into: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (place, bytes) in into.iter_mut().zip(self.slices(framer)) {
            *place = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// `count` bytes went out. True when nothing is left: then the framer's
    /// bytes may be consumed.
    pub fn written(&mut self, count: usize) -> bool {
        let mut count = count;
        while let Some(&segment) = self.segments.get(self.first) {
            let length = match segment {
                Segment::Input(span) => span.length,
                Segment::Made { start, end } => end - start,
            };
            let left = length.saturating_sub(self.written);
            if count < left {
                self.written += count;
                return false;
            }
            count -= left;
            self.written = 0;
            self.first += 1;
        }
        self.clear();
        true
    }

    fn clear(&mut self) {
        self.segments.clear();
        self.made.clear();
        if self.made.capacity() > KEPT {
            self.made = Vec::new();
        }
        self.written = 0;
        self.first = 0;
    }
}

/// Room for made bytes that an idle session keeps.
const KEPT: usize = 4096;
