//! Figures beside what is promised of them, and whether it is kept.

use std::process::ExitCode;

pub struct Promises {
    /// What is promised is held: a broken promise fails.
    pub check: bool,
    broken: usize,
}

impl Promises {
    /// As the command line asks for it: `--check`.
    pub fn new() -> Self {
        Self { check: std::env::args().any(|argument| argument == "--check"), broken: 0 }
    }

    pub fn at_most(&mut self, what: &str, figure: f64, bound: f64) {
        self.line(what, figure, ("at most", bound), figure <= bound);
    }

    pub fn at_least(&mut self, what: &str, figure: f64, bound: f64) {
        self.line(what, figure, ("at least", bound), figure >= bound);
    }

    fn line(&mut self, what: &str, figure: f64, (sign, bound): (&str, f64), kept: bool) {
        self.broken += usize::from(!kept);
        let word = if kept { "kept" } else { "BROKEN" };
        println!("{what:<52} {figure:>10.1}, promised {sign} {bound}: {word}");
    }

    pub fn outcome(self) -> ExitCode {
        if self.broken > 0 {
            eprintln!("audit: {} promises are broken", self.broken);
            if self.check {
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}
