//! The fields of ErrorResponse and NoticeResponse.

use super::error::Fault;
use super::read::Reader;
use super::write::Writer;
use crate::wire::limits::Limits;

/// One field: its code and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub code: u8,
    pub text: &'a [u8],
}

impl Field<'_> {
    pub const SEVERITY: u8 = b'S';
    /// The severity that isn't translated; servers before 9.6 don't send it.
    pub const PLAIN_SEVERITY: u8 = b'V';
    pub const SQLSTATE: u8 = b'C';
    pub const MESSAGE: u8 = b'M';
    pub const DETAIL: u8 = b'D';
    pub const HINT: u8 = b'H';
}

/// All fields of a message, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, Fault> {
        let before = *reader;
        let mut count = 0;
        loop {
            let fields = reader.since(&before);
            if reader.u8()? == 0 {
                return Ok(Self(fields));
            }
            reader.text()?;
            count += 1;
            if count > limits.fields {
                return Err(Fault::Limit { what: "too many fields", limit: limits.fields });
            }
        }
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.bytes(self.0).u8(0);
    }

    pub fn iter(self) -> impl Iterator<Item = Field<'a>> {
        let mut reader = Reader::new("fields", self.0);
        std::iter::from_fn(move || {
            Some(Field { code: reader.u8().ok()?, text: reader.text().ok()? })
        })
    }

    pub fn field(self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|field| field.code == code).map(|field| field.text)
    }

    pub fn sqlstate(self) -> Option<&'a [u8]> {
        self.field(Field::SQLSTATE)
    }

    /// Whether the server ends the session with it.
    pub fn is_fatal(self) -> bool {
        let severity = self.field(Field::PLAIN_SEVERITY).or_else(|| self.field(Field::SEVERITY));
        matches!(severity, Some(b"FATAL" | b"PANIC"))
    }
}

/// Writes an ErrorResponse of these fields. A NUL in a text can't be carried
/// and is left out.
pub fn write_error<'f>(
    fields: impl IntoIterator<Item = Field<'f>>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    write(Writer::tagged(out, "ErrorResponse", b'E'), fields)
}

/// Writes a NoticeResponse in the same way.
pub fn write_notice<'f>(
    fields: impl IntoIterator<Item = Field<'f>>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    write(Writer::tagged(out, "NoticeResponse", b'N'), fields)
}

fn write<'f>(
    mut writer: Writer<'_>,
    fields: impl IntoIterator<Item = Field<'f>>,
) -> Result<(), Fault> {
    for Field { code, text } in fields {
        writer.u8(code);
        for part in text.split(|&byte| byte == 0) {
            writer.bytes(part);
        }
        writer.u8(0);
    }
    writer.u8(0);
    writer.finish()
}
