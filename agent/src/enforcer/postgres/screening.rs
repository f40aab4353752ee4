//! What the client sees: every frame of the server's that can show what lies in
//! the database goes through here.
//!
//! ```text
//! frame ─▶ origin ─▶ plan (facts × catalog × policies) ─▶ screen ─▶ client
//! ```
//!
//! A plan is made once for an answer's shape and carried out for each row. For
//! actors in shadow everything is planned and counted, and nothing changed.
//!
//! INVARIANT: what can't be followed counts as sensitive; what can't be masked
//! isn't shown. An answer is shown to its end by the terms under which it began.

use std::sync::Arc;

use super::gate::{Granted, Judged};
use super::sights::Viewer;
use crate::enforcer::catalogs::{Identity, Known};
use crate::enforcer::means::Means;
use crate::mask::postgres::copy::CopyScreen;
use crate::mask::postgres::messages::Care;
use crate::mask::{Class, Hand, Plan, Screen, Screening as Looked, Tally, Unshowable};
use crate::wire::postgres::session::{Origin, Outcome, Shown, What};
use crate::wire::postgres::{Backend, Frame, Part, Splice, Tags};

mod answered;
mod counts;
mod knowledge;
mod plans;

use answered::{Answered, reads_large_objects, style};
pub use counts::Counts;
use counts::{Counted, Place};
pub use knowledge::Knowledge;
use plans::{Made, Plans, Way, care, of_function};

/// Of one session.
#[derive(Debug)]
pub struct Screening {
    knowledge: Knowledge,
    plans: Plans,
    screen: Box<Screen>,
    answer: Option<Answer>,
    copy: Option<Copying>,
    /// As the server announced it: whether it is binary, and its columns.
    announced: Option<(bool, usize)>,
    counted: Counted,
}

/// The rows that are being shown.
#[derive(Debug)]
struct Answer {
    place: Place,
    way: Way,
    made: Made,
    rows: u64,
    /// Of these rows all was looked at.
    looked: u64,
}

/// The stream that is.
#[derive(Debug)]
struct Copying {
    place: Place,
    /// `None`: it is shown as it is.
    masked: Option<(CopyScreen, Plan)>,
}

impl Screening {
    pub fn new(identity: Identity, means: &Means) -> Self {
        let hand = Hand { key: means.marks.clone(), unicode: true };
        Self {
            knowledge: Knowledge::new(identity),
            plans: Plans::default(),
            screen: Box::new(Screen::new(hand)),
            answer: None,
            copy: None,
            announced: None,
            counted: Counted::default(),
        }
    }

    /// Whether the client reads UTF-8.
    pub fn set_unicode(&mut self, unicode: bool) {
        self.screen.set_unicode(unicode);
    }

    /// Whether a sign of the client's encoding may end with the byte of another one.
    pub fn set_mixed(&mut self, mixed: bool) {
        self.screen.set_mixed(mixed);
    }

    // ---- the catalog --------------------------------------------------------

    /// What is known now: another session may have learnt it.
    #[inline]
    pub fn knowledge(&mut self) -> &Knowledge {
        self.knowledge.renew();
        &self.knowledge
    }

    /// Whether the catalog is to be learnt before the next request.
    #[inline]
    pub fn wants_to_learn(&self, viewer: Viewer<'_>) -> bool {
        self.knowledge.wants_to_learn(viewer)
    }

    /// It is being learnt: of which database, as far as is known before.
    pub fn begins_to_learn(&mut self) -> Identity {
        self.knowledge.begins_to_learn()
    }

    pub fn learnt(&mut self, known: Arc<Known>, whole: bool) {
        self.knowledge.learnt(known, whole);
    }

    /// Everything is answered, and no transaction open.
    pub fn rests(&mut self) {
        self.knowledge.rests();
    }

    /// The client is gone, and with `quiet` nothing under way.
    pub fn leaves(&mut self, quiet: bool) {
        self.knowledge.leaves(quiet);
    }

    /// A request is let through.
    pub fn released(&mut self, granted: &Granted, text: &[u8]) {
        self.knowledge.released(granted, text);
    }

    // ---- frames -------------------------------------------------------------

    /// Which frames of the server's may come in pieces.
    pub fn pieces(&self) -> Tags {
        let masks = |way| way == Way::Masked;
        let masked =
            masks(self.plans.way()) || self.answer.as_ref().is_some_and(|answer| masks(answer.way));
        Tags::of(if masked { b"d" } else { b"Dd" })
    }

    /// Some of the server's frames are about to be looked at.
    #[inline]
    pub fn begin(&mut self, viewer: Viewer<'_>) {
        self.plans.begin(viewer);
    }

    /// Whether what this actor is answered from now on is masked.
    pub fn masks(&mut self, viewer: Viewer<'_>) -> bool {
        self.plans.begin(viewer);
        self.plans.way() == Way::Masked
    }

