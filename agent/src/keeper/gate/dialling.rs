//! From the kernel's word of a connect to its release, or its refusal.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::getpeername;
use rustix::net::sockopt::socket_error;
use tidegate_ebpf::{Attempt, FLOW_CANARY, Token};

use super::{Gate, Parts, Source, data};
use crate::keeper::abi::Plain;
use crate::keeper::attempts::{Held, Stage};
use crate::keeper::packet::Answer;
use crate::keeper::upstream::{self, Dialled};
use crate::model::EventKind;

impl Gate {
    pub(super) fn on_attempt(&mut self, attempt: &Attempt) {
        let cookie = attempt.flow.cookie;
        if let Some(known) = self.attempts.get(cookie) {
            if known.flow.connected_at == attempt.flow.connected_at {
                // The client asks again. If its SYN had been let go, it was
                // lost on the way.
                if matches!(known.stage, Stage::Released(..)) {
                    self.inject_syn(cookie);
                }
                return;
            }
            // The same socket, another connect.
            self.forget(cookie);
        }
        let Some(held) = Held::new(attempt) else {
            tracing::warn!("the kernel held back a packet that is no SYN");
            self.settle(&attempt.flow);
            return;
        };
        let (netns, tgid, tid) = (held.flow.netns, held.flow.tgid, held.flow.tid);
        if self.parts.namespaces.get(netns).is_none()
            && let Err(error) = self.open_namespace(netns, tgid, tid)
        {
            tracing::warn!("no listener in network namespace {netns}: {error}");
            // Left to the client's retransmission, which tries again.
            self.settle(&attempt.flow);
            return;
        }
        if let Some(namespace) = self.parts.namespaces.get_mut(netns) {
            namespace.in_use += 1;
        }
        self.attempts.insert(held);
        match self.dial(cookie) {
            Ok(Dialled::Connected(socket)) => {
                self.stage(cookie, Stage::Reached(socket));
                self.release(cookie);
            }
            Ok(Dialled::Connecting(socket)) => {
                let when = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
                match epoll::add(&self.epoll, &socket, data(Source::Upstream, cookie), when) {
                    Ok(()) => self.stage(cookie, Stage::Dialling(socket)),
                    Err(error) => self.fail(cookie, &error.into()),
                }
            }
            Err(error) => self.fail(cookie, &error),
        }
    }

    pub(super) fn on_upstream(&mut self, cookie: u64) {
        let Some(held) = self.attempts.get_mut(cookie) else { return };
        let stage = std::mem::replace(&mut held.stage, Stage::Hopeless);
        let Stage::Dialling(socket) = stage else {
            held.stage = stage;
            return;
        };
        match outcome(&socket) {
            Ok(true) => {
                // The enforcer waits for it from now on.
                let _ = epoll::delete(&self.epoll, &socket);
                held.stage = Stage::Reached(socket);
                self.release(cookie);
            }
            Ok(false) => {
                // The word was of an earlier connect of the same client.
                let when = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
                let again = data(Source::Upstream, cookie);
                let watched = epoll::modify(&self.epoll, &socket, again, when);
                held.stage = Stage::Dialling(socket);
                if let Err(error) = watched {
                    self.fail(cookie, &error.into());
                }
            }
            Err(error) => self.fail(cookie, &error),
        }
    }

    /// Lets the client's SYN go, if a worker can take the connection.
    pub(super) fn release(&mut self, cookie: u64) {
        let Some(worker) = self.parts.enforcers.reserve() else {
            self.waiting.push_back(cookie);
            return;
        };
        let Some(held) = self.attempts.get_mut(cookie) else {
            self.parts.enforcers.release(worker);
            return;
        };
        match std::mem::replace(&mut held.stage, Stage::Hopeless) {
            Stage::Reached(socket) => held.stage = Stage::Released(socket, worker),
            other => {
                held.stage = other;
                self.parts.enforcers.release(worker);
                return;
            }
        }
        self.inject_syn(cookie);
    }

    /// Credits have come: those that wait go on, the longest waiting first.
    pub(super) fn release_waiting(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some(cookie) = self.waiting.pop_front() else { return };
            let waits = self
                .attempts
                .get(cookie)
                .is_some_and(|held| matches!(held.stage, Stage::Reached(_)));
            if waits {
                let before = self.waiting.len();
                self.release(cookie);
                if self.waiting.len() > before {
                    // No credit: it keeps its place in front.
                    if let Some(cookie) = self.waiting.pop_back() {
                        self.waiting.push_front(cookie);
                    }
                    return;
                }
            }
        }
    }

    /// Takes an attempt out of the table, wherever it stands.
    pub(super) fn forget(&mut self, cookie: u64) {
        let Some(held) = self.attempts.remove(cookie) else { return };
        if let Stage::Released(_, worker) = held.stage {
            self.parts.enforcers.release(worker);
        }
        self.leave(held.flow.netns);
        self.settle(&held.flow);
    }

    pub(super) fn leave(&mut self, netns: u64) {
        if let Some(namespace) = self.parts.namespaces.get_mut(netns) {
            namespace.in_use = namespace.in_use.saturating_sub(1);
        }
    }

    fn dial(&mut self, cookie: u64) -> io::Result<Dialled> {
        let Some(held) = self.attempts.get(cookie) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Parts { namespaces, maps, .. } = &mut self.parts;
        let mut bind = |socket: BorrowedFd<'_>, token: Token| {
            maps.tokens.insert(&socket.as_raw_fd(), Plain(token), 0).map_err(io::Error::other)
        };
        namespaces.within(held.flow.netns, || upstream::dial(&held.flow, &mut bind))
    }

    fn stage(&mut self, cookie: u64, stage: Stage) {
        if let Some(held) = self.attempts.get_mut(cookie) {
            held.stage = stage;
        }
    }

    fn inject_syn(&mut self, cookie: u64) {
        let Some(held) = self.attempts.get(cookie) else { return };
        let sent =
            self.parts.namespaces.inject(held.flow.netns, held.syn.listener, &held.syn.packet());
        if let Err(error) = sent {
            // The client's next SYN is another try.
            tracing::warn!("cannot let a connect go: {error}");
        }
    }

    /// The destination can't be reached: the client is told what the keeper
    /// was told.
    fn fail(&mut self, cookie: u64, error: &io::Error) {
        let Some(held) = self.attempts.get(cookie) else { return };
        let canary = held.flow.flags & FLOW_CANARY != 0;
        let (packet, silent) = match Answer::to(error) {
            Answer::Reset => (Some(held.syn.reset()), false),
            Answer::Unreachable(why) => (Some(held.syn.unreachable(why)), false),
            Answer::Silence => (None, true),
        };
        if let Some(packet) = packet
            && let Err(error) =
                self.parts.namespaces.inject(held.flow.netns, held.syn.source, &packet)
        {
            tracing::warn!("cannot tell a client that its destination is unreachable: {error}");
        }
        if !canary {
            let flow = self.flow_of(cookie);
            if let Some(flow) = flow {
                let error = error.to_string();
                self.parts.observers.tell(EventKind::Failed { flow: Arc::from(flow), error });
            }
        }
        if !silent {
            self.forget(cookie);
        }
    }
}

/// Whether a connect has succeeded, goes on, or has failed.
fn outcome(socket: &OwnedFd) -> io::Result<bool> {
    socket_error(socket)??;
    match getpeername(socket) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
