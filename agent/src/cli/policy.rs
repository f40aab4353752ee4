//! `tidegate policy`: policies checked, tried and explained. No agent is asked:
//! what is decided here is decided by the same code on the same files.

mod explain;
mod files;
mod page;
mod running;

pub(super) use running::complete;

use std::io::Write;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::output::{self, Colour, Format, Page};
use crate::policy::vocabulary;
use crate::policy::{Layers, Mistake, Set, trial};
use crate::sql::{Cell, cell};

/// Checks, tries and explains policies
///
/// Policies are written in Cedar (`*.cedar`). Those given here are laid over the
/// default ones: one with the same `@id` takes a policy's place, `@off("why")` takes
/// it out. policies/README.md describes the words.
#[derive(Debug, Args)]
pub struct Policy {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Lint(Lint),
    Test(Test),
    Explain(Box<explain::Explain>),
    Schema(Schema),
}

/// Finds what is wrong with policies, and what in them can never matter
#[derive(Debug, Args)]
struct Lint {
    #[command(flatten)]
    over: Over,
    /// Fail also for what is only odd
    #[arg(long)]
    strict: bool,
}

/// Runs the tests beside policies (`*.test.toml`)
///
/// Each test file is run with the policies of its own folder, laid over the default
/// ones, or with those that it names.
#[derive(Debug, Args)]
struct Test {
    /// Folders of policies, or test files
    #[arg(value_name = "PATH", default_value = files::FOLDER)]
    paths: Vec<std::path::PathBuf>,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
}

/// Prints the schema that policies are held against, for editors
#[derive(Debug, Args)]
struct Schema {}

/// Which policies are meant.
#[derive(Debug, Args)]
struct Over {
    /// Files of policies, or folders of them
    #[arg(value_name = "PATH")]
    paths: Vec<std::path::PathBuf>,
    /// A pack to lay over the default policies; may be given several times
    #[arg(long = "pack", value_name = "NAME")]
    packs: Vec<String>,
    /// Without the default policies
    #[arg(long)]
    bare: bool,
}

impl Over {
    fn layers(&self) -> Result<Layers, Failure> {
        let own = files::policies(&self.paths)?;
        Ok(Layers { bare: self.bare, packs: self.packs.clone(), own })
    }

    fn set(&self) -> Result<Set, Failure> {
        Ok(Set::load(&self.layers()?)?)
    }
}

impl From<crate::policy::Mistakes> for Failure {
    fn from(mistakes: crate::policy::Mistakes) -> Self {
        Self::new(Exit::Usage, mistakes)
    }
}

impl Policy {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        match self.what {
            What::Lint(lint) => lint.carry_out(),
            What::Test(test) => test.carry_out(),
            What::Explain(explain) => explain.carry_out(),
            What::Schema(Schema {}) => {
                write!(output::stdout(), "{}", vocabulary::schema())?;
                Ok(Exit::Ok)
            }
        }
    }
}

impl Lint {
    fn carry_out(self) -> Result<Exit, Failure> {
        let set = self.over.set()?;
        let mut out = output::stdout();
        let own = set.remarks();
        remarks(own, &mut out, Page::of_stdout())?;
        let count = set.policies().len();
        let odd = match own.len() {
            0 => "nothing odd".to_owned(),
            1 => "1 remark".to_owned(),
            many => format!("{many} remarks"),
        };
        writeln!(out, "{count} policies, {odd}, generation {}", set.generation())?;
        out.flush()?;
        Ok(if self.strict && !own.is_empty() { Exit::Failed } else { Exit::Ok })
    }
}

fn remarks(all: &[Mistake], out: &mut impl Write, page: Page) -> std::io::Result<()> {
    for remark in all {
        let place = page.paint(Colour::Bold, &output::safe(&remark.place.to_string()));
        writeln!(out, "{place}: {}", output::safe(&remark.text))?;
    }
    Ok(())
}

impl Test {
    fn carry_out(self) -> Result<Exit, Failure> {
        let cell = Cell::start(cell::Settings::default())?;
        let mut outcomes = Vec::new();
        for test in files::tests(&self.paths)? {
            outcomes.extend(trial::run(&test.source, &test.beside, &cell)?);
        }
        let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        match self.output {
            Format::Table | Format::Wide => {
                let wide = self.output == Format::Wide;
                page::outcomes(&outcomes, wide, &mut output::stdout(), Page::of_stdout())?;
            }
            form => output::document(form, &page::outcomes_document(&outcomes))?,
        }
        if outcomes.is_empty() {
            return Err(Failure::text(
                Exit::Usage,
                "there are no tests: they are files called NAME.test.toml beside the policies",
            ));
        }
        Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
    }
}

#[cfg(test)]
mod tests;
