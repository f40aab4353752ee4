//! 100,000 changes to known statements. Those that keep the meaning must keep the
//! facts; the others must give an answer and never turn a write into a read without
//! the text having lost it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/corpus.rs"]
mod corpus;

use std::time::{Duration, Instant};

use corpus::cases;
use tidegate::sql::{Cell, Facts, cell, tokens};

/// A small generator with a fixed seed: failures come again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }
}

const GAPS: &[&str] =
    &[" ", "\n", "\t\r\n", "/**/", " /* x'; -- */ ", "-- '\n", "/* /* \" */ */", "\x0c"];

/// Case of letters, white space and comments between the words.
fn same_meaning(sql: &str, dice: &mut Dice) -> String {
    let mut out = String::new();
    let mut before = "";
    let mut copied = 0;
    for (token, end) in tokens(sql) {
        let start = end - token.len();
        let gap = &sql[copied..start];
        let word = token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        // Where a gap may stand without making two words of one: between a word and
        // a bracket, a comma, or where one is already. Never between strings, which
        // a line's end would join, nor within an operator.
        let free = matches!(token, "(" | ")" | "," | ";") || matches!(before, "(" | ")" | ",");
        let quote = token.contains('\'') || before.contains('\'') || before.ends_with('&');
        // An operator would become part of a comment.
        let sign = |token: &str| token.starts_with(|c: char| "~!@#^&|`?+-*/%<>=".contains(c));
        let kinds = if sign(token) || sign(before) { &GAPS[..3] } else { GAPS };
        if !gap.is_empty() && !quote && gap.trim().is_empty() || free && !quote && gap.is_empty() {
            out.push_str(kinds[dice.roll(kinds.len())]);
        } else {
            out.push_str(gap);
        }
        if word && !token.contains(['\'', '"']) && token.is_ascii() {
            for c in token.chars() {
                out.push(if dice.roll(2) == 0 {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                });
            }
        } else {
            out.push_str(token);
        }
        before = token;
        copied = end;
    }
    out.push_str(&sql[copied..]);
    out
}

/// What must not change. Not the parser's messages, which quote the text.
fn meaning(facts: &Facts) -> Vec<String> {
    facts
        .statements
        .iter()
        .map(|s| {
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {}",
                s.verb,
                s.effects,
                s.bound,
                s.parts,
                s.objects,
                s.columns,
                s.calls,
                s.session,
                s.doubts.len()
            )
        })
        .collect()
}

#[test]
fn what_keeps_the_meaning_keeps_the_facts() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let cases: Vec<_> = cases()
        .into_iter()
        // A carriage return or a form feed in a gap ends other things than a space.
        .filter(|case| !case.place.starts_with("lexing") && !case.sql.contains("--"))
        .collect();
    let mut dice = Dice(0x7469_6465_6761_7465);
    for round in 0..50_000 {
        let case = &cases[round % cases.len()];
        let mutated = same_meaning(&case.sql, &mut dice);
        let (one, other) = (
            cell.read(case.sql.as_bytes(), &case.state),
            cell.read(mutated.as_bytes(), &case.state),
        );
        assert_eq!(meaning(&one), meaning(&other), "{}\n{:?}\n{mutated:?}", case.place, case.sql);
    }
}

#[test]
fn nothing_turns_a_write_into_a_read_or_stops_the_reader() {
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let cases = cases();
    let mut dice = Dice(0x6e6f_7468_696e_6721);
    let bits: &[&[u8]] = &[
        b"'",
        b"\"",
        b"$$",
        b"/*",
        b"*/",
        b"--",
        b"\\",
        b"\n",
        b";",
        b"(",
        b")",
        b"\0",
        b"\xff",
        b"E'",
        b"U&'",
        b" select ",
        b" not ",
        b"::int",
        b",",
        b"$a$",
        b"1",
        b".",
        b"\xc3\xa9",
    ];
    let mut longest = Duration::ZERO;
    for round in 0..50_000 {
        let case = &cases[round % cases.len()];
        let mut text = case.sql.clone().into_bytes();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(text.len() + 1);
            match dice.roll(4) {
                0 => drop(text.splice(at..at, bits[dice.roll(bits.len())].iter().copied())),
                1 => drop(text.drain(at..(at + dice.roll(4)).min(text.len()))),
                2 => text.truncate(at),
                _ => {
                    let other = cases[dice.roll(cases.len())].sql.as_bytes();
                    text.splice(at..at, other.iter().copied());
                }
            }
        }
        let begun = Instant::now();
        let facts = cell.read(&text, &case.state);
        longest = longest.max(begun.elapsed());
        // What begins as a write and isn't understood is still no read.
        if !facts.understood() {
            assert!(!facts.effects().is_pure_read(), "{:?}", String::from_utf8_lossy(&text));
        }
        // A word that the text still begins with, as a word, can't lose its effect.
        let shown = String::from_utf8_lossy(&text).into_owned();
        let mut words = tokens(&shown).map(|(token, _)| token.to_lowercase());
        if let (Some(first), Some(_)) = (words.next(), words.next())
            && case.state.strings == tidegate::sql::Strings::Standard
            && matches!(first.as_str(), "delete" | "update" | "insert" | "drop" | "truncate")
        {
            assert!(facts.effects().writes(), "{shown:?}: {:?}", facts.effects());
        }
    }
    assert!(longest < Duration::from_secs(2), "one text took {longest:?}");
}
