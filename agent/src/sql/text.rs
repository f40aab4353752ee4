//! Bytes → the text that the grammar reads, exactly as the server will read it, or
//! a doubt. Knows of character sets, NULs and the two readings of a backslash.
//!
//! INVARIANT: where bytes could be read in two ways and it isn't known which one
//! the server takes, the answer is a doubt.

use std::borrow::Cow;

use super::facts::Doubt;
use super::lexer;
use super::state::{Encoding, LexingState, Strings};

/// A text as a parser for UTF-8 and `standard_conforming_strings = on` takes it.
#[derive(Debug)]
pub struct Readable<'t> {
    pub text: Cow<'t, str>,
    /// Byte positions are those of the original.
    pub in_place: bool,
}

/// Never looks at more than `limit` bytes.
pub fn readable<'t>(
    bytes: &'t [u8],
    state: &LexingState,
    limit: usize,
    deepest: usize,
) -> Result<Readable<'t>, Doubt> {
    if bytes.len() > limit {
        return Err(Doubt::TooLong { bytes: bytes.len() as u64, limit: limit as u64 });
    }
    if bytes.contains(&0) {
        return Err(Doubt::Nul);
    }
    let text = decode(bytes, &state.encoding)?;
    let weight = lexer::weigh(&text, state.strings);
    if weight.unterminated {
        return Err(Doubt::Unparsable("a string, a name or a comment has no end".into()));
    }
    // The grammar's lexer looks at such a run from each of its characters anew.
    if weight.operator_run > LONGEST_RUN {
        return Err(Doubt::TooComplex);
    }
    // Before the grammar sees it: brackets alone make no tree, hence the margin.
    if weight.nesting / 4 > deepest {
        return Err(Doubt::TooDeep);
    }
    if weight.foreign_names && !matches!(state.encoding, Encoding::Utf8 | Encoding::Latin1) {
        return Err(Doubt::Names);
    }
    let text = match state.strings {
        Strings::Standard => text,
        // Without a backslash in a plain string both readings are one.
        _ if !weight.backslash => text,
        Strings::Escaping => Cow::Owned(lexer::standardised(&text)),
        Strings::Uncertain => return Err(Doubt::Strings),
    };
    let text = if weight.raw_run > LONGEST_RUN {
        lexer::without_comments(&text).map_or(text, Cow::Owned)
    } else {
        text
    };
    let in_place = matches!(text, Cow::Borrowed(_));
    Ok(Readable { text, in_place })
}

/// The text as far as it can be read. One that is long and well written is looked at many
/// bytes at a time.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Of characters such as `+` and `/` in a row.
const LONGEST_RUN: usize = 256;

fn decode<'t>(bytes: &'t [u8], encoding: &Encoding) -> Result<Cow<'t, str>, Doubt> {
    match (std::str::from_utf8(bytes), encoding) {
        (Ok(text), Encoding::Utf8 | Encoding::SqlAscii) => Ok(Cow::Borrowed(text)),
        (Ok(text), _) if text.is_ascii() => Ok(Cow::Borrowed(text)),
        (_, Encoding::Overlapping(name)) => Err(Doubt::Encoding(name.clone())),
        // Exact for Latin 1. For the other supersets only the shape counts: names
        // with such characters are refused by the caller, and what a string holds
        // is nowhere reported.
        (_, Encoding::Latin1 | Encoding::Superset(_)) => {
            Ok(Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()))
        }
        (Err(_), Encoding::Utf8 | Encoding::SqlAscii) => Err(Doubt::NotUtf8),
    }
}

#[cfg(test)]
mod tests;
