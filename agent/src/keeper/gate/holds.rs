//! The gate's side of holds: what enforcers ask, what people decide, and whom it is
//! told.
//!
//! INVARIANT: who asks is the keeper's own knowledge of the flow, and a worker asks
//! for flows that it has. Every hold that waits belongs to one worker's request, and
//! that one is told its end once.
//!
//! Holds and approvals end with the keeper: what it doesn't remember, it doesn't let
//! through.

use std::collections::HashMap;
use std::sync::Arc;

use super::Gate;
use crate::approval::{
    Admitted, ApprovalError, Asked, Book, Change, Decided, Times, Verdict, check_asked,
};
use crate::channel::ToEnforcer;
use crate::config::{ApprovalSettings, write_duration};
use crate::control::{self, Answer};
use crate::keeper::enforcers::WorkerId;
use crate::keeper::names;
use crate::model::{
    Approver, Caller, EventKind, FlowId, Hold, HoldAnswer, HoldAsked, HoldEnd, HoldEvent, HoldId,
    HoldState, HoldStep, MOST_ASKED, Timestamp, Withdrawal,
};

pub(super) struct Holds {
    book: Book,
    /// Whom the end of those that wait is told.
    waiting: HashMap<HoldId, Waiting>,
}

struct Waiting {
    worker: WorkerId,
    request: u64,
    flow: FlowId,
}

impl Holds {
    pub fn new(settings: &ApprovalSettings) -> Self {
        Self { book: Book::new(times(settings)), waiting: HashMap::new() }
    }
}

fn times(settings: &ApprovalSettings) -> Times {
    Times { wait: settings.hold_wait, open: settings.open_for }
}

impl Gate {
    /// A statement of a flow that this worker has needs an approval.
    pub(super) fn on_hold(
        &mut self,
        worker: WorkerId,
        request: u64,
        flow: FlowId,
        asked: HoldAsked,
        waits: Option<u64>,
    ) {
        let answer = match self.ask_to_hold(worker, request, flow, asked, waits) {
            Ok(answer) => answer,
            Err(why) => HoldAnswer::Full { why: why.into() },
        };
        self.parts.enforcers.answer(worker, ToEnforcer::Held { request, answer }, None);
    }

