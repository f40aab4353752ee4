//! One unary call of gRPC over a connection of its own: as much of HTTP/2 as that needs.
//!
//! No library: they are made for many streams, and keep tables, buffers and timers for
//! whoever is at the other end. This keeps one message.
//!
//! INVARIANT: what a peer can make us keep, or say back, is bounded: the message by
//! [`LONGEST_ANSWER`], a frame by what HTTP/2 allows unasked, headers by
//! [`LONGEST_HEADERS`], replies by [`MOST_REPLIES`]. Nothing is ever waited for here.

mod headers;

use super::{AnswerError, Heard, LONGEST_ANSWER};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Larger frames nobody may send who wasn't asked for them.
const LONGEST_FRAME: usize = 16 * 1024;
const LONGEST_HEADERS: usize = 16 * 1024;
const MOST_REPLIES: usize = 64;
/// Frames' heads, settings, pings and headers beside the message.
const BESIDE: usize = 256 * 1024;
/// A flag and a length stand before a message.
const BEFORE_MESSAGE: usize = 5;
/// The only stream.
const STREAM: u32 = 1;

#[derive(Debug)]
pub struct Call {
    opening: Vec<u8>,
    unread: Vec<u8>,
    taken: usize,
    replies: usize,
    /// The peer's settings have come: it speaks HTTP/2.
    greeted: bool,
    /// Headers of which more is to come, and whether the stream ends with them.
    headers: Option<(Vec<u8>, bool)>,
    data: Vec<u8>,
    status: Option<u32>,
}

struct Frame<'b> {
    kind: u8,
    flags: u8,
    stream: u32,
    content: &'b [u8],
}

/// What a frame has brought.
enum Step {
    Nothing,
    Reply(Vec<u8>),
    Ended,
}

impl Call {
    pub(super) fn new(method: &str, message: &[u8], namespace: Option<&str>) -> Self {
        let mut data = vec![0];
        data.extend_from_slice(&(message.len() as u32).to_be_bytes());
        data.extend_from_slice(message);
        let window = (LONGEST_ANSWER + BEFORE_MESSAGE) as u32;
        let mut settings = Vec::new();
        // No table of headers, no pushes, and a window in which every answer has room:
        // so it never has to be opened again.
        for (name, value) in [(1_u16, 0), (2, 0), (4, window)] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        let mut opening = PREFACE.to_vec();
        frame(&mut opening, SETTINGS, 0, 0, &settings);
        frame(&mut opening, WINDOW_UPDATE, 0, 0, &window.to_be_bytes());
        frame(&mut opening, HEADERS, END_HEADERS, STREAM, &headers::request(method, namespace));
        frame(&mut opening, DATA, END_STREAM, STREAM, &data);
        Self {
            opening,
            unread: Vec::new(),
            taken: 0,
            replies: 0,
            greeted: false,
            headers: None,
            data: Vec::new(),
            status: None,
        }
    }

