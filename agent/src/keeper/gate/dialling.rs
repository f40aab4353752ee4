//! From the kernel's word of a connect to its release, or its refusal.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::getpeername;
use rustix::net::sockopt::socket_error;
use tidegate_ebpf::{Attempt, FLOW_CANARY, RawFlow, Token};

use super::acquainted::again;
use super::{Gate, Parts, Source, data};
use crate::keeper::Tokens;
use crate::keeper::attempts::{Held, Stage, Who};
use crate::keeper::packet::Answer;
use crate::keeper::upstream::{self, Dialled, Way};
use crate::model::EventKind;

/// Accepted connections that wait for a worker; the rest wait in SYN_SENT.
const MOST_HOMELESS: usize = 512;
const MOST_UNREAD: usize = 4096;

impl Gate {
    pub(super) fn on_attempt(&mut self, attempt: &Attempt) {
        let cookie = attempt.flow.cookie;
        if let Some(known) = self.attempts.get(cookie) {
            if known.flow.connected_at == attempt.flow.connected_at {
                match known.stage {
                    Stage::NoListener => self.proceed(cookie),
                    Stage::Reached(_) => self.release_waiting(),
                    // It had been let go, and was lost on the way.
                    Stage::Released(..) => self.inject_syn(cookie),
                    Stage::Dialling(_) | Stage::Failed(_) | Stage::Hopeless => {}
                }
                return;
            }
            // The same socket, another connect.
            self.forget(cookie);
        }
        let Some(held) = Held::new(attempt) else {
            // Once only, however often its client tries.
            if self.unread.len() >= MOST_UNREAD {
                self.unread.clear();
            }
            if self.unread.insert((cookie, attempt.flow.connected_at)) {
                tracing::warn!("the kernel held back a packet that is no SYN");
                self.settle(&attempt.flow);
            }
            return;
        };
        self.attempts.insert(held);
        self.ask_who(cookie);
        self.proceed(cookie);
    }

    /// Makes sure of the listener, then dials.
    fn proceed(&mut self, cookie: u64) {
        let Some(held) = self.attempts.get_mut(cookie) else { return };
        held.stage = Stage::NoListener;
        let (netns, tgid, tid) = (held.flow.netns, held.flow.tgid, held.flow.tid);
        if self.parts.namespaces.get(netns).is_none()
            && let Err(error) = self.open_namespace(netns, tgid, tid)
        {
            // The client's next SYN is another try.
            tracing::warn!("no listener in network namespace {netns}: {error}");
            return;
        }
        if let Some(namespace) = self.parts.namespaces.get_mut(netns) {
            namespace.in_use += 1;
        }
        self.stage(cookie, Stage::Hopeless);
        if self.attempts.get(cookie).is_some_and(|held| self.is_stray_canary(&held.flow)) {
            self.fail(cookie, &io::ErrorKind::ConnectionRefused.into());
            return;
        }
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

    /// Somebody else's connect to the canary's destination.
    fn is_stray_canary(&self, flow: &RawFlow) -> bool {
        flow.flags & FLOW_CANARY != 0
            && flow.tgid != std::process::id()
            && flow.tgid != self.parts.canary_pid.load(Ordering::Relaxed)
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

    /// Lets the client's SYN go, if there is an enforcer that takes what comes.
    /// A credit is taken when the client has been accepted, not here: a client
    /// that never completes its handshake must cost the others nothing.
    pub(super) fn release(&mut self, cookie: u64) {
        if !self.parts.enforcers.is_serving() || self.homeless.len() >= MOST_HOMELESS {
            self.waiting.push_back(cookie);
            return;
        }
        let Some(held) = self.attempts.get_mut(cookie) else { return };
        if matches!(held.who, Who::Asked) {
            // Let in when it is known who it is.
            return;
        }
        match std::mem::replace(&mut held.stage, Stage::Hopeless) {
            Stage::Reached(socket) => held.stage = Stage::Released(socket),
            other => {
                held.stage = other;
                return;
            }
        }
        self.inject_syn(cookie);
    }

    /// Those that wait go on, the longest waiting first.
    pub(super) fn release_waiting(&mut self) {
        while self.parts.enforcers.is_serving() && self.homeless.len() < MOST_HOMELESS {
            let Some(cookie) = self.waiting.pop_front() else { return };
            self.release(cookie);
        }
    }

    /// Takes an attempt out of the table, wherever it stands.
    pub(super) fn forget(&mut self, cookie: u64) {
        let Some(held) = self.attempts.remove(cookie) else { return };
        if !matches!(held.stage, Stage::NoListener) {
            self.leave(held.flow.netns);
        }
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
        let way = Way::from(&*held.flow);
        self.dial_by(&way)
    }

    pub(super) fn dial_by(&mut self, way: &Way) -> io::Result<Dialled> {
        let Parts { namespaces, maps, .. } = &mut self.parts;
        let mut tokens = Tokens(maps);
        let mut bind = |socket: BorrowedFd<'_>, token: Token| tokens.bind(socket, token);
        namespaces.within(way.netns, || upstream::dial(way, &mut bind))
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
    pub(super) fn fail(&mut self, cookie: u64, error: &io::Error) {
        let Some(held) = self.attempts.get(cookie) else { return };
        if matches!(held.who, Who::Asked) {
            self.stage(cookie, Stage::Failed(again(error)));
            return;
        }
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
pub(super) fn outcome(socket: &OwnedFd) -> io::Result<bool> {
    socket_error(socket)??;
    match getpeername(socket) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
