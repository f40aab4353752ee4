//! What only the server can say, and what hangs on it: whether its process is this
//! session's alone, and so whether names mean what the session gave them.

use super::Judge;
use super::kept::{Broken, Kept};
use crate::enforcer::means::Means;
use crate::enforcer::postgres::gate::Judged;
use crate::enforcer::postgres::probe::{About, Told};
use crate::policy::Stance;
use crate::policy::vocabulary::Fact;
use crate::wire::postgres::session::{Naming, Session};
use crate::wire::postgres::{Frame, Transaction as Said};

impl Judge {
    /// What the server is to be asked before the next request, since a decision hangs on
    /// what only it can say. Never where nothing is changed by decisions.
    pub fn asks_server(
        &mut self,
        frame: &Frame<'_>,
        session: &Session<Judged>,
        means: &Means,
    ) -> Option<About> {
        // Where everything fails nothing can be asked, and no name leads anywhere.
        if session.is_replication() || session.transaction() == Said::Failed {
            return None;
        }
        let enforced = self.stance(means) == Stance::Enforced;
        let leans = session.leans_on_names(frame);
        // Whatever the settings say, they are held against the server now and then.
        if let Some(kept) = self.kept.as_mut().filter(|_| enforced && session.begins()) {
            let idle = session.transaction() == Said::Idle;
            let asks = match kept.is_seated() {
                false => leans || names(frame),
                true => (leans || idle && !self.temporary.is_empty()) && kept.leans(),
            };
            if asks {
                return Some(About::Kept);
            }
        }
        let about = if self.naming.is_none() && leans {
            if self.own.is_none() { About::Process } else { About::Names }
        } else {
            let own = !self.temporary.is_empty()
                && self.own != Some(false)
                && (self.own.is_none() || self.settings.path() == Some(None));
            // A role's own defaults, and a database's, can give it another role and another
            // path from the start.
            let set = &means.policies.set;
            let place = || self.settings.is_anywhere() && set.tells_tables();
            let first = || !self.settings.is_asked() && (set.reads_any(Fact::Role) || place());
            if !(own || first()) || !session.is_quiet() {
                return None;
            }
            self.about()
        };
        enforced.then_some(about)
    }

    /// How it is asked which process serves the session.
    pub fn about(&self) -> About {
        if self.kept.is_some() { About::Kept } else { About::Process }
    }

    /// Another session may have been seen at this one's process.
    pub fn heed_seat(&mut self, session: &mut Session<Judged>) {
        if let Some(Err(broken)) = self.kept.as_ref().map(Kept::check) {
            self.give_up(broken, session);
        }
    }

    /// The session is about to end.
    pub fn leave_seat(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.leave();
        }
    }

    /// The operator's word is wrong: all is doubted that hung on it, as without it.
    fn give_up(&mut self, broken: Broken, session: &mut Session<Judged>) {
        (self.kept, self.broken) = (None, Some(broken));
        (self.own, self.naming) = (Some(false), None);
        session.set_naming(Naming::Shared);
        self.settings.doubt();
        self.look_up();
    }

    /// Why the operator's word doesn't count any more: told once.
    pub fn take_broken(&mut self) -> Option<&'static str> {
        self.broken.take().map(Broken::why)
    }

    /// The server has answered, or failed to.
    pub fn learn_own(&mut self, about: About, told: Option<Told>, session: &mut Session<Judged>) {
        match (about, told) {
            (About::Kept, told) => {
                let held = match &told {
                    Some(Told::Process(held)) => Some(held),
                    _ => None,
                };
                let Some(kept) = &mut self.kept else { return };
                // What was named before that may lie anywhere.
                let late = !kept.is_seated();
                if let Err(broken) = kept.hear(held) {
                    return self.give_up(broken, session);
                }
                if late {
                    session.set_naming(Naming::Shared);
                    self.temporary.forget_all();
                }
                session.set_naming(Naming::Own);
                (self.own, self.naming) = (Some(true), Some(Naming::Own));
                self.settings.hear(held);
                self.look_up();
            }
            (About::Process, told) => {
                let held = match &told {
                    Some(Told::Process(held)) => Some(held),
                    _ => None,
                };
                let process = session.key().map(|key| key.process);
                let held = held.filter(|held| process == Some(held.process));
                self.own = Some(held.is_some());
                if held.is_some() {
                    self.naming = Some(Naming::Own);
                }
                // What another process says may be said of somebody else's session.
                self.settings.hear(held);
                self.look_up();
            }
            (About::Names, told) => {
                let renamed = told == Some(Told::Names { kept: false });
                let naming = if renamed { Naming::Renamed } else { Naming::Shared };
                self.naming = Some(naming);
                session.set_naming(naming);
            }
            (About::Prepared, Some(Told::Prepared { by_sql: false })) => session.trust(),
            (About::Prepared, _) => session.distrust(),
        }
    }
}

/// Whether it may give something a name that outlives it: a statement, a cursor, a
/// temporary table.
fn names(frame: &Frame<'_>) -> bool {
    let text = frame.body();
    let has = |word: &[u8]| text.windows(word.len()).any(|it| it.eq_ignore_ascii_case(word));
    match frame.tag {
        b'P' => true,
        b'Q' => text.len() > LOOKED_AT || has(b"prepare") || has(b"declare") || has(b"temp"),
        _ => false,
    }
}

/// A longer text is taken for one that names something.
const LOOKED_AT: usize = 16 * 1024;
