//! What people read of policies.

use std::io::{self, Write};

use serde::Serialize;

use super::explain::{Decided, Explanation};
use crate::cli::output::{Cell, Colour, Page, Table, safe};
use crate::policy::trial::Outcome;

/// Those that failed; `wide`: all.
pub(super) fn outcomes(
    all: &[Outcome],
    wide: bool,
    out: &mut impl Write,
    page: Page,
) -> io::Result<()> {
    let mut failed = 0;
    for outcome in all {
        let what: String = outcome.what.split_whitespace().collect::<Vec<_>>().join(" ");
        match &outcome.failure {
            Some(failure) => {
                failed += 1;
                let place = page.paint(Colour::Red, &safe(&outcome.place.to_string()));
                writeln!(out, "{place}: {}", safe(&what))?;
                writeln!(out, "    {}", safe(failure))?;
            }
            None if wide => {
                let place = page.paint(Colour::Green, &safe(&outcome.place.to_string()));
                writeln!(out, "{place}: {}", safe(&what))?;
            }
            None => {}
        }
    }
    writeln!(out, "{} passed, {failed} failed", all.len() - failed)?;
    out.flush()
}

#[derive(Serialize)]
pub(super) struct OutcomesDocument<'o> {
    schema: u32,
    passed: usize,
    failed: usize,
    cases: Vec<OutcomeDocument<'o>>,
}

#[derive(Serialize)]
struct OutcomeDocument<'o> {
    place: String,
    what: &'o str,
    failure: Option<&'o str>,
}

pub(super) fn outcomes_document(all: &[Outcome]) -> OutcomesDocument<'_> {
    let failed = all.iter().filter(|outcome| outcome.failure.is_some()).count();
    let cases = all.iter().map(|outcome| OutcomeDocument {
        place: outcome.place.to_string(),
        what: &outcome.what,
        failure: outcome.failure.as_deref(),
    });
    OutcomesDocument { schema: 1, passed: all.len() - failed, failed, cases: cases.collect() }
}

pub(super) fn explanation(
    of: &Explanation,
    wide: bool,
    out: &mut impl Write,
    page: Page,
) -> io::Result<()> {
    let colour = match of.verdict {
        "allow" => Colour::Green,
        "hold" => Colour::Yellow,
        _ => Colour::Red,
    };
    let mut verdict = page.paint(colour, of.verdict);
    if let Some(would) = of.would {
        verdict.push_str(&format!(" (in shadow: {would})"));
    }
    if of.verdict == "hold" {
        verdict.push_str(&format!(", to be approved by {}", of.approvers.join(" and ")));
    }
    // Its colour is ours.
    writeln!(out, "{} {verdict}", page.paint(Colour::Bold, "verdict  "))?;
    let mut head = |name: &str, text: &str| {
        writeln!(out, "{} {}", page.paint(Colour::Bold, &format!("{name:<9}")), safe(text))
    };
    for (name, text) in [("message", &of.message), ("detail", &of.detail), ("hint", &of.hint)] {
        if let Some(text) = text {
            head(name, text)?;
        }
    }
    let mut who = of.actor.kind.to_string();
    if of.actor.program.is_some() {
        who = format!("{} ({who})", of.actor.workload);
    }
    if let Some(person) = &of.actor.person {
        who.push_str(&format!(", {person}"));
    }
    for group in &of.actor.groups {
        who.push_str(&format!(", {}:{}", group.kind.as_str(), group.name));
    }
    head("who", &who)?;
    let label = if of.labelled { "" } else { " (it has no label)" };
    head("where", &format!("{}/{}, {}{label}", of.server, of.database, of.environment))?;
    head("policies", &format!("{}, generation {}", of.policies, of.generation))?;

    let mut statements = Table::new(0, &["STATEMENT", "EFFECTS", "BOUND", "DOUBTS"]);
    for statement in of.facts.statements.iter() {
        let later = if statement.later_of.is_some() { "for later: " } else { "" };
        let effects: Vec<_> = statement.effects.iter().map(|effect| effect.as_str()).collect();
        let doubts: Vec<_> = statement.doubts.iter().map(|doubt| word(doubt, true)).collect();
        let bound = match statement.widest() {
            crate::sql::Bound::NotApplicable => String::new(),
            bound => word(&bound, false),
        };
        statements.row(vec![
            Cell::new(format!("{later}{}", word(&statement.verb, false))),
            Cell::new(effects.join(", ")),
            Cell::new(bound),
            Cell::new(doubts.join("; ")),
        ]);
    }
    section(&statements, out, page)?;

    let mut asked = Table::new(0, &["ACTION", "ON", "VERDICT"]);
    for ask in &of.asked {
        let against = of.decided_by.iter().find(|decided| {
            decided.action.as_ref() == Some(&ask.action)
                && decided.thing.as_ref() == Some(&ask.thing)
        });
        let told = match against {
            Some(Decided { policy: Some(policy), .. }) => Cell::painted(policy, Colour::Red),
            Some(_) => Cell::painted("refused", Colour::Red),
            None => Cell::painted("", Colour::Plain),
        };
        asked.row(vec![Cell::new(&ask.action), Cell::new(&ask.thing), told]);
    }
    section(&asked, out, page)?;

    let mut policies = Table::new(0, &["POLICY", "SEVERITY", "WHERE", "REASON"]);
    let mut named: Vec<Option<&str>> = Vec::new();
    for decided in of.decided_by.iter().chain(&of.flags) {
        let name = decided.policy.as_deref();
        if name.is_some() && named.contains(&name) {
            continue;
        }
        named.push(name);
        policies.row(vec![
            Cell::new(name.unwrap_or_default()),
            Cell::new(decided.severity.as_deref().unwrap_or_default()),
            Cell::new(decided.place.as_deref().unwrap_or_default()),
            Cell::new(&decided.reason),
        ]);
    }
    section(&policies, out, page)?;

    let mut shown = Table::new(0, &["RETURNS", "FROM", "CLASS", "SHOWN", "BY"]);
    for column in &of.shown {
        shown.row(vec![
            Cell::new(&column.column),
            Cell::new(column.from.join(", ")),
            Cell::new(column.class.as_deref().unwrap_or_default()),
            Cell::new(&column.shown),
            Cell::new(column.by.join(", ")),
        ]);
    }
    section(&shown, out, page)?;
    if wide {
        writeln!(out)?;
        let facts = serde_json::to_value(&*of.facts).map_err(io::Error::other)?;
        write!(out, "{}", crate::cli::output::yaml(&facts))?;
    }
    out.flush()
}

fn section(table: &Table, out: &mut impl Write, page: Page) -> io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table.write(out, page)
}

/// A fact as it is written in records; `whole`: with what it carries.
fn word(of: &impl Serialize, whole: bool) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => {
            let mut words = Vec::new();
            for (name, value) in fields {
                let value = value.as_str().map(|value| format!(": {value}")).filter(|_| whole);
                words.push(format!("{name}{}", value.unwrap_or_default()));
            }
            words.join(", ")
        }
        _ => String::new(),
    }
}
