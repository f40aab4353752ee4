//! What tables were filled with, as the agent keeps it: listed, and forgotten.

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::super::exit::{Exit, Failure};
use super::super::output::{self, Format, Page, Table};
use super::super::reach::Reach;
use super::kept::Where;
use super::{Place, shown};
use crate::config::classes;
use crate::config::filled::{self, Book};
use crate::control::Order;
use crate::model::{DatabaseName, Filled, Learnt};

/// Lists the tables that were filled with what is sensitive
///
/// By statements that the agent saw (CREATE TABLE AS, INSERT … SELECT and the like). `*`
/// is each schema, or each other column. It is kept beside the file of corrections.
#[derive(Debug, Args)]
pub struct List {
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

/// Forgets what a table was filled with: it was emptied, or is another one now
///
/// It holds for enforcers that start from now on: `tidegate upgrade` starts one.
/// Everything that is kept under the table's name is forgotten, also what was put into
/// one of any schema. What its columns' names, their content or an operator say stays.
#[derive(Debug, Args)]
pub struct Forget {
    /// `schema.table`, names with capitals or signs in double quotes
    #[arg(value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    whereabouts: Where,
    #[command(flatten)]
    reach: Reach,
}

/// Reads the file, for whoever may.
pub(super) fn read(path: &Path) -> Result<Book, Failure> {
    match filled::read(path) {
        Ok(found) => {
            for damage in &found.damage {
                super::super::say(&format!("`{}`: {damage}", shown(path)));
            }
            Ok(found.book)
        }
        Err(error) => {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let exit = if denied { Exit::Denied } else { Exit::Failed };
            let next = if denied { ": run it with sudo" } else { "" };
            Err(Failure::text(exit, format!("cannot read `{}`: {error}{next}", shown(path))))
        }
    }
}

/// What is kept of one database; a file that can't be read is told and holds nothing.
pub(super) fn of(path: &Path, database: &DatabaseName) -> Vec<Filled> {
    let book = match filled::read(path) {
        Ok(found) => found.book,
        Err(error) => {
            super::super::say(&format!(
                "what tables were filled with isn't told here: cannot read `{}`: {error}",
                shown(path)
            ));
            return Vec::new();
        }
    };
    tables(book.of(database))
}

fn tables(all: Vec<Learnt>) -> Vec<Filled> {
    let filled = all.into_iter().filter_map(|one| match one {
        Learnt::Filled(filled) => Some(filled),
        _ => None,
    });
    filled.collect()
}

impl List {
    pub fn carry_out(&self) -> Result<Exit, Failure> {
        #[derive(Serialize)]
        struct Shown {
            schema: u32,
            filled: Vec<Kept>,
        }
        #[derive(Serialize)]
        struct Kept {
            /// `null`: each schema.
            schema: Option<String>,
            table: String,
            columns: Vec<Column>,
            others: Option<String>,
            guessed: bool,
            database: String,
            server: String,
            system: String,
        }
        #[derive(Serialize)]
        struct Column {
            column: String,
            class: String,
        }
        let path = self.place.settings()?.classes.filled();
        let mut all = Vec::new();
        for (name, learnt) in read(&path)?.all() {
            for filled in tables(learnt) {
                let Filled { schema, relation: table, columns, others, guessed } = filled;
                let DatabaseName { destination: server, system, database } = name.clone();
                let columns = columns.into_iter();
                let columns = columns.map(|(column, class)| Column { column, class }).collect();
                all.push(Kept {
                    schema,
                    table,
                    columns,
                    others,
                    guessed,
                    database,
                    server,
                    system,
                });
            }
        }
        match self.output {
            Format::Table | Format::Wide => {
                let mut table = Table::new(0, &["TABLE", "FILLED WITH", "DATABASE", "SERVER"]);
                for one in &all {
                    let schema = one.schema.as_deref().map_or("*".into(), classes::identifier);
                    let named = one.columns.iter();
                    let named = named.map(|Column { column, class }| {
                        format!("{} {class}", classes::identifier(column))
                    });
                    let others = one.others.as_ref().map(|class| format!("* {class}"));
                    let with: Vec<String> = named.chain(others).collect();
                    table.row(vec![
                        format!("{schema}.{}", classes::identifier(&one.table)).into(),
                        with.join(", ").into(),
                        one.database.as_str().into(),
                        one.server.as_str().into(),
                    ]);
                }
                let mut out = output::stdout();
                table.write(&mut out, Page::of_stdout())?;
                out.flush()?;
            }
            Format::Jsonl => {
                for one in &all {
                    output::document(Format::Jsonl, one)?;
                }
            }
            machine => output::document(machine, &Shown { schema: 1, filled: all })?,
        }
        Ok(Exit::Ok)
    }
}

impl Forget {
    pub fn carry_out(&self) -> Result<Exit, Failure> {
        let usage = |text: String| Failure::text(Exit::Usage, text);
        let [schema, table] = classes::table_name(&self.table).map_err(usage)?;
        let (database, server) = self.whereabouts.names()?;
        self.reach.order(&Order::Forget { schema, table, database, server })
    }
}
