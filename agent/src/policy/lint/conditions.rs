//! Conditions that can't all hold. The engine's own validator knows types; this knows
//! a little of truth and of the values that facts can have.
//!
//! Only what must hold for the policy to fit is looked at: its scope, the parts of a `when` that
//! are joined by `&&`, and of an `unless` those joined by `||`.

use std::collections::HashMap;

use serde_json::Value;

use super::things::Things;
use super::values;
use crate::policy::vocabulary::BOUNDS;

/// Why the policy can never fit, if it can't.
pub(super) fn never(tree: &Value) -> Option<String> {
    let mut must = Must::default();
    must.contradiction = must.things.scope(tree);
    for condition in tree.get("conditions")?.as_array()? {
        must.take(condition.get("body")?, condition.get("kind")? == "when");
    }
    must.contradiction
}

#[derive(Default)]
struct Must {
    held: HashMap<String, bool>,
    equal: HashMap<String, Value>,
    /// Whole numbers: the least and the most.
    range: HashMap<String, (i64, i64)>,
    /// Words: those that are left.
    words: HashMap<&'static str, Vec<&'static str>>,
    things: Things,
    contradiction: Option<String>,
}

impl Must {
    fn take(&mut self, tree: &Value, holds: bool) {
        let joined = if holds { "&&" } else { "||" };
        if let Some((left, right)) = tree.get(joined).and_then(pair) {
            self.take(left, holds);
            self.take(right, holds);
            return;
        }
        if let Some(inner) = tree.pointer("/!/arg") {
            self.take(inner, !holds);
            return;
        }
        if holds && let Some(why) = values::impossible(tree) {
            self.tell(why);
        }
        for (operator, with, against) in [
            ("==", "==", "!="),
            ("!=", "!=", "=="),
            ("<", "<", ">="),
            ("<=", "<=", ">"),
            (">", ">", "<="),
            (">=", ">=", "<"),
        ] {
            if let Some((left, right)) = tree.get(operator).and_then(pair) {
                let operator = if holds { with } else { against };
                self.compare(operator, left, right);
            }
        }
        if let Some(why) = self.things.condition(tree, holds) {
            self.tell(why);
        }
        let before = self.held.insert(tree.to_string(), holds);
        if before.is_some_and(|before| before != holds) {
            let what = name(tree).unwrap_or_else(|| "a condition".into());
            self.tell(format!("{what} can't both hold and not hold"));
        }
        self.relate(tree, holds);
    }

    /// Facts that say something of one another.
    fn relate(&mut self, tree: &Value, holds: bool) {
        let fact = name(tree);
        match fact.as_deref() {
            Some("`context.bounded`") => self.leave(BOUND, |word| (word != "unbounded") == holds),
            Some("`context.in_transaction`") => {
                self.leave(TRANSACTION, |word| (word != "idle") == holds);
            }
            Some("`context.understood`") => self.leave(DOUBTS, |word| (word == "none") == holds),
            Some(_) => {}
            None => self.relate_words(tree, holds),
        }
    }

    fn relate_words(&mut self, tree: &Value, holds: bool) {
        let sides = |operator: &str| tree.get(operator).and_then(pair);
        if let Some((left, right)) = sides("==").or_else(|| sides("!=")) {
            let holds = holds == tree.get("==").is_some();
            let (of, value) = if name(left).is_some() { (left, right) } else { (right, left) };
            if let (Some(of), Some(value)) = (name(of), values::text(value)) {
                self.leave(&of, |word| (word == value) == holds);
            }
        } else if let Some((left, right)) = sides("contains") {
            match (name(left), values::texts(left).zip(name(right))) {
                (Some(of), _) if of == DOUBTS && holds => self.leave(DOUBTS, |word| word != "none"),
                (_, Some((texts, of))) => {
                    self.leave(&of, |word| texts.contains(&word) == holds);
                }
                _ => {}
            }
        }
    }

    fn leave(&mut self, of: &str, fits: impl Fn(&str) -> bool) {
        let all: (&'static str, &[&'static str]) = match of {
            BOUND => (BOUND, BOUNDS),
            TRANSACTION => (TRANSACTION, &["idle", "open", "failed", "pipeline"]),
            DOUBTS => (DOUBTS, &["none", "some"]),
            _ => return,
        };
        let left = self.words.entry(all.0).or_insert_with(|| all.1.to_vec());
        left.retain(|word| fits(word));
        if left.is_empty() {
            self.tell(format!("{of} can't be all that is asked of it and of what goes with it"));
        }
    }

    fn compare(&mut self, operator: &str, left: &Value, right: &Value) {
        let (Some(name), Some(value)) = (name(left), right.get("Value")) else { return };
        if operator == "==" {
            let before = self.equal.insert(name.clone(), value.clone());
            if let Some(before) = before.filter(|before| before != value) {
                let plain = |value: &Value| {
                    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
                };
                let (one, other) = (plain(&before), plain(value));
                self.tell(format!("{name} can't be both `{one}` and `{other}`"));
            }
        }
        let (Some(number), Some((least, most))) = (value.as_i64(), limits(&name)) else { return };
        let (low, high) = match operator {
            "==" => (number, number),
            "<" => (i64::MIN, number.saturating_sub(1)),
            "<=" => (i64::MIN, number),
            ">" => (number.saturating_add(1), i64::MAX),
            ">=" => (number, i64::MAX),
            _ => return,
        };
        if low > most || high < least {
            let how = match operator {
                "<" | "<=" => "less than ",
                ">" | ">=" => "more than ",
                _ => "",
            };
            self.tell(format!("{name} is never {how}{number}"));
            return;
        }
        let range = self.range.entry(name.clone()).or_insert((least, most));
        *range = (range.0.max(low), range.1.min(high));
        let (low, high) = *range;
        if low > high {
            let (more, less) = (low.saturating_sub(1), high.saturating_add(1));
            self.tell(format!("{name} can't be both more than {more} and less than {less}"));
        }
    }

    fn tell(&mut self, why: String) {
        self.contradiction.get_or_insert(why);
    }
}

const BOUND: &str = "`context.bound`";
const TRANSACTION: &str = "`context.transaction`";
const DOUBTS: &str = "`context.doubts`";

pub(super) fn pair(tree: &Value) -> Option<(&Value, &Value)> {
    Some((tree.get("left")?, tree.get("right")?))
}

/// The least and the most that a fact can be.
fn limits(name: &str) -> Option<(i64, i64)> {
    match name {
        "`context.hour`" => Some((0, 23)),
        "`context.weekday`" => Some((1, 7)),
        _ => None,
    }
}

/// `` `context.bound` ``, where it is as plain as that.
pub(super) fn name(tree: &Value) -> Option<String> {
    let of = tree.get(".")?;
    let variable = of.pointer("/left/Var")?.as_str()?;
    Some(format!("`{variable}.{}`", of.get("attr")?.as_str()?))
}
