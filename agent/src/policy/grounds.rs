//! A ruling as the log tells it: under which set of policies, which of them decided,
//! and which had something to say.
//!
//! INVARIANT: bounded, whatever stands in the policies: a statement runs only once it
//! is recorded, and no policy's words may keep a record from fitting.

use serde::Serialize;

use super::permit::{Ruling, Why};
use super::set::Generation;
use super::source::Policy;
use crate::model::{Grounds, cut};

#[derive(Serialize)]
struct Told {
    #[serde(serialize_with = "shown")]
    generation: Generation,
    /// What decided; nothing where all is allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<Word>,
    /// Of policies that allow it and say something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<Word>,
}

#[derive(Default, PartialEq, Eq, Serialize)]
struct Word {
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Somebody has approved what it forbids.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lifted: bool,
}

pub(super) fn of(ruling: &Ruling) -> Grounds {
    let why = ruling.causes.iter().map(|cause| Word::of_cause(&cause.why));
    let lifted = ruling.lifted.iter().map(|policy| Word { lifted: true, ..Word::of(policy) });
    let told = Told {
        generation: ruling.generation,
        why: few(why.chain(lifted)),
        flags: few(ruling.flags.iter().map(|policy| Word::of(policy))),
    };
    Grounds::new(serde_json::to_string(&told).unwrap_or_default())
}

impl Word {
    fn of(policy: &Policy) -> Self {
        let short = |text: &Option<Box<str>>| text.as_deref().map(|text| cut(text, LONGEST));
        Self {
            policy: Some(cut(&policy.id, LONGEST)),
            severity: short(&policy.severity),
            reason: short(&policy.reason),
            lifted: false,
        }
    }

    fn of_cause(why: &Why) -> Self {
        match why {
            Why::Forbidden(policy) => Self::of(policy),
            // Its own reason speaks of what it refuses, and that isn't known.
            Why::Unknown(policy, _) => {
                Self { reason: why.words().map(Into::into), ..Self::of(policy) }
            }
            other => Self { reason: other.words().map(Into::into), ..Self::default() },
        }
    }
}

/// Each once.
fn few(words: impl Iterator<Item = Word>) -> Vec<Word> {
    let mut all: Vec<Word> = Vec::new();
    for word in words {
        if all.len() < MOST && !all.contains(&word) {
            all.push(word);
        }
    }
    all
}

fn shown<S: serde::Serializer>(one: &Generation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(one)
}

/// Policies that are told of one ruling.
const MOST: usize = 32;
/// Of a name or a reason.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests;
