//! Policies put to the test: statements with the verdict that is expected, in files
//! beside the policies (`*.test.toml`).
//!
//! ```toml
//! packs = ["ai-agents"]     # laid over the default policies
//! policies = ["own.cedar"]  # of the files beside; without it, all of them
//! [given]                   # what every case starts from
//! actor = "agent"
//!
//! [[case]]
//! sql = "drop table customers"
//! environment = "staging"
//! verdict = "hold"          # allow, refuse, hold; for a column: reveal, mask
//! policies = ["default/drop"]
//! ```

use std::sync::Arc;

use toml_edit::{Document, Item, TableLike};

use super::catalog::{Supposed, supposed_code};
use super::context::{Circumstances, Transaction};
use super::decide::Question;
use super::permit::{Ruling, Stance, Verdict};
use super::reveal::{Sight, Viewed};
use super::scene::{Scene, Subject, Target};
use super::set::{Layers, Set};
use super::source::{Mistake, Mistakes, Place, Source};
use super::values::Value;
use crate::model::code::Code;
use crate::model::{ActorKind, Group, GroupKind, Principal, Timestamp, Trace};
use crate::sql::{Cell, LexingState};

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub place: Place,
    /// The statement, the column, or `connect`.
    pub what: String,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A case, with everything that a question needs.
#[derive(Clone, Debug)]
struct Case {
    sql: Option<String>,
    column: Option<String>,
    /// Whether the actor may log in at all.
    connect: bool,
    class: String,
    actor: Principal,
    target: Target,
    transaction: Transaction,
    now: Timestamp,
    approvals: Vec<String>,
    lifted: Vec<String>,
    carries: Trace,
    /// What is bound to the statement.
    parameters: Vec<Value>,
    /// The columns that are masked for whoever asks, and those whose content is.
    masked: Vec<String>,
    scanned: Vec<String>,
    /// What somebody has made under names of the server's, and types that run code.
    code: Code,
    /// The text that holds the prepared statement or cursor, by name.
    prepared: Vec<(String, String)>,
    verdict: Option<String>,
    policies: Option<Vec<String>>,
}

/// Runs a file of cases with the policies beside it.
pub fn run(test: &Source, beside: &[Source], cell: &Cell) -> Result<Vec<Outcome>, Mistakes> {
    let mut reading = Reading { test, mistakes: Vec::new() };
    let document = match Document::parse(&*test.text) {
        Ok(document) => document,
        Err(error) => {
            let text = format!("this is not TOML: {}", error.message().trim());
            return Err(reading.fatal(error.span().map_or(0, |span| span.start), text));
        }
    };
    let table = document.as_table();
    let mut layers = Layers::default();
    let mut chosen: Option<Vec<String>> = None;
    let mut given = Case::default();
    let mut cases = Vec::new();
    for (key, item) in table.iter() {
        match key {
            "packs" => layers.packs = reading.texts(item),
            "bare" => layers.bare = item.as_bool().unwrap_or_default(),
            "policies" => chosen = Some(reading.texts(item)),
            "given" => reading.fill(item.as_table_like(), &mut given),
            "case" => {}
            other => {
                let known = "`packs`, `bare`, `policies`, `given`, `case`";
                reading.wrong(item, format!("no key is called `{other}`: {known}"));
            }
        }
    }
    if let Some(item) = table.get("case") {
        let tables = item.as_array_of_tables();
        if tables.is_none() {
            reading.wrong(item, "cases are written `[[case]]`".into());
        }
        for table in tables.into_iter().flatten() {
            let mut case = given.clone();
            reading.fill(Some(table), &mut case);
            let at = table.span().map_or(0, |span| span.start);
            if case.verdict.is_none() {
                reading.at(at, "a case needs a `verdict`".into());
            }
            let about = [case.sql.is_some(), case.column.is_some(), case.connect];
            if about.into_iter().filter(|is| *is).count() != 1 {
                reading.at(at, "a case is about one of `sql`, `column` and `connect`".into());
            }
            cases.push((reading.place(at), case));
        }
    }
    if cases.is_empty() {
        reading.at(0, "there is no `[[case]]` in here".into());
    }
    layers.own = match &chosen {
        None => beside.to_vec(),
        Some(names) => {
            let find = |name: &String| {
                let ends = |source: &&Source| source.name.rsplit('/').next() == Some(name);
                let found = beside.iter().find(ends).cloned();
                if found.is_none() {
                    reading.at(0, format!("no file `{name}` is beside this one"));
                }
                found
            };
            names.iter().filter_map(find).collect()
        }
    };
    if !reading.mistakes.is_empty() {
        return Err(Mistakes(reading.mistakes));
    }
    let set = Set::load(&layers)?;
    Ok(cases
        .into_iter()
        .map(|(place, case)| Outcome {
            place,
            what: case.sql.clone().or(case.column.clone()).unwrap_or_else(|| "connect".into()),
            failure: case.failure(&set, cell),
        })
        .collect())
}

