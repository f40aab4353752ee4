//! What can be wrong with a stream, on which side, under a stable code.

use std::fmt;

/// Whose bytes were wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Server,
    /// tidegate itself broke a rule of this room.
    Inside,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Inside => "tidegate",
        })
    }
}

/// The end of a session's understanding; after it no byte goes through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({side}): {fault}", .fault.code())]
pub struct WireError {
    pub side: Side,
    pub fault: Fault,
}

impl WireError {
    pub fn new(side: Side, fault: Fault) -> Self {
        Self { side, fault }
    }

    pub fn code(&self) -> &'static str {
        self.fault.code()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("unknown message type {}: is this PostgreSQL's protocol?", printable(*.0))]
    UnknownType(u8),
    #[error("message {} with the impossible length {length}: framing is lost", printable(*.tag))]
    Length { tag: u8, length: u32 },
    #[error("message {} of {length} bytes: the limit is {limit}", printable(*.tag))]
    TooLong { tag: u8, length: usize, limit: usize },
    #[error("malformed {message}: {what}")]
    Malformed { message: &'static str, what: &'static str },
    #[error("{what}: the limit is {limit}")]
    Limit { what: &'static str, limit: usize },
    #[error("{message} isn't allowed while {phase}")]
    OutOfPlace { message: &'static str, phase: &'static str },
    #[error("the connection ended inside a message: {missing} bytes are missing")]
    Truncated { missing: usize },
    #[error("unknown authentication request {0}")]
    UnknownAuthentication(u32),
    #[error(
        "bytes came behind the request for encryption, before it was answered: \
         somebody may be injecting plaintext into the connection"
    )]
    AheadOfEncryption,
    #[error("protocol version {major}.{minor} isn't spoken: only 3.x is")]
    UnknownVersion { major: u16, minor: u16 },
    #[error("{message} can't be written: {what}")]
    Unencodable { message: &'static str, what: &'static str },
    #[error("a request was neither released nor refused before the next one")]
    Undecided,
    #[error("the server took what stood for a refused request: the connection must not go on")]
    RefusalTaken,
    #[error("the server sent {answer} while {request} was waiting for its answer")]
    UnexpectedAnswer { answer: &'static str, request: &'static str },
    #[error(
        "the server can't prove that it knows the role's password: \
         it isn't the server it seems to be"
    )]
    Unproven,
    #[error("the server let a login pass that hadn't come to its end")]
    Unasked,
}

impl Fault {
    /// Never reused for something else.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownType(_) => "PG-0001",
            Self::Length { .. } => "PG-0002",
            Self::TooLong { .. } => "PG-0003",
            Self::Malformed { .. } => "PG-0004",
            Self::Limit { .. } => "PG-0005",
            Self::OutOfPlace { .. } => "PG-0006",
            Self::Truncated { .. } => "PG-0007",
            Self::UnknownAuthentication(_) => "PG-0008",
            Self::AheadOfEncryption => "PG-0009",
            Self::UnknownVersion { .. } => "PG-0010",
            Self::Unencodable { .. } => "PG-0011",
            Self::Undecided => "PG-0012",
            Self::RefusalTaken => "PG-0013",
            Self::UnexpectedAnswer { .. } => "PG-0014",
            Self::Unproven => "PG-0020",
            Self::Unasked => "PG-0021",
        }
    }

    pub(super) fn at(self, side: Side) -> WireError {
        WireError::new(side, self)
    }
}

fn printable(tag: u8) -> String {
    if tag.is_ascii_graphic() { format!("`{}`", char::from(tag)) } else { format!("0x{tag:02x}") }
}