    pub(super) fn opening(&self) -> &[u8] {
        &self.opening
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Heard, AnswerError> {
        self.taken += bytes.len();
        if self.taken > LONGEST_ANSWER + BESIDE {
            return Err(AnswerError::TooLong);
        }
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        let mut rest = unread.as_slice();
        let mut replies = Vec::new();
        while let Some(frame) = next(&mut rest)? {
            match self.step(&frame)? {
                Step::Nothing => {}
                Step::Reply(reply) => {
                    self.replies += 1;
                    if self.replies > MOST_REPLIES {
                        return Err(AnswerError::NotGrpc);
                    }
                    replies.extend_from_slice(&reply);
                }
                Step::Ended => return self.message().map(Heard::All),
            }
        }
        self.unread = rest.to_vec();
        Ok(Heard::More(replies))
    }

    fn step(&mut self, frame: &Frame<'_>) -> Result<Step, AnswerError> {
        if !self.greeted && (frame.kind != SETTINGS || frame.flags & ACK != 0) {
            return Err(AnswerError::NotGrpc);
        }
        // Nothing may stand between headers and their continuation.
        if self.headers.is_some() != (frame.kind == CONTINUATION) {
            return Err(AnswerError::NotGrpc);
        }
        let placed = match frame.kind {
            DATA | HEADERS | CONTINUATION | RST_STREAM => frame.stream == STREAM,
            SETTINGS | PING | GOAWAY => frame.stream == 0,
            _ => true,
        };
        if !placed {
            return Err(AnswerError::NotGrpc);
        }
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            DATA => {
                self.data.extend_from_slice(unpadded(frame)?);
                if self.data.len() > LONGEST_ANSWER + BEFORE_MESSAGE {
                    return Err(AnswerError::TooLong);
                }
                Ok(if ends { Step::Ended } else { Step::Nothing })
            }
            HEADERS => {
                let mut content = unpadded(frame)?;
                if frame.flags & PRIORITISED != 0 {
                    content = content.get(5..).ok_or(AnswerError::NotGrpc)?;
                }
                self.headers(content.to_vec(), ends, frame.flags)
            }
            CONTINUATION => {
                let (mut block, ends) = self.headers.take().ok_or(AnswerError::NotGrpc)?;
                block.extend_from_slice(frame.content);
                if block.len() > LONGEST_HEADERS {
                    return Err(AnswerError::TooLong);
                }
                self.headers(block, ends, frame.flags)
            }
            RST_STREAM | PUSH_PROMISE => Err(AnswerError::NotGrpc),
            SETTINGS => {
                self.greeted = true;
                Ok(reply(frame, SETTINGS, &[]))
            }
            PING if frame.content.len() == 8 => Ok(reply(frame, PING, frame.content)),
            PING => Err(AnswerError::NotGrpc),
            // It ends the connection, and has seen our stream or not.
            GOAWAY => match frame.content.first_chunk().map(|last| u32::from_be_bytes(*last)) {
                Some(last) if last & !RESERVED >= STREAM => Ok(Step::Nothing),
                _ => Err(AnswerError::NotGrpc),
            },
            _ => Ok(Step::Nothing),
        }
    }

    fn headers(&mut self, block: Vec<u8>, ends: bool, flags: u8) -> Result<Step, AnswerError> {
        if flags & END_HEADERS == 0 {
            self.headers = Some((block, ends));
            return Ok(Step::Nothing);
        }
        if let Some(status) = headers::status(&block)? {
            self.status = Some(status);
        }
        Ok(if ends { Step::Ended } else { Step::Nothing })
    }

    /// The one message, of a stream that has ended.
    fn message(&self) -> Result<Vec<u8>, AnswerError> {
        match self.status {
            Some(0) => {}
            Some(other) => return Err(AnswerError::Refused(other)),
            None => return Err(AnswerError::NotGrpc),
        }
        let (flag, rest) = self.data.split_first().ok_or(AnswerError::NotGrpc)?;
        let (length, message) = rest.split_first_chunk().ok_or(AnswerError::NotGrpc)?;
        // Compressed is only what was asked for compressed.
        if *flag != 0 || u32::from_be_bytes(*length) as usize != message.len() {
            return Err(AnswerError::NotGrpc);
        }
        Ok(message.to_vec())
    }
}

/// The next whole frame.
fn next<'b>(bytes: &mut &'b [u8]) -> Result<Option<Frame<'b>>, AnswerError> {
    let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if length > LONGEST_FRAME {
        return Err(AnswerError::NotGrpc);
    }
    let Some((content, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    let stream = u32::from_be_bytes([d, e, f, g]) & !RESERVED;
    Ok(Some(Frame { kind, flags, stream, content }))
}

/// What the peer doesn't want answered isn't.
fn reply(frame: &Frame<'_>, kind: u8, content: &[u8]) -> Step {
    if frame.flags & ACK != 0 {
        return Step::Nothing;
    }
    let mut bytes = Vec::new();
    self::frame(&mut bytes, kind, ACK, 0, content);
    Step::Reply(bytes)
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    let [_, length @ ..] = (content.len() as u32).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(content);
}

fn unpadded<'b>(frame: &Frame<'b>) -> Result<&'b [u8], AnswerError> {
    if frame.flags & PADDED == 0 {
        return Ok(frame.content);
    }
    let (padding, content) = frame.content.split_first().ok_or(AnswerError::NotGrpc)?;
    let length = content.len().checked_sub(usize::from(*padding)).ok_or(AnswerError::NotGrpc)?;
    content.get(..length).ok_or(AnswerError::NotGrpc)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITISED: u8 = 0x20;
const RESERVED: u32 = 1 << 31;

#[cfg(test)]
mod tests;
