//! What enforcers ask for: leaves, and further connections to the destination
//! of one that is open (to cancel a statement, to ask for a verifier).
//!
//! INVARIANT: whoever asks names a connection that it has, and gets nothing
//! that is not for that connection's own destination. Each request has exactly
//! one answer, as long as the asker listens.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::dialling::outcome;
use super::{Gate, Open, Source, data};
use crate::channel::ToEnforcer;
use crate::keeper::enforcers::{Allowance, TooOften, Worker, WorkerId};
use crate::keeper::signer::{Job, Wanted};
use crate::keeper::upstream::Dialled;
use crate::model::{CANARY_RULE, FlowId};

/// A destination that is there answers sooner.
const DIAL_WITHIN: Duration = Duration::from_secs(30);
/// Dials under way of one worker.
const MOST_DIALS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Redials {
    under_way: HashMap<u64, Redial>,
    next: u64,
}

#[derive(Debug)]
struct Redial {
    worker: WorkerId,
    request: u64,
    flow: FlowId,
    socket: OwnedFd,
    until: Instant,
}

impl Gate {
    pub(super) fn on_sign(&mut self, id: WorkerId, request: u64, flow: FlowId, wanted: Wanted) {
        let asked = match self.allowed(id, |worker| &mut worker.leaves, "leaves") {
            Ok(()) => self.ask_signer(id, request, flow, wanted),
            Err(why) => Err(why),
        };
        if let Err(why) = asked {
            tracing::debug!("a leaf is refused for connection {flow}: {why}");
            self.signed(id, request, Err(why.into()));
        }
    }

    /// Takes of a worker's allowance; what is beyond is told once.
    fn allowed(
        &mut self,
        id: WorkerId,
        which: impl Fn(&mut Worker) -> &mut Allowance,
        what: &str,
    ) -> Result<(), &'static str> {
        let Some(worker) = self.parts.enforcers.worker_mut(id) else {
            return Err("this worker has ended");
        };
        which(worker).take(Instant::now()).map_err(|TooOften { first }| {
            if first {
                tracing::warn!("a worker asks for too many {what} in a short time");
            }
            "this worker asked for too many in a short time"
        })
    }

    fn ask_signer(
        &mut self,
        worker: WorkerId,
        request: u64,
        flow: FlowId,
        wanted: Wanted,
    ) -> Result<(), &'static str> {
        let flow = &self.open_of(worker, flow)?.flow;
        let job = Job {
            worker,
            request,
            grounds: Arc::clone(&self.parts.grounds),
            rule: flow.rule.clone(),
            destination: flow.destination.0.ip(),
            wanted,
        };
        if self.signer.ask(job) { Ok(()) } else { Err("too many wait for one") }
    }

    pub(super) fn signed(&mut self, id: WorkerId, request: u64, leaf: Result<Vec<u8>, String>) {
        self.parts.enforcers.answer(id, ToEnforcer::Signed { request, leaf }, None);
    }

    pub(super) fn on_dial(&mut self, id: WorkerId, request: u64, flow: FlowId) {
        if let Err(why) = self.redial(id, request, flow) {
            self.dialled(id, request, Err(why));
        }
    }

    fn redial(&mut self, worker: WorkerId, request: u64, flow: FlowId) -> Result<(), String> {
        self.allowed(worker, |worker| &mut worker.dials, "connections")?;
        let under_way = self.redials.under_way.values().filter(|r| r.worker == worker).count();
        if under_way >= MOST_DIALS {
            return Err("this worker has too many dials under way".into());
        }
        let way = self.open_of(worker, flow)?.way;
        match self.dial_by(&way).map_err(|error| error.to_string())? {
            Dialled::Connected(socket) => self.dialled(worker, request, Ok(socket)),
            Dialled::Connecting(socket) => {
                let number = self.redials.next;
                self.redials.next = (number + 1) & ((1 << 56) - 1);
                let when = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
                epoll::add(&self.epoll, &socket, data(Source::Redial, number), when)
                    .map_err(|error| error.to_string())?;
                let until = Instant::now() + DIAL_WITHIN;
                let redial = Redial { worker, request, flow, socket, until };
                self.redials.under_way.insert(number, redial);
            }
        }
        Ok(())
    }

    /// A connection that this very worker has.
    pub(super) fn open_of(&self, worker: WorkerId, flow: FlowId) -> Result<&Open, &'static str> {
        of_worker(&self.open, worker, flow)
    }

    pub(super) fn on_redial(&mut self, number: u64) {
        let Some(redial) = self.redials.under_way.get(&number) else { return };
        let result = match outcome(&redial.socket) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let when = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
                let again = data(Source::Redial, number);
                match epoll::modify(&self.epoll, &redial.socket, again, when) {
                    Ok(()) => return,
                    Err(error) => Err(io::Error::from(error).to_string()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        self.end_redial(number, result);
    }

    /// Those whose connection has ended have nobody to go to.
    pub(super) fn end_redials_of(&mut self, flow: FlowId) {
        let of_flow = |redial: &Redial| redial.flow == flow;
        self.end_redials(of_flow, "the connection that it was for has ended");
    }

    pub(super) fn end_old_redials(&mut self) {
        let now = Instant::now();
        self.end_redials(|redial| redial.until <= now, "the destination does not answer");
    }

    fn end_redials(&mut self, which: impl Fn(&Redial) -> bool, why: &str) {
        let ended: Vec<u64> = self
            .redials
            .under_way
            .iter()
            .filter(|(_, redial)| which(redial))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            self.end_redial(number, Err(why.into()));
        }
    }

    fn end_redial(&mut self, number: u64, result: Result<(), String>) {
        let Some(redial) = self.redials.under_way.remove(&number) else { return };
        // The enforcer waits for it from now on.
        let _ = epoll::delete(&self.epoll, &redial.socket);
        self.dialled(redial.worker, redial.request, result.map(|()| redial.socket));
    }

    fn dialled(&mut self, id: WorkerId, request: u64, result: Result<OwnedFd, String>) {
        let (socket, failed) = match result {
            Ok(socket) => (Some(socket), None),
            Err(why) => (None, Some(why)),
        };
        self.parts.enforcers.answer(id, ToEnforcer::Dialled { request, failed }, socket);
    }
}

fn of_worker(
    open: &HashMap<FlowId, Open>,
    worker: WorkerId,
    flow: FlowId,
) -> Result<&Open, &'static str> {
    open.get(&flow)
        .filter(|open| open.worker == worker && open.flow.rule != CANARY_RULE)
        .ok_or("this worker has no such connection")
}

#[cfg(test)]
mod tests;
