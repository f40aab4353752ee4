//! What was decided, and what follows from it: a permit, a refusal or a hold, each
//! with its reasons.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::grounds;
use super::set::Generation;
use super::source::Policy;
use super::vocabulary::{Action, Fact};
use crate::model::{ActorKind, Grounds};
use crate::sql::{Effects, Facts};
use crate::wire::postgres::session;

/// The policy's word that a request may go upstream. Cheap to clone.
///
/// Nobody else can say it:
///
/// ```compile_fail,E0451
/// use tidegate::policy::{Permit, Stance};
/// fn forge(other: Permit) -> Permit {
///     Permit { stance: Stance::Enforced, ..other }
/// }
/// ```
#[derive(Clone)]
pub struct Permit {
    ruling: Arc<Ruling>,
    facts: Arc<Facts>,
    stance: Stance,
}

/// Whether decisions are carried out on an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stance {
    /// Refused is refused.
    Enforced,
    /// Everything is decided and recorded, and nothing changed.
    Shadow,
}

impl Stance {
    /// `enforced`: somebody has asked for it (`tidegate enforce`).
    pub fn of(kind: ActorKind, enforced: bool) -> Self {
        match kind {
            ActorKind::Service if !enforced => Self::Shadow,
            ActorKind::Terminal
            | ActorKind::Agent
            | ActorKind::Notebook
            | ActorKind::Pipeline
            | ActorKind::Service
            | ActorKind::Unplaced => Self::Enforced,
        }
    }
}

/// What the policies say, whatever the stance. The same for all who ask the same.
#[derive(Debug)]
pub struct Ruling {
    pub generation: Generation,
    /// Why not; empty: it is allowed.
    pub causes: Vec<Cause>,
    /// Of the policies that allow it, those that have something to say.
    pub flags: Vec<Arc<Policy>>,
    /// What would have forbidden it, but for an approval.
    pub lifted: Vec<Arc<Policy>>,
    /// All that was asked for.
    pub(super) asked: Effects,
    /// It may run code that the text doesn't show, as the catalog tells.
    pub meets_code: bool,
    /// Something was asked for that the session's path, which isn't known, may leave out.
    pub hangs_on_path: bool,
    /// Made when the log first asks.
    grounds: OnceLock<Grounds>,
}

impl PartialEq for Ruling {
    fn eq(&self, other: &Self) -> bool {
        let Self { generation, causes, flags, lifted, .. } = self;
        let Self { asked, meets_code, hangs_on_path, grounds: _, .. } = self;
        *generation == other.generation
            && *causes == other.causes
            && *flags == other.flags
            && *lifted == other.lifted
            && *asked == other.asked
            && (*meets_code, *hangs_on_path) == (other.meets_code, other.hangs_on_path)
    }
}

impl Eq for Ruling {}

/// One thing that is not allowed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub action: Action,
    /// On what: `` `public.customers` ``, `the database`.
    pub thing: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Forbidden(Arc<Policy>),
    /// No policy permits it.
    NotPermitted,
    /// A policy that might have forbidden it could not be held against it.
    Failed(String),
    /// A policy that might decide it asks for what nobody knows at the moment.
    Unknown(Arc<Policy>, Fact),
    /// It touches more than is asked about.
    TooMuch,
}

/// What follows.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    Allow(Permit),
    Refuse(Refusal),
    /// Refused, until somebody who may has approved.
    Hold(Hold),
}

#[derive(Clone, Debug)]
pub struct Refusal {
    ruling: Arc<Ruling>,
    /// It could be held, but for the transaction that is open.
    pub in_transaction: bool,
}

#[derive(Clone, Debug)]
pub struct Hold {
    ruling: Arc<Ruling>,
}

