//! A PostgreSQL client of the suites' own: it says exactly what a test wants
//! said, and keeps all that it is answered, in order, on a tape.
//!
//! Never clever: it sends no message that it was not told to send, and passes
//! over none that it receives.

pub mod message;
pub mod scram;
pub mod tape;
pub mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use tape::{Entry, Tape};
use tls::Secured;

/// Longer than any answer of a healthy server takes here.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an error or notice, such as `C` (its SQLSTATE).
    pub fn field(&self, name: u8) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&name))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The columns of a row.
    pub fn columns(&self) -> Result<Vec<Option<Vec<u8>>>> {
        ensure!(self.kind == b'D', "{self:?} is no row");
        let number = |at: usize| -> Result<u32> {
            let bytes = self.body.get(at..at + 4).context("a row is cut")?;
            Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        let (mut at, mut columns) = (2, Vec::new());
        for _ in 0..count {
            let length = number(at)?;
            at += 4;
            if length == u32::MAX {
                columns.push(None);
                continue;
            }
            let end = at + length as usize;
            columns.push(Some(self.body.get(at..end).context("a row is cut")?.to_vec()));
            at = end;
        }
        Ok(columns)
    }
}

enum Stream {
    Plain(TcpStream),
    Secured(Box<Secured>),
    Gone,
}

