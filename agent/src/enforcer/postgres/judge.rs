//! Whether a request may run: its text is read, and the policies are asked.
//!
//! INVARIANT: what runs is judged by the facts of what was prepared, and again
//! each time it runs. What can't be told – which statement a name means, under
//! which settings a text will be read – is judged by the strictest reading.

mod asked;
mod deciding;
mod following;
mod kept;
mod knowing;
mod named;
mod recording;
mod understanding;
mod unsaid;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::deciding::Passing;
pub(super) use self::named::{Named, is_fetch};
use self::recording::{Request, number};
use self::unsaid::Unsaid;
use super::gate::{Granted, Intent, Judged, Recorded, Understood};
use super::holding::{Asking, Holding, Promise, Told, of_portal};
use super::principal::principal;
use super::screening::Knowledge;
use super::settings::{Given, Settings};
use super::streams;
use super::temporary::{Rest, Temporary};
use super::writeback;
use crate::audit::{Connection, LogError};
use crate::enforcer::means::{Destination, Means};
use crate::enforcer::seats::Seats;
use crate::mask::{Catalog, Hand};
use crate::model::code::Code;
use crate::model::{ActorKind, Carried, Flow, Pooling, Trace};
use crate::policy::vocabulary::Fact;
use crate::policy::{Ruling, Scene, Subject, Target, Verdict, Words};
use crate::sql::facts::{Call, CallClass, Facts, Origin, Statement};
use crate::sql::{Encoding, LexingState, Strings};
use crate::wire::postgres::session::{Ending, Naming, Outcome, Refusal, Runs, Session};
use crate::wire::postgres::{Bind, Transaction as Said};
use kept::{Broken, Kept};
use knowing::Knowing;

/// Of one session.
#[derive(Debug)]
pub struct Judge {
    subject: Subject,
    scene: Scene,
    kind: ActorKind,
    /// How its workload is called.
    names: Vec<String>,
    /// Somebody sits at a terminal and can wait.
    terminal: bool,
    /// The approval of the Bind that comes next.
    promised: Option<Promise>,
    /// How the server reads texts, as far as it has said.
    reading: LexingState,
    settings: Settings,
    /// The request that comes next has had its question to the server.
    questioned: bool,
    /// In what the server may read the next text otherwise than it has said.
    unsaid: Unsaid,
    /// What was refused and is in the log: how that ended is recorded too.
    turned_away: VecDeque<(u64, Arc<Recorded>)>,
    temporary: Temporary,
    /// Whether the server's process is this session's alone. `None`: it wasn't asked.
    own: Option<bool>,
    /// Whose the names are that the session gives. `None`: that wasn't asked.
    naming: Option<Naming>,
    /// The operator's word that the process is kept, as long as it counts.
    kept: Option<Kept>,
    /// Why it doesn't any more, for the log.
    broken: Option<Broken>,
    /// What is known of the database, and of code in it that runs under names of the
    /// server's.
    catalog: Arc<Catalog>,
    code: Arc<Code>,
    /// Changes with both.
    generation: u64,
    /// Of the session's knowledge, when that was taken from it.
    edition: u64,
    /// What the catalog adds to the texts that came last.
    knowing: Knowing,
}

/// What is known of a request beside its own frame.
#[derive(Debug, Default)]
pub struct Known<'k> {
    /// What its text was understood as, where it was read elsewhere, under the settings
    /// of [`Judge::reading`] now.
    pub read: Option<Arc<Understood>>,
    /// How far its hold is, where there is one.
    pub held: Option<&'k Holding>,
    /// Of a Parse: the Bind that came behind it.
    pub values: Option<Bind<'k>>,
    /// Its answer will be masked.
    pub masked: bool,
}

/// What comes of a request.
#[derive(Debug)]
pub enum Judgement {
    Release(Granted),
    Refuse(Refusal),
    /// It can't be recorded, and what isn't recorded isn't run.
    Unrecorded(LogError),
    /// The text is too long to be read here: it is to be asked for.
    Read,
    /// Somebody must approve it: that is to be asked for.
    Hold(Box<Asking>, Arc<Ruling>),
    /// It waited, and its client has cancelled it.
    Cancel(Refusal),
    /// It hangs on what only the server can say.
    Ask,
    /// It hangs on what the server is about to say.
    Wait,
}

