//! What a request needs to go upstream, and a row to go to the client.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::audit::{Log, Sealed, Subject, Subjects};
use crate::mask::{Hand, HashKey};
use crate::model::{HoldPass, TextKept, Trace};
use crate::policy::Permit;
use crate::policy::values::Value;
use crate::sql::effect::{Use, Uses};
use crate::sql::facts::{Doubt, Object, ObjectKind, Verb};
use crate::sql::{
    Alike, Bounds, Effect, Effects, Encoding, Facts, LexingState, Reading, session_effects,
};
use crate::wire::postgres::session::{Gate, SqlEffects};

/// The gate of every session.
#[derive(Debug)]
pub struct Judged;

impl Gate for Judged {
    type Permit = Granted;
    type Screened = crate::mask::Screened;
}

/// What a request is released with.
#[derive(Clone, Debug)]
pub struct Granted {
    pub permit: Permit,
    pub statement: Arc<Understood>,
    /// The prepared statement or cursor that it names.
    pub behind: Option<Behind>,
    pub intent: Intent,
    /// The approval by which it passes. A portal's is good for its execution too.
    pub pass: Option<Arc<HoldPass>>,
    /// Whether something that a mask wrote came with it: in its text, or bound to it.
    pub carries: Trace,
    /// What is bound to it, where a policy asks for that.
    pub values: Option<Arc<[Value]>>,
}

/// What a name stands for: one statement of the text that gave it.
#[derive(Clone, Debug)]
pub struct Behind {
    pub text: Arc<Understood>,
    pub index: u32,
}

impl Behind {
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) && self.index == other.index
    }
}

/// Whether what runs lies in the log before it runs.
#[derive(Clone, Debug)]
pub enum Intent {
    /// It only prepares: what runs later has an intent of its own.
    Prepares,
    Recorded(Arc<Recorded>),
}

/// A request in the log, until its end is.
#[derive(Debug)]
pub struct Recorded {
    pub sealed: Sealed,
    pub at: Instant,
    /// A Bind's is its first Execute's too.
    pub used: AtomicBool,
}

/// One text, read.
#[derive(Debug)]
pub struct Understood {
    pub facts: Arc<Facts>,
    /// What it does to the session's own names.
    pub effects: SqlEffects,
    /// What is recorded of it; nothing of what isn't known.
    pub subject: Option<Arc<Subject>>,
    /// It changes what the database's catalog says.
    pub defines: bool,
    pub mentions: Mentions,
    /// It may put values into tables.
    pub writes: bool,
    /// … and whether one of its own constants is what a mask wrote.
    pub carries: Trace,
    /// Which of its numbers nothing of this hangs on.
    free: Box<[u16]>,
}

/// What texts before it were found to be.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    pub alike: &'k Alike,
    pub subjects: &'k Subjects,
    pub log: &'k Log,
}

/// Words of a text that can put a value where it has no column, or make a name mean
/// another thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mentions {
    pub settings: bool,
    pub notifications: bool,
    pub large_objects: bool,
    /// Things get other names.
    pub names: bool,
    /// … or names are looked up elsewhere.
    pub paths: bool,
}

impl Mentions {
    /// Of what wasn't looked at.
    pub const ALL: Self =
        Self { settings: true, notifications: true, large_objects: true, names: true, paths: true };