impl Default for Case {
    fn default() -> Self {
        Self {
            sql: None,
            column: None,
            connect: false,
            class: "unknown".into(),
            actor: Principal {
                kind: ActorKind::Unplaced,
                workload: "tested".into(),
                person: None,
                user: None,
                program: None,
                groups: Vec::new(),
            },
            target: Target {
                server: "db.example:5432".into(),
                environment: None,
                database: "postgres".into(),
                role: "app".into(),
                search_path: None,
                anywhere: false,
                temporary: Vec::new(),
            },
            transaction: Transaction::Idle,
            // A Friday, half past ten.
            now: Timestamp(1_795_170_600_000_000_000),
            approvals: Vec::new(),
            lifted: Vec::new(),
            carries: Trace::None,
            parameters: Vec::new(),
            masked: Vec::new(),
            scanned: Vec::new(),
            code: Code::default(),
            prepared: Vec::new(),
            verdict: None,
            policies: None,
        }
    }
}

impl Case {
    fn failure(&self, set: &Set, cell: &Cell) -> Option<String> {
        let subject = Subject::new(self.actor.clone());
        let scene = Scene::new(self.target.clone());
        let circumstances = Circumstances {
            transaction: self.transaction,
            now: self.now,
            approvals: &self.approvals,
            lifted: &self.lifted,
            carries: self.carries,
            parameters: Some(&self.parameters),
        };
        let (verdict, mut policies, words) = match (&self.sql, &self.column) {
            (Some(sql), _) => self.decided(set, cell, sql, (&subject, &scene), circumstances),
            (None, None) => {
                // Nobody waits at a login: what an approval would lift is refused.
                let ruling = set.connect(&subject, &scene, &circumstances);
                match ruling.allows() {
                    true => ("allow", ids(&ruling.flags), String::new()),
                    false => ("refuse", by(&ruling), ruling.words().message),
                }
            }
            (None, column) => {
                let path = column.as_deref().unwrap_or_default();
                let mut names = path.rsplitn(3, '.');
                let column = names.next().unwrap_or_default();
                let table = names.next().unwrap_or_default();
                let schema = names.next().unwrap_or("public");
                let viewed = Viewed { schema, table, column, class: &self.class };
                match set.reveal(&subject, &scene, &circumstances, &[viewed]).pop() {
                    Some(Sight::Clear { by }) => ("reveal", ids(&by), String::new()),
                    Some(Sight::Masked { by, .. }) => ("mask", ids(&by), String::new()),
                    None => ("mask", Vec::new(), String::new()),
                }
            }
        };
        policies.sort();
        policies.dedup();
        let expected = self.verdict.as_deref().unwrap_or_default();
        if verdict != expected {
            let by = if policies.is_empty() { String::new() } else { policies.join(", ") + ": " };
            return Some(format!("{verdict}, not {expected} ({by}{words})"));
        }
        let mut wanted = self.policies.clone()?;
        wanted.sort();
        (wanted != policies)
            .then(|| format!("decided by {}, not by {}", list(&policies), list(&wanted)))
    }

