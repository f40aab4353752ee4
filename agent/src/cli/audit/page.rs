//! What was found, for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::audit::Verified;
use crate::audit::search::Hit;
use crate::audit::verify::Proven;
use crate::cli::output::{Cell, Colour, Page, Table, pretty, safe, span};

pub fn verified(out: &mut impl Write, page: Page, verified: &Verified) -> io::Result<()> {
    let Verified { origin, records, checkpoints, removed, signed_until, tail, held, .. } = verified;
    if verified.is_whole() {
        writeln!(out, "{} {}", page.paint(Colour::Green, "whole"), safe(origin))?;
    } else {
        writeln!(out, "{} {}", page.paint(Colour::Red, "BROKEN"), safe(origin))?;
    }
    let until = signed_until.as_deref().unwrap_or("never");
    writeln!(out, "  {records} records under {checkpoints} checkpoints, signed until {until}")?;
    if *removed > 0 {
        writeln!(out, "  {removed} records before them were removed in order")?;
    }
    if let Some(held) = held {
        writeln!(out, "  the checkpoint held, of {held} records, is in it")?;
    }
    for finding in &verified.findings {
        let place = match (finding.record, finding.leaf) {
            (Some(record), _) => format!("record {record}: "),
            (None, Some(leaf)) => format!("leaf {leaf}: "),
            (None, None) => String::new(),
        };
        writeln!(out, "  {} {place}{}", page.paint(Colour::Red, "✗"), safe(&finding.what))?;
    }
    if *tail == 0 && verified.is_whole() {
        writeln!(out, "  no record is behind the last checkpoint")?;
    }
    for remark in &verified.remarks {
        writeln!(out, "  {} {}", page.paint(Colour::Yellow, "not proven:"), safe(remark))?;
    }
    Ok(())
}

pub fn proven(out: &mut impl Write, page: Page, proven: &Proven) -> io::Result<()> {
    writeln!(
        out,
        "{} it is in the log {}, signed {} with {} records",
        page.paint(Colour::Green, "proven:"),
        safe(&proven.origin),
        proven.signed,
        proven.size
    )?;
    writeln!(out, "{}", pretty(&proven.record)?)
}

pub fn hits(out: &mut impl Write, page: Page, wide: bool, hits: &[Hit]) -> io::Result<()> {
    let mut heads = vec!["TIME", "RECORD", "WHO", "PROGRAM", "DATABASE", "VERDICT", "ROWS"];
    if wide {
        heads.extend([
            "TIME TAKEN",
            "UNIT",
            "AGENT",
            "ROLE",
            "MASKED",
            "SEEN",
            "POLICIES",
            "TRACE",
        ]);
    }
    heads.push("STATEMENT");
    let mut table = Table::new(0, &heads);
    for hit in hits {
        table.row(row(hit, wide));
    }
    if table.is_empty() {
        return Ok(());
    }
    table.write(out, page)
}

fn counted(cells: &BTreeMap<String, u64>) -> String {
    let cells: Vec<String> =
        cells.iter().map(|(class, count)| format!("{class}:{count}")).collect();
    cells.join(" ")
}

/// What it does, of a statement whose text isn't told: `(read, update)`
fn effects(hit: &Hit) -> String {
    let all = hit.statement.as_ref().and_then(|told| told.pointer("/effects")?.as_array());
    let words: Vec<&str> = all.into_iter().flatten().filter_map(|word| word.as_str()).collect();
    if words.is_empty() { String::new() } else { format!("({})", words.join(", ")) }
}

fn row(hit: &Hit, wide: bool) -> Vec<Cell> {
    let of = |value: &Option<serde_json::Value>, pointers: &[&str]| -> String {
        pointers
            .iter()
            .find_map(|pointer| value.as_ref()?.pointer(pointer)?.as_str().map(ToOwned::to_owned))
            .unwrap_or_default()
    };
    let pid = hit.process.as_ref().and_then(|process| process.pointer("/key/tgid")?.as_u64());
    let comm = of(&hit.process, &["/comm"]);
    let program = pid.map_or_else(String::new, |pid| format!("{comm}[{pid}]"));
    let what = match hit.kind {
        "statement" => {
            let mut text = of(&hit.statement, &["/text", "/fingerprint"]);
            if text.is_empty() {
                text = effects(hit);
            }
            hit.times.map_or_else(|| text.clone(), |times| format!("{times} × {text}"))
        }
        other => match &hit.facts {
            Some(facts) => format!("({other}) {}", facts),
            None => format!("({other})"),
        },
    };
    let verdict = hit.verdict.unwrap_or_default();
    let colour = match verdict {
        "refused" => Colour::Red,
        "held" | "would_refuse" | "would_hold" | "would_mask" => Colour::Yellow,
        _ => Colour::Plain,
    };
    let outcome = hit.outcome.as_ref();
    let mut cells = vec![
        Cell::new(&hit.at),
        Cell::new(hit.record.to_string()),
        Cell::new(of(&hit.process, &["/actor/person/name", "/user"])),
        Cell::new(program),
        Cell::new(hit.database.clone().unwrap_or_else(|| of(&hit.flow, &["/rule"]))),
        Cell::painted(verdict, colour),
        Cell::new(outcome.map_or_else(String::new, |outcome| outcome.rows.to_string())),
    ];
    if wide {
        let taken = outcome.map(|outcome| span(outcome.latency_us.unsigned_abs()));
        cells.extend([
            Cell::new(taken.unwrap_or_default()),
            Cell::new(of(&hit.process, &["/workload/unit"])),
            Cell::new(of(&hit.process, &["/actor/name"])),
            Cell::new(hit.role.clone().unwrap_or_default()),
            Cell::new(outcome.map(|outcome| counted(&outcome.masked)).unwrap_or_default()),
            Cell::new(outcome.map(|outcome| counted(&outcome.seen)).unwrap_or_default()),
            Cell::new(hit.policies.join(" ")),
            Cell::new(of(&hit.statement, &["/says/trace"])),
        ]);
    }
    cells.push(Cell::new(what));
    cells
}