    /// A frame that shows nothing, and may tell how the next ones are to be read.
    pub fn pass(&mut self, frame: &Frame<'_>, down: &mut Splice) -> Result<(), Unshowable> {
        match frame.tag {
            // A rule may have put two statements that answer behind one.
            b'T' => self.end_answer(),
            b'H' => {
                self.copy = None;
                self.announced = match frame.body() {
                    [format, high, low, ..] => {
                        Some((*format != 0, usize::from(u16::from_be_bytes([*high, *low]))))
                    }
                    _ => None,
                };
            }
            b'c' => {
                if let Some(Copying { place, masked: Some((mut copy, plan)) }) = self.copy.take() {
                    let made = copy.end(&mut self.screen, &plan)?;
                    down.insert(made.bytes());
                    self.counted.mask(place, &self.screen.take_tally());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Something that the client would see.
    pub fn show(
        &mut self,
        shown: Shown<'_, Judged>,
        frame: &Frame<'_>,
        down: &mut Splice,
        viewer: Viewer<'_>,
    ) -> Result<(), Unshowable> {
        match shown.what {
            What::Row => self.row(shown, frame, down, viewer),
            What::CopyData => self.copy_data(shown, frame, down, viewer),
            _ => self.message(shown, frame, down, viewer),
        }
    }

    #[inline]
    fn row(
        &mut self,
        shown: Shown<'_, Judged>,
        frame: &Frame<'_>,
        down: &mut Splice,
        viewer: Viewer<'_>,
    ) -> Result<(), Unshowable> {
        let origin = shown.origin.ok_or(Unshowable::Malformed)?;
        let place = place(origin);
        if self.answer.as_ref().is_none_or(|answer| answer.place != place) {
            self.end_answer();
            let way = self.plans.way();
            if way == Way::Open {
                down.pass(shown.unchanged(&self.screen.permitted()));
                return Ok(());
            }
            let made = self.plans.of_rows(origin, frame, &mut self.knowledge, viewer)?;
            self.answer = Some(Answer { place, way, made, rows: 0, looked: 0 });
        }
        let Self { screen, answer: Some(answer), .. } = self else {
            return Err(Unshowable::Malformed);
        };
        if matches!(frame.part, Part::Whole | Part::First) {
            answer.rows += 1;
        }
        let plan = &*answer.made.plan;
        if plan.passes() {
            down.pass(shown.unchanged(&screen.permitted()));
        } else if answer.way == Way::Shadow {
            if frame.part == Part::Whole && answer.looked < LOOKED {
                answer.looked += 1;
                // What can't be masked would have ended the session.
                let _ = screen.row(plan, frame.body());
            }
            down.pass(shown.unchanged(&screen.permitted()));
        } else {
            if frame.part != Part::Whole {
                return Err(Unshowable::Malformed);
            }
            match screen.row(plan, frame.body())? {
                Looked::Unchanged(screened) => down.pass(shown.unchanged(&screened)),
                Looked::Made(made) => down.insert(made.bytes()),
            }
        }
        Ok(())
    }

    fn copy_data(
        &mut self,
        shown: Shown<'_, Judged>,
        frame: &Frame<'_>,
        down: &mut Splice,
        viewer: Viewer<'_>,
    ) -> Result<(), Unshowable> {
        let origin = shown.origin.ok_or(Unshowable::Malformed)?;
        let place = place(origin);
        if self.copy.as_ref().is_none_or(|copy| copy.place != place) {
            let masked = self.begin_copy(origin, viewer)?;
            self.copy = Some(Copying { place, masked });
        }
        let Self { screen, copy, .. } = self;
        let Some(Copying { masked: Some((copy, plan)), .. }) = copy else {
            down.pass(shown.unchanged(&screen.permitted()));
            return Ok(());
        };
        let whole = frame.part == Part::Whole;
        match copy.data(screen, plan, frame.body(), whole)? {
            Looked::Unchanged(screened) => down.pass(shown.unchanged(&screened)),
            Looked::Made(made) => down.insert(made.bytes()),
        }
        Ok(())
    }

    fn begin_copy(
        &mut self,
        origin: Origin<'_, Judged>,
        viewer: Viewer<'_>,
    ) -> Result<Option<(CopyScreen, Plan)>, Unshowable> {
        let way = self.plans.way();
        let announced = self.announced.take();
        let (binary, columns) = match announced {
            _ if way == Way::Open => return Ok(None),
            // What was not announced as a COPY is replication, and so is one without
            // columns that no SQL asked for (a base backup): of it no row can be told.
            Some((_, 0)) if way == Way::Masked && !is_sql(origin) => {
                return Err(Unshowable::Replication);
            }
            Some(announced) => announced,
            None if way == Way::Masked => return Err(Unshowable::Replication),
            None => return Ok(None),
        };
        let plan = self.plans.of_copy(origin, (binary, columns), &mut self.knowledge, viewer);
        if way == Way::Masked {
            return Ok(Some((CopyScreen::new(style(origin, binary)), plan)));
        }
        // A stream is counted by its columns, once: its rows aren't cut.
        let mut shown = Tally::default();
        plan.classes().for_each(|class| shown.add(class));
        self.counted.of(place(origin)).show(&shown, Class::ALL);
        Ok(None)
    }

    /// Errors, notices, notifications, parameters, and what a function gave.
    fn message(
        &mut self,
        shown: Shown<'_, Judged>,
        frame: &Frame<'_>,
        down: &mut Splice,
        viewer: Viewer<'_>,
    ) -> Result<(), Unshowable> {
        let way = self.plans.way();
        if way == Way::Open {
            down.pass(shown.unchanged(&self.screen.permitted()));
            return Ok(());
        }
        let edition = self.knowledge.renew();
        let origin = shown.origin;
        let answered = origin.and_then(Answered::of);
        let care = care(answered, &self.knowledge);
        let rules = self.plans.rules(viewer);
        let limits = &viewer.means.shared.common.limits;
        let message = Backend::decode(frame.tag, frame.body(), limits);
        let looked = match message.map_err(|_| Unshowable::Malformed)? {
            Backend::ErrorResponse(fields) | Backend::NoticeResponse(fields) => {
                let asked = origin.and_then(|origin| origin.text()).map_or(&b""[..], |text| text);
                self.screen.message(frame.tag, fields, care, asked, &rules)?
            }
            Backend::ParameterStatus(parameter) => {
                self.screen.parameter(parameter, care, &rules)?
            }
            Backend::NotificationResponse(notification) => {
                let told = self.knowledge.notifications_told();
                let care = if told { Care::Touches } else { Care::Scan };
                self.screen.notification(notification, care, &rules)?
            }
            Backend::FunctionCallResponse(_) => {
                let known = answered.is_some_and(|answered| {
                    let facts = &answered.granted.statement.facts;
                    let told =
                        edition.large_objects_told && facts.running().any(reads_large_objects);
                    facts.understood() && !told
                });
                self.screen.function_result(frame.body(), &of_function(known), &rules)?
            }
            _ => return Err(Unshowable::Malformed),
        };
        match looked {
            Looked::Made(made) if way == Way::Masked => down.insert(made.bytes()),
            Looked::Unchanged(screened) => down.pass(shown.unchanged(&screened)),
            Looked::Made(_) => down.pass(shown.unchanged(&self.screen.permitted())),
        }
        if let Some(origin) = origin {
            let looked = self.screen.take_tally();
            match way {
                Way::Masked => self.counted.mask(place(origin), &looked),
                // What it may see isn't found by these rules.
                _ => self.counted.of(place(origin)).show(&looked, Class::ALL),
            }
        }
        Ok(())
    }

    // ---- ends ---------------------------------------------------------------

    /// A statement has ended: what of its answer was masked and seen.
    pub fn ended(&mut self, outcome: &Outcome<Judged>) -> Option<Counts> {
        if outcome.permit.as_ref().is_some_and(|granted| granted.statement.defines) {
            self.knowledge.defined();
        }
        let place = (outcome.serial, outcome.index);
        if self.answer.as_ref().is_some_and(|answer| answer.place == place) {
            self.end_answer();
        }
        if self.copy.as_ref().is_some_and(|copy| copy.place.0 == outcome.serial) {
            self.copy = None;
            self.counted.mask(place, &self.screen.take_tally());
        }
        self.counted.take(place)
    }

    fn end_answer(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let mut looked = self.screen.take_tally();
        let Made { plan, seen, would_mask, origins } = answer.made;
        let given_away = self.screen.take_given_away();
        if !given_away.is_empty() {
            self.knowledge.given_away(&given_away, &origins, answer.rows);
        }
        let counts = self.counted.of(answer.place);
        if answer.way == Way::Masked {
            counts.masked.merge(&looked);
            seen.iter().for_each(|class| counts.seen.add_many(*class, answer.rows));
        } else {
            let rest = answer.rows.saturating_sub(answer.looked);
            plan.classes().for_each(|class| looked.add_many(class, rest));
            counts.show(&looked, &would_mask);
        }
    }
}

/// Whether SQL that is understood asked for it.
fn is_sql(origin: Origin<'_, Judged>) -> bool {
    Answered::of(origin).is_some_and(|answered| answered.granted.statement.facts.understood())
}

fn place(origin: Origin<'_, Judged>) -> Place {
    (origin.serial(), origin.index())
}

/// Rows of an answer that are looked at in shadow.
const LOOKED: u64 = 100;
