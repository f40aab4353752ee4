//! The enforcers' side of the gate: starting them, hearing them, burying them.

use std::io;

use rustix::event::epoll;

use super::{Gate, TURN, channel_data, ended_data};
use crate::channel::{ChannelError, ToKeeper};
use crate::keeper::enforcers::WorkerId;
use crate::keeper::signer::Wanted;
use crate::model::{CANARY_RULE, Closing, End, EventKind};

impl Gate {
    pub(super) fn start_enforcer(&mut self) -> io::Result<u32> {
        let generation = self.parts.enforcers.start()?;
        if let Err(error) = self.watch_enforcer(generation) {
            self.parts.enforcers.kill(generation);
            self.parts.enforcers.buried(generation);
            return Err(error);
        }
        Ok(generation)
    }

    fn watch_enforcer(&self, generation: u32) -> io::Result<()> {
        let read = epoll::EventFlags::IN;
        if let Some(enforcer) = self.parts.enforcers.get(generation) {
            for (worker, index) in enforcer.workers.iter().zip(0..) {
                let id = WorkerId { generation, worker: index };
                epoll::add(&self.epoll, worker, channel_data(id), read)?;
            }
            epoll::add(&self.epoll, &enforcer.ended, ended_data(generation), read)?;
        }
        Ok(())
    }

    /// Hears a worker out, within a turn's bounds: a worker that never stops
    /// talking must not keep the gate from the others. True: there is more.
    pub(super) fn on_channel(&mut self, id: WorkerId) -> bool {
        for _ in 0..TURN {
            let Some(worker) = self.parts.enforcers.worker_mut(id) else { return false };
            match worker.receive() {
                Ok(received) => self.on_message(id, received.message),
                Err(ChannelError::WouldBlock) => return false,
                Err(error) => {
                    // Without all of its channels it can't be trusted with
                    // connections; its pidfd tells its end.
                    if !matches!(error, ChannelError::Closed) {
                        tracing::error!("an enforcer's channel failed: {error}");
                    }
                    if let Some(worker) = self.parts.enforcers.worker_mut(id) {
                        worker.ready = false;
                        let _ = epoll::delete(&self.epoll, &*worker);
                    }
                    if self.parts.enforcers.get(id.generation).is_some_and(|e| !e.draining) {
                        self.parts.enforcers.kill(id.generation);
                    }
                    return false;
                }
            }
        }
        true
    }

    fn on_message(&mut self, id: WorkerId, message: ToKeeper) {
        match message {
            ToKeeper::Hello { version, worker: _, fences } => {
                if self.parts.enforcers.hello(id, version, fences) {
                    self.on_whole(id.generation);
                }
            }
            ToKeeper::Credit { more } => {
                if let Some(worker) = self.parts.enforcers.worker_mut(id) {
                    worker.credits = worker.credits.saturating_add(more).min(65_536);
                }
                self.place_homeless();
                self.release_waiting();
            }
            ToKeeper::Closed(closing) => self.on_closed(id, closing),
            ToKeeper::Seen { flow } => {
                if self.open.get(&flow).is_some_and(|open| open.flow.rule == CANARY_RULE) {
                    self.canary.seen = true;
                    self.canary.unseen_since = None;
                    self.canary_crossed();
                }
            }
            ToKeeper::Sign { request, flow, names, key, chain } => {
                self.on_sign(id, request, flow, Wanted { names, key, chain });
            }
            ToKeeper::Dial { request, flow } => self.on_dial(id, request, flow),
            ToKeeper::Hold { request, flow, asked, waits, patience_ms } => {
                let waits = waits.then_some(patience_ms.unwrap_or(u64::MAX));
                self.on_hold(id, request, flow, *asked, waits);
            }
            ToKeeper::Withdraw { request, why } => self.on_withdraw(id, request, why),
            ToKeeper::Learnt { database, learnt } => {
                self.parts.enforcers.learnt(&database, *learnt);
            }
        }
    }

    /// Every worker of an enforcer has its fences up: it is the one in use.
    fn on_whole(&mut self, generation: u32) {
        let drain = match self.upgrading.take() {
            Some(upgrading) if upgrading.generation == generation => {
                let _ = upgrading.done.send(Ok(format!(
                    "new connections go to the new enforcer; the old one drains for {} s at most",
                    upgrading.drain.as_secs()
                )));
                upgrading.drain
            }
            other => {
                self.upgrading = other;
                self.parts.settings.enforcer.drain
            }
        };
        self.parts.enforcers.drain_others(generation, drain);
        self.release_waiting();
    }

    fn on_closed(&mut self, id: WorkerId, closing: Closing) {
        let Some(open) = self.open.remove(&closing.flow) else { return };
        if open.worker != id {
            tracing::warn!("a worker told the end of a connection that it doesn't have");
            self.open.insert(closing.flow, open);
            return;
        }
        if let Some(worker) = self.parts.enforcers.worker_mut(id) {
            worker.open = worker.open.saturating_sub(1);
        }
        self.end_redials_of(closing.flow);
        self.withdraw_holds_of(closing.flow);
        self.leave(open.flow.netns);
        if open.flow.rule != CANARY_RULE {
            self.parts.observers.tell(EventKind::Closed { flow: open.flow, closing });
        }
    }

    pub(super) fn on_ended(&mut self, generation: u32) {
        // What it said before it ended still counts.
        let workers = self.parts.enforcers.get(generation).map_or(0, |e| e.workers.len());
        for worker in 0..u32::try_from(workers).unwrap_or(0) {
            while self.on_channel(WorkerId { generation, worker }) {}
        }
        if self.parts.enforcers.buried(generation).is_none() {
            return;
        }
        self.withdraw_holds_of_enforcer(generation);
        let lost: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.worker.generation == generation)
            .map(|(flow, _)| *flow)
            .collect();
        for flow in lost {
            let closing = Closing {
                flow,
                bytes_up: 0,
                bytes_down: 0,
                duration_us: 0,
                end: End::EnforcerLost,
                carried: None,
            };
            self.end_redials_of(flow);
            if let Some(open) = self.open.remove(&flow) {
                self.leave(open.flow.netns);
                if open.flow.rule != CANARY_RULE {
                    self.parts.observers.tell(EventKind::Closed { flow: open.flow, closing });
                }
            }
        }
        if self.upgrading.as_ref().is_some_and(|upgrading| upgrading.generation == generation)
            && let Some(upgrading) = self.upgrading.take()
        {
            self.parts.enforcers.set_binary(&upgrading.before);
            let _ = upgrading.done.send(Err(
                "the new enforcer ended before it was ready: the old one goes on (see the log)"
                    .into(),
            ));
        }
        self.next_tick = std::time::Instant::now();
    }

    /// A canary counts when the enforcer carried it and it came back.
    pub(super) fn canary_crossed(&mut self) {
        if self.canary.seen && self.canary.returned {
            self.canary.seen = false;
            self.canary.returned = false;
            self.canary.crossed += 1;
            self.canary.last = Some(crate::model::Timestamp::now());
            self.canary.last_crossed = Some(std::time::Instant::now());
            self.canary.last_error = None;
            self.beat();
        }
    }
}
