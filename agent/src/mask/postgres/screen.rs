//! The screen: what the server shows goes through it, and comes out with the
//! word that it may be seen.
//!
//! Rows come out at once, each by itself: nothing is held back.

use super::cell::{Cell, Cells, Shown};
use super::plan::Plan;
use crate::mask::class::{Class, Tally};
use crate::mask::value::Hand;

/// The word that something has been looked at and may go on as it is. Only this
/// room can give it:
///
/// ```compile_fail
/// let screened = tidegate::mask::Screened(());
/// ```
///
/// ```compile_fail
/// let screened: tidegate::mask::Screened = Default::default();
/// ```
#[derive(Debug)]
#[must_use]
pub struct Screened(pub(super) ());

/// Messages made by this room, to go in the place of what was screened.
#[derive(Debug)]
#[must_use]
pub struct Made<'s> {
    pub(super) bytes: &'s [u8],
}

impl<'s> Made<'s> {
    /// Whole messages, any number of them.
    pub fn bytes(&self) -> &'s [u8] {
        self.bytes
    }
}

#[derive(Debug)]
#[must_use]
pub enum Screening<'s> {
    Unchanged(Screened),
    Made(Made<'s>),
}

/// Why something can't be shown at all. The session must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unshowable {
    #[error("a row has {found} columns, and its description {expected}: it cannot be masked")]
    Columns { expected: usize, found: usize },
    #[error("a message of the server's ends too early: it cannot be masked")]
    Malformed,
    #[error("a masked message is longer than the protocol allows")]
    TooLong,
    #[error("a replication stream cannot be masked: it takes a policy that permits `reveal`")]
    Replication,
}

/// One session's.
#[derive(Debug)]
pub struct Screen {
    pub(super) cells: Cells,
    pub(super) made: Vec<u8>,
    /// One cell's.
    pub(super) scratch: Vec<u8>,
    /// Columns whose content gave them away, by their place.
    given_away: Vec<(usize, Class)>,
}

impl Screen {
    pub fn new(hand: Hand) -> Self {
        Self {
            cells: Cells::new(hand),
            made: Vec::new(),
            scratch: Vec::new(),
            given_away: Vec::new(),
        }
    }

    /// Whether the client reads UTF-8: it may change within a session.
    pub fn set_unicode(&mut self, unicode: bool) {
        self.cells.hand.unicode = unicode;
    }

    /// Whether a sign of the client's encoding may end with the byte of another one.
    pub fn set_mixed(&mut self, mixed: bool) {
        self.cells.mixed = mixed;
    }

    /// The columns whose content gave them away, and how, since the last time this
    /// was asked.
    pub fn take_given_away(&mut self) -> Vec<(usize, Class)> {
        std::mem::take(&mut self.given_away)
    }

    /// What was masked since the last time this was asked.
    pub fn take_tally(&mut self) -> Tally {
        self.cells.tally.take()
    }

    /// The policies let this actor see it, or change nothing for it: whoever says
    /// so has asked them.
    pub fn permitted(&self) -> Screened {
        Screened(())
    }

    /// A DataRow's body.
    #[inline]
    pub fn row(&mut self, plan: &Plan, body: &[u8]) -> Result<Screening<'_>, Unshowable> {
        if plan.passes() {
            return Ok(Screening::Unchanged(Screened(())));
        }
        self.made.clear();
        let Self { cells, made, scratch, given_away } = self;
        if !row(cells, plan, body, made, scratch, given_away)? {
            return Ok(Screening::Unchanged(Screened(())));
        }
        Ok(Screening::Made(Made { bytes: &self.made }))
    }

    /// A FunctionCallResponse's body. Of its type nothing is known but the format
    /// that was asked for; where the function reads what is sensitive, it is NULL.
    pub fn function_result(
        &mut self,
        body: &[u8],
        plan: &super::plan::ColumnPlan,
        rules: &super::cell::Rules,
    ) -> Result<Screening<'_>, Unshowable> {
        let (length, value) = body.split_first_chunk::<4>().ok_or(Unshowable::Malformed)?;
        if i32::from_be_bytes(*length) < 0 {
            return Ok(Screening::Unchanged(Screened(())));
        }
        let start = begin(&mut self.made, b'V');
        self.made.extend_from_slice(length);
        let cell = Cell { form: &plan.form, binary: plan.binary, treatment: plan.treatment, rules };
        let written = match self.cells.cell(cell, value, &mut self.made) {
            Shown::Same => return Ok(Screening::Unchanged(Screened(()))),
            Shown::Null => -1,
            Shown::Made => length_of(self.made.len().saturating_sub(start + 9))?,
        };
        set(&mut self.made, start + 5, written);
        finish(&mut self.made, start)?;
        Ok(Screening::Made(Made { bytes: &self.made }))
    }
}

