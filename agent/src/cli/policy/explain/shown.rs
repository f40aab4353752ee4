//! What of a statement's result is masked, as far as that can be told without the
//! database: by `--masked`, by operators' words, and by names.

use std::sync::Arc;

use serde::Serialize;

use crate::mask::names::{self, Named};
use crate::mask::{Class, Corrections, Mask};
use crate::policy::{Policy, Question, Set, Sight, Viewed};
use crate::sql::Statement;
use crate::sql::facts::{Column, Source};

/// What is known of columns.
pub struct Known<'k> {
    /// TABLE.COLUMN or SCHEMA.TABLE.COLUMN.
    pub masked: &'k [String],
    pub corrections: Corrections,
}

/// One column of the result.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub column: String,
    pub from: Vec<String>,
    /// `None`: nothing but what its values look like tells whether it is sensitive.
    pub class: Option<String>,
    /// `clear`, `masked: partial`, `masked whole`; `scanned`: what looks sensitive in it
    /// is masked.
    pub shown: String,
    pub by: Vec<String>,
}

/// A column that is known to hold something.
struct Sensitive<'s> {
    schema: Option<&'s str>,
    table: &'s str,
    column: String,
    class: Class,
    /// `--masked` says so, whatever the policies reveal.
    given: bool,
}

impl Known<'_> {
    /// The columns of a statement that policies count as masked for whoever asks.
    pub fn masked_for(&self, set: &Set, question: &Question<'_>) -> Vec<String> {
        let mut all = self.masked.to_vec();
        for statement in question.facts.running() {
            for column in &statement.columns {
                for one in self.of(statement, column) {
                    let path = path(one.schema, one.table, &one.column);
                    if sight(set, question, &one).0.is_some() && !all.contains(&path) {
                        all.push(path);
                    }
                }
            }
        }
        all
    }

    /// What a column holds; of `*`, all of the table that is known to hold something.
    fn of<'s>(&self, statement: &'s Statement, column: &Column) -> Vec<Sensitive<'s>> {
        let Some(table) = statement.objects.get(column.relation as usize) else {
            return Vec::new();
        };
        let (schema, name) = (table.schema.as_deref(), &*table.name);
        let said =
            |column: String, class, given| Sensitive { schema, table: name, column, class, given };
        let Some(column) = column.name.as_deref() else {
            let masked = self.masked.iter().filter_map(|path| fits(path, schema, name));
            let masked = masked.map(|column| {
                let class = by_name(name, column).unwrap_or(Class::Opaque);
                said(column.to_owned(), class, true)
            });
            let words = self.corrections.of_table(schema, name);
            let words = words.map(|(column, class)| said(column.to_owned(), class, false));
            return masked.chain(words).collect();
        };
        let given = self.masked.iter().any(|path| fits(path, schema, name) == Some(column));
        let class = match self.corrections.word(schema, name, column) {
            Some(word) => word,
            None => by_name(name, column),
        };
        let class = class.or(given.then_some(Class::Opaque));
        class.into_iter().map(|class| said(column.to_owned(), class, given)).collect()
    }
}

fn by_name(table: &str, column: &str) -> Option<Class> {
    let named = Named { table, column, ..Named::default() };
    names::classify(&named).map(|(class, _)| class)
}

/// The column of a path that is this table's.
fn fits<'p>(path: &'p str, schema: Option<&str>, table: &str) -> Option<&'p str> {
    let mut names = path.rsplitn(3, '.');
    let (column, of, within) = (names.next()?, names.next()?, names.next());
    let same =
        of == table && within.is_none_or(|within| schema.is_none_or(|schema| schema == within));
    same.then_some(column)
}

fn path(schema: Option<&str>, table: &str, column: &str) -> String {
    let schema = schema.map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{schema}{table}.{column}")
}

/// The mask that is shown in its place, nothing where it is seen; and by which policies.
fn sight(set: &Set, question: &Question<'_>, one: &Sensitive<'_>) -> (Option<Mask>, Vec<String>) {
    let class = one.class.path();
    let schema = one.schema.unwrap_or("public");
    let viewed = [Viewed { schema, table: one.table, column: &one.column, class: &class }];
    let Question { subject, scene, circumstances, .. } = question;
    let sights = set.reveal(subject, scene, circumstances, &viewed);
    let usual = one.class.default_mask();
    match sights.into_iter().next() {
        Some(Sight::Clear { .. }) if one.given => (Some(usual), Vec::new()),
        Some(Sight::Clear { by }) => (None, ids(&by)),
        Some(Sight::Masked { mask, by }) => {
            let wanted = mask.and_then(|mask| mask.parse().ok());
            (Some(wanted.unwrap_or(usual)), ids(&by))
        }
        None => (Some(usual), Vec::new()),
    }
}

fn ids(policies: &[Arc<Policy>]) -> Vec<String> {
    policies.iter().map(|policy| policy.id.to_string()).collect()
}

/// The columns that come back, and what becomes of them.
pub fn shown(set: &Set, question: &Question<'_>, known: &Known<'_>, shadow: bool) -> Vec<Shown> {
    let mut all = Vec::new();
    for statement in question.facts.running() {
        for output in statement.returns.iter().flatten() {
            if output.sources.is_empty() && !output.star {
                continue;
            }
            let mut one = Shown {
                column: output
                    .name
                    .as_deref()
                    .unwrap_or(if output.star { "*" } else { "?" })
                    .into(),
                from: Vec::new(),
                class: None,
                shown: "scanned".into(),
                by: Vec::new(),
            };
            one.look(statement, &output.sources, output.star, (set, question, known));
            if shadow && one.shown.starts_with("masked") {
                one.shown = format!("clear (in shadow: would be {})", one.shown);
            }
            all.push(one);
        }
    }
    all
}

impl Shown {
    fn look(
        &mut self,
        statement: &Statement,
        sources: &[Source],
        star: bool,
        (set, question, known): (&Set, &Question<'_>, &Known<'_>),
    ) {
        let mut classes: Vec<String> = Vec::new();
        let mut masks: Vec<Mask> = Vec::new();
        let mut followed = true;
        for source in sources {
            let Some(column) = statement.columns.get(source.column as usize) else { continue };
            let table = statement.objects.get(column.relation as usize);
            let schema = table.and_then(|table| table.schema.as_deref());
            let table = table.map_or("?", |table| &table.name);
            self.from.push(path(schema, table, column.name.as_deref().unwrap_or("*")));
            for one in known.of(statement, column) {
                let class = match star {
                    true => format!("{}: {}", one.column, one.class),
                    false => one.class.to_string(),
                };
                if !classes.contains(&class) {
                    classes.push(class);
                }
                followed &= star || source.path.is_empty();
                let (mask, by) = sight(set, question, &one);
                masks.extend(mask);
                self.by.extend(by);
            }
        }
        self.by.sort();
        self.by.dedup();
        if classes.is_empty() {
            return;
        }
        self.class = Some(classes.join(", "));
        self.shown = match masks.into_iter().reduce(Mask::stricter) {
            None => "clear".into(),
            Some(_) if !followed => "masked whole".into(),
            Some(mask) => format!("masked: {mask}"),
        };
    }
}
