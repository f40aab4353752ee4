//! Learns a database's catalog: by an account of our own, where one is configured,
//! else within a client's session, between its requests, with its privileges. The
//! client sees nothing of it.
//!
//! What the server says meanwhile on its own goes to the client as always. A
//! question that fails leaves that part as it was, and what isn't known is scanned.

use std::sync::Arc;

use super::carrying::Carrying;
use super::opening::Stage;
use super::reading::Reading;
use super::sights::Viewer;
use super::{Ask, Carriage, Question as Errand, Turn};
use crate::enforcer::catalogs::{Catalogs, Identity, Known};
use crate::enforcer::relay::Io;
use crate::mask::learn::Question;
use crate::policy::Stance;
use crate::wire::limits::Limits;
use crate::wire::postgres::{
    Backend, Bind, Close, Execute, Fault, Field, Formats16, Frame, Frontend, Object, Parse, Side,
    Transaction, Types32, Values, WireError,
};

/// A catalog that is being learnt.
#[derive(Debug)]
pub struct Learning {
    asked: Asked,
    /// What is known of the identity before the server has said its own.
    identity: Identity,
    /// The client has an unnamed statement at the server: a simple query would
    /// drop it.
    careful: bool,
    /// For somebody who mustn't go on with nothing.
    masked: bool,
    /// There is an account of our own to ask.
    account: bool,
    /// Something of the answer has come that isn't its end.
    begun: bool,
}

/// How far it has come.
#[derive(Debug)]
#[must_use]
pub enum Learnt {
    Going,
    /// An account of our own is to be asked, and [`Learning::brought`] to be called.
    /// `again`: by a question that begins now.
    Elsewhere {
        again: bool,
    },
    /// `whole`: nothing is missing.
    Over {
        known: Arc<Known>,
        whole: bool,
    },
}

#[derive(Debug)]
enum Asked {
    Identity,
    /// An account of our own asks, over another connection, about this one.
    Account(Arc<Known>),
    /// All questions were sent.
    Catalog(Box<Reading>),
    Nothing,
}

impl Learning {
    pub fn begin(
        identity: Identity,
        masked: bool,
        careful: bool,
        account: bool,
        out: &mut Vec<u8>,
    ) -> Result<Self, WireError> {
        ask(IDENTITY, careful, out)?;
        Ok(Self { asked: Asked::Identity, identity, careful, masked, account, begun: false })
    }

    /// Whether a frame is an answer to it: the server may speak on its own, or
    /// end the session. It may also have been asked before for an end of which nobody
    /// knew whether it comes; none of ours comes alone.
    pub fn takes(&self, frame: &Frame<'_>, limits: &Limits) -> bool {
        match frame.tag {
            b'A' | b'N' | b'S' => false,
            b'Z' => self.begun,
            b'E' => !matches!(
                Backend::decode(frame.tag, frame.body(), limits),
                Ok(Backend::ErrorResponse(fields)) if fields.is_fatal()
            ),
            _ => true,
        }
    }

    /// Takes an answer in.
    pub fn take(
        &mut self,
        frame: &Frame<'_>,
        limits: &Limits,
        catalogs: &Catalogs,
        out: &mut Vec<u8>,
    ) -> Result<Learnt, WireError> {
        let message = Backend::decode(frame.tag, frame.body(), limits).map_err(of_server)?;
        self.begun = !matches!(message, Backend::ReadyForQuery(_));
        match message {
            Backend::DataRow(values) => match &mut self.asked {
                Asked::Identity => {
                    if let Some(Some(system)) = values.iter().next() {
                        self.identity.system = String::from_utf8_lossy(system).into();
                    }
                }
                Asked::Catalog(reading) => reading.row(values.iter()),
                Asked::Account(_) | Asked::Nothing => {}
            },
            Backend::ErrorResponse(fields) => {
                // Who doesn't know the server's number is told by the rest.
                if let Asked::Catalog(reading) = &mut self.asked {
                    let why = fields.field(Field::MESSAGE).unwrap_or_default();
                    reading.fail(String::from_utf8_lossy(why));
                }
            }
            Backend::ReadyForQuery(_) => return self.next(catalogs, out),
            _ => {}
        }
        Ok(Learnt::Going)
    }

    fn next(&mut self, catalogs: &Catalogs, out: &mut Vec<u8>) -> Result<Learnt, WireError> {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Identity => {
                let known = catalogs.of(self.identity.clone());
                if !known.is_due(self.masked) {
                    return Ok(Learnt::Over { known, whole: true });
                }
                if self.account {
                    // Until something is known, one that is under way will do.
                    let again = known.ended() > 0;
                    self.asked = Asked::Account(known);
                    return Ok(Learnt::Elsewhere { again });
                }
                self.ask_here(known, out)
            }
            Asked::Catalog(mut reading) => {
                reading.answered();
                if reading.question().is_some() {
                    self.asked = Asked::Catalog(reading);
                    return Ok(Learnt::Going);
                }
                let (known, whole) = reading.finish();
                Ok(Learnt::Over { known, whole })
            }
            // It was asked nothing.
            waiting => {
                self.asked = waiting;
                Ok(Learnt::Going)
            }
        }
    }

    fn ask_here(&mut self, known: Arc<Known>, out: &mut Vec<u8>) -> Result<Learnt, WireError> {
        for question in Question::ALL {
            ask(question.sql(), self.careful, out)?;
        }
        self.asked = Asked::Catalog(Box::new(Reading::begin(known)));
        Ok(Learnt::Going)
    }

    /// What an account of our own has learnt. Nothing, or of another server behind
    /// the same address: the session asks itself.
    pub fn brought(
        &mut self,
        learnt: Option<Arc<Known>>,
        out: &mut Vec<u8>,
    ) -> Result<Learnt, WireError> {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Account(known) if learnt.is_some_and(|one| Arc::ptr_eq(&one, &known)) => {
                Ok(Learnt::Over { known, whole: true })
            }
            Asked::Account(known) => self.ask_here(known, out),
            other => {
                self.asked = other;
                Ok(Learnt::Going)
            }
        }
    }
}

