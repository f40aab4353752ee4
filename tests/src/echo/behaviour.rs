//! What the server does once it knows its client.

use std::fmt;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::stream::Stream;
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Behaviour {
    /// Everything back, until the client has finished.
    Echo,
    /// Takes the bytes of this seed to the end, then says `sunk <bytes> ok`.
    Sink { seed: u64 },
    /// Gives bytes of this seed, then finishes.
    Source { bytes: u64, seed: u64 },
    /// Both at once.
    Both { bytes: u64, seed: u64 },
    /// Resets after so many more bytes.
    Reset { after: u64 },
    /// Finishes its own direction at once, and takes the client's to the end.
    Half,
    /// Says nothing, not even who the client is.
    Mute,
}

impl Behaviour {
    pub(super) fn act(
        self,
        mut reader: BufReader<TcpStream>,
        mut writer: TcpStream,
        record: &Record,
    ) -> Result<()> {
        match self {
            Self::Echo => {
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let length = reader.read(&mut buffer)?;
                    if length == 0 {
                        writer.shutdown(Shutdown::Write)?;
                        return Ok(());
                    }
                    record.received(length as u64);
                    writer.write_all(&buffer[..length])?;
                }
            }
            Self::Sink { seed } => {
                let verdict = sink(&mut reader, seed, record)?;
                writer.write_all(verdict.as_bytes())?;
                Ok(())
            }
            Self::Source { bytes, seed } => {
                source(&mut writer, bytes, seed)?;
                writer.shutdown(Shutdown::Write)?;
                drain(&mut reader, record)
            }
            Self::Both { bytes, seed } => std::thread::scope(|scope| {
                let mut out = writer.try_clone()?;
                let giving = scope.spawn(move || source(&mut out, bytes, seed));
                let verdict = sink(&mut reader, seed ^ 1, record)?;
                match giving.join() {
                    Ok(done) => done?,
                    Err(_) => bail!("the giving thread panicked"),
                }
                writer.write_all(verdict.as_bytes())?;
                Ok(())
            }),
            Self::Reset { after } => {
                let mut left = after;
                let mut buffer = vec![0; 64 * 1024];
                while left > 0 {
                    let want = usize::try_from(left)?.min(buffer.len());
                    let length = reader.read(&mut buffer[..want])?;
                    if length == 0 {
                        break;
                    }
                    record.received(length as u64);
                    left -= length as u64;
                }
                sys::reset_on_close(writer.as_fd())?;
                Ok(())
            }
            Self::Half => {
                writer.shutdown(Shutdown::Write)?;
                drain(&mut reader, record)
            }
            Self::Mute => drain(&mut reader, record),
        }
    }
}

fn source(writer: &mut TcpStream, bytes: u64, seed: u64) -> Result<()> {
    let (mut stream, mut cuts) = (Stream::new(seed), Stream::new(!seed));
    let mut buffer = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let length = cuts.chunk(buffer.len()).min(usize::try_from(left)?);
        stream.fill(&mut buffer[..length]);
        writer.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    Ok(())
}

fn sink(reader: &mut impl Read, seed: u64, record: &Record) -> Result<String> {
    let mut stream = Stream::new(seed);
    let mut buffer = vec![0; 64 * 1024];
    let mut sum = 0_u64;
    let mut wrong = None;
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        record.received(length as u64);
        if let Err(at) = stream.check(&buffer[..length]) {
            wrong.get_or_insert(sum + at as u64);
        }
        sum += length as u64;
    }
    Ok(match wrong {
        None => format!("sunk {sum} ok\n"),
        Some(at) => format!("sunk {sum} wrong-at-{at}\n"),
    })
}

fn drain(reader: &mut impl Read, record: &Record) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        record.received(length as u64);
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => write!(f, "echo"),
            Self::Sink { seed } => write!(f, "sink:{seed}"),
            Self::Source { bytes, seed } => write!(f, "source:{bytes}:{seed}"),
            Self::Both { bytes, seed } => write!(f, "both:{bytes}:{seed}"),
            Self::Reset { after } => write!(f, "reset:{after}"),
            Self::Half => write!(f, "half"),
            Self::Mute => write!(f, "mute"),
        }
    }
}

impl FromStr for Behaviour {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let mut number = || -> Result<u64> {
            Ok(parts.next().with_context(|| format!("`{text}` lacks a number"))?.parse()?)
        };
        Ok(match name {
            "echo" => Self::Echo,
            "sink" => Self::Sink { seed: number()? },
            "source" => Self::Source { bytes: number()?, seed: number()? },
            "both" => Self::Both { bytes: number()?, seed: number()? },
            "reset" => Self::Reset { after: number()? },
            "half" => Self::Half,
            "mute" => Self::Mute,
            _ => bail!("`{text}` is no behaviour"),
        })
    }
}

impl From<Behaviour> for String {
    fn from(behaviour: Behaviour) -> Self {
        behaviour.to_string()
    }
}

impl TryFrom<String> for Behaviour {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
