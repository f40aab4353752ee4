//! Which statements wait that a cancel could be meant for. The cancel comes on
//! another connection, to whichever worker has room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wire::postgres::session::CancelKey;

type Tell = Box<dyn Fn() + Send>;
/// By process and secret.
type Expected = HashMap<(u32, Box<[u8]>), Tell>;

/// Of the whole process. An entry lives for as long as its statement is held.
#[derive(Clone, Default)]
pub struct Cancels(Arc<Mutex<Expected>>);

impl Cancels {
    /// `tell` must not wait, nor come back here.
    pub fn expect(&self, key: &CancelKey, tell: impl Fn() + Send + 'static) {
        self.lock().insert((key.process, key.secret.clone()), Box::new(tell));
    }

    pub fn forget(&self, key: &CancelKey) {
        self.lock().remove(&(key.process, key.secret.clone()));
    }

    /// A client wants this one cancelled.
    pub fn cancel(&self, process: u32, secret: &[u8]) {
        if let Some(tell) = self.lock().get(&(process, secret.into())) {
            tell();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Expected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
