//! What is done to a sensitive value.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// It goes as it is.
    Keep,
    /// As coarse as it is still useful: the year, the network, the grid.
    Truncate,
    /// What makes it usable stays: `j•••@e•••.com`, the last four.
    Partial,
    /// The same value gives the same mark, under a key of this host's.
    Hash,
    /// Nothing of it stays.
    Redact,
    Null,
}

impl Mask {
    pub const ALL: &[Self] =
        &[Self::Keep, Self::Truncate, Self::Partial, Self::Hash, Self::Redact, Self::Null];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Truncate => "truncate",
            Self::Partial => "partial",
            Self::Hash => "hash",
            Self::Redact => "redact",
            Self::Null => "null",
        }
    }

    /// The one that shows less; what two sources of one value ask for.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        self.max(other)
    }
}

impl std::fmt::Display for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Mask {
    type Err = UnknownMask;

    fn from_str(text: &str) -> Result<Self, UnknownMask> {
        Self::ALL
            .iter()
            .copied()
            .find(|mask| mask.as_str() == text)
            .ok_or_else(|| UnknownMask(text.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no mask is called `{0}`: there are `keep`, `truncate`, `partial`, `hash`, `redact` and `null`"
)]
pub struct UnknownMask(Box<str>);

#[cfg(test)]
mod tests;
