//! What other threads ask for.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tidegate_ebpf::counter;

use super::{Changeable, Gate, Order, Resolved, Upgrading};
use crate::config::{PolicySettings, Settings};
use crate::identity::Known;
use crate::keeper::hooks::Maps;
use crate::keeper::notary::Notary;
use crate::keeper::sys;
use crate::keeper::terms::Prepared;
use crate::model::{
    CanaryReport, DatabaseName, LogCaller, LogNote, Losses, NamespaceReport, PolicyReport,
    STATUS_SCHEMA, StatusReport,
};

/// A new enforcer that isn't whole by then has failed.
const UPGRADE_WITHIN: Duration = Duration::from_secs(20);

impl Gate {
    pub(super) fn on_orders(&mut self) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut counter);
        while let Ok(order) = self.orders_rx.try_recv() {
            match order {
                Order::Status(answer) => {
                    let _ = answer.send(Box::new(self.report()));
                }
                Order::Upgrade { binary, drain, done } => self.upgrade(binary, drain, done),
                Order::Settings { settings, resolved, prepared, known, by, done } => {
                    let result = self.apply(*settings, resolved, *prepared, *known, by);
                    let _ = done.send(result);
                }
                Order::Forget { schema, table, of, by, done } => {
                    let _ = done.send(self.forget_filled(&schema, &table, of, by));
                }
                Order::Hosts(answer) => {
                    let _ = answer.send(self.parts.destinations.hosts());
                }
                Order::Resolved(host, answer) => {
                    let grace = self.parts.settings.resolve_grace;
                    self.parts.destinations.resolved(&host, answer, grace);
                    if let Err(error) = self.parts.destinations.install(&mut self.parts.maps) {
                        tracing::error!("cannot protect the addresses of `{host}`: {error}");
                    }
                }
                Order::Census { namespaces, powerful } => {
                    for cookie in self.parts.namespaces.sweep(&namespaces) {
                        let _ = self.parts.maps.namespaces.remove(&cookie);
                    }
                    self.parts.maps.forget_unmet(sys::monotonic());
                    self.powerful = powerful;
                }
                Order::Canary(Ok(())) => {
                    self.canary.returned = true;
                    self.canary_crossed();
                }
                Order::Canary(Err(error)) => {
                    if self.canary.last_error.as_ref() != Some(&error) {
                        tracing::warn!("the canary did not come through: {error}");
                    }
                    self.canary.seen = false;
                    self.canary.returned = false;
                    self.canary.failed += 1;
                    self.canary.last_error = Some(error);
                }
                Order::Adopted(adopted) => self.parts.adopted = adopted,
                Order::Known(answer) => self.on_known(*answer),
                Order::Enriched(learnt) => {
                    self.parts.observers.note(LogNote::Observed { event: learnt.event() });
                }
                Order::Signed { worker, request, leaf } => self.signed(worker, request, leaf),
                Order::Holds(wanted, caller, done) => {
                    let _ = done.send(self.on_holds_order(*wanted, caller));
                }
                Order::Stop { detach, by, done } => {
                    self.detach = detach;
                    self.stopped_by = by;
                    self.stopping = Some(done);
                }
            }
        }
    }

    fn upgrade(
        &mut self,
        binary: Option<std::path::PathBuf>,
        drain: Option<Duration>,
        done: Sender<Result<String, String>>,
    ) {
        if self.upgrading.is_some() {
            let _ = done.send(Err("an upgrade is under way".into()));
            return;
        }
        let before = self.parts.enforcers.binary().to_owned();
        self.parts.enforcers.set_binary(binary.as_deref().unwrap_or(&before));
        match self.start_enforcer() {
            Ok(generation) => {
                let drain = drain.unwrap_or(self.parts.settings.enforcer.drain);
                let until = Instant::now() + UPGRADE_WITHIN;
                self.upgrading = Some(Upgrading { generation, drain, before, until, done });
            }
            Err(error) => {
                let binary = self.parts.enforcers.binary().display().to_string();
                self.parts.enforcers.set_binary(&before);
                let _ = done.send(Err(format!("cannot start `{binary}`: {error}")));
            }
        }
    }

    fn forget_filled(
        &mut self,
        schema: &str,
        table: &str,
        of: impl Fn(&DatabaseName) -> bool,
        by: LogCaller,
    ) -> Result<String, String> {
        if self.parts.enforcers.forget(schema, table, of) == 0 {
            return Err(format!(
                "nothing is kept of `{schema}.{table}` there: see `tidegate classify filled`"
            ));
        }
        if let Some(notary) = &self.parts.notary {
            notary.note(LogNote::Changed {
                what: vec![format!("what {schema}.{table} was filled with is forgotten")],
                generation: self.parts.generation,
                policies: self.parts.settings.policy.generation.clone(),
                by: Some(by),
            });
        }
        Ok(format!(
            "what `{schema}.{table}` was filled with is forgotten by enforcers that start from \
             now on: `tidegate upgrade` starts one"
        ))
    }

    /// Takes new settings; what can't change while running is named.
    fn apply(
        &mut self,
        settings: Settings,
        resolved: Resolved,
        prepared: Prepared,
        known: Known,
        by: Option<LogCaller>,
    ) -> Result<String, String> {
        let old = &self.parts.settings;
        let mut fixed = Vec::new();
        for (name, differs) in [
            ("cgroup", settings.cgroup != old.cgroup),
            ("bpffs", settings.bpffs != old.bpffs),
            ("listen_port", settings.listen_port != old.listen_port),
            ("control", settings.control != old.control),
            ("canary_every", settings.canary_every != old.canary_every),
            ("resolve_every", settings.resolve_every != old.resolve_every),
            ("debug_programs", settings.debug_programs != old.debug_programs),
            ("audit.enabled", settings.audit.enabled != old.audit.enabled),
            ("audit.folder", settings.audit.folder != old.audit.folder),
            ("approvals.group", settings.approvals.group != old.approvals.group),
            ("enforcer.user", settings.enforcer.user != old.enforcer.user),
            ("enforcer.workers", settings.enforcer.workers != old.enforcer.workers),
        ] {
            if differs {
                fixed.push(name);
            }
        }
        if !fixed.is_empty() {
            return Err(format!(
                "{} can't change while the agent runs: restart it",
                fixed.join(", ")
            ));
        }
        let Prepared { mut terms, grounds, notes } = prepared;
        let changeable = Changeable::of(&settings, &terms, &known);
        let generation = self.parts.generation.wrapping_add(1);
        terms.generation = generation;
        let terms = crate::channel::seal_terms(&terms).map_err(|error| error.to_string())?;
        self.parts.destinations.set(&settings.protect);
        for (host, answer) in resolved {
            self.parts.destinations.resolved(&host, answer, settings.resolve_grace);
        }
        if let Err(error) = self.parts.destinations.install(&mut self.parts.maps) {
            self.parts.destinations.set(&self.parts.settings.protect);
            return Err(error.to_string());
        }
        self.parts.settings = settings;
        self.set_approvals();
        self.parts.generation = generation;
        self.parts.registrar.set(known, &self.parts.settings.identity);
        self.acquainted.forget_all();
        for note in &notes {
            tracing::warn!("{note}");
        }
        (self.parts.grounds, self.parts.notes) = (grounds, notes);
        // Before a flow of this generation can come.
        self.parts.enforcers.set_terms(terms);
        let kernel = super::super::kernel_settings(
            &self.parts.settings,
            self.parts.generation,
            self.parts.hooks.attachment(),
        );
        self.parts.maps.write_settings(kernel).map_err(|error| error.to_string())?;
        if let Some(notary) = &self.parts.notary {
            notary.set_terms(self.parts.settings.audit.terms.clone());
            notary.note(LogNote::Changed {
                what: changeable.since(&self.parts.changeable),
                generation: self.parts.generation,
                policies: self.parts.settings.policy.generation.clone(),
                by,
            });
        }
        self.parts.changeable = changeable;
        Ok(format!("settings of generation {} hold", self.parts.generation))
    }

    fn report(&mut self) -> StatusReport {
        let destinations = self.parts.destinations.reports();
        let mut losses = losses(&self.parts.maps);
        losses.events = losses.events.saturating_sub(self.parts.lost_before);
        let mut notes = Vec::new();
        for destination in &destinations {
            if let Some(error) = &destination.error {
                notes.push(format!("`{}` can't be resolved: {error}", destination.name));
            }
        }
        notes.extend(self.parts.notes.iter().cloned());
        if let Some(trouble) = self.parts.enforcers.trouble_of_memory() {
            notes.push(format!("a restart forgets what tables were filled with: {trouble}"));
        }
        if losses.events > 0 {
            notes.push(format!(
                "{} events found no room; their connects were retried, other records are missing",
                losses.events
            ));
        }
        if losses.direct > 0 {
            notes
                .push(format!("{} connects to permissive destinations went direct", losses.direct));
        }
        let log = self.parts.notary.as_ref().map(Notary::report).unwrap_or_default();
        if let Some(trouble) = &log.trouble {
            notes.push(format!(
                "the log has trouble: {trouble}; statements that can't be recorded are refused on \
                 strict destinations"
            ));
        }
        if log.lost > 0 {
            notes.push(format!("{} records are missing in the log, as it tells itself", log.lost));
        }
        for hook in self.parts.hooks.reports() {
            if let (false, Some(cost)) = (hook.attached, &hook.cost) {
                notes.push(format!("hook {} is missing: {cost}", hook.name));
            }
        }
        if !self.powerful.is_empty() {
            notes.push(format!(
                "{} processes could pass around the hooks (NET_RAW, NET_ADMIN, BPF or SYS_ADMIN)",
                self.powerful.len()
            ));
        }
        let (verdict, _) = self.verdict();
        let own = self.parts.namespaces.own_cookie();
        let mut namespaces: Vec<_> = self
            .parts
            .namespaces
            .iter()
            .map(|namespace| NamespaceReport {
                cookie: namespace.cookie,
                inode: namespace.inode,
                host: namespace.cookie == own,
                open: namespace.in_use,
            })
            .collect();
        namespaces.sort_by_key(|namespace| (!namespace.host, namespace.cookie));
        StatusReport {
            schema: STATUS_SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started,
            keeper: std::process::id(),
            verdict,
            cgroup: self.parts.cgroup.clone(),
            listen_port: self.parts.settings.listen_port,
            generation: self.parts.generation,
            policy: policy(&self.parts.settings.policy),
            canary: CanaryReport {
                crossed: self.canary.crossed,
                failed: self.canary.failed,
                last: self.canary.last,
                last_error: self.canary.last_error.clone(),
            },
            hooks: self.parts.hooks.reports().to_vec(),
            destinations,
            namespaces,
            enforcers: self.parts.enforcers.reports(),
            open: u64::try_from(self.open.len()).unwrap_or(u64::MAX),
            connecting: u64::try_from(self.attempts.len()).unwrap_or(u64::MAX),
            losses,
            log,
            adopted: self.parts.adopted.clone(),
            powerful: self.powerful.clone(),
            notes,
        }
    }
}

fn policy(settings: &PolicySettings) -> PolicyReport {
    PolicyReport {
        mode: settings.mode,
        generation: settings.generation.clone(),
        bare: settings.bare,
        packs: settings.packs.clone(),
        files: settings.sources.iter().map(|(name, _)| name.clone()).collect(),
        enforced: settings.enforced.clone(),
    }
}

pub fn losses(maps: &Maps) -> Losses {
    let sum = |index: u32| {
        maps.counters.get(&index, 0).map_or(0, |values| values.iter().copied().sum::<u64>())
    };
    Losses {
        events: sum(counter::LOST),
        direct: sum(counter::DIRECT),
        refused: sum(counter::REFUSED),
        dropped_packets: sum(counter::DROPPED),
        over_quota: sum(counter::OVER_QUOTA),
        untold: sum(counter::UNTOLD),
    }
}
