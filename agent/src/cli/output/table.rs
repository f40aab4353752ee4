//! Tables that fit the terminal.

use std::io::{self, Write};

use super::text::{cut, safe};
use super::{Colour, Page};

const GAP: usize = 2;
/// A column is not made narrower than this.
const NARROWEST: usize = 10;

#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    colour: Colour,
}

#[derive(Clone, Debug)]
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Cell {
    /// An empty text is shown as `-`.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::painted(text, Colour::Plain)
    }

    pub fn painted(text: impl AsRef<str>, colour: Colour) -> Self {
        let text = safe(text.as_ref()).into_owned();
        Self { text: if text.is_empty() { "-".into() } else { text }, colour }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl Table {
    pub fn new(indent: usize, heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new(), indent }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn write(&self, out: &mut impl Write, page: Page) -> io::Result<()> {
        let widths = self.widths(page.width);
        let heads: Vec<Cell> =
            self.heads.iter().map(|head| Cell::painted(head, Colour::Bold)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = " ".repeat(self.indent);
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let text = cut(&cell.text, *width);
                let padding = width.saturating_sub(text.chars().count());
                line.push_str(&page.paint(cell.colour, &text));
                if index + 1 < row.len() {
                    line.push_str(&" ".repeat(padding + GAP));
                }
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// As wide as the widest cell; the widest columns give way first.
    fn widths(&self, available: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let Some(available) = available else { return widths };
        let gaps = self.indent + GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > available {
            let Some(widest) = widths.iter_mut().max() else { break };
            if *widest <= NARROWEST {
                break;
            }
            *widest -= 1;
        }
        widths
    }
}
