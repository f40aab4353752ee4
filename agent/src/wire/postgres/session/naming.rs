//! Whose the names are that a session gives to what it has at the server.
//!
//! A pooler may put another process of the server behind the session whenever no
//! transaction is open, and what a name means there another client has said.
//!
//! INVARIANT: where names are shared, one that was given before the last rest is never
//! certain.

use std::sync::Arc;

use super::request::Copying;
use super::{Gate, Portal, Session, Statement};
use crate::wire::postgres::backend::Transaction;
use crate::wire::postgres::framer::Frame;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// The session's: so is the server's process.
    #[default]
    Own,
    /// Everybody's who takes turns at that process.
    Shared,
    /// The same, but for the statements that Parse names: the pooler keeps those apart,
    /// under names of its own, of which SQL's EXECUTE knows nothing.
    Renamed,
}

impl<G: Gate> Session<G> {
    /// It is known whose the names are. To be said at a rest.
    pub fn set_naming(&mut self, naming: Naming) {
        self.naming = naming;
        self.rest();
    }

    /// No transaction is open: what comes next may meet another process.
    pub(super) fn rest(&mut self) {
        match self.naming {
            Naming::Own => return,
            Naming::Shared => self.statements.doubt_those(|_| true),
            Naming::Renamed => self.statements.doubt_those(|statement| statement.by_sql),
        }
        self.portals.doubt_those(|_| true);
    }

    /// The prepared statement that EXECUTE finds by this name, if that is certain.
    pub fn executed(&self, name: &[u8]) -> Option<Arc<Statement<G>>> {
        let known = self.meaning(&self.statements, name).ok()??;
        let found = self.naming != Naming::Renamed || known.value.by_sql;
        (known.certain && found).then_some(known.value)
    }

    /// The cursor or portal that FETCH finds by this name, if that is certain.
    pub fn fetched(&self, name: &[u8]) -> Option<Arc<Portal<G>>> {
        let known = self.meaning(&self.portals, name).ok()??;
        known.certain.then_some(known.value)
    }

    /// Whether all that was sent before has an end of its own.
    pub fn begins(&self) -> bool {
        !self.since_sync && !self.skipping && self.copying() == Copying::No
    }

    /// Whether what this frame begins may lean on a name that was given before, and whose
    /// meaning may have gone with a process of the server's.
    pub fn leans_on_names(&self, frame: &Frame<'_>) -> bool {
        if !self.begins() || self.transaction() != Transaction::Idle {
            return false;
        }
        // What it parses or asks takes the unnamed one's place.
        let anew = frame.tag == b'Q' || frame.tag == b'P' && frame.body().first() == Some(&0);
        self.statements.len() + self.portals.len() > 0 || !anew && self.statements.has_unnamed()
    }
}
