//! What is known of one connection to the test's server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub struct Record {
    /// As the server sees it.
    pub peer: SocketAddr,
    bytes: AtomicU64,
    ended: AtomicBool,
    facts: Mutex<Facts>,
}

#[derive(Clone, Debug, Default)]
struct Facts {
    label: Option<String>,
    from: Option<SocketAddr>,
    direct: bool,
    error: Option<String>,
}

impl Record {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            facts: Mutex::default(),
        }
    }

    pub(super) fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn introduced(&self, label: &str, from: SocketAddr, direct: bool) {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        *facts = Facts { label: Some(label.into()), from: Some(from), direct, error: None };
    }

    pub(super) fn finish(&self, error: Option<String>) {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).error = error;
        self.ended.store(true, Ordering::SeqCst);
    }

    fn facts(&self) -> Facts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes that came, the header included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// What the client called itself.
    pub fn label(&self) -> Option<String> {
        self.facts().label
    }

    pub fn from(&self) -> Option<SocketAddr> {
        self.facts().from
    }

    /// It did not come through the gate.
    pub fn direct(&self) -> bool {
        self.facts().direct
    }

    /// How it ended, where not in order.
    pub fn error(&self) -> Option<String> {
        self.facts().error
    }

    /// It brought bytes past the gate, or bytes of which that can't be ruled
    /// out. A header cut off before its end is no proof either way and counts,
    /// once the connection has ended.
    pub fn trespassed(&self) -> bool {
        let facts = self.facts();
        self.bytes() > 0 && (facts.direct || (facts.label.is_none() && self.ended()))
    }
}
