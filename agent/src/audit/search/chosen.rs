//! What is told once and asked for: which texts, connections and classes, and where in
//! time they occur.
//!
//! A choice is gathered as far as it could be narrow. One that is wide – most of what
//! there is, and there may be millions – is a condition on the rows instead, which many
//! of them fulfil.

use std::fmt::Write as _;

use rusqlite::{Connection, params_from_iter};

use super::clause::Where;
use super::{Query, Way};
use crate::audit::index::{BLOCK, Born, SPAN, starts, unpacked, whose};
use crate::audit::touched::STAR;
use crate::sql::TraceContext;

/// Fills a table with the spans of blocks in which a way's rows are.
pub(super) fn choose_blocks(
    database: &Connection,
    way: Way,
    from: i64,
    to: i64,
) -> rusqlite::Result<()> {
    database.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS blocks(first INTEGER PRIMARY KEY, last INTEGER);
         DELETE FROM temp.blocks",
    )?;
    let (what, wanted) = match way {
        Way::Flow => ("flow", "flows_wanted"),
        Way::Class => ("text", "class_texts"),
        _ => ("text", "texts_wanted"),
    };
    let mut blocks = Vec::new();
    if way != Way::Seen {
        let mut told = database.prepare(&format!(
            "SELECT block, more FROM {what}_blocks WHERE {what} IN (SELECT id FROM temp.{wanted})
             AND block BETWEEN ?1 AND ?2"
        ))?;
        let mut rows = told.query([from.saturating_sub(SPAN), to])?;
        while let Some(row) = rows.next()? {
            let more = row.get_ref(1)?.as_blob()?;
            blocks.extend(unpacked(row.get(0)?, more).filter(|block| (from..=to).contains(block)));
        }
    }
    let phrases = match way {
        Way::Class => Some("class_phrases"),
        Way::Seen => Some("seen_phrases"),
        _ => None,
    };
    if let Some(phrases) = phrases {
        let mut masked = database.prepare(&format!(
            "SELECT DISTINCT id >> {BLOCK} FROM records
             WHERE masked IN (SELECT id FROM temp.{phrases})"
        ))?;
        for block in masked.query_map([], |row| row.get(0))? {
            blocks.extend(Some(block?).filter(|block| (from..=to).contains(block)));
        }
    }
    blocks.sort_unstable();
    blocks.dedup();
    let mut insert = database.prepare("INSERT INTO temp.blocks VALUES (?1, ?2)")?;
    for span in blocks.chunk_by(|one, next| *next == one + 1) {
        if let (Some(first), Some(last)) = (span.first(), span.last()) {
            insert.execute([first, last])?;
        }
    }
    Ok(())
}

/// Texts, connections or answers that are asked for.
pub(super) struct Chosen {
    pub way: Way,
    /// How many rows they stand for. `None`: too many to be looked up.
    pub uses: Option<i64>,
    /// The condition that a row is of them.
    pub test: String,
}

/// Chooses, with the values of all conditions.
pub(super) struct Chooser<'d> {
    pub database: &'d Connection,
    pub clause: Where,
    /// A choice that stands for so many rows is wide.
    pub most: i64,
}

