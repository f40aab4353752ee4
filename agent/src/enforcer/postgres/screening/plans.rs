//! What is done to an answer's columns: a plan is made once for its shape, and
//! holds as long as all that it was made by.

use std::sync::Arc;

use super::super::gate::{Behind, Granted, Judged, Understood};
use super::super::sights::{Sights, Viewer};
use super::answered::{
    Answered, is_free_setting, reads_handles, reads_large_objects, reads_settings,
};
use super::knowledge::{Edition, Knowledge};
use crate::mask::content::Demand;
use crate::mask::lineage::{self, Origins};
use crate::mask::postgres::cell::Rules;
use crate::mask::postgres::form::Form;
use crate::mask::postgres::messages::Care;
use crate::mask::postgres::plan::{ColumnPlan, Treatment};
use crate::mask::{Class, FIRST_OWN, Mask, Plan, Reveal, Unrevealed, Unshowable};
use crate::policy::Stance;
use crate::sql::facts::{Statement, Verb};
use crate::sql::{Effect, Effects};
use crate::wire::postgres::session::{Description, Origin, Shape};
use crate::wire::postgres::{Column, Frame};

/// How what a session shows is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing is decided, and nothing counted.
    Open,
    /// Everything is shown as it is, and what is sensitive counted: nothing is
    /// carried out on this actor, or it may see all.
    Shadow,
    Masked,
}

/// Of one session.
#[derive(Debug)]
pub struct Plans {
    sights: Sights,
    way: Way,
    /// What the plans below were made by.
    under: Option<Under>,
    kept: Vec<Kept>,
}

/// All that a plan follows from beside the answer that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Under {
    way: Way,
    edition: Edition,
    /// Of what the policies say.
    sights: u64,
}

/// A plan, and what it was made for.
#[derive(Debug)]
struct Kept {
    description: Arc<Description>,
    formats: Box<[u16]>,
    granted: (Arc<Understood>, Option<Behind>),
    index: u32,
    made: Made,
}

#[derive(Clone, Debug)]
pub struct Made {
    pub plan: Arc<Plan>,
    /// The classes of columns that are shown in the clear.
    pub seen: Arc<[Class]>,
    /// In shadow: those that would not have been.
    pub would_mask: Arc<[Class]>,
    /// Whose columns they are, by OID and number; zeros where they are nobody's.
    pub origins: Arc<[(u32, u16)]>,
}

/// What can be told of where an answer's values come from.
enum Traced {
    Followed(Origins),
    /// A query's plan.
    Explained {
        touches: bool,
    },
    /// Nothing: but a column that the server names is that column.
    Dark,
    /// Nothing; what the server names may have been something else since.
    Doubted,
    /// Anything from anywhere.
    Anybodys,
}

impl Default for Plans {
    fn default() -> Self {
        Self { sights: Sights::default(), way: Way::Masked, under: None, kept: Vec::new() }
    }
}

impl Plans {
    pub fn way(&self) -> Way {
        self.way
    }

    /// Some of the server's frames are about to be looked at: under these policies.
    #[inline]
    pub fn begin(&mut self, viewer: Viewer<'_>) {
        self.way = if viewer.means.policies.is_off() {
            Way::Open
        } else if viewer.judge.stance(viewer.means) == Stance::Shadow || self.sights.open(viewer) {
            Way::Shadow
        } else {
            Way::Masked
        };
    }

    /// What is done to what turns up outside of any column.
    pub fn rules(&mut self, viewer: Viewer<'_>) -> Arc<Rules> {
        self.sights.rules(viewer)
    }

    /// For an answer that comes as rows.
    pub fn of_rows(
        &mut self,
        origin: Origin<'_, Judged>,
        frame: &Frame<'_>,
        knowledge: &mut Knowledge,
        viewer: Viewer<'_>,
    ) -> Result<Made, Unshowable> {
        let edition = knowledge.renew();
        // In shadow nobody has asked yet.
        let open = self.way == Way::Shadow && self.sights.open(viewer);
        let (Some(answered), Some(shape)) = (Answered::of(origin), origin.shape()) else {
            return undescribed(frame, open);
        };
        let under = Under { way: self.way, edition, sights: self.sights.epoch() };
        if self.under != Some(under) {
            self.kept.clear();
            self.under = Some(under);
        }
        if let Some(kept) = self.kept.iter().find(|kept| kept.fits(answered, &shape)) {
            return Ok(kept.made.clone());
        }
        let made = self.make(answered, &shape, knowledge, edition, viewer);
        if self.kept.len() >= MOST {
            self.kept.remove(0);
        }
        self.kept.push(Kept::of(answered, &shape, made.clone()));
        Ok(made)
    }

