//! All holds, and what is left of their approvals.

use std::sync::Arc;
use std::time::Duration;

use super::rights::{Admitted, is_own};
use super::{ApprovalError, Times, cover, name};
use crate::model::{
    Approver, Flow, HOLD_SCHEMA, Hold, HoldAnswer, HoldApproval, HoldAsked, HoldEnd, HoldGrant,
    HoldId, HoldPass, HoldState, HoldStep, Reach, Timestamp, Varying, Withdrawal,
};

/// Every hold that is open, and the newest of those that aren't. Bounded.
#[derive(Debug)]
pub struct Book {
    times: Times,
    /// The oldest first.
    holds: Vec<Hold>,
}

/// A statement that needs an approval.
#[derive(Debug)]
pub struct Asked<'a> {
    pub flow: &'a Arc<Flow>,
    pub asked: HoldAsked,
    /// It can wait for it, for so many milliseconds at most.
    pub waits: Option<u64>,
}

/// What somebody who may says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Approve(Reach),
    Deny,
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub change: Change,
    /// What is to be told to the statement that waits.
    pub end: Option<HoldEnd>,
    /// Who must approve as well.
    pub missing: Vec<String>,
}

/// Something became of this hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: HoldId,
    pub step: HoldStep,
}

impl Book {
    pub fn new(times: Times) -> Self {
        Self { times, holds: Vec::new() }
    }

    /// For what is asked from now on.
    pub fn set_times(&mut self, times: Times) {
        self.times = times;
    }

