//! How long one call takes, and whether that is within what is promised.
//!
//! INVARIANT: a promise is held against the best of all rounds. Whatever else a host is
//! busy with makes a round slower, never quicker; so one that no round keeps is broken.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Rounds of one call, the quickest first.
pub struct Took(Vec<Duration>);

impl Took {
    pub fn of(mut call: impl FnMut()) -> Self {
        const CALLS: u32 = 1_000;
        let round = |_| {
            let begun = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            begun.elapsed() / CALLS
        };
        let mut rounds: Vec<Duration> = (0..30).map(round).collect();
        rounds.sort();
        Self(rounds)
    }

    pub fn once(took: Duration) -> Self {
        Self(vec![took])
    }

    fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    fn best(&self) -> Duration {
        self.0.first().copied().unwrap_or(Duration::MAX)
    }
}

/// One line a case, or the same as JSON.
pub struct Report {
    bench: &'static str,
    json: bool,
    /// Only what something is promised of, held against it.
    check: bool,
    broken: usize,
}

impl Report {
    /// As the command line asks for it: `--json`, `--check`.
    pub fn new(bench: &'static str) -> Self {
        let told = |word: &str| std::env::args().any(|argument| argument == word);
        Self { bench, json: told("--json"), check: told("--check"), broken: 0 }
    }

    /// Whether this is to be measured at all.
    pub fn wants(&self, bound: Option<Duration>) -> bool {
        !self.check || bound.is_some()
    }

    pub fn line(&mut self, case: &str, path: &str, took: &Took, bound: Option<Duration>) {
        let (bench, best) = (self.bench, took.best());
        if let (true, Some(bound)) = (self.check, bound) {
            let broken = best > bound;
            self.broken += usize::from(broken);
            let word = if broken { "BROKEN" } else { "kept" };
            println!(
                "{bench:<8} {case:<12} {path:<18} {best:>12.1?} at best, of {bound:?}: {word}"
            );
        } else if self.json {
            println!(
                "{{\"bench\":\"{bench}\",\"case\":\"{case}\",\"path\":\"{path}\",\
                 \"metric\":\"time\",\"value\":{},\"unit\":\"ns\"}}",
                took.median().as_nanos()
            );
        } else {
            println!("{case:<12} {path:<18} {:>8} ns", took.median().as_nanos());
        }
    }

    pub fn outcome(self) -> ExitCode {
        if self.broken > 0 {
            eprintln!("{}: {} promises are broken", self.bench, self.broken);
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}
