//! The server's half: to which request an answer belongs, and what it changes.

use std::sync::Arc;

use super::objects::{Described, Description, Made};
use super::outcome::{Ending, Outcome};
use super::request::{Answer, Copying, Kind, Origin, Pending};
use super::{Gate, Phase, Session, server_error};
use crate::wire::postgres::backend::{self, Backend, Transaction};
use crate::wire::postgres::error::{Fault, WireError};
use crate::wire::postgres::fields::Fields;
use crate::wire::postgres::framer::{Frame, Part, Span};
use crate::wire::postgres::splice::Pass;

/// What a server frame is. Nothing else leaves the machine.
#[derive(Debug)]
#[must_use]
pub enum ServerStep<'s, G: Gate> {
    /// Says nothing of what lies in the database.
    Plain(Pass),
    /// Can carry what lies in the database: goes to the client only screened.
    Shows(Shown<'s, G>),
    /// A refusal: these bytes go to the client in the frame's place.
    Refused(Vec<u8>),
    /// The answer to something that tidegate asked on its own account.
    Ours,
}

/// Something that the client would see of the database.
#[derive(Debug)]
pub struct Shown<'s, G: Gate> {
    pub what: What,
    span: Span,
    /// Nothing for what comes on its own while no request is under way.
    pub origin: Option<Origin<'s, G>>,
}

impl<G: Gate> Shown<'_, G> {
    /// It goes on as it is.
    pub fn unchanged(self, _screened: &G::Screened) -> Pass {
        Pass::new(self.span)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Row,
    CopyData,
    FunctionResult,
    Error,
    Notice,
    Notification,
    Parameter,
}

/// A step, before what it borrows from the session is looked up.
enum Found {
    Plain,
    OfHead(What),
    OfLast(What),
    Refused(Vec<u8>),
    Ours,
}

impl<G: Gate> Session<G> {
    /// Takes the server's next frame.
    #[inline]
    pub fn server<'s>(&'s mut self, frame: &Frame<'_>) -> Result<ServerStep<'s, G>, WireError> {
        let found = match frame.tag {
            _ if self.lost && !matches!(frame.tag, b'E' | b'N' | b'S' | b'A') => {
                return Err(self.unexpected(frame.tag));
            }
            b'D' => match self.queue.front_mut() {
                Some(head) if head.takes_rows() => {
                    head.rows += u64::from(matches!(frame.part, Part::Whole | Part::First));
                    head.bytes += frame.span.length as u64;
                    Found::OfHead(What::Row)
                }
                _ => return Err(self.unexpected(frame.tag)),
            },
            b'd' => match self.copying() {
                Copying::Out | Copying::Both => {
                    if let Some(head) = self.queue.front_mut() {
                        head.bytes += frame.span.length as u64;
                    }
                    Found::OfHead(What::CopyData)
                }
                _ => return Err(self.unexpected(frame.tag)),
            },
            _ => self.other(frame)?,
        };
        let (what, origin) = match found {
            Found::Plain => return Ok(ServerStep::Plain(Pass::new(frame.span))),
            Found::Ours => return Ok(ServerStep::Ours),
            Found::Refused(bytes) => return Ok(ServerStep::Refused(bytes)),
            Found::OfHead(what) => (what, self.queue.front()),
            Found::OfLast(what) => (what, self.last.as_ref()),
        };
        let origin = origin.map(Origin::new);
        Ok(ServerStep::Shows(Shown { what, span: frame.span, origin }))
    }

    fn other(&mut self, frame: &Frame<'_>) -> Result<Found, WireError> {
        let message =
            Backend::decode(frame.tag, frame.body(), &self.common.limits).map_err(server_error)?;
        if self.phase == Phase::Ended {
            return Err(server_error(Fault::OutOfPlace {
                message: backend::name(frame.tag),
                phase: "the server has ended the session",
            }));
        }
        match message {
            Backend::NoticeResponse(_) => return Ok(Found::OfHead(What::Notice)),
            Backend::NotificationResponse(_) => return Ok(Found::OfHead(What::Notification)),
            Backend::ParameterStatus(parameter) => {
                let limits = &self.common.limits;
                self.settled.parameters.set(limits, parameter.name, parameter.value);
                return Ok(Found::OfHead(What::Parameter));
            }
            Backend::ErrorResponse(fields) => return self.error(fields),
            Backend::ReadyForQuery(transaction) => return self.ready(transaction),
            _ => {}
        }
        // The queue is lent, so that the head stays in its place meanwhile.
        let mut queue = std::mem::take(&mut self.queue);
        let answered = match queue.front_mut() {
            Some(head) if !head.is_substituted() => self.answer(head, message),
            _ => Answered::Unexpected,
        };
        self.queue = queue;
        let found = match answered {
            Answered::More(found) => found,
            Answered::CopyIn => {
                self.copy_in();
                Found::Plain
            }
            Answered::Done(found, ending) => {
                if let Some(head) = self.queue.pop_front() {
                    self.finish(head, ending);
                }
                found
            }
            Answered::Unexpected => return Err(self.unexpected(frame.tag)),
        };
        // Whatever was sent before this request has been answered.
        if self.copying() == Copying::No {
            self.loose = 0;
        }
        Ok(found)
    }

