//! Holds, for people.

use std::io::{self, Write};

use crate::cli::output::{Cell, Colour, Page, Table, ago, safe, span};
use crate::model::{Flow, Hold, HoldParameter, HoldState, Timestamp, Varying};

pub fn list(
    out: &mut impl Write,
    page: Page,
    holds: &[Hold],
    now: Timestamp,
    wide: bool,
) -> io::Result<()> {
    if holds.is_empty() {
        return Ok(());
    }
    let mut heads = vec!["ID", "STATE", "SINCE", "LEFT", "WHO", "DATABASE"];
    if wide {
        heads.extend(["ROLE", "APPROVERS", "POLICIES", "ASKED"]);
    }
    heads.push("STATEMENT");
    let mut table = Table::new(0, &heads);
    for hold in holds {
        let mut row = vec![
            Cell::painted(&hold.id.0, Colour::Bold),
            Cell::painted(state(hold), colour(hold)),
            Cell::new(ago(hold.since, now)),
            Cell::new(left(hold, now)),
            Cell::new(who(&hold.flow)),
            Cell::new(format!("{}/{}", hold.flow.rule, hold.asked.database)),
        ];
        if wide {
            row.extend([
                Cell::new(&hold.asked.role),
                Cell::new(hold.asked.approvers.join(", ")),
                Cell::new(hold.asked.policies.join(", ")),
                Cell::new(hold.times.to_string()),
            ]);
        }
        row.push(Cell::new(one_line(&hold.asked.text)));
        table.row(row);
    }
    table.write(out, page)
}

/// For who watches.
pub fn line(out: &mut impl Write, page: Page, hold: &Hold) -> io::Result<()> {
    let state = page.paint(colour(hold), &format!("{:<10}", state(hold)));
    let text = one_line(&hold.asked.text);
    let place = format!("{}/{}", hold.flow.rule, hold.asked.database);
    writeln!(
        out,
        "{}  {state}  {}  {}  {}",
        hold.id,
        safe(&who(&hold.flow)),
        safe(&place),
        safe(&text)
    )
}

/// Everything that an approver decides by.
pub fn whole(out: &mut impl Write, page: Page, hold: &Hold, now: Timestamp) -> io::Result<()> {
    let process = &hold.flow.process;
    let asked = &hold.asked;
    let mut field = |name: &str, value: &str| -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        writeln!(out, "{}{}", page.paint(Colour::Dim, &format!("{name:<12}")), safe(value))
    };
    let left = left(hold, now);
    let left = if left.is_empty() { left } else { format!(", {left} left") };
    field("hold", &format!("{} ({}{left})", hold.id, state(hold)))?;
    field("since", &format!("{} ({} ago)", hold.since, ago(hold.since, now)))?;
    let waits =
        if hold.waits { "its statement waits" } else { "it was refused, and may come again" };
    field("asked", &format!("{} ×, {waits}", hold.times))?;
    field("who", &who(&hold.flow))?;
    field("process", &format!("{} {}", process.key.tgid, process.command_line()))?;
    field("actor", &hold.flow.actor.title())?;
    field("workload", process.cgroup.as_deref().unwrap_or_default())?;
    field("to", &format!("{} ({})", hold.flow.rule, hold.flow.destination.0))?;
    field("database", &asked.database)?;
    field("role", &asked.role)?;
    field("why", asked.why.strip_prefix("tidegate: ").unwrap_or(&asked.why))?;
    field("policies", &asked.policies.join(", "))?;
    field("approvers", &asked.approvers.join(" and "))?;
    field("settings", &asked.settings)?;
    for approval in &hold.approvals {
        field("approved by", &format!("{} at {}: {}", approval.by, approval.at, approval.reason))?;
    }
    if let HoldState::Denied { at, by, reason } = &hold.state {
        field("denied by", &format!("{by} at {at}: {reason}"))?;
    }
    if let HoldState::Withdrawn { why, .. } = &hold.state {
        field("withdrawn", why.word())?;
    }
    if let Some(grant) = &hold.grant {
        let often = if grant.once { "once" } else { "as often as it comes" };
        let vary: Vec<String> = grant.vary.iter().map(ToString::to_string).collect();
        let vary = if vary.is_empty() { vec!["nothing".to_owned()] } else { vary };
        field("good", &format!("{often}, until {}, used {} ×", grant.until, grant.used))?;
        field("may vary", &vary.join(", "))?;
    }
    writeln!(out, "{}", page.paint(Colour::Dim, "statement"))?;
    for line in marked(hold, page).lines() {
        writeln!(out, "    {line}")?;
    }
    for (number, parameter) in (1..).zip(&asked.parameters) {
        let name = Varying::Parameter(number).to_string();
        let value = match parameter {
            HoldParameter::Null => "NULL".to_owned(),
            HoldParameter::Text(text) => format!("'{}'", safe(&text.replace('\'', "''"))),
            HoldParameter::Binary(hex) => format!("binary {hex}"),
        };
        writeln!(out, "    {} = {value}", page.paint(Colour::Yellow, &name))?;
    }
    Ok(())
}

/// The text, with a number before each literal: `WHERE id = #1:42`.
fn marked(hold: &Hold, page: Page) -> String {
    let text = &hold.asked.text;
    let mut shown = String::new();
    let mut at = 0;
    let part = |from: usize, to: usize| lines(text.get(from..to).unwrap_or_default());
    for (number, literal) in (1..).zip(&hold.asked.literals) {
        let (start, end) = (literal.start as usize, literal.end as usize);
        shown.push_str(&part(at, start));
        shown.push_str(&page.paint(Colour::Yellow, &format!("#{number}:")));
        shown.push_str(&part(start, end));
        at = end;
    }
    shown.push_str(&part(at, text.len()));
    shown
}

/// Harmless, with its own lines.
fn lines(text: &str) -> String {
    let mut shown = String::new();
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            shown.push('\n');
        }
        shown.push_str(&safe(line));
    }
    shown
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn state(hold: &Hold) -> &'static str {
    match (&hold.state, hold.waits) {
        (HoldState::Waiting, true) => "waits",
        (HoldState::Waiting, false) => "refused",
        (state, _) => state.word(),
    }
}

fn colour(hold: &Hold) -> Colour {
    match &hold.state {
        HoldState::Waiting => Colour::Yellow,
        HoldState::Approved { .. } => Colour::Green,
        HoldState::Denied { .. } => Colour::Red,
        HoldState::Expired { .. } | HoldState::Withdrawn { .. } => Colour::Dim,
    }
}

/// For a decision, or for an approval to be used.
fn left(hold: &Hold, now: Timestamp) -> String {
    let until = match (&hold.state, &hold.grant) {
        (HoldState::Waiting, _) => hold.until,
        (_, Some(grant)) => grant.until,
        _ => return String::new(),
    };
    span(until.0.saturating_sub(now.0) / 1_000)
}

/// `alice (uid 1000) psql[4242]`
fn who(flow: &Flow) -> String {
    let process = &flow.process;
    let user = process.user.clone().unwrap_or_else(|| format!("uid {}", process.uid));
    let person = flow.actor.person.as_ref();
    let person = person.and_then(|person| {
        person.name.clone().or_else(|| person.user.as_ref().map(|user| user.value.clone()))
    });
    let behind = person.filter(|person| *person != user);
    let behind = behind.map(|person| format!(" (for {person})")).unwrap_or_default();
    format!("{user}{behind} {}[{}]", process.comm, process.key.tgid)
}
