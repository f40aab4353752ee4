//! Questions to the index.
//!
//! What is told once is narrowed first (which texts, which connections); then
//! either the few rows of those are taken, or, where they are many, the newest
//! rows are gone through until enough have matched.

mod chosen;
mod clause;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use serde_json::{Map, Value};

use super::index::{BLOCK, Born, Ended, Index, IndexError, counts, namesakes};
use super::record::{self, Body, KINDS, RecordId, Standing};
use super::render::{self, Definitions, parsed};
use super::store::Segments;
use super::store::segments::Lookup;
use super::{Ending, Verdict};
use crate::model::Kind;
use chosen::{Chooser, choose_blocks};
use clause::Where;

/// All that is set must fit; of several of one kind, any.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Words in the text, its tables and its columns.
    pub words: Option<String>,
    /// Microseconds since 1970.
    pub since: Option<u64>,
    pub until: Option<u64>,
    pub kinds: Vec<String>,
    /// The process's user, by name or uid, or the person behind it.
    pub user: Vec<String>,
    /// The program: its path, its file's name, or what it calls itself.
    pub exe: Vec<String>,
    pub unit: Vec<String>,
    pub container: Vec<String>,
    pub pod: Vec<String>,
    pub agent: Vec<String>,
    /// The kind of actor.
    pub actor: Vec<Kind>,
    /// The process itself.
    pub process: Vec<Born>,
    /// It, and all that descend from it.
    pub tree: Vec<Born>,
    /// Words of the process: its program, script, command line.
    pub command: Vec<String>,
    /// The database's name, or the destination.
    pub database: Vec<String>,
    pub role: Vec<String>,
    pub table: Vec<String>,
    pub column: Vec<String>,
    /// Touched by the text, masked, or shown.
    pub class: Vec<String>,
    /// The trace that the text itself names: its id, or the whole `traceparent`.
    pub trace: Vec<String>,
    /// Shown in the clear.
    pub seen: Vec<String>,
    pub verdict: Vec<Verdict>,
    /// The policies that decided.
    pub policy: Vec<String>,
    pub sqlstate: Vec<String>,
    /// The oldest first.
    pub oldest: bool,
    pub limit: usize,
}

/// One record that was found; a statement with its outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    pub schema: u32,
    pub record: RecordId,
    pub kind: &'static str,
    pub at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Policies that allowed it and had something to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flagged: Vec<String>,
    /// It stands for so many, which were told together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Value>,
    /// What other kinds than statements tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub record: RecordId,
    pub ending: Option<&'static str>,
    pub rows: i64,
    pub bytes: i64,
    pub latency_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// How many cells of which class were masked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
    /// … and how many were shown in the clear.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, u64>,
    /// … of which only the shadow kept these from being masked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub would_mask: BTreeMap<String, u64>,
}

impl Index {
    /// What numbers of processes mean, where they were those of several.
    pub fn ambiguous(&self, query: &Query) -> Result<Vec<String>, IndexError> {
        let wrong = |error| IndexError::Database { path: self.folder().index(), error };
        let mut told = Vec::new();
        for (all, tree) in [(&query.process, false), (&query.tree, true)] {
            for Born { pid, .. } in all.iter().filter(|born| born.started.is_none()) {
                let several = namesakes(&self.database, *pid, tree).map_err(wrong)?;
                if !several.is_empty() {
                    let count = several.len();
                    let first = several.iter().take(MOST_NAMESAKES);
                    let named: Vec<&str> = first.map(String::as_str).collect();
                    let more = if count > MOST_NAMESAKES { " …" } else { "" };
                    told.push(format!(
                        "{pid} was the number of {count} processes, and all are meant: {}{more}",
                        named.join(", ")
                    ));
                }
            }
        }
        Ok(told)
    }

    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, IndexError> {
        let wrong = |error| IndexError::Database { path: self.folder().index(), error };
        let mut hits = find(&self.database, query).map_err(wrong)?;
        self.tell_facts(&mut hits)?;
        Ok(hits)
    }