    fn decided(
        &self,
        set: &Set,
        cell: &Cell,
        sql: &str,
        (subject, scene): (&Subject, &Scene),
        circumstances: Circumstances<'_>,
    ) -> (&'static str, Vec<String>, String) {
        let state =
            LexingState { search_path: self.target.search_path.clone(), ..LexingState::default() };
        let read = |sql: &str| Arc::new(cell.read(sql.as_bytes(), &state));
        let facts = read(sql);
        let prepared: Vec<_> = Set::executes(&facts)
            .map(|one| {
                let name = one.handle.as_deref();
                let found = self.prepared.iter().find(|(known, _)| Some(&**known) == name);
                found.map(|(_, text)| read(text))
            })
            .collect();
        let question = Question {
            subject,
            scene,
            facts: &facts,
            prepared: &prepared,
            circumstances,
            catalog: &Supposed { masked: &self.masked, scanned: &self.scanned, code: &self.code },
        };
        // Tests say what is decided; the stance only says whether it is carried out.
        let verdict = set.decide(&question, Stance::Enforced);
        let ruling = verdict.ruling();
        let policies = match &verdict {
            Verdict::Allow(_) => ids(&ruling.flags),
            _ => by(ruling),
        };
        (verdict.as_str(), policies, ruling.words().message)
    }
}

fn ids(policies: &[Arc<super::Policy>]) -> Vec<String> {
    policies.iter().map(|policy| policy.id.to_string()).collect()
}

