//! `tidegate audit search`.

use std::io::Write;

use clap::Args;

use super::moment::{Moment, moment, span};
use super::{Where, index_failure, page};
use crate::audit::index::{Born, Index};
use crate::audit::record::KINDS;
use crate::audit::search::Query;
use crate::audit::{Folder, Verdict};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{self, Format, Page};
use crate::model::Kind;

/// Finds statements, and what else was recorded, by who, what, where and when
///
/// Filters of different kinds must all match; of one kind, given several times,
/// any.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Search {
    /// Words in the statement, or names of what it touches
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Only what happened since: `7d` ago, `yesterday`, or a time such as 2026-11-21 or
    /// 2026-11-21T10:00:00Z (UTC where no zone is named)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Moment>,
    /// Only what happened before
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Moment>,
    /// Only of this user, by name or uid, or of this person
    #[arg(long, value_name = "NAME|UID")]
    user: Vec<String>,
    /// Only of this program: its path, its file's name, or what it calls itself
    #[arg(long, value_name = "PATH|NAME")]
    exe: Vec<String>,
    /// Only of this systemd unit, with or without `.service`
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,
    /// Only of this container: its id, or how it begins
    #[arg(long, value_name = "ID")]
    container: Vec<String>,
    /// Only of this pod: its name, with or without its namespace (`shop/web-1`), or how
    /// its uid begins
    #[arg(long, value_name = "NAME|UID")]
    pod: Vec<String>,
    /// Only of this AI agent or actor
    #[arg(long, value_name = "NAME")]
    agent: Vec<String>,
    /// Only of this kind of actor: `terminal`, `agent`, `service` …
    #[arg(long, value_name = "KIND", value_parser = actor)]
    actor: Vec<Kind>,
    /// Only of processes with these words in their command line, their program's or
    /// their script's name
    #[arg(long, value_name = "WORDS")]
    command: Vec<String>,
    /// Only of this process; `PID@START` (`process.key.started` of its records) where the
    /// number was given again
    #[arg(long, value_name = "PID[@START]")]
    process: Vec<Born>,
    /// Only of this process and what descends from it
    #[arg(long, value_name = "PID[@START]")]
    tree: Vec<Born>,
    /// Only in this database: its name, or its destination
    #[arg(long, value_name = "NAME|DESTINATION")]
    db: Vec<String>,
    /// Only under this database role
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Only what touches this table, with or without its schema
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// Only what touches this column, with or without its table
    #[arg(long, value_name = "COLUMN")]
    column: Vec<String>,
    /// Only what touched this class, such as `email`, was masked for it, or showed it
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// Only what showed values of this class in the clear
    #[arg(long, value_name = "CLASS")]
    seen: Vec<String>,
    /// Only what names this trace in a comment: its id, or a whole `traceparent`
    #[arg(long, value_name = "ID")]
    trace: Vec<String>,
    /// Only what was judged so: `refused`, `held`, `would_refuse` …
    #[arg(long, value_name = "VERDICT", value_parser = verdict)]
    verdict: Vec<Verdict>,
    /// Only what this policy decided, such as `default/drop`
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// Only what failed with this SQLSTATE
    #[arg(long, value_name = "CODE")]
    sqlstate: Vec<String>,
    /// Only records of this kind: `statement`, `opened`, `session`, `agent` …
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<String>,
    /// Only the first that matches
    #[arg(long)]
    first: bool,
    /// The oldest first, instead of the newest
    #[arg(long)]
    oldest: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = count)]
    limit: usize,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Where,
}

const EXAMPLES: &str = "\
Examples:
  tidegate audit search customers --since 7d     statements that speak of customers
  tidegate audit search --seen email --since 7d  who saw e-mail addresses
  tidegate audit search --table orders --first   the first touch of a table
  tidegate audit search --tree 4242              all statements of a process tree
  tidegate audit search --trace 4bf92f3577b34da6a3ce929d0e0e4736
  tidegate audit search --verdict refused -o json";