    fn make(
        &mut self,
        answered: Answered<'_>,
        shape: &Shape<'_>,
        knowledge: &Knowledge,
        edition: Edition,
        viewer: Viewer<'_>,
    ) -> Made {
        let columns = || shape.description.columns().iter().zip(shape.formats());
        let catalog = &**knowledge.catalog();
        let unknown = |table: u32| table >= FIRST_OWN && catalog.relation(table).is_none();
        if columns().any(|(column, _)| unknown(column.table)) {
            knowledge.note_change();
        }
        let free = columns().any(|(column, _)| is_free_setting(column.name));
        let traced = trace(answered, knowledge, edition, free);
        let of = |reveal: &dyn Reveal| plan(&traced, &columns, knowledge, reveal);
        let origins = columns()
            .map(|(column, _)| (column.table, u16::try_from(column.attribute).unwrap_or_default()))
            .collect();
        match self.way {
            // What is sensitive, whoever may see it: that is what is counted.
            Way::Shadow | Way::Open => {
                let plan = of(&Unrevealed);
                let would_mask = if self.sights.reveal_nothing() {
                    Class::ALL.into()
                } else {
                    hidden(&self.sights.with(viewer, |reveal| of(reveal)), &plan)
                };
                Made { plan: Arc::new(plan), seen: [].into(), would_mask, origins }
            }
            Way::Masked => {
                let plan = self.sights.with(viewer, |reveal| of(reveal));
                let seen = if self.sights.reveal_nothing() {
                    [].into()
                } else {
                    seen(&plan, &of(&Unrevealed))
                };
                Made { plan: Arc::new(plan), seen, would_mask: [].into(), origins }
            }
        }
    }

    /// For one that comes as a stream.
    pub fn of_copy(
        &mut self,
        origin: Origin<'_, Judged>,
        (binary, columns): (bool, usize),
        knowledge: &mut Knowledge,
        viewer: Viewer<'_>,
    ) -> Plan {
        let edition = knowledge.renew();
        let traced = Answered::of(origin).map(|one| trace(one, knowledge, edition, false));
        let mut origins = match traced {
            Some(Traced::Followed(origins)) => origins,
            _ => Origins::dark(),
        };
        // The table has others than are known.
        if columns != 0 && origins.traced.as_ref().is_some_and(|all| all.len() != columns) {
            origins.traced = None;
        }
        let catalog = knowledge.catalog();
        self.sights.with(viewer, |reveal| Plan::of_copy(&origins, binary, catalog, reveal))
    }
}

impl Kept {
    fn of(answered: Answered<'_>, shape: &Shape<'_>, made: Made) -> Self {
        let Answered { granted: Granted { statement, behind, .. }, index } = answered;
        Self {
            description: Arc::clone(shape.description),
            formats: shape.formats().collect(),
            granted: (Arc::clone(statement), behind.clone()),
            index,
            made,
        }
    }

    fn fits(&self, answered: Answered<'_>, shape: &Shape<'_>) -> bool {
        let Answered { granted: Granted { statement, behind, .. }, index } = answered;
        self.index == index
            && Arc::ptr_eq(&self.description, shape.description)
            && Arc::ptr_eq(&self.granted.0, statement)
            && match (&self.granted.1, behind) {
                (None, None) => true,
                (Some(one), Some(other)) => one.is(other),
                _ => false,
            }
            && self.formats.iter().copied().eq(shape.formats())
    }
}

/// `free`: a column has the name of a setting that takes any text.
fn trace(answered: Answered<'_>, knowledge: &Knowledge, edition: Edition, free: bool) -> Traced {
    let Some(statement) = answered.statement() else { return Traced::Dark };
    let catalog = &**knowledge.catalog();
    // Where values may lie that have no column.
    let settings = knowledge.settings_told
        && (reads_settings(statement) || statement.verb == Verb::Show && free);
    let texts = knowledge.handles_unsure && reads_handles(statement);
    let objects = edition.large_objects_told && reads_large_objects(statement);
    if settings || texts || objects {
        return Traced::Anybodys;
    }
    // Rows of which the text says nothing.
    if statement.returns.is_none() && !matches!(statement.verb, Verb::Show | Verb::Copy) {
        return Traced::Dark;
    }
    let doubts = |one: &Statement| knowledge.doubts(one);
    let doubted = doubts(statement) || answered.behind().is_some_and(doubts);
    if statement.verb == Verb::Explain {
        return Traced::Explained { touches: doubted || lineage::touches(statement, catalog) };
    }
    let renamed = knowledge.handles_unsure && matches!(statement.verb, Verb::Execute | Verb::Fetch);
    if doubted || renamed {
        return Traced::Doubted;
    }
    Traced::Followed(answered.origins(catalog))
}

