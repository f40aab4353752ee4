//! Who may decide.

use crate::model::{Caller, Flow};

/// A caller with the names that the host has for what he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub caller: Caller,
    pub user: Option<String>,
    /// The name of whoever logged in.
    pub login: Option<String>,
    /// Names of the groups he is in.
    pub groups: Vec<String>,
}

impl Admitted {
    /// Of a hold's approvers, those whose word he can give. The host's root can give
    /// everybody's; `approvers` are all who are let in here.
    pub fn gives<'a>(&self, approvers: &'a [String]) -> Vec<&'a str> {
        let may = |one: &str| match one.strip_prefix("group:") {
            None => true,
            Some(group) => {
                self.caller.uid == ROOT || self.groups.iter().any(|own| own == group.trim())
            }
        };
        approvers.iter().map(String::as_str).filter(|one| may(one)).collect()
    }
}

/// Whether a statement is the caller's own: he is, or logged in as, who runs it, or
/// who logged in to run it.
///
/// Root is shared: what a service runs as root isn't the own of an administrator who
/// became root from a login of his own. But a root without a login could be anybody.
pub fn is_own(who: &Admitted, flow: &Flow) -> bool {
    let person = flow.actor.person.as_ref();
    let theirs = [
        Some(flow.process.uid),
        flow.process.login_uid,
        person.and_then(|person| person.login_uid),
    ];
    let caller = &who.caller;
    let own = [Some(caller.uid), caller.login_uid];
    if own.iter().flatten().any(|uid| *uid != ROOT && theirs.contains(&Some(*uid))) {
        return true;
    }
    // Who came through sudo or su may be known by name only.
    let names = person.into_iter().flat_map(|person| {
        let user = person.user.iter().map(|user| user.value.as_str());
        user.chain(person.switches.iter().map(|switch| switch.from.as_str()))
    });
    let named = |name: &str| {
        name != "root" && [&who.user, &who.login].into_iter().flatten().any(|own| own == name)
    };
    if names.into_iter().any(named) {
        return true;
    }
    let roots = caller.uid == ROOT && theirs.contains(&Some(ROOT));
    roots && caller.login_uid.is_none_or(|login| login == ROOT)
}

const ROOT: u32 = 0;
