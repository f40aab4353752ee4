//! Whether what comes is what was shown.

use crate::model::{Flow, HoldAsked, HoldLiteral, HoldParameter, Varying, Workload};

/// What the enforcer says is in itself right: literals in order, within the text.
pub fn check(asked: &HoldAsked) -> Result<(), &'static str> {
    let mut from = 0;
    for literal in &asked.literals {
        if literal.start < from || literal.end <= literal.start {
            return Err("its literals are not in order");
        }
        if slice(&asked.text, literal.start, literal.end).is_none() {
            return Err("its literals are not in the text");
        }
        from = literal.end;
    }
    if asked.approvers.is_empty() || asked.policies.is_empty() {
        return Err("nobody could approve it");
    }
    Ok(())
}

/// The same actor in the same place: another run of the same program, by the same
/// user and login, in the same workload.
pub fn same_actor(one: &Flow, other: &Flow) -> bool {
    let place = |workload: &Workload| {
        let Workload { container, pod, namespace, user_slice, .. } = workload;
        let unit = workload.system_unit().map(str::to_owned);
        (container.clone(), pod.clone(), namespace.clone(), *user_slice, unit)
    };
    let (a, b) = (&one.process, &other.process);
    (a.uid, a.login_uid, &a.exe) == (b.uid, b.login_uid, &b.exe)
        && place(&a.workload) == place(&b.workload)
        && (one.actor.kind, &one.actor.name) == (other.actor.kind, &other.actor.name)
        && one.actor.program.script == other.actor.program.script
        && (&one.rule, one.destination) == (&other.rule, other.destination)
}

/// Whether `now` is what was shown, but for what may vary. Which policies forbid it
/// counts too: one that wasn't shown wasn't lifted.
pub fn covers(shown: &HoldAsked, vary: &[Varying], now: &HoldAsked) -> bool {
    let same = (&shown.database, &shown.role, &shown.settings, &shown.types)
        == (&now.database, &now.role, &now.settings, &now.types);
    same && now.policies.iter().all(|policy| shown.policies.contains(policy))
        && now.approvers.iter().all(|one| shown.approvers.contains(one))
        && texts(shown, vary, now)
        && parameters(shown, vary, now)
}

fn texts(shown: &HoldAsked, vary: &[Varying], now: &HoldAsked) -> bool {
    if shown.text == now.text {
        return true;
    }
    let varies = |number| vary.contains(&Varying::Literal(number));
    if shown.literals.len() != now.literals.len() || !vary.iter().any(is_literal) {
        return false;
    }
    let (mut at, mut at_now) = (0, 0);
    for (number, (one, other)) in (1..).zip(shown.literals.iter().zip(&now.literals)) {
        let between = slice(&shown.text, at, one.start) == slice(&now.text, at_now, other.start);
        let (was, is) = (literal(&shown.text, *one), literal(&now.text, *other));
        let alike = was == is || varies(number) && kind(was) == kind(is);
        if !between || !alike {
            return false;
        }
        (at, at_now) = (one.end, other.end);
    }
    let rest = |text: &str, at: u32| text.get(at as usize..).map(str::to_owned);
    rest(&shown.text, at) == rest(&now.text, at_now)
}

fn parameters(shown: &HoldAsked, vary: &[Varying], now: &HoldAsked) -> bool {
    let pairs = shown.parameters.iter().zip(&now.parameters);
    shown.parameters.len() == now.parameters.len()
        && (1..).zip(pairs).all(|(number, (one, other))| {
            one == other
                || vary.contains(&Varying::Parameter(number))
                    && matches!(
                        (one, other),
                        (HoldParameter::Text(_), HoldParameter::Text(_))
                            | (HoldParameter::Binary(_), HoldParameter::Binary(_))
                    )
        })
}

fn is_literal(part: &Varying) -> bool {
    matches!(part, Varying::Literal(_))
}

fn slice(text: &str, start: u32, end: u32) -> Option<&str> {
    text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn literal(text: &str, literal: HoldLiteral) -> &str {
    slice(text, literal.start, literal.end).unwrap_or_default()
}

/// A string stays a string of its kind, and a number a number.
fn kind(literal: &str) -> &str {
    if let Some(at) = literal.find('\'') {
        return literal.get(..=at).unwrap_or_default();
    }
    let numeric = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    if literal.bytes().all(numeric) { "0" } else { literal }
}
