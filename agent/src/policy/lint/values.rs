//! Values that a fact never has: a word that is written otherwise, or none at all.
//!
//! The words are those of the code that gives the facts, so that none is missed.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::conditions::{name, pair};
use crate::policy::context::Transaction;
use crate::policy::vocabulary::BOUNDS;
use crate::sql::facts::ObjectKind;
use crate::sql::{Doubt, Effect, Verb};

/// Every comparison with such a value, wherever it stands.
pub(super) fn all(tree: &Value) -> Vec<String> {
    let mut found: Vec<String> = impossible(tree).into_iter().collect();
    let deeper: Vec<&Value> = match tree {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    for why in deeper.into_iter().flat_map(all) {
        if !found.contains(&why) {
            found.push(why);
        }
    }
    found
}

/// Whether `context.approvals` stands in it.
pub(super) fn asks_for_approvals(tree: &Value) -> bool {
    name(tree).is_some_and(|name| name == "`context.approvals`")
        || match tree {
            Value::Array(items) => items.iter().any(asks_for_approvals),
            Value::Object(fields) => fields.values().any(asks_for_approvals),
            _ => false,
        }
}

/// Why this one comparison never holds, if it doesn't.
pub(super) fn impossible(tree: &Value) -> Option<String> {
    let sides = |operator: &str| tree.get(operator).and_then(pair);
    if let Some((left, right)) = sides("==") {
        let (of, value) = if name(left).is_some() { (left, right) } else { (right, left) };
        return none_of(of, &[text(value)?]);
    }
    if let Some((left, right)) = sides("contains") {
        return match name(left) {
            // `context.doubts.contains("body")`
            Some(_) => none_of(left, &[text(right)?]),
            // `["select", "values"].contains(context.verb)`
            None => none_of(right, &texts(left)?),
        };
    }
    if let Some((left, right)) = sides("containsAny") {
        return none_of(left, &texts(right)?);
    }
    let (left, right) = sides("containsAll")?;
    texts(right)?.into_iter().find_map(|text| none_of(left, &[text]))
}

/// Why a fact is, or has, none of these.
fn none_of(of: &Value, texts: &[&str]) -> Option<String> {
    let name = name(of)?;
    let words = words(&name)?;
    let first = texts.first()?;
    if texts.iter().any(|text| words.iter().any(|word| word == text)) {
        return None;
    }
    let near = words.iter().map(|word| (strsim::damerau_levenshtein(word, first), word));
    let near = near.min().filter(|(distance, _)| *distance <= 2);
    let meant = match near {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None => words.join(", "),
    };
    Some(format!("{name} is never `{first}`: {meant}"))
}

/// What a fact can be, or hold, where that can be listed.
fn words(name: &str) -> Option<Vec<String>> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Some(match name {
        "`context.bound`" => owned(BOUNDS),
        "`context.transaction`" => {
            Transaction::ALL.iter().map(|one| one.as_str().to_owned()).collect()
        }
        "`context.verb`" => variants::<Verb>(),
        "`context.doubts`" => variants::<Doubt>(),
        "`context.defines`" => Effect::ALL.iter().map(|effect| effect.to_string()).collect(),
        "`resource.kind`" => {
            let mut kinds = variants::<ObjectKind>();
            kinds.retain(|kind| kind != "relation");
            kinds.insert(0, "table".to_owned());
            kinds
        }
        _ => return None,
    })
}

/// The names of a type's variants, as they are written: what its own reader expects.
fn variants<T: DeserializeOwned>() -> Vec<String> {
    let told = serde_json::from_value::<T>(Value::String(String::new())).err();
    let told = told.map(|error| error.to_string()).unwrap_or_default();
    // "unknown variant ``, expected one of `select`, `values` …"
    let expected = told.split_once("expected").map(|(_, expected)| expected).unwrap_or_default();
    expected.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

pub(super) fn text(tree: &Value) -> Option<&str> {
    tree.get("Value")?.as_str()
}

pub(super) fn texts(tree: &Value) -> Option<Vec<&str>> {
    tree.get("Set")?.as_array()?.iter().map(text).collect()
}