impl Judge {
    /// `given`: with which settings the client began its session.
    pub fn new(
        flow: &Flow,
        destination: &Destination,
        carried: &Carried,
        given: &Given,
        seats: &Seats,
    ) -> Self {
        let kept = (destination.terms.pooling == Pooling::Session).then(|| Kept::new(seats));
        let subject = Subject::new(principal(flow));
        let kind = subject.actor().kind;
        let settings = Settings::new(carried.role.as_deref().unwrap_or_default(), given);
        let scene = Scene::new(Target {
            server: destination.terms.name.clone(),
            environment: destination.terms.environment.clone(),
            database: carried.database.clone().unwrap_or_default(),
            role: settings.role(),
            search_path: None,
            anywhere: false,
            temporary: Vec::new(),
        });
        Self {
            subject,
            scene,
            kind,
            names: flow.process.names().into_iter().map(str::to_owned).collect(),
            terminal: kind == ActorKind::Terminal && flow.actor.program.terminal.is_some(),
            promised: None,
            reading: LexingState::default(),
            settings,
            questioned: false,
            unsaid: Unsaid::default(),
            turned_away: VecDeque::new(),
            temporary: Temporary::default(),
            own: None,
            naming: None,
            kept,
            broken: None,
            catalog: Arc::default(),
            code: Arc::default(),
            generation: 0,
            edition: 0,
            knowing: Knowing::default(),
        }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The database is known better.
    #[inline]
    pub fn know(&mut self, knowledge: &Knowledge) {
        if self.edition != knowledge.edition() {
            self.edition = knowledge.edition();
            if !Arc::ptr_eq(&self.catalog, knowledge.catalog()) {
                self.catalog = Arc::clone(knowledge.catalog());
                self.knowing.forget();
            }
            (self.code, self.generation) = knowledge.code();
        }
    }

    pub(super) fn code(&self) -> &Code {
        &self.code
    }

    /// Of all that is known.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The server has said something about the session.
    pub fn learn(&mut self, session: &Session<Judged>) {
        let parameters = session.parameters();
        let text =
            |name: &[u8]| parameters.value(name).and_then(|value| str::from_utf8(value).ok());
        self.reading.encoding = match text(b"client_encoding") {
            Some(name) => Encoding::named(name),
            None => Encoding::Overlapping("unknown".into()),
        };
        self.reading.strings = match text(b"standard_conforming_strings") {
            Some("on") => Strings::Standard,
            Some("off") => Strings::Escaping,
            _ => Strings::Uncertain,
        };
        self.reading.server_major = text(b"server_version").and_then(|version| {
            let digits = version.split(|sign: char| !sign.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        self.settings.report(text(b"search_path"), text(b"session_authorization"));
        self.look_up();
    }

    /// Judges one request.
    pub fn judge(
        &mut self,
        runs: &Runs<'_, Judged>,
        serial: u64,
        session: &Session<Judged>,
        means: &Means,
        log: &Connection,
        known: Known<'_>,
    ) -> Judgement {
        let Known { read, held, values, masked } = known;
        let questioned = std::mem::take(&mut self.questioned);
        let Some(statement) = self.statement(runs, means, read) else {
            return Judgement::Read;
        };
        if Named::waits(&statement.facts, session) {
            self.questioned = questioned;
            return Judgement::Wait;
        }
        self.look_up();
        // What only this text puts in doubt, the server can't clear up; nor is it asked for
        // what no policy asks.
        let (set, target) = (&means.policies.set, self.target());
        let was_known = (target.role.known().is_some() || !set.reads_any(Fact::Role))
            && (!target.anywhere || !set.tells_tables());
        // What runs only by being prepared changes nothing yet.
        if !matches!(runs, Runs::Parse(_) | Runs::Bind(..)) {
            self.follow(&statement, serial);
        }
        // One that does nothing but set is judged by what holds until then.
        if !only_sets(&statement.facts) {
            self.look_up();
        }
        let named = Named::of(runs);
        let cursor = named.cursor(&statement, session);
        let of_cursor = || cursor.as_ref()?.permit.pass.as_ref();
        let passes = held.and_then(Holding::passes).or_else(|| of_portal(runs));
        let mut pass = passes.or_else(of_cursor).cloned();
        let lifted = pass.as_ref().map_or(&[][..], |pass| &pass.policies);
        self.know_temporary();
        let carries = match statement.writes {
            true => writeback::brings(&self.hand(means), runs, &statement, session),
            false => Trace::None,
        };
        let bound = match &cursor {
            // What its rows are made of was bound when it was opened.
            Some(cursor) => cursor.permit.values.clone(),
            None => self.values(runs, &statement, means),
        };
        let decide = |judge: &Self, lifted: &[String]| {
            let passing = Passing { lifted, carries, values: bound.as_deref(), named };
            judge.decide(&statement, session, means, passing)
        };
        let mut verdict = decide(self, lifted);
        let may_ask = !questioned && can_be_asked(session);
        let was_known = was_known && !verdict.ruling().hangs_on_path;
        if !was_known && may_ask && !matches!(verdict, Verdict::Allow(_)) {
            self.questioned = true;
            self.settings.take_back(serial);
            return Judgement::Ask;
        }
        // It was for the request that came next.
        let promised = self.promised.take();
        let request = Request { runs, serial, statement: &statement, session, means, log };
        if let Some((holding, refused)) = held.and_then(|held| Some((held, held.refused()?))) {
            let judgement = |record| holding.judgement(refused, record);
            return self.refuse(&request, &verdict, refused.told(), judgement);
        }
        if masked
            && session.is_replication()
            && matches!(verdict, Verdict::Allow(_))
            && matches!(runs, Runs::Query(text) if streams::is_command(text))
        {
            let judgement = |record| Judgement::Refuse(streams::refusal().refusal(record));
            return self.refuse(&request, &verdict, Told::refused(), judgement);
        }
        if let (Runs::Parse(_), true) = (runs, verdict.ruling().awaits_values())
            && let Some(permit) = verdict.to_prepare(&statement.facts)
        {
            let (intent, behind) = (Intent::Prepares, named.behind(&statement, session));
            let values = bound;
            let granted = Granted { permit, statement, behind, intent, pass, carries, values };
            return Judgement::Release(granted);
        }
        let mut unheld = None;
        if verdict.is_liftable() {
            let asking = self.asking(runs, &statement, &verdict, session, values);
            // Parsed by the server it harms nobody. Its values come with the Bind,
            // which waits if nothing was begun before; where both come at once,
            // that is now.
            if let (Runs::Parse(_), Some(permit)) = (runs, verdict.to_prepare(&statement.facts))
                && !asking.as_ref().is_ok_and(|asking| asking.waits)
            {
                let (intent, behind) = (Intent::Prepares, named.behind(&statement, session));
                return Judgement::Release(Granted {
                    permit,
                    statement,
                    behind,
                    intent,
                    pass,
                    carries,
                    values: bound,
                });
            }
            match asking {
                Ok(asking) => match promised.filter(|promised| promised.asked == asking.asked) {
                    Some(promised) => {
                        verdict = decide(self, &promised.pass.policies);
                        pass = Some(promised.pass);
                    }
                    // Whoever waits is to know for how long it may.
                    None if asking.waits && self.patience().is_none() && may_ask => {
                        self.questioned = true;
                        self.settings.take_back(serial);
                        return Judgement::Ask;
                    }
                    None => {
                        self.settings.take_back(serial);
                        return Judgement::Hold(Box::new(asking), Arc::clone(verdict.ruling()));
                    }
                },
                Err(why) => unheld = Some(format!("an approval could lift this, but {why}")),
            }
        }
        if let (Runs::Parse(_), Some(held), Some(pass)) = (runs, held, &pass) {
            self.promised = self.promise(runs, &statement, held, pass, values);
        }
        let told = pass.as_ref().map(|pass| Told::of(pass));
        let told = told.filter(|_| matches!(verdict, Verdict::Allow(_)));
        if !matches!(runs, Runs::Parse(_)) && matches!(verdict, Verdict::Allow(_)) {
            let at_once = !matches!(runs, Runs::Bind(..));
            self.temporary.follow(&statement.facts, serial, at_once);
            self.ran(&statement, named, session);
            if verdict.ruling().meets_code {
                self.met_code();
            }
        }
        let recorded = self.record(&request, &verdict, told);
        if let (Ok(intent), Verdict::Refuse(_) | Verdict::Hold(_)) = (&recorded, &verdict) {
            self.turn_away(serial, intent);
        }
        match recorded {
            Err(error) => Judgement::Unrecorded(error),
            Ok(intent) => {
                let words = match verdict {
                    Verdict::Allow(permit) => {
                        let behind = named.behind(&statement, session);
                        return Judgement::Release(Granted {
                            permit,
                            statement,
                            behind,
                            intent,
                            pass,
                            carries,
                            values: bound,
                        });
                    }
                    Verdict::Refuse(refusal) => refusal.words(),
                    Verdict::Hold(hold) => hold.words(),
                };
                let hint = unheld.or(words.hint.clone());
                Judgement::Refuse(Words { hint, ..words }.refusal(number(&intent)))
            }
        }
    }

    /// A request has ended: what it changed counts from now on.
    pub fn ended(&mut self, outcome: &Outcome<Judged>) {
        let serial = outcome.serial;
        match &outcome.ending {
            Ending::Complete(tag) => {
                self.temporary.completed(serial, outcome.index, tag);
                self.settings.completed(serial, outcome.index, tag);
            }
            Ending::Failed(_) | Ending::Refused(_) | Ending::Skipped | Ending::Lost => {
                self.temporary.ended(serial, true);
                self.settings.ended(serial, true);
            }
            Ending::Accepted | Ending::Answered | Ending::Empty | Ending::Suspended => {
                self.temporary.ended(serial, false);
                self.settings.ended(serial, false);
            }
        }
        self.look_up();
    }

    /// Everything is answered.
    pub fn rests(&mut self, session: &Session<Judged>) {
        let rest = match session.transaction() {
            Said::Idle => Rest::Idle,
            Said::Open => Rest::Open,
            Said::Failed => Rest::Failed,
        };
        self.temporary.rests(rest);
        self.settings.rests(rest);
        self.unsaid.rests(rest);
        self.look_up();
    }

    /// Names count as this session's own tables where they can mean nothing else.
    fn know_temporary(&mut self) {
        let known = &self.scene.target().temporary;
        if known.is_empty() && self.temporary.is_empty() {
            return;
        }
        let plain = |path: &str| !path.to_ascii_lowercase().contains("pg_temp");
        let usable = self.own == Some(true)
            && self.settings.path().is_some()
            && self.reading.search_path.as_deref().is_some_and(plain);
        let names = if usable { self.temporary.names() } else { Vec::new() };
        if *known != names {
            let target = self.scene.target().clone();
            self.scene = Scene::new(Target { temporary: names, ..target });
        }
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.terminal
    }

    /// How long a statement may take here; `None`: nobody can say.
    pub(super) fn patience(&self) -> Option<Option<Duration>> {
        self.settings.timeout()
    }

    pub(super) fn target(&self) -> &Target {
        self.scene.target()
    }

    /// `search_path`, as far as it is known.
    pub(super) fn known_path(&self) -> Option<&str> {
        match self.reading.search_path.as_deref() {
            None => Some("(default)"),
            Some(LOST) => None,
            Some(path) => Some(path),
        }
    }

    /// How masks are written for this client.
    pub(super) fn hand(&self, means: &Means) -> Hand {
        Hand { key: means.marks.clone(), unicode: self.is_unicode() }
    }
}

/// Whether a question of our own does no harm: in a session of replication it would end
/// the transaction, and one that has failed answers nothing.
fn can_be_asked(session: &Session<Judged>) -> bool {
    session.is_quiet() && !session.is_replication() && session.transaction() != Said::Failed
}

/// Whether it is one statement that touches nothing, and runs no code but the server's
/// own: `SELECT set_config('role', $1, true)`.
fn only_sets(facts: &Facts) -> bool {
    let bare = |one: &Statement| {
        let calls = || one.calls.iter();
        one.objects.is_empty() && one.doubts.is_empty() && calls().all(|call| !is_foreign(call))
    };
    facts.running().count() == 1 && facts.running().all(bare)
}

fn is_foreign(call: &Call) -> bool {
    call.origin == Origin::Foreign || call.class == CallClass::Foreign
}

/// A path that no server would show: nothing is known of it.
const LOST: &str = "\"";