    /// The newest last.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    pub fn get(&self, id: &str) -> Option<&Hold> {
        let id = name::read(id);
        self.holds.iter().rev().find(|hold| hold.id.0 == id)
    }

    /// A statement needs an approval. `number`: any number, for a name.
    pub fn ask(
        &mut self,
        now: Timestamp,
        asked: Asked<'_>,
        number: impl FnMut() -> u32,
    ) -> (HoldAnswer, Option<Change>) {
        let Asked { flow, asked, waits } = asked;
        if let Some((pass, change)) = self.pass(now, flow, &asked) {
            return (HoldAnswer::Passes(pass), change);
        }
        if waits.is_none()
            && let Some(hold) = self.holds.iter_mut().find(|hold| {
                hold.state == HoldState::Waiting
                    && !hold.waits
                    && hold.until > now
                    && cover::same_actor(&hold.flow, flow)
                    && cover::covers(&hold.asked, &[], &asked)
            })
        {
            hold.times += 1;
            return (HoldAnswer::Noted { id: hold.id.clone(), until: hold.until }, None);
        }
        let open = |hold: &&Hold| hold.state == HoldState::Waiting;
        let theirs = |hold: &&Hold| {
            hold.flow.process.uid == flow.process.uid
                && hold.flow.process.cgroup_id == flow.process.cgroup_id
        };
        let waiting = self.holds.iter().filter(open);
        if waiting.clone().count() >= MOST_OPEN || waiting.filter(theirs).count() >= MOST_OF_ONE {
            let why = "too many statements wait for approvals: deny some, or let them expire";
            return (HoldAnswer::Full { why: why.into() }, None);
        }
        // Who asks and withdraws again and again would fill the log.
        let recent = |hold: &&Hold| hold.since.0.saturating_add(MINUTE) > now.0;
        if self.holds.iter().filter(recent).filter(theirs).count() >= MOST_A_MINUTE {
            let why = "too many approvals were asked for within a minute: wait a little";
            return (HoldAnswer::Full { why: why.into() }, None);
        }
        let id = self.fresh(number);
        // Who is to approve sees for how long that helps: the session may give up sooner.
        let until = match waits.map(Duration::from_millis) {
            Some(patience) => later(now, self.times.wait.min(patience)),
            None => later(now, self.times.open),
        };
        let waits = waits.is_some();
        self.holds.push(Hold {
            schema: HOLD_SCHEMA,
            id: id.clone(),
            state: HoldState::Waiting,
            since: now,
            until,
            waits,
            times: 1,
            flow: Arc::clone(flow),
            asked: Arc::new(asked),
            approvals: Vec::new(),
            grant: None,
        });
        self.forget();
        let change = Change { id: id.clone(), step: HoldStep::Asked };
        let answer =
            if waits { HoldAnswer::Waits { id, until } } else { HoldAnswer::Noted { id, until } };
        (answer, Some(change))
    }

    /// Takes an approval that is there.
    fn pass(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        asked: &HoldAsked,
    ) -> Option<(HoldPass, Option<Change>)> {
        let hold = self.holds.iter_mut().find(|hold| {
            let live = hold.grant.as_ref().filter(|grant| grant.until > now);
            live.is_some_and(|grant| {
                cover::same_actor(&hold.flow, flow)
                    && cover::covers(&hold.asked, &grant.vary, asked)
            })
        })?;
        let pass = pass_of(hold);
        let mut first = true;
        if let Some(grant) = &mut hold.grant {
            grant.used += 1;
            first = grant.used == 1;
            if grant.once {
                hold.grant = None;
            }
        }
        // Each statement's own record names the hold; that it is used is told once.
        let change = first.then(|| Change { id: hold.id.clone(), step: HoldStep::Used });
        Some((pass, change))
    }

    /// Somebody decides.
    pub fn decide(
        &mut self,
        now: Timestamp,
        id: &str,
        who: &Admitted,
        verdict: Verdict,
        reason: &str,
    ) -> Result<Decided, ApprovalError> {
        let reason = checked(reason)?;
        let wanted = name::read(id);
        let found = self.holds.iter_mut().rev().find(|hold| hold.id.0 == wanted);
        let hold = found.ok_or_else(|| ApprovalError::Unknown(id.trim().to_owned()))?;
        if !who.caller.known {
            return Err(ApprovalError::Nobody);
        }
        let by = Approver {
            uid: who.caller.uid,
            user: who.user.clone(),
            login_uid: who.caller.login_uid,
            login: who.login.clone(),
        };
        let shown = Arc::clone(&hold.asked);
        let gives = who.gives(&shown.approvers);
        let own = is_own(who, &hold.flow);
        // Whoever asked may take it back.
        if gives.is_empty() && !(own && verdict == Verdict::Deny) {
            let needs = shown.approvers.join(" and ");
            return Err(ApprovalError::NotYours { id: hold.id.clone(), needs });
        }
        let live = hold.grant.as_ref().is_some_and(|grant| grant.until > now);
        match (&hold.state, &verdict) {
            (HoldState::Waiting, _) if hold.until > now => {}
            (HoldState::Approved { .. }, Verdict::Deny) if live => {}
            (HoldState::Waiting, _) => {
                return Err(ApprovalError::Over { id: hold.id.clone(), state: "expired" });
            }
            (state, _) => {
                return Err(ApprovalError::Over { id: hold.id.clone(), state: state.word() });
            }
        }
        let reach = match verdict {
            Verdict::Deny => {
                let step = match hold.state {
                    HoldState::Waiting => HoldStep::Denied,
                    _ => HoldStep::Revoked,
                };
                let end = (hold.waits && step == HoldStep::Denied)
                    .then(|| HoldEnd::Denied { by: by.to_string(), reason: reason.into() });
                hold.grant = None;
                hold.state = HoldState::Denied { at: now, by, reason: reason.into() };
                let change = Change { id: hold.id.clone(), step };
                return Ok(Decided { change, end, missing: Vec::new() });
            }
            Verdict::Approve(reach) => reach,
        };
        if own {
            return Err(ApprovalError::Own(hold.id.clone()));
        }
        let reach = fitting(reach, &shown)?;
        let missing: Vec<String> = hold.missing().into_iter().map(str::to_owned).collect();
        let given = missing.iter().filter(|one| gives.contains(&one.as_str()));
        let covers: Vec<String> = given.cloned().collect();
        if covers.is_empty() {
            let needs = missing.join(" and ");
            return Err(ApprovalError::Said { id: hold.id.clone(), needs });
        }
        hold.approvals.push(HoldApproval { at: now, by, reason: reason.into(), covers, reach });
        let missing: Vec<String> = hold.missing().into_iter().map(str::to_owned).collect();
        if !missing.is_empty() {
            let change = Change { id: hold.id.clone(), step: HoldStep::Seconded };
            return Ok(Decided { change, end: None, missing });
        }
        hold.state = HoldState::Approved { at: now };
        let end = hold.waits.then(|| HoldEnd::Approved(pass_of(hold)));
        hold.grant = grant(hold, now, self.times.open);
        let change = Change { id: hold.id.clone(), step: HoldStep::Approved };
        Ok(Decided { change, end, missing })
    }

    /// Nobody waits for it any more. False: it was decided before.
    pub fn withdraw(&mut self, now: Timestamp, id: &HoldId, why: Withdrawal) -> bool {
        let found = self.holds.iter_mut().find(|hold| hold.id == *id);
        let Some(hold) = found.filter(|hold| hold.state == HoldState::Waiting) else {
            return false;
        };
        hold.state = HoldState::Withdrawn { at: now, why };
        true
    }

    /// Those whose time has come.
    pub fn expire(&mut self, now: Timestamp) -> Vec<HoldId> {
        let mut expired = Vec::new();
        for hold in &mut self.holds {
            // A session that gives up sooner than we do says so itself: its word is
            // under way.
            let gives_up = hold.waits && hold.until < later(hold.since, self.times.wait);
            let until = if gives_up { later(hold.until, UNDER_WAY) } else { hold.until };
            if hold.state == HoldState::Waiting && until <= now {
                hold.state = HoldState::Expired { at: now };
                expired.push(hold.id.clone());
            }
            if hold.grant.as_ref().is_some_and(|grant| grant.until <= now) {
                hold.grant = None;
            }
        }
        expired
    }

    fn fresh(&self, mut number: impl FnMut() -> u32) -> HoldId {
        // There are a million names for a few thousand holds.
        let mut id = name::of(number());
        let mut step = 0;
        while self.holds.iter().any(|hold| hold.id == id) {
            step += 1;
            id = name::of(number().wrapping_add(step));
        }
        id
    }

    /// The oldest of those that are over go first. An approval that is good for long
    /// must not be lost by others' noise; but there is an end to it.
    fn forget(&mut self) {
        for (most, granted) in [(MOST_OVER, false), (MOST_GRANTED, true)] {
            let goes =
                |hold: &Hold| hold.state != HoldState::Waiting && hold.grant.is_some() == granted;
            let count = self.holds.iter().filter(|hold| goes(hold)).count();
            let mut surplus = count.saturating_sub(most);
            self.holds.retain(|hold| {
                let gone = surplus > 0 && goes(hold);
                surplus -= usize::from(gone);
                !gone
            });
        }
    }
}

