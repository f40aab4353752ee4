//! The usual scene of a test: a cgroup with the agent in it, a cgroup for the
//! clients, a protected server, somebody who observes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::agent::{Agent, Observer, Plan};
use crate::cgroup::Cgroup;
use crate::echo::Echo;
use crate::place::Place;
use crate::seen::Flow;

pub struct Scene {
    // Dropped in this order: whoever looks, the agent, the clients, their home.
    pub observer: Observer,
    pub agent: Agent,
    pub work: Cgroup,
    pub root: Cgroup,
    pub echo: Echo,
}

impl Scene {
    /// The server's port is protected, strictly.
    pub fn strict() -> Result<Self> {
        Self::with(|port| Plan::unread([port]))
    }

    /// … or may be reached without the agent.
    pub fn permissive() -> Result<Self> {
        Self::with(|port| Plan::unread([format!("{port},permissive")]))
    }

    /// The plan follows from the server's port.
    pub fn with(plan: impl FnOnce(u16) -> Plan) -> Result<Self> {
        let echo = Echo::start()?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, plan(echo.port()))?;
        echo.gate_is(agent.listen_port());
        let observer = agent.observe()?;
        Ok(Self { observer, agent, work, root, echo })
    }

    /// The opening by a process whose command line has this word.
    pub fn opened(&self, label: &str) -> Result<Flow> {
        let what = format!("the opening of {label}");
        let event = self.observer.wait_for(&what, Duration::from_secs(20), |event| {
            event.event == "opened"
                && event.whose().is_some_and(|who| who.command.iter().any(|word| word == label))
        });
        event.with_context(|| self.agent.tail())?.flow.context("an opening without a flow")
    }

    /// Among the clients.
    pub fn inside(&self) -> Place<'_> {
        Place::new().cgroup(&self.work)
    }
}

/// One test at a time: they measure times, and count what a host has.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