/// Of one answer: more says nothing new.
const MOST_GIVEN_AWAY: usize = 64;

/// Writes the row masked, with its header; false if there is nothing to mask.
fn row(
    cells: &mut Cells,
    plan: &Plan,
    body: &[u8],
    made: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    given_away: &mut Vec<(usize, Class)>,
) -> Result<bool, Unshowable> {
    let (count, values) = body.split_first_chunk::<2>().ok_or(Unshowable::Malformed)?;
    let found = usize::from(u16::from_be_bytes(*count));
    if found != plan.columns.len() {
        return Err(Unshowable::Columns { expected: plan.columns.len(), found });
    }
    let mut rest = values;
    // What of the body is in `made` already.
    let mut written = 0;
    let mut changed = false;
    for (number, column) in plan.columns.iter().enumerate() {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(Unshowable::Malformed)?;
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            rest = tail;
            continue;
        };
        let (value, tail) = tail.split_at_checked(length).ok_or(Unshowable::Malformed)?;
        let place = body.len() - rest.len();
        rest = tail;
        if column.treatment == super::plan::Treatment::Pass {
            continue;
        }
        let cell = Cell {
            form: &column.form,
            binary: column.binary,
            treatment: column.treatment,
            rules: &plan.rules,
        };
        scratch.clear();
        let length = match cells.cell(cell, value, scratch) {
            Shown::Same => continue,
            Shown::Made => length_of(scratch.len())?,
            Shown::Null => {
                scratch.clear();
                -1
            }
        };
        if matches!(column.treatment, super::plan::Treatment::Scan(_))
            && given_away.len() < MOST_GIVEN_AWAY
            && let Some(class) = cells.tally.last
        {
            given_away.push((number, class));
        }
        if !changed {
            made.extend_from_slice(&[b'D', 0, 0, 0, 0]);
        }
        made.extend_from_slice(body.get(written..place).unwrap_or_default());
        made.extend_from_slice(&length.to_be_bytes());
        made.extend_from_slice(scratch);
        changed = true;
        written = place + 4 + value.len();
    }
    if !rest.is_empty() {
        return Err(Unshowable::Malformed);
    }
    if changed {
        made.extend_from_slice(body.get(written..).unwrap_or_default());
        finish(made, 0)?;
    }
    Ok(changed)
}

pub(super) fn length_of(length: usize) -> Result<i32, Unshowable> {
    i32::try_from(length).map_err(|_| Unshowable::TooLong)
}

pub(super) fn set(made: &mut [u8], place: usize, value: i32) {
    if let Some(at) = made.get_mut(place..place + 4) {
        at.copy_from_slice(&value.to_be_bytes());
    }
}

/// Clears what was made, and begins a message.
pub(super) fn begin(made: &mut Vec<u8>, tag: u8) -> usize {
    made.clear();
    made.extend_from_slice(&[tag, 0, 0, 0, 0]);
    0
}

pub(super) fn finish(made: &mut [u8], start: usize) -> Result<(), Unshowable> {
    let length = length_of(made.len().saturating_sub(start + 1))?;
    set(made, start + 1, length);
    Ok(())
}
