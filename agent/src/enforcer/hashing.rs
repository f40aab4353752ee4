//! Passwords are hashed on a thread of its own: thousands of rounds for one
//! login must not hold up the others' statements.
//!
//! `workers --derivations--> hashing --words--> workers`

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use crate::wire::postgres::scram::{Derivation, Salted};

type Reply = Box<dyn FnOnce(Option<Salted>) + Send>;

/// Handle to the thread; it ends with the last of them.
#[derive(Clone)]
pub struct Hashing {
    work_tx: SyncSender<(Derivation, Reply)>,
}

impl Hashing {
    pub fn start() -> std::io::Result<Self> {
        let (work_tx, work_rx) = sync_channel::<(Derivation, Reply)>(WAITING);
        thread::Builder::new().name("hashing".into()).spawn(move || {
            while let Ok((derivation, reply)) = work_rx.recv() {
                reply(Some(derivation.run()));
            }
        })?;
        Ok(Self { work_tx })
    }

    /// Never waits: `None` goes to whom there is no room for.
    pub fn submit(&self, derivation: Derivation, reply: Reply) {
        match self.work_tx.try_send((derivation, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, reply)) | TrySendError::Disconnected((_, reply))) => {
                reply(None);
            }
        }
    }
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashing")
    }
}

const WAITING: usize = 1024;