    fn ask_to_hold(
        &mut self,
        worker: WorkerId,
        request: u64,
        flow: FlowId,
        asked: HoldAsked,
        waits: Option<u64>,
    ) -> Result<HoldAnswer, &'static str> {
        let of = Arc::clone(&self.open_of(worker, flow)?.flow);
        check_asked(&asked)?;
        if asked.weight() > MOST_ASKED {
            return Err("it is too long to be shown to an approver");
        }
        let asked = Asked { flow: &of, asked, waits };
        let (answer, change) = self.holds.book.ask(Timestamp::now(), asked, random);
        if let HoldAnswer::Waits { id, .. } = &answer {
            self.holds.waiting.insert(id.clone(), Waiting { worker, request, flow });
        }
        if let Some(change) = change {
            self.tell_hold(&change, None);
        }
        Ok(answer)
    }

    pub(super) fn on_withdraw(&mut self, worker: WorkerId, request: u64, why: Withdrawal) {
        self.withdraw_holds(why, |one| one.worker == worker && one.request == request);
    }

    pub(super) fn withdraw_holds_of(&mut self, flow: FlowId) {
        self.withdraw_holds(Withdrawal::Disconnected, |one| one.flow == flow);
    }

    pub(super) fn withdraw_holds_of_enforcer(&mut self, generation: u32) {
        self.withdraw_holds(Withdrawal::Lost, |one| one.worker.generation == generation);
    }

    fn withdraw_holds(&mut self, why: Withdrawal, which: impl Fn(&Waiting) -> bool) {
        let found = self.holds.waiting.iter().filter(|(_, one)| which(one));
        let ids: Vec<HoldId> = found.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.holds.waiting.remove(&id);
            if self.holds.book.withdraw(Timestamp::now(), &id, why) {
                self.tell_hold(&Change { id, step: HoldStep::Withdrawn }, Some(why));
            }
        }
    }

    /// Ends those whose time has come.
    pub(super) fn expire_holds(&mut self) {
        for id in self.holds.book.expire(Timestamp::now()) {
            self.end_hold(&id, HoldEnd::Expired);
            self.tell_hold(&Change { id, step: HoldStep::Expired }, None);
        }
    }

    pub(super) fn set_approvals(&mut self) {
        self.holds.book.set_times(times(&self.parts.settings.approvals));
    }

    fn end_hold(&mut self, id: &HoldId, end: HoldEnd) {
        if let Some(Waiting { worker, request, .. }) = self.holds.waiting.remove(id) {
            self.parts.enforcers.answer(worker, ToEnforcer::Decided { request, end }, None);
        }
    }

    /// What somebody wants to see or decide.
    pub(super) fn on_holds_order(&mut self, order: control::Order, caller: Caller) -> Answer {
        use control::Order as Wanted;
        let now = Timestamp::now();
        match order {
            Wanted::Holds { all } => {
                let open =
                    |hold: &&Hold| all || hold.state == HoldState::Waiting || hold.grant.is_some();
                let holds = self.holds.book.holds().iter().filter(open).cloned().collect();
                Answer::Holds { holds }
            }
            Wanted::Hold { id } => match self.holds.book.get(&id) {
                Some(hold) => Answer::Holds { holds: vec![hold.clone()] },
                None => Answer::Failed { error: ApprovalError::Unknown(id).to_string() },
            },
            Wanted::Approve { id, reason, reach } => {
                self.decide(now, &id, caller, Verdict::Approve(reach), &reason)
            }
            Wanted::Deny { id, reason } => self.decide(now, &id, caller, Verdict::Deny, &reason),
            _ => Answer::Failed { error: "this order is not about holds".into() },
        }
    }

    fn decide(
        &mut self,
        now: Timestamp,
        id: &str,
        caller: Caller,
        verdict: Verdict,
        reason: &str,
    ) -> Answer {
        let who = Admitted {
            user: names::user(caller.uid),
            login: caller.login_uid.and_then(names::user),
            groups: caller.gids.iter().filter_map(|gid| names::group(*gid)).collect(),
            caller,
        };
        let Decided { change, end, missing } =
            match self.holds.book.decide(now, id, &who, verdict, reason) {
                Ok(decided) => decided,
                Err(error) => return failed(&error),
            };
        if let Some(end) = end {
            self.end_hold(&change.id, end);
        }
        self.tell_hold(&change, None);
        let id = change.id;
        match change.step {
            HoldStep::Denied => Answer::Done { message: format!("hold {id} is denied") },
            HoldStep::Revoked => {
                Answer::Done { message: format!("the approval of hold {id} is taken back") }
            }
            HoldStep::Seconded => {
                let missing = missing.join(" and ");
                let message = format!("hold {id} has your approval, and waits for {missing}");
                Answer::Waiting { message }
            }
            _ => Answer::Done { message: self.approved(&id, now) },
        }
    }

    fn approved(&self, id: &HoldId, now: Timestamp) -> String {
        let Some(hold) = self.holds.book.get(&id.0) else { return String::new() };
        let left = |until: Timestamp| {
            let left = std::time::Duration::from_nanos(until.0.saturating_sub(now.0));
            write_duration(std::time::Duration::from_secs(left.as_secs_f64().round() as u64))
        };
        match &hold.grant {
            None => format!("hold {id} is approved: its statement runs now"),
            Some(grant) if grant.once => {
                format!("hold {id} is approved: it passes once, within {}", left(grant.until))
            }
            Some(grant) => format!("hold {id} is approved for {}", left(grant.until)),
        }
    }

    /// Tells observers, and with them the log.
    fn tell_hold(&self, change: &Change, why: Option<Withdrawal>) {
        let Some(hold) = self.holds.book.get(&change.id.0) else { return };
        let last = hold.approvals.last();
        let (by, reason, reach) = match (change.step, &hold.state, last) {
            (_, HoldState::Denied { by, reason, .. }, _) => (Some(by), Some(reason), None),
            (HoldStep::Seconded | HoldStep::Approved, _, Some(last)) => {
                (Some(&last.by), Some(&last.reason), Some(&last.reach))
            }
            _ => (None, None, None),
        };
        let by: Option<Approver> = by.cloned();
        let event = HoldEvent {
            id: hold.id.clone(),
            step: change.step,
            policies: hold.asked.policies.clone(),
            approvers: hold.asked.approvers.clone(),
            database: hold.asked.database.clone(),
            role: hold.asked.role.clone(),
            waits: hold.waits,
            by,
            reason: reason.cloned(),
            reach: reach.cloned(),
            why,
        };
        let flow = Arc::clone(&hold.flow);
        self.parts.observers.tell(EventKind::Hold { flow, hold: Box::new(event) });
    }
}

fn failed(error: &ApprovalError) -> Answer {
    let text = error.to_string();
    match error {
        ApprovalError::Own(_) | ApprovalError::Nobody | ApprovalError::NotYours { .. } => {
            Answer::Denied { error: text }
        }
        _ => Answer::Failed { error: text },
    }
}

/// For names: nothing hangs on it that they can't be guessed.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(_) => u32::from_ne_bytes(bytes),
        Err(_) => Timestamp::now().0 as u32,
    }
}
