//! The packets before a session: they have a length and no type.

use std::fmt;

use super::error::Fault;
use super::read::Reader;
use super::write::Writer;
use crate::wire::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a client can open a connection with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// A TLS handshake without asking first. No byte of it was taken.
    DirectTls,
    TlsRequest,
    GssRequest,
    Cancel(CancelRequest<'a>),
    Startup(Startup<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    pub process: u32,
    /// 4 bytes in 3.0, up to 256 in 3.2.
    pub secret: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startup<'a> {
    pub version: Version,
    parameters: &'a [u8],
}

impl<'a> Opening<'a> {
    /// `body` is what follows the length.
    pub fn decode(body: &'a [u8], limits: &Limits) -> Result<Self, Fault> {
        let mut reader = Reader::new("startup packet", body);
        let code = reader.u32()?;
        let opening = match code {
            TLS_REQUEST => Self::TlsRequest,
            GSS_REQUEST => Self::GssRequest,
            CANCEL_REQUEST => {
                let process = reader.u32()?;
                let secret = reader.rest();
                check_secret(secret)?;
                Self::Cancel(CancelRequest { process, secret })
            }
            version => {
                let version = Version { major: (version >> 16) as u16, minor: version as u16 };
                if version.major != 3 {
                    let Version { major, minor } = version;
                    return Err(Fault::UnknownVersion { major, minor });
                }
                let before = reader;
                let parameters = loop {
                    let list = reader.since(&before);
                    if reader.name(limits.name)?.is_empty() {
                        break list;
                    }
                    reader.text()?;
                };
                Self::Startup(Startup { version, parameters })
            }
        };
        reader.end()?;
        Ok(opening)
    }

    /// Writes the packet with its length; `DirectTls` is none.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::DirectTls => {
                Err(Fault::Unencodable { message: "a TLS handshake", what: "it is no packet" })
            }
            Self::TlsRequest => write_request(TLS_REQUEST, out),
            Self::GssRequest => write_request(GSS_REQUEST, out),
            Self::Cancel(cancel) => write_cancel(cancel, out),
            Self::Startup(startup) => {
                let mut writer = Writer::untagged(out, "StartupMessage");
                let Version { major, minor } = startup.version;
                writer.u16(major).u16(minor).bytes(startup.parameters).u8(0);
                writer.finish()
            }
        }
    }
}

impl<'a> Startup<'a> {
    /// Names and values in the order sent. The server takes the last of equals.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut reader = Reader::new("StartupMessage", self.parameters);
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            Some((reader.text().ok()?, reader.text().ok()?))
        })
    }

    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.parameters().filter(|(known, _)| *known == name).last().map(|(_, value)| value)
    }

    /// Who logs in, as far as the server reads it.
    pub fn user(&self) -> &'a [u8] {
        cut(self.parameter(b"user").unwrap_or_default())
    }

    /// Which database it is to be, likewise: one without a name is the user's.
    pub fn database(&self) -> &'a [u8] {
        match self.parameter(b"database") {
            None | Some(b"") => self.user(),
            Some(name) => cut(name),
        }
    }

    /// Whether this is to be a replication connection, in the server's words
    /// for true, or `database`.
    pub fn replication(&self) -> bool {
        let Some(value) = self.parameter(b"replication") else { return false };
        let value = value.to_ascii_lowercase();
        !matches!(
            value.as_slice(),
            b"" | b"0" | b"f" | b"fa" | b"fal" | b"fals" | b"false" | b"n" | b"no" | b"of" | b"off"
        )
    }

    /// Writes a StartupMessage with other parameters.
    pub fn write<'p>(
        version: Version,
        parameters: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut writer = Writer::untagged(out, "StartupMessage");
        writer.u16(version.major).u16(version.minor);
        for (name, value) in parameters {
            writer.text(name)?;
            writer.text(value)?;
        }
        writer.u8(0);
        writer.finish()
    }
}

/// The server's answer to a request for TLS or GSS encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsAnswer {
    Tls,
    Gss,
    No,
    /// An ErrorResponse of a server that doesn't know the request.
    Error,
}

impl TlsAnswer {
    pub fn decode(byte: u8) -> Result<Self, Fault> {
        match byte {
            b'S' => Ok(Self::Tls),
            b'G' => Ok(Self::Gss),
            b'N' => Ok(Self::No),
            b'E' => Ok(Self::Error),
            other => Err(Fault::UnknownType(other)),
        }
    }
}

/// A packet that is nothing but its code.
pub fn write_request(code: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut writer = Writer::untagged(out, "encryption request");
    writer.u32(code);
    writer.finish()
}

pub fn write_cancel(cancel: &CancelRequest<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    check_secret(cancel.secret)?;
    let mut writer = Writer::untagged(out, "CancelRequest");
    writer.u32(CANCEL_REQUEST).u32(cancel.process).bytes(cancel.secret);
    writer.finish()
}

/// A cancel key's secret has 4 to 256 bytes.
pub(super) fn check_secret(secret: &[u8]) -> Result<(), Fault> {
    if (4..=256).contains(&secret.len()) {
        Ok(())
    } else {
        Err(Fault::Malformed { message: "cancel key", what: "it has not 4 to 256 bytes" })
    }
}

/// What the server keeps of a name. Versions that don't cut know none that is longer.
fn cut(name: &[u8]) -> &[u8] {
    name.get(..KEPT).unwrap_or(name)
}

/// In bytes.
pub(super) const KEPT: usize = 63;
const CANCEL_REQUEST: u32 = 80_877_102;
pub const TLS_REQUEST: u32 = 80_877_103;
pub const GSS_REQUEST: u32 = 80_877_104;
