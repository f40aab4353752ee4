//! From the listener to the worker.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use tidegate_ebpf::{FLOW_CANARY, FLOW_IPV6_SOCKET, FLOW_MAPPED};

use super::{Gate, Homeless, Open, TURN};
use crate::channel::ToEnforcer;
use crate::keeper::attempts::Stage;
use crate::keeper::destinations::CANARY;
use crate::keeper::enforcers::WorkerId;
use crate::model::{EventKind, Flow, FlowId, Peer, SocketKind, Timestamp};

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
                    tracing::warn!("cannot accept: {error}");
                    return;
                }
            }
        }
    }

    fn accepted(&mut self, netns: u64, from: SocketAddr, client: OwnedFd) {
        let cookie = self.attempts.of_client(netns, from);
        let flow = cookie.and_then(|cookie| self.flow_of(cookie));
        let held = cookie.and_then(|cookie| self.attempts.remove(cookie));
        let (Some(held), Some(flow)) = (held, flow) else {
            tracing::warn!("a connection from {from} that nobody let go: reset");
            reset(&client);
            return;
        };
        self.settle(&held.flow);
        match held.stage {
            Stage::Released(upstream, worker) => {
                let homeless = Homeless { flow, client, upstream };
                if let Err(homeless) = self.hand_over(worker, homeless) {
                    self.homeless.push_back(homeless);
                }
            }
            _ => {
                self.leave(netns);
                reset(&client);
            }
        }
    }

    /// Gives a connection to a worker, or it back.
    fn hand_over(&mut self, id: WorkerId, homeless: Homeless) -> Result<(), Homeless> {
        let Homeless { flow, client, upstream } = homeless;
        let Some(worker) = self.parts.enforcers.worker_mut(id) else {
            return Err(Homeless { flow, client, upstream });
        };
        let message = ToEnforcer::Handover { flow };
        let sent = worker.hand_over(&message, client.as_fd(), upstream.as_fd());
        let ToEnforcer::Handover { flow } = message else { return Ok(()) };
        if let Err(error) = sent {
            tracing::debug!("a worker can't take a connection: {error}");
            self.parts.enforcers.release(id);
            return Err(Homeless { flow, client, upstream });
        }
        let flow = Arc::new(*flow);
        if flow.rule != CANARY {
            self.parts.observers.tell(EventKind::Opened { flow: Arc::clone(&flow) });
        }
        self.open.insert(flow.id, Open { flow, worker: id });
        Ok(())
    }

    /// Connections whose worker was gone or full find another.
    pub(super) fn place_homeless(&mut self) {
        for _ in 0..self.homeless.len() {
            let Some(homeless) = self.homeless.pop_front() else { return };
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

    /// Everything that is known of an attempt's connection.
    pub(super) fn flow_of(&mut self, cookie: u64) -> Option<Box<Flow>> {
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
        let process = if raw.flags & FLOW_CANARY != 0 {
            self.parts.processes.of_canary(raw)
        } else {
            self.parts.processes.of_flow(raw)
        };
        Some(Box::new(Flow {
            id: FlowId { cookie: raw.cookie, connected_at: raw.connected_at },
            opened: Timestamp::now(),
            process,
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
