//! What only the server can say, and what hangs on it: whether its process is this
//! session's alone, and so whether names mean what the session gave them.

use super::Judge;
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
        &self,
        frame: &Frame<'_>,
        session: &Session<Judged>,
        means: &Means,
    ) -> Option<About> {
        // Where everything fails nothing can be asked, and no name leads anywhere.
        if session.is_replication() || session.transaction() == Said::Failed {
            return None;
        }
        let about = if self.naming.is_none() && session.leans_on_names(frame) {
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
            About::Process
        };
        (self.stance(means) == Stance::Enforced).then_some(about)
    }

    /// The server has answered, or failed to.
    pub fn learn_own(&mut self, about: About, told: Option<Told>, session: &mut Session<Judged>) {
        match (about, told) {
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
        }
    }
}
