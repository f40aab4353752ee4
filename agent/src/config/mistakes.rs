//! What is wrong with the settings, and where.

use std::fmt;
use std::ops::Range;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A flag, with its environment variable, or a file as a whole.
    Named(String),
    /// Line and column count from 1, the column in characters.
    Line { file: String, line: usize, column: usize },
}

impl Place {
    /// Where in a file's text something stands; without that, the file as a whole.
    pub fn at(text: &str, file: &str, span: Option<Range<usize>>) -> Self {
        let Some(before) = span.and_then(|span| text.get(..span.start)) else {
            return Self::Named(file.into());
        };
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self::Line { file: file.into(), line, column }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub place: Place,
    pub text: String,
}

/// All of them, in the order of the lines. Never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub fn one(place: Place, text: String) -> Self {
        Self(vec![Mistake { place, text }])
    }

    pub fn add(&mut self, place: Place, text: impl Into<String>) {
        self.0.push(Mistake { place, text: text.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }

    /// By place, each once.
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort();
        self.0.dedup();
        self
    }
}

impl Place {
    /// As another place's message refers to it.
    pub(super) fn beside(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Line { line, .. } => format!("line {line}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
