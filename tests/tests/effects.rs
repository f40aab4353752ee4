//! What statements do, as the facts have it and as a server does it: PostgreSQL's own
//! regression SQL, statement by statement. Nothing that changed something was judged a
//! pure read.
//!
//! A change is seen by what it costs a server that nobody else uses: outside of a
//! transaction a number for it (nothing is stored without one), within one the rows
//! that its own counters say were written, the catalogs' included.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tidegate::sql::facts::{Note, ObjectKind, Verb};
use tidegate::sql::{Cell, Encoding, Facts, LexingState, Strings, cell};
use tidegate_tests::agent::target_folder;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::postgres::{Postgres, run};
use tidegate_tests::script::{Step, steps};
use tidegate_tests::wire::tape::Tape;
use tidegate_tests::wire::{Connection, Message, message};

/// What takes a number or writes a row, and changes nothing that others have: each
/// with why. `own`: the session's temporary tables.
fn is_no_change(facts: &Facts, own: &HashSet<String>) -> bool {
    const HARMLESS: &[&str] = &[
        // Sequences move when they are read.
        "nextval",
        "pg_notify",
        // Asks for the number itself.
        "txid_current",
        "pg_current_xact_id",
    ];
    facts.running().all(|statement| {
        let relations = statement.objects.iter().filter(|one| one.kind == ObjectKind::Relation);
        // Locks lie in the rows themselves.
        statement.notes.contains(&Note::RowLocks)
            || statement.calls.iter().any(|call| HARMLESS.contains(&&*call.name))
            // ON COMMIT DELETE ROWS empties what is only read, too.
            || statement.verb == Verb::Select
                && relations.map(|one| own.contains(&*one.name)).reduce(|a, b| a && b) == Some(true)
            || matches!(
                statement.verb,
                // Temporary tables of one's own, and listening.
                Verb::Discard | Verb::Listen | Verb::Unlisten | Verb::Notify | Verb::Lock
                // What was done before, and was judged then, is kept or undone.
                | Verb::ReleaseSavepoint | Verb::RollbackTo
                | Verb::CommitPrepared | Verb::RollbackPrepared
            )
    })
}

#[derive(Default)]
struct Figures {
    statements: usize,
    accepted: usize,
    changed: usize,
    reads: usize,
    /// Judged a pure read, and changed something.
    wrong: Vec<String>,
    /// Of those that changed something, what they were judged.
    judged: BTreeMap<String, usize>,
}

struct Session {
    connection: Connection,
    state: LexingState,
    /// As ReadyForQuery said last.
    rests: u8,
    /// Cursors and prepared statements, and whether what they run is a pure read.
    handles: HashMap<String, bool>,
    /// Its temporary tables.
    own: HashSet<String>,
}