fn kind(text: &str) -> Result<String, String> {
    let events = KINDS.iter().filter(|(code, _)| *code >= FIRST_EVENT);
    let mut known: Vec<&str> = Vec::new();
    for (_, word) in events {
        if !known.contains(word) {
            known.push(word);
        }
    }
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no kind: {}", known.join(", ")))
}

/// Those before are told once, for others to refer to.
const FIRST_EVENT: u8 = 16;

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it is at least 1: with 0 nothing would be told".into()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("`{text}` is no count")),
    }
}

fn actor(text: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
        format!("`{text}` is no kind of actor: {}", known.join(", "))
    })
}

fn verdict(text: &str) -> Result<Verdict, String> {
    Verdict::from_word(text).ok_or_else(|| {
        let known: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.word()).collect();
        format!("`{text}` is no verdict: {}", known.join(", "))
    })
}

/// An index with what was written until now, whoever has built it so far. Where none
/// can be written, because the disk is full, say, the log is searched all the same.
fn up_to_date(folder: &Folder) -> Result<Index, Failure> {
    let (index, why) = match Index::open(folder) {
        Ok(mut index) => match index.catch_up(&mut || true) {
            Ok(_) => return Ok(index),
            Err(error) => (Some(index), error),
        },
        Err(error) => (None, error),
    };
    if !why.is_of_the_index() {
        return Err(index_failure(why));
    }
    if let Some(mut aside) = Index::aside(folder).map_err(index_failure)? {
        aside.catch_up(&mut || true).map_err(index_failure)?;
        return Ok(aside);
    }
    let Some(index) = index else { return Err(index_failure(why)) };
    crate::cli::say(&format!("what came last is not found: {why}"));
    Ok(index)
}

impl Search {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        // What can't be asked is no reading.
        span(self.since, self.until)?;
        let folder = self.place.folder()?;
        let form = self.output;
        self.place.tell(&folder);
        super::become_owner(&folder)?;
        let query = self.query()?;
        let index = up_to_date(&folder)?;
        for told in index.ambiguous(&query).map_err(index_failure)? {
            crate::cli::say(&told);
        }
        let hits = index.search(&query).map_err(index_failure)?;
        match form {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                page::hits(&mut out, Page::of_stdout(), form == Format::Wide, &hits)?;
                out.flush()?;
                if hits.len() == query.limit && query.limit > 1 {
                    crate::cli::say(&format!(
                        "the {} {} are shown: `--limit` shows more",
                        if query.oldest { "first" } else { "last" },
                        query.limit
                    ));
                } else if hits.is_empty() {
                    crate::cli::say("nothing was found");
                }
            }
            Format::Jsonl => {
                let mut out = output::stdout();
                for hit in &hits {
                    writeln!(out, "{}", output::compact(hit)?)?;
                }
                out.flush()?;
            }
            machine => output::document(machine, &hits)?,
        }
        Ok(Exit::Ok)
    }

    fn query(self) -> Result<Query, Failure> {
        let (since, until) = span(self.since, self.until)?;
        Ok(Query {
            words: (!self.words.is_empty()).then(|| self.words.join(" ")),
            since,
            until,
            kinds: self.kind,
            user: self.user,
            exe: self.exe,
            unit: self.unit,
            container: self.container,
            pod: self.pod,
            agent: self.agent,
            actor: self.actor,
            command: self.command,
            process: self.process,
            tree: self.tree,
            database: self.db,
            role: self.role,
            table: self.table,
            column: self.column,
            class: self.class,
            trace: self.trace,
            seen: self.seen,
            verdict: self.verdict,
            policy: self.policy,
            sqlstate: self.sqlstate,
            oldest: self.oldest || self.first,
            limit: if self.first { 1 } else { self.limit },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_is_no_count() {
        assert_eq!(count("1"), Ok(1));
        assert!(count("0").unwrap_err().contains("at least 1"));
        assert!(count("x").unwrap_err().contains("`x` is no count"));
    }
}
