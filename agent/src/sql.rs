//! Text of SQL → [`Facts`]: what it reads and writes, calls and changes, where
//! its output comes from, and what of it isn't understood.
//!
//! PostgreSQL's own grammar reads the text; facts know nothing of that. Does no
//! I/O: threads and an already connected pipe at most ([`cell`]).
//!
//! INVARIANTS
//! - What was not read exactly as the server reads it is `unknown`, with a reason.
//! - A call of a function that isn't the server's own is `execute`, never a read.
//! - No text ends the process, whatever it holds.
//!
//! Never decides whether something may run: that is `policy`'s.

pub mod alike;
pub mod builtin;
pub mod cache;
pub mod cell;
mod comments;
mod constants;
pub mod effect;
pub mod facts;
mod handles;
mod lexer;
mod numbers;
mod procedural;
mod read;
pub mod state;
mod tags;
pub mod temporary;
mod text;
mod walk;

pub use alike::Alike;
pub use cache::{Cache, Reading};
pub use cell::Cell;
pub use comments::{Between, Gap};
pub use constants::constants;
pub use effect::{ColumnUse, ColumnUses, Effect, Effects, Path, Step, Use, Uses};
pub use facts::{Bound, Doubt, Facts, Statement, Verb};
pub use handles::session_effects;
pub use lexer::{Kind as TokenKind, Lexer, Token};
pub use read::Bounds;
pub use state::{Encoding, LexingState, Strings};
pub use tags::{Tag, Tags, TraceContext, nothing_but_tags};
pub use text::lossy;

/// The words, strings and signs of a text with the byte behind each: for tools that
/// cut scripts into statements.
pub fn tokens(text: &str) -> impl Iterator<Item = (&str, usize)> {
    lexer::Lexer::new(text, Strings::Standard)
        .map(|token| (text.get(token.start..token.end).unwrap_or_default(), token.end))
}
