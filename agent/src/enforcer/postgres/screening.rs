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
//! isn't shown.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::fresh::{self, Fresh};
use super::gate::{Granted, Judged, Mentions, Understood};
use super::judge::Judge;
use super::sights::Sights;
use crate::enforcer::catalogs::{Identity, Known};
use crate::enforcer::means::Means;
use crate::mask::content::Demand;
use crate::mask::functions;
use crate::mask::lineage::{self, Origins};
use crate::mask::names::Evidence;
use crate::mask::postgres::copy::{CopyScreen, CopyStyle};
use crate::mask::postgres::form::Form;
use crate::mask::postgres::messages::Care;
use crate::mask::postgres::plan::{ColumnPlan, Treatment};
use crate::mask::{
    Catalog, Class, Hand, Mask, Plan, Screen, Screening as Looked, Tally, Unrevealed, Unshowable,
};
use crate::policy::Stance;
use crate::sql::Effect;
use crate::sql::facts::{ObjectKind, Statement, Verb};
use crate::wire::limits::Limits;
use crate::wire::postgres::session::{Description, Origin, Outcome, Shown, What};
use crate::wire::postgres::{Backend, Column, Frame, Part, Splice, Tags};

/// Of one session.
#[derive(Debug)]
pub struct Screening {
    identity: Identity,
    known: Option<Arc<Known>>,
    /// A snapshot of it, and its version.
    catalog: Arc<Catalog>,
    version: u64,
    /// When this session last tried to learn it.
    tried: Option<Instant>,
    sights: Sights,
    way: Way,
    screen: Box<Screen>,
    shapes: Vec<Shape>,
    current: Option<Current>,
    copy: Option<Copying>,
    /// As the server announced it: whether it is binary, and its columns.
    announced: Option<(bool, usize)>,
    /// A setting of the session may hold something sensitive.
    settings_told: bool,
    /// This session defined something: the catalog is learnt anew before it goes on.
    defined: bool,
    /// What it has defined since the catalog was learnt.
    fresh: Fresh,
    /// Code ran that may have given names of prepared statements and cursors to
    /// others.
    handles_unsure: bool,
    /// Of statements whose ends aren't told yet.
    counted: Vec<(Place, Counts)>,
}

/// A statement of the session: its request, and which of its text it is.
type Place = (u64, u32);

/// A plan, and what it was made for.
#[derive(Debug)]
struct Shape {
    description: Arc<Description>,
    formats: Box<[u16]>,
    granted: (Arc<Understood>, Option<Arc<Understood>>),
    index: u32,
    made: Made,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Made {
    plan: Arc<Plan>,
    /// The classes of columns that are shown in the clear.
    seen: Arc<[Class]>,
    /// Whose columns they are, by OID and number; zeros where they are nobody's.
    origins: Arc<[(u32, u16)]>,
}

/// The answer that is being shown.
#[derive(Debug)]
struct Current {
    place: Place,
    made: Made,
    rows: u64,
    /// Of these rows all was looked at.
    looked: u64,
}

#[derive(Debug)]
struct Copying {
    place: Place,
    screen: CopyScreen,
    plan: Arc<Plan>,
}

/// What of an answer was masked, and what was sensitive and shown in the clear.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub masked: Tally,
    pub seen: Tally,
}

/// How what a session shows is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing is decided, and nothing counted.
    Open,
    /// Everything is shown as it is, and what is sensitive counted: nothing is
    /// carried out on this actor, or it may see all.
    Shadow,
    Masked,
}

impl Screening {
    pub fn new(identity: Identity, means: &Means) -> Self {
        let hand = Hand { key: means.marks.clone(), unicode: true };
        Self {
            identity,
            known: None,
            catalog: Arc::default(),
            version: 0,
            tried: None,
            sights: Sights::default(),
            way: Way::Masked,
            screen: Box::new(Screen::new(hand)),
            shapes: Vec::new(),
            current: None,
            copy: None,
            announced: None,
            settings_told: false,
            defined: false,
            fresh: Fresh::default(),
            handles_unsure: false,
            counted: Vec::new(),
        }
    }

