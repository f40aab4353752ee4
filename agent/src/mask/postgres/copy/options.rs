//! How a COPY statement says its stream is written.
//!
//! INVARIANT: an option that isn't known gives nothing; then each line is taken
//! for a text.

use super::CopyStyle;

impl CopyStyle {
    /// The style of `COPY … TO STDOUT …`, by its text.
    pub fn of(statement: &str) -> Option<Self> {
        let words = words(statement);
        let out = words.windows(2).rposition(|pair| {
            matches!(pair, [Word::Plain(to), Word::Plain(stdout)] if to == "to" && stdout == "stdout")
        })?;
        let mut style = Draft::default();
        // COPY BINARY t TO STDOUT
        if matches!(words.get(1), Some(Word::Plain(word)) if word == "binary")
            && !matches!(words.get(2), Some(Word::Sign(b'.')))
            && out > 2
        {
            style.format = Format::Binary;
        }
        let mut rest = words.get(out + 2..)?;
        while let Some((word, tail)) = rest.split_first() {
            let before = rest.len();
            rest = match word {
                Word::Sign(b'(' | b')' | b',' | b';') => tail,
                Word::Plain(word) => option(word, tail, &mut style)?,
                _ => return None,
            };
            if rest.len() >= before {
                return None;
            }
        }
        style.finish()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// In small letters.
    Plain(String),
    Text(Vec<u8>),
    Sign(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Text,
    Csv,
    Binary,
}

#[derive(Debug, Default)]
struct Draft {
    format: Format,
    delimiter: Option<u8>,
    null: Option<Vec<u8>>,
    quote: Option<u8>,
    escape: Option<u8>,
    header: bool,
}

impl Draft {
    fn finish(self) -> Option<CopyStyle> {
        Some(match self.format {
            Format::Binary => CopyStyle::Binary,
            Format::Text => CopyStyle::Text {
                delimiter: self.delimiter.unwrap_or(b'\t'),
                null: self.null.unwrap_or_else(|| b"\\N".to_vec()).into(),
                header: self.header,
            },
            Format::Csv => {
                let quote = self.quote.unwrap_or(b'"');
                CopyStyle::Csv {
                    delimiter: self.delimiter.unwrap_or(b','),
                    null: self.null.unwrap_or_default().into(),
                    quote,
                    escape: self.escape.unwrap_or(quote),
                    header: self.header,
                }
            }
        })
    }
}

/// Reads one option; gives what follows it.
fn option<'w>(word: &str, tail: &'w [Word], style: &mut Draft) -> Option<&'w [Word]> {
    let tail = match tail {
        [Word::Plain(word), rest @ ..] if word == "as" => rest,
        _ => tail,
    };
    let one = |tail: &'w [Word]| match tail {
        [Word::Text(text), rest @ ..] => match text.as_slice() {
            [sign] => Some((*sign, rest)),
            _ => None,
        },
        _ => None,
    };
    match word {
        "with" | "using" => return Some(tail),
        "csv" => style.format = Format::Csv,
        "binary" => style.format = Format::Binary,
        "format" => {
            let [format, rest @ ..] = tail else { return None };
            let format = match format {
                Word::Plain(word) => word.clone(),
                Word::Text(text) => String::from_utf8_lossy(text).to_lowercase(),
                Word::Sign(_) => return None,
            };
            style.format = match format.as_str() {
                "text" => Format::Text,
                "csv" => Format::Csv,
                "binary" => Format::Binary,
                _ => return None,
            };
            return Some(rest);
        }
        "delimiter" | "delimiters" => {
            let (sign, rest) = one(tail)?;
            style.delimiter = Some(sign);
            return Some(rest);
        }
        "quote" => {
            let (sign, rest) = one(tail)?;
            style.quote = Some(sign);
            return Some(rest);
        }
        "escape" => {
            let (sign, rest) = one(tail)?;
            style.escape = Some(sign);
            return Some(rest);
        }
        "null" => {
            let [Word::Text(text), rest @ ..] = tail else { return None };
            style.null = Some(text.clone());
            return Some(rest);
        }
        "header" => {
            let (header, rest) = match tail {
                [Word::Plain(word), rest @ ..] => match word.as_str() {
                    "true" | "on" => (true, rest),
                    "false" | "off" => (false, rest),
                    // The next option of the older grammar.
                    _ => (true, tail),
                },
                _ => (true, tail),
            };
            style.header = header;
            return Some(rest);
        }
        // What is quoted beyond need; the server's and the client's encoding.
        "force" | "force_quote" => {
            if let [Word::Sign(b'*'), rest @ ..] = tail {
                return Some(rest);
            }
            let end = tail
                .iter()
                .position(|word| matches!(word, Word::Sign(b')')))
                .map_or(tail.len(), |end| end + 1);
            return tail.get(end..).filter(|_| word == "force_quote");
        }
        "encoding" => return tail.get(1..),
        _ => return None,
    }
    Some(tail)
}

fn words(statement: &str) -> Vec<Word> {
    crate::sql::tokens(statement)
        .filter_map(|(text, _)| match text.as_bytes() {
            [] => None,
            [b'\'', inner @ .., b'\''] => Some(Word::Text(unquoted(inner, false))),
            [b'e' | b'E', b'\'', inner @ .., b'\''] => Some(Word::Text(unquoted(inner, true))),
            [sign] if !sign.is_ascii_alphanumeric() => Some(Word::Sign(*sign)),
            _ => Some(Word::Plain(text.to_lowercase())),
        })
        .collect()
}

fn unquoted(inner: &[u8], escapes: bool) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut signs = inner.iter().copied();
    while let Some(sign) = signs.next() {
        match sign {
            b'\'' => {
                signs.next();
                plain.push(sign);
            }
            b'\\' if escapes => plain.push(match signs.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'r') => b'\r',
                Some(other) => other,
                None => sign,
            }),
            _ => plain.push(sign),
        }
    }
    plain
}
