//! What is told once and asked for: which texts, connections and classes, and where in
//! time they occur.

use rusqlite::{Connection, params_from_iter};

use super::clause::Where;
use super::{Query, Way};
use crate::audit::index::{BLOCK, SPAN, unpacked, whose};
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

/// How much of the log a choice of texts or connections stands for.
pub(super) struct Chosen {
    pub uses: i64,
}

/// Fills a table with what was chosen.
fn choose(
    database: &Connection,
    table: &str,
    from: &str,
    clause: Where,
) -> rusqlite::Result<Chosen> {
    database.execute_batch(&format!(
        "CREATE TEMP TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY); DELETE FROM temp.{table}"
    ))?;
    let sql =
        format!("INSERT OR IGNORE INTO temp.{table} SELECT id FROM {from} WHERE {}", clause.text());
    database.prepare(&sql)?.execute(params_from_iter(clause.values))?;
    let sql = format!("SELECT coalesce(sum(uses), 0) FROM {from} WHERE id IN temp.{table}");
    Ok(Chosen { uses: database.query_row(&sql, [], |row| row.get(0))? })
}

/// Texts that touch a class, and answers that were masked for it.
pub(super) fn classes(database: &Connection, query: &Query) -> rusqlite::Result<Option<Chosen>> {
    if query.class.is_empty() {
        return Ok(None);
    }
    let mut touching = Where::default();
    touching.any(&query.class, |value| {
        format!("id IN (SELECT text FROM touched WHERE name = {value} AND what = 2)")
    });
    let texts = choose(database, "class_texts", "texts", touching)?;
    let mut masked = Where::default();
    masked.any(&query.class, |value| {
        format!("id IN (SELECT phrase FROM classes WHERE class = {value})")
    });
    choose(database, "class_phrases", "phrases", masked)?;
    Ok(Some(Chosen { uses: texts.uses + answers(database, "class_phrases")? }))
}

/// Answers in which a class was shown in the clear.
pub(super) fn seen(database: &Connection, query: &Query) -> rusqlite::Result<Option<Chosen>> {
    if query.seen.is_empty() {
        return Ok(None);
    }
    let mut shown = Where::default();
    shown.any(&query.seen, |value| {
        format!("id IN (SELECT phrase FROM classes WHERE class = {value} AND clear = 1)")
    });
    choose(database, "seen_phrases", "phrases", shown)?;
    Ok(Some(Chosen { uses: answers(database, "seen_phrases")? }))
}

/// Counted as far as it matters.
fn answers(database: &Connection, phrases: &str) -> rusqlite::Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM records
         WHERE masked IN (SELECT id FROM temp.{phrases}) LIMIT 200000)"
    );
    database.query_row(&sql, [], |row| row.get(0))
}

/// Each word as it is written; the index has a language of its own.
fn quoted(words: &str) -> String {
    let words = words.split_whitespace();
    let words: Vec<String> =
        words.map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    words.join(" ")
}

pub(super) fn texts(database: &Connection, query: &Query) -> rusqlite::Result<Option<Chosen>> {
    let mut clause = Where::default();
    if let Some(words) = &query.words {
        clause.any(&[quoted(words)], |value| {
            format!("id IN (SELECT rowid FROM words WHERE words MATCH {value})")
        });
    }
    let touched = |names: &[String], what: i64, clause: &mut Where| {
        clause.any(names, |value| {
            format!("id IN (SELECT text FROM touched WHERE name = {value} AND what = {what})")
        });
    };
    touched(&query.table, 0, &mut clause);
    touched(&columns(query), 1, &mut clause);
    let trace =
        |said: &String| TraceContext::read(said).map_or_else(|| said.clone(), |it| it.trace);
    touched(&query.trace.iter().map(trace).collect::<Vec<_>>(), 3, &mut clause);
    if clause.parts.is_empty() {
        return Ok(None);
    }
    choose(database, "texts_wanted", "texts", clause).map(Some)
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

pub(super) fn flows(database: &Connection, query: &Query) -> rusqlite::Result<Option<Chosen>> {
    let mut who = Where::default();
    who.any(&query.user, |value| {
        format!(
            "user = {value} OR uid = CAST({value} AS INTEGER) AND {value} GLOB '[0-9]*'
             OR person = {value} OR {}",
            whose(&["user", "person.user"], &format!("learnt.value = {value}"))
        )
    });
    who.any(&query.exe, |value| {
        format!("exe = {value} OR exe LIKE '%/' || {value} OR comm = {value}")
    });
    who.any(&query.unit, |value| format!("unit = {value} OR unit = {value} || '.service'"));
    who.any(&query.container, |value| format!("substr(container, 1, length({value})) = {value}"));
    who.any(&query.pod, |value| {
        format!(
            "substr(pod, 1, length({value})) = {value} OR pod_name = {value}
             OR namespace || '/' || pod_name = {value} OR {}",
            whose(&["pod_name"], &format!("learnt.value = {value}"))
        )
    });
    let command: Vec<String> = query.command.iter().map(|words| quoted(words)).collect();
    who.any(&command, |value| {
        let learnt = format!(
            "learnt.id IN (SELECT rowid FROM learnt_words WHERE learnt_words MATCH {value})"
        );
        format!(
            "id IN (SELECT rowid FROM process_words WHERE process_words MATCH {value}) OR {}",
            whose(&["image", "container_name", "namespace", "pod_name"], &learnt)
        )
    });
    who.any(&query.agent, |value| format!("agent = {value}"));
    who.born(&query.process, ("tgid", "started"), |is_it| is_it);
    who.born(&query.tree, ("ancestors.tgid", "ancestors.started"), |is_it| {
        format!("id IN (SELECT process FROM ancestors WHERE {is_it})")
    });
    let mut clause = Where::default();
    if !who.parts.is_empty() {
        let chosen = who.text();
        clause.values = who.values;
        clause.parts.push(format!("process IN (SELECT id FROM processes WHERE {chosen})"));
    }
    clause.any(&query.database, |value| {
        format!("database = {value} OR destination = {value} OR rule = {value}")
    });
    clause.any(&query.role, |value| format!("role = {value}"));
    if clause.parts.is_empty() {
        return Ok(None);
    }
    choose(database, "flows_wanted", "flows", clause).map(Some)
}