    fn answer(&mut self, head: &mut Pending<G>, message: Backend<'_>) -> Answered {
        use Answered::{Done, More, Unexpected};
        let serial = head.serial;
        match (&mut head.kind, message) {
            (Kind::Parse { name, statement }, Backend::ParseComplete) => {
                self.statements.confirm(name, serial, statement.clone());
                Done(Found::Plain, Ending::Accepted)
            }
            (Kind::Bind { name, portal }, Backend::BindComplete) => {
                self.portals.confirm(name, serial, portal.clone());
                Done(Found::Plain, Ending::Accepted)
            }
            (Kind::CloseStatement { name }, Backend::CloseComplete) => {
                self.statements.confirm(name, serial, None);
                Done(Found::Plain, Ending::Answered)
            }
            (Kind::ClosePortal { name }, Backend::CloseComplete) => {
                self.portals.confirm(name, serial, None);
                Done(Found::Plain, Ending::Answered)
            }
            (Kind::DescribeStatement { statement, ours }, Backend::ParameterDescription(types)) => {
                if let Some(statement) = statement {
                    statement.parameters.get_or_init(|| types.iter().collect());
                }
                More(if *ours { Found::Ours } else { Found::Plain })
            }
            (Kind::DescribeStatement { ours, .. } | Kind::DescribePortal { ours, .. }, message) => {
                let ours = *ours;
                let described = match message {
                    Backend::RowDescription(columns) => Described::Rows(self.description(columns)),
                    Backend::NoData => Described::NoRows,
                    _ => return Unexpected,
                };
                self.described(head, described);
                Done(if ours { Found::Ours } else { Found::Plain }, Ending::Answered)
            }
            (Kind::FunctionCall { answered, .. }, Backend::FunctionCallResponse(_)) => {
                *answered = true;
                More(Found::OfHead(What::FunctionResult))
            }
            (Kind::Execute { effects, .. }, Backend::CommandComplete(tag)) => {
                let effects = std::mem::take(effects);
                self.effect(head.permit.as_ref(), Made::alone(serial), tag, effects.at(0));
                Done(Found::Plain, Ending::Complete(tag.into()))
            }
            (Kind::Execute { .. }, Backend::PortalSuspended) => {
                Done(Found::Plain, Ending::Suspended)
            }
            (Kind::Execute { .. }, Backend::EmptyQueryResponse) => {
                Done(Found::Plain, Ending::Empty)
            }
            (Kind::Query(simple), _) if simple.state == Answer::Failed => Unexpected,
            (Kind::Query(simple), Backend::RowDescription(columns)) => {
                simple.state = Answer::Begun;
                simple.description = Some(self.description(columns));
                More(Found::Plain)
            }
            (Kind::Query(simple), Backend::CommandComplete(tag)) => {
                simple.state = Answer::Begun;
                simple.description = None;
                simple.copy = Copying::No;
                let index = simple.index;
                // The effects are lent, so that the machine may be changed.
                let effects = std::mem::take(&mut simple.effects);
                let made = Made { serial, index };
                self.effect(head.permit.as_ref(), made, tag, effects.at(index as usize));
                if let Kind::Query(simple) = &mut head.kind {
                    simple.effects = effects;
                }
                self.note(head, Ending::Complete(tag.into()));
                if let Kind::Query(simple) = &mut head.kind {
                    simple.index += 1;
                }
                More(Found::Plain)
            }
            (Kind::Query(simple), Backend::EmptyQueryResponse) => {
                simple.state = Answer::Begun;
                More(Found::Plain)
            }
            (Kind::Query(_) | Kind::Execute { .. }, Backend::CopyInResponse(_)) => {
                begin_copy(head, Copying::In { ended: false });
                Answered::CopyIn
            }
            (Kind::Query(_) | Kind::Execute { .. }, Backend::CopyOutResponse(_)) => {
                begin_copy(head, Copying::Out);
                More(Found::Plain)
            }
            (Kind::Query(_) | Kind::Execute { .. }, Backend::CopyBothResponse(_)) => {
                begin_copy(head, Copying::Both);
                More(Found::Plain)
            }
            (Kind::Query(_) | Kind::Execute { .. }, Backend::CopyDone) => match head.copying() {
                Copying::Out | Copying::Both => More(Found::Plain),
                _ => Unexpected,
            },
            _ => Unexpected,
        }
    }

