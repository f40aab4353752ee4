//! Every message that a server sends.

use super::error::Fault;
use super::fields::Fields;
use super::lists::{Columns, Formats16, Strings, Types32, Values};
use super::opening::check_secret;
use super::read::Reader;
use super::write::Writer;
use crate::wire::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend<'a> {
    Authentication(Authentication<'a>),
    NegotiateProtocolVersion(Negotiation<'a>),
    BackendKeyData(BackendKey<'a>),
    ParameterStatus(Parameter<'a>),
    ReadyForQuery(Transaction),
    ParseComplete,
    BindComplete,
    CloseComplete,
    ParameterDescription(Types32<'a>),
    RowDescription(Columns<'a>),
    NoData,
    DataRow(Values<'a>),
    CommandComplete(&'a [u8]),
    EmptyQueryResponse,
    PortalSuspended,
    ErrorResponse(Fields<'a>),
    NoticeResponse(Fields<'a>),
    NotificationResponse(Notification<'a>),
    FunctionCallResponse(Option<&'a [u8]>),
    CopyInResponse(CopyResponse<'a>),
    CopyOutResponse(CopyResponse<'a>),
    CopyBothResponse(CopyResponse<'a>),
    CopyData(&'a [u8]),
    CopyDone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    Ok,
    KerberosV5,
    Cleartext,
    Crypt { salt: [u8; 2] },
    Md5 { salt: [u8; 4] },
    ScmCredential,
    Gss,
    GssContinue(&'a [u8]),
    Sspi,
    Sasl { mechanisms: Strings<'a> },
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiation<'a> {
    /// The newest version that the server speaks.
    pub newest: u32,
    pub unknown: Strings<'a>,
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKey<'a> {
    pub process: u32,
    pub secret: &'a [u8],
}

impl std::fmt::Debug for BackendKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackendKey(process {}, {} bytes)", self.process, self.secret.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The transaction's state as ReadyForQuery says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transaction {
    Idle,
    Open,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    pub process: u32,
    pub channel: &'a [u8],
    pub payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// 0 text, 1 binary.
    pub format: u8,
    pub columns: Formats16<'a>,
}

impl<'a> Backend<'a> {
    pub fn decode(tag: u8, body: &'a [u8], limits: &Limits) -> Result<Self, Fault> {
        let mut reader = Reader::new(name(tag), body);
        let message = match tag {
            b'R' => Self::Authentication(authentication(&mut reader)?),
            b'v' => {
                let (newest, count) = (reader.u32()?, reader.u32()?);
                let unknown = Strings::read(&mut reader, count as usize)?;
                Self::NegotiateProtocolVersion(Negotiation { newest, unknown, count })
            }
            b'K' => {
                let key = BackendKey { process: reader.u32()?, secret: reader.rest() };
                check_secret(key.secret)?;
                Self::BackendKeyData(key)
            }
            b'S' => Self::ParameterStatus(Parameter {
                name: reader.name(limits.name)?,
                value: reader.text()?,
            }),
            b'Z' => Self::ReadyForQuery(match reader.u8()? {
                b'I' => Transaction::Idle,
                b'T' => Transaction::Open,
                b'E' => Transaction::Failed,
                _ => return Err(reader.fault("an unknown transaction state")),
            }),
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b't' => Self::ParameterDescription(Types32::read(&mut reader, limits)?),
            b'T' => Self::RowDescription(Columns::read(&mut reader, limits)?),
            b'n' => Self::NoData,
            b'D' => Self::DataRow(Values::read(&mut reader, limits)?),
            b'C' => Self::CommandComplete(reader.text()?),
            b'I' => Self::EmptyQueryResponse,
            b's' => Self::PortalSuspended,
            b'E' => Self::ErrorResponse(Fields::read(&mut reader, limits)?),
            b'N' => Self::NoticeResponse(Fields::read(&mut reader, limits)?),
            b'A' => Self::NotificationResponse(Notification {
                process: reader.u32()?,
                channel: reader.text()?,
                payload: reader.text()?,
            }),
            b'V' => Self::FunctionCallResponse(match reader.i32()? {
                -1 => None,
                length => Some(
                    reader.bytes(
                        usize::try_from(length)
                            .map_err(|_| reader.fault("a value's length is negative"))?,
                    )?,
                ),
            }),
            b'G' => Self::CopyInResponse(copy(&mut reader, limits)?),
            b'H' => Self::CopyOutResponse(copy(&mut reader, limits)?),
            b'W' => Self::CopyBothResponse(copy(&mut reader, limits)?),
            b'd' => Self::CopyData(reader.rest()),
            b'c' => Self::CopyDone,
            other => return Err(Fault::UnknownType(other)),
        };
        reader.end()?;
        Ok(message)
    }

    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let tag = self.tag();
        let mut writer = Writer::tagged(out, name(tag), tag);
        match self {
            Self::Authentication(authentication) => authentication.write(&mut writer),
            Self::NegotiateProtocolVersion(negotiation) => {
                writer.u32(negotiation.newest).u32(negotiation.count);
                negotiation.unknown.write(&mut writer);
            }
            Self::BackendKeyData(key) => {
                writer.u32(key.process).bytes(key.secret);
            }
            Self::ParameterStatus(parameter) => {
                writer.text(parameter.name)?.text(parameter.value)?;
            }
            Self::ReadyForQuery(transaction) => {
                writer.u8(match transaction {
                    Transaction::Idle => b'I',
                    Transaction::Open => b'T',
                    Transaction::Failed => b'E',
                });
            }
            Self::ParameterDescription(types) => types.write(&mut writer),
            Self::RowDescription(columns) => columns.write(&mut writer),
            Self::DataRow(values) => values.write(&mut writer),
            Self::CommandComplete(tag) => {
                writer.text(tag)?;
            }
            Self::ErrorResponse(fields) | Self::NoticeResponse(fields) => {
                fields.write(&mut writer);
            }
            Self::NotificationResponse(notification) => {
                writer.u32(notification.process);
                writer.text(notification.channel)?.text(notification.payload)?;
            }
            Self::FunctionCallResponse(None) => {
                writer.i32(-1);
            }
            Self::FunctionCallResponse(Some(value)) => {
                writer.u32(value.len() as u32).bytes(value);
            }
            Self::CopyInResponse(copy)
            | Self::CopyOutResponse(copy)
            | Self::CopyBothResponse(copy) => {
                writer.u8(copy.format);
                copy.columns.write(&mut writer);
            }
            Self::CopyData(data) => {
                writer.bytes(data);
            }
            Self::ParseComplete
            | Self::BindComplete
            | Self::CloseComplete
            | Self::NoData
            | Self::EmptyQueryResponse
            | Self::PortalSuspended
            | Self::CopyDone => {}
        }
        writer.finish()
    }

    pub fn tag(&self) -> u8 {
        match self {
            Self::Authentication(_) => b'R',
            Self::NegotiateProtocolVersion(_) => b'v',
            Self::BackendKeyData(_) => b'K',
            Self::ParameterStatus(_) => b'S',
            Self::ReadyForQuery(_) => b'Z',
            Self::ParseComplete => b'1',
            Self::BindComplete => b'2',
            Self::CloseComplete => b'3',
            Self::ParameterDescription(_) => b't',
            Self::RowDescription(_) => b'T',
            Self::NoData => b'n',
            Self::DataRow(_) => b'D',
            Self::CommandComplete(_) => b'C',
            Self::EmptyQueryResponse => b'I',
            Self::PortalSuspended => b's',
            Self::ErrorResponse(_) => b'E',
            Self::NoticeResponse(_) => b'N',
            Self::NotificationResponse(_) => b'A',
            Self::FunctionCallResponse(_) => b'V',
            Self::CopyInResponse(_) => b'G',
            Self::CopyOutResponse(_) => b'H',
            Self::CopyBothResponse(_) => b'W',
            Self::CopyData(_) => b'd',
            Self::CopyDone => b'c',
        }
    }
}

impl Authentication<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Ok => writer.u32(0),
            Self::KerberosV5 => writer.u32(2),
            Self::Cleartext => writer.u32(3),
            Self::Crypt { salt } => writer.u32(4).bytes(salt),
            Self::Md5 { salt } => writer.u32(5).bytes(salt),
            Self::ScmCredential => writer.u32(6),
            Self::Gss => writer.u32(7),
            Self::GssContinue(data) => writer.u32(8).bytes(data),
            Self::Sspi => writer.u32(9),
            Self::Sasl { mechanisms } => {
                writer.u32(10);
                mechanisms.write(writer);
                writer.u8(0)
            }
            Self::SaslContinue(data) => writer.u32(11).bytes(data),
            Self::SaslFinal(data) => writer.u32(12).bytes(data),
        };
    }

    /// Writes an offer of these mechanisms.
    pub fn write_sasl<'m>(
        mechanisms: impl IntoIterator<Item = &'m [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut writer = Writer::tagged(out, name(b'R'), b'R');
        writer.u32(10);
        for mechanism in mechanisms {
            writer.text(mechanism)?;
        }
        writer.u8(0);
        writer.finish()
    }
}

fn authentication<'a>(reader: &mut Reader<'a>) -> Result<Authentication<'a>, Fault> {
    Ok(match reader.u32()? {
        0 => Authentication::Ok,
        2 => Authentication::KerberosV5,
        3 => Authentication::Cleartext,
        4 => Authentication::Crypt { salt: [reader.u8()?, reader.u8()?] },
        5 => Authentication::Md5 { salt: reader.u32()?.to_be_bytes() },
        6 => Authentication::ScmCredential,
        7 => Authentication::Gss,
        8 => Authentication::GssContinue(reader.rest()),
        9 => Authentication::Sspi,
        10 => Authentication::Sasl { mechanisms: Strings::read_to_empty(reader)? },
        11 => Authentication::SaslContinue(reader.rest()),
        12 => Authentication::SaslFinal(reader.rest()),
        unknown => return Err(Fault::UnknownAuthentication(unknown)),
    })
}

fn copy<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<CopyResponse<'a>, Fault> {
    Ok(CopyResponse { format: reader.u8()?, columns: Formats16::read(reader, limits)? })
}

/// The name in the protocol's documentation.
pub(super) fn name(tag: u8) -> &'static str {
    match tag {
        b'R' => "Authentication",
        b'v' => "NegotiateProtocolVersion",
        b'K' => "BackendKeyData",
        b'S' => "ParameterStatus",
        b'Z' => "ReadyForQuery",
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b't' => "ParameterDescription",
        b'T' => "RowDescription",
        b'n' => "NoData",
        b'D' => "DataRow",
        b'C' => "CommandComplete",
        b'I' => "EmptyQueryResponse",
        b's' => "PortalSuspended",
        b'E' => "ErrorResponse",
        b'N' => "NoticeResponse",
        b'A' => "NotificationResponse",
        b'V' => "FunctionCallResponse",
        b'G' => "CopyInResponse",
        b'H' => "CopyOutResponse",
        b'W' => "CopyBothResponse",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        _ => "a message of unknown type",
    }
}