fn pass_of(hold: &Hold) -> HoldPass {
    let mut names: Vec<String> = hold.approvals.iter().map(|one| one.by.to_string()).collect();
    names.dedup();
    let policies = hold.asked.policies.clone();
    HoldPass { id: hold.id.clone(), by: names.join(", "), policies }
}

/// What the approvals leave behind: the narrowest of them.
fn grant(hold: &Hold, now: Timestamp, open: Duration) -> Option<HoldGrant> {
    let reaches = || hold.approvals.iter().map(|approval| &approval.reach);
    let once = reaches().any(|reach| reach.for_ms.is_none());
    // The statement that waits is the one.
    if once && hold.waits {
        return None;
    }
    let lasts = reaches().filter_map(|reach| reach.for_ms).min();
    let lasts = lasts.filter(|_| !once).map_or(open, Duration::from_millis);
    let mut vary = reaches().next().map(|reach| reach.vary.clone()).unwrap_or_default();
    vary.retain(|part| reaches().all(|reach| reach.vary.contains(part)));
    Some(HoldGrant { until: later(now, lasts), once, vary, used: 0 })
}

fn fitting(mut reach: Reach, asked: &HoldAsked) -> Result<Reach, ApprovalError> {
    reach.vary.sort();
    reach.vary.dedup();
    let (literals, parameters) = (asked.literals.len(), asked.parameters.len());
    for part in &reach.vary {
        let (number, of) = match part {
            Varying::Literal(number) => (number, literals),
            Varying::Parameter(number) => (number, parameters),
        };
        if !(1..=of).contains(&usize::try_from(*number).unwrap_or(usize::MAX)) {
            return Err(ApprovalError::Mark { part: part.to_string(), literals, parameters });
        }
    }
    if reach.for_ms.is_some_and(|lasts| !(1_000..=LONGEST_DAYS * 86_400_000).contains(&lasts)) {
        return Err(ApprovalError::Lasts(LONGEST_DAYS));
    }
    Ok(reach)
}

fn checked(reason: &str) -> Result<&str, ApprovalError> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(ApprovalError::NoReason);
    }
    if reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        return Err(ApprovalError::Reason(LONGEST_REASON));
    }
    Ok(reason)
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

/// A word of a session's own end is here by then.
const UNDER_WAY: Duration = Duration::from_secs(5);

const MOST_OPEN: usize = 1_000;
/// Of one user in one cgroup.
const MOST_OF_ONE: usize = 100;
/// … within a minute.
const MOST_A_MINUTE: usize = 150;
const MINUTE: u64 = 60_000_000_000;
/// Of those that are over, so many are remembered.
const MOST_OVER: usize = 500;
const MOST_GRANTED: usize = 2_000;
const LONGEST_REASON: usize = 500;
const LONGEST_DAYS: u64 = 7;
