//! One connection, whatever is spoken on it: read where it is PostgreSQL's,
//! else carried as it comes.

use std::sync::Arc;

use super::means::Means;
use super::postgres::{self, Turn, Word};
use super::relay::{self, Io, Progress, Ready, Side};
use crate::audit::Connection;
use crate::model::{CANARY_RULE, Carried, Closing, End, Flow, Protocol};

pub enum Carriage<I> {
    /// Not read: the canary, another protocol, or somebody said so by name.
    Unread(relay::Session<I>, Option<Box<Unread>>),
    Postgres(Box<postgres::Carriage<I>>),
}

/// What is told of what isn't read.
pub struct Unread {
    carried: Carried,
    log: Connection,
}

impl<I: Io> Carriage<I> {
    pub fn new(client: I, upstream: I, flow: Box<Flow>, means: &Means) -> Self {
        let canary = flow.rule == CANARY_RULE;
        let passthrough = !canary && means.passes(&flow);
        if canary || passthrough || !means.destination(&flow).is_read() {
            let carried = Carried { protocol: Protocol::Unread, passthrough, ..Carried::default() };
            let session = relay::Session::new(client, upstream);
            let unread = (!canary).then(|| {
                let log = means.shared.log.connection(Arc::from(flow));
                let _ = log.opened();
                Box::new(Unread { carried, log })
            });
            return Self::Unread(session, unread);
        }
        let flow = Arc::from(flow);
        Self::Postgres(Box::new(postgres::Carriage::new(client, upstream, flow, means)))
    }

    pub fn notice(&mut self, side: Side, ready: Ready) {
        match self {
            Self::Unread(session, _) => session.notice(side, ready),
            Self::Postgres(carriage) => carriage.notice(side, ready),
        }
    }

    pub fn advance(&mut self, turn: &mut Turn<'_>) -> Progress {
        match self {
            Self::Unread(session, _) => session.advance(turn.buffers),
            Self::Postgres(carriage) => carriage.advance(turn),
        }
    }

    /// What it asked for is there.
    pub fn tell(&mut self, word: Word, turn: &mut Turn<'_>) {
        if let Self::Postgres(carriage) = self {
            carriage.tell(word, turn);
        }
    }

    /// No more time is given.
    pub fn drain(&mut self) {
        if let Self::Postgres(carriage) = self {
            carriage.drain();
        }
    }

    /// Whether its session is still to come.
    pub fn opens(&self) -> bool {
        matches!(self, Self::Postgres(carriage) if carriage.opens())
    }

    /// Whether that hangs on the server's word.
    pub fn waits_for_server(&self) -> bool {
        matches!(self, Self::Postgres(carriage) if carriage.waits_for_server())
    }

    /// Whether it is the server's TLS that is waited for.
    pub fn awaits_tls_of_server(&self) -> bool {
        matches!(self, Self::Postgres(carriage) if carriage.awaits_tls_of_server())
    }

    /// Whether it is over but for what somebody is still to take.
    pub fn is_ending(&self) -> bool {
        matches!(self, Self::Postgres(carriage) if carriage.is_ending())
    }

    /// Bytes that its legs took.
    pub fn given(&self) -> u64 {
        match self {
            Self::Unread(..) => 0,
            Self::Postgres(carriage) => carriage.given(),
        }
    }

    /// It took too long: what it ends with.
    pub fn late(&mut self, why: String) -> End {
        match self {
            Self::Unread(..) => End::Fault,
            Self::Postgres(carriage) => carriage.late(why),
        }
    }

    /// Makes the coming drop a reset of both legs.
    pub fn abort(&mut self) {
        match self {
            Self::Unread(session, _) => session.abort(),
            Self::Postgres(carriage) => carriage.abort(),
        }
    }

    /// Whether an end that isn't orderly is one to be passed on as a reset.
    pub fn ends_by_reset(&self) -> bool {
        match self {
            Self::Unread(..) => true,
            Self::Postgres(carriage) => carriage.ends_by_reset(),
        }
    }

    pub fn bytes_up(&self) -> u64 {
        match self {
            Self::Unread(session, _) => session.bytes_up(),
            Self::Postgres(carriage) => carriage.bytes_up(),
        }
    }

    pub fn bytes_down(&self) -> u64 {
        match self {
            Self::Unread(session, _) => session.bytes_down(),
            Self::Postgres(carriage) => carriage.bytes_down(),
        }
    }

    /// The connection's last words, for the log.
    pub fn close(&mut self, closing: &Closing) {
        match self {
            Self::Unread(_, Some(unread)) => {
                let _ = unread.log.session(&unread.carried);
                let _ = unread.log.closed(closing);
            }
            Self::Unread(_, None) => {}
            Self::Postgres(carriage) => carriage.close(closing),
        }
    }

    pub fn carried(&mut self) -> Option<Box<Carried>> {
        match self {
            Self::Unread(_, unread) => {
                unread.as_ref().map(|unread| Box::new(unread.carried.clone()))
            }
            Self::Postgres(carriage) => Some(carriage.carried()),
        }
    }
}
