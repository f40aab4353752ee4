//! Whom a cancel is meant for. It comes on another connection, to whichever worker
//! has room, and to whichever server the name led its client to this time.
//!
//! ```text
//! cancel --Reply--> the session's own worker --Dial--> keeper --socket--> errand --> its server
//! ```
//!
//! INVARIANT: a cancel goes to the server that gave the key, by TLS if the session
//! has it; whoever sent it is answered once that is done. A key that no session here
//! has goes on as it came: it may be another enforcer's, or of before the agent's
//! start.
//!
//! Never: to another destination than the one that it came for.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::postgres::Question;
use crate::wire::postgres::session::CancelKey;

type Tell = Box<dyn Fn() + Send>;
/// By process and secret.
type ByKey<T> = HashMap<(u32, Box<[u8]>), T>;
type Sender = dyn Fn(Question, Reply) + Send + Sync;

/// Of the whole process.
#[derive(Clone, Default)]
pub struct Cancels(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// The statements that are held; an entry lives for as long as that.
    held: ByKey<Tell>,
    /// The sessions. Two servers may have given the same key by chance.
    sessions: ByKey<Vec<Line>>,
    next: u64,
}

/// A session that can be cancelled.
struct Line {
    number: u64,
    way: Way,
}

/// To a session's server.
#[derive(Clone)]
pub struct Way {
    question: Question,
    send: Arc<Sender>,
}

impl Way {
    /// Sets out. The reply tells when it is done.
    pub fn go(self, reply: Reply) {
        (self.send)(self.question, reply);
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("to", &self.question.subject.address).finish()
    }
}

/// Whether the server has taken it. It is told even if nobody says so.
pub struct Reply(Option<Box<dyn FnOnce(bool) + Send>>);

impl Reply {
    pub fn new(told: impl FnOnce(bool) + Send + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    pub fn tell(mut self, done: bool) {
        if let Some(told) = self.0.take() {
            told(done);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(false);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// The session is known for as long as this lives.
pub struct Listed {
    cancels: Cancels,
    key: CancelKey,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let place = (self.key.process, std::mem::take(&mut self.key.secret));
        let sessions = &mut self.cancels.lock().sessions;
        let Some(lines) = sessions.get_mut(&place) else { return };
        lines.retain(|line| line.number != self.number);
        if lines.is_empty() {
            sessions.remove(&place);
        }
    }
}

impl Cancels {
    /// `tell` must not wait, nor come back here.
    pub fn expect(&self, key: &CancelKey, tell: impl Fn() + Send + 'static) {
        self.lock().held.insert((key.process, key.secret.clone()), Box::new(tell));
    }

    pub fn forget(&self, key: &CancelKey) {
        self.lock().held.remove(&(key.process, key.secret.clone()));
    }

    /// A client wants this one cancelled.
    pub fn cancel(&self, process: u32, secret: &[u8]) {
        if let Some(tell) = self.lock().held.get(&(process, secret.into())) {
            tell();
        }
    }

    /// A session has begun. `question` is how its server is asked, `send` brings it
    /// to the session's own worker.
    pub fn list(
        &self,
        key: CancelKey,
        question: Question,
        send: impl Fn(Question, Reply) + Send + Sync + 'static,
    ) -> Listed {
        let mut known = self.lock();
        let number = known.next;
        known.next += 1;
        let way = Way { question, send: Arc::new(send) };
        let place = (key.process, key.secret.clone());
        known.sessions.entry(place).or_default().push(Line { number, way });
        drop(known);
        Listed { cancels: self.clone(), key, number }
    }

    /// The way to the session's server, where it is another than the one that a cancel
    /// for this destination has arrived at, or where the session has TLS and the cancel
    /// hasn't: what says so is `tls`.
    pub fn way(&self, rule: &str, at: SocketAddr, tls: bool, key: (u32, &[u8])) -> Option<Way> {
        let known = self.lock();
        let lines = known.sessions.get(&(key.0, key.1.into()))?;
        let of_rule = || lines.iter().filter(|line| line.way.question.subject.rule == rule);
        let here = of_rule().find(|line| line.way.question.subject.address == at);
        let line = here.or_else(|| of_rule().next())?;
        let mut way = line.way.clone();
        let in_clear = way.question.subject.tls && !tls;
        way.question.subject.tls |= tls;
        (here.is_none() || in_clear).then_some(way)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
