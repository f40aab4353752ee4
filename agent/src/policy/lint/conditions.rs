//! Conditions that can't all hold. The engine's own validator knows types; this knows
//! a little of truth and of the values that facts can have.
//!
//! Only what must hold for the policy to fit is looked at: the parts of a `when` that
//! are joined by `&&`, and of an `unless` those joined by `||`.

use std::collections::HashMap;

use serde_json::Value;

use super::values;

/// Why the policy can never fit, if it can't.
pub(super) fn never(tree: &Value) -> Option<String> {
    let mut must = Must::default();
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
        let before = self.held.insert(tree.to_string(), holds);
        if before.is_some_and(|before| before != holds) {
            let what = name(tree).unwrap_or_else(|| "a condition".into());
            self.tell(format!("{what} can't both hold and not hold"));
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
