//! What a record holds, and its bytes.
//!
//! A payload is `version, kind, writer, position, body`: a record says itself
//! whose it is and which one of that writer's, so it can't stand for another.
//! Hot bodies are compact; what is told once (a process, a connection, the text
//! of a statement) is a record of its own, as JSON, and others refer to it by
//! how many positions back it stands. It stands in the same segment.
//!
//! INVARIANT: the bytes of a kind never change; another form is another kind.
//! Tests hold each kind's bytes.

mod hot;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A record's name: which writer's, and which of that writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    pub writer: u64,
    pub position: u64,
}

/// So many positions before this record; 0: none.
pub type Back = u64;

/// Of everything that happens on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Microseconds since 1970.
    pub at: u64,
    /// Its [`Flow`].
    pub flow: Back,
    /// The process's own count of its records, by this writer.
    pub sequence: u64,
}

/// A connection, told again in each segment that speaks of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub process: Back,
    pub json: Box<str>,
}

/// An event with facts of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFlow {
    pub head: Head,
    pub json: Box<str>,
}

/// An event of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub at: u64,
    pub json: Box<str>,
}

/// A statement is about to be let through, refused or held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub head: Head,
    /// Its number on this connection.
    pub serial: u64,
    pub way: u8,
    pub statement: Back,
    pub effects: u16,
    pub verdict: u8,
    pub flags: u8,
    /// What it was judged by.
    pub grounds: Back,
    pub hold: Option<Box<str>>,
    pub approver: Option<Box<str>>,
    pub parameters: Vec<Option<Box<str>>>,
}

/// Any number of statements that are alike may be let through from now on: their
/// workload is over its rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Of the first of them.
    pub intent: Intent,
    /// When it no longer holds, in microseconds since 1970.
    pub until: u64,
    /// Which are alike.
    pub reach: u8,
}

/// What came of those that are not told one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summed {
    pub head: Head,
    /// Their [`Standing`], or the [`Intent`] of which they are ends; may stand in an
    /// earlier segment. 0: it tells of transactions.
    pub intent: Back,
    /// How many were let through.
    pub times: u64,
    /// How many of them, or of the statements in their texts, ended how.
    pub endings: Vec<(u8, u64)>,
    pub failures: Vec<(Box<str>, u64)>,
    pub rows: u64,
    pub bytes: u64,
    pub latency_us: u64,
    pub masked: Vec<(Back, u64)>,
    pub seen: Vec<(Back, u64)>,
    pub would_mask: Vec<(Back, u64)>,
    pub transactions: Vec<(u8, u64)>,
}

/// What became of it, or of one of the statements in its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub head: Head,
    /// Its [`Intent`]; may stand in an earlier segment.
    pub intent: Back,
    pub index: u32,
    pub ending: u8,
    pub sqlstate: Option<Box<str>>,
    pub tag: Back,
    pub rows: u64,
    pub bytes: u64,
    pub latency_us: u64,
    /// How many cells of which class were masked.
    pub masked: Vec<(Back, u64)>,
    /// … and how many were shown in the clear.
    pub seen: Vec<(Back, u64)>,
    /// Of those that were shown, those that only the shadow kept from being masked.
    pub would_mask: Vec<(Back, u64)>,
}

/// A transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    pub head: Head,
    pub ending: u8,
    pub statements: u64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("it is of version {0}, which this tidegate doesn't know: take a newer one")]
    Version(u8),
    #[error("it is of kind {0}, which this tidegate doesn't know: take a newer one")]
    Kind(u8),
    #[error("its bytes are no record")]
    Malformed,
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident($body:ty) = $code:literal, $word:literal;)+) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Body { $($(#[$doc])* $name($body),)+ }

        impl Body {
            pub fn code(&self) -> u8 {
                match self { $(Self::$name(_) => $code,)+ }
            }

            /// As in the JSON's `kind`.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$name(_) => $word,)+ }
            }

            fn write(&self, mut payload: Vec<u8>) -> Vec<u8> {
                match self {
                    Self::Intent(intent) => intent.write(&mut payload),
                    Self::Outcome(outcome) => outcome.write(&mut payload),
                    other => return other.write_any(payload),
                }
                payload
            }

            /// As postcard has it, which the others' bytes are too.
            fn write_any(&self, payload: Vec<u8>) -> Vec<u8> {
                let written = match self { $(Self::$name(body) => postcard::to_extend(body, payload),)+ };
                // Plain data into memory: there is nothing that could fail.
                written.unwrap_or_default()
            }

            fn read(code: u8, bytes: &[u8]) -> Result<(Self, usize), RecordError> {
                match code {
                    $($code => {
                        let (body, rest) =
                            postcard::take_from_bytes(bytes).map_err(|_| RecordError::Malformed)?;
                        Ok((Self::$name(body), rest.len()))
                    })+
                    other => Err(RecordError::Kind(other)),
                }
            }
        }

        /// Every kind's number and word; two forms of one kind have the same word.
        pub const KINDS: &[(u8, &str)] = &[$(($code, $word),)+];
    };
}

