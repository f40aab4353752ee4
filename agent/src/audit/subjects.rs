//! Texts that differ in their literals alone are recorded alike: what is recorded of
//! them is made once.
//!
//! INVARIANT: only where the text that is kept and the facts are the same, compared,
//! not only hashed.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;

use super::columns::Resolved;
use super::redact::{self, Grammar};
use super::{Log, Subject};
use crate::mask::Catalog;
use crate::model::TextKept;
use crate::sql::{Facts, Strings};

/// Shared by all sessions of an agent.
#[derive(Debug, Default)]
pub struct Subjects {
    halves: Mutex<Halves>,
    hashing: RandomState,
    resolved: Resolved,
}

/// When the young half is full it becomes the old one, and what isn't met again goes
/// with it.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<u64, Known>,
    old: HashMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    text: Box<str>,
    strings: Strings,
    facts: Arc<Facts>,
    subject: Arc<Subject>,
}

impl Known {
    fn is_for(&self, text: &str, strings: Strings, facts: &Arc<Facts>) -> bool {
        Arc::ptr_eq(&self.facts, facts) && self.strings == strings && *self.text == *text
    }
}

impl Subjects {
    pub fn of(&self, log: &Log, text: &str, strings: Strings, facts: &Arc<Facts>) -> Arc<Subject> {
        let kept_as = log.text_kept();
        let whole = || Arc::new(Subject::new(text, strings, kept_as, Some(facts)));
        // Facts that nobody else has are of no other text.
        if kept_as != TextKept::Redacted || Arc::strong_count(facts) == 1 {
            return whole();
        }
        if text.len() > LONGEST {
            return whole();
        }
        let redacted = redact::without_literals(text, strings, Grammar::of(Some(facts)));
        let hash = self.hashing.hash_one((Arc::as_ptr(facts).addr(), &redacted));
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |known: &&Known| known.is_for(&redacted, strings, facts);
        if let Some(known) = halves.young.get(&hash).filter(fits) {
            return Arc::clone(&known.subject);
        }
        let known = halves.old.remove(&hash).filter(|known| fits(&known));
        let known = known.unwrap_or_else(|| Known {
            subject: whole(),
            text: redacted.into(),
            strings,
            facts: Arc::clone(facts),
        });
        let subject = Arc::clone(&known.subject);
        if halves.young.len() >= HALF {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(hash, known);
        subject
    }

    /// The same where the catalog knows more than the text says; `None`: it doesn't. Not
    /// free: whoever asks keeps the answer for as long as the catalog is the same.
    pub fn knowing(
        &self,
        subject: &Arc<Subject>,
        facts: &Facts,
        catalog: &Arc<Catalog>,
    ) -> Option<Arc<Subject>> {
        if !subject.touches {
            return None;
        }
        self.resolved.of(subject, facts, catalog)
    }
}

/// Texts that are longer are seldom met again.
const LONGEST: usize = 4 * 1024;
const HALF: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::tests::{Keeper, Scratch};
    use crate::model::LogTerms;
    use crate::sql::{Alike, Cell, LexingState};

    fn log(scratch: &Scratch, text: TextKept) -> Log {
        let terms = LogTerms { text, ..LogTerms::default() };
        Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap()
    }

    #[test]
    fn texts_that_are_recorded_alike_are_one() {
        let scratch = Scratch::new();
        let log = log(&scratch, TextKept::Redacted);
        let (subjects, alike) = (Subjects::default(), Alike::default());
        let of = |text: &str| {
            let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
            subjects.of(&log, text, Strings::Standard, &alike.of(facts))
        };
        let one = of("select a from t where id = 1");
        assert!(Arc::ptr_eq(&one, &of("select a from t where id = 23456")));
        assert!(Arc::ptr_eq(&one, &of("select a from t where id = 'x'")));
        for other in [
            "select a from t where  id = 1",
            "select a from t where id = 1 -- why",
            "select b from t where id = 1",
            "select a from u where id = 1",
        ] {
            let found = of(other);
            assert!(!Arc::ptr_eq(&one, &found), "{other}");
            let facts = Cell::quick(other.as_bytes(), &LexingState::default()).unwrap();
            assert_eq!(*found, log.subject(other, Strings::Standard, Some(&facts)), "{other}");
        }
    }

    #[test]
    fn where_literals_are_kept_none_is_taken_for_another() {
        let scratch = Scratch::new();
        let log = log(&scratch, TextKept::Full);
        let (subjects, alike) = (Subjects::default(), Alike::default());
        let of = |text: &str| {
            let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
            subjects.of(&log, text, Strings::Standard, &alike.of(facts))
        };
        let (one, other) = (of("select a from t where id = 1"), of("select a from t where id = 2"));
        assert_ne!(*one, *other);
    }
}