impl Chooser<'_> {
    /// Fills a table with what these give, each an id and its uses. `None`: it is too
    /// much, and the table is of no use.
    fn gather(&self, table: &str, from: &[String]) -> rusqlite::Result<Option<i64>> {
        self.database.execute_batch(&format!(
            "CREATE TEMP TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY);
             DELETE FROM temp.{table}"
        ))?;
        let sql = format!("INSERT OR IGNORE INTO temp.{table} VALUES (?1)");
        let mut insert = self.database.prepare_cached(&sql)?;
        let (mut uses, mut count) = (0_i64, 0);
        for sql in from {
            let mut statement = self.database.prepare(sql)?;
            let values = self.clause.values.iter().take(statement.parameter_count());
            #[cfg(test)]
            tests::note_plan(self.database, sql, values.clone())?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                if insert.execute([row.get::<_, i64>(0)?])? == 0 {
                    continue;
                }
                uses += row.get::<_, i64>(1)?;
                count += 1;
                if uses.max(count) >= self.most {
                    return Ok(None);
                }
            }
        }
        Ok(Some(uses))
    }

    fn chosen(
        &self,
        way: Way,
        (column, table): (&str, &str),
        from: &[String],
        test: String,
    ) -> rusqlite::Result<Chosen> {
        let uses = self.gather(table, from)?;
        let test = match uses {
            Some(_) => format!("+records.{column} IN (SELECT id FROM temp.{table})"),
            None => test,
        };
        Ok(Chosen { way, uses, test })
    }

    pub fn texts(&mut self, query: &Query) -> rusqlite::Result<Option<Chosen>> {
        let trace =
            |said: &String| TraceContext::read(said).map_or_else(|| said.clone(), |it| it.trace);
        let traces: Vec<String> = query.trace.iter().map(trace).collect();
        // Those that tell most come first.
        let mut named = Vec::new();
        for (names, what) in [(traces, 3), (columns(query), 1), (query.table.clone(), 0)] {
            named.extend(
                self.clause
                    .of("touched.name", &names)
                    .map(|name| format!("touched.what = {what} AND {name}")),
            );
        }
        let words: Vec<String> = query.words.iter().map(|words| quoted(words)).collect();
        let words = self.clause.each(&words, |value| format!("words MATCH {value}"));
        let tests = |text: &str, skipped: usize| {
            let touched = named.iter().skip(skipped).map(|condition| {
                format!(
                    "EXISTS (SELECT 1 FROM touched WHERE {condition} AND touched.text = {text})"
                )
            });
            let words = words.iter().map(|condition| {
                format!("EXISTS (SELECT 1 FROM words WHERE {condition} AND words.rowid = {text})")
            });
            touched.chain(words).fold(String::new(), |all, test| all + " AND " + &test)
        };
        let from = match (named.first(), &words) {
            (Some(first), _) => format!(
                "touched CROSS JOIN texts ON texts.id = touched.text WHERE {first}{}",
                tests("texts.id", 1)
            ),
            (None, Some(words)) => {
                format!("words CROSS JOIN texts ON texts.id = words.rowid WHERE {words}")
            }
            (None, None) => return Ok(None),
        };
        let from = [format!("SELECT texts.id, texts.uses FROM {from}")];
        let test = format!("records.text IS NOT NULL{}", tests("records.text", 0));
        self.chosen(Way::Text, ("text", "texts_wanted"), &from, test).map(Some)
    }

    pub fn flows(&mut self, query: &Query) -> rusqlite::Result<Option<Chosen>> {
        let who = self.who(query);
        let place = self.place(query);
        let born = self.born(&query.process);
        let tree = self.tree(&query.tree)?;
        let all = |parts: &mut dyn Iterator<Item = String>| {
            parts.fold(String::from("1"), |all, part| all + " AND " + &part)
        };
        let either = || who.iter().map(Who::either);
        let place_test =
            || place.iter().map(|it| format!("flows.place IN (SELECT id FROM places WHERE {it})"));
        let of_process = "CROSS JOIN flows ON flows.process = processes.id
             LEFT JOIN actors ON actors.id = processes.actor";
        let tree_test = |tree: &String| {
            format!(
                "EXISTS (SELECT 1 FROM ancestors WHERE ancestors.process = processes.id AND {tree})"
            )
        };
        let test = all(&mut either()
            .chain(place_test())
            .chain(born.clone())
            .chain(tree.as_ref().map(tree_test)));
        let mut from = Vec::new();
        if let Some(born) = &born {
            let rest = all(&mut either().chain(place_test()).chain(tree.as_ref().map(tree_test)));
            from.push(format!("processes {of_process} WHERE {born} AND {rest}"));
        } else if let Some(tree) = &tree {
            let rest = all(&mut either().chain(place_test()));
            from.push(format!(
                "ancestors CROSS JOIN processes ON processes.id = ancestors.process {of_process}
                 WHERE {tree} AND {rest}"
            ));
        } else if !who.is_empty() {
            let named = all(&mut who.iter().map(|who| who.actor.clone()).chain(place_test()));
            from.push(format!("actors CROSS JOIN flows ON flows.actor = actors.id WHERE {named}"));
            for (at, learnt) in who.iter().enumerate() {
                let others = who.iter().enumerate().filter(|(other, _)| *other != at);
                let rest = all(&mut others.map(|(_, who)| who.either()).chain(place_test()));
                from.extend(learnt.learnt.as_ref().map(|learnt| {
                    format!(
                    "learnt CROSS JOIN processes CROSS JOIN flows ON flows.process = processes.id
                     CROSS JOIN actors ON actors.id = processes.actor WHERE {learnt} AND {rest}"
                )
                }));
            }
        } else if let Some(place) = &place {
            from.push(format!("places CROSS JOIN flows ON flows.place = places.id WHERE {place}"));
        } else {
            return Ok(None);
        }
        let from: Vec<String> =
            from.iter().map(|from| format!("SELECT flows.id, flows.uses FROM {from}")).collect();
        let test = format!(
            "EXISTS (SELECT 1 FROM flows LEFT JOIN processes ON processes.id = flows.process
             LEFT JOIN actors ON actors.id = flows.actor WHERE flows.id = records.flow AND {test})"
        );
        self.chosen(Way::Flow, ("flow", "flows_wanted"), &from, test).map(Some)
    }

    fn who(&mut self, query: &Query) -> Vec<Who> {
        let clause = &mut self.clause;
        let mut all = Vec::new();
        let mut ask =
            |values: &[String], actor: &dyn Fn(&str) -> String, learnt: Option<Learnt<'_>>| {
                let numbered = clause.numbered(values);
                let either = |condition: &dyn Fn(&str) -> String| {
                    let each: Vec<String> = numbered.iter().map(|value| condition(value)).collect();
                    format!("({})", each.join(" OR "))
                };
                if !numbered.is_empty() {
                    let learnt = learnt.map(|(names, condition)| whose(names, &either(condition)));
                    all.push(Who { actor: either(actor), learnt });
                }
            };
        let known = |value: &str| format!("learnt.value = {value}");
        ask(
            &query.user,
            &|value| {
                format!(
                    "actors.user = {value} OR actors.person = {value}
                     OR actors.uid = CAST({value} AS INTEGER) AND {value} GLOB '[0-9]*'"
                )
            },
            Some((&["user", "person.user"], &known)),
        );
        ask(
            &query.exe,
            &|value| {
                format!("actors.exe = {value} OR actors.base = {value} OR actors.comm = {value}")
            },
            None,
        );
        ask(
            &query.unit,
            &|value| format!("actors.unit = {value} OR actors.unit = {value} || '.service'"),
            None,
        );
        ask(&query.container, &|value| begins("actors.container", value), None);
        ask(
            &query.pod,
            &|value| {
                format!(
                    "{} OR actors.pod_name = {value}
                     OR actors.pod_name = substr({value}, instr({value}, '/') + 1)
                     AND actors.namespace = substr({value}, 1, instr({value}, '/') - 1)",
                    begins("actors.pod", value)
                )
            },
            Some((&["pod_name"], &known)),
        );
        ask(&query.agent, &|value| format!("actors.agent = {value}"), None);
        let kinds: Vec<String> = query.actor.iter().map(|kind| kind.word().to_owned()).collect();
        ask(&kinds, &|value| format!("actors.kind = {value}"), None);
        let command: Vec<String> = query.command.iter().map(|words| quoted(words)).collect();
        ask(
            &command,
            &|value| {
                format!(
                    "actors.id IN (SELECT rowid FROM actor_words WHERE actor_words MATCH {value})"
                )
            },
            Some((&["image", "container_name", "namespace", "pod_name"], &|value| {
                format!(
                    "learnt.id IN (SELECT rowid FROM learnt_words WHERE learnt_words MATCH {value})"
                )
            })),
        );
        all
    }

    fn place(&mut self, query: &Query) -> Option<String> {
        let named = self.clause.each(&query.database, |value| {
            format!(
                "places.database = {value} OR places.destination = {value} OR places.rule = {value}"
            )
        });
        let role = self.clause.of("places.role", &query.role);
        let all: Vec<String> = named.into_iter().chain(role).collect();
        (!all.is_empty()).then(|| all.join(" AND "))
    }

    fn born(&mut self, all: &[Born]) -> Option<String> {
        let columns = ("processes.tgid", "processes.started");
        let each: Vec<String> = all
            .iter()
            .map(|born| born.condition(columns, |boot| self.clause.bind(boot.to_owned())))
            .collect();
        (!each.is_empty()).then(|| format!("({})", each.join(" OR ")))
    }

    /// Each by the moments at which it began, so that a row's ancestors are looked up by
    /// their whole key.
    fn tree(&mut self, all: &[Born]) -> rusqlite::Result<Option<String>> {
        let mut each = Vec::new();
        for born in all {
            let columns = ("ancestors.tgid", "ancestors.started");
            let mut condition = born.condition(columns, |boot| self.clause.bind(boot.to_owned()));
            let starts = starts(self.database, born.pid)?;
            if starts.len() <= MOST_STARTS {
                let starts: Vec<String> = starts.iter().map(i64::to_string).collect();
                let _ = write!(condition, " AND ancestors.started IN ({})", starts.join(", "));
            }
            each.push(condition);
        }
        Ok((!each.is_empty()).then(|| format!("({})", each.join(" OR "))))
    }

    /// Texts that touch a class, and answers that were masked for it.
    pub fn classes(&mut self, query: &Query) -> rusqlite::Result<Option<Chosen>> {
        let Some(class) = self.clause.of("touched.name", &query.class) else { return Ok(None) };
        let from = [format!(
            "SELECT texts.id, texts.uses FROM touched CROSS JOIN texts ON texts.id = touched.text
             WHERE touched.what = 2 AND {class}"
        )];
        let test = format!(
            "EXISTS (SELECT 1 FROM touched WHERE touched.what = 2 AND {class}
             AND touched.text = records.text)"
        );
        let texts = self.chosen(Way::Class, ("text", "class_texts"), &from, test)?;
        let answers = self.answers("class_phrases", &query.class, "")?;
        let uses = texts.uses.zip(answers).map(|(texts, answers)| texts + answers);
        let test =
            format!("({} OR +records.masked IN (SELECT id FROM temp.class_phrases))", texts.test);
        Ok(Some(Chosen { way: Way::Class, uses, test }))
    }

    /// Answers in which a class was shown in the clear.
    pub fn seen(&mut self, query: &Query) -> rusqlite::Result<Option<Chosen>> {
        if query.seen.is_empty() {
            return Ok(None);
        }
        let uses = self.answers("seen_phrases", &query.seen, "AND clear = 1")?;
        let test = "+records.masked IN (SELECT id FROM temp.seen_phrases)".into();
        Ok(Some(Chosen { way: Way::Seen, uses, test }))
    }

    /// Which lists of classes speak of these, and how many answers bear one: counted as
    /// far as it matters.
    fn answers(
        &mut self,
        table: &str,
        classes: &[String],
        clear: &str,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(class) = self.clause.of("class", classes) else { return Ok(Some(0)) };
        let lists = [format!("SELECT phrase, 0 FROM classes WHERE {class} {clear}")];
        let most = std::mem::replace(&mut self.most, i64::MAX);
        let gathered = self.gather(table, &lists);
        self.most = most;
        gathered?;
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM records
             WHERE masked IN (SELECT id FROM temp.{table}) LIMIT {most})"
        );
        let uses: i64 = self.database.query_row(&sql, [], |row| row.get(0))?;
        Ok((uses < most).then_some(uses))
    }
}

