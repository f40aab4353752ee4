//! Lists inside of messages: checked once as a whole, then read lazily.

use super::error::Fault;
use super::read::Reader;
use super::write::Writer;
use crate::wire::limits::Limits;

/// Format codes: 0 text, 1 binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats16<'a>(&'a [u8]);

impl<'a> Formats16<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, Fault> {
        let count = count16(reader, limits)?;
        reader.bytes(count * 2).map(Self)
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.u16(self.len() as u16).bytes(self.0);
    }

    pub fn len(self) -> usize {
        self.0.len() / 2
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = u16> + 'a {
        self.0.as_chunks().0.iter().map(|chunk| u16::from_be_bytes(*chunk))
    }
}

/// Type OIDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types32<'a>(&'a [u8]);

impl<'a> Types32<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, Fault> {
        let count = count16(reader, limits)?;
        reader.bytes(count * 4).map(Self)
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.u16(self.len() as u16).bytes(self.0);
    }

    pub fn len(self) -> usize {
        self.0.len() / 4
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0.as_chunks().0.iter().map(|chunk| u32::from_be_bytes(*chunk))
    }
}

/// Values with their lengths: a row's cells, a Bind's parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, Fault> {
        let count = count16(reader, limits)?;
        let before = *reader;
        for _ in 0..count {
            value(reader)?;
        }
        Ok(Self { count, bytes: reader.since(&before) })
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.u16(self.count as u16).bytes(self.bytes);
    }

    pub fn len(self) -> usize {
        self.count
    }

    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// `None` is NULL.
    pub fn iter(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let mut reader = Reader::new("values", self.bytes);
        (0..self.count).map_while(move |_| value(&mut reader).ok())
    }
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Fault> {
    match reader.i32()? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) => reader.bytes(length).map(Some),
            Err(_) => Err(reader.fault("a value's length is negative")),
        },
    }
}

/// Strings up to the end of the message or an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strings<'a> {
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// `count` strings.
    pub(super) fn read(reader: &mut Reader<'a>, count: usize) -> Result<Self, Fault> {
        let before = *reader;
        for _ in 0..count {
            reader.text()?;
        }
        Ok(Self { bytes: reader.since(&before) })
    }

    /// Strings up to an empty one, which is taken but isn't part of it.
    pub(super) fn read_to_empty(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let before = *reader;
        loop {
            let list = reader.since(&before);
            if reader.text()?.is_empty() {
                return Ok(Self { bytes: list });
            }
        }
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.bytes(self.bytes);
    }

    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new("strings", self.bytes);
        std::iter::from_fn(move || reader.text().ok())
    }
}

/// One column of a result, as the server describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    pub name: &'a [u8],
    /// The table it comes from, or 0.
    pub table: u32,
    /// Its attribute number there, or 0.
    pub attribute: i16,
    pub type_oid: u32,
    pub type_size: i16,
    pub modifier: i32,
    pub format: u16,
}

/// RowDescription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Columns<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, Fault> {
        let count = count16(reader, limits)?;
        let before = *reader;
        for _ in 0..count {
            column(reader)?;
        }
        Ok(Self { count, bytes: reader.since(&before) })
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.u16(self.count as u16).bytes(self.bytes);
    }

    /// Of bytes that were checked before.
    pub(super) fn checked(count: usize, bytes: &'a [u8]) -> Self {
        Self { count, bytes }
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn len(self) -> usize {
        self.count
    }

    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Column<'a>> {
        let mut reader = Reader::new("RowDescription", self.bytes);
        (0..self.count).map_while(move |_| column(&mut reader).ok())
    }
}

fn column<'a>(reader: &mut Reader<'a>) -> Result<Column<'a>, Fault> {
    Ok(Column {
        name: reader.text()?,
        table: reader.u32()?,
        attribute: reader.u16()?.cast_signed(),
        type_oid: reader.u32()?,
        type_size: reader.u16()?.cast_signed(),
        modifier: reader.i32()?,
        format: reader.u16()?,
    })
}

fn count16(reader: &mut Reader<'_>, limits: &Limits) -> Result<usize, Fault> {
    let count = usize::from(reader.u16()?);
    if count > limits.values {
        return Err(Fault::Limit { what: "too many values in a message", limit: limits.values });
    }
    Ok(count)
}
