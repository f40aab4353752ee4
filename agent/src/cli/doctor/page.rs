//! The examination as a page for people.

use std::io::{self, Write};

use super::{Check, Coverage, Examination, Reach, Verdict};
use crate::cli::output::{Colour, Page, safe};

/// Text is broken here where the terminal doesn't say.
const WIDTH: usize = 100;

pub(super) fn write(
    out: &mut impl Write,
    page: Page,
    examination: &Examination,
    all: bool,
) -> io::Result<()> {
    for check in &examination.checks {
        write_check(out, page, check)?;
    }
    writeln!(out, "\n{}", page.paint(Colour::Bold, "What the agent reaches on this host"))?;
    for coverage in &examination.coverage {
        write_coverage(out, page, coverage, all)?;
    }
    let (text, colour) = match examination.fit {
        Some(true) => ("this host can carry the agent", Colour::Green),
        Some(false) => ("this host can't carry the agent: see `fail` above", Colour::Red),
        None => {
            ("whether this host can carry the agent isn't clear: see `?` above", Colour::Yellow)
        }
    };
    writeln!(out, "\n{}", page.paint(colour, text))
}

fn write_check(out: &mut impl Write, page: Page, check: &Check) -> io::Result<()> {
    let (word, colour) = match check.verdict {
        Verdict::Ok => ("ok", Colour::Green),
        Verdict::Warn => ("warn", Colour::Yellow),
        Verdict::Unknown => ("?", Colour::Yellow),
        Verdict::Fail => ("fail", Colour::Red),
    };
    let word = page.paint(colour, &format!("{word:<5}"));
    let text = format!("{}: {}", check.name, safe(&check.finding));
    paragraph(out, page, &format!("{word} "), 6, &text)?;
    next(out, page, check.next.as_deref())
}

fn write_coverage(
    out: &mut impl Write,
    page: Page,
    coverage: &Coverage,
    all: bool,
) -> io::Result<()> {
    const FEW: usize = 4;
    let (word, colour) = match coverage.reach {
        Reach::Covered => ("covered", Colour::Green),
        Reach::Seen => ("seen", Colour::Yellow),
        Reach::NotCovered => ("not covered", Colour::Red),
    };
    let word = page.paint(colour, &format!("{word:<12}"));
    paragraph(out, page, &word, 12, &format!("{}: {}", coverage.what, coverage.why))?;
    let shown = if all { coverage.found.len() } else { FEW };
    for found in coverage.found.iter().take(shown) {
        writeln!(out, "{}· {}", " ".repeat(12), safe(found))?;
    }
    match coverage.found.len().checked_sub(shown) {
        Some(more) if more > 0 => {
            writeln!(out, "{}· and {more} more (`-o wide` shows them)", " ".repeat(12))?;
        }
        _ => {}
    }
    let Some(text) = &coverage.next else { return Ok(()) };
    let arrow = format!("{}{} ", " ".repeat(12), page.paint(Colour::Dim, "→"));
    paragraph(out, page, &arrow, 14, &safe(text))
}

fn next(out: &mut impl Write, page: Page, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else { return Ok(()) };
    let arrow = format!("{}{} ", " ".repeat(6), page.paint(Colour::Dim, "→"));
    paragraph(out, page, &arrow, 8, &safe(text))
}

/// Words broken at the page's edge, indented below the first line's text.
fn paragraph(
    out: &mut impl Write,
    page: Page,
    first: &str,
    indent: usize,
    text: &str,
) -> io::Result<()> {
    let width = page.width.unwrap_or(WIDTH).clamp(40, 120);
    write!(out, "{first}")?;
    let mut column = indent;
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 {
            if column + 1 + length > width {
                write!(out, "\n{}", " ".repeat(indent))?;
                column = indent;
            } else {
                write!(out, " ")?;
                column += 1;
            }
        }
        write!(out, "{word}")?;
        column += length;
    }
    writeln!(out)
}