/// Who it was: by what was told with the connection, or learnt later.
struct Who {
    actor: String,
    learnt: Option<String>,
}

/// The names of facts, and a condition on their value.
type Learnt<'l> = (&'l [&'l str], &'l dyn Fn(&str) -> String);

impl Who {
    fn either(&self) -> String {
        match &self.learnt {
            Some(learnt) => {
                format!("({} OR EXISTS (SELECT 1 FROM learnt WHERE {learnt}))", self.actor)
            }
            None => self.actor.clone(),
        }
    }
}

/// … with this value, as an index finds it.
fn begins(column: &str, value: &str) -> String {
    format!("{column} >= {value} AND {column} < {value} || char(1114111)")
}

/// Each word as it is written; the index has a language of its own.
fn quoted(words: &str) -> String {
    let words = words.split_whitespace();
    let words: Vec<String> =
        words.map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    words.join(" ")
}

/// The columns that are asked for, and what may stand for one: all of a table's, where
/// nobody knew which these are.
fn columns(query: &Query) -> Vec<String> {
    let mut all = query.column.clone();
    for column in &query.column {
        match column.rsplit_once('.') {
            Some((table, _)) => all.push(format!("{table}.{STAR}")),
            None => all.extend(query.table.iter().map(|table| format!("{table}.{STAR}"))),
        }
    }
    all
}

/// Processes of one number that are told apart by when they began.
const MOST_STARTS: usize = 1_000;

#[cfg(test)]
mod tests;
