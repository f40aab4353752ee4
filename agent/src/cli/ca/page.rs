//! For people.

use std::io::{self, Write};

use super::runtimes::Runtime;
use super::trust::Given;
use super::{Certificate, Report};
use crate::cli::output::{Cell, Colour, Page, Table, safe};
use crate::model::Timestamp;

pub(super) fn report(out: &mut dyn Write, page: Page, report: &Report) -> io::Result<()> {
    let mut lines = vec![
        ("subject", report.own.subject.clone()),
        ("certificate", report.certificate.display().to_string()),
        ("key", report.key.display().to_string()),
        ("sha-256", report.own.fingerprint.clone()),
        ("good", span(&report.own)),
        ("for", scope(&report.own)),
    ];
    if report.intermediate {
        lines.push(("signed by", "another CA: clients that trust its root need nothing".into()));
    }
    for previous in &report.previous {
        let until = day(previous.not_after);
        lines.push(("previous", format!("{}, trusted until {until}", previous.subject)));
    }
    for (name, text) in lines {
        let name = page.paint(Colour::Dim, &format!("{name:<12}"));
        writeln!(out, "{name} {}", safe(&text))?;
    }
    if let Some(problem) = &report.problem {
        writeln!(
            out,
            "{}",
            page.paint(Colour::Red, &format!("it can't be used: {}", safe(problem)))
        )?;
    }
    Ok(())
}

pub(super) fn given(out: &mut dyn Write, page: Page, given: &Given, wide: bool) -> io::Result<()> {
    let mut out = out;
    let mut files = Table::new(0, &["FILE", "WHAT FOR"]);
    for file in &given.files {
        files.row(vec![Cell::new(file.path.display().to_string()), Cell::new(&file.what)]);
    }
    files.write(&mut out, page)?;
    for note in &given.notes {
        writeln!(out, "\n{}", safe(note))?;
    }
    for Runtime { name, how, reach } in &given.runtimes {
        writeln!(out, "\n{}", page.paint(Colour::Bold, name))?;
        writeln!(out, "  {}", safe(how))?;
        if wide || !reach.is_empty() {
            writeln!(out, "  {}", page.paint(Colour::Dim, &safe(reach)))?;
        }
    }
    Ok(())
}

fn span(certificate: &Certificate) -> String {
    let (from, until) = (day(certificate.not_before), day(certificate.not_after));
    let expired = if certificate.expired { ": it has expired" } else { "" };
    format!("{from} to {until}{expired}")
}

fn scope(certificate: &Certificate) -> String {
    match (certificate.constrained, certificate.permits.as_slice()) {
        (false, _) => "every name (no constraints)".into(),
        (true, []) => "what is not excluded".into(),
        (true, list) => list.join(", "),
    }
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}