    /// Whether the client reads UTF-8.
    pub fn set_unicode(&mut self, unicode: bool) {
        self.screen.set_unicode(unicode);
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    // ---- the catalog --------------------------------------------------------

    /// Whether the catalog is to be learnt before the next request.
    pub fn wants_to_learn(&self, judge: &Judge, means: &Means) -> bool {
        if means.policies.is_off() || &*self.identity.database == CONSOLE {
            return false;
        }
        let Some(known) = &self.known else {
            return self.tried.is_none_or(|at| at.elapsed() >= AGAIN);
        };
        // A service in shadow isn't kept waiting for what another may learn.
        let enforced = judge.stance(means) == Stance::Enforced;
        let patient = || self.tried.is_none_or(|at| at.elapsed() >= SOON);
        enforced && known.is_due() && (self.defined || patient())
    }

    /// It is being learnt: of which database, as far as is known before.
    pub fn begins_to_learn(&mut self) -> Identity {
        self.tried = Some(Instant::now());
        self.defined = false;
        self.identity.clone()
    }

    pub fn learnt(&mut self, known: Arc<Known>) {
        if !known.is_due() {
            self.fresh = Fresh::default();
        }
        self.known = Some(known);
        self.look_again();
    }

    /// Takes the newest of what is known.
    fn look_again(&mut self) {
        if let Some(known) = &self.known
            && known.version() != self.version
        {
            self.version = known.version();
            self.catalog = known.catalog();
            self.shapes.clear();
        }
    }

    /// A request is let through: what it fills is known before it does.
    pub fn released(&mut self, granted: &Granted, text: &[u8]) {
        let Some(known) = &self.known else { return };
        // What a block of code, or a function's body, says it fills.
        for statement in granted.statement.facts.running().filter(|one| holds_code(one)) {
            let own = statement
                .span
                .and_then(|span| text.get(span.start as usize..span.end as usize))
                .unwrap_or(text);
            for carried in functions::filled_by(&String::from_utf8_lossy(own), &self.catalog) {
                known.carry(carried);
            }
        }
        let texts = [Some(&granted.statement), granted.behind.as_ref()];
        for text in texts.into_iter().flatten() {
            for carried in lineage::carried(&text.facts, &self.catalog) {
                known.carry(carried);
            }
            for statement in text.facts.running() {
                self.fresh.follow(statement, &self.catalog);
                if fresh::runs_code(statement, &self.catalog) {
                    self.handles_unsure = true;
                    known.note_change();
                }
            }
            let Mentions { settings, notifications, large_objects } = text.mentions;
            if (settings || notifications || large_objects)
                && text.facts.running().any(|one| lineage::touches(one, &self.catalog))
            {
                self.settings_told |= settings;
                known.spread().notifications.fetch_or(notifications, Ordering::Relaxed);
                known.spread().large_objects.fetch_or(large_objects, Ordering::Relaxed);
            }
        }
        self.look_again();
    }

    // ---- frames -------------------------------------------------------------

    /// Which frames of the server's may come in pieces.
    pub fn pieces(&self) -> Tags {
        match self.way {
            Way::Masked => Tags::of(b"d"),
            Way::Open | Way::Shadow => Tags::of(b"Dd"),
        }
    }

    /// Some of the server's frames are about to be looked at: under these policies.
    pub fn begin(&mut self, judge: &Judge, means: &Means) {
        self.way = if means.policies.is_off() {
            Way::Open
        } else if judge.stance(means) == Stance::Shadow || self.sights.open(judge, means) {
            Way::Shadow
        } else {
            Way::Masked
        };
    }

    /// A frame that shows nothing, and may tell how the next ones are to be read.
    pub fn pass(&mut self, frame: &Frame<'_>, down: &mut Splice) -> Result<(), Unshowable> {
        match frame.tag {
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
                if let Some(mut copy) = self.copy.take() {
                    let made = copy.screen.end(&mut self.screen, &copy.plan)?;
                    down.insert(made.bytes());
                    self.take_counts(copy.place);
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
        judge: &Judge,
        means: &Means,
    ) -> Result<(), Unshowable> {
        let way = self.way;
        if way == Way::Open {
            down.pass(shown.unchanged(&self.screen.permitted()));
            return Ok(());
        }
        match shown.what {
            What::Row => self.row(shown, frame, down, way, judge, means),
            What::CopyData => self.copy_data(shown, frame, down, way, judge, means),
            _ => self.message(shown, frame, down, way, judge, means),
        }
    }

    #[inline]
    fn row(
        &mut self,
        shown: Shown<'_, Judged>,
        frame: &Frame<'_>,
        down: &mut Splice,
        way: Way,
        judge: &Judge,
        means: &Means,
    ) -> Result<(), Unshowable> {
        let origin = shown.origin.ok_or(Unshowable::Malformed)?;
        let place = (origin.serial(), origin.index());
        if self.current.as_ref().is_none_or(|current| current.place != place) {
            self.close_current();
            let made = self.made_for(origin, frame, way, judge, means)?;
            self.current = Some(Current { place, made, rows: 0, looked: 0 });
        }
        let Self { screen, current: Some(current), .. } = self else {
            return Err(Unshowable::Malformed);
        };
        if matches!(frame.part, Part::Whole | Part::First) {
            current.rows += 1;
        }
        let plan = &*current.made.plan;
        if plan.passes() {
            down.pass(shown.unchanged(&screen.permitted()));
        } else if way == Way::Shadow {
            if frame.part == Part::Whole && current.looked < LOOKED {
                current.looked += 1;
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
        way: Way,
        judge: &Judge,
        means: &Means,
    ) -> Result<(), Unshowable> {
        let origin = shown.origin.ok_or(Unshowable::Malformed)?;
        let place = (origin.serial(), origin.index());
        if way == Way::Shadow {
            // A stream is counted by its columns, once: its rows aren't cut.
            if self.announced.take().is_some() {
                let plan = self.copy_plan(origin, false, 0, judge, means);
                for class in plan.classes() {
                    self.counts(place).seen.add(class);
                }
            }
            down.pass(shown.unchanged(&self.screen.permitted()));
            return Ok(());
        }
        if self.copy.as_ref().is_none_or(|copy| copy.place != place) {
            // What was not announced as a COPY is replication: of it no row can be told.
            let (binary, columns) = self.announced.take().ok_or(Unshowable::Replication)?;
            let plan = Arc::new(self.copy_plan(origin, binary, columns, judge, means));
            let screen = CopyScreen::new(style(origin, binary));
            self.copy = Some(Copying { place, screen, plan });
        }
        let Self { screen, copy: Some(copy), .. } = self else {
            return Err(Unshowable::Malformed);
        };
        let whole = frame.part == Part::Whole;
        match copy.screen.data(screen, &copy.plan, frame.body(), whole)? {
            Looked::Unchanged(screened) => down.pass(shown.unchanged(&screened)),
            Looked::Made(made) => down.insert(made.bytes()),
        }
        Ok(())
    }

    /// Errors, notices, notifications, parameters, and what a function gave.
    fn message(
        &mut self,
        shown: Shown<'_, Judged>,
        frame: &Frame<'_>,
        down: &mut Splice,
        way: Way,
        judge: &Judge,
        means: &Means,
    ) -> Result<(), Unshowable> {
        let origin = shown.origin;
        let granted = origin.and_then(|origin| origin.permit());
        let care = match (origin, granted) {
            (Some(origin), Some(granted)) => {
                let defines = |one: &Statement| {
                    [Effect::Create, Effect::Alter, Effect::Drop]
                        .iter()
                        .any(|effect| one.effects.contains(*effect))
                };
                let doubts = |one: &Statement| {
                    !defines(one) && self.fresh.doubts(one, &self.catalog)
                        || self.catalog.triggers_tell() && !one.effects.is_pure_read()
                };
                match statement(granted, origin.index()).is_some_and(doubts) {
                    true => Care::Touches,
                    false => care(granted, origin.index(), &self.catalog),
                }
            }
            _ => Care::Scan,
        };
        let rules = self.sights.rules(judge, means);
        let limits = Limits::default();
        let message = Backend::decode(frame.tag, frame.body(), &limits);
        let looked = match message.map_err(|_| Unshowable::Malformed)? {
            Backend::ErrorResponse(fields) | Backend::NoticeResponse(fields) => {
                let asked = origin.and_then(|origin| origin.text()).map_or(&b""[..], |text| text);
                self.screen.message(frame.tag, fields, care, asked, &rules)?
            }
            Backend::ParameterStatus(parameter) => {
                self.screen.parameter(parameter, care, &rules)?
            }
            Backend::NotificationResponse(notification) => {
                let told = self
                    .known
                    .as_ref()
                    .is_some_and(|known| known.spread().notifications.load(Ordering::Relaxed));
                let care = if told { Care::Touches } else { Care::Scan };
                self.screen.notification(notification, care, &rules)?
            }
            Backend::FunctionCallResponse(_) => {
                let known = granted.is_some_and(|granted| granted.statement.facts.understood());
                self.screen.function_result(frame.body(), &function_plan(known), &rules)?
            }
            _ => return Err(Unshowable::Malformed),
        };
        match looked {
            Looked::Made(made) if way == Way::Masked => down.insert(made.bytes()),
            Looked::Unchanged(screened) => down.pass(shown.unchanged(&screened)),
            Looked::Made(_) => down.pass(shown.unchanged(&self.screen.permitted())),
        }
        if let Some(origin) = origin {
            let place = (origin.serial(), origin.index());
            match way {
                Way::Masked => self.take_counts(place),
                _ => {
                    let seen = self.screen.take_tally();
                    self.counts(place).seen.merge(&seen);
                }
            }
        }
        Ok(())
    }

    // ---- plans --------------------------------------------------------------

    fn made_for(
        &mut self,
        origin: Origin<'_, Judged>,
        frame: &Frame<'_>,
        way: Way,
        judge: &Judge,
        means: &Means,
    ) -> Result<Made, Unshowable> {
        self.look_again();
        let (Some(granted), Some(shape)) = (origin.permit(), origin.shape()) else {
            return dark(frame);
        };
        let index = origin.index();
        let fits = |one: &Shape| {
            one.index == index
                && Arc::ptr_eq(&one.description, shape.description)
                && Arc::ptr_eq(&one.granted.0, &granted.statement)
                && same(one.granted.1.as_ref(), granted.behind.as_ref())
                && one.formats.iter().copied().eq(shape.formats())
                && one.since.elapsed() < LASTS
        };
        if let Some(known) = self.shapes.iter().find(|one| fits(one)) {
            return Ok(known.made.clone());
        }
        let columns = || shape.description.columns().iter().zip(shape.formats());
        let unknown = |table: u32| table >= FIRST_OWN && self.catalog.relation(table).is_none();
        if columns().any(|(column, _)| unknown(column.table))
            && let Some(known) = &self.known
        {
            known.note_change();
        }
        let catalog = Arc::clone(&self.catalog);
        let (settings_told, fresh, unsure) = (self.settings_told, &self.fresh, self.handles_unsure);
        let objects_told = self
            .known
            .as_ref()
            .is_some_and(|known| known.spread().large_objects.load(Ordering::Relaxed));
        let of = |reveal: &dyn crate::mask::Reveal| {
            let Some(statement) = statement(granted, index) else {
                return Plan::of(columns(), &Origins::dark(), &catalog, reveal);
            };
            // Rows of which the text says nothing, and where values may lie that
            // have no column.
            let unforeseen = statement.returns.is_none() && statement.verb != Verb::Show;
            let told = |(column, _): (Column<'_>, u16)| is_free_setting(column.name);
            let settings = settings_told
                && (reads_settings(statement)
                    || statement.verb == Verb::Show && columns().any(told));
            let texts = unsure && reads_handles(statement);
            if settings || texts || (objects_told && reads_large_objects(statement)) {
                // Of whatever table: what lies there is anybody's.
                let nobodys = columns()
                    .map(|(column, format)| (Column { table: 0, attribute: 0, ..column }, format));
                return Plan::of(nobodys, &Origins::dark(), &catalog, reveal);
            }
            if unforeseen {
                return Plan::of(columns(), &Origins::dark(), &catalog, reveal);
            }
            let behind = behind(granted, index);
            let doubts = fresh.doubts(statement, &catalog)
                || behind.is_some_and(|one| fresh.doubts(one, &catalog));
            if statement.verb == Verb::Explain {
                let touches = doubts || lineage::touches(statement, &catalog);
                return Plan::of_explain(columns().count(), touches, reveal);
            }
            let renamed = unsure && matches!(statement.verb, Verb::Execute | Verb::Fetch);
            if doubts || renamed {
                // A view under its old number may be another.
                let new = |table: u32| {
                    catalog.relation(table).is_some_and(|one| {
                        matches!(one.kind, 'v' | 'm') && fresh.doubts_view(&one.name)
                    })
                };
                let columns = columns().map(|(column, format)| match new(column.table) {
                    true => (Column { table: 0, attribute: 0, ..column }, format),
                    false => (column, format),
                });
                return Plan::of(columns, &Origins::dark(), &catalog, reveal);
            }
            Plan::of(columns(), &origins(granted, index, &catalog), &catalog, reveal)
        };
        let origin = |(column, _): (Column<'_>, u16)| {
            (column.table, u16::try_from(column.attribute).unwrap_or_default())
        };
        let origins: Arc<[(u32, u16)]> = columns().map(origin).collect();
        let made = match way {
            // What is sensitive, whoever may see it: that is what is counted.
            Way::Shadow | Way::Open => {
                Made { plan: Arc::new(of(&Unrevealed)), seen: [].into(), origins }
            }
            Way::Masked => {
                let plan = self.sights.with(judge, means, |reveal| of(reveal));
                let seen = if self.sights.reveal_nothing() {
                    [].into()
                } else {
                    seen(&plan, &of(&Unrevealed))
                };
                Made { plan: Arc::new(plan), seen, origins }
            }
        };
        let shape = Shape {
            description: Arc::clone(shape.description),
            formats: shape.formats().collect(),
            granted: (Arc::clone(&granted.statement), granted.behind.clone()),
            index,
            made: made.clone(),
            since: Instant::now(),
        };
        if self.shapes.len() >= MOST_SHAPES {
            self.shapes.remove(0);
        }
        self.shapes.push(shape);
        Ok(made)
    }

    fn copy_plan(
        &mut self,
        origin: Origin<'_, Judged>,
        binary: bool,
        columns: usize,
        judge: &Judge,
        means: &Means,
    ) -> Plan {
        self.look_again();
        let catalog = Arc::clone(&self.catalog);
        let mut origins = match origin.permit() {
            Some(granted) => {
                let doubts = |one: &Statement| self.fresh.doubts(one, &catalog);
                match statement(granted, origin.index()).is_some_and(doubts) {
                    true => Origins::dark(),
                    false => origins(granted, origin.index(), &catalog),
                }
            }
            None => Origins::dark(),
        };
        // The table has others than are known.
        if columns != 0 && origins.traced.as_ref().is_some_and(|all| all.len() != columns) {
            origins.traced = None;
        }
        self.sights.with(judge, means, |reveal| Plan::of_copy(&origins, binary, &catalog, reveal))
    }

    // ---- counts -------------------------------------------------------------

    /// A statement has ended: what of its answer was masked and seen.
    pub fn ended(&mut self, outcome: &Outcome<Judged>) -> Option<Counts> {
        if let Some(known) = &self.known
            && let Some(granted) = &outcome.permit
            && granted.statement.defines
        {
            known.note_change();
            self.defined = true;
        }
        let place = (outcome.serial, outcome.index);
        if self.current.as_ref().is_some_and(|current| current.place == place) {
            self.close_current();
        }
        if self.copy.as_ref().is_some_and(|copy| copy.place.0 == outcome.serial) {
            self.copy = None;
            self.take_counts(place);
        }
        let found = self.counted.iter().position(|(one, _)| *one == place)?;
        Some(self.counted.swap_remove(found).1)
    }

    fn close_current(&mut self) {
        let Some(current) = self.current.take() else { return };
        let looked = self.screen.take_tally();
        let Made { plan, seen, origins } = current.made;
        let given_away = self.screen.take_given_away();
        if !given_away.is_empty() {
            self.given_away(&given_away, &origins, current.rows);
        }
        let shadow = self.way != Way::Masked;
        let counts = self.counts(current.place);
        if shadow {
            counts.seen.merge(&looked);
            let rest = current.rows.saturating_sub(current.looked);
            plan.classes().for_each(|class| counts.seen.add_many(class, rest));
        } else {
            counts.masked.merge(&looked);
            seen.iter().for_each(|class| counts.seen.add_many(*class, current.rows));
        }
    }

    /// Columns whose content gave them away are sensitive from now on: where most
    /// of their cells did. Counts are kept, never a value.
    fn given_away(&mut self, cells: &[(usize, Class)], origins: &[(u32, u16)], rows: u64) {
        let Some(known) = &self.known else { return };
        for (column, (relation, number)) in origins.iter().enumerate() {
            let of_column = || cells.iter().filter(|(place, _)| *place == column);
            let Some((_, class)) = of_column().next() else { continue };
            let count = of_column().filter(|(_, one)| one == class).count() as u64;
            let unknown =
                self.catalog.column(*relation, *number).is_some_and(|known| known.class.is_none());
            if unknown && count >= LEAST_HITS && count * 2 >= rows.min(MOST_HITS) {
                known.update(|catalog| {
                    catalog.classify(*relation, *number, *class, Evidence::Content);
                });
            }
        }
    }

    fn take_counts(&mut self, place: Place) {
        let masked = self.screen.take_tally();
        if !masked.is_empty() {
            self.counts(place).masked.merge(&masked);
        }
    }

    fn counts(&mut self, place: Place) -> &mut Counts {
        let found = self.counted.iter().position(|(one, _)| *one == place);
        let found = found.unwrap_or_else(|| {
            if self.counted.len() >= MOST_COUNTED {
                self.counted.remove(0);
            }
            self.counted.push((place, Counts::default()));
            self.counted.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or pushed just before")]
        &mut self.counted[found].1
    }
}

/// A block of code, or a function that is made.
fn holds_code(statement: &Statement) -> bool {
    matches!(statement.verb, Verb::Do | Verb::Unknown)
        || statement.verb == Verb::Create
            && statement.objects.iter().any(|object| object.kind == ObjectKind::Function)
}

/// The statement of a text that is being answered.
fn statement(granted: &Granted, index: u32) -> Option<&Statement> {
    granted.statement.facts.running().nth(index as usize)
}

/// What a statement runs that names another: EXECUTE's prepared one, FETCH's
/// cursor.
fn behind(granted: &Granted, index: u32) -> Option<&Statement> {
    let handle = statement(granted, index)?.handle.as_deref()?;
    let names = |one: &&Statement| {
        matches!(one.verb, Verb::Prepare | Verb::DeclareCursor)
            && one.handle.as_deref() == Some(handle)
    };
    // In the same text before it, the last of that name; else by the session.
    let before = granted.statement.facts.running().take(index as usize).filter(names).last();
    before.or_else(|| granted.behind.as_ref()?.facts.running().filter(names).last())
}

fn origins(granted: &Granted, index: u32, catalog: &Catalog) -> Origins {
    let Some(statement) = statement(granted, index) else { return Origins::dark() };
    match statement.verb {
        Verb::Execute | Verb::Fetch => match behind(granted, index) {
            Some(behind) => Origins::of(behind, catalog),
            // Bound by the protocol: its text is the statement's own.
            None => Origins::dark(),
        },
        _ => Origins::of(statement, catalog),
    }
}

fn care(granted: &Granted, index: u32, catalog: &Catalog) -> Care {
    let Some(statement) = statement(granted, index) else { return Care::Touches };
    let behind = behind(granted, index).unwrap_or(statement);
    match lineage::touches(statement, catalog) || lineage::touches(behind, catalog) {
        true => Care::Touches,
        false => Care::Scan,
    }
}

/// The classes that the one shows and the other doesn't.
fn seen(plan: &Plan, unrevealed: &Plan) -> Arc<[Class]> {
    let pairs = plan.columns().iter().zip(unrevealed.columns());
    let seen = pairs.filter_map(|(one, other)| match (one.treatment, other.treatment) {
        (Treatment::Mask { .. }, _) => None,
        (_, Treatment::Mask { class, .. }) => Some(class),
        _ => None,
    });
    seen.collect()
}

/// Rows that nobody has described: nothing of them can be told.
fn dark(frame: &Frame<'_>) -> Result<Made, Unshowable> {
    let count = frame.body().first_chunk::<2>().ok_or(Unshowable::Malformed)?;
    let column = ColumnPlan { form: Form::Unknown, binary: true, treatment: OPAQUE };
    let columns = vec![column; usize::from(u16::from_be_bytes(*count))].into();
    let plan = Arc::new(Plan::new(columns, Default::default()));
    Ok(Made { plan, seen: [].into(), origins: [].into() })
}

fn function_plan(known: bool) -> ColumnPlan {
    match known {
        true => ColumnPlan {
            form: Form::Bytes,
            binary: true,
            treatment: Treatment::Scan(Demand::Check),
        },
        false => ColumnPlan { form: Form::Unknown, binary: true, treatment: OPAQUE },
    }
}

/// How a COPY's stream is written: by its statement, else by what the server says.
fn style(origin: Origin<'_, Judged>, binary: bool) -> CopyStyle {
    if binary {
        return CopyStyle::Binary;
    }
    let own = || {
        let span = statement(origin.permit()?, origin.index())?.span;
        let text = origin.text()?;
        let own = match span {
            Some(span) => text.get(span.start as usize..span.end as usize)?,
            None => text,
        };
        CopyStyle::of(str::from_utf8(own).ok()?)
    };
    own().filter(|style| *style != CopyStyle::Binary).unwrap_or(CopyStyle::Lines)
}

fn reads_settings(statement: &Statement) -> bool {
    statement.calls.iter().any(|call| &*call.name == "current_setting")
        || statement
            .objects
            .iter()
            .any(|one| matches!(&*one.name, "pg_settings" | "pg_stat_activity"))
}

/// Where the texts of prepared statements and cursors are.
fn reads_handles(statement: &Statement) -> bool {
    let mut all = statement.objects.iter();
    all.any(|one| matches!(&*one.name, "pg_prepared_statements" | "pg_cursors"))
}

fn reads_large_objects(statement: &Statement) -> bool {
    statement.calls.iter().any(|call| matches!(&*call.name, "lo_get" | "loread"))
        || statement.objects.iter().any(|one| &*one.name == "pg_largeobject")
}

/// Whether a setting takes any text.
fn is_free_setting(name: &[u8]) -> bool {
    name.contains(&b'.')
        || matches!(name, b"application_name" | b"search_path" | b"temp_tablespaces" | b"all")
        || name == b"setting"
}

fn same(one: Option<&Arc<Understood>>, other: Option<&Arc<Understood>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

const OPAQUE: Treatment =
    Treatment::Mask { class: Class::Opaque, mask: Mask::Redact, derived: true };
/// The database that PgBouncer's console is reached by.
const CONSOLE: &str = "pgbouncer";
/// Below are the server's own.
const FIRST_OWN: u32 = 16_384;
/// Rows of an answer that are looked at in shadow.
const LOOKED: u64 = 100;
/// Cells that give a column away, and how many of them are counted.
const LEAST_HITS: u64 = 3;
const MOST_HITS: u64 = 16;
const MOST_SHAPES: usize = 16;
const MOST_COUNTED: usize = 1_024;
/// Policies can tell one hour from another.
const LASTS: Duration = Duration::from_secs(60);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(1);
