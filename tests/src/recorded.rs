//! The recorded sessions of `corpora/wire_postgres`, played by a client and a
//! server of the suites', one of which fails at a chosen byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub name: String,
    /// Each a message, or the part of one, in the order in which they came.
    pub lines: Vec<(Side, Vec<u8>)>,
}

/// What a side does to the connection instead of going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It closes, in the middle of whatever it said.
    Close,
    Reset,
    /// It says no more, and goes on listening.
    HalfClose,
    /// It says no more and keeps everything open; the other gives up.
    Stall,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Close, Self::Reset, Self::HalfClose, Self::Stall];
}

impl Session {
    pub fn read(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpora/wire_postgres")
            .join(name)
            .with_extension("session");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let side = match line.get(..2) {
                Some("C ") => Side::Client,
                Some("S ") => Side::Server,
                _ => bail!("{name}: `{line}` is of neither side"),
            };
            lines.push((side, unescape(&line[2..])?));
        }
        ensure!(!lines.is_empty(), "{name} is empty");
        Ok(Self { name: name.into(), lines })
    }

    /// All that a side says.
    pub fn said_by(&self, side: Side) -> Vec<u8> {
        let of = |(by, bytes): &(Side, Vec<u8>)| (*by == side).then(|| bytes.clone());
        self.lines.iter().filter_map(of).flatten().collect()
    }
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'\\') => bytes.push(b'\\'),
            Some(b'x') => {
                let mut digit = || -> Result<u8> {
                    let digit = rest.next().map(char::from).and_then(|digit| digit.to_digit(16));
                    Ok(digit.context("half a byte")? as u8)
                };
                bytes.push(digit()? << 4 | digit()?);
            }
            other => bail!("an escape that is none: {other:?}"),
        }
    }
    Ok(bytes)
}

/// What a side saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub received: Vec<u8>,
    /// By an error rather than in order.
    pub broken: bool,
}

/// Nothing here takes as long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Plays one side to the end of the connection. It fails if nothing ends it.
pub fn play(
    mut stream: TcpStream,
    session: &Session,
    side: Side,
    fault: Option<(Fault, usize)>,
) -> Result<Seen> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut seen = Seen::default();
    let mut said = 0;
    let mut first = true;
    for (by, bytes) in &session.lines {
        if *by == side {
            let left = fault.map_or(usize::MAX, |(_, at)| at - said);
            let part = &bytes[..bytes.len().min(left)];
            // Who is gone does not hear it: its end is read below.
            if stream.write_all(part).is_err() {
                break;
            }
            said += part.len();
            if let Some((fault, at)) = fault
                && at == said
            {
                return fail(stream, fault, seen);
            }
        } else {
            let untyped = std::mem::take(&mut first) && side == Side::Server;
            if !message(&mut stream, untyped, bytes.len(), &mut seen)? {
                return Ok(seen);
            }
        }
    }
    if side == Side::Client {
        stream.shutdown(Shutdown::Write).or_else(|error| match error.kind() {
            ErrorKind::NotConnected => Ok(()),
            _ => Err(error),
        })?;
    }
    to_the_end(&mut stream, &mut seen)?;
    Ok(seen)
}

fn fail(mut stream: TcpStream, fault: Fault, mut seen: Seen) -> Result<Seen> {
    match fault {
        Fault::Close => return Ok(seen),
        Fault::Reset => {
            sys::reset_on_close(stream.as_fd())?;
            return Ok(seen);
        }
        Fault::HalfClose => {
            if let Err(error) = stream.shutdown(Shutdown::Write)
                && error.kind() != ErrorKind::NotConnected
            {
                return Err(error.into());
            }
        }
        Fault::Stall => {}
    }
    to_the_end(&mut stream, &mut seen)?;
    Ok(seen)
}

/// A message, or what was recorded of one; false at the end.
fn message(
    stream: &mut TcpStream,
    untyped: bool,
    recorded: usize,
    seen: &mut Seen,
) -> Result<bool> {
    let head = if untyped { 4 } else { 5 };
    let from = seen.received.len();
    if !exactly(stream, head.min(recorded), seen)? {
        return Ok(false);
    }
    let Some(length) = seen.received.get(from + head - 4..from + head) else { return Ok(true) };
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
    // Of the last one, only a part may have been recorded.
    let whole = (length + head - 4).min(recorded.max(head));
    exactly(stream, whole - head, seen)
}

fn exactly(stream: &mut TcpStream, length: usize, seen: &mut Seen) -> Result<bool> {
    let mut buffer = vec![0; length];
    let mut read = 0;
    while read < length {
        let count = some(stream, &mut buffer[read..], seen)?;
        if count == 0 {
            seen.received.extend(&buffer[..read]);
            return Ok(false);
        }
        read += count;
    }
    seen.received.extend(buffer);
    Ok(true)
}

fn to_the_end(stream: &mut TcpStream, seen: &mut Seen) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match some(stream, &mut buffer, seen)? {
            0 => return Ok(()),
            count => seen.received.extend(&buffer[..count]),
        }
    }
}

/// 0 is the end, however it came.
fn some(stream: &mut TcpStream, into: &mut [u8], seen: &mut Seen) -> Result<usize> {
    match stream.read(into) {
        Ok(count) => Ok(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            bail!("nothing came, and no end, within {PATIENCE:?}")
        }
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
        {
            seen.broken = true;
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether this is what the other side said, up to some byte, and then nothing
/// but a word on why it ended. The key of a session may be another one.
pub fn is_beginning(received: &[u8], recorded: &[u8]) -> Result<(), String> {
    let mut expected = recorded.to_vec();
    forget_key(&mut expected);
    let mut got = received.to_vec();
    forget_key(&mut got);
    let same = got.iter().zip(&expected).take_while(|(one, other)| one == other).count();
    let rest = &got[same..];
    // An error's text may begin as the recorded one did: back to its start.
    let error = got.iter().rposition(|byte| *byte == b'E').is_some_and(|at| {
        let length =
            got.get(at + 1..at + 5).map(|it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
        at <= same && length.is_some_and(|length| at + 1 + length as usize == got.len())
    });
    if rest.is_empty() || error {
        return Ok(());
    }
    Err(format!("byte {same} is another one, then: {}", rest.escape_ascii()))
}

/// BackendKeyData of 4-byte keys, wherever it stands.
fn forget_key(bytes: &mut [u8]) {
    let head = [b'K', 0, 0, 0, 12];
    if let Some(at) = bytes.windows(5).position(|window| window == head) {
        bytes.iter_mut().skip(at + 5).take(8).for_each(|byte| *byte = 0);
    }
}