    /// The index finds records; what they tell beyond that, the log says.
    fn tell_facts(&self, hits: &mut [Hit]) -> Result<(), IndexError> {
        // In the order in which they lie there.
        let wanted: BTreeSet<RecordId> = hits
            .iter()
            .flat_map(|hit| [Some(hit.record), hit.outcome.as_ref().map(|it| it.record)])
            .flatten()
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut segments = Segments::holding(self.folder(), &wanted)?;
        let mut found: BTreeMap<RecordId, Value> = BTreeMap::new();
        for id in wanted {
            // Retention may have let it go.
            let Lookup::Payload(payload) = segments.payload(id) else { continue };
            let Ok((_, body)) = record::decode(payload) else { continue };
            let told_once = match &body {
                Body::Outcome(outcome) => id.position.checked_sub(outcome.tag),
                Body::Intent(intent) | Body::Standing(Standing { intent, .. }) => {
                    id.position.checked_sub(intent.grounds)
                }
                _ => None,
            };
            let mut known = Definitions::default();
            if let Some(position) = told_once.filter(|position| *position < id.position) {
                let at = RecordId { position, ..id };
                if let Lookup::Payload(payload) = segments.payload(at)
                    && let Ok((_, body)) = record::decode(payload)
                {
                    known.learn(at, &body);
                }
            }
            let mut rendered = render::render(id, &body, &mut known);
            let facts = rendered.get_mut(body.word()).map(Value::take);
            found.extend(facts.map(|facts| (id, facts)));
        }
        for hit in hits {
            let facts = found.remove(&hit.record);
            if hit.kind == "statement" {
                // Of some no text is told.
                let told = hit.statement.get_or_insert_with(|| Value::Object(Map::new()));
                if let (Value::Object(told), Some(Value::Object(facts))) = (told, facts) {
                    // These stand beside it.
                    let own = |key: &str| !matches!(key, "verdict" | "policies");
                    told.extend(facts.into_iter().filter(|(key, _)| own(key)));
                }
            } else {
                hit.facts = facts;
            }
            if let Some(outcome) = &mut hit.outcome {
                let tag = found.get(&outcome.record).and_then(|facts| facts.get("tag"));
                outcome.tag = tag.and_then(Value::as_str).map(ToOwned::to_owned);
            }
        }
        Ok(())
    }
}
/// By what the rows are looked up; what isn't filters them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Text,
    Flow,
    Class,
    Seen,
    /// By what stands in few rows: refusals, failures, the agent's own records.
    Rare,
    /// In the order of time, until enough have matched.
    Time,
}

impl Way {
    fn is_by_blocks(self) -> bool {
        matches!(self, Self::Text | Self::Flow | Self::Class | Self::Seen)
    }
}

fn find(database: &Connection, query: &Query) -> rusqlite::Result<Vec<Hit>> {
    let total: i64 =
        database.query_row("SELECT coalesce(sum(taken), 0) FROM writers", [], |row| row.get(0))?;
    let most = total / WIDE + 1_000;
    let mut chooser = Chooser { database, clause: Where::default(), most };
    let chosen = [
        chooser.texts(query)?,
        chooser.flows(query)?,
        chooser.classes(query)?,
        chooser.seen(query)?,
    ];
    let mut clause = chooser.clause;
    let kinds = kinds(query);
    // Where a policy has decided, these came of it.
    let by_policy = query.verdict.is_empty() && !query.policy.is_empty();
    let verdicts: &[Verdict] = if by_policy { &DECIDED_TO } else { &query.verdict };
    let verdicts: Vec<i64> = verdicts.iter().map(|verdict| i64::from(verdict.code())).collect();
    let rare = !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict > 1)
        || !query.sqlstate.is_empty()
        || !kinds.is_empty() && (kinds.iter().all(|k| *k >= 40) || kinds.iter().all(|k| *k < 32));
    // A narrow choice is looked up; a wide one filters what is gone through.
    let narrowest = chosen
        .iter()
        .flatten()
        .filter_map(|chosen| Some((chosen.way, chosen.uses?)))
        .min_by_key(|(_, uses)| *uses);
    let way = narrowest.map_or(if rare { Way::Rare } else { Way::Time }, |(way, _)| way);
    clause.parts.extend(chosen.into_iter().flatten().map(|chosen| chosen.test));
    let plus = if way.is_by_blocks() { "+" } else { "" };
    let times = [(query.since, ">="), (query.until, "<")];
    let row_at = |at: u64| i64::try_from(at.min(u64::MAX >> 13) << 12).unwrap_or(i64::MAX);
    for (at, sign) in times.into_iter().filter_map(|(at, sign)| Some((at?, sign))) {
        clause.any(&[row_at(at)], |value| format!("{plus}records.id {sign} {value}"));
    }
    let plus = if way == Way::Rare { "" } else { "+" };
    clause.any(&verdicts, |value| format!("{plus}records.verdict = {value}"));
    // There are few lists of policies, and each is told once.
    let policies = clause.each(&query.policy, |value| {
        format!("instr({DECIDED}, char(10) || {value} || char(10)) > 0")
    });
    if let Some(policies) = policies {
        let lists = format!("SELECT id FROM {SPOKEN} WHERE {policies}");
        clause.parts.push(format!("+records.policies IN ({lists})"));
    }
    clause.any(&query.sqlstate, |value| format!("{plus}records.sqlstate = {value}"));
    clause.any(&kinds, |value| format!("{plus}records.kind = {value}"));
    if way == Way::Rare {
        // So that the indexes of these are seen to fit.
        if !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict > 1) {
            clause.parts.push("records.verdict > 1".into());
        }
        if !kinds.is_empty() && kinds.iter().all(|kind| *kind >= 40) {
            clause.parts.push("records.kind >= 40".into());
        } else if !kinds.is_empty() && kinds.iter().all(|kind| *kind < 32) {
            clause.parts.push("records.kind < 32".into());
        }
    }
    let order = if query.oldest { "ASC" } else { "DESC" };
    let from = if way.is_by_blocks() {
        let of = |at: Option<u64>, else_at| at.map_or(else_at, |at| row_at(at) >> BLOCK);
        choose_blocks(database, way, of(query.since, 0), of(query.until, i64::MAX >> BLOCK))?;
        format!(
            "temp.blocks CROSS JOIN records
             WHERE records.id >= first << {BLOCK} AND records.id < (last + 1) << {BLOCK} AND {}
             ORDER BY first {order}, records.id {order}",
            clause.text()
        )
    } else {
        format!("records WHERE {} ORDER BY id {order}", clause.text())
    };
    let sql = format!(
        "SELECT records.id, writer, position, kind, texts_told.json, verdict, ended, sqlstate,
         places.database, places.role, flows_told.json, processes_told.json, cells, seen, would,
         (SELECT phrase FROM phrases WHERE phrases.id = records.policies)
         FROM (SELECT records.* FROM {from} LIMIT {}) AS records
         LEFT JOIN texts_told ON texts_told.id = records.text
         LEFT JOIN flows ON flows.id = records.flow LEFT JOIN flows_told ON flows_told.id = flows.id
         LEFT JOIN places ON places.id = flows.place
         LEFT JOIN processes_told ON processes_told.id = flows.process ORDER BY records.id {order}",
        query.limit
    );
    let mut statement = database.prepare(&sql)?;
    // Those of a choice that was gathered stand behind it no more.
    let values = clause.values.into_iter().take(statement.parameter_count());
    let hits = statement.query_map(params_from_iter(values), hit)?;
    hits.collect()
}

