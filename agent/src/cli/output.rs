//! How commands speak: data on stdout in one of five forms, all else on
//! stderr.
//!
//! INVARIANT: nothing that came from a process, a file or a network reaches a
//! terminal before [`text::safe`] (or, in JSON and YAML, its escapes) has
//! taken the characters out of it that a terminal obeys.

mod json;
mod table;
mod text;
mod yaml;

use std::io::{self, BufWriter, StdoutLock, Write};

use clap::ValueEnum;
use serde::Serialize;

pub use json::{compact, pretty};
pub use table::{Cell, Table};
pub use text::{ago, bytes, safe, span};
pub use yaml::write as yaml;

/// The form of the data on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; fits the terminal
    Table,
    /// For people, with everything
    Wide,
    /// One JSON document
    Json,
    /// One JSON document a line
    Jsonl,
    /// The same as YAML
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

/// What is known of where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Columns of the terminal; `None`: not a terminal, nothing is cut.
    pub width: Option<usize>,
    pub colour: bool,
}

impl Page {
    /// Of stdout. `NO_COLOR` (set to anything) and a dumb terminal are heeded.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        let terminal = rustix::termios::isatty(&stdout);
        let width = terminal
            .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
            .flatten()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { width, colour: terminal && !no_colour && !dumb }
    }

    pub fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Plain => return text.into(),
            Colour::Bold => 1,
            Colour::Dim => 2,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// Buffered stdout.
pub fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Writes one document in one of the three forms for machines.
pub fn document(format: Format, value: &impl Serialize) -> io::Result<()> {
    let mut out = stdout();
    match format {
        Format::Yaml => out.write_all(yaml(&json::value(value)?).as_bytes())?,
        Format::Jsonl => writeln!(out, "{}", compact(value)?)?,
        _ => writeln!(out, "{}", pretty(value)?)?,
    }
    out.flush()
}

#[cfg(test)]
mod tests;