fn plan<'c, I>(
    traced: &Traced,
    columns: &impl Fn() -> I,
    knowledge: &Knowledge,
    reveal: &dyn Reveal,
) -> Plan
where
    I: Iterator<Item = (Column<'c>, u16)>,
{
    let catalog = &**knowledge.catalog();
    let nobodys = |column: Column<'c>| Column { table: 0, attribute: 0, ..column };
    match traced {
        Traced::Followed(origins) if knowledge.paths_unsure => {
            // A statement that was prepared may read another table than the server named:
            // any that the text may mean counts.
            let traced = origins.traced.as_deref().unwrap_or_default();
            let sensitive = |place: usize| {
                traced.get(place).is_some_and(|one| !one.sources.is_empty() && !one.exempt)
            };
            let clear = |column: Column<'_>| {
                let number = u16::try_from(column.attribute).unwrap_or_default();
                catalog.column(column.table, number).is_none_or(|known| known.class.is_none())
            };
            let columns = columns().enumerate().map(|(place, (column, format))| {
                match sensitive(place) && clear(column) {
                    true => (nobodys(column), format),
                    false => (column, format),
                }
            });
            Plan::of(columns, origins, catalog, reveal)
        }
        Traced::Followed(origins) => Plan::of(columns(), origins, catalog, reveal),
        Traced::Explained { touches } => Plan::of_explain(columns().count(), *touches, reveal),
        Traced::Dark => Plan::of(columns(), &Origins::dark(), catalog, reveal),
        Traced::Doubted => {
            // A view under its old number may be another.
            let new = |table: u32| {
                catalog.relation(table).is_some_and(|one| {
                    knowledge.doubts_names(&one.name)
                        || matches!(one.kind, 'v' | 'm') && knowledge.doubts_view(&one.name)
                })
            };
            let columns = columns().map(|(column, format)| match new(column.table) {
                true => (nobodys(column), format),
                false => (column, format),
            });
            Plan::of(columns, &Origins::dark(), catalog, reveal)
        }
        Traced::Anybodys => {
            let columns = columns().map(|(column, format)| (nobodys(column), format));
            Plan::of(columns, &Origins::dark(), catalog, reveal)
        }
    }
}

/// How careful to be with what a statement says beside its answer.
pub fn care(answered: Option<Answered<'_>>, knowledge: &Knowledge) -> Care {
    let Some(answered) = answered else { return Care::Scan };
    let catalog = &**knowledge.catalog();
    let doubts = |one: &Statement| {
        !one.effects.define() && knowledge.doubts(one)
            || catalog.events_tell() && one.effects.define()
            || catalog.triggers_tell() && runs_triggers(one)
    };
    match answered.statement().is_some_and(doubts) {
        true => Care::Touches,
        false => answered.care(catalog),
    }
}

/// Whether triggers may run with a statement: also those that were put off to the end.
fn runs_triggers(statement: &Statement) -> bool {
    let fires_none =
        Effects::of(Effect::Read).with(Effect::Create).with(Effect::Alter).with(Effect::Drop);
    !statement.effects.within(fires_none)
        || matches!(statement.verb, Verb::Commit | Verb::SetConstraints)
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

/// The classes that stay hidden: by a column of theirs, or wherever they turn up.
fn hidden(plan: &Plan, unrevealed: &Plan) -> Arc<[Class]> {
    let has = |plan: &Plan, class: Class| plan.classes().any(|one| one == class);
    let all = Class::ALL.iter().copied();
    let hidden = all.filter(|class| {
        has(plan, *class) || !has(unrevealed, *class) && plan.rules().mask(*class) != Mask::Keep
    });
    hidden.collect()
}

/// Rows that nobody has described: nothing of them can be told.
fn undescribed(frame: &Frame<'_>, open: bool) -> Result<Made, Unshowable> {
    let count = frame.body().first_chunk::<2>().ok_or(Unshowable::Malformed)?;
    let column = ColumnPlan { form: Form::Unknown, binary: true, treatment: OPAQUE };
    let columns = vec![column; usize::from(u16::from_be_bytes(*count))].into();
    let plan = Arc::new(Plan::new(columns, Default::default()));
    let would_mask = if open { [].into() } else { Class::ALL.into() };
    Ok(Made { plan, seen: [].into(), would_mask, origins: [].into() })
}

/// For what a function gave that is called by its number. `known`: it is one of the
/// server's own.
pub fn of_function(known: bool) -> ColumnPlan {
    match known {
        true => ColumnPlan {
            form: Form::Bytes,
            binary: true,
            treatment: Treatment::Scan(Demand::Check),
        },
        false => ColumnPlan { form: Form::Unknown, binary: true, treatment: OPAQUE },
    }
}

const OPAQUE: Treatment =
    Treatment::Mask { class: Class::Opaque, mask: Mask::Redact, derived: true };
const MOST: usize = 16;
