//! What a kernel's run said, and the table of all.
//!
//! The lines come over a serial console, among others: `GUEST READY <kernel>`,
//! `RESULT <test> ok`, `RESULT <test> failed <why>`, `GUEST EXIT <code>`.

use std::collections::BTreeMap;

/// One kernel's run.
#[derive(Debug, Default)]
pub struct Report {
    /// Which run this is, for people.
    pub name: String,
    /// The guest's kernel, once it is up.
    pub kernel: Option<String>,
    /// The suite's exit code, once it has one.
    pub exit: Option<i32>,
    /// The run was ended at its deadline.
    pub late: bool,
    results: BTreeMap<String, Outcome>,
    /// The end of what was said, for when it stops too early.
    last: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
}

/// Lines shown of a run that stopped too early.
const LAST: usize = 12;

impl Report {
    pub fn new(name: &str) -> Report {
        Report { name: name.to_owned(), ..Report::default() }
    }

    /// Takes one line of the console.
    pub fn line(&mut self, line: &str) {
        let line = printable(line);
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("GUEST"), Some("READY"), Some(kernel), _) => {
                self.kernel = Some(kernel.to_owned())
            }
            (Some("GUEST"), Some("EXIT"), Some(code), _) => self.exit = code.parse().ok(),
            (Some("RESULT"), Some(test), Some("ok"), _) => {
                // A failure is never taken back.
                self.results.entry(test.to_owned()).or_insert(Outcome::Passed);
            }
            // Whatever else it says of a test, it did not say that it passed.
            (Some("RESULT"), Some(test), verdict, why) => {
                let why = [verdict.filter(|word| *word != "failed"), why];
                let why = why.into_iter().flatten().collect::<Vec<_>>().join(" ");
                self.results.insert(test.to_owned(), Outcome::Failed(why));
            }
            _ => {}
        }
        if !line.is_empty() {
            if self.last.len() == LAST {
                self.last.remove(0);
            }
            self.last.push(line);
        }
    }
}

/// Firmware and kernels speak to a terminal: its control sequences are dropped.
fn printable(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars().peekable();
    while let Some(next) = characters.next() {
        if next == '\u{1b}' {
            if characters.peek() == Some(&'[') {
                characters.next();
                while characters.next_if(|next| !next.is_ascii_alphabetic()).is_some() {}
            }
            characters.next();
        } else if !next.is_control() {
            text.push(next);
        }
    }
    text.trim().to_owned()
}

fn tests(reports: &[Report]) -> Vec<&str> {
    let mut tests: Vec<&str> =
        reports.iter().flat_map(|report| report.results.keys()).map(String::as_str).collect();
    tests.sort_unstable();
    tests.dedup();
    tests
}

/// The table of test × kernel.
pub fn table(reports: &[Report]) -> String {
    let tests = tests(reports);
    let first = tests.iter().map(|test| test.len()).chain([4]).max().unwrap_or(4);
    let heads: Vec<&str> =
        reports.iter().map(|report| report.kernel.as_deref().unwrap_or(&report.name)).collect();
    let mut text = format!("{:first$}", "test");
    for head in &heads {
        text.push_str(&format!("  {head}"));
    }
    for test in tests {
        text.push_str(&format!("\n{test:first$}"));
        for (report, head) in reports.iter().zip(&heads) {
            let cell = match report.results.get(test) {
                Some(Outcome::Passed) => "ok",
                Some(Outcome::Failed(_)) => "FAILED",
                None => "absent",
            };
            text.push_str(&format!("  {cell:width$}", width = head.len()));
        }
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Everything that is not as it should be; empty if all passed.
pub fn complaints(reports: &[Report]) -> Vec<String> {
    let tests = tests(reports);
    let mut complaints = Vec::new();
    if reports.is_empty() {
        complaints.push("no kernel was run".to_owned());
    }
    for report in reports {
        let name = &report.name;
        let stopped = match (report.late, report.exit) {
            (true, _) => Some("was ended at its deadline".to_owned()),
            (false, None) => Some("ended before its suite did".to_owned()),
            (false, Some(0)) => None,
            (false, Some(code)) => Some(format!("its suite ended with {code}")),
        };
        if let Some(stopped) = stopped {
            complaints.push(format!("{name}: {stopped}; last lines:"));
            complaints.extend(report.last.iter().map(|line| format!("  | {line}")));
        }
        if report.results.is_empty() {
            complaints.push(format!("{name}: reported no test at all"));
        }
        for test in &tests {
            match report.results.get(*test) {
                Some(Outcome::Passed) => {}
                Some(Outcome::Failed(why)) => complaints.push(format!("{name}: {test}: {why}")),
                None => {
                    complaints.push(format!("{name}: {test}: not reported, and elsewhere it is"))
                }
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests;