pub struct Connection {
    stream: Stream,
    tape: Arc<Mutex<Tape>>,
    /// Bytes that came, from `read` on not taken yet.
    buffer: Vec<u8>,
    read: usize,
    /// As BackendKeyData said.
    pub pid: u32,
    pub key: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream, tape: Arc<Mutex<Tape>>) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let stream = Stream::Plain(stream);
        Ok(Self { stream, tape, buffer: Vec::new(), read: 0, pid: 0, key: Vec::new() })
    }

    pub fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A word of the test's own on the tape, to find one's way.
    pub fn mark(&self, text: &str) {
        self.tape().add(Entry::Mark(text.into()));
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes)?,
            Stream::Secured(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
            Stream::Gone => bail!("the connection was dropped"),
        }
        Ok(())
    }

    /// Sends to who may have closed: what comes back tells.
    pub fn send_anyway(&mut self, bytes: &[u8]) {
        let _ = self.send(bytes);
    }

    /// More bytes; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        let had = self.buffer.len();
        self.buffer.resize(had + 256 * 1024, 0);
        let room = &mut self.buffer[had..];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(room),
            Stream::Secured(stream) => stream.read(room),
            Stream::Gone => bail!("the connection was dropped"),
        };
        self.buffer.truncate(had + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            // How a transport says that it is over is not the protocol's.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe
                ) =>
            {
                Ok(false)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("nothing came within {PATIENCE:?}")
            }
            Err(error) => Err(error.into()),
        }
    }

    fn wait_for(&mut self, length: usize) -> Result<bool> {
        while self.buffer.len() - self.read < length {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The answer to a request for encryption; `None` at the end.
    pub fn byte(&mut self) -> Result<Option<u8>> {
        if !self.wait_for(1)? {
            self.ended()?;
            return Ok(None);
        }
        let byte = self.buffer[self.read];
        self.read += 1;
        self.tape().add(Entry::Byte(byte));
        Ok(Some(byte))
    }

    /// The next message; `None` at the end.
    pub fn receive(&mut self) -> Result<Option<Message>> {
        if !self.wait_for(5)? {
            self.ended()?;
            return Ok(None);
        }
        let head = &self.buffer[self.read..self.read + 5];
        let kind = head[0];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        ensure!(length >= 4, "a message `{}` of length {length}", char::from(kind));
        if !self.wait_for(length + 1)? {
            self.ended()?;
            return Ok(None);
        }
        let body = self.buffer[self.read + 5..self.read + 1 + length].to_vec();
        self.read += 1 + length;
        self.tape().message(kind, &body);
        if kind == b'K' {
            let (pid, key) = body.split_first_chunk().context("a short BackendKeyData")?;
            self.pid = u32::from_be_bytes(*pid);
            self.key = key.to_vec();
        }
        Ok(Some(Message { kind, body }))
    }

    fn ended(&mut self) -> Result<()> {
        let left = self.buffer.len() - self.read;
        let how =
            if left == 0 { "in order".into() } else { format!("{left} bytes into a message") };
        self.tape().add(Entry::End(how));
        Ok(())
    }

    /// All up to a message of this kind.
    pub fn until(&mut self, kind: u8) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let Some(message) = self.receive()? else {
                bail!("it ended before `{}` came, after {messages:?}", char::from(kind));
            };
            let last = message.kind == kind;
            messages.push(message);
            if last {
                return Ok(messages);
            }
        }
    }

    /// All up to the end.
    pub fn rest(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Sends, and takes all up to ReadyForQuery.
    pub fn ask(&mut self, bytes: &[u8]) -> Result<Vec<Message>> {
        self.send(bytes)?;
        self.until(b'Z')
    }

    pub fn query(&mut self, sql: &str) -> Result<Vec<Message>> {
        self.mark(sql.get(..80.min(sql.len())).unwrap_or("a query"));
        self.ask(&message::query(sql))
    }

    /// The first column of the first row of an answer, as text.
    pub fn value(&mut self, sql: &str) -> Result<String> {
        let messages = self.query(sql)?;
        let row = messages.iter().find(|message| message.kind == b'D');
        let columns = row.with_context(|| format!("no row: {messages:?}"))?.columns()?;
        let first = columns.into_iter().next().flatten().context("no value")?;
        Ok(String::from_utf8(first)?)
    }

    /// The rows of an answer as lines, their columns joined by `|`.
    pub fn rows(&mut self, sql: &str) -> Result<String> {
        let messages = self.query(sql)?;
        if let Some(error) = messages.iter().find(|message| message.kind == b'E') {
            bail!("`{sql}` failed: {:?}", error.field(b'M'));
        }
        let mut lines = String::new();
        for row in messages.iter().filter(|message| message.kind == b'D') {
            let columns = row.columns()?.into_iter().map(Option::unwrap_or_default);
            let columns: Vec<String> =
                columns.map(|one| String::from_utf8_lossy(&one).into_owned()).collect();
            lines.push_str(&columns.join("|"));
            lines.push('\n');
        }
        Ok(lines)
    }

    /// SSLRequest; what follows is within TLS if the server says so.
    pub fn ask_for_tls(&mut self, terms: &tls::Terms) -> Result<bool> {
        self.send(&message::untyped(message::TLS, &[]))?;
        if self.byte()? != Some(b'S') {
            return Ok(false);
        }
        ensure!(self.buffer.len() == self.read, "bytes came before TLS");
        self.secure(terms)?;
        Ok(true)
    }

    /// TLS at once, whatever the other side thinks of it.
    pub fn secure(&mut self, terms: &tls::Terms) -> Result<()> {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => {
                let secured = tls::handshake(stream, terms);
                if secured.is_err() {
                    self.tape().add(Entry::End("no TLS".into()));
                }
                self.stream = Stream::Secured(Box::new(secured?));
                Ok(())
            }
            _ => bail!("it is no plain connection"),
        }
    }

    /// What was agreed on by ALPN.
    pub fn protocol(&self) -> Result<Option<Vec<u8>>> {
        match &self.stream {
            Stream::Secured(stream) => Ok(stream.conn.alpn_protocol().map(<[u8]>::to_vec)),
            _ => bail!("it has no TLS"),
        }
    }

    /// Answers what the server asks about who one is, up to ReadyForQuery, or
    /// to the error that ends it.
    pub fn login(&mut self, user: &str, password: &str) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let mut scram = None;
        while let Some(message) = self.receive()? {
            let code = message.body.first_chunk::<4>().map(|code| u32::from_be_bytes(*code));
            match (message.kind, code) {
                (b'R', Some(3)) => self.send(&message::password(password))?,
                (b'R', Some(5)) => {
                    let word = scram::md5(user, password, &message.body[4..]);
                    self.send(&message::password(&word))?;
                }
                (b'R', Some(10)) => {
                    let (state, first) = scram::begin(password)?;
                    self.send(&first)?;
                    scram = Some(state);
                }
                (b'R', Some(11)) => {
                    let state = scram.as_mut().context("SCRAM goes on that never began")?;
                    let last = state.answer(&message.body[4..])?;
                    self.send(&last)?;
                }
                (b'R', Some(12)) => {
                    let state = scram.as_ref().context("SCRAM ends that never began")?;
                    state.check(&message.body[4..])?;
                }
                _ => {}
            }
            let last = matches!(message.kind, b'Z' | b'E');
            messages.push(message);
            if last {
                break;
            }
        }
        Ok(messages)
    }

    /// Asks, and reads the answer up to its ReadyForQuery without keeping it;
    /// how many bytes came.
    pub fn drain(&mut self, bytes: &[u8]) -> Result<u64> {
        const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];
        ensure!(self.buffer.len() == self.read, "an older answer is not read yet");
        self.send(bytes)?;
        let mut buffer = vec![0; 256 * 1024];
        let (mut total, mut last) = (0, Vec::new());
        while last != READY {
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut buffer)?,
                Stream::Secured(stream) => stream.read(&mut buffer)?,
                Stream::Gone => bail!("the connection was dropped"),
            };
            ensure!(read > 0, "it ended after {total} bytes");
            total += read as u64;
            last.extend_from_slice(&buffer[read.saturating_sub(READY.len())..read]);
            last.drain(..last.len().saturating_sub(READY.len()));
        }
        Ok(total)
    }

    /// A socket option's or a fault's own way to the stream.
    pub fn socket(&self) -> Result<&TcpStream> {
        match &self.stream {
            Stream::Plain(stream) => Ok(stream),
            Stream::Secured(stream) => Ok(&stream.sock),
            Stream::Gone => bail!("the connection was dropped"),
        }
    }

    /// Terminate, and the end that follows.
    pub fn leave(mut self) -> Result<()> {
        self.send_anyway(&message::terminate());
        ensure!(self.rest()?.is_empty(), "messages came after Terminate");
        Ok(())
    }
}
