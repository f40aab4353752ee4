//! The parser as a process: what is too large to be parsed among others is sent to
//! it and may be its end.
//!
//! ```text
//! parser --greeting--> agent
//! agent --head, text--> parser --facts--> agent      again and again
//! ```
//!
//! Each part but the text is led by its length. The agent gets the connected socket
//! from whoever may start processes; [`ask`] is its side, [`serve`] the other.
//!
//! INVARIANTS
//! - A process of another version is not asked: it would say other things by the
//!   same bytes.
//! - Nothing is waited for beyond the deadline, on this side; on the other, nothing
//!   outlives the agent's end of the socket.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::super::facts::{Doubt, Facts};
use super::super::read::{self, Bounds};
use super::super::state::LexingState;
use super::attempt;

/// What a process says first. The number changes with the form of requests and facts.
const GREETING: &[u8] = concat!("tidegate cell 2 ", env!("CARGO_PKG_VERSION")).as_bytes();

#[derive(Serialize, Deserialize)]
struct Head {
    state: LexingState,
    text: u32,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    facts: Facts,
    /// It ends now: another process is to be asked next.
    is_last: bool,
}

/// What came of asking.
#[derive(Debug)]
pub struct Asked {
    pub facts: Facts,
    /// The process won't be there for another text.
    pub is_last: bool,
}

/// The agent's end. Waits for the other side, but never beyond a moment.
#[derive(Debug)]
pub struct Pipe {
    socket: OwnedFd,
    number: u32,
    greeted: bool,
    until: Instant,
}

