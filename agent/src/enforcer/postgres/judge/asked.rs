//! What only the server can say, and what hangs on it: whether its process is this
//! session's alone, and so whether names mean what the session gave them.

use super::{Judge, Path};
use crate::enforcer::means::Means;
use crate::enforcer::postgres::gate::Judged;
use crate::enforcer::postgres::probe::{About, Told};
use crate::policy::Stance;
use crate::wire::postgres::Frame;
use crate::wire::postgres::session::{Naming, Session};

impl Judge {
    /// What the server is to be asked before the next request, since a decision hangs on
    /// what only it can say. Never where nothing is changed by decisions.
    pub fn asks_server(
        &self,
        frame: &Frame<'_>,
        session: &Session<Judged>,
        means: &Means,
    ) -> Option<About> {
        let about = if self.naming.is_none() && session.leans_on_names(frame) {
            if self.own.is_none() { About::Process } else { About::Names }
        } else {
            let path = || matches!(self.path, Path::Settled) && self.reading.search_path.is_none();
            let open = !self.temporary.is_empty() && self.own != Some(false);
            if !open || self.own.is_some() && !path() || !session.is_quiet() {
                return None;
            }
            About::Process
        };
        let asks = self.stance(means) == Stance::Enforced && !session.is_replication();
        asks.then_some(about)
    }

    /// The server has answered, or failed to.
    pub fn learn_own(&mut self, about: About, told: Option<Told>, session: &mut Session<Judged>) {
        match (about, told) {
            (About::Process, Some(Told::Process { process, search_path })) => {
                let own = session.key().is_some_and(|key| key.process == process);
                self.own = Some(own);
                if own {
                    self.naming = Some(Naming::Own);
                }
                // What was set for this transaction only is gone after it.
                if matches!(self.path, Path::Settled) {
                    self.set_path(Some(search_path));
                }
            }
            (About::Process, _) => self.own = Some(false),
            (About::Names, told) => {
                let renamed = told == Some(Told::Names { kept: false });
                let naming = if renamed { Naming::Renamed } else { Naming::Shared };
                self.naming = Some(naming);
                session.set_naming(naming);
            }
        }
    }
}
