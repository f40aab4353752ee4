//! What is known under a name: as the server has confirmed it, and as it will
//! be when the requests under way have been answered.
//!
//! A client may bind a statement whose Parse the server hasn't answered yet, so
//! a lookup for the client's side sees the plans first. A plan is confirmed by
//! its answer, or abandoned when the server skips it.
//!
//! A plan of an earlier pipeline (before a Sync that isn't answered) is another
//! matter: the pipeline may fail before it and the name keep its old meaning,
//! while what follows the Sync is run all the same. There one must wait.
//!
//! The server keeps 63 bytes of a name, in its own encoding: two names of a client's may
//! be one there. A pooler before it may keep them apart.
//!
//! INVARIANTS
//! - A name has at most one plan, the latest; earlier ones were answered or abandoned
//!   before it can matter.
//! - Once one thing may have been touched under two names, none that was given before is
//!   certain; and one that isn't ASCII never is.

use std::collections::HashMap;

use crate::wire::postgres::opening::KEPT;

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<T> {
    pub value: T,
    /// False when SQL may have changed it meanwhile: such as wasn't understood,
    /// or such as is still under way. Then it is to be taken for unknown.
    pub certain: bool,
}

/// The meaning of a name hangs on answers that are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsettled;

#[derive(Debug)]
pub(super) struct Names<T> {
    unnamed: Slot<T>,
    confirmed: HashMap<Box<[u8]>, Known<T>>,
    ahead: HashMap<Box<[u8]>, Plan<T>>,
    /// The latest request that may have touched under one name what another means.
    blurred: u64,
}

#[derive(Debug)]
struct Plan<T> {
    serial: u64,
    value: Option<T>,
}

/// The unnamed one is asked for most, and costs no hashing.
#[derive(Debug)]
struct Slot<T> {
    confirmed: Option<T>,
    ahead: Option<Plan<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            unnamed: Slot { confirmed: None, ahead: None },
            confirmed: HashMap::new(),
            ahead: HashMap::new(),
            blurred: 0,
        }
    }
}

impl<T: Clone> Names<T> {
    /// What `name` will mean to the request that comes next; `Err` if that hangs
    /// on the answer to a pipeline that ended with the Sync of this number.
    pub fn lookup(&self, name: &[u8], sync: Option<u64>) -> Result<Option<Known<T>>, Unsettled> {
        let plan = if name.is_empty() {
            self.unnamed.ahead.as_ref()
        } else if self.ahead.is_empty() {
            None
        } else {
            self.ahead.get(name)
        };
        match plan {
            Some(plan) if sync.is_some_and(|sync| plan.serial < sync) => Err(Unsettled),
            Some(plan) => {
                let certain = name.is_empty() || plan.serial > self.blurred;
                Ok(plan.value.clone().map(|value| Known { value, certain }))
            }
            None => Ok(self
                .confirmed(name)
                .map(|known| Known { value: known.value.clone(), certain: known.certain })),
        }
    }

    /// The request `serial` will make `name` mean this, or nothing.
    pub fn plan(&mut self, name: &[u8], serial: u64, value: Option<T>) {
        let plan = Plan { serial, value };
        if name.is_empty() {
            self.unnamed.ahead = Some(plan);
        } else {
            self.touch(name, serial);
            self.ahead.insert(name.into(), plan);
        }
    }

    /// The server did what `serial` asked for: by a plan, or by SQL.
    pub fn confirm(&mut self, name: &[u8], serial: u64, value: Option<T>) {
        self.abandon(name, serial);
        if name.is_empty() {
            self.unnamed.confirmed = value;
            return;
        }
        self.touch(name, serial);
        match value {
            Some(value) => {
                let certain = serial > self.blurred;
                self.confirmed.insert(name.into(), Known { value, certain });
            }
            None => {
                self.confirmed.remove(name);
            }
        }
    }

    /// The server never got to do what `serial` asked for.
    pub fn abandon(&mut self, name: &[u8], serial: u64) {
        if name.is_empty() {
            if self.unnamed.ahead.as_ref().is_some_and(|plan| plan.serial == serial) {
                self.unnamed.ahead = None;
            }
        } else if self.ahead.get(name).is_some_and(|plan| plan.serial == serial) {
            self.ahead.remove(name);
        }
    }

    /// What is known under this name is told anew, and as certain as it was.
    pub fn renew(&mut self, name: &[u8], value: T) {
        if name.is_empty() {
            self.unnamed.confirmed = Some(value);
        } else if let Some(known) = self.confirmed.get_mut(name) {
            known.value = value;
        }
    }

    /// What `serial` touches by this name may be what another name means.
    fn touch(&mut self, name: &[u8], serial: u64) {
        if self.is_alone(name) {
            return;
        }
        self.blurred = self.blurred.max(serial);
        self.doubt();
    }

    /// Whether the server can take no other name that is known here for this one.
    fn is_alone(&self, name: &[u8]) -> bool {
        let Some(kept) = name.get(..KEPT) else { return name.is_ascii() };
        let one = |other: &[u8]| other != name && other.starts_with(kept);
        let mut others = self.confirmed.keys().chain(self.ahead.keys());
        name.is_ascii() && !others.any(|other| one(other))
    }

    /// Something may have been changed under any name.
    pub fn doubt(&mut self) {
        for known in self.confirmed.values_mut() {
            known.certain = false;
        }
    }

    /// What is confirmed may have been changed, as far as `which` says.
    pub fn doubt_those(&mut self, which: impl Fn(&T) -> bool) {
        self.unnamed.confirmed = None;
        for known in self.confirmed.values_mut().filter(|known| which(&known.value)) {
            known.certain = false;
        }
    }

    pub fn forget_named(&mut self) {
        self.confirmed.clear();
    }

    /// Forgets what the server dropped, named or not.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        if self.unnamed.confirmed.as_ref().is_some_and(|value| !keep(value)) {
            self.unnamed.confirmed = None;
        }
        if !self.confirmed.is_empty() {
            self.confirmed.retain(|_, known| keep(&known.value));
        }
    }

    /// Whether one that is known or planned under a name is such.
    pub fn any(&self, which: impl Fn(&T) -> bool) -> bool {
        let planned = self.ahead.values().filter_map(|plan| plan.value.as_ref());
        self.confirmed.values().map(|known| &known.value).chain(planned).any(which)
    }

    /// How many are known or planned under names.
    pub fn len(&self) -> usize {
        self.confirmed.len() + self.ahead.len()
    }

    /// Whether one is known or planned under no name.
    pub fn has_unnamed(&self) -> bool {
        self.unnamed.confirmed.is_some() || self.unnamed.ahead.is_some()
    }

    /// The names that the server has confirmed.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.confirmed.keys().map(AsRef::as_ref)
    }

    pub fn confirmed(&self, name: &[u8]) -> Option<Known<&T>> {
        if name.is_empty() {
            return self.unnamed.confirmed.as_ref().map(|value| Known { value, certain: true });
        }
        self.confirmed.get(name).map(|known| Known { value: &known.value, certain: known.certain })
    }
}

#[cfg(test)]
mod tests;
