//! Texts of strangers, and tricks in other clothes.
//!
//! The first byte says which. Even: the rest of it is the state of the session,
//! and what follows is the text. Any bytes get an answer, the same one each time,
//! and what isn't understood is never a pure read.
//!
//! Odd: two bytes choose a trick of `tests/corpora/evasion`, and the rest says
//! what stands between its words and how they are written. White space, comments
//! and case change nothing: what was more than a read stays so, and what is
//! understood before and after does the same.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tidegate::sql::{
    Cache, Cell, Effects, Encoding, Facts, Lexer, LexingState, Strings, TokenKind, cell, constants,
};

#[path = "../../tests/support/corpus.rs"]
mod corpus;

static CELL: LazyLock<Cell> = LazyLock::new(|| {
    Cell::start(cell::Settings::default()).expect("threads of the cell cannot be started")
});

struct Trick {
    sql: String,
    state: LexingState,
    effects: Effects,
    understood: bool,
}

static TRICKS: LazyLock<Vec<Trick>> = LazyLock::new(|| {
    corpus::cases()
        .into_iter()
        .map(|case| {
            let facts = CELL.read(case.sql.as_bytes(), &case.state);
            let (effects, understood) = (facts.effects(), facts.understood());
            Trick { sql: case.sql, state: case.state, effects, understood }
        })
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    if first & 1 == 0 { any(first >> 1, rest) } else { trick(rest) }
});

fn any(how: u8, text: &[u8]) {
    let strings = match how & 3 {
        0 | 1 => Strings::Standard,
        2 => Strings::Escaping,
        _ => Strings::Uncertain,
    };
    let encoding = match how >> 2 & 7 {
        0..=2 => Encoding::Utf8,
        3 => Encoding::named("LATIN1"),
        4 => Encoding::named("SQL_ASCII"),
        5 => Encoding::named("WIN1252"),
        _ => Encoding::named("SJIS"),
    };
    // A constant is no longer than it was written.
    let readings = if strings == Strings::Uncertain { 2 } else { 1 };
    assert!(constants(text, strings).map(|one| one.len()).sum::<usize>() <= readings * text.len());
    let search_path = (how & 32 != 0).then(|| "public, pg_catalog".into());
    let server_major = (how & 64 != 0).then_some(15);
    let state = LexingState { strings, encoding, search_path, server_major };
    let facts = CELL.read(text, &state);
    if !facts.understood() {
        assert!(!facts.effects().is_pure_read());
    }
    // The same text gives the same facts.
    assert_eq!(facts, CELL.read(text, &state));
    let cache = Cache::new(1 << 20);
    cache.put(text, &state, &Arc::new(facts));
    for digit in *b"01259" {
        let other: Vec<u8> =
            text.iter().map(|sign| if sign.is_ascii_digit() { digit } else { *sign }).collect();
        if let Some(found) = cache.get(&other, &state) {
            assert_eq!(bare(&found), bare(&CELL.read(&other, &state)), "{other:?}");
        }
    }
}

/// Without what others than itself may have.
fn bare(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.free = Box::default();
    if let [statement] = facts.statements.as_mut_slice() {
        statement.span = None;
    }
    facts
}

fn trick(how: &[u8]) {
    let [high, low, how @ ..] = how else { return };
    let number = usize::from(u16::from_be_bytes([*high, *low]));
    let Some(trick) = TRICKS.get(number % TRICKS.len()) else { return };
    let text = disguised(&trick.sql, trick.state.strings, how);
    let facts = CELL.read(text.as_bytes(), &trick.state);
    if !trick.effects.is_pure_read() {
        assert!(!facts.effects().is_pure_read(), "{:?} became a read as {text:?}", trick.sql);
    }
    if trick.understood && facts.understood() {
        assert_eq!(facts.effects(), trick.effects, "{:?} as {text:?}", trick.sql);
    }
}

/// What may stand wherever white space does.
const BETWEEN: &[&str] = &[
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\x0c",
    "  ",
    " /**/ ",
    " /* x */ ",
    " /* /* */ ' */ ",
    " /* \" */ ",
    " /* $$ */ ",
    " /* ; drop table x; */ ",
    " --\n",
    " -- '\n",
    " -- \" $$ /*\n",
    " --\r",
    " /* -- */ ",
    " /* \\ */ ",
    " -- \\\n",
    " /*! */ ",
    " /*\n*/ ",
    " /* é */ ",
];

/// The text with other white space between its words, and its words in another
/// case. `how` has a byte for each; where it ends, the rest stays.
fn disguised(text: &str, strings: Strings, how: &[u8]) -> String {
    let mut how = how.iter().copied();
    let mut made = String::new();
    let mut end = 0;
    let mut before = None;
    for token in Lexer::new(text, strings) {
        let gap = &text[end..token.start];
        let signs = &text[token.start..token.end];
        // Between two strings a line's end has a meaning. Where there is no gap
        // there may be a reason.
        let strings = before.is_some_and(is_string) && is_string(token.kind);
        match how.next() {
            Some(choice) if choice > 0 && !gap.is_empty() && !strings => {
                made.push_str(BETWEEN[usize::from(choice) % BETWEEN.len()]);
            }
            _ => made.push_str(gap),
        }
        match (token.kind, how.next()) {
            (TokenKind::Word, Some(pattern)) => {
                made.extend(signs.chars().enumerate().map(|(place, sign)| {
                    match (pattern >> (place % 8) & 1, sign.is_ascii_lowercase()) {
                        (0, _) => sign,
                        (_, true) => sign.to_ascii_uppercase(),
                        _ => sign.to_ascii_lowercase(),
                    }
                }));
            }
            _ => made.push_str(signs),
        }
        end = token.end;
        before = Some(token.kind);
    }
    made.push_str(&text[end..]);
    made
}

fn is_string(kind: TokenKind) -> bool {
    use TokenKind::{Bits, Escape, National, Plain, Unicode};
    matches!(kind, Plain | National | Escape | Unicode | Bits)
}
