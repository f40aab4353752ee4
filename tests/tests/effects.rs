//! What statements do, as the facts have it and as a server does it: PostgreSQL's own
//! regression SQL, statement by statement, effect by effect. Nothing is done that the
//! facts don't name, but for what [`excuses`] gives a reason for; and nothing that
//! changed something was judged a pure read.
//!
//! A statement that no transaction is open for gets one of its own, so that the server
//! can be asked what it did before that is over. What refuses to run in one
//! (VACUUM, CREATE DATABASE …) is only seen to have changed something, by the number
//! that a change costs a server that nobody else uses.

#[path = "effects/deeds.rs"]
mod deeds;
#[path = "effects/excuses.rs"]
mod excuses;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use deeds::{Deed, Found, Watch};
use tidegate::model::{ActorKind, Principal, Timestamp};
use tidegate::policy::vocabulary::Action;
use tidegate::policy::{Circumstances, NoCatalog, Question, Scene, Set, Subject, Target};
use tidegate::sql::facts::{Note, ObjectKind, Statement, Verb};
use tidegate::sql::{Cell, Effect, Effects, Encoding, Facts, LexingState, Strings, cell};
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
    /// Done, and not among the facts' effects.
    missed: Vec<String>,
    /// … with a reason.
    excused: BTreeMap<&'static str, usize>,
    /// … by those that may do anything.
    anything: usize,
    /// Deeds that the facts named, by effect; and effects that they named without a deed.
    named: BTreeMap<String, usize>,
    beyond: BTreeMap<String, usize>,
    /// Could not be run in a transaction, or ended it.
    unseen: usize,
}