    /// A COPY from the client begins. What the client had sent before it could
    /// know is read by the server as part of the COPY: Syncs up to a CopyDone
    /// are forgotten, and that CopyDone is the COPY's own. Anything else is lost by some
    /// servers, and by others the session with it.
    fn copy_in(&mut self) {
        loop {
            match self.queue.get(1).map(|next| &next.kind) {
                Some(Kind::Sync) => self.loose = self.loose.saturating_add(1),
                Some(Kind::CopyEnd) => {
                    self.queue.remove(1);
                    if let Some(head) = self.queue.front_mut() {
                        head.set_copying(Copying::In { ended: true });
                    }
                    break;
                }
                _ => break,
            }
            self.queue.remove(1);
        }
        // The Sync that ends its pipeline may be one that is still to come.
        let pipelined =
            matches!(self.queue.front().map(|head| &head.kind), Some(Kind::Execute { .. }));
        let comes = self.queue.iter().all(|next| !matches!(next.kind, Kind::Sync));
        self.since_sync |= pipelined && comes;
    }

    fn error(&mut self, fields: Fields<'_>) -> Result<Found, WireError> {
        let sqlstate: Box<[u8]> = fields.sqlstate().unwrap_or_default().into();
        if fields.is_fatal() {
            self.last = None;
            if let Some(mut head) = self.queue.pop_front() {
                self.unplan(&head);
                if matches!(head.kind, Kind::Query(_) | Kind::FunctionCall { .. }) {
                    self.note(&mut head, Ending::Failed(sqlstate));
                    self.finish(head, Ending::Lost);
                } else {
                    self.finish(head, Ending::Failed(sqlstate));
                }
            }
            self.close();
            return Ok(Found::OfLast(What::Error));
        }
        if self.lost {
            return Err(self.unexpected(b'E'));
        }
        self.lost = self.queue.len() > 1 && self.copying() == (Copying::In { ended: false });
        if self.is_unsynced() && self.queue.iter().any(|next| matches!(next.kind, Kind::Sync)) {
            return Err(self.unexpected(b'E'));
        }
        let unicode = self.settled.parameters.unicode();
        let Some(head) = self.queue.front_mut() else {
            // The server speaks up on its own: within a pipeline it then skips to the
            // Sync (a timeout, at a Flush), else a ReadyForQuery follows.
            match self.since_sync {
                true => self.skipping = true,
                false => self.loose = self.loose.saturating_add(1),
            }
            self.last = None;
            return Ok(Found::OfLast(What::Error));
        };
        let rewritten = match &head.refused {
            Some(refused) if refused.expects(fields) => {
                Some(refused.rewrite(fields, unicode).map_err(server_error)?)
            }
            _ => None,
        };
        let ending = match (&rewritten, &head.refused) {
            (Some(_), Some(refused)) => Ending::Refused(refused.sqlstate),
            _ => Ending::Failed(sqlstate),
        };
        let found = |last| match rewritten {
            Some(bytes) => Found::Refused(bytes),
            None if last => Found::OfLast(What::Error),
            None => Found::OfHead(What::Error),
        };
        match &mut head.kind {
            Kind::Query(simple) => {
                simple.state = Answer::Failed;
                simple.copy = Copying::No;
            }
            Kind::FunctionCall { answered, .. } => *answered = true,
            // The commit at a Sync failed; its ReadyForQuery follows.
            Kind::Sync => return Ok(found(false)),
            _ => {
                if let Some(head) = self.queue.pop_front() {
                    self.failed(&head);
                    self.finish(head, ending);
                }
                if !self.lost {
                    self.skip();
                }
                return Ok(found(true));
            }
        }
        // Its substitute stands for it no longer: the rest of the answer is the
        // server's own.
        head.refused = None;
        let outcome = outcome(head, ending);
        self.outcomes.push(outcome);
        Ok(found(false))
    }

    fn note(&mut self, head: &mut Pending<G>, ending: Ending) {
        let outcome = outcome(head, ending);
        self.outcomes.push(outcome);
    }

