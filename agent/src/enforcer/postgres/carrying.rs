//! A session's requests and answers, carried.

use std::sync::Arc;

use super::application::Application;
use super::gate::{Granted, Intent, Judged, Recorded, Understood};
use super::holding::Holding;
use super::judge::{Judge, Judgement, Known};
use super::learning::Learning;
use super::probe::{About, Probe, Probed};
use super::screening::{Counts, Screening};
use super::sights::Viewer;
use super::writeback::Watch;
use super::{Ask, Carriage, Fault, Question, Turn};
use crate::audit::{self, Connection, TransactionEnd};
use crate::enforcer::postgres::opening::Stage;
use crate::enforcer::relay::{Io, Progress, SCRATCH, Side};
use crate::mask::Tally;
use crate::policy::Stance;
use crate::sql::LexingState;
use crate::wire::postgres::session::{
    ClientStep, Ending, Outcome, Refusal, Request, Runs, ServerStep, Session, What,
};
use crate::wire::postgres::{
    Frame, Frontend, Part, Side as WireSide, Span, Splice, Tags, Transaction, WireError,
};

/// A session with all that judges it.
#[derive(Debug)]
pub struct Carrying {
    pub session: Session<Judged>,
    pub judge: Judge,
    /// The request whose text is being read elsewhere, or that waits for an
    /// approval, by its frame.
    pub held: Option<Held>,
    /// What the server is being asked on our own account. Nothing else goes up
    /// meanwhile.
    pub(super) probe: Option<Probe>,
    pub screening: Screening,
    /// The database's catalog is being learnt: requests wait.
    pub(super) learning: Option<Box<Learning>>,
    /// By an account of our own, if there is one: what it is asked.
    pub(super) account: Option<Box<Question>>,
    /// Statements of the transaction that is open.
    statements: u64,
    was_open: bool,
    /// The query of whose statements some have ended already.
    told: u64,
    application: Application,
    /// The COPY whose data are looked at, or will be.
    pub watch: Option<Box<Watch>>,
    /// The client has a part of a message: whatever it hears next, it takes for the rest.
    within: bool,
}

/// A request that waits. Its frame stays where it is, and is taken anew once
/// what it waits for is there.
#[derive(Debug)]
pub struct Held {
    span: Span,
    /// Its text is read elsewhere; by these settings.
    reading: Option<LexingState>,
    understood: Option<Arc<Understood>>,
    hold: Option<Holding>,
}

/// What came of moving one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing to read.
    Idle,
    /// The reader takes no more.
    Blocked,
    /// The budget is spent.
    More,
    /// Its end was reached and all is written.
    Done,
}

const TERMINATE: u8 = b'X';
/// What one direction may move in one turn.
const BUDGET: usize = 4 * SCRATCH;

impl<I: Io> Carriage<I> {
    pub(super) fn carry(&mut self, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        let down = self.carry_down(turn)?;
        if down == Pumped::Done {
            // The server has ended it: there is nobody to talk to.
            self.client.finish();
            self.upstream.finish();
            self.stage = Stage::Over;
            return Ok(if self.client.flush() { self.over() } else { Progress::Wait });
        }
        let up = self.carry_up(turn)?;
        if down == Pumped::More || up == Pumped::More {
            return Ok(Progress::More);
        }
        Ok(Progress::Wait)
    }

