//! In what the server may read the next text otherwise than it has said so far. It says
//! so before it is ready for the next request: until then what has run may have changed
//! how strings end, and what a byte means.
//!
//! INVARIANT: what was set in a transaction may be taken back by whatever ends it.

use crate::enforcer::postgres::temporary::Rest;
use crate::sql::facts::{Facts, Verb};
use crate::sql::{Effect, Encoding, LexingState, Strings};

/// Not said yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsaid {
    now: Changed,
    /// Since the transaction began.
    since: Changed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changed {
    /// How strings end.
    strings: bool,
    /// What a byte means.
    encoding: bool,
}

impl Changed {
    const ALL: Self = Self { strings: true, encoding: true };

    fn union(self, other: Self) -> Self {
        Self { strings: self.strings || other.strings, encoding: self.encoding || other.encoding }
    }
}

impl Unsaid {
    #[inline]
    pub fn anything(self) -> bool {
        self.now != Changed::default()
    }

    /// A text is let through, to run or to be planned: code of somebody's own may set
    /// anything, and planning runs it too.
    pub fn follow(&mut self, facts: &Facts) {
        for effect in facts.session() {
            let encoding = matches!(&*effect.setting, "client_encoding" | "*");
            self.change(Changed { strings: true, encoding });
        }
        if facts.running().any(|one| ends_transaction(one.verb)) {
            self.now = self.now.union(self.since);
        }
        if is_opaque(facts) {
            self.code_ran();
        }
    }

    pub fn code_ran(&mut self) {
        self.change(Changed::ALL);
    }

    fn change(&mut self, changed: Changed) {
        self.now = self.now.union(changed);
        self.since = self.since.union(changed);
    }

    /// Everything is answered, and the server has said what there was to say.
    pub fn rests(&mut self, rest: Rest) {
        self.now = Changed::default();
        if rest == Rest::Idle {
            self.since = Changed::default();
        }
    }

    pub fn put_into(self, reading: &mut LexingState) {
        if self.now.strings {
            reading.strings = Strings::Uncertain;
        }
        if self.now.encoding {
            reading.encoding = Encoding::Overlapping("not known yet".into());
        }
    }
}

/// Whether it may do what its text doesn't say.
pub(super) fn is_opaque(facts: &Facts) -> bool {
    let effects = facts.effects();
    !facts.understood() || effects.contains(Effect::Execute) || effects.contains(Effect::Unknown)
}

fn ends_transaction(verb: Verb) -> bool {
    matches!(verb, Verb::Commit | Verb::Rollback | Verb::RollbackTo | Verb::PrepareTransaction)
}
