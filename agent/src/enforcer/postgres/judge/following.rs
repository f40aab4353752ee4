//! What a session's own statements change about those behind them: how texts are read,
//! by whose rights they run, and where bare names lie.

use super::{Judge, LOST, behind, is_fetch, unsaid};
use crate::enforcer::postgres::gate::{Judged, Understood};
use crate::policy::{Scene, Target};
use crate::wire::postgres::session::Session;

impl Judge {
    /// What running it may change about how the next text is read, and by whom it is run.
    pub(super) fn follow(&mut self, statement: &Understood, serial: u64) {
        let facts = &statement.facts;
        if facts.session().next().is_some() || unsaid::is_opaque(facts) {
            self.settings.follow(facts, serial);
        }
    }

    /// It was let through, and so was the code that it calls or a cursor of it.
    pub(super) fn ran(&mut self, statement: &Understood, session: &Session<Judged>) {
        self.settings.ran(&statement.facts);
        self.unsaid.follow(&statement.facts);
        if statement.facts.running().any(is_fetch) {
            match behind(statement, session) {
                Some(behind) => {
                    self.unsaid.follow(&behind.facts);
                    self.settings.fetched(&behind.facts);
                    self.settings.ran(&behind.facts);
                }
                None => {
                    self.unsaid.code_ran();
                    self.settings.code_ran();
                }
            }
        }
    }

    /// What is judged from now on is judged by the path and the role that hold now.
    #[inline]
    pub(super) fn look_up(&mut self) {
        if self.settings.take_changes() {
            self.renew_scene();
        }
    }

    pub(super) fn renew_scene(&mut self) {
        let path = self.settings.path().map(|path| path.map(Into::into));
        let search_path = path.clone().unwrap_or_else(|| Some(self.settings.paths().into()));
        self.reading.search_path = path.unwrap_or_else(|| Some(LOST.into()));
        let known = self.scene.target();
        let (role, anywhere) = (self.settings.role(), self.settings.is_anywhere());
        let target = Target { search_path, role, anywhere, ..known.clone() };
        if *known != target {
            self.scene = Scene::new(target);
        }
    }
}
