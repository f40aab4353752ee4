//! One JSON object a line, and no line without an end.

use std::io::{self, BufRead, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ControlError;

/// The next line's object; `None` at the end.
pub(super) fn read<T: DeserializeOwned>(
    reader: &mut impl BufRead,
    longest: usize,
) -> Result<Option<T>, ControlError> {
    let mut line = Vec::new();
    let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|error| {
        match error.kind() {
            // A timeout of the socket's.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ControlError::Silent,
            io::ErrorKind::ConnectionReset => ControlError::Ended,
            _ => ControlError::Io(error),
        }
    })?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| ControlError::Malformed(error.to_string())),
        Some(_) if line.len() >= longest => Err(ControlError::TooLong(longest)),
        Some(_) => Err(ControlError::Ended),
    }
}

pub(super) fn write<T: Serialize>(
    writer: &mut impl Write,
    value: &T,
    longest: usize,
) -> Result<(), ControlError> {
    let mut line =
        serde_json::to_vec(value).map_err(|error| ControlError::Malformed(error.to_string()))?;
    if line.len() >= longest {
        return Err(ControlError::TooLong(longest));
    }
    line.push(b'\n');
    writer.write_all(&line)?;
    Ok(())
}
