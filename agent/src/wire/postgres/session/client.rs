//! The client's half: what may go upstream, and what it would change.

use std::sync::{Arc, OnceLock};

use super::effects::SqlEffects;
use super::names::{Known, Names, Unsettled};
use super::objects::{Formats, Made, Portal, Statement};
use super::outcome::Ending;
use super::refusal::{CANCELLED, Refusal, Refused};
use super::request::{
    Answer, ClientStep, Copying, Draft, Kind, Pending, Request, Runs, Simple, Ticket,
};
use super::{Gate, Phase, Session, client_error};
use crate::wire::postgres::error::{Fault, Side, WireError};
use crate::wire::postgres::framer::{Frame, Part};
use crate::wire::postgres::frontend::{self, Close, Describe, Frontend, Object};
use crate::wire::postgres::splice::Pass;

impl<G: Gate> Session<G> {
    /// Takes the client's next frame. Only while [`Session::takes_client`].
    pub fn client<'f>(&mut self, frame: &Frame<'f>) -> Result<ClientStep<'f, G>, WireError> {
        let pass = Pass::new(frame.span);
        if self.undecided {
            return Err(Fault::Undecided.at(Side::Inside));
        }
        if self.phase == Phase::Terminating {
            return Err(client_error(Fault::OutOfPlace {
                message: frontend::name(frame.tag),
                phase: "the client has said goodbye",
            }));
        }
        // Data is looked at by others, if at all. Where no COPY is under way
        // the server drops it.
        if frame.tag == b'd' {
            if self.copies_in()
                && let Some(head) = self.queue.front_mut()
            {
                head.bytes += frame.span.length as u64;
            }
            return Ok(ClientStep::Plain(pass));
        }
        if frame.part != Part::Whole {
            return Err(Fault::Undecided.at(Side::Inside));
        }
        let message =
            Frontend::decode(frame.tag, frame.body(), &self.common.limits).map_err(client_error)?;
        let (runs, draft) = match message {
            Frontend::Query(text) => {
                (Runs::Query(text), Draft::Query { text: self.keep(text, false) })
            }
            Frontend::Parse(parse) => {
                let name = parse.name.into();
                let declared = parse.types.iter().collect();
                let text = self.keep(parse.query, true);
                (Runs::Parse(parse), Draft::Parse { name, text, declared })
            }
            Frontend::Bind(bind) => {
                let Ok(known) = self.bound(bind.statement) else {
                    return Ok(ClientStep::Wait);
                };
                let statement = known.clone();
                let formats = Formats::new(bind.result_formats);
                let portal = bind.portal.into();
                (Runs::Bind(bind, known), Draft::Bind { portal, statement, formats })
            }
            Frontend::Execute(execute) => {
                let Ok(known) = self.meaning(&self.portals, execute.portal) else {
                    return Ok(ClientStep::Wait);
                };
                let portal = known.as_ref().map(|known| Arc::clone(&known.value));
                (Runs::Execute(execute, known), Draft::Execute { portal })
            }
            Frontend::FunctionCall(call) => {
                (Runs::FunctionCall(call), Draft::FunctionCall { function: call.function })
            }
            plain => {
                return match self.plain(plain)? {
                    Ok(()) => Ok(ClientStep::Plain(pass)),
                    Err(Unsettled) => Ok(ClientStep::Wait),
                };
            }
        };
        self.undecided = true;
        let serial = self.next_serial();
        let ticket = Ticket { serial, span: frame.span, skipped: self.skipping, draft };
        Ok(ClientStep::Runs(Request { runs, ticket }))
    }

    /// Nothing is decided yet: the frame is to be put back, and comes again.
    pub fn take_back(&mut self, ticket: Ticket<G>) {
        drop(ticket);
        self.undecided = false;
    }

    /// The request goes upstream as it is, under this permit. The effects are
    /// those of a Query's statements, or of the one statement of an Execute.
    pub fn release(
        &mut self,
        ticket: Ticket<G>,
        permit: G::Permit,
        effects: SqlEffects,
    ) -> Result<Pass, WireError> {
        self.undecided = false;
        let Ticket { serial, span, skipped, draft } = ticket;
        if skipped {
            let kind = Kind::CopyEnd;
            let pending =
                Pending { serial, permit: Some(permit), refused: None, rows: 0, bytes: 0, kind };
            self.conclude(pending, Ending::Skipped);
            return Ok(Pass::new(span));
        }
        if matches!(draft, Draft::Query { .. } | Draft::Execute { .. }) && effects.renames() {
            self.last_renaming = serial;
            if effects.runs_code() {
                self.suspected = serial;
            }
        }
        let kind = self.plan(serial, draft, Some(&permit), effects)?;
        self.queue.push_back(Pending {
            serial,
            permit: Some(permit),
            refused: None,
            rows: 0,
            bytes: 0,
            kind,
        });
        Ok(Pass::new(span))
    }

    /// The request doesn't go upstream: what must fail in its place is appended
    /// to `out`, and the failure will be rewritten into the refusal.
    pub fn refuse(
        &mut self,
        ticket: Ticket<G>,
        refusal: Refusal,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.refuse_as(ticket, refusal, Refusal::SQLSTATE, out)
    }

    /// The same, in the words of one that the client has cancelled.
    pub fn cancel(
        &mut self,
        ticket: Ticket<G>,
        refusal: Refusal,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.refuse_as(ticket, refusal, CANCELLED, out)
    }

    fn refuse_as(
        &mut self,
        ticket: Ticket<G>,
        refusal: Refusal,
        sqlstate: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.undecided = false;
        let Ticket { serial, skipped, draft, .. } = ticket;
        let replication = self.settled.replication;
        let refused = Refused::substitute(&draft, refusal, sqlstate, replication, out)
            .map_err(|fault| fault.at(Side::Inside))?;
        let refused = Some(Box::new(refused));
        if skipped {
            let kind = Kind::CopyEnd;
            let pending = Pending { serial, permit: None, refused, rows: 0, bytes: 0, kind };
            self.conclude(pending, Ending::Skipped);
            return Ok(());
        }
        let kind = self.plan(serial, draft, None, SqlEffects::default())?;
        self.queue.push_back(Pending { serial, permit: None, refused, rows: 0, bytes: 0, kind });
        Ok(())
    }

    /// Whether data of the client's can still be a COPY's of this request.
    pub fn may_copy(&self, serial: u64) -> bool {
        !self.skipping
            && self.queue.iter().find(|one| one.serial == serial).is_some_and(|one| {
                match &one.kind {
                    Kind::Query(simple) => simple.state != Answer::Failed,
                    Kind::Execute { .. } => true,
                    _ => false,
                }
            })
    }

    /// Ends the COPY of a request that was let through, from the client to the server:
    /// what makes it fail is appended to `out`, and the failure will be rewritten into
    /// the refusal. To go out between two messages of the client's, of which those
    /// that follow are the COPY's no longer. Only while [`Session::may_copy`].
    pub fn end_copy(
        &mut self,
        serial: u64,
        refusal: Refusal,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let Some(pending) = self.queue.iter_mut().find(|one| one.serial == serial) else {
            return Ok(());
        };
        let refused = Refused::end_copy(refusal, out).map_err(|fault| fault.at(Side::Inside))?;
        pending.refused = Some(Box::new(refused));
        self.copy_end();
        Ok(())
    }

    /// Asks the server, on our own account, what a portal's rows look like; the
    /// answer never reaches the client. To go out between the portal's Bind and
    /// its Execute, for rows that must be read and weren't described.
    pub fn describe_portal(&mut self, name: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        if self.skipping {
            return Ok(());
        }
        Frontend::Describe(Describe(Object::Portal(name)))
            .encode(out)
            .map_err(|fault| fault.at(Side::Inside))?;
        let portal = self.meaning(&self.portals, name).ok().flatten();
        let portal = portal.filter(|known| known.certain).map(|known| known.value);
        self.push(Kind::DescribePortal { portal, ours: true });
        Ok(())
    }

    /// What a name means to the request that comes next.
    pub(super) fn meaning<T: Clone>(
        &self,
        names: &Names<T>,
        name: &[u8],
    ) -> Result<Option<Known<T>>, Unsettled> {
        // What is skipped means nothing.
        let hangs = !self.skipping && self.is_outstanding(self.last_sync);
        let mut known = match names.lookup(name, hangs.then_some(self.last_sync)) {
            // The server waits too, for the client's data.
            Err(Unsettled) if self.takes_data() => None,
            found => found?,
        };
        if let Some(known) = &mut known {
            known.certain &= name.is_empty() || !self.is_outstanding(self.last_renaming);
        }
        Ok(known)
    }

    fn plain(&mut self, message: Frontend<'_>) -> Result<Result<(), Unsettled>, WireError> {
        match message {
            Frontend::Terminate => self.phase = Phase::Terminating,
            Frontend::Credential(_) => {
                return Err(client_error(Fault::OutOfPlace {
                    message: "a credential",
                    phase: "the login is over",
                }));
            }
            Frontend::Sync => self.sync()?,
            Frontend::CopyDone | Frontend::CopyFail(_) => self.copy_end(),
            _ if self.skipping => {}
            Frontend::Describe(Describe(Object::Statement(name))) => {
                let Ok(statement) = self.bound(name) else {
                    return Ok(Err(Unsettled));
                };
                let statement = statement.filter(|known| known.certain).map(|known| known.value);
                self.extended(Kind::DescribeStatement { statement, ours: false });
            }
            Frontend::Describe(Describe(Object::Portal(name))) => {
                let Ok(portal) = self.meaning(&self.portals, name) else {
                    return Ok(Err(Unsettled));
                };
                let portal = portal.filter(|known| known.certain).map(|known| known.value);
                self.extended(Kind::DescribePortal { portal, ours: false });
            }
            Frontend::Close(Close(Object::Statement(name))) => {
                let serial = self.extended(Kind::CloseStatement { name: name.into() });
                self.statements.plan(name, serial, None);
            }
            Frontend::Close(Close(Object::Portal(name))) => {
                let serial = self.extended(Kind::ClosePortal { name: name.into() });
                self.portals.plan(name, serial, None);
            }
            _ => {}
        }
        Ok(Ok(()))
    }

    fn sync(&mut self) -> Result<(), WireError> {
        // It has failed, or was skipped for an error before it: then this has the one end
        // that comes, else there are two.
        if self.is_unsynced() && self.has_failed() {
            return Err(client_error(Fault::OutOfPlace {
                message: frontend::name(b'S'),
                phase: "whether a query before it was skipped isn't known",
            }));
        }
        // Inside of a COPY the server reads a Sync and forgets it, since client
        // libraries send one before they know that there is a COPY.
        if self.copying() == (Copying::In { ended: false }) && self.queue.len() == 1 {
            self.loose = self.loose.saturating_add(1);
            return Ok(());
        }
        self.skipping = false;
        self.since_sync = false;
        self.last_sync = self.push(Kind::Sync);
        Ok(())
    }

    fn copy_end(&mut self) {
        if self.skipping {
            return;
        }
        let alone = self.queue.len() == 1;
        match self.queue.front_mut() {
            // No COPY can come of nothing: the server drops it.
            None => {}
            Some(head) if alone && head.copying() == (Copying::In { ended: false }) => {
                head.set_copying(Copying::In { ended: true });
            }
            Some(head) if alone && head.copying() == Copying::Both => {}
            Some(_) => {
                self.push(Kind::CopyEnd);
            }
        }
    }

    fn push(&mut self, kind: Kind<G>) -> u64 {
        let serial = self.next_serial();
        self.queue.push_back(Pending {
            serial,
            permit: None,
            refused: None,
            rows: 0,
            bytes: 0,
            kind,
        });
        serial
    }

    fn extended(&mut self, kind: Kind<G>) -> u64 {
        self.since_sync = true;
        self.push(kind)
    }

    /// What the request will make, if the server accepts it.
    fn plan(
        &mut self,
        serial: u64,
        draft: Draft<G>,
        permit: Option<&G::Permit>,
        effects: SqlEffects,
    ) -> Result<Kind<G>, WireError> {
        let unsynced = self.since_sync;
        self.since_sync |= !matches!(draft, Draft::Query { .. } | Draft::FunctionCall { .. });
        Ok(match draft {
            Draft::Query { text } => {
                // A simple query drops the unnamed statement and portal.
                self.statements.plan(b"", serial, None);
                self.portals.plan(b"", serial, None);
                Kind::Query(Box::new(Simple {
                    text,
                    effects,
                    index: 0,
                    description: None,
                    copy: Copying::No,
                    state: Answer::Awaited,
                    unsynced,
                }))
            }
            Draft::Parse { name, text, declared } => {
                let statement = permit.map(|permit| {
                    Arc::new(Statement {
                        name: name.clone(),
                        made: Made::alone(serial),
                        text,
                        declared,
                        permit: permit.clone(),
                        by_sql: false,
                        parameters: OnceLock::new(),
                        result: OnceLock::new(),
                    })
                });
                let limit = self.limits().statements;
                if !name.is_empty() && self.statements.len() >= limit {
                    let what = "too many prepared statements";
                    return Err(client_error(Fault::Limit { what, limit }));
                }
                self.statements.plan(&name, serial, statement.clone());
                Kind::Parse { name, statement }
            }
            Draft::Bind { portal: name, statement, formats } => {
                let portal = permit.map(|permit| {
                    Arc::new(Portal {
                        name: name.clone(),
                        made: Made::alone(serial),
                        certain: statement.as_ref().is_some_and(|known| known.certain),
                        statement: statement.map(|known| known.value),
                        formats,
                        permit: permit.clone(),
                        holdable: false,
                        result: OnceLock::new(),
                    })
                });
                let limit = self.limits().portals;
                if !name.is_empty() && self.portals.len() >= limit {
                    return Err(client_error(Fault::Limit { what: "too many portals", limit }));
                }
                self.portals.plan(&name, serial, portal.clone());
                Kind::Bind { name, portal }
            }
            Draft::Execute { portal } => Kind::Execute { portal, effects, copy: Copying::No },
            Draft::FunctionCall { function } => {
                Kind::FunctionCall { function, answered: false, unsynced }
            }
        })
    }

    /// Keeps a text within the session's budget; one that will be run again and
    /// again is kept once for all sessions.
    fn keep(&self, text: &[u8], again: bool) -> Option<super::texts::Kept> {
        let limit = self.limits().texts;
        let texts = &self.common.texts;
        self.budget.keep(limit, text, |text| if again { texts.share(text) } else { text.into() })
    }
}
