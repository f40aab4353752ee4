//! The session's own temporary tables, so that what is meant for one of them isn't
//! taken for what is done to a table of the same name that everybody has.
//!
//! A name counts once three things are certain: this session created it, as a plain
//! table, and the transaction in which it did holds; nothing since can have dropped,
//! renamed or replaced it; and the name means it, for the server's process is this
//! session's alone and its search path names `pg_temp` nowhere. The last is what the
//! server itself is asked ([`super::probe`]): a pooler would answer as another process.
//!
//! INVARIANT: whatever may have changed any of that takes the name off at once, when
//! it is let through; only what the server has confirmed puts one on.

use crate::sql::effect::Use;
use crate::sql::facts::{Facts, Note, Object, ObjectKind, Statement, Verb};
use crate::sql::temporary::{ends_transaction, is_opaque, may_take_all, taken};

#[derive(Debug, Default)]
pub struct Temporary {
    tables: Vec<Table>,
    /// Creations that were let through and have not been answered.
    coming: Vec<Coming>,
    /// Something failed, or was rolled back, since the last word on a transaction.
    failed: bool,
}

#[derive(Debug)]
struct Coming {
    serial: u64,
    /// Which statement of its text.
    index: u32,
    name: Box<str>,
    drops_at_commit: bool,
}

#[derive(Debug)]
struct Table {
    name: Box<str>,
    drops_at_commit: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Created, or of a transaction that is ending: nobody can say yet.
    Unsettled,
    /// Of the transaction that is open.
    Open,
    Committed,
}

/// What a transaction is in, once everything is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Idle,
    Open,
    Failed,
}

impl Temporary {
    /// Names that mean tables of this session's own, if names mean what they should.
    pub fn names(&self) -> Vec<Box<str>> {
        let usable = self.tables.iter().filter(|table| table.state != State::Unsettled);
        let mut names: Vec<_> = usable.map(|table| table.name.clone()).collect();
        names.sort();
        names
    }

    /// Whether there are any, usable or not: then it is worth asking the server.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A text is let through. `runs`: and runs at once; otherwise it is only planned,
    /// which runs code too.
    pub fn follow(&mut self, facts: &Facts, serial: u64, runs: bool) {
        // Nearly every text, of nearly every session.
        if !runs {
            if !self.is_idle() && facts.running().any(is_opaque) {
                self.forget_all();
            }
            return;
        }
        for (statement, index) in facts.running().zip(0..) {
            if self.is_idle() && statement.effects.is_pure_read() {
                continue;
            }
            self.statement(statement, serial, index);
        }
    }

    fn is_idle(&self) -> bool {
        self.tables.is_empty() && self.coming.is_empty()
    }

    fn statement(&mut self, statement: &Statement, serial: u64, index: u32) {
        if may_take_all(statement) {
            return self.forget_all();
        }
        if ends_transaction(statement) {
            self.unsettle();
        }
        taken(statement).for_each(|name| self.forget(name));
        if let Some(object) = created(statement) {
            self.coming.push(Coming {
                serial,
                index,
                name: object.name.clone(),
                drops_at_commit: statement.notes.contains(&Note::DropsAtCommit),
            });
        }
    }

    /// A statement has run to its end, with this tag.
    pub fn completed(&mut self, serial: u64, index: u32, tag: &[u8]) {
        if self.is_idle() {
            return;
        }
        match tag {
            // To a savepoint, perhaps: what was created before it is given up as well.
            b"ROLLBACK" => self.failed = true,
            b"COMMIT" => self.tables.retain(|table| !table.drops_at_commit),
            _ => {}
        }
        let mut place = 0;
        while let Some(coming) = self.coming.get(place) {
            if coming.serial == serial && coming.index == index {
                let Coming { name, drops_at_commit, .. } = self.coming.remove(place);
                self.tables.push(Table { name, drops_at_commit, state: State::Unsettled });
            } else {
                place += 1;
            }
        }
    }

    /// A request is over. What it was to create and nobody confirmed will not come.
    pub fn ended(&mut self, serial: u64, failed: bool) {
        if self.is_idle() {
            return;
        }
        self.failed |= failed;
        self.coming.retain(|coming| coming.serial != serial);
    }

    /// Everything is answered, and this is where the transaction stands.
    pub fn rests(&mut self, rest: Rest) {
        let failed = match rest {
            Rest::Failed => {
                self.failed = true;
                return;
            }
            _ => std::mem::take(&mut self.failed),
        };
        if self.tables.is_empty() {
            return;
        }
        self.tables.retain(|table| {
            let given_up = failed && table.state != State::Committed;
            let dropped = rest == Rest::Idle && table.drops_at_commit;
            !given_up && !dropped
        });
        let state = if rest == Rest::Idle { State::Committed } else { State::Open };
        for table in self.tables.iter_mut().filter(|table| table.state != State::Committed) {
            table.state = state;
        }
    }

    fn unsettle(&mut self) {
        for table in self.tables.iter_mut().filter(|table| table.state == State::Open) {
            table.state = State::Unsettled;
        }
    }

    fn forget(&mut self, name: &str) {
        self.tables.retain(|table| *table.name != *name);
        self.coming.retain(|coming| *coming.name != *name);
    }

    /// Nobody can say any more.
    pub fn forget_all(&mut self) {
        self.tables.clear();
        self.coming.clear();
    }
}

/// The plain temporary table that this creates, and nothing but this.
fn created(statement: &Statement) -> Option<&Object> {
    let creates = matches!(statement.verb, Verb::Create | Verb::CreateTableAs | Verb::SelectInto);
    // IF NOT EXISTS may have found anything under that name.
    let uncertain =
        [Note::IfNotExists, Note::InexactNames].iter().any(|note| statement.notes.contains(note));
    if !creates || uncertain {
        return None;
    }
    let mut defined = statement.objects.iter().filter(|one| one.uses.contains(Use::Defined));
    let (object, others) = (defined.next()?, defined.next());
    let plain = object.kind == ObjectKind::Relation && object.temporary && !object.name.is_empty();
    (plain && others.is_none()).then_some(object)
}

#[cfg(test)]
mod tests;
