//! The words that operators have kept: set, taken back, listed.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::super::exit::{Exit, Failure};
use super::super::output::{self, Format, Page, Table};
use super::{Place, class_names, shown};
use crate::config::classes::{self, NONE};
use crate::config::{ClassSettings, Settings};
use crate::model::ColumnWord;

/// Says what a column holds, whatever is found of it
///
/// It holds after `tidegate reload`. `none` shows the column in clear: nothing that
/// its name, its content or what it is made of says counts any more. A class stays
/// with the column when it is renamed while the agent runs; and parts of a table
/// have what the whole has.
#[derive(Debug, Args)]
pub struct Set {
    /// `schema.table.column`, names with capitals or signs in double quotes
    #[arg(value_name = "COLUMN")]
    column: String,
    /// A class, as `tidegate classify` shows them, or `none`
    #[arg(value_name = "CLASS")]
    class: String,
    #[command(flatten)]
    whereabouts: Where,
    #[command(flatten)]
    place: Place,
}

/// Takes back what was said of a column
#[derive(Debug, Args)]
pub struct Unset {
    /// `schema.table.column`, as `list` shows it
    #[arg(value_name = "COLUMN")]
    column: String,
    #[command(flatten)]
    whereabouts: Where,
    #[command(flatten)]
    place: Place,
}

/// Lists what was said of columns
#[derive(Debug, Args)]
pub struct List {
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Where {
    /// Only in databases of this name, as clients call it
    #[arg(long, value_name = "NAME")]
    db: Option<String>,
    /// Only at this destination of the settings
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

/// Reads the file that the settings name: for an agent that is to run.
pub(in crate::cli) fn complete(settings: &mut ClassSettings) -> Result<(), Failure> {
    settings.words = classes::read(&settings.file, &class_names())?;
    Ok(())
}

impl Where {
    fn word(&self, column: &str, class: Option<String>) -> Result<ColumnWord, Failure> {
        let usage = |text: String| Failure::text(Exit::Usage, text);
        let [schema, table, column] = classes::column_name(column).map_err(usage)?;
        let (database, server) = self.names()?;
        Ok(ColumnWord { server, database, schema, table, column, class })
    }

    /// Database and destination.
    pub(super) fn names(&self) -> Result<(Option<String>, Option<String>), Failure> {
        for (flag, name) in [("db", &self.db), ("server", &self.server)] {
            if name.as_deref() == Some("") {
                return Err(Failure::text(Exit::Usage, format!("`--{flag}` is empty")));
            }
        }
        Ok((self.db.clone(), self.server.clone()))
    }

    fn check(&self, settings: &Settings) {
        if let Some(server) = &self.server
            && !settings.protect.iter().any(|protect| protect.name == *server)
        {
            say(&format!("no destination of the settings is called `{server}`"));
        }
    }
}

impl Set {
    pub fn carry_out(&self) -> Result<Exit, Failure> {
        let settings = self.place.settings()?;
        let names = class_names();
        let class = classes::class_of(&self.class, &names)
            .map_err(|text| Failure::text(Exit::Usage, text))?;
        let word = self.whereabouts.word(&self.column, class)?;
        self.whereabouts.check(&settings);
        classes::change(&settings.classes.file, &names, |list| {
            list.retain(|known| !classes::same_place(known, &word));
            list.push(word.clone());
        })?;
        let column = classes::written(&word);
        match &word.class {
            Some(class) => say(&format!("`{column}` counts as `{class}`")),
            None => say(&format!(
                "`{column}` counts as nothing sensitive: it will be shown in clear to everybody"
            )),
        }
        say("a running agent takes it up on `tidegate reload`");
        Ok(Exit::Ok)
    }
}

impl Unset {
    pub fn carry_out(&self) -> Result<Exit, Failure> {
        let settings = self.place.settings()?;
        let word = self.whereabouts.word(&self.column, None)?;
        let file = &settings.classes.file;
        let gone = classes::change(file, &class_names(), |list| {
            let before = list.len();
            list.retain(|known| !classes::same_place(known, &word));
            before > list.len()
        })?;
        let column = classes::written(&word);
        if !gone {
            let text = format!(
                "`{}` says nothing of `{column}` there: see `tidegate classify list`",
                shown(file)
            );
            return Err(Failure::text(Exit::Failed, text));
        }
        say(&format!("`{column}` counts as what is found of it"));
        say("a running agent takes it up on `tidegate reload`");
        Ok(Exit::Ok)
    }
}

impl List {
    pub fn carry_out(&self) -> Result<Exit, Failure> {
        #[derive(Serialize)]
        struct Shown<'l> {
            schema: u32,
            classes: Vec<Kept<'l>>,
        }
        #[derive(Serialize)]
        struct Kept<'l> {
            column: String,
            class: &'l str,
            database: Option<&'l str>,
            server: Option<&'l str>,
        }
        let settings = self.place.settings()?;
        let words = classes::read(&settings.classes.file, &class_names())?;
        let classes: Vec<_> = words
            .iter()
            .map(|word| Kept {
                column: classes::written(word),
                class: word.class.as_deref().unwrap_or(NONE),
                database: word.database.as_deref(),
                server: word.server.as_deref(),
            })
            .collect();
        match self.output {
            Format::Table | Format::Wide => {
                let mut table = Table::new(0, &["COLUMN", "CLASS", "DATABASE", "SERVER"]);
                for one in &classes {
                    let everywhere = |name: Option<&str>| name.unwrap_or("*").to_owned();
                    table.row(vec![
                        one.column.as_str().into(),
                        one.class.into(),
                        everywhere(one.database).into(),
                        everywhere(one.server).into(),
                    ]);
                }
                let mut out = output::stdout();
                table.write(&mut out, Page::of_stdout())?;
                out.flush()?;
            }
            Format::Jsonl => {
                for one in &classes {
                    output::document(Format::Jsonl, one)?;
                }
            }
            machine => output::document(machine, &Shown { schema: 1, classes })?,
        }
        Ok(Exit::Ok)
    }
}

fn say(text: &str) {
    super::super::say(text);
}
