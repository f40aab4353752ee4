//! Under which settings of the session the server will read a text. Part of
//! every cache key: the same bytes mean something else under other settings.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LexingState {
    /// `client_encoding`.
    pub encoding: Encoding,
    /// `standard_conforming_strings`.
    pub strings: Strings,
    /// `search_path` as the server shows it; `None` while it is the default.
    pub search_path: Option<Box<str>>,
    /// The server's major version; `None` while unknown, then the strictest of
    /// all versions' readings is taken.
    pub server_major: Option<u16>,
}

/// Whether a backslash escapes in a plain string literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strings {
    /// It doesn't (`standard_conforming_strings = on`).
    Standard,
    /// It does (`off`).
    Escaping,
    /// A change is under way: what both readings agree on is read.
    Uncertain,
}

/// Character sets by what they mean for reading a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    Utf8,
    /// No conversion: bytes go to the parser as they are.
    SqlAscii,
    Latin1,
    /// Bytes below 0x80 are always ASCII characters.
    Superset(Box<str>),
    /// A byte below 0x80 may be the second half of a character.
    Overlapping(Box<str>),
}

impl Default for LexingState {
    fn default() -> Self {
        Self {
            encoding: Encoding::Utf8,
            strings: Strings::Standard,
            search_path: None,
            server_major: None,
        }
    }
}

impl LexingState {
    /// Whether an unqualified name that is both the server's own and somebody
    /// else's means the server's own: not once the path names `pg_catalog`
    /// anywhere but first.
    pub fn catalog_first(&self) -> bool {
        let Some(path) = &self.search_path else { return true };
        let mut position = 0;
        let mut name = String::new();
        let mut quoted = false;
        for c in path.chars().chain([',']) {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => {
                    if name == "pg_catalog" && position > 0 {
                        return false;
                    }
                    position += 1;
                    name.clear();
                }
                c if quoted => name.push(c),
                c if c.is_whitespace() => {}
                c => name.extend(c.to_lowercase()),
            }
        }
        // An open quote: not a path that a server would show.
        !quoted
    }

    /// Whether the server is known to be of this major version or later.
    pub fn at_least(&self, major: u16) -> bool {
        self.server_major.is_some_and(|server| server >= major)
    }
}

impl Encoding {
    /// By PostgreSQL's names, as in `client_encoding`.
    pub fn named(name: &str) -> Self {
        let plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        match plain.as_str() {
            "utf8" | "unicode" => Self::Utf8,
            "sqlascii" => Self::SqlAscii,
            "latin1" | "iso88591" => Self::Latin1,
            // SHIFT_JIS_2004 is not in here on purpose.
            "eucjp" | "euccn" | "euckr" | "euctw" | "eucjis2004" | "muleinternal" | "koi8"
            | "koi8r" | "koi8u" | "abc" | "alt" | "win" | "tcvn" | "tcvn5712" | "vscii" => {
                Self::Superset(plain.into())
            }
            other
                if ["latin", "iso8859", "win", "windows"]
                    .iter()
                    .filter_map(|family| other.strip_prefix(family))
                    .any(|number| {
                        number.parse::<u16>().is_ok_and(|n| {
                            // Code pages 932, 936, 949 and 950 overlap.
                            !(900..1000).contains(&n)
                        })
                    }) =>
            {
                Self::Superset(plain.into())
            }
            _ => Self::Overlapping(plain.into()),
        }
    }
}

#[cfg(test)]
mod tests;
