//! The session machines: what each frame means, to whom it belongs, and what
//! may be done with it.
//!
//! [`Greeting`] takes the packets before a session, [`Authenticating`] the
//! login, and [`Session`] all that follows; each moves into the next. Frames go
//! in, steps come out; nothing in here sees a socket.
//!
//! Invariants: what can plan or run something at the server leaves only with a
//! permit, or is replaced by something that must fail; answers belong to the
//! oldest request that isn't answered; an answer that fits no request ends the
//! session.
//!
//! Never: I/O, parsing SQL, guessing which request an answer belongs to.

mod authenticating;
mod client;
mod effects;
mod greeting;
mod names;
mod naming;
mod objects;
mod outcome;
mod parameters;
mod refusal;
mod request;
mod server;
mod sql;
mod texts;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

pub use authenticating::{Authenticating, ClientLogin, CredentialKind, Said, ServerLogin};
pub use effects::{SqlEffect, SqlEffects};
pub use greeting::{Greeted, Greeting};
pub use names::Known;
pub use naming::Naming;
pub use objects::{Described, DescribedBy, Description, Formats, Made, Portal, Shape, Statement};
pub use outcome::{Ending, Outcome};
pub use parameters::Parameters;
pub use refusal::Refusal;
pub use request::{ClientStep, Origin, Request, Runs, Ticket};
pub use server::{ServerStep, Shown, What};
pub use texts::{Text, Texts};

use super::backend::Transaction;
use super::error::{Fault, Side, WireError};
use super::opening::Version;
use crate::wire::limits::Limits;
use names::Names;
use request::{Answer, Copying, Kind, Pending};
use texts::Budget;

/// The witnesses of the rooms that come after this one. A session is made for
/// one gate, and takes the words of no other.
pub trait Gate: Debug {
    /// The policy's word that a request may go upstream. It is kept with the
    /// request and handed back with its answers: cheap to clone.
    type Permit: Clone + Debug;
    /// The mask's word that it has looked at what is shown to the client.
    type Screened;
}

/// The key under which a session can be cancelled.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    pub process: u32,
    pub secret: Box<[u8]>,
}

impl Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey(process {})", self.process)
    }
}

/// What a login has settled.
#[derive(Clone, Debug)]
pub struct Settled {
    pub version: Version,
    pub parameters: Parameters,
    pub key: Option<CancelKey>,
    pub replication: bool,
    pub transaction: Transaction,
}

/// What sessions have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    pub limits: Arc<Limits>,
    pub texts: Arc<Texts>,
}

/// A session after its login.
#[derive(Debug)]
pub struct Session<G: Gate> {
    common: Common,
    settled: Settled,
    phase: Phase,
    serial: u64,
    /// A ticket is out.
    undecided: bool,
    /// Something of the extended protocol was sent since the last Sync.
    since_sync: bool,
    /// The server skips what comes, up to a Sync that the client hasn't sent.
    skipping: bool,
    /// ReadyForQuery messages that may come beyond what was asked for: Syncs
    /// inside a COPY that failed, of which nobody can know whether the server
    /// read them before or after it failed.
    loose: u32,
    /// A COPY from the client has failed before its end, with requests behind it: failed
    /// before it read them, and they are run; or by reading them. Only the session's end
    /// can follow.
    lost: bool,
    queue: VecDeque<Pending<G>>,
    /// The latest Sync, and the latest request that can change what names mean.
    last_sync: u64,
    last_renaming: u64,
    /// The latest request that ran code: which may have given away the names of statements
    /// that were made before it.
    suspected: u64,
    /// The request that was answered last: what is shown belongs to it.
    last: Option<Pending<G>>,
    statements: Names<Arc<Statement<G>>>,
    portals: Names<Arc<Portal<G>>>,
    naming: Naming,
    budget: Budget,
    /// The latest description, since the same one tends to come again.
    description: Option<Arc<Description>>,
    outcomes: Vec<Outcome<G>>,
    gate: PhantomData<fn(G)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ready,
    /// The client has said goodbye.
    Terminating,
    /// The server has ended the session.
    Ended,
}

impl<G: Gate> Session<G> {
    pub fn new(common: Common, settled: Settled) -> Self {
        Self {
            common,
            settled,
            phase: Phase::Ready,
            serial: 0,
            undecided: false,
            since_sync: false,
            skipping: false,
            loose: 0,
            lost: false,
            queue: VecDeque::new(),
            last_sync: 0,
            last_renaming: 0,
            suspected: 0,
            last: None,
            statements: Names::default(),
            portals: Names::default(),
            naming: Naming::default(),
            budget: Budget::default(),
            description: None,
            outcomes: Vec::new(),
            gate: PhantomData,
        }
    }

    /// The transaction's state as the server said it last.
    pub fn transaction(&self) -> Transaction {
        self.settled.transaction
    }

    /// Whether what the client sends next is, or may be, part of a transaction:
    /// an open one, or a pipeline since its last Sync.
    pub fn in_transaction(&self) -> bool {
        self.settled.transaction != Transaction::Idle || self.since_sync || !self.queue.is_empty()
    }