bodies! {
    // What others refer to.
    Process(Box<str>) = 1, "process";
    Flow(Flow) = 2, "flow";
    Statement(Box<str>) = 3, "text";
    Words(Box<str>) = 4, "words";
    Grounds(Box<str>) = 5, "grounds";
    // A connection's life.
    Opened(Head) = 16, "opened";
    Closed(OnFlow) = 17, "closed";
    Session(OnFlow) = 18, "session";
    Renamed(OnFlow) = 19, "renamed";
    Doubted(OnFlow) = 20, "doubted";
    // Statements.
    Intent(Intent) = 32, "statement";
    Transaction(Transaction) = 34, "transaction";
    Outcome(Outcome) = 35, "outcome";
    Standing(Standing) = 36, "statement";
    Summed(Summed) = 37, "summed";
    // The agent. Recordings of sessions will have the numbers from 64 on.
    Agent(Told) = 48, "agent";
    Changed(Told) = 49, "changed";
    Read(Told) = 50, "read";
    Removed(Told) = 51, "removed";
    Flood(Told) = 52, "flood";
    Lost(Told) = 53, "lost";
    Recovered(Told) = 54, "recovered";
    Observed(Told) = 55, "observed";
    Enriched(Told) = 56, "enriched";
}

impl Body {
    /// It is there to be referred to, and tells nothing alone.
    pub fn is_definition(&self) -> bool {
        self.code() < FIRST_EVENT
    }

    pub fn head(&self) -> Option<&Head> {
        match self {
            Self::Opened(head) => Some(head),
            Self::Closed(event)
            | Self::Session(event)
            | Self::Renamed(event)
            | Self::Doubted(event) => Some(&event.head),
            Self::Intent(intent) => Some(&intent.head),
            Self::Standing(standing) => Some(&standing.intent.head),
            Self::Summed(summed) => Some(&summed.head),
            Self::Outcome(outcome) => Some(&outcome.head),
            Self::Transaction(transaction) => Some(&transaction.head),
            _ => None,
        }
    }

    /// When it happened.
    pub fn at(&self) -> Option<u64> {
        match self {
            Self::Agent(told)
            | Self::Changed(told)
            | Self::Read(told)
            | Self::Removed(told)
            | Self::Flood(told)
            | Self::Lost(told)
            | Self::Recovered(told)
            | Self::Observed(told)
            | Self::Enriched(told) => Some(told.at),
            other => other.head().map(|head| head.at),
        }
    }

    /// How far back the definitions stand that it speaks of.
    pub fn refers(&self) -> Vec<Back> {
        let mut backs = match self {
            Self::Flow(flow) => vec![flow.process],
            Self::Intent(intent) | Self::Standing(Standing { intent, .. }) => {
                vec![intent.statement, intent.grounds]
            }
            Self::Summed(summed) => {
                let classes = summed.masked.iter().chain(&summed.seen).chain(&summed.would_mask);
                classes.map(|(class, _)| *class).collect()
            }
            Self::Outcome(outcome) => {
                let classes = outcome.masked.iter().chain(&outcome.seen).chain(&outcome.would_mask);
                classes.map(|(class, _)| *class).chain([outcome.tag]).collect()
            }
            _ => Vec::new(),
        };
        backs.extend(self.head().map(|head| head.flow));
        backs.retain(|back| *back > 0);
        backs
    }
}

/// The bytes that are hashed and stored.
pub fn encode(id: RecordId, body: &Body, mut payload: Vec<u8>) -> Vec<u8> {
    payload.extend([VERSION, body.code()]);
    varint(id.writer, &mut payload);
    varint(id.position, &mut payload);
    body.write(payload)
}

pub fn decode(payload: &[u8]) -> Result<(RecordId, Body), RecordError> {
    let [version, kind, rest @ ..] = payload else { return Err(RecordError::Malformed) };
    if *version != VERSION {
        return Err(RecordError::Version(*version));
    }
    let (id, rest) = id_of(rest)?;
    let read = match *kind {
        // It ends where the list of what would have been masked stands now.
        EARLIER_OUTCOME => Body::read(OUTCOME, &[rest, &[0]].concat()),
        kind => Body::read(kind, rest),
    };
    match read? {
        (body, 0) => Ok((id, body)),
        _ => Err(RecordError::Malformed),
    }
}

/// When it happened, without the rest being read: it stands first in every body that
/// tells it.
pub fn moment(payload: &[u8]) -> Option<u64> {
    let [VERSION, kind, rest @ ..] = payload else { return None };
    let known = *kind == EARLIER_OUTCOME || KINDS.iter().any(|(code, _)| code == kind);
    if !known || *kind < FIRST_EVENT {
        return None;
    }
    let (_, body) = id_of(rest).ok()?;
    Some(postcard::take_from_bytes(body).ok()?.0)
}

/// Whose it is, also where the kind isn't known.
pub fn identify(payload: &[u8]) -> Result<(RecordId, u8), RecordError> {
    let [_, kind, rest @ ..] = payload else { return Err(RecordError::Malformed) };
    Ok((id_of(rest)?.0, *kind))
}

fn id_of(bytes: &[u8]) -> Result<(RecordId, &[u8]), RecordError> {
    let malformed = |_| RecordError::Malformed;
    let (writer, rest) = postcard::take_from_bytes(bytes).map_err(malformed)?;
    let (position, rest) = postcard::take_from_bytes(rest).map_err(malformed)?;
    Ok((RecordId { writer, position }, rest))
}

fn varint(mut number: u64, to: &mut Vec<u8>) {
    loop {
        // The low seven bits.
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return to.push(byte);
        }
        to.push(byte | 0x80);
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.position)
    }
}

impl FromStr for RecordId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('-')
            .and_then(|(writer, position)| {
                Some(Self { writer: writer.parse().ok()?, position: position.parse().ok()? })
            })
            .ok_or_else(|| {
                format!("`{text}` is not a record: two numbers joined by `-`, such as 3-1200")
            })
    }
}

impl Serialize for RecordId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Kinds before it are there to be referred to.
const FIRST_EVENT: u8 = 16;
const OUTCOME: u8 = 35;
/// Before one could say what would have been masked. It is read, and no longer written.
const EARLIER_OUTCOME: u8 = 33;
/// Of the form of payloads.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
