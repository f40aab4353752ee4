//! Whose the names are that a session gives to what it has at the server.
//!
//! A pooler may put another process of the server behind the session whenever no
//! transaction is open, and what a name means there another client has said.
//!
//! INVARIANT: where names are shared, one that was given before the last rest is never
//! certain.

use std::sync::Arc;

use super::names::{Known, Names, Unsettled};
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

    /// The prepared statement that EXECUTE finds by this name when its turn has come, if
    /// that is certain.
    pub fn executed(&self, name: &[u8]) -> Option<Arc<Statement<G>>> {
        let found = self.found(&self.statements, name)?;
        (self.naming != Naming::Renamed || found.by_sql).then_some(found)
    }

    /// The portal that FETCH and MOVE find by this name, likewise.
    pub fn fetched(&self, name: &[u8]) -> Option<Arc<Portal<G>>> {
        self.found(&self.portals, name)
    }

    fn found<T: Clone>(&self, names: &Names<T>, name: &[u8]) -> Option<T> {
        let known = self.meaning(names, name).ok().flatten()?;
        known.certain.then_some(known.value)
    }

    /// Whether what EXECUTE finds by this name hangs on answers that are sure to come.
    pub fn awaits_statement(&self, name: &[u8]) -> bool {
        self.awaits(&self.statements, name)
    }

    /// The same of what FETCH and MOVE find.
    pub fn awaits_portal(&self, name: &[u8]) -> bool {
        self.awaits(&self.portals, name)
    }

    fn awaits<T: Clone>(&self, names: &Names<T>, name: &[u8]) -> bool {
        let renamed = self.is_outstanding(self.last_renaming) && self.is_told(self.last_renaming);
        !self.skipping && (renamed || self.meaning(names, name).is_err())
    }

    /// The prepared statement that a message finds by this name.
    pub(super) fn bound(&self, name: &[u8]) -> Result<Option<Known<Arc<Statement<G>>>>, Unsettled> {
        let mut known = self.meaning(&self.statements, name)?;
        if let Some(known) = &mut known {
            known.certain &= !self.is_suspect(&known.value) || self.only_ends();
        }
        Ok(known)
    }

    /// Where the server runs nothing but a transaction's end, whatever it is called.
    fn only_ends(&self) -> bool {
        self.transaction() == Transaction::Failed && self.queue.is_empty() && self.begins()
    }

    /// Whether its name may be another's since code ran. A pooler's names aren't the
    /// session's in the first place.
    fn is_suspect(&self, statement: &Statement<G>) -> bool {
        let named = !statement.name.is_empty();
        self.naming == Naming::Own && named && statement.made.serial < self.suspected
    }

    /// Whether a frame begins what may bind such a statement, and the server can be asked
    /// before it: has it any that SQL has prepared? Code has no other way.
    pub fn suspects(&self, frame: &Frame<'_>) -> bool {
        self.suspected != 0
            && matches!(frame.tag, b'P' | b'B' | b'C' | b'D')
            && self.begins()
            && self.transaction() != Transaction::Failed
            && self.statements.any(|statement| self.is_suspect(statement))
    }

    /// No name was given away, or nobody asks.
    pub fn trust(&mut self) {
        self.suspected = 0;
    }

    /// Any may have been.
    pub fn distrust(&mut self) {
        self.suspected = 0;
        self.statements.doubt();
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
