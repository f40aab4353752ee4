//! What a request finds by names that SQL gives: EXECUTE a prepared statement, FETCH and
//! MOVE a cursor.
//!
//! INVARIANT: a name that a request under way may give another meaning has none. Where
//! the server's answers are sure to come it is waited for; else what the name stands for
//! is unknown, and the strictest reading counts.

use std::sync::Arc;

use crate::enforcer::postgres::gate::{Behind, Judged, Understood};
use crate::policy::Set;
use crate::sql::facts::{self as sql, Facts, Verb};
use crate::wire::postgres::session::{Portal, Runs, Session, Statement};

/// From where names are looked up.
#[derive(Clone, Copy, Debug)]
pub(in crate::enforcer::postgres) struct Named {
    /// By a portal that was bound with this number. It runs once, whenever it is first
    /// executed, and what it then found is what later executions show: so its names mean
    /// nothing that was made behind it.
    portal: Option<u64>,
}

impl Named {
    pub fn of(runs: &Runs<'_, Judged>) -> Self {
        let portal = match runs {
            Runs::Execute(_, Some(portal)) => Some(portal.value.made.serial),
            _ => None,
        };
        Self { portal }
    }

    /// Whether it is about to be known what a text's names mean: then it waits.
    pub fn waits(facts: &Facts, session: &Session<Judged>) -> bool {
        session.outstanding() > 0
            && Set::executes(facts).any(|one| match one.handle.as_deref().map(str::as_bytes) {
                Some(name) if is_fetch(one) => session.awaits_portal(name),
                Some(name) => session.awaits_statement(name),
                None => false,
            })
    }

    /// The prepared statement that EXECUTE finds, if that is certain.
    pub fn executed(self, name: &str, session: &Session<Judged>) -> Option<Arc<Statement<Judged>>> {
        session.executed(name.as_bytes()).filter(|found| self.finds(found.made.serial))
    }

    /// The cursor that FETCH and MOVE find, likewise.
    pub fn fetched(self, name: &str, session: &Session<Judged>) -> Option<Arc<Portal<Judged>>> {
        session.fetched(name.as_bytes()).filter(|found| self.finds(found.made.serial))
    }

    fn finds(self, made: u64) -> bool {
        self.portal.is_none_or(|portal| made < portal)
    }

    /// The cursor that a text fetches from, where it does nothing else.
    pub fn cursor(
        self,
        statement: &Understood,
        session: &Session<Judged>,
    ) -> Option<Arc<Portal<Judged>>> {
        let mut all = statement.facts.running();
        let one = all.next().filter(|one| is_fetch(one))?;
        let alone = all.next().is_none();
        self.fetched(one.handle.as_deref()?, session).filter(|_| alone)
    }

    /// The text in which that was prepared which a statement of `text` runs by its name.
    pub fn prepared(
        self,
        one: &sql::Statement,
        text: &Arc<Facts>,
        session: &Session<Judged>,
    ) -> Option<Arc<Facts>> {
        let name = one.handle.as_deref()?;
        if !is_fetch(one) {
            return Some(Arc::clone(&self.executed(name, session)?.permit.statement.facts));
        }
        let mut before = text.running().take_while(|other| !std::ptr::eq(*other, one));
        if before.any(|other| other.verb == Verb::DeclareCursor && other.handle == one.handle) {
            return Some(Arc::clone(text));
        }
        Some(Arc::clone(&self.fetched(name, session)?.permit.statement.facts))
    }

    /// The prepared statement or cursor that a text names first.
    pub fn behind(self, statement: &Understood, session: &Session<Judged>) -> Option<Behind> {
        let (verb, name) = statement.facts.running().find_map(|one| {
            let named = matches!(one.verb, Verb::Execute | Verb::Fetch | Verb::Move);
            Some((one.verb, one.handle.as_deref().filter(|_| named)?))
        })?;
        if verb == Verb::Execute {
            let found = self.executed(name, session)?;
            let text = Arc::clone(&found.permit.statement);
            return Some(Behind { text, index: found.made.index });
        }
        let found = self.fetched(name, session)?;
        Some(Behind { text: Arc::clone(&found.permit.statement), index: found.made.index })
    }
}

/// The names of the cursors that a text goes on with.
pub(super) fn fetches(facts: &Facts) -> impl Iterator<Item = &str> {
    facts.running().filter(|one| is_fetch(one)).filter_map(|one| one.handle.as_deref())
}

pub(in crate::enforcer::postgres) fn is_fetch(one: &sql::Statement) -> bool {
    matches!(one.verb, Verb::Fetch | Verb::Move)
}
