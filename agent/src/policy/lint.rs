//! What is odd about policies that load: those that can never matter, and those
//! that don't say why.

mod conditions;
mod things;
mod values;

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, PrincipalConstraint, ResourceConstraint,
};

use super::set::fits;
use super::source::{Mistake, Policy, Read};
use super::vocabulary::Action;

/// A policy's scope, made comparable.
struct Scope<'r> {
    policy: &'r Policy,
    layer: usize,
    principal: Part,
    actions: Vec<Action>,
    resource: Part,
    /// It fits whatever is in its scope.
    always: bool,
}

#[derive(PartialEq, Eq)]
enum Part {
    Any,
    Is(EntityTypeName),
    In(EntityUid),
    IsIn(EntityTypeName, EntityUid),
    One(EntityUid),
}

impl Part {
    /// Whether all that `other` takes is taken by this.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Is(kind), Self::IsIn(other, _)) => kind == other,
            (Self::Is(kind), Self::One(uid)) => kind == uid.type_name(),
            (Self::In(uid), Self::IsIn(_, other) | Self::One(other)) => uid == other,
            (one, other) => one == other,
        }
    }
}

pub(super) fn remarks<'r>(all: impl Iterator<Item = &'r Read>, out: &mut Vec<Mistake>) {
    let all: Vec<&Read> = all.collect();
    for read in &all {
        let Ok(tree) = read.cedar.to_json() else { continue };
        let id = &read.policy.id;
        let never = conditions::never(&tree);
        if never.is_some() {
            // The validator's word for it says less.
            let said = format!("`{id}` can never fit: {NO_REQUEST}");
            out.retain(|one| one.place != read.policy.place || one.text != said);
        }
        let mut remark = |text| out.push(Mistake { place: read.policy.place.clone(), text });
        for why in values::all(&tree).into_iter().filter(|why| Some(why) != never.as_ref()) {
            remark(format!("a condition of `{id}` never holds: {why}"));
        }
        if let Some(why) = never {
            remark(format!("`{id}` can never fit: {why}"));
        }
        if values::asks_for_approvals(&tree) {
            remark(format!(
                "`{id}` asks for `context.approvals`, and nobody holds one: it is always empty. \
                 `@hold` says who may lift a refusal"
            ));
        }
        let fits = |action| self::fits(&read.cedar.action_constraint(), action);
        if read.policy.mask.is_some() && !fits(Action::Reveal) {
            remark(format!(
                "`@mask` of `{id}` does nothing: it says how a column that isn't revealed is \
                 shown, and this is about other actions than `reveal`"
            ));
        }
        if read.policy.hold.is_some()
            && !Action::all().any(|one| one != Action::Reveal && fits(one))
        {
            remark(format!(
                "`@hold` of `{id}` does nothing: a column that isn't revealed is masked, and \
                 nobody waits for it. Permit `reveal` to those who may see it"
            ));
        }
    }
    let scopes: Vec<Scope<'_>> = all.into_iter().map(Scope::of).collect();
    for scope in &scopes {
        let policy = scope.policy;
        let mut remark = |text: String| {
            out.push(Mistake { place: policy.place.clone(), text });
        };
        if policy.forbids && policy.reason.is_none() {
            remark(format!(
                "`{}` has no `@reason`: whoever is refused by it will not know why",
                policy.id
            ));
        }
        if let Some(by) = scopes.iter().find(|by| by.hides(scope)) {
            remark(match (by.policy.forbids, policy.forbids) {
                (true, false) => format!(
                    "`{}` can never permit anything: `{}` ({}) forbids all of it",
                    policy.id, by.policy.id, by.policy.place
                ),
                (true, true) => format!(
                    "`{}` can't change anything: `{}` ({}) forbids all of it already",
                    policy.id, by.policy.id, by.policy.place
                ),
                (false, _) => format!(
                    "`{}` can't change anything: `{}` ({}) permits all of it already",
                    policy.id, by.policy.id, by.policy.place
                ),
            });
        }
    }
}

impl<'r> Scope<'r> {
    fn of(read: &'r Read) -> Self {
        let cedar = &read.cedar;
        let principal = match cedar.principal_constraint() {
            PrincipalConstraint::Any => Part::Any,
            PrincipalConstraint::In(uid) => Part::In(uid),
            PrincipalConstraint::Eq(uid) => Part::One(uid),
            PrincipalConstraint::Is(kind) => Part::Is(kind),
            PrincipalConstraint::IsIn(kind, uid) => Part::IsIn(kind, uid),
        };
        let resource = match cedar.resource_constraint() {
            ResourceConstraint::Any => Part::Any,
            ResourceConstraint::In(uid) => Part::In(uid),
            ResourceConstraint::Eq(uid) => Part::One(uid),
            ResourceConstraint::Is(kind) => Part::Is(kind),
            ResourceConstraint::IsIn(kind, uid) => Part::IsIn(kind, uid),
        };
        let action: ActionConstraint = cedar.action_constraint();
        Self {
            policy: &read.policy,
            layer: read.layer,
            principal,
            actions: Action::all().filter(|one| fits(&action, *one)).collect(),
            resource,
            always: !cedar.has_non_scope_constraint(),
        }
    }

    /// Whether `other` can't matter beside this one.
    fn hides(&self, other: &Self) -> bool {
        let says_more = match (self.policy.forbids, other.policy.forbids) {
            // A permit says nothing against a refusal; and beside another permit it
            // may flag what it permits.
            (false, true) => true,
            (false, false) => other.policy.reason.is_some() || other.policy.severity.is_some(),
            // A refusal that nobody may lift, over one that somebody may.
            (true, true) => {
                self.policy.hold.is_some() && other.policy.hold.is_none()
                    || other.policy.mask.is_some()
            }
            (true, false) => false,
        };
        // Of two that are the same, the first by name stands.
        let same = self.covers(other) && other.covers(self) && other.always;
        !std::ptr::eq(self, other)
            // A pack that is tighter than the default is meant to be.
            && self.layer <= other.layer
            && self.always
            && !says_more
            && self.covers(other)
            && !(same
                && self.policy.forbids == other.policy.forbids
                && self.policy.id > other.policy.id)
    }

    fn covers(&self, other: &Self) -> bool {
        self.principal.covers(&other.principal)
            && self.resource.covers(&other.resource)
            && other.actions.iter().all(|action| self.actions.contains(action))
    }
}

/// What is said of a policy that no request of the schema's can meet.
pub(super) const NO_REQUEST: &str = "no request is of that kind";

#[cfg(test)]
mod tests;