    /// What a failed request of the extended protocol leaves behind.
    fn failed(&mut self, head: &Pending<G>) {
        match &head.kind {
            // The server drops the old unnamed statement before it reads the new.
            Kind::Parse { name, .. } if name.is_empty() => {
                self.statements.confirm(b"", head.serial, None);
            }
            Kind::Bind { name, .. } if name.is_empty() => {
                self.portals.confirm(b"", head.serial, None);
            }
            _ => self.unplan(head),
        }
    }

    /// The server ignores all up to the next Sync.
    fn skip(&mut self) {
        while let Some(next) = self.queue.front() {
            if matches!(next.kind, Kind::Sync) {
                return;
            }
            if let Some(skipped) = self.queue.pop_front() {
                self.unplan(&skipped);
                self.conclude(skipped, Ending::Skipped);
            }
        }
        self.skipping = true;
    }

    fn ready(&mut self, transaction: Transaction) -> Result<Found, WireError> {
        let due = match self.queue.front() {
            Some(head) if head.is_substituted() => {
                return Err(server_error(Fault::RefusalTaken));
            }
            Some(head) => match &head.kind {
                Kind::Sync => true,
                Kind::Query(simple) => {
                    simple.state != Answer::Awaited && simple.copy == Copying::No
                }
                Kind::FunctionCall { answered, .. } => *answered,
                _ => false,
            },
            None => false,
        };
        if due {
            if let Some(head) = self.queue.pop_front() {
                if matches!(head.kind, Kind::Query(_)) {
                    self.statements.confirm(b"", head.serial, None);
                    self.portals.confirm(b"", head.serial, None);
                }
                self.finish(head, Ending::Answered);
            }
        } else if self.loose > 0 {
            self.loose -= 1;
            self.skipping = false;
        } else {
            return Err(self.unexpected(b'Z'));
        }
        self.settled.transaction = transaction;
        if transaction == Transaction::Idle {
            // A transaction's portals end with it.
            self.portals.retain(|portal| portal.holdable);
            self.rest();
        }
        Ok(Found::Plain)
    }

    fn finish(&mut self, head: Pending<G>, ending: Ending) {
        if head.is_decided() {
            let index = Origin::new(&head).index();
            let Pending { serial, rows, bytes, .. } = head;
            let permit = head.permit.clone();
            self.outcomes.push(Outcome { serial, index, permit, rows, bytes, ending });
        }
        self.last = Some(head);
        // A CopyDone without a COPY was dropped by the server.
        while self.queue.front().is_some_and(|next| matches!(next.kind, Kind::CopyEnd)) {
            self.queue.pop_front();
        }
    }

    fn description(
        &mut self,
        columns: crate::wire::postgres::lists::Columns<'_>,
    ) -> Arc<Description> {
        match &self.description {
            Some(known) if known.columns() == columns => Arc::clone(known),
            _ => {
                let description = Arc::new(Description::new(columns));
                self.description = Some(Arc::clone(&description));
                description
            }
        }
    }

    fn described(&mut self, head: &Pending<G>, described: Described) {
        match &head.kind {
            Kind::DescribePortal { portal: Some(portal), .. } => {
                portal.result.get_or_init(|| described);
            }
            Kind::DescribeStatement { statement: Some(statement), .. } => {
                if statement.result.get().is_some_and(|known| *known != described) {
                    self.redescribe(statement, described);
                } else {
                    statement.result.get_or_init(|| described);
                }
            }
            _ => {}
        }
    }

    /// Why an answer can't be: for the error.
    fn unexpected(&self, tag: u8) -> WireError {
        let head = self.queue.front();
        if head.is_some_and(Pending::is_substituted) {
            return server_error(Fault::RefusalTaken);
        }
        let request = head.map_or("no request", Pending::name);
        server_error(Fault::UnexpectedAnswer { answer: backend::name(tag), request })
    }
}

enum Answered {
    /// The request has more answers to come.
    More(Found),
    Done(Found, Ending),
    /// A COPY from the client has begun.
    CopyIn,
    Unexpected,
}

/// The end of one statement of a request that goes on.
fn outcome<G: Gate>(head: &mut Pending<G>, ending: Ending) -> Outcome<G> {
    Outcome {
        serial: head.serial,
        index: Origin::new(head).index(),
        permit: head.permit.clone(),
        rows: std::mem::take(&mut head.rows),
        bytes: std::mem::take(&mut head.bytes),
        ending,
    }
}

fn begin_copy<G: Gate>(head: &mut Pending<G>, copy: Copying) {
    if let Kind::Query(simple) = &mut head.kind {
        simple.state = Answer::Begun;
    }
    head.set_copying(copy);
}