fn hit(row: &Row<'_>) -> rusqlite::Result<Hit> {
    let id = |position: i64| -> rusqlite::Result<RecordId> {
        let writer: i64 = row.get(1)?;
        Ok(RecordId { writer: writer.cast_unsigned(), position: position.cast_unsigned() })
    };
    let at: i64 = row.get(0)?;
    let kind: u8 = row.get(3)?;
    let json = |column: usize| -> rusqlite::Result<Option<Value>> {
        Ok(row.get::<_, Option<String>>(column)?.map(|json| parsed(&json)))
    };
    let ended: Option<Vec<u8>> = row.get(6)?;
    let cells: Option<String> = row.get(12)?;
    let seen: Option<String> = row.get(13)?;
    let would: Option<String> = row.get(14)?;
    let record = id(row.get(2)?)?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let ended = ended.as_deref().and_then(Ended::from_bytes);
    let times = ended.map(|ended| ended.times).filter(|times| *times > 0);
    let outcome = match ended {
        Some(ended) => Some(Outcome {
            record: RecordId { position: record.position.saturating_add(ended.after), ..record },
            ending: Ending::from_code(ended.ending).map(Ending::word),
            rows: number(ended.rows),
            latency_us: number(ended.latency_us),
            bytes: number(ended.bytes),
            sqlstate: row.get(7)?,
            tag: None,
            masked: counts(cells.as_deref().unwrap_or_default()),
            seen: counts(seen.as_deref().unwrap_or_default()),
            would_mask: counts(would.as_deref().unwrap_or_default()),
        }),
        None => None,
    };
    let policies: Option<String> = row.get(15)?;
    let (decided, flagged) = parted(policies.as_deref().unwrap_or_default());
    Ok(Hit {
        schema: render::SCHEMA,
        record,
        kind: KINDS.iter().find(|(known, _)| *known == kind).map_or("unknown", |(_, word)| word),
        at: render::time((at >> 12).cast_unsigned()),
        statement: json(4)?,
        verdict: row.get::<_, Option<u8>>(5)?.and_then(Verdict::from_code).map(Verdict::word),
        policies: decided,
        flagged,
        times,
        outcome,
        database: row.get(8)?,
        role: row.get(9)?,
        flow: json(10)?,
        process: json(11)?,
        facts: None,
    })
}

/// The policies that decided, and those that had something to say.
fn parted(list: &str) -> (Vec<String>, Vec<String>) {
    let mut lines = list.lines().map(ToOwned::to_owned);
    let decided = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    (decided, lines.collect())
}

fn kinds(query: &Query) -> Vec<i64> {
    let known = |word: &String| KINDS.iter().find(|(_, known)| known == word);
    query.kinds.iter().filter_map(known).map(|(code, _)| i64::from(*code)).collect()
}

/// Lists of policies, a line each; behind an empty one are those that only had something
/// to say.
const SPOKEN: &str =
    "(SELECT id, char(10) || phrase || char(10) || char(10) AS lines FROM phrases)";
const DECIDED_TO: [Verdict; 5] =
    [Verdict::Refused, Verdict::Held, Verdict::WouldRefuse, Verdict::WouldHold, Verdict::Approved];
const DECIDED: &str = "substr(lines, 1, instr(lines, char(10) || char(10)))";
const MOST_NAMESAKES: usize = 10;
/// A choice that stands for more than one in so many records isn't looked up.
const WIDE: i64 = 100;
