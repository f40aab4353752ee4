//! Reads every `*.sql` file of the folders it is given, statement by statement, and
//! prints how much of it is understood: the table in ARCHITECTURE.md.
//!
//! `--doubts` names what isn't understood. `--reads` prints, instead of the table,
//! the statements that are judged pure reads, as a script that lets a server say for
//! each whether it wrote (`t`) or not (`f`).
//!
//! `cargo run --release --example sql_corpus -- [--doubts | --reads] FOLDER…`

use std::collections::BTreeMap;
use std::path::PathBuf;

use tidegate::sql::facts::Note;
use tidegate::sql::{Cell, Doubt, LexingState, Verb, cell};

fn main() -> anyhow::Result<()> {
    let (options, folders): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let show = options.iter().any(|option| option == "--doubts");
    let reads = options.iter().any(|option| option == "--reads");
    let cell = Cell::start(cell::Settings::default())?;
    let state = LexingState { server_major: Some(18), ..LexingState::default() };
    if !reads {
        println!("{:<44} {:>10} {:>8} {:>10}", "folder", "statements", "parsed", "understood");
    }
    for folder in folders {
        let mut counts = Counts::default();
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&folder)?.map(|e| Ok(e?.path())).collect::<anyhow::Result<_>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "sql")) {
            let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
            for statement in split(&text) {
                if reads {
                    ask(&cell, &state, &statement);
                    continue;
                }
                counts.add(&cell, &state, &statement, show);
            }
        }
        if reads {
            continue;
        }
        println!(
            "{folder:<44} {:>10} {:>7.1}% {:>9.1}%",
            counts.all,
            percent(counts.parsed, counts.all),
            percent(counts.understood, counts.all)
        );
        for (doubt, count) in counts.doubts {
            println!("    {count:>6} {doubt}");
        }
    }
    Ok(())
}

/// Row locks take a transaction's id too, and so do sequences; neither is a write.
fn ask(cell: &Cell, state: &LexingState, text: &str) {
    let facts = cell.read(text.as_bytes(), state);
    let locks = |note: &Note| *note == Note::RowLocks;
    let query = facts.running().all(|statement| {
        matches!(statement.verb, Verb::Select | Verb::Values | Verb::Explain)
            && !statement.notes.iter().any(locks)
            && !statement.calls.iter().any(|call| &*call.name == "nextval")
    });
    if facts.understood() && facts.effects().is_pure_read() && query {
        let tag = text.trim().replace(['\n', '\''], " ");
        println!(
            "begin;\n{}\nselect 'WROTE', pg_current_xact_id_if_assigned() is not null, '{tag}';\nrollback;",
            text.trim()
        );
    }
}

#[derive(Default)]
struct Counts {
    all: usize,
    parsed: usize,
    understood: usize,
    doubts: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, cell: &Cell, state: &LexingState, text: &str, show: bool) {
        let facts = cell.read(text.as_bytes(), state);
        self.all += 1;
        self.parsed += usize::from(
            facts.statements.iter().all(|s| s.verb != Verb::Unknown || s.later_of.is_some()),
        );
        self.understood += usize::from(facts.understood());
        for doubt in facts.running().flat_map(|statement| &statement.doubts) {
            let name = match doubt {
                Doubt::Unparsable(_) => "unparsable".into(),
                Doubt::Kind(kind) => format!("kind {kind}"),
                other => format!("{other:?}"),
            };
            if show && !matches!(doubt, Doubt::Body(_) | Doubt::Dynamic) {
                println!("{doubt:?}: {}", text.trim().chars().take(160).collect::<String>());
            }
            *self.doubts.entry(name).or_default() += 1;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of statements")]
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// As psql would send them: without its own commands, inline COPY data and empty
/// statements.
fn split(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut data = false;
    for line in text.lines() {
        if data {
            data = line != "\\.";
            continue;
        }
        if line.trim_start().starts_with('\\') {
            current.clear();
            continue;
        }
        current.push_str(line);
        current.push('\n');
        if !line.contains(';') {
            continue;
        }
        while let Some(end) = end_of_statement(&current) {
            let rest = current.split_off(end);
            let lower = current.to_lowercase();
            data |= lower.contains("copy ") && lower.contains("from stdin");
            if current.trim() != ";" {
                statements.push(std::mem::replace(&mut current, rest));
            } else {
                current = rest;
            }
        }
    }
    statements
}

/// Just past the first semicolon that ends a statement.
fn end_of_statement(text: &str) -> Option<usize> {
    let (mut depth, mut atomic) = (0_i32, 0_i32);
    let mut before = String::new();
    for (token, end) in tidegate::sql::tokens(text) {
        match token {
            "(" => depth += 1,
            ")" => depth -= 1,
            ";" if depth <= 0 && atomic <= 0 => return Some(end),
            word if word.eq_ignore_ascii_case("atomic") && before == "begin" => atomic += 1,
            word if atomic > 0 && word.eq_ignore_ascii_case("case") => atomic += 1,
            word if atomic > 0 && word.eq_ignore_ascii_case("end") => atomic -= 1,
            _ => {}
        }
        before = token.to_lowercase();
        // An open string or comment: more lines are needed.
        if end == text.len() && !text.ends_with(['\n', ';']) {
            return None;
        }
    }
    None
}
