//! From the listener to the worker.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use tidegate_ebpf::{FLOW_IPV6_SOCKET, FLOW_MAPPED};

use super::{Gate, Homeless, Open, TURN};
use crate::channel::{ChannelError, ToEnforcer};
use crate::keeper::attempts::Stage;
use crate::keeper::enforcers::WorkerId;
use crate::keeper::packet::sequence_of;
use crate::keeper::sys;
use crate::keeper::upstream::Way;
use crate::model::{CANARY_RULE, EventKind, Flow, FlowId, Peer, SocketKind, Timestamp};

impl Gate {
    pub(super) fn on_accept(&mut self, netns: u64, ipv6: bool) {
        for _ in 0..TURN {
            let Some(namespace) = self.parts.namespaces.get(netns) else { return };
            let listener = if ipv6 { namespace.listen6.as_ref() } else { Some(&namespace.listen4) };
            let Some(listener) = listener else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match acceptfrom_with(listener, flags) {
                Ok((client, Some(from))) => {
                    if let Ok(from) = SocketAddr::try_from(from) {
                        self.accepted(netns, from, client);
                    }
                }
                Ok((_, None)) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(error) => {
                    // Out of descriptors, most likely: the next turn may have some.
                    tracing::warn!("cannot accept: {error}");
                    std::thread::sleep(Duration::from_millis(5));
                    return;
                }
            }
        }
    }

    fn accepted(&mut self, netns: u64, from: SocketAddr, client: OwnedFd) {
        // The address may be another's by now: only the SYN that was let go
        // says which connect this is.
        let sequence = sys::saved_syn(&client).ok().as_deref().and_then(sequence_of);
        let cookie = self.attempts.of_client(netns, from).filter(|cookie| {
            self.attempts.get(*cookie).is_some_and(|held| sequence == Some(held.syn.sequence()))
        });
        let flow = cookie.and_then(|cookie| self.flow_of(cookie));
        let held = cookie.and_then(|cookie| self.attempts.remove(cookie));
        let (Some(held), Some(flow)) = (held, flow) else {
            tracing::warn!("a connection from {from} that nobody let go: reset");
            reset(&client);
            return;
        };
        self.settle(&held.flow);
        if let Stage::Released(upstream) = held.stage {
            let way = Way::from(&*held.flow);
            self.homeless.push_back(Homeless { flow, way, client, upstream });
            self.place_homeless();
        } else {
            self.leave(netns);
            reset(&client);
        }
    }

    /// Accepted connections go to workers that have credits.
    pub(super) fn place_homeless(&mut self) {
        while let Some(homeless) = self.homeless.pop_front() {
            let Some(worker) = self.parts.enforcers.reserve() else {
                self.homeless.push_front(homeless);
                return;
            };
            if let Err(homeless) = self.hand_over(worker, homeless) {
                self.homeless.push_front(homeless);
                return;
            }
        }
    }

    /// Gives a connection to a worker, or it back where another, or a later
    /// moment, may serve.
    fn hand_over(&mut self, id: WorkerId, homeless: Homeless) -> Result<(), Homeless> {
        let Homeless { flow, way, client, upstream } = homeless;
        let netns = flow.netns;
        let canary = flow.rule == CANARY_RULE;
        let Some(worker) = self.parts.enforcers.worker_mut(id) else {
            return Err(Homeless { flow, way, client, upstream });
        };
        let message = ToEnforcer::Handover { flow };
        let sent = worker.hand_over(&message, client.as_fd(), upstream.as_fd());
        let ToEnforcer::Handover { flow } = message else { return Ok(()) };
        match sent {
            Ok(()) => {}
            Err(ChannelError::WouldBlock) => {
                self.parts.enforcers.release(id);
                return Err(Homeless { flow, way, client, upstream });
            }
            Err(ChannelError::Closed) => {
                worker.ready = false;
                return Err(Homeless { flow, way, client, upstream });
            }
            Err(error) => {
                tracing::error!(
                    "a connection of pid {} can't be handed over: {error}",
                    flow.process.key.tgid
                );
                self.parts.enforcers.release(id);
                self.leave(netns);
                reset(&client);
                return Ok(());
            }
        }
        let flow = Arc::new(*flow);
        if canary {
            self.canary.unseen_since.get_or_insert_with(Instant::now);
        } else {
            self.parts.observers.tell(EventKind::Opened { flow: Arc::clone(&flow) });
        }
        self.open.insert(flow.id, Open { flow, way, worker: id });
        Ok(())
    }

    /// Everything that is known of an attempt's connection.
    pub(super) fn flow_of(&mut self, cookie: u64) -> Option<Box<Flow>> {
        let (process, actor) = self.who(cookie)?;
        let held = self.attempts.get(cookie)?;
        let raw = &held.flow;
        let (rule, mode) = match self.parts.destinations.rule(raw.rule) {
            Some((rule, mode)) => (rule.to_owned(), mode),
            None => (String::new(), crate::model::Mode::Strict),
        };
        let socket = match raw.flags {
            _ if held.syn.is_mptcp() => SocketKind::Mptcp,
            flags if flags & FLOW_MAPPED != 0 => SocketKind::V4Mapped,
            flags if flags & FLOW_IPV6_SOCKET != 0 => SocketKind::Ipv6,
            _ => SocketKind::Ipv4,
        };
        Some(Box::new(Flow {
            id: FlowId { cookie: raw.cookie, connected_at: raw.connected_at },
            opened: Timestamp::now(),
            process,
            actor,
            client: Peer(held.syn.source),
            destination: raw.destination.into(),
            netns: raw.netns,
            rule,
            mode,
            socket,
            generation: raw.generation,
        }))
    }
}

/// Closes so that the other side sees a reset.
fn reset(client: &OwnedFd) {
    let _ = sockopt::set_socket_linger(client, Some(Duration::ZERO));
}