/// What the person refused reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Ruling {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            generation,
            causes: Vec::new(),
            flags: Vec::new(),
            lifted: Vec::new(),
            asked: Effects::NONE,
            meets_code: false,
            hangs_on_path: false,
            grounds: OnceLock::new(),
        }
    }

    /// What the log tells of it.
    pub fn grounds(&self) -> &Grounds {
        self.grounds.get_or_init(|| grounds::of(self))
    }

    pub fn allows(&self) -> bool {
        self.causes.is_empty()
    }

    /// Those who may lift it, each once; `None`: nobody can, or nothing needs it.
    pub fn approvers(&self) -> Option<Vec<&str>> {
        let mut all = Vec::new();
        for cause in &self.causes {
            let Why::Forbidden(policy) = &cause.why else { return None };
            let approvers = policy.hold.as_deref()?;
            if !all.contains(&approvers) {
                all.push(approvers);
            }
        }
        (!all.is_empty()).then_some(all)
    }

    /// Whether it hangs on values that are bound later: but for those nobody forbids it,
    /// or nobody whom an approval couldn't overrule.
    pub fn awaits_values(&self) -> bool {
        let waits = |cause: &Cause| matches!(cause.why, Why::Unknown(_, Fact::Parameters));
        let may_pass = |cause: &Cause| match &cause.why {
            Why::Forbidden(policy) => policy.hold.is_some(),
            _ => waits(cause),
        };
        self.causes.iter().any(waits) && self.causes.iter().all(may_pass)
    }

    /// The policies that decided it, each once.
    pub fn policies(&self) -> Vec<&Arc<Policy>> {
        let mut all: Vec<&Arc<Policy>> = Vec::new();
        for cause in &self.causes {
            if let Why::Forbidden(policy) | Why::Unknown(policy, _) = &cause.why
                && !all.iter().any(|known| known.id == policy.id)
            {
                all.push(policy);
            }
        }
        all
    }

    fn holds_in_transaction(&self) -> bool {
        self.policies().iter().all(|policy| policy.hold_in_transaction)
    }

    /// What the person reads. The first cause speaks; the others are counted.
    pub fn words(&self) -> Words {
        self.worded("is refused")
    }

    /// The same, where something else became of it: `needs an approval`.
    pub fn worded(&self, outcome: &str) -> Words {
        let Some(first) = self.causes.first() else {
            return Words { message: "allowed".into(), detail: None, hint: None };
        };
        let mut message = format!("tidegate: {} on {} {outcome}", first.action, first.thing);
        let of = |policy: &Policy| {
            let mut detail = format!("policy {} ({})", policy.id, policy.place);
            if let Some(severity) = &policy.severity {
                detail.push_str(", severity ");
                detail.push_str(severity);
            }
            Some(detail)
        };
        let (reason, detail, advice) = match &first.why {
            Why::Forbidden(policy) => {
                (policy.reason.as_deref(), of(policy), policy.advice.as_deref())
            }
            why @ Why::Unknown(policy, Fact::Role) => (
                why.words(),
                of(policy),
                Some("set the role by itself first (SET ROLE, RESET ROLE), outside a transaction"),
            ),
            why @ Why::Unknown(policy, _) => (
                why.words(),
                of(policy),
                Some("bind them in the protocol (as drivers do), not by PREPARE and EXECUTE"),
            ),
            why @ Why::NotPermitted => (why.words(), None, None),
            why @ Why::Failed(error) => {
                (why.words(), Some(error.clone()), Some("run `tidegate policy lint`"))
            }
            why @ Why::TooMuch => (why.words(), None, Some("split the statement")),
        };
        if let Some(reason) = reason {
            message.push_str(": ");
            message.push_str(reason);
        }
        let mut detail = detail.unwrap_or_default();
        let others = self.causes.len() - 1;
        if others > 0 {
            let and = if detail.is_empty() { "" } else { "; " };
            let more = if others == 1 { "reason" } else { "reasons" };
            detail.push_str(&format!("{and}{others} more {more}"));
        }
        if !detail.is_empty() {
            detail.push_str("; ");
        }
        detail.push_str(&format!("policies {}", self.generation));
        Words { message, detail: Some(detail), hint: advice.map(Into::into) }
    }
}

impl Why {
    /// A policy speaks for itself.
    pub(super) fn words(&self) -> Option<&str> {
        match self {
            Self::Forbidden(policy) => policy.reason.as_deref(),
            Self::NotPermitted => Some("no policy permits it"),
            Self::Failed(_) => Some("a policy could not be evaluated"),
            Self::Unknown(_, Fact::Role) => {
                Some("a policy asks for the session's role, which isn't known")
            }
            Self::Unknown(..) => {
                Some("a policy asks for the values that are bound, which can't be told")
            }
            Self::TooMuch => Some("it touches too many things at once"),
        }
    }
}

