//! The disk, awaited for those whose settings ask for it: on a thread of its own, since
//! a worker has other sessions to serve meanwhile.
//!
//! `workers --who waits--> disk --words--> workers`
//!
//! Whoever comes while the disk is busy is served with all others that did, by the next
//! turn.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, Weak};

use super::{Log, LogError, Shared};

/// Told once what was wanted is on the disk, or why it isn't.
pub type Reply = Box<dyn FnOnce(Result<(), String>) + Send>;

/// Handle to the thread; it ends with the log.
pub(super) struct Disk(Sender<(u64, Reply)>);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// What it is to wait for comes to the other end.
    pub fn new() -> (Self, Receiver<(u64, Reply)>) {
        let (wanted_tx, wanted_rx) = channel();
        (Self(wanted_tx), wanted_rx)
    }

    pub fn start(log: &Arc<Shared>, wanted_rx: Receiver<(u64, Reply)>) -> Result<(), LogError> {
        let log = Arc::downgrade(log);
        let thread = std::thread::Builder::new().name("disk".into());
        let started = thread.spawn(move || serve(&log, &wanted_rx));
        started
            .map(drop)
            .map_err(|error| LogError::Unwritable(format!("its thread doesn't start: {error}")))
    }
}

fn serve(log: &Weak<Shared>, wanted_rx: &Receiver<(u64, Reply)>) {
    while let Ok(first) = wanted_rx.recv() {
        let waiting: Vec<_> = std::iter::once(first).chain(wanted_rx.try_iter()).collect();
        let Some(shared) = log.upgrade() else { return };
        let last = waiting.iter().map(|(position, _)| *position).max().unwrap_or(0);
        let done = shared.sync(last).map_err(|error| error.to_string());
        drop(shared);
        for (_, reply) in waiting {
            reply(done.clone());
        }
    }
}

impl Log {
    /// Tells once the record at a position is on the disk, with all before it.
    pub fn on_disk(&self, position: u64, reply: Reply) {
        let Some(shared) = self.shared() else { return reply(Ok(())) };
        if let Err(gone) = shared.disk.0.send((position, reply)) {
            (gone.0.1)(Err("the thread that brings the log to the disk is gone".into()));
        }
    }
}

impl Shared {
    /// Whether a record is on the disk, with all before it.
    pub(super) fn has_on_disk(&self, position: u64) -> bool {
        self.on_disk.load(Ordering::Acquire) > position
    }

    /// Brings everything up to a position to the disk.
    fn sync(&self, position: u64) -> Result<(), LogError> {
        let _turn = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has_on_disk(position) {
            return Ok(());
        }
        let (lives, until) = {
            let state = self.lock();
            let all: Vec<_> = state.left.iter().chain(&state.live).map(Arc::clone).collect();
            (all, state.position)
        };
        for live in &lives {
            live.sync()?;
        }
        self.lock().left.retain(|live| !live.is_on_disk());
        #[cfg(test)]
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.on_disk.store(until, Ordering::Release);
        Ok(())
    }
}