    pub(super) fn carry_down(&mut self, turn: &mut Turn<'_>) -> Result<Pumped, Fault> {
        let Stage::Session(carrying) = &mut self.stage else { return Ok(Pumped::Done) };
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let mut budget = BUDGET;
        loop {
            let passed = client
                .pass(&mut self.down, &mut upstream.framer, turn.buffers)
                .map_err(Fault::ClientTls)?;
            if !passed || !client.flush() {
                return Ok(Pumped::Blocked);
            }
            let mut ours = Vec::new();
            carrying.screening.begin(Viewer { judge: &carrying.judge, means: turn.means });
            let answered = loop {
                upstream.framer.allow_pieces(carrying.pieces());
                match upstream.framer.frame() {
                    Ok(Some(frame)) => {
                        let taken = match carrying.learns(&frame, turn) {
                            true => carrying.learn(&frame, &mut ours, turn),
                            false => carrying.answer(&frame, &mut self.down, turn),
                        };
                        if let Err(error) = taken {
                            break Err(error);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error.into()),
                }
            };
            carrying.settle(&self.log);
            if !ours.is_empty() {
                upstream.say(&ours).map_err(Fault::UpstreamTls)?;
                upstream.flush();
            }
            if self.down.is_empty() {
                upstream.framer.consume_framed();
            } else {
                let passed = client
                    .pass(&mut self.down, &mut upstream.framer, turn.buffers)
                    .map_err(Fault::ClientTls)?;
                if !passed && answered.is_ok() {
                    return Ok(Pumped::Blocked);
                }
            }
            answered?;
            if upstream.has_ended() {
                self.note_cut(Side::Upstream);
                return Ok(Pumped::Done);
            }
            if !upstream.leg.readable {
                upstream.rest(turn.buffers);
                return Ok(Pumped::Idle);
            }
            if budget == 0 {
                return Ok(Pumped::More);
            }
            let read = upstream.read(turn.buffers).map_err(Fault::UpstreamTls)?;
            budget = budget.saturating_sub(read);
        }
    }

    pub(super) fn carry_up(&mut self, turn: &mut Turn<'_>) -> Result<Pumped, Fault> {
        let Stage::Session(carrying) = &mut self.stage else { return Ok(Pumped::Done) };
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let mut budget = BUDGET;
        loop {
            if awaits_disk(&self.log, &mut self.awaits_disk, turn.asks) {
                return Ok(Pumped::Blocked);
            }
            let passed = upstream
                .pass(&mut self.up, &mut client.framer, turn.buffers)
                .map_err(Fault::UpstreamTls)?;
            if !passed || !upstream.flush() {
                return Ok(Pumped::Blocked);
            }
            let mut waits = false;
            let mut goes_first = false;
            let mut ours = Vec::new();
            let asked = loop {
                let quiet = !client.framer.has_more() || client.framer.is_within();
                // What nobody waits for (data of a COPY that has failed) lies before it.
                if !quiet && !self.up.is_empty() && carrying.is_to_learn(turn) {
                    goes_first = true;
                    break Ok(());
                }
                if carrying.begins_to_learn(quiet, &mut ours, turn)? {
                    break Ok(());
                }
                if !carrying.takes_client() {
                    if client.leg.has_hung_up() && carrying.give_up(turn.asks) {
                        continue;
                    }
                    waits = true;
                    break Ok(());
                }
                let (tag, part, span) = match client.framer.frame() {
                    Ok(Some(frame)) => (frame.tag, frame.part, frame.span),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                };
                let frame = Frame { tag, part, span, bytes: client.framer.bytes(span) };
                // The values of what is parsed may have come with it.
                let next = if tag == b'P' { client.framer.peek() } else { None };
                match carrying.ask(&frame, next, &mut self.up, &self.log, turn) {
                    Ok(Asked::Sent) => {}
                    Ok(Asked::Later) => {
                        client.framer.put_back(span);
                        waits = true;
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                }
            };
            if !ours.is_empty() {
                upstream.say(&ours).map_err(Fault::UpstreamTls)?;
                upstream.flush();
                return Ok(Pumped::Blocked);
            }
            if awaits_disk(&self.log, &mut self.awaits_disk, turn.asks) {
                asked?;
                return Ok(Pumped::Blocked);
            }
            if self.up.is_empty() {
                client.framer.consume_framed();
            } else {
                let passed = upstream
                    .pass(&mut self.up, &mut client.framer, turn.buffers)
                    .map_err(Fault::UpstreamTls)?;
                if !passed && asked.is_ok() {
                    return Ok(Pumped::Blocked);
                }
            }
            asked?;
            if waits {
                return Ok(Pumped::Blocked);
            }
            if goes_first {
                continue;
            }
            if client.has_ended() {
                carrying.judge.leave_seat();
                upstream.finish();
                self.note_cut(Side::Client);
                return Ok(Pumped::Idle);
            }
            if !client.leg.readable {
                client.rest(turn.buffers);
                return Ok(Pumped::Idle);
            }
            if budget == 0 {
                return Ok(Pumped::More);
            }
            let read = client.read(turn.buffers).map_err(Fault::ClientTls)?;
            budget = budget.saturating_sub(read);
        }
    }

    /// The text that was being read.
    pub(super) fn take_understood(&mut self, understood: Arc<Understood>) {
        if let Stage::Session(carrying) = &mut self.stage
            && let Some(held) = &mut carrying.held
        {
            held.understood = Some(understood);
        }
    }
}

impl Held {
    fn waits(&self) -> bool {
        self.reading.is_some() && self.understood.is_none()
            || self.hold.as_ref().is_some_and(Holding::waits)
    }
}

/// Whether what was judged stays here, since the disk hasn't its records. It is asked for
/// once; where nothing is owed, as by default, this is all that it costs.
///
/// INVARIANT: what the log owes the disk is paid before the server gets what it tells of.
fn awaits_disk(log: &Connection, waits: &mut bool, asks: &mut Vec<Ask>) -> bool {
    if let (false, Some(position)) = (*waits, log.owes()) {
        asks.push(Ask::OnDisk(position));
        *waits = true;
    }
    *waits
}

enum Asked {
    Sent,
    /// The frame is to be taken again.
    Later,
}

impl Carrying {
    pub fn new(
        session: Session<Judged>,
        judge: Judge,
        screening: Screening,
        account: Option<Box<Question>>,
    ) -> Self {
        let mut carrying = Self {
            session,
            judge,
            held: None,
            probe: None,
            screening,
            learning: None,
            account,
            statements: 0,
            was_open: false,
            told: 0,
            application: Application::default(),
            watch: None,
            within: false,
        };
        carrying.hear_parameters();
        carrying
    }

    /// Whether the client would take words of ours for words.
    pub fn hears(&self) -> bool {
        !self.within
    }

    /// The hold of the request that waits.
    pub fn holding_mut(&mut self) -> Option<&mut Holding> {
        self.held.as_mut()?.hold.as_mut()
    }

    fn hear_parameters(&mut self) {
        self.judge.learn(&self.session);
        let parameters = self.session.parameters();
        self.application.hear(parameters.value(b"application_name"));
        self.screening.set_unicode(parameters.unicode());
        self.screening.set_mixed(parameters.mixed());
    }

    fn takes_client(&self) -> bool {
        self.learning.is_none()
            && self.probe.is_none()
            && self.session.takes_client()
            && self.held.as_ref().is_none_or(|held| !held.waits())
    }

    /// Which frames of the server's may come in pieces.
    fn pieces(&self) -> Tags {
        match self.learning {
            Some(_) => Tags::default(),
            None => self.screening.pieces(),
        }
    }

    // ---- answers ------------------------------------------------------------

    #[inline]
    fn answer(
        &mut self,
        frame: &Frame<'_>,
        down: &mut Splice,
        turn: &Turn<'_>,
    ) -> Result<(), Fault> {
        if let Some(probe) = &mut self.probe {
            match probe.take(frame, &turn.means.shared.common.limits) {
                Probed::Theirs => {}
                Probed::Ours => return Ok(()),
                Probed::Over(told) => {
                    let about = probe.about();
                    self.probe = None;
                    self.judge.learn_own(about, told, &mut self.session);
                    return Ok(());
                }
            }
        }
        match self.session.server(frame)? {
            ServerStep::Plain(pass) => {
                self.screening.pass(frame, down)?;
                down.pass(pass);
            }
            ServerStep::Refused(bytes) => down.insert(&bytes),
            ServerStep::Ours => {}
            ServerStep::Shows(shown) => {
                let parameter = shown.what == What::Parameter;
                let viewer = Viewer { judge: &self.judge, means: turn.means };
                self.screening.show(shown, frame, down, viewer)?;
                if parameter {
                    self.hear_parameters();
                }
            }
        }
        // What is written anew for the client is always whole.
        self.within =
            matches!(frame.part, Part::First | Part::Middle) && down.ends_at(frame.span.end());
        Ok(())
    }

    /// Takes note of what has ended.
    fn settle(&mut self, log: &Connection) {
        let mut ended = TransactionEnd::RolledBack;
        for outcome in self.session.outcomes() {
            self.judge.ended(&outcome);
            if let Ending::Complete(tag) = &outcome.ending {
                ended = match &**tag {
                    b"COMMIT" => TransactionEnd::Committed,
                    b"PREPARE TRANSACTION" => TransactionEnd::Prepared,
                    _ => ended,
                };
                self.statements += 1;
            }
            let counts = self.screening.ended(&outcome);
            let turned_away;
            let recorded = match &outcome.permit {
                Some(Granted { intent: Intent::Recorded(recorded), .. }) => recorded,
                Some(_) => continue,
                None => {
                    turned_away = self.judge.turned_away(outcome.serial);
                    let Some(recorded) = &turned_away else { continue };
                    recorded
                }
            };
            let more = std::mem::replace(&mut self.told, outcome.serial) == outcome.serial;
            record(log, recorded, &outcome, more, counts.unwrap_or_default());
        }
        if let Some(why) = self.judge.take_broken() {
            log.doubted(why);
        }
        if let Some(name) = self.application.take() {
            log.renamed(name);
        }
        let open = self.session.transaction() != Transaction::Idle;
        if self.session.is_quiet() {
            self.judge.rests(&self.session);
            if !open {
                self.screening.rests();
            }
        }
        if self.was_open && !open {
            log.transaction(ended, self.statements);
        }
        if !open {
            self.statements = 0;
        }
        self.was_open = open;
    }

    /// The connection is gone: what isn't answered never will be.
    pub fn close(&mut self, log: &Connection) {
        self.screening.leaves(self.session.is_quiet());
        self.session.close();
        let open = self.was_open;
        self.was_open = false;
        self.settle(log);
        if open {
            log.transaction(TransactionEnd::Lost, self.statements);
        }
    }

    fn ask(
        &mut self,
        frame: &Frame<'_>,
        next: Option<Frame<'_>>,
        up: &mut Splice,
        log: &Connection,
        turn: &mut Turn<'_>,
    ) -> Result<Asked, WireError> {
        let Self { session, judge, held, probe, screening, watch, .. } = self;
        judge.heed_seat(session);
        if frame.tag == TERMINATE {
            judge.leave_seat();
        }
        let asks = matches!(frame.tag, b'Q' | b'P' | b'B' | b'E' | b'F' | b'D' | b'C');
        if asks && let Some(about) = judge.asks_server(frame, session, turn.means) {
            // What was sent before has its own end, and a rest behind it.
            if session.is_quiet() {
                let asked = probe.insert(Probe::new(about));
                up.insert(&asked.question());
            }
            return Ok(Asked::Later);
        }
        if session.suspects(frame) {
            if judge.stance(turn.means) == Stance::Enforced {
                if session.is_quiet() {
                    let asked = probe.insert(Probe::new(About::Prepared));
                    up.insert(&asked.question());
                }
                return Ok(Asked::Later);
            }
            session.trust();
        }
        let Request { runs, ticket } = match session.client(frame)? {
            ClientStep::Plain(pass) => {
                self.pass_copied(frame, pass, up, log)?;
                return Ok(Asked::Sent);
            }
            ClientStep::Wait => return Ok(Asked::Later),
            ClientStep::Runs(request) => request,
        };
        let known = held.take().filter(|held| held.span == ticket.span());
        let (read, hold) = known.map_or((None, None), |held| {
            // What was read under other settings means something else now.
            let same = held.reading.is_some_and(|reading| reading == judge.reading());
            (held.understood.filter(|_| same), held.hold)
        });
        let serial = ticket.serial();
        let values = next.and_then(|next| {
            let limits = &turn.means.shared.common.limits;
            match Frontend::decode(next.tag, next.body(), limits) {
                Ok(Frontend::Bind(bind)) => Some(bind),
                _ => None,
            }
        });
        judge.know(screening.knowledge());
        let masked = session.is_replication()
            && screening.masks(Viewer { judge: &*judge, means: turn.means });
        let known = Known { read: read.clone(), held: hold.as_ref(), values, masked };
        match judge.judge(&runs, serial, session, turn.means, log, known) {
            Judgement::Release(granted) => {
                let effects = match &runs {
                    Runs::Query(_) | Runs::Execute(..) => granted.statement.effects.clone(),
                    _ => Default::default(),
                };
                let text = match &runs {
                    Runs::Query(text) => text,
                    Runs::Parse(parse) => parse.query,
                    _ => &[],
                };
                screening.released(&granted, text);
                *watch = judge.watch(&runs, &granted, serial, session, turn.means);
                // Rows that are to be looked at must have been described.
                if let Runs::Execute(execute, Some(portal)) = &runs
                    && portal.value.is_undescribed()
                    && granted.statement.facts.running().any(|one| one.returns.is_some())
                    && !turn.means.policies.is_off()
                {
                    let mut describe = Vec::new();
                    session.describe_portal(execute.portal, &mut describe)?;
                    up.insert(&describe);
                }
                up.pass(session.release(ticket, granted, effects)?);
            }
            Judgement::Refuse(refusal) => {
                let mut made = Vec::new();
                session.refuse(ticket, refusal, &mut made)?;
                up.insert(&made);
            }
            Judgement::Cancel(refusal) => {
                let mut made = Vec::new();
                session.cancel(ticket, refusal, &mut made)?;
                up.insert(&made);
            }
            asked @ (Judgement::Ask | Judgement::Wait) => {
                // What was read of it is still read when it comes again.
                let reading = judge.reading();
                *held = (read.is_some() || hold.is_some()).then(|| Held {
                    span: ticket.span(),
                    reading: read.is_some().then_some(reading),
                    understood: read,
                    hold,
                });
                session.take_back(ticket);
                if matches!(asked, Judgement::Ask) {
                    let asked = probe.insert(Probe::new(judge.about()));
                    up.insert(&asked.question());
                }
                return Ok(Asked::Later);
            }
            Judgement::Hold(asking, ruling) => {
                let hold = Some(Holding::asked(ruling, asking.patience));
                turn.asks.push(Ask::Hold(asking));
                *held = Some(Held { span: ticket.span(), reading: None, understood: None, hold });
                session.take_back(ticket);
                return Ok(Asked::Later);
            }
            Judgement::Unrecorded(error) => {
                let refusal = Refusal {
                    record: "none".into(),
                    message: format!("tidegate: this statement is not run: {error}"),
                    detail: Some(
                        "what can't be recorded is not run on a strict destination".into(),
                    ),
                    hint: Some(
                        "free space for the log, or see `tidegate status` on the host".into(),
                    ),
                };
                let mut made = Vec::new();
                session.refuse(ticket, refusal, &mut made)?;
                up.insert(&made);
            }
            Judgement::Read => {
                let text = match Frontend::decode(
                    frame.tag,
                    frame.body(),
                    &turn.means.shared.common.limits,
                ) {
                    Ok(Frontend::Query(text)) => text,
                    Ok(Frontend::Parse(parse)) => parse.query,
                    Ok(_) => &[],
                    Err(fault) => return Err(WireError::new(WireSide::Client, fault)),
                };
                let reading = judge.reading();
                turn.asks.push(Ask::Read { text: text.into(), reading: reading.clone() });
                *held = Some(Held {
                    span: ticket.span(),
                    reading: Some(reading),
                    understood: None,
                    hold,
                });
                session.take_back(ticket);
                return Ok(Asked::Later);
            }
        }
        Ok(Asked::Sent)
    }
}

/// Puts an end into the log. `more`: an end of this request is there already.
fn record(
    log: &Connection,
    recorded: &Recorded,
    outcome: &Outcome<Judged>,
    more: bool,
    counts: Counts,
) {
    let classes = |tally: &Tally| -> Vec<(&'static str, u64)> {
        tally.iter().map(|(class, count)| (class.as_str(), count)).collect()
    };
    let (masked, seen) = (classes(&counts.masked), classes(&counts.seen));
    let would_mask = classes(&counts.would_mask);
    let (ending, sqlstate, tag) = match &outcome.ending {
        // The Execute's end is the one that counts.
        Ending::Accepted => return,
        Ending::Answered if more => return,
        Ending::Answered => (audit::Ending::Answered, None, None),
        Ending::Complete(tag) => (audit::Ending::Complete, None, str::from_utf8(tag).ok()),
        Ending::Suspended => (audit::Ending::Suspended, None, None),
        Ending::Empty => (audit::Ending::Empty, None, None),
        Ending::Failed(state) => (audit::Ending::Failed, str::from_utf8(state).ok(), None),
        Ending::Refused(state) => (audit::Ending::Refused, Some(*state), None),
        Ending::Skipped => (audit::Ending::Skipped, None, None),
        Ending::Lost => (audit::Ending::Lost, None, None),
    };
    let words = |tag: &'_ str| -> usize {
        tag.find(|sign: char| sign.is_ascii_digit()).unwrap_or(tag.len())
    };
    let shown = tag.and_then(|tag| tag.get(..words(tag))).map(str::trim_end);
    // The server's own count, where it tells one: rows that were changed count too.
    let counted = tag.and_then(|tag| tag.rsplit(' ').next()?.parse().ok());
    log.outcome(
        &recorded.sealed,
        &audit::Outcome {
            index: outcome.index,
            sqlstate,
            tag: shown,
            rows: counted.unwrap_or(outcome.rows),
            bytes: outcome.bytes,
            masked: &masked,
            seen: &seen,
            would_mask: &would_mask,
            latency_us: u64::try_from(recorded.at.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..audit::Outcome::new(ending)
        },
    );
}