    pub fn of(text: &[u8]) -> Self {
        let mut found = Self::default();
        let mut rest = text;
        // Once over the text, by the signs that its words begin with.
        while let Some(first) = rest.first() {
            let begins = |word: &[u8]| {
                rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
            };
            match first.to_ascii_lowercase() {
                b's' if begins(b"set_config") => (found.settings, found.paths) = (true, true),
                b's' if begins(b"search_path") => found.paths = true,
                b's' if begins(b"schema") => (found.names, found.paths) = (true, true),
                b'a' if begins(b"authorization") => found.paths = true,
                b'r' if begins(b"rename") => found.names = true,
                b'n' if begins(b"notify") => found.notifications = true,
                b'l' if begins(b"lo_") || begins(b"lowrite") => found.large_objects = true,
                _ => {}
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        found
    }
}

impl Understood {
    /// All that follows from a text and its facts. Takes as long as the text is long,
    /// unless it is one that nobody reads.
    pub fn new(
        text: &[u8],
        reading: &LexingState,
        mut facts: Facts,
        known: Known<'_>,
        marks: &HashKey,
    ) -> Self {
        if text.len() > Bounds::PROCESS.bytes {
            let head = String::from_utf8_lossy(text.get(..HEAD).unwrap_or_default());
            let (length, strings) = (text.len(), reading.strings);
            let subject = known.log.subject_of_long(&head, length, strings, Some(&facts));
            return Self {
                facts: Arc::new(facts),
                effects: SqlEffects::unknown(),
                subject: Some(Arc::new(subject)),
                defines: true,
                mentions: Mentions::ALL,
                writes: true,
                carries: Trace::None,
                free: Box::default(),
            };
        }
        let effects = session_effects(&facts, text, reading);
        // A block says what it does when it runs.
        let unseen = |verb| matches!(verb, Verb::Do | Verb::CommitPrepared);
        let defines = facts.effects().define() || facts.running().any(|one| unseen(one.verb));
        facts.mark_repeats();
        let mentions = Mentions::of(text);
        let writes = writes(&facts);
        let hand = || Hand { key: marks.clone(), unicode: reading.encoding == Encoding::Utf8 };
        let carries =
            if writes { hand().wrote_constant(text, reading.strings) } else { Trace::None };
        let free = std::mem::take(&mut facts.free);
        let facts = known.alike.of(facts);
        let shown = crate::sql::lossy(text);
        let subject = known.subjects.of(known.log, &shown, reading.strings, &facts);
        // In the log each text is another one.
        let free = if subject.keeps_values() { Box::default() } else { free };
        Self { facts, effects, subject: Some(subject), defines, mentions, writes, carries, free }
    }

    /// The same with parameters that are read as values of these types.
    pub fn with_types(&self, types: &[(&str, &str)], alike: &Alike) -> Self {
        let mut facts = (*self.facts).clone();
        for statement in &mut facts.statements {
            let typed = types.iter().map(|(schema, name)| Object {
                kind: ObjectKind::Type,
                catalog: None,
                schema: Some((*schema).into()),
                name: (*name).into(),
                uses: Uses::of(Use::Read),
                temporary: false,
            });
            statement.objects.extend(typed);
        }
        Self {
            facts: alike.of(facts),
            effects: self.effects.clone(),
            subject: self.subject.clone(),
            free: Box::default(),
            ..*self
        }
    }

    /// Whether its record tells as much of it as the settings let by now.
    pub fn is_kept_as(&self, kept: TextKept) -> bool {
        self.subject.as_ref().is_none_or(|subject| subject.kept_as == kept)
    }

    /// A text of which nothing is known but why.
    pub fn unknown(why: &str) -> Self {
        let facts = Arc::new(Facts::unknown(Doubt::Parser(why.into()), Effects::NONE));
        Self {
            facts,
            effects: SqlEffects::unknown(),
            subject: None,
            defines: false,
            mentions: Mentions::default(),
            writes: true,
            carries: Trace::None,
            free: Box::default(),
        }
    }
}

fn writes(facts: &Facts) -> bool {
    let effects = facts.effects();
    let writing =
        [Effect::Insert, Effect::Update, Effect::Import, Effect::Execute, Effect::Unknown];
    writing.into_iter().any(|effect| effects.contains(effect))
}

impl Reading for Understood {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn free(&self) -> &[u16] {
        &self.free
    }

    fn weight(&self) -> usize {
        // Its record holds the text and the names once more.
        2 * self.facts.weight() + size_of::<Self>()
    }
}

/// Of a text that nobody reads, so much is looked at for the record.
const HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Cache, Cell};

    #[test]
    fn a_text_that_shares_a_reading_has_all_of_it_as_its_own() {
        let (alike, subjects, log) = (Alike::default(), Subjects::default(), Log::off());
        let known = Known { alike: &alike, subjects: &subjects, log: &log };
        let state = LexingState::default();
        let marks = HashKey::new(b"a secret of tests");
        let read = |text: &str| {
            let facts = Cell::quick(text.as_bytes(), &state).unwrap();
            Arc::new(Understood::new(text.as_bytes(), &state, facts, known, &marks))
        };
        for text in [
            "select a from t where id = #",
            "select a, # from t where f(id, #) and b in (#, -#) limit 10",
            "select lo_get(#) /* route='7' */",
            "select a from t where id = # and password = #",
            "insert into t (a, ssn) values (#, #) -- 5",
            "insert into t values (#, 'seven')",
            "update t set a = a + # where id = #",
            "update t set schema_name = # where b[#] = -#",
            "delete from t where id = #",
            "values (#)",
        ] {
            let cache = Cache::new(1 << 20);
            let first = read(&text.replace('#', "471"));
            cache.put(text.replace('#', "471").as_bytes(), &state, &first);
            for number in ["0", "1", "10", "007", "123456789", "999999999"] {
                let other = text.replace('#', number);
                let found = cache.get(other.as_bytes(), &state).expect(text);
                let own = read(&other);
                assert!(Arc::ptr_eq(&found, &first), "{other}");
                assert!(Arc::ptr_eq(&found.facts, &own.facts), "{other}");
                let subject = |of: &Understood| of.subject.clone().unwrap();
                assert!(Arc::ptr_eq(&subject(&found), &subject(&own)), "{other}");
                let rest = |of: &Understood| {
                    format!(
                        "{:?}",
                        (&of.effects, of.defines, of.mentions, of.writes, &of.carries, &of.free)
                    )
                };
                assert_eq!(rest(&found), rest(&own), "{other}");
            }
        }
    }

    #[test]
    fn words_are_found_wherever_they_stand_and_however_they_are_written() {
        let words: [(&str, [bool; 5]); 9] = [
            ("set_config", [true, false, false, false, true]),
            ("search_path", [false, false, false, false, true]),
            ("schema", [false, false, false, true, true]),
            ("authorization", [false, false, false, false, true]),
            ("rename", [false, false, false, true, false]),
            ("notify", [false, true, false, false, false]),
            ("lo_", [false, false, true, false, false]),
            ("lowrite", [false, false, true, false, false]),
            ("nothing", [false; 5]),
        ];
        for (word, expected) in words {
            for text in [
                word.into(),
                format!("a {word}"),
                format!("{word} b"),
                format!("ss{word}("),
                word.to_uppercase(),
            ] {
                let it = Mentions::of(text.as_bytes());
                let found = [it.settings, it.notifications, it.large_objects, it.names, it.paths];
                assert_eq!(found, expected, "{text}");
            }
            let cut = &word[..word.len() - 1];
            let it = Mentions::of(cut.as_bytes());
            assert!(
                !(it.settings || it.notifications || it.large_objects || it.names || it.paths),
                "{cut}"
            );
        }
    }
}