impl Carrying {
    /// Whether it is time to ask for the catalog, and nothing is under way.
    pub(super) fn is_to_learn(&self, turn: &Turn<'_>) -> bool {
        let session = &self.session;
        self.learning.is_none()
            && self.probe.is_none()
            && self.held.is_none()
            && session.transaction() == Transaction::Idle
            && self.screening.wants_to_learn(Viewer { judge: &self.judge, means: turn.means })
            && session.is_quiet()
            && !session.is_over()
            && !session.is_replication()
            && !session.in_transaction()
    }

    /// Asks for the catalog, if it is time and nothing is under way. `quiet`: the
    /// client asks for nothing, so there is no hurry; or it is within a message.
    pub(super) fn begins_to_learn(
        &mut self,
        quiet: bool,
        ours: &mut Vec<u8>,
        turn: &Turn<'_>,
    ) -> Result<bool, WireError> {
        if quiet || !self.is_to_learn(turn) {
            return Ok(false);
        }
        let careful = self.session.statement(b"").is_some();
        let identity = self.screening.begins_to_learn();
        let enforced = self.judge.stance(turn.means) == Stance::Enforced;
        let account = self.account.is_some();
        let learning = Learning::begin(identity, enforced, careful, account, ours)?;
        self.learning = Some(Box::new(learning));
        Ok(true)
    }

    pub(super) fn learns(&self, frame: &Frame<'_>, turn: &Turn<'_>) -> bool {
        let limits = &turn.means.shared.common.limits;
        self.learning.as_ref().is_some_and(|learning| learning.takes(frame, limits))
    }

    pub(super) fn learn(
        &mut self,
        frame: &Frame<'_>,
        ours: &mut Vec<u8>,
        turn: &mut Turn<'_>,
    ) -> Result<(), super::Fault> {
        let Some(learning) = &mut self.learning else { return Ok(()) };
        let shared = &turn.means.shared;
        match learning.take(frame, &shared.common.limits, &shared.catalogs, ours)? {
            Learnt::Elsewhere { again } => {
                if let Some(question) = &self.account {
                    turn.asks.push(Ask::Errand(Box::new(Errand { again, ..(**question).clone() })));
                }
            }
            learnt => self.take_learnt(learnt),
        }
        Ok(())
    }

    fn take_learnt(&mut self, learnt: Learnt) {
        if let Learnt::Over { known, whole } = learnt {
            self.screening.learnt(known, whole);
            self.learning = None;
        }
    }
}

impl<I: Io> Carriage<I> {
    /// An account of our own has asked for the catalog, or could not.
    pub(super) fn take_catalog(&mut self, known: Option<Arc<Known>>) -> Result<(), super::Fault> {
        let Stage::Session(carrying) = &mut self.stage else { return Ok(()) };
        let Some(learning) = &mut carrying.learning else { return Ok(()) };
        let mut ours = Vec::new();
        let learnt = learning.brought(known, &mut ours)?;
        carrying.take_learnt(learnt);
        if !ours.is_empty() {
            self.upstream.say(&ours).map_err(super::Fault::UpstreamTls)?;
            self.upstream.flush();
        }
        Ok(())
    }
}

/// One question, with an answer that ends in ReadyForQuery.
fn ask(text: &str, careful: bool, out: &mut Vec<u8>) -> Result<(), WireError> {
    let all: &[Frontend<'_>] = if careful {
        let parse = Parse { name: OURS, query: text.as_bytes(), types: Types32::default() };
        let bind = Bind {
            portal: OURS,
            statement: OURS,
            formats: Formats16::default(),
            parameters: Values::default(),
            result_formats: Formats16::default(),
        };
        &[
            Frontend::Close(Close(Object::Statement(OURS))),
            Frontend::Parse(parse),
            Frontend::Bind(bind),
            Frontend::Execute(Execute { portal: OURS, rows: 0 }),
            Frontend::Close(Close(Object::Portal(OURS))),
            Frontend::Close(Close(Object::Statement(OURS))),
            Frontend::Sync,
        ]
    } else {
        &[Frontend::Query(text.as_bytes())]
    };
    for message in all {
        message.encode(out).map_err(|fault| WireError::new(Side::Inside, fault))?;
    }
    Ok(())
}

fn of_server(fault: Fault) -> WireError {
    WireError::new(Side::Server, fault)
}

/// The name of our statement and portal, for as long as a question takes. One that failed
/// may have left its statement behind, also at a process that others use by now.
const OURS: &[u8] = b"tidegate";
pub(super) const IDENTITY: &str = "SELECT c.system_identifier, d.oid FROM pg_catalog.pg_control_system() AS c, \
     pg_catalog.pg_database AS d \
     WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

#[cfg(test)]
mod tests;
