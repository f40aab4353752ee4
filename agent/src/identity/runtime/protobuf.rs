//! As much of Protocol Buffers as a few fields of a few messages need.

use super::AnswerError;

/// A message that is written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// With a field that is text, or a message of its own.
    pub fn with(mut self, field: u8, content: &[u8]) -> Self {
        // Fields up to 15 have a key of one byte.
        self.0.push(field << 3 | LENGTH_DELIMITED);
        let mut length = content.len();
        while length > 0x7f {
            self.0.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
        self.0.extend_from_slice(content);
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Goes through a message's fields that are texts, bytes or messages.
pub(super) fn each<'b>(
    mut bytes: &'b [u8],
    mut seen: impl FnMut(u64, &'b [u8]) -> Result<(), AnswerError>,
) -> Result<(), AnswerError> {
    while !bytes.is_empty() {
        let key = number(&mut bytes)?;
        let skipped = match (key & 7) as u8 {
            NUMBER => {
                number(&mut bytes)?;
                continue;
            }
            EIGHT_BYTES => 8,
            FOUR_BYTES => 4,
            LENGTH_DELIMITED => {
                let length = number(&mut bytes)?;
                let length = usize::try_from(length).map_err(|_| AnswerError::NotDescribed)?;
                let (content, rest) =
                    bytes.split_at_checked(length).ok_or(AnswerError::NotDescribed)?;
                bytes = rest;
                seen(key >> 3, content)?;
                continue;
            }
            // Groups, which nobody writes any more.
            _ => return Err(AnswerError::NotDescribed),
        };
        bytes = bytes.get(skipped..).ok_or(AnswerError::NotDescribed)?;
    }
    Ok(())
}

/// A text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, AnswerError> {
    std::str::from_utf8(bytes).map_err(|_| AnswerError::NotDescribed)
}

/// An entry of a map of texts.
pub(super) fn pair(bytes: &[u8]) -> Result<(&str, &str), AnswerError> {
    let mut pair = ("", "");
    each(bytes, |field, content| {
        match field {
            1 => pair.0 = text(content)?,
            2 => pair.1 = text(content)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(pair)
}

fn number(bytes: &mut &[u8]) -> Result<u64, AnswerError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(AnswerError::NotDescribed)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(AnswerError::NotDescribed)
}

const NUMBER: u8 = 0;
const EIGHT_BYTES: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FOUR_BYTES: u8 = 5;
