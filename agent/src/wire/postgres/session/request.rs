//! Requests: as a client sends them, before anybody decided; and as they wait
//! for their answers.

use std::sync::Arc;

use super::effects::SqlEffects;
use super::names::Known;
use super::objects::{Description, Formats, Portal, Statement};
use super::refusal::Refused;
use super::texts::{Kept, Text};
use super::{Gate, Shape};
use crate::wire::postgres::framer::Span;
use crate::wire::postgres::frontend::{Bind, Execute, FunctionCall, Parse};

/// What a client frame is. Nothing else leaves the machine.
#[derive(Debug)]
#[must_use]
pub enum ClientStep<'f, G: Gate> {
    /// Can neither plan nor run anything.
    Plain(crate::wire::postgres::splice::Pass),
    /// It speaks of something that an unanswered pipeline may make or not: the
    /// frame is to be put back, and tried again when the server has said more.
    Wait,
    /// Goes upstream only by [`super::Session::release`].
    Runs(Request<'f, G>),
}

/// Something that can plan or run at the server.
#[derive(Debug)]
pub struct Request<'f, G: Gate> {
    pub runs: Runs<'f, G>,
    pub ticket: Ticket<G>,
}

/// What it is, read in place.
#[derive(Debug)]
pub enum Runs<'f, G: Gate> {
    /// Simple query: one text, any number of statements.
    Query(&'f [u8]),
    Parse(Parse<'f>),
    /// With the statement it binds, where that is known.
    Bind(Bind<'f>, Option<Known<Arc<Statement<G>>>>),
    /// With the portal it runs, where that is known.
    Execute(Execute<'f>, Option<Known<Arc<Portal<G>>>>),
    FunctionCall(FunctionCall<'f>),
}

/// The right to decide about one request, once.
#[derive(Debug)]
#[must_use = "the session waits until the request is released or refused"]
pub struct Ticket<G: Gate> {
    pub(super) serial: u64,
    pub(super) span: Span,
    /// The server is skipping to a Sync: it will never look at this.
    pub(super) skipped: bool,
    pub(super) draft: Draft<G>,
}

impl<G: Gate> Ticket<G> {
    /// The request's number in its session; answers bear it too.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Where its frame lies: the bytes stay there while it is held.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Whether the server will skip it, whatever it is: an earlier request of
    /// its pipeline has failed.
    pub fn is_skipped(&self) -> bool {
        self.skipped
    }
}

#[derive(Debug)]
pub(super) enum Draft<G: Gate> {
    Query { text: Option<Kept> },
    Parse { name: Box<[u8]>, text: Option<Kept>, declared: Box<[u32]> },
    Bind { portal: Box<[u8]>, statement: Option<Known<Arc<Statement<G>>>>, formats: Formats },
    Execute { portal: Option<Arc<Portal<G>>> },
    FunctionCall { function: u32 },
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending<G: Gate> {
    pub serial: u64,
    pub permit: Option<G::Permit>,
    pub refused: Option<Box<Refused>>,
    pub rows: u64,
    pub bytes: u64,
    pub kind: Kind<G>,
}

#[derive(Debug)]
pub(super) enum Kind<G: Gate> {
    Query(Box<Simple>),
    Parse {
        name: Box<[u8]>,
        statement: Option<Arc<Statement<G>>>,
    },
    Bind {
        name: Box<[u8]>,
        portal: Option<Arc<Portal<G>>>,
    },
    Execute {
        portal: Option<Arc<Portal<G>>>,
        effects: SqlEffects,
        copy: Copying,
    },
    DescribeStatement {
        statement: Option<Arc<Statement<G>>>,
        ours: bool,
    },
    DescribePortal {
        portal: Option<Arc<Portal<G>>>,
        ours: bool,
    },
    CloseStatement {
        name: Box<[u8]>,
    },
    ClosePortal {
        name: Box<[u8]>,
    },
    FunctionCall {
        function: u32,
        answered: bool,
        unsynced: bool,
    },
    Sync,
    /// A CopyDone or CopyFail that came before it was known whether there is a
    /// COPY. It has no answer of its own.
    CopyEnd,
}

/// A simple query and how far its answer is.
#[derive(Debug)]
pub(super) struct Simple {
    pub text: Option<Kept>,
    pub effects: SqlEffects,
    /// Which of its statements is being answered.
    pub index: u32,
    pub description: Option<Arc<Description>>,
    pub copy: Copying,
    pub state: Answer,
    /// It was sent within a pipeline, before its Sync.
    pub unsynced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Awaited,
    Begun,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copying {
    No,
    In { ended: bool },
    Out,
    Both,
}

impl<G: Gate> Pending<G> {
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Query(_) => "Query",
            Kind::Parse { .. } => "Parse",
            Kind::Bind { .. } => "Bind",
            Kind::Execute { .. } => "Execute",
            Kind::DescribeStatement { .. } | Kind::DescribePortal { .. } => "Describe",
            Kind::CloseStatement { .. } | Kind::ClosePortal { .. } => "Close",
            Kind::FunctionCall { .. } => "FunctionCall",
            Kind::Sync => "Sync",
            Kind::CopyEnd => "CopyDone",
        }
    }

    /// Whether somebody released or refused it: then its end is told.
    pub fn is_decided(&self) -> bool {
        self.permit.is_some()
            || self.refused.is_some()
            || matches!(self.kind, Kind::Query(_) | Kind::FunctionCall { .. })
    }

    pub fn copying(&self) -> Copying {
        match &self.kind {
            Kind::Query(simple) => simple.copy,
            Kind::Execute { copy, .. } => *copy,
            _ => Copying::No,
        }
    }

    pub fn set_copying(&mut self, now: Copying) {
        match &mut self.kind {
            Kind::Query(simple) => simple.copy = now,
            Kind::Execute { copy, .. } => *copy = now,
            _ => {}
        }
    }

    /// Whether something else went upstream in its place.
    #[inline]
    pub fn is_substituted(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| !refused.within)
    }

    /// Whether rows may come for it now.
    #[inline]
    pub fn takes_rows(&self) -> bool {
        !self.is_substituted()
            && match &self.kind {
                Kind::Query(simple) => {
                    simple.description.is_some() && simple.state == Answer::Begun
                }
                Kind::Execute { copy, .. } => *copy == Copying::No,
                _ => false,
            }
    }
}

/// To which request something of an answer belongs.
#[derive(Debug)]
pub struct Origin<'s, G: Gate>(&'s Pending<G>);

impl<G: Gate> Clone for Origin<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G: Gate> Copy for Origin<'_, G> {}

impl<'s, G: Gate> Origin<'s, G> {
    pub(super) fn new(pending: &'s Pending<G>) -> Self {
        Self(pending)
    }

    pub fn serial(&self) -> u64 {
        self.0.serial
    }

    /// The message's name: Query, Execute …
    pub fn request(&self) -> &'static str {
        self.0.name()
    }

    /// What the request was released with; nothing if it was refused or can
    /// run nothing.
    pub fn permit(&self) -> Option<&'s G::Permit> {
        self.0.permit.as_ref()
    }

    /// Which statement of a simple query's text it is, from 0.
    pub fn index(&self) -> u32 {
        match &self.0.kind {
            Kind::Query(simple) => simple.index,
            _ => 0,
        }
    }

    /// The text of a simple query, or of the statement that is parsed, bound,
    /// described or executed.
    pub fn text(&self) -> Option<&'s Text> {
        match &self.0.kind {
            Kind::Query(simple) => simple.text.as_ref().map(Kept::text),
            _ => self.statement()?.text(),
        }
    }

    pub fn statement(&self) -> Option<&'s Arc<Statement<G>>> {
        match &self.0.kind {
            Kind::Parse { statement, .. } | Kind::DescribeStatement { statement, .. } => {
                statement.as_ref()
            }
            _ => self.portal()?.statement.as_ref(),
        }
    }

    pub fn portal(&self) -> Option<&'s Arc<Portal<G>>> {
        match &self.0.kind {
            Kind::Bind { portal, .. }
            | Kind::Execute { portal, .. }
            | Kind::DescribePortal { portal, .. } => portal.as_ref(),
            _ => None,
        }
    }

    /// The OID that a FunctionCall calls.
    pub fn function(&self) -> Option<u32> {
        match self.0.kind {
            Kind::FunctionCall { function, .. } => Some(function),
            _ => None,
        }
    }

    /// How to read its rows. Nothing when nobody ever described them: see
    /// [`super::Session::describe_portal`].
    pub fn shape(&self) -> Option<Shape<'s>> {
        match &self.0.kind {
            Kind::Query(simple) => simple.description.as_ref().map(Shape::of_answer),
            _ => self.portal()?.shape(),
        }
    }
}