    /// Whether no request waits for an answer.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty() && !self.since_sync && !self.skipping
    }

    /// Requests that wait for their answers.
    pub fn outstanding(&self) -> usize {
        self.queue.len()
    }

    /// Whether the next client frame may be taken. If not: the pipeline is full,
    /// or a request awaits its decision.
    pub fn takes_client(&self) -> bool {
        !self.undecided && self.queue.len() < self.common.limits.pipeline_depth()
    }

    /// Whether COPY data flows from the client at the moment.
    pub fn copies_in(&self) -> bool {
        matches!(self.copying(), Copying::In { .. } | Copying::Both)
    }

    /// Whether COPY data flows to the client at the moment.
    pub fn copies_out(&self) -> bool {
        matches!(self.copying(), Copying::Out | Copying::Both)
    }

    /// Whether either side has ended the session in its protocol.
    pub fn is_over(&self) -> bool {
        self.phase != Phase::Ready
    }

    pub fn parameters(&self) -> &Parameters {
        &self.settled.parameters
    }

    pub fn key(&self) -> Option<&CancelKey> {
        self.settled.key.as_ref()
    }

    pub fn version(&self) -> Version {
        self.settled.version
    }

    pub fn is_replication(&self) -> bool {
        self.settled.replication
    }

    /// A prepared statement that the server has confirmed. What SQL finds is
    /// [`Session::executed`].
    pub fn statement(&self, name: &[u8]) -> Option<Known<&Arc<Statement<G>>>> {
        self.statements.confirmed(name)
    }

    /// A portal that the server has confirmed. What SQL finds is [`Session::fetched`].
    #[cfg(test)]
    pub fn portal(&self, name: &[u8]) -> Option<Known<&Arc<Portal<G>>>> {
        self.portals.confirmed(name)
    }

    /// The named statements that the server has confirmed, in no order.
    pub fn statement_names(&self) -> impl Iterator<Item = &[u8]> {
        self.statements.names()
    }

    /// The named portals that the server has confirmed, in no order.
    pub fn portal_names(&self) -> impl Iterator<Item = &[u8]> {
        self.portals.names()
    }

    /// Bytes of statement text that this session keeps.
    pub fn text_bytes(&self) -> usize {
        self.budget.used()
    }

    /// How requests ended since the last time this was asked, in order.
    pub fn outcomes(&mut self) -> std::vec::Drain<'_, Outcome<G>> {
        self.outcomes.drain(..)
    }

    /// The connection is gone on either side: what isn't answered never will
    /// be. The outcomes say so.
    pub fn close(&mut self) {
        self.phase = Phase::Ended;
        while let Some(pending) = self.queue.pop_front() {
            self.unplan(&pending);
            self.conclude(pending, Ending::Lost);
        }
    }

    fn copying(&self) -> Copying {
        self.queue.front().map_or(Copying::No, Pending::copying)
    }

    /// Whether the server goes on only when the client has sent more of a COPY's data.
    fn takes_data(&self) -> bool {
        matches!(self.copying(), Copying::In { ended: false } | Copying::Both)
    }

    /// Whether this request, or one before it, waits for its answer.
    fn is_outstanding(&self, serial: u64) -> bool {
        self.queue.front().is_some_and(|head| head.serial <= serial)
    }

    /// Whether the server tells how this request ended before the client sends more. It
    /// keeps the answers of a pipeline to itself up to the Sync.
    fn is_told(&self, serial: u64) -> bool {
        let ends = |kind: &Kind<G>| {
            matches!(kind, Kind::Query(_) | Kind::FunctionCall { .. } | Kind::Sync)
        };
        let mut later = self.queue.iter().rev().take_while(|later| later.serial >= serial);
        !self.takes_data() && later.any(|later| ends(&later.kind))
    }

    /// Whether an answer is awaited to a query that was sent within a pipeline: an error may
    /// be its own, or one before it at which the server has begun to skip.
    fn is_unsynced(&self) -> bool {
        self.queue.front().is_some_and(|head| match &head.kind {
            Kind::Query(simple) => simple.unsynced,
            Kind::FunctionCall { unsynced, .. } => *unsynced,
            _ => false,
        })
    }

    /// Whether what is being answered has failed, as far as has been heard.
    fn has_failed(&self) -> bool {
        self.queue.front().is_some_and(|head| match &head.kind {
            Kind::Query(simple) => simple.state == Answer::Failed,
            Kind::FunctionCall { answered, .. } => *answered,
            _ => false,
        })
    }

    fn limits(&self) -> &Arc<Limits> {
        &self.common.limits
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Takes back what a request would have made.
    fn unplan(&mut self, pending: &Pending<G>) {
        let serial = pending.serial;
        match &pending.kind {
            Kind::Query(_) => {
                self.statements.abandon(b"", serial);
                self.portals.abandon(b"", serial);
            }
            Kind::Parse { name, .. } | Kind::CloseStatement { name } => {
                self.statements.abandon(name, serial);
            }
            Kind::Bind { name, .. } | Kind::ClosePortal { name } => {
                self.portals.abandon(name, serial);
            }
            _ => {}
        }
    }

    fn conclude(&mut self, pending: Pending<G>, ending: Ending) {
        if pending.is_decided() {
            let index = Origin::new(&pending).index();
            let Pending { serial, permit, rows, bytes, .. } = pending;
            self.outcomes.push(Outcome { serial, index, permit, rows, bytes, ending });
        }
    }
}

fn client_error(fault: Fault) -> WireError {
    fault.at(Side::Client)
}

fn server_error(fault: Fault) -> WireError {
    fault.at(Side::Server)
}

#[cfg(test)]
mod tests;
