//! Tells refusals: who it was is read from /proc, which may be slow, or hang on
//! what a process made of its own memory. So a thread of its own does it, and
//! the gate never waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tidegate_ebpf::{EVENT_DIRECT, Verdict};

use super::observers::Observers;
use super::processes::Processes;
use crate::model::{EventKind, RefusedWhy};

const WAITING: usize = 4096;

/// gate --verdicts--> teller
#[derive(Debug)]
pub struct Teller {
    verdicts_tx: SyncSender<Verdict>,
}

impl Teller {
    pub fn start(observers: Arc<Observers>, mount: PathBuf) -> std::io::Result<Self> {
        let (verdicts_tx, verdicts_rx) = sync_channel(WAITING);
        super::start("teller", move || run(&verdicts_rx, &observers, &mount))?;
        Ok(Self { verdicts_tx })
    }

    /// A teller that is far behind misses some; the kernel has counted them.
    pub fn tell(&self, verdict: Verdict) {
        if self.verdicts_tx.try_send(verdict).is_err() {
            tracing::debug!("a refusal was not told: too many wait");
        }
    }
}

fn run(verdicts_rx: &Receiver<Verdict>, observers: &Observers, mount: &std::path::Path) {
    let mut processes = Processes::new(mount);
    while let Ok(verdict) = verdicts_rx.recv() {
        let process = Box::new(processes.of_verdict(&verdict));
        let destination = verdict.destination.into();
        let netns = verdict.netns;
        observers.tell(if verdict.kind == EVENT_DIRECT {
            EventKind::Direct { process, destination, netns }
        } else {
            EventKind::Refused { why: why(verdict.why), process, destination, netns }
        });
    }
}

fn why(code: u32) -> RefusedWhy {
    match code {
        tidegate_ebpf::REFUSED_DIRECT_DIAL => RefusedWhy::DirectDial,
        tidegate_ebpf::REFUSED_TOKEN => RefusedWhy::TokenMisused,
        tidegate_ebpf::REFUSED_QUOTA => RefusedWhy::OverQuota,
        tidegate_ebpf::REFUSED_DEVICE => RefusedWhy::BoundToDevice,
        tidegate_ebpf::REFUSED_BIND => RefusedWhy::ListenerBind,
        tidegate_ebpf::REFUSED_PACKET => RefusedWhy::NotLedHere,
        tidegate_ebpf::REFUSED_ABSENT => RefusedWhy::AgentAbsent,
        _ => RefusedWhy::Fault,
    }
}
