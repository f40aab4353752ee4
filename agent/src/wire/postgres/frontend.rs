//! Every message that a client sends within a session.

use super::error::Fault;
use super::lists::{Formats16, Types32, Values};
use super::read::Reader;
use super::write::Writer;
use crate::wire::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frontend<'a> {
    Query(&'a [u8]),
    Parse(Parse<'a>),
    Bind(Bind<'a>),
    Describe(Describe<'a>),
    Execute(Execute<'a>),
    Close(Close<'a>),
    Flush,
    Sync,
    FunctionCall(FunctionCall<'a>),
    CopyData(&'a [u8]),
    CopyDone,
    CopyFail(&'a [u8]),
    /// A password, SASL or GSS message: which one depends on what was asked.
    Credential(Credential<'a>),
    Terminate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub query: &'a [u8],
    pub types: Types32<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    pub formats: Formats16<'a>,
    pub parameters: Values<'a>,
    pub result_formats: Formats16<'a>,
}

/// What Describe and Close speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Describe<'a>(pub Object<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a>(pub Object<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    pub portal: &'a [u8],
    /// The most rows to return; 0 for all.
    pub rows: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    pub function: u32,
    pub formats: Formats16<'a>,
    pub arguments: Values<'a>,
    pub result_format: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a>(pub &'a [u8]);

/// Secrets don't get into logs.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} bytes)", self.0.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaslInitial<'a> {
    pub mechanism: &'a [u8],
    pub data: Option<Credential<'a>>,
}

impl<'a> Credential<'a> {
    /// An answer to a request for a password, in the clear or hashed.
    pub fn password(self) -> Result<&'a [u8], Fault> {
        let mut reader = Reader::new("PasswordMessage", self.0);
        let password = reader.text()?;
        reader.end()?;
        Ok(password)
    }

    pub fn write_password(password: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut writer = Writer::tagged(out, "PasswordMessage", b'p');
        writer.text(password)?;
        writer.finish()
    }

    pub fn sasl_initial(self) -> Result<SaslInitial<'a>, Fault> {
        let mut reader = Reader::new("SASLInitialResponse", self.0);
        let mechanism = reader.text()?;
        let data = match reader.i32()? {
            -1 => None,
            length => {
                let length = usize::try_from(length)
                    .map_err(|_| reader.fault("a value's length is negative"))?;
                Some(Credential(reader.bytes(length)?))
            }
        };
        reader.end()?;
        Ok(SaslInitial { mechanism, data })
    }
}

impl SaslInitial<'_> {
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut writer = Writer::tagged(out, "SASLInitialResponse", b'p');
        writer.text(self.mechanism)?;
        match self.data {
            None => writer.i32(-1),
            Some(data) => writer.u32(data.0.len() as u32).bytes(data.0),
        };
        writer.finish()
    }
}

/// Writes a SASLResponse.
pub fn write_sasl_response(data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    Frontend::Credential(Credential(data)).encode(out)
}

impl<'a> Frontend<'a> {
    pub fn decode(tag: u8, body: &'a [u8], limits: &Limits) -> Result<Self, Fault> {
        let mut reader = Reader::new(name(tag), body);
        let message = match tag {
            b'Q' => Self::Query(reader.text()?),
            b'P' => Self::Parse(Parse {
                name: reader.name(limits.name)?,
                query: reader.text()?,
                types: Types32::read(&mut reader, limits)?,
            }),
            b'B' => Self::Bind(Bind {
                portal: reader.name(limits.name)?,
                statement: reader.name(limits.name)?,
                formats: Formats16::read(&mut reader, limits)?,
                parameters: Values::read(&mut reader, limits)?,
                result_formats: Formats16::read(&mut reader, limits)?,
            }),
            b'D' => Self::Describe(Describe(object(&mut reader, limits)?)),
            b'C' => Self::Close(Close(object(&mut reader, limits)?)),
            b'E' => {
                Self::Execute(Execute { portal: reader.name(limits.name)?, rows: reader.u32()? })
            }
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'F' => Self::FunctionCall(FunctionCall {
                function: reader.u32()?,
                formats: Formats16::read(&mut reader, limits)?,
                arguments: Values::read(&mut reader, limits)?,
                result_format: reader.u16()?,
            }),
            b'd' => Self::CopyData(reader.rest()),
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail(reader.text()?),
            b'p' => Self::Credential(Credential(reader.rest())),
            // Whatever stands in a Terminate: the server doesn't read it.
            b'X' => {
                reader.rest();
                Self::Terminate
            }
            other => return Err(Fault::UnknownType(other)),
        };
        reader.end()?;
        Ok(message)
    }

    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let tag = self.tag();
        let mut writer = Writer::tagged(out, name(tag), tag);
        match self {
            Self::Query(text) | Self::CopyFail(text) => {
                writer.text(text)?;
            }
            Self::Parse(parse) => {
                writer.text(parse.name)?.text(parse.query)?;
                parse.types.write(&mut writer);
            }
            Self::Bind(bind) => {
                writer.text(bind.portal)?.text(bind.statement)?;
                bind.formats.write(&mut writer);
                bind.parameters.write(&mut writer);
                bind.result_formats.write(&mut writer);
            }
            Self::Describe(Describe(object)) | Self::Close(Close(object)) => {
                match object {
                    Object::Statement(name) => writer.u8(b'S').text(name)?,
                    Object::Portal(name) => writer.u8(b'P').text(name)?,
                };
            }
            Self::Execute(execute) => {
                writer.text(execute.portal)?.u32(execute.rows);
            }
            Self::FunctionCall(call) => {
                writer.u32(call.function);
                call.formats.write(&mut writer);
                call.arguments.write(&mut writer);
                writer.u16(call.result_format);
            }
            Self::CopyData(data) | Self::Credential(Credential(data)) => {
                writer.bytes(data);
            }
            Self::Flush | Self::Sync | Self::CopyDone | Self::Terminate => {}
        }
        writer.finish()
    }

    pub fn tag(&self) -> u8 {
        match self {
            Self::Query(_) => b'Q',
            Self::Parse(_) => b'P',
            Self::Bind(_) => b'B',
            Self::Describe(_) => b'D',
            Self::Execute(_) => b'E',
            Self::Close(_) => b'C',
            Self::Flush => b'H',
            Self::Sync => b'S',
            Self::FunctionCall(_) => b'F',
            Self::CopyData(_) => b'd',
            Self::CopyDone => b'c',
            Self::CopyFail(_) => b'f',
            Self::Credential(_) => b'p',
            Self::Terminate => b'X',
        }
    }
}

fn object<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Object<'a>, Fault> {
    let kind = reader.u8()?;
    let name = reader.name(limits.name)?;
    match kind {
        b'S' => Ok(Object::Statement(name)),
        b'P' => Ok(Object::Portal(name)),
        _ => Err(reader.fault("it speaks of neither a statement nor a portal")),
    }
}

/// The name in the protocol's documentation.
pub(super) fn name(tag: u8) -> &'static str {
    match tag {
        b'Q' => "Query",
        b'P' => "Parse",
        b'B' => "Bind",
        b'D' => "Describe",
        b'E' => "Execute",
        b'C' => "Close",
        b'H' => "Flush",
        b'S' => "Sync",
        b'F' => "FunctionCall",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        b'f' => "CopyFail",
        b'p' => "PasswordMessage",
        b'X' => "Terminate",
        _ => "a message of unknown type",
    }
}
