//! Leaves: certificates that the enforcer shows clients in servers' places.
//! The enforcer has the leaf's key, the keeper the CA's.
//!
//! `gate --jobs--> signer --orders--> gate`
//!
//! An enforcer that was taken over could ask for anything: so a leaf is only for
//! names that are configured for the flow's destination, or that the server's
//! certificate bears, and that is verified here and not believed. It is done on
//! a thread of its own, for how long a chain takes to verify is the server's
//! choice.

mod leaf;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::enforcers::WorkerId;
use super::gate::{Order, Orders};
use super::terms::Grounds;

/// Those that wait; beyond, a request is refused at once.
const WAITING: usize = 256;

/// A leaf that is wanted, with all that decides on it.
pub struct Job {
    pub worker: WorkerId,
    pub request: u64,
    pub grounds: Arc<Grounds>,
    /// The name of the flow's destination, as configured.
    pub rule: String,
    /// Its address.
    pub destination: IpAddr,
    pub wanted: Wanted,
}

/// What the enforcer asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub names: Vec<String>,
    pub key: Vec<u8>,
    pub chain: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct Signer {
    jobs_tx: SyncSender<Job>,
}

impl Signer {
    pub fn start(orders: Orders) -> std::io::Result<Self> {
        let (jobs_tx, jobs_rx) = sync_channel(WAITING);
        super::start("signer", move || run(&jobs_rx, &orders))?;
        Ok(Self { jobs_tx })
    }

    /// False: too many wait.
    pub fn ask(&self, job: Job) -> bool {
        self.jobs_tx.try_send(job).is_ok()
    }
}

fn run(jobs_rx: &Receiver<Job>, orders: &Orders) {
    while let Ok(job) = jobs_rx.recv() {
        let leaf = catch_unwind(AssertUnwindSafe(|| {
            leaf::sign(&job.grounds, &job.rule, job.destination, &job.wanted, super::ca::now())
        }));
        let leaf = match leaf {
            Ok(leaf) => leaf.map_err(|refusal| refusal.to_string()),
            Err(_) => Err("the signer failed at it".into()),
        };
        if let Err(why) = &leaf {
            tracing::warn!("no leaf for `{}` ({}): {why}", job.rule, job.destination);
        }
        if !orders.send(Order::Signed { worker: job.worker, request: job.request, leaf }) {
            return;
        }
    }
}
