//! Any bytes under any lexing state get an answer, and what isn't understood is
//! never a pure read.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::sql::{Cell, Encoding, LexingState, Strings, cell};

static CELL: LazyLock<Cell> = LazyLock::new(|| {
    Cell::start(cell::Settings::default()).expect("threads of the cell cannot be started")
});

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let strings = match first & 3 {
        0 | 1 => Strings::Standard,
        2 => Strings::Escaping,
        _ => Strings::Uncertain,
    };
    let encoding = match first >> 2 & 3 {
        0 | 1 => Encoding::Utf8,
        2 => Encoding::named("LATIN1"),
        _ => Encoding::named("SJIS"),
    };
    let state = LexingState { strings, encoding, ..LexingState::default() };
    let facts = CELL.read(text, &state);
    if !facts.understood() {
        assert!(!facts.effects().is_pure_read());
    }
    // The same text gives the same facts.
    assert_eq!(facts, CELL.read(text, &state));
});
