//! What of a set can matter to one actor in one place: the policies whose scope names
//! somebody or somewhere else are left out before the engine is asked. It would find
//! the same, one by one, each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cedar_policy::{EntityUid, PrincipalConstraint, ResourceConstraint};

use super::scene::{Scene, Subject};
use super::set::{Set, Slice};
use super::vocabulary::Action;

/// The policies for one actor in one place, by action, cut when they are first
/// needed.
#[derive(Debug)]
pub(super) struct Local {
    subject: Subject,
    place: [EntityUid; 3],
    by_action: HashMap<Action, OnceLock<Arc<Slice>>>,
}

/// Those of the actors and places that were met lately.
#[derive(Debug, Default)]
pub(super) struct Locals(Mutex<HashMap<u64, Arc<Local>>>);

impl Locals {
    pub fn of(&self, subject: &Subject, scene: &Scene) -> Arc<Local> {
        let key = subject.hash() ^ scene.place_hash().rotate_left(1);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |local: &&Arc<Local>| local.subject == *subject && local.place == *scene.place();
        if let Some(local) = known.get(&key).filter(fits) {
            return Arc::clone(local);
        }
        if known.len() >= MOST {
            known.clear();
        }
        let local = Arc::new(Local {
            subject: subject.clone(),
            place: scene.place().clone(),
            by_action: Action::all().map(|action| (action, OnceLock::new())).collect(),
        });
        known.insert(key, Arc::clone(&local));
        local
    }
}

impl Local {
    /// Nothing only if the set has no such slice, which it has for every action.
    pub fn slice(&self, set: &Set, action: Action) -> Option<Arc<Slice>> {
        let whole = set.slice(action)?;
        let cut = || {
            let policies = whole.policies.policies();
            Arc::new(set.part(policies.filter(|policy| self.may_fit(policy))))
        };
        Some(Arc::clone(self.by_action.get(&action)?.get_or_init(cut)))
    }

    /// False only if the policy's scope names somebody or somewhere else.
    fn may_fit(&self, policy: &cedar_policy::Policy) -> bool {
        use PrincipalConstraint as P;
        use ResourceConstraint as R;
        let who = match policy.principal_constraint() {
            P::Any | P::Is(_) => true,
            P::In(uid) | P::IsIn(_, uid) => self.subject.is_in(&uid),
            P::Eq(uid) => *self.subject.uid() == uid,
        };
        let place = match policy.resource_constraint() {
            R::Any | R::Is(_) => true,
            R::In(uid) | R::IsIn(_, uid) | R::Eq(uid) => {
                // Narrower things are the engine's to tell apart.
                let same = |place: &EntityUid| place.type_name() == uid.type_name();
                self.place.iter().find(|place| same(place)).is_none_or(|place| *place == uid)
            }
        };
        who && place
    }
}

/// How many actors in places are remembered.
const MOST: usize = 1_024;

#[cfg(test)]
mod tests;