impl Session {
    fn open(postgres: &Postgres) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres.port()))?;
        let mut connection = Connection::new(stream, Arc::new(Mutex::new(Tape::default())))?;
        let parameters = [("user", "app"), ("database", "regression")];
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        let said = connection.login("app", "tide")?;
        let state = LexingState { server_major: Some(15), ..LexingState::default() };
        let (handles, own) = (HashMap::new(), HashSet::new());
        let mut session = Self { connection, state, rests: b'I', handles, own };
        for message in &said {
            session.hear(message);
        }
        Ok(session)
    }

    /// Ends it, and waits until the server has cleared away behind it: that takes
    /// numbers too.
    fn leave(self) {
        // Whatever was left to say, the end is what counts.
        let _ = self.connection.leave();
    }

    fn hear(&mut self, message: &Message) {
        match message.kind {
            b'Z' => self.rests = message.body.first().copied().unwrap_or_default(),
            b'S' => {
                let mut parts = message.body.split(|byte| *byte == 0);
                let (name, value) = (parts.next().unwrap_or_default(), parts.next());
                let value = String::from_utf8_lossy(value.unwrap_or_default());
                match name {
                    b"client_encoding" => self.state.encoding = Encoding::named(&value),
                    b"standard_conforming_strings" => {
                        let on = value == "on";
                        self.state.strings = if on { Strings::Standard } else { Strings::Escaping };
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Sends one text, with the data that its COPY takes. `None`: the session ended.
    fn play(&mut self, text: &str, data: Option<&str>) -> Result<Option<Vec<Message>>> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.retain(|byte| *byte != 0);
        self.connection.send(&message::typed(b'Q', &[bytes.as_slice(), &[0]].concat()))?;
        let mut all = Vec::new();
        loop {
            let Some(next) = self.connection.receive()? else { return Ok(None) };
            if next.kind == b'G' {
                let data = data.unwrap_or_default();
                let sent = [message::copy_data(data.as_bytes()), message::copy_done()].concat();
                self.connection.send(&sent)?;
            }
            self.hear(&next);
            let over = next.kind == b'Z';
            if !matches!(next.kind, b'D' | b'd') {
                all.push(next);
            }
            if over {
                return Ok(Some(all));
            }
        }
    }

    /// Rows that this session's transaction has written so far.
    fn written(&mut self) -> Result<Option<String>> {
        const WRITTEN: &str = "SELECT sum(pg_catalog.pg_stat_get_xact_tuples_inserted(oid) \
             + pg_catalog.pg_stat_get_xact_tuples_updated(oid) \
             + pg_catalog.pg_stat_get_xact_tuples_deleted(oid)) FROM pg_catalog.pg_class";
        let said = self.connection.query(WRITTEN)?;
        for message in &said {
            self.hear(message);
        }
        let row = said.iter().find(|message| message.kind == b'D');
        let value = row.map(Message::columns).transpose()?.and_then(|columns| columns[0].clone());
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// Whether all that runs is a pure read, by what is known here.
    fn is_read(&mut self, facts: &Facts) -> bool {
        let mut read = facts.understood() && facts.effects().is_pure_read();
        for statement in facts.running() {
            let made = statement.objects.iter().filter(|one| one.temporary);
            self.own.extend(made.map(|one| one.name.to_string()));
            let Some(handle) = statement.handle.as_deref() else { continue };
            match statement.verb {
                Verb::Prepare | Verb::DeclareCursor => {
                    let pure = facts.statements.iter().all(|one| one.effects.is_pure_read());
                    self.handles.insert(handle.to_owned(), pure);
                }
                Verb::Execute | Verb::Fetch | Verb::Move => {
                    read &= self.handles.get(handle).copied().unwrap_or(false);
                }
                _ => {}
            }
        }
        read
    }
}

fn failed(answer: &[Message]) -> bool {
    answer.iter().any(|message| message.kind == b'E')
}

/// The number that the next change takes.
fn number(admin: &mut Connection) -> Result<String> {
    admin.value("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())")
}

fn play_script(
    postgres: &Postgres,
    admin: &mut Connection,
    cell: &Cell,
    (name, steps): (&str, &[Step]),
    figures: &mut Figures,
) -> Result<()> {
    let mut session = Session::open(postgres)?;
    for (step, index) in steps.iter().zip(0..) {
        let text = match step {
            Step::Statement(text) => text,
            Step::Data(_) => continue,
            Step::Connect => {
                session.leave();
                session = Session::open(postgres)?;
                continue;
            }
        };
        let data = match steps.get(index + 1) {
            Some(Step::Data(data)) => Some(data.as_str()),
            _ => None,
        };
        figures.statements += 1;
        let facts = cell.read(text.as_bytes(), &session.state);
        let read = session.is_read(&facts);
        let before = session.rests;
        let inside = before == b'T';
        let (was, number_was) =
            if inside { (session.written()?, None) } else { (None, Some(number(admin)?)) };
        let Some(answer) = session.play(text, data)? else {
            session = Session::open(postgres)?;
            continue;
        };
        if text.to_lowercase().contains("search_path") && session.rests != b'E' {
            let path = session.connection.value("SHOW search_path")?;
            session.state.search_path = Some(path.into());
        }
        if failed(&answer) || session.rests != before {
            // Undone, or a transaction's beginning or end: others did what it holds.
            continue;
        }
        figures.accepted += 1;
        figures.reads += usize::from(read);
        let changed = match number_was {
            Some(was) => number(admin)? != was,
            None => session.written()? != was,
        };
        if !changed {
            continue;
        }
        figures.changed += 1;
        if read {
            if !is_no_change(&facts, &session.own) {
                let shown: String = text.chars().take(300).collect();
                figures.wrong.push(format!("{name}: {shown}"));
            }
            continue;
        }
        let mut judged: Vec<String> = facts.effects().iter().map(|one| one.to_string()).collect();
        judged.sort();
        *figures.judged.entry(judged.join(" ")).or_default() += 1;
    }
    session.leave();
    Ok(())
}

/// The tests in the order in which their authors run them.
fn schedule(folder: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("parallel_schedule"))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("test:"));
    Ok(lines.flat_map(str::split_whitespace).map(str::to_owned).collect())
}

fn fetched(name: &str) -> Result<PathBuf> {
    let folder = target_folder().join("suites/postgresql").join(name);
    let shown = folder.display();
    ensure!(folder.is_dir(), "{shown} is not there: `cargo xtask test --all` fetches it");
    Ok(folder)
}

#[test]
#[ignore = "long: cargo xtask test --all"]
fn nothing_that_changed_something_was_judged_a_pure_read() -> Result<()> {
    let setup = Postgres::setup().auth("trust").setting("max_prepared_transactions=10");
    let setup = setup.setting("autovacuum=off").setting("statement_timeout=20s");
    let postgres = setup.setting("allow_in_place_tablespaces=on").start()?;
    postgres.admin("postgres", "CREATE DATABASE regression TEMPLATE template0")?;
    // As pg_regress makes it.
    postgres.admin(
        "postgres",
        "ALTER DATABASE regression SET lc_messages TO 'C'; \
         ALTER DATABASE regression SET timezone_abbreviations TO 'Default'; \
         ALTER DATABASE regression SET bytea_output TO 'hex'",
    )?;
    let place = TempFolder::fresh()?;
    let folder = place.path().join("regress");
    run(Command::new("cp").arg("-r").arg(fetched("regress")?).arg(&folder))?;
    let lib = place.path().join("lib");
    run(Command::new("cp").arg("-r").arg(fetched("lib")?).arg(&lib))?;
    std::fs::create_dir_all(folder.join("results"))?;
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(place.path()))?;
    let text = |path: &Path| path.display().to_string();
    let environment = HashMap::from([
        ("PG_ABS_SRCDIR".to_owned(), text(&folder)),
        ("PG_ABS_BUILDDIR".to_owned(), text(&folder)),
        ("PG_LIBDIR".to_owned(), text(&lib)),
        ("PG_DLSUFFIX".to_owned(), ".so".to_owned()),
    ]);
    let cell = Cell::start(cell::Settings::default())?;
    let mut admin = {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres.port()))?;
        let mut connection = Connection::new(stream, Arc::new(Mutex::new(Tape::default())))?;
        let parameters = [("user", "app"), ("database", "postgres")];
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        connection.login("app", "tide")?;
        connection
    };
    let mut figures = Figures::default();
    let begun = Instant::now();
    for name in schedule(&folder)? {
        let path = folder.join("sql").join(format!("{name}.sql"));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let steps = steps(&String::from_utf8_lossy(&bytes), &environment);
        play_script(&postgres, &mut admin, &cell, (&name, &steps), &mut figures)
            .with_context(|| format!("in {name}.sql"))?;
    }
    let Figures { statements, accepted, changed, reads, wrong, judged } = figures;
    eprintln!(
        "{statements} statements, {accepted} accepted by the server in a steady state, {reads} \
         of them judged pure reads; {changed} changed something; {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    for (effects, count) in judged {
        eprintln!("    {count:>6} changed something and were judged {effects}");
    }
    ensure!(
        wrong.is_empty(),
        "{} pure reads have changed something:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    ensure!(accepted > 20_000 && changed > 5_000, "too little was played to tell anything");
    Ok(())
}
