//! A text → its facts, on this thread and its stack. [`super::cell`] chooses where
//! that is safe.

use super::effect::Effects;
use super::facts::{Doubt, Facts, Verb};
use super::lexer;
use super::numbers;
use super::state::{Encoding, LexingState};
use super::text::{self, Readable};
use super::walk::{self, Budget};

/// Bounds of one reading.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub bytes: usize,
    /// Levels of the tree. Each takes a few KiB of stack.
    pub depth: u32,
    /// Steps of the walk.
    pub work: u32,
}

impl Bounds {
    /// For a thread with a stack as small as they come.
    pub const SMALL: Self = Self { bytes: 16 * 1024, depth: 60, work: 20_000 };
    /// For a thread with a stack of [`super::cell::STACK`].
    pub const LARGE: Self = Self { bytes: 64 * 1024, depth: 4_000, work: 500_000 };
    /// For a process of its own, with a stack four times as large and a deadline.
    pub const PROCESS: Self = Self { bytes: 16 * 1024 * 1024, depth: 16_000, work: 100_000_000 };
}

/// What a text would need, before anything is parsed.
pub fn weigh<'t>(
    bytes: &'t [u8],
    state: &LexingState,
    bounds: Bounds,
) -> Result<Readable<'t>, Box<Facts>> {
    text::readable(bytes, state, bounds.bytes, bounds.depth as usize)
        .map_err(|doubt| Box::new(Facts::unknown(doubt, hints_of(bytes, state))))
}

/// Parses and walks; the tree is gone when it returns.
pub fn read(readable: &Readable<'_>, state: &LexingState, bounds: Bounds) -> Facts {
    if readable.text.trim().is_empty() {
        return Facts::default();
    }
    numbers::begin();
    match parse(&readable.text) {
        Ok(tree) => {
            let budget = Budget { depth: bounds.depth, work: bounds.work };
            let mut facts =
                walk::facts(tree.iter(), &readable.text, state, budget, readable.in_place);
            blur(&mut facts, &readable.text, state);
            if readable.in_place && is_plain(&facts) {
                facts.free = numbers::free(readable.text.as_bytes());
            }
            facts
        }
        Err(error) => {
            let doubt = Doubt::Unparsable(error.to_string().into());
            Facts::unknown(doubt, hints(&readable.text, state))
        }
    }
}

/// The grammar's tree. The grammar in use keeps comments as tokens of their own,
/// which come between words that it looks at in pairs (`NOT /* … */ IN`); there the
/// server, which drops them, accepts what this refuses. So what it refuses is tried
/// without them.
pub(super) fn parse(text: &str) -> Result<pg_raw_parse::ParseResult, pg_raw_parse::Error> {
    numbers::parsing();
    pg_raw_parse::parse(text).or_else(|error| match lexer::without_comments(text) {
        Some(bare) => {
            numbers::parsing();
            pg_raw_parse::parse(&bare).map_err(|_| error)
        }
        None => Err(error),
    })
}

/// One statement that names nothing of the session's and was understood. What others hold
/// is looked at again by those who follow the session.
fn is_plain(facts: &Facts) -> bool {
    let [one] = facts.statements.as_slice() else { return false };
    let verbs = [Verb::Select, Verb::Values, Verb::Insert, Verb::Update, Verb::Delete];
    verbs.contains(&one.verb)
        && one.doubts.is_empty()
        && one.session.is_empty()
        && one.handle.is_none()
}

/// The server cuts names at 63 bytes of its own encoding, the grammar at 63 of UTF-8: where
/// that may make a difference, a name is no other's.
fn blur(facts: &mut Facts, text: &str, state: &LexingState) {
    for (place, statement) in facts.statements.iter_mut().enumerate() {
        if let Some(handle) = &mut statement.handle
            && is_blurred(handle, text, state)
        {
            *handle = format!("{handle}\u{fffd}{place}").into();
        }
    }
}

fn is_blurred(handle: &str, text: &str, state: &LexingState) -> bool {
    // Behind so many bytes a character may have been cut off.
    let cut = handle.len() >= KEPT - 3;
    let escapes = || text.as_bytes().windows(2).any(|two| two.eq_ignore_ascii_case(b"u&"));
    match handle.is_ascii() {
        true => cut && handle.len() < KEPT && (!text.is_ascii() || escapes()),
        false => cut || state.encoding != Encoding::Utf8,
    }
}

/// What the leading words of bytes say that are not going to be read.
pub(super) fn hints_of(bytes: &[u8], state: &LexingState) -> Effects {
    // Too long even to look at more than its beginning.
    let shown = bytes.get(..bytes.len().min(HINTED)).unwrap_or_default();
    hints(&text::lossy(shown), state)
}

fn hints(text: &str, state: &LexingState) -> Effects {
    lexer::hints(text, state.strings, false)
}

/// What the server keeps of a name, in bytes.
const KEPT: usize = 63;
/// Of a text that isn't read, this much is looked at for its leading words.
const HINTED: usize = 64 * 1024;

#[cfg(test)]
mod tests;
