//! Who, what and where must fit at once: the scope with the conditions, and these with
//! each other.
//!
//! An actor is of one kind and one person's, a thing lies in one table, schema, database,
//! server and environment, and a request is of one action.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::conditions::pair;
use crate::model::ActorKind;
use crate::policy::vocabulary::Action;

#[derive(Debug, Default)]
pub(super) struct Things {
    /// By variable and type: what is left, where something was asked for; and what was
    /// ruled out.
    left: HashMap<(String, String), BTreeSet<String>>,
    out: HashMap<(String, String), BTreeSet<String>>,
    /// The actions that were ruled out.
    never: BTreeSet<Action>,
}

impl Things {
    /// Takes in the policy's scope: why nothing fits it, if nothing does.
    pub fn scope(&mut self, tree: &Value) -> Option<String> {
        ["principal", "action", "resource"].into_iter().find_map(|variable| {
            let scope = tree.get(variable)?;
            let within = scope.get("in").unwrap_or(scope);
            let one = within.get("entity").and_then(entity);
            let several = || within.get("entities")?.as_array()?.iter().map(entity).collect();
            let entities = one.map(|one| vec![one]).or_else(several)?;
            self.fits(variable, &entities, scope.get("op")? != "==", true)
        })
    }

    /// Takes in `principal in Kind::"agent"`, wherever it stands.
    pub fn condition(&mut self, tree: &Value, holds: bool) -> Option<String> {
        let sides = |operator: &str| tree.get(operator).and_then(pair);
        if let Some((left, right)) = sides("==").or_else(|| sides("!=")) {
            let holds = holds == tree.get("==").is_some();
            let (variable, one) = match left.get("Var") {
                Some(variable) => (variable, right),
                None => (right.get("Var")?, left),
            };
            return self.fits(variable.as_str()?, &[value(one)?], false, holds);
        }
        let (left, right) = match sides("in") {
            Some(sides) => sides,
            // `resource is Table in Schema::"…"`: not to be it may be not to be a table.
            None if holds => (tree.pointer("/is/left")?, tree.pointer("/is/in")?),
            None => return None,
        };
        let several = || right.get("Set")?.as_array()?.iter().map(value).collect();
        let entities = value(right).map(|one| vec![one]).or_else(several)?;
        self.fits(left.get("Var")?.as_str()?, &entities, true, holds)
    }

    fn fits(
        &mut self,
        variable: &str,
        entities: &[(&str, &str)],
        within: bool,
        holds: bool,
    ) -> Option<String> {
        if variable == "action" {
            let named = |action: &Action| {
                let is = |id: &str| action.as_str() == id;
                let under = |id: &&str| within && action.groups().contains(id);
                entities.iter().any(|(_, id)| is(id) || under(id))
            };
            self.never.extend(Action::all().filter(|action| named(action) != holds));
            let none = Action::all().all(|action| self.never.contains(&action));
            return none.then(|| "no action is all that is asked of it".into());
        }
        let (kind, _) = entities.first()?;
        if !entities.iter().all(|(other, _)| other == kind) || !is_one(variable, kind, within) {
            return None;
        }
        let key = (variable.to_owned(), (*kind).to_owned());
        let ids: BTreeSet<String> = entities.iter().map(|(_, id)| (*id).to_owned()).collect();
        let list = |of: &BTreeSet<String>| {
            let all: Vec<_> = of.iter().map(|id| format!("`{kind}::\"{id}\"`")).collect();
            all.join(", ")
        };
        if !holds {
            self.out.entry(key.clone()).or_default().extend(ids);
        } else if let Some(before) = self.left.get_mut(&key) {
            let shown = (list(before), list(&ids));
            before.retain(|id| ids.contains(id));
            if before.is_empty() {
                let (one, other) = shown;
                return Some(format!("no {variable} is in both {one} and {other}"));
            }
        } else {
            self.left.insert(key.clone(), ids);
        }
        let kinds = || ActorKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
        let left = match self.left.get(&key) {
            Some(left) => left.clone(),
            None if *kind == "Kind" => kinds(),
            None => return None,
        };
        let out = self.out.get(&key)?;
        left.is_subset(out).then(|| format!("no {variable} is left outside of {}", list(out)))
    }
}

/// Whether nothing can be in two of that type.
fn is_one(variable: &str, kind: &str, within: bool) -> bool {
    let one_place = ["Environment", "Server", "Database", "Schema", "Table"];
    match variable {
        "principal" => matches!(kind, "Kind" | "Person") || kind == "Actor" && !within,
        "resource" => one_place.contains(&kind),
        _ => false,
    }
}

fn entity(tree: &Value) -> Option<(&str, &str)> {
    let tree = tree.get("__entity").unwrap_or(tree);
    Some((tree.get("type")?.as_str()?, tree.get("id")?.as_str()?))
}

fn value(tree: &Value) -> Option<(&str, &str)> {
    entity(tree.get("Value")?)
}
