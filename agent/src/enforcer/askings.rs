//! Who leaves when he is asked for his password in clear once SCRAM has begun: he is
//! asked at once the next time.
//!
//! Learnt of one program of one user, in one network namespace, towards one destination:
//! nobody learns it for others. Who leaves then as well is asked as all are again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::model::Flow;

#[derive(Debug, Default)]
pub struct Askings {
    at_once: Mutex<HashSet<Who>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Who {
    exe: PathBuf,
    uid: u32,
    netns: u64,
    rule: String,
}

impl Who {
    /// `None`: who it is isn't known well enough to remember.
    fn of(flow: &Flow) -> Option<Self> {
        Some(Self {
            exe: flow.process.exe.clone()?,
            uid: flow.process.uid,
            netns: flow.netns,
            rule: flow.rule.clone(),
        })
    }
}

impl Askings {
    pub fn are_at_once(&self, flow: &Flow) -> bool {
        let at_once = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
        !at_once.is_empty() && Who::of(flow).is_some_and(|who| at_once.contains(&who))
    }

    /// He has left when he was asked, once SCRAM had begun.
    pub fn left_when_asked(&self, flow: &Flow) {
        let Some(who) = Who::of(flow) else { return };
        let mut at_once = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
        if at_once.len() >= MOST {
            at_once.clear();
        }
        at_once.insert(who);
    }

    /// He has left when he was asked at once: that isn't what he wants either.
    pub fn left_at_once(&self, flow: &Flow) {
        let mut at_once = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(who) = Who::of(flow) {
            at_once.remove(&who);
        }
    }
}

const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples;

    fn flow(change: impl FnOnce(&mut Flow)) -> Flow {
        let mut flow = samples::flow();
        flow.process.exe = Some("/usr/bin/psql".into());
        change(&mut flow);
        flow
    }

    #[test]
    fn one_learns_it_for_himself_alone() {
        let askings = Askings::default();
        let who = flow(|_| ());
        assert!(!askings.are_at_once(&who));
        askings.left_when_asked(&who);
        assert!(askings.are_at_once(&who));
        for other in [
            flow(|flow| flow.process.uid += 1),
            flow(|flow| flow.process.exe = Some("/usr/bin/python3".into())),
            flow(|flow| flow.process.exe = None),
            flow(|flow| flow.netns += 1),
            flow(|flow| flow.rule.push('0')),
        ] {
            assert!(!askings.are_at_once(&other), "{other:?}");
        }
    }

    #[test]
    fn who_leaves_then_as_well_is_asked_as_all_are() {
        let askings = Askings::default();
        let who = flow(|_| ());
        askings.left_when_asked(&who);
        askings.left_at_once(&who);
        assert!(!askings.are_at_once(&who));
    }

    #[test]
    fn there_is_a_bound() {
        let askings = Askings::default();
        for uid in 0..3 * MOST {
            askings.left_when_asked(&flow(|flow| flow.process.uid = uid as u32));
        }
        let kept = askings.at_once.lock().unwrap().len();
        assert!(kept <= MOST, "{kept}");
    }
}