fn by(ruling: &Ruling) -> Vec<String> {
    ruling.policies().iter().map(|policy| policy.id.to_string()).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The file while it is read, and what is wrong with it.
struct Reading<'s> {
    test: &'s Source,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn place(&self, offset: usize) -> Place {
        let shown = self.test.text.as_bytes().get(..offset).unwrap_or_default();
        let line = 1 + shown.iter().filter(|byte| **byte == b'\n').count();
        Place { file: Arc::clone(&self.test.name), line }
    }

    fn at(&mut self, offset: usize, text: String) {
        let place = self.place(offset);
        self.mistakes.push(Mistake { place, text });
    }

    fn wrong(&mut self, item: &Item, text: String) {
        self.at(item.span().map_or(0, |span| span.start), text);
    }

    fn fatal(&mut self, offset: usize, text: String) -> Mistakes {
        self.at(offset, text);
        Mistakes(std::mem::take(&mut self.mistakes))
    }

    fn text(&mut self, item: &Item) -> String {
        item.as_str().map_or_else(
            || {
                self.wrong(item, "this must be a text in quotes".into());
                String::new()
            },
            Into::into,
        )
    }

    fn truth(&mut self, item: &Item) -> bool {
        item.as_bool().unwrap_or_else(|| {
            self.wrong(item, "this must be `true` or `false`".into());
            false
        })
    }

    fn trace(&mut self, item: &Item) -> Trace {
        match self.text(item).as_str() {
            "dots" => Trace::Likely,
            "mask" => Trace::Certain,
            other => {
                let known = "what is carried is `dots` or a `mask`";
                self.wrong(item, format!("{known}, not `{other}`"));
                Trace::None
            }
        }
    }

    /// `[7, "seven", true]`, as a driver would bind them.
    fn values(&mut self, item: &Item) -> Vec<Value> {
        let one = |one: &toml_edit::Value| match one {
            toml_edit::Value::Integer(number) => {
                Some(Value::text("int8", &number.value().to_string()))
            }
            toml_edit::Value::Boolean(truth) => {
                Some(Value::text("bool", &truth.value().to_string()))
            }
            other => other.as_str().map(|text| Value::text("text", text)),
        };
        let list = item.as_array().and_then(|list| list.iter().map(one).collect());
        list.unwrap_or_else(|| {
            self.wrong(item, "this must be a list of numbers, texts in quotes and truths".into());
            Vec::new()
        })
    }

    fn texts(&mut self, item: &Item) -> Vec<String> {
        let list = item.as_array().map(|list| {
            list.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect::<Option<_>>()
        });
        list.flatten().unwrap_or_else(|| {
            self.wrong(item, "this must be a list of texts in quotes".into());
            Vec::new()
        })
    }

    fn parsed<T: std::str::FromStr<Err = String>>(&mut self, item: &Item) -> Option<T> {
        let text = self.text(item);
        text.parse().map_err(|error| self.wrong(item, error)).ok()
    }

    fn fill(&mut self, table: Option<&dyn TableLike>, case: &mut Case) {
        let Some(table) = table else { return };
        for (key, item) in table.iter() {
            match key {
                "sql" => case.sql = Some(self.text(item)),
                "column" => case.column = Some(self.text(item)),
                "connect" => case.connect = self.truth(item),
                "class" => case.class = self.text(item),
                "actor" => {
                    if let Some(kind) = self.parsed(item) {
                        case.actor.kind = kind;
                    }
                }
                "workload" => case.actor.workload = self.text(item),
                "person" => case.actor.person = Some(self.text(item)),
                "user" => case.actor.user = Some(self.text(item)),
                "program" => case.actor.program = Some(self.text(item)),
                "groups" => {
                    let groups = self.texts(item);
                    for group in groups {
                        match named_group(&group) {
                            Ok(group) => case.actor.groups.push(group),
                            Err(error) => self.wrong(item, error),
                        }
                    }
                }
                "server" => case.target.server = self.text(item),
                "environment" => case.target.environment = Some(self.text(item)),
                "database" => case.target.database = self.text(item),
                "role" => case.target.role = self.text(item).into(),
                "search_path" => case.target.search_path = Some(self.text(item).into()),
                "temporary" => {
                    case.target.temporary = self.texts(item).into_iter().map(Into::into).collect();
                }
                "transaction" => {
                    if let Some(transaction) = self.parsed(item) {
                        case.transaction = transaction;
                    }
                }
                "now" => {
                    if let Some(now) = self.parsed(item) {
                        case.now = now;
                    }
                }
                "approvals" => case.approvals = self.texts(item),
                "lifted" => case.lifted = self.texts(item),
                "carries" => case.carries = self.trace(item),
                "parameters" => case.parameters = self.values(item),
                "masked" => case.masked = self.texts(item),
                "scanned" => case.scanned = self.texts(item),
                "code" => case.code = supposed_code(&self.texts(item)),
                "prepared" => {
                    let pairs = item.as_table_like().into_iter().flat_map(TableLike::iter);
                    case.prepared =
                        pairs.map(|(name, text)| (name.to_owned(), self.text(text))).collect();
                }
                "verdict" => {
                    let verdict = self.text(item);
                    if !VERDICTS.contains(&verdict.as_str()) {
                        let known = VERDICTS.join(", ");
                        self.wrong(item, format!("`{verdict}` is no verdict: one of {known}"));
                    }
                    case.verdict = Some(verdict);
                }
                "policies" => case.policies = Some(self.texts(item)),
                other => self.wrong(item, format!("no key of a case is called `{other}`")),
            }
        }
    }
}

const VERDICTS: &[&str] = &["allow", "refuse", "hold", "reveal", "mask"];

/// `team:data` → a group.
pub fn named_group(text: &str) -> Result<Group, String> {
    let all = || {
        let all: Vec<_> = GroupKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("`{text}` is no group: write KIND:NAME with a kind of {}", all.join(", "))
    };
    let (kind, name) = text.split_once(':').ok_or_else(all)?;
    let kind = GroupKind::ALL.iter().find(|known| known.as_str() == kind).ok_or_else(all)?;
    Ok(Group { kind: *kind, name: name.into() })
}

#[cfg(test)]
mod tests;
