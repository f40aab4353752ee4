//! What SQL has done to the session, as the server's command tags tell it.

use std::sync::{Arc, OnceLock};

use super::effects::SqlEffect;
use super::objects::{Described, Formats, Made, Portal, Statement};
use super::{Gate, Session};

impl<G: Gate> Session<G> {
    /// A statement succeeded: its tag says of what kind it was, the effect which
    /// name it touched. Where the two don't agree, nothing of that kind is
    /// certain any more.
    pub(super) fn effect(
        &mut self,
        permit: Option<&G::Permit>,
        made: Made,
        tag: &[u8],
        effect: Option<&SqlEffect>,
    ) {
        let serial = made.serial;
        match (tag, effect) {
            (b"DISCARD ALL", _) => {
                self.statements.forget_named();
                self.portals.retain(|_| false);
            }
            (b"DEALLOCATE ALL", _) => self.statements.forget_named(),
            (b"CLOSE CURSOR ALL", _) => self.portals.retain(|_| false),
            (b"DEALLOCATE", Some(SqlEffect::Deallocate(name))) => {
                self.statements.confirm(name, serial, None);
            }
            (b"CLOSE CURSOR", Some(SqlEffect::Close(name))) => {
                self.portals.confirm(name, serial, None);
            }
            (b"PREPARE", Some(SqlEffect::Prepare { name, text, declared })) => {
                let full = self.statements.len() >= self.limits().statements;
                let Some(permit) = permit.filter(|_| !full) else {
                    return self.statements.doubt();
                };
                let limit = self.limits().texts;
                let text = self.budget.keep(limit, text, |_| Arc::clone(text));
                let statement = Statement {
                    name: name.clone(),
                    made,
                    text,
                    declared: declared.clone(),
                    permit: permit.clone(),
                    by_sql: true,
                    parameters: OnceLock::new(),
                    result: OnceLock::new(),
                };
                self.statements.confirm(name, serial, Some(Arc::new(statement)));
            }
            (b"DECLARE CURSOR", Some(SqlEffect::Declare { name, holdable })) => {
                let full = self.portals.len() >= self.limits().portals;
                let Some(permit) = permit.filter(|_| !full) else {
                    return self.portals.doubt();
                };
                let portal = Portal {
                    name: name.clone(),
                    made,
                    statement: None,
                    certain: true,
                    formats: Formats::Text,
                    permit: permit.clone(),
                    holdable: *holdable,
                    result: OnceLock::new(),
                };
                self.portals.confirm(name, serial, Some(Arc::new(portal)));
            }
            (b"PREPARE" | b"DEALLOCATE", _) => self.statements.doubt(),
            // ROLLBACK may have been one to a savepoint, which ends some.
            (b"DECLARE CURSOR" | b"CLOSE CURSOR" | b"ROLLBACK" | b"COMMIT", _) => {
                self.portals.doubt();
            }
            _ => {}
        }
    }

    /// The statement has other columns than it had: those who bind it from now
    /// on get the new ones, those who bound it keep what they were told.
    pub(super) fn redescribe(&mut self, statement: &Arc<Statement<G>>, described: Described) {
        let known = self.statements.confirmed(&statement.name);
        if !known.is_some_and(|known| Arc::ptr_eq(known.value, statement)) {
            return;
        }
        let limit = self.limits().texts;
        let text =
            statement.text().and_then(|text| self.budget.keep(limit, text, |_| Arc::clone(text)));
        let parameters = OnceLock::new();
        if let Some(types) = statement.parameters.get() {
            parameters.get_or_init(|| types.clone());
        }
        let result = OnceLock::new();
        result.get_or_init(|| described);
        let renewed = Statement {
            name: statement.name.clone(),
            made: statement.made,
            text,
            declared: statement.declared.clone(),
            permit: statement.permit.clone(),
            by_sql: statement.by_sql,
            parameters,
            result,
        };
        self.statements.renew(&statement.name, Arc::new(renewed));
    }
}