impl Verdict {
    pub(super) fn new(
        ruling: Arc<Ruling>,
        facts: Arc<Facts>,
        stance: Stance,
        in_transaction: bool,
    ) -> Self {
        if ruling.allows() || stance == Stance::Shadow {
            return Self::Allow(Permit { ruling, facts, stance });
        }
        let liftable = ruling.approvers().is_some();
        let waits = !in_transaction || ruling.holds_in_transaction();
        if liftable && waits {
            Self::Hold(Hold { ruling })
        } else {
            Self::Refuse(Refusal { ruling, in_transaction: liftable })
        }
    }

    pub fn ruling(&self) -> &Arc<Ruling> {
        match self {
            Self::Allow(permit) => &permit.ruling,
            Self::Refuse(refusal) => &refusal.ruling,
            Self::Hold(hold) => &hold.ruling,
        }
    }

    /// Whether an approval would lift it, also where it can't be waited for.
    pub fn is_liftable(&self) -> bool {
        match self {
            Self::Allow(_) => false,
            Self::Refuse(refusal) => refusal.in_transaction,
            Self::Hold(_) => true,
        }
    }

    /// The permit to have a text parsed by the server of which an approval, or what is
    /// bound to it, decides: nothing is planned or run by that, and whatever binds or
    /// executes it is judged anew.
    pub fn to_prepare(&self, facts: &Arc<Facts>) -> Option<Permit> {
        (self.is_liftable() || self.ruling().awaits_values()).then(|| Permit {
            ruling: Arc::clone(self.ruling()),
            facts: Arc::clone(facts),
            stance: Stance::Enforced,
        })
    }

    /// `allow`, `refuse`, `hold`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Refuse(_) => "refuse",
            Self::Hold(_) => "hold",
        }
    }
}

impl Permit {
    pub fn generation(&self) -> Generation {
        self.ruling.generation
    }

    pub fn stance(&self) -> Stance {
        self.stance
    }

    pub fn ruling(&self) -> &Arc<Ruling> {
        &self.ruling
    }

    /// In shadow: it would have been refused, or held.
    pub fn would(&self) -> Option<&'static str> {
        match (self.ruling.allows(), self.ruling.approvers()) {
            (true, _) => None,
            (false, Some(_)) => Some("would_hold"),
            (false, None) => Some("would_refuse"),
        }
    }

    /// The facts that it was given for.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Whether it was given for these very facts.
    pub fn covers(&self, facts: &Arc<Facts>) -> bool {
        Arc::ptr_eq(&self.facts, facts)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("generation", &self.ruling.generation)
            .field("stance", &self.stance)
            .field("would", &self.would())
            .finish_non_exhaustive()
    }
}

impl Refusal {
    pub fn ruling(&self) -> &Arc<Ruling> {
        &self.ruling
    }

    pub fn words(&self) -> Words {
        let mut words = self.ruling.words();
        if self.in_transaction {
            words.hint = Some(
                "an approval could lift this, but not inside an open transaction: roll back, \
                 and run the statement by itself"
                    .into(),
            );
        }
        words
    }
}

impl Hold {
    pub fn ruling(&self) -> &Arc<Ruling> {
        &self.ruling
    }

    /// `approvers`, `group:NAME`: all of them are needed.
    pub fn approvers(&self) -> Vec<&str> {
        self.ruling.approvers().unwrap_or_default()
    }

    /// Without the hold's id, which only the approval room knows.
    pub fn words(&self) -> Words {
        let mut words = self.ruling.worded("needs an approval");
        let who = self.approvers().join(" and ");
        let otherwise = words.hint.take().map(|advice| format!("; or {advice}"));
        let otherwise = otherwise.unwrap_or_default();
        words.hint = Some(format!("it passes once it is approved by {who}{otherwise}"));
        words
    }
}

impl Words {
    /// For a client that speaks PostgreSQL's protocol.
    pub fn refusal(self, record: String) -> session::Refusal {
        let Self { message, detail, hint } = self;
        session::Refusal { record, message, detail, hint }
    }
}

#[cfg(test)]
mod tests;