impl Pipe {
    pub fn new(socket: OwnedFd, number: u32) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, number, greeted: false, until: Instant::now() })
    }

    /// What the process is known by to who started it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether the other side still holds its end.
    pub fn is_alive(&self) -> bool {
        !has_gone(&self.socket)
    }

    fn wait(&self, what: PollFlags) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&self.socket, what)], left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.socket, &mut *into) {
                Err(rustix::io::Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.socket, bytes) {
                Err(rustix::io::Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks the process at the other end. After an error the pipe is out of step and of
/// no more use.
pub fn ask(pipe: &mut Pipe, text: &[u8], state: &LexingState, until: Instant) -> io::Result<Asked> {
    pipe.until = until;
    if !pipe.greeted {
        let greeting = receive(pipe, LONGEST_GREETING)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if greeting != GREETING {
            let other = String::from_utf8_lossy(&greeting).into_owned();
            return Err(invalid(format!("it is of another version (`{other}`)")));
        }
        pipe.greeted = true;
    }
    let length =
        u32::try_from(text.len()).map_err(|_| invalid("a text of 4 GiB or more".into()))?;
    let head = Head { state: state.clone(), text: length };
    send(pipe, &postcard::to_stdvec(&head).map_err(io::Error::other)?)?;
    pipe.write_all(text)?;
    let answer = receive(pipe, LONGEST_ANSWER)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let Answer { facts, is_last } =
        postcard::from_bytes(&answer).map_err(|error| invalid(error.to_string()))?;
    Ok(Asked { facts, is_last })
}

/// What [`serve`] begins with.
pub(super) fn greet(output: &mut impl Write) -> io::Result<()> {
    send(output, GREETING)
}

/// Answers until the input ends, or this process has served its time. Reads each text
/// on a thread with a large stack.
pub fn serve(input: impl Read + AsFd, output: impl Write) -> io::Result<()> {
    serve_by(processor_time, input, output)
}

/// `spent`: the processor time of this process so far.
pub(super) fn serve_by(
    spent: impl Fn() -> Duration,
    mut input: impl Read + AsFd,
    mut output: impl Write,
) -> io::Result<()> {
    greet(&mut output)?;
    let mut bytes = 0;
    while let Some(head) = receive(&mut input, LONGEST_HEAD)? {
        let Head { state, text: length } =
            postcard::from_bytes(&head).map_err(|error| invalid(error.to_string()))?;
        let length = length as usize;
        if length > Bounds::PROCESS.bytes {
            return Err(too_long(length, Bounds::PROCESS.bytes));
        }
        let text = exactly(&mut input, length)?;
        let hints = read::hints_of(&text, &state);
        // parser's thread --facts--> here
        let (facts_tx, facts_rx) = sync_channel(1);
        thread::Builder::new().name("sql-parser".into()).stack_size(STACK).spawn(move || {
            // Nobody waits any more: the process is ending.
            let _ = facts_tx.send(attempt(&text, &state, Bounds::PROCESS));
        })?;
        let begun = spent();
        let may_take = if length <= SHORT { SHORT_MAY_TAKE } else { LONG_MAY_TAKE };
        let (facts, is_late) = loop {
            match facts_rx.recv_timeout(LOOK) {
                Ok(facts) => break (facts, false),
                Err(RecvTimeoutError::Timeout) if spent().saturating_sub(begun) > may_take => {
                    let doubt = Doubt::Parser("it takes too long to be read".into());
                    break (Facts::unknown(doubt, hints), true);
                }
                // The agent has given the text up, and this process with it.
                Err(RecvTimeoutError::Timeout) if has_gone(&input) => {
                    return Err(io::Error::other("a text took too long and was given up"));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the parser's thread ended in a panic"));
                }
            }
        };
        bytes += length;
        let is_last =
            is_late || length > SERVES_ONE || bytes > SERVES_BYTES || spent() > SERVES_TIME;
        let answer = encode(facts, is_last)?;
        send(&mut output, &answer)?;
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}

/// What a parser process may take: memory, processor time, and no further file,
/// socket or pipe. To be called in it before [`serve`].
pub fn confine() -> io::Result<()> {
    let exactly = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, exactly(MOST_MEMORY))?;
    setrlimit(Resource::Cpu, exactly(MOST_SECONDS))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Fsize, exactly(0))?;
    // The standard streams it has.
    setrlimit(Resource::Nofile, exactly(3))?;
    Ok(())
}

fn encode(facts: Facts, is_last: bool) -> io::Result<Vec<u8>> {
    let effects = facts.effects();
    let encoded = postcard::to_stdvec(&Answer { facts, is_last }).map_err(io::Error::other)?;
    if encoded.len() <= LONGEST_ANSWER {
        return Ok(encoded);
    }
    let facts = Facts::unknown(Doubt::TooComplex, effects);
    postcard::to_stdvec(&Answer { facts, is_last }).map_err(io::Error::other)
}

/// Of this process, all its threads together.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Whether nobody holds the other end any more.
fn has_gone(socket: impl AsFd) -> bool {
    let mut ended = [PollFd::new(&socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let seen = poll(&mut ended, Some(&now));
    seen.is_ok() && ended.iter().any(|one| one.revents().intersects(gone))
}

fn send(pipe: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| too_long(body.len(), u32::MAX as usize))?;
    pipe.write_all(&length.to_be_bytes())?;
    pipe.write_all(body)?;
    pipe.flush()
}

/// One message; `None` at a clean end.
fn receive(pipe: &mut impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut first = [0; 1];
    if pipe.read(&mut first)? == 0 {
        return Ok(None);
    }
    let mut rest = [0; 3];
    pipe.read_exact(&mut rest)?;
    let ([a], [b, c, d]) = (first, rest);
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > limit {
        return Err(too_long(length, limit));
    }
    exactly(pipe, length).map(Some)
}

fn exactly(pipe: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    pipe.read_exact(&mut body)?;
    Ok(body)
}

fn too_long(length: usize, limit: usize) -> io::Error {
    invalid(format!("message of {length} bytes, more than the {limit} that may come"))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Up to here a text is one among many, above it a bulk load.
pub const SHORT: usize = 1024 * 1024;
/// Of processor time, so that a busy host makes nobody's statement unreadable.
pub const SHORT_MAY_TAKE: Duration = Duration::from_secs(2);
pub const LONG_MAY_TAKE: Duration = Duration::from_secs(8);
/// Only what is touched takes memory.
const STACK: usize = 1024 * 1024 * 1024;
/// Address space: the stack, the program, and room for a long text's tree.
const MOST_MEMORY: u64 = 4 * 1024 * 1024 * 1024;
/// Of processor time, in its whole life; it has ended by itself long before.
const MOST_SECONDS: u64 = 120;
/// After so much it lets another process take its place: what it has allocated and
/// not given back goes with it.
const SERVES_TIME: Duration = Duration::from_secs(60);
const SERVES_BYTES: usize = 256 * 1024 * 1024;
const SERVES_ONE: usize = 4 * 1024 * 1024;
/// Facts of so many bytes and more are not taken.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;
/// A search path has no limit of its own but that of the text that set it.
const LONGEST_HEAD: usize = Bounds::PROCESS.bytes + 64 * 1024;
const LONGEST_GREETING: usize = 256;
/// How often it looks whether the agent still waits.
const LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
