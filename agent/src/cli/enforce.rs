//! `tidegate enforce`: services taken out of shadow, and put back.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page, Table};
use super::reach::{Reach, unexpected};
use crate::config::{self, Overrides, enforced};
use crate::control::{Answer, Order};
use crate::model::{EventKind, Kind, Process};

/// Carries decisions out on a service: takes it out of shadow
///
/// Services are in shadow at first: what would be refused or masked is recorded, and
/// nothing is changed. `tidegate audit search --verdict would_refuse` tells what that
/// was, and `would_hold`. Without a workload, lists the services that are out of it,
/// and those that the running agent has seen in it. Sessions that are open obey with
/// their next statement.
#[derive(Debug, Args)]
pub struct Enforce {
    /// A unit (`shop.service`), a container's image (`shop/web`, or with its tag), or
    /// an executable (`/opt/shop/bin/web`)
    #[arg(value_name = "WORKLOAD")]
    workload: Option<String>,
    /// Put it back in shadow
    #[arg(long, requires = "workload")]
    undo: bool,
    /// The form of the list
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    reach: Reach,
}

impl Enforce {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        match &self.workload {
            None => self.list(),
            Some(workload) => self.change(workload),
        }
    }

    fn change(&self, workload: &str) -> Result<Exit, Failure> {
        let workload =
            enforced::workload(workload).map_err(|why| Failure::text(Exit::Usage, why))?;
        let settings = config::resolve(self.reach.config.as_deref(), Overrides::default())?;
        let policy = &settings.policy;
        let of_settings = policy.enforced.contains(&workload);
        if self.undo && of_settings {
            let text = format!(
                "`{workload}` is named under `policy.enforce` in the settings: take it out there, \
                 then `tidegate reload`"
            );
            return Err(Failure::text(Exit::Failed, text));
        }
        let changed = enforced::change(&policy.enforce_file, |list| {
            let known = list.contains(&workload);
            if self.undo {
                list.retain(|one| *one != workload);
            } else if !known && !of_settings {
                list.push(workload.clone());
            }
            known == self.undo && (self.undo || !of_settings)
        })?;
        match (self.undo, changed) {
            (true, false) => {
                let text = format!("`{workload}` isn't out of shadow: see `tidegate enforce`");
                return Err(Failure::text(Exit::Failed, text));
            }
            (true, true) => say(&format!("`{workload}` is in shadow again")),
            (false, true) => say(&format!("decisions are carried out on `{workload}`")),
            (false, false) => say(&format!("decisions are carried out on `{workload}` already")),
        }
        // Also where nothing changed: the agent may not have read it yet.
        match self.reach.order(&Order::Reload) {
            Err(failure) if failure.exit == Exit::Unreachable => {
                say("no agent is running: it holds with the next `tidegate run`");
                Ok(Exit::Ok)
            }
            told => told,
        }
    }

    fn list(&self) -> Result<Exit, Failure> {
        let settings = config::resolve(self.reach.config.as_deref(), Overrides::default())?;
        let by_settings = settings.policy.enforced;
        let by_command = enforced::read(&settings.policy.enforce_file)?;
        let mut rows: Vec<Row> = Vec::new();
        for (by, names) in [("settings", &by_settings), ("command", &by_command)] {
            rows.extend(names.iter().map(|name| Row {
                workload: name.clone(),
                stance: "enforced",
                by: Some(by),
                connections: None,
            }));
        }
        let mut in_shadow: BTreeMap<String, u64> = BTreeMap::new();
        for process in self.services()? {
            let names = process.names();
            let enforced = |name: &String| names.contains(&name.as_str());
            let mut all = by_settings.iter().chain(&by_command);
            if let Some(name) = names.first().filter(|_| !all.any(enforced)) {
                *in_shadow.entry((*name).to_owned()).or_default() += 1;
            }
        }
        rows.extend(in_shadow.into_iter().map(|(workload, count)| Row {
            workload,
            stance: "shadow",
            by: None,
            connections: Some(count),
        }));
        show(&rows, self.output)
    }

    /// The processes of services that the running agent has seen connect.
    fn services(&self) -> Result<Vec<Process>, Failure> {
        let client = match self.reach.client() {
            Ok(client) => client,
            Err(failure) if failure.exit == Exit::Unreachable => {
                say("no agent is running: who is in shadow can't be told");
                return Ok(Vec::new());
            }
            Err(failure) => return Err(failure),
        };
        let mut all = Vec::new();
        for answer in client.ask(&Order::Observe { follow: false })? {
            match answer? {
                Answer::Event(event) => match event.kind {
                    EventKind::Opened { flow } if flow.actor.kind == Kind::Service => {
                        all.push(flow.process.clone());
                    }
                    _ => {}
                },
                Answer::Done { .. } => break,
                other => return Err(unexpected(other)),
            }
        }
        Ok(all)
    }
}

#[derive(Serialize)]
struct Row {
    workload: String,
    stance: &'static str,
    /// Who took it out of shadow: `settings` or `command`.
    by: Option<&'static str>,
    /// That were opened in shadow since the agent started, as far as it remembers.
    connections: Option<u64>,
}

fn show(rows: &[Row], form: Format) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Shown<'r> {
        schema: u32,
        workloads: &'r [Row],
    }
    match form {
        Format::Table | Format::Wide => {
            let mut table = Table::new(0, &["WORKLOAD", "STANCE", "BY", "CONNECTIONS"]);
            for row in rows {
                table.row(vec![
                    row.workload.as_str().into(),
                    row.stance.into(),
                    row.by.unwrap_or_default().into(),
                    row.connections.map(|count| count.to_string()).unwrap_or_default().into(),
                ]);
            }
            let mut out = output::stdout();
            table.write(&mut out, Page::of_stdout())?;
            out.flush()?;
        }
        Format::Jsonl => {
            for row in rows {
                output::document(Format::Jsonl, row)?;
            }
        }
        machine => output::document(machine, &Shown { schema: 1, workloads: rows })?,
    }
    Ok(Exit::Ok)
}

fn say(text: &str) {
    super::say(text);
}