impl Figures {
    /// What was done against what the facts say would be.
    fn compare(
        &mut self,
        name: &str,
        text: &str,
        (facts, judged): (&Facts, Effects),
        (changed, deeds): (bool, &[Deed]),
        session: &mut Session,
    ) -> Result<()> {
        self.accepted += 1;
        let shown = || text.chars().take(300).collect::<String>();
        let read = judged.is_pure_read();
        self.reads += usize::from(read);
        self.changed += usize::from(changed);
        if changed && read && !is_no_change(facts, &session.own) {
            self.wrong.push(format!("{name}: {}", shown()));
        }
        let anything = judged.contains(Effect::Execute) || judged.contains(Effect::Unknown);
        for deed in deeds {
            let named = match deed {
                Deed::Set(setting) => names_setting(facts, setting),
                _ => judged.iter().any(|effect| deed.wanted().contains(effect)),
            };
            let kind = format!("{deed:?}");
            let kind = kind.split('(').next().unwrap_or_default().to_lowercase();
            if named {
                *self.named.entry(kind).or_default() += 1;
            } else if anything {
                self.anything += 1;
            } else if let Some(why) = excuses::excuse(deed, facts, &mut session.connection)? {
                *self.excused.entry(why).or_default() += 1;
            } else {
                self.missed.push(format!("{name}: {deed:?}, judged {judged:?}: {}", shown()));
            }
        }
        for effect in judged.iter().filter(|effect| Deed::SHOWN.contains(*effect)) {
            if !deeds.iter().any(|deed| deed.wanted().contains(effect)) {
                *self.beyond.entry(effect.to_string()).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Whether a setting is among those that a text is known to change.
fn names_setting(facts: &Facts, setting: &str) -> bool {
    let names = |of: &str| of == "*" || of.eq_ignore_ascii_case(setting);
    facts.session().any(|effect| names(&effect.setting))
}

/// Whoever asks the policies, and where.
struct Asks {
    set: Set,
    subject: Subject,
    scene: Scene,
}

impl Asks {
    fn new() -> Result<Self> {
        let actor = Principal {
            kind: ActorKind::Unplaced,
            workload: "regression".into(),
            person: None,
            user: None,
            program: None,
            groups: Vec::new(),
        };
        let target = Target {
            server: "db.example:5432".into(),
            environment: None,
            database: "regression".into(),
            role: "app".into(),
            search_path: None,
            anywhere: false,
            temporary: Vec::new(),
        };
        let set = Set::embedded().map_err(|mistakes| anyhow!("{mistakes}"))?;
        Ok(Self { set, subject: Subject::new(actor), scene: Scene::new(target) })
    }
}

struct Session {
    connection: Connection,
    asks: Asks,
    state: LexingState,
    /// As ReadyForQuery said last.
    rests: u8,
    /// Cursors and prepared statements, and the texts that hold them.
    handles: HashMap<String, Arc<Facts>>,
    /// Its temporary tables.
    own: HashSet<String>,
    watch: Watch,
}

impl Session {
    fn open(postgres: &Postgres, watch: Option<Watch>) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres.port()))?;
        let mut connection = Connection::new(stream, Arc::new(Mutex::new(Tape::default())))?;
        let parameters = [("user", "app"), ("database", "regression")];
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        let said = connection.login("app", "tide")?;
        let state = LexingState { server_major: Some(15), ..LexingState::default() };
        let (handles, own, asks) = (HashMap::new(), HashSet::new(), Asks::new()?);
        let watch = match watch {
            Some(mut watch) => {
                watch.learn(&mut connection)?;
                watch
            }
            None => Watch::new(&mut connection)?,
        };
        let mut session = Self { connection, asks, state, rests: b'I', handles, own, watch };
        for message in &said {
            session.hear(message);
        }
        Ok(session)
    }

    /// Ends it, and waits until the server has cleared away behind it: that takes
    /// numbers too.
    fn leave(self) -> Watch {
        // Whatever was left to say, the end is what counts.
        let _ = self.connection.leave();
        self.watch
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

    /// All that running it may do, by what is known here.
    fn judged(&mut self, facts: &Arc<Facts>) -> Effects {
        let mut judged = Effects::NONE;
        for statement in facts.running() {
            let made = statement.objects.iter().filter(|one| one.temporary);
            self.own.extend(made.map(|one| one.name.to_string()));
            judged.extend(match statement.verb {
                Verb::Execute | Verb::Fetch | Verb::Move => self.asked(statement),
                _ => statement.effects,
            });
            let handle = statement.handle.as_deref();
            if let (Verb::Prepare | Verb::DeclareCursor, Some(handle)) = (statement.verb, handle) {
                self.handles.insert(handle.to_owned(), Arc::clone(facts));
            }
        }
        judged
    }

    /// What policies are asked about one that runs what was prepared.
    fn asked(&self, statement: &Statement) -> Effects {
        let alone = Arc::new(Facts::new(vec![statement.clone()]));
        let known = |one: &Statement| self.handles.get(one.handle.as_deref()?).cloned();
        let prepared: Vec<_> = Set::executes(&alone).map(known).collect();
        let question = Question {
            subject: &self.asks.subject,
            scene: &self.asks.scene,
            facts: &alone,
            prepared: &prepared,
            circumstances: Circumstances::new(Timestamp(0)),
            catalog: &NoCatalog,
        };
        let asked = self.asks.set.asked(&question).into_iter();
        let effects = asked.filter_map(|(action, _)| match action {
            Action::Does(effect) => Some(effect),
            Action::Connect | Action::Reveal => None,
        });
        effects.collect()
    }

    /// Runs a statement and looks what it did. A transaction that was begun for it is
    /// left open, so that the server can be asked more.
    fn observe(&mut self, text: &str, facts: &Facts, data: Option<&str>) -> Result<Seen> {
        const ALONE: &[&str] = &["25001", "2D000", "0A000"];
        if self.rests != b'I' {
            return self.inside(text, facts, data);
        }
        // What the server has counted before goes to others.
        self.play("SELECT pg_catalog.pg_stat_force_next_flush()", None)?;
        if !facts.running().any(|statement| steers(statement.verb)) {
            self.play("BEGIN", None)?;
            self.watch.begin();
            let Some(answer) = self.play(text, data)? else { return Ok(Seen::Ended) };
            if let Some(code) = failed(&answer) {
                self.play("ROLLBACK", None)?;
                self.watch.end(false);
                if !ALONE.contains(&&*code) {
                    return Ok(Seen::Refused);
                }
            } else if self.rests == b'T' {
                let found = self.watch.look(&mut self.connection)?;
                return Ok(Seen::Done(found));
            }
        }
        let Some(answer) = self.play(text, data)? else { return Ok(Seen::Ended) };
        self.watch.begin();
        Ok(if failed(&answer).is_some() {
            Seen::Refused
        } else if self.rests == b'I' {
            Seen::Alone
        } else {
            self.watch.count(&mut self.connection)?;
            Seen::Turned
        })
    }

    /// … in a transaction of the script's own.
    fn inside(&mut self, text: &str, facts: &Facts, data: Option<&str>) -> Result<Seen> {
        let before = self.rests;
        let Some(answer) = self.play(text, data)? else { return Ok(Seen::Ended) };
        if self.rests == b'I' {
            let tag = answer.iter().rev().find(|message| message.kind == b'C');
            let kept = tag.is_some_and(|tag| tag.body.starts_with(b"COMMIT"));
            self.watch.end(kept);
            self.watch.count(&mut self.connection)?;
            return Ok(Seen::Turned);
        }
        if self.rests == b'E' {
            return Ok(Seen::Refused);
        }
        let turns = [Verb::RollbackTo, Verb::ReleaseSavepoint, Verb::Commit, Verb::Rollback];
        let turns = facts.running().any(|statement| turns.contains(&statement.verb));
        if turns || before == b'E' {
            self.watch.learn(&mut self.connection)?;
            return Ok(Seen::Turned);
        }
        Ok(Seen::Done(self.watch.look(&mut self.connection)?))
    }

    /// Ends the transaction that was begun for one statement.
    fn close(&mut self, text: &str, set: bool) -> Result<()> {
        let answer = self.play("COMMIT", None)?.context("the session ended at COMMIT")?;
        self.watch.end(failed(&answer).is_none());
        // SET LOCAL.
        if set {
            self.watch.count(&mut self.connection)?;
        }
        // Tables that go, or are emptied, by themselves.
        if text.to_lowercase().contains("on commit") {
            self.watch.learn(&mut self.connection)?;
        }
        Ok(())
    }

    fn learn_path(&mut self, text: &str) -> Result<()> {
        if text.to_lowercase().contains("search_path") && self.rests != b'E' {
            let path = self.connection.value("SHOW search_path")?;
            self.state.search_path = Some(path.into());
        }
        Ok(())
    }
}

/// What became of a statement.
enum Seen {
    Done(Found),
    /// Not in a transaction.
    Alone,
    Refused,
    /// A transaction has begun or ended with it.
    Turned,
    /// The session, and whatever was open in it.
    Ended,
}

/// What has its own part in transactions, or none outside of one.
fn steers(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Begin
            | Verb::Commit
            | Verb::Rollback
            | Verb::Savepoint
            | Verb::ReleaseSavepoint
            | Verb::RollbackTo
            | Verb::PrepareTransaction
            | Verb::CommitPrepared
            | Verb::RollbackPrepared
            | Verb::SetConstraints
            | Verb::DeclareCursor
            | Verb::Lock
    )
}

/// An error's SQLSTATE.
fn failed(answer: &[Message]) -> Option<String> {
    answer.iter().find(|message| message.kind == b'E')?.field(b'C')
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
    watch: &mut Option<Watch>,
    figures: &mut Figures,
) -> Result<()> {
    let mut session = Session::open(postgres, watch.take())?;
    for (step, index) in steps.iter().zip(0..) {
        let text = match step {
            Step::Statement(text) => text,
            Step::Data(_) => continue,
            Step::Connect => {
                let watch = session.leave();
                session = Session::open(postgres, Some(watch))?;
                continue;
            }
        };
        let data = match steps.get(index + 1) {
            Some(Step::Data(data)) => Some(data.as_str()),
            _ => None,
        };
        figures.statements += 1;
        let facts = Arc::new(cell.read(text.as_bytes(), &session.state));
        let judged = session.judged(&facts);
        let own = session.rests == b'I';
        let was = number(admin)?;
        let seen = session.observe(text, &facts, data)?;
        let (changed, deeds) = match seen {
            Seen::Ended => {
                session = Session::open(postgres, Some(session.watch))?;
                continue;
            }
            Seen::Refused => continue,
            Seen::Turned => {
                session.learn_path(text)?;
                continue;
            }
            Seen::Done(found) => (if own { found.numbered } else { found.wrote }, found.deeds),
            Seen::Alone => {
                figures.unseen += 1;
                let changed = number(admin)? != was;
                if changed {
                    session.watch.learn(&mut session.connection)?;
                }
                (changed, Vec::new())
            }
        };
        figures.compare(name, text, (&facts, judged), (changed, &deeds), &mut session)?;
        if own && session.rests == b'T' {
            session.close(text, deeds.iter().any(|deed| matches!(deed, Deed::Set(_))))?;
        }
        session.learn_path(text)?;
    }
    *watch = Some(session.leave());
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
fn nothing_is_done_that_the_facts_do_not_name() -> Result<()> {
    let setup = Postgres::setup().auth("trust").setting("max_prepared_transactions=10");
    let setup = setup.setting("autovacuum=off").setting("statement_timeout=120s");
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
    postgres.admin("regression", deeds::FUNCTIONS)?;
    let cell = Cell::start(cell::Settings::default())?;
    let mut admin = {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres.port()))?;
        let mut connection = Connection::new(stream, Arc::new(Mutex::new(Tape::default())))?;
        let parameters = [("user", "app"), ("database", "postgres")];
        connection.send(&message::startup(message::PROTOCOL, &parameters))?;
        connection.login("app", "tide")?;
        connection
    };
    let (mut figures, mut watch) = (Figures::default(), None);
    let begun = Instant::now();
    for name in schedule(&folder)? {
        let path = folder.join("sql").join(format!("{name}.sql"));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let steps = steps(&String::from_utf8_lossy(&bytes), &environment);
        let script = (name.as_str(), steps.as_slice());
        play_script(&postgres, &mut admin, &cell, script, &mut watch, &mut figures)
            .with_context(|| format!("in {name}.sql"))?;
    }
    let Figures { statements, accepted, changed, reads, anything, unseen, .. } = figures;
    eprintln!(
        "{statements} statements, {accepted} of them taken by the server, {unseen} of these not \
         in a transaction; {changed} changed something, {reads} were judged pure reads; {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    for (kind, count) in figures.named {
        eprintln!("    {count:>6} × {kind}: named by the facts");
    }
    eprintln!("    {anything:>6} done by what may do anything");
    for (why, count) in figures.excused {
        eprintln!("    {count:>6} not named: {why}");
    }
    for (effect, count) in figures.beyond {
        eprintln!("    {count:>6} named and not done: {effect}");
    }
    let none = |what: &str, cases: &[String]| {
        ensure!(cases.is_empty(), "{} {what}:\n{}", cases.len(), cases.join("\n"));
        Ok(())
    };
    none("times was done what the facts don't name", &figures.missed)?;
    none("pure reads have changed something", &figures.wrong)?;
    ensure!(accepted > 20_000 && changed > 5_000, "too little was played to tell anything");
    Ok(())
}
