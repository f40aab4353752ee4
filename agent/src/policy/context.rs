//! The facts that policies can ask for, put into the engine's form.

use std::str::FromStr;

use cedar_policy::{Context, RestrictedExpression};

use super::asks::word;
use super::catalog::Catalog;
use super::scene::Scene;
use super::values::{Value, expression};
use super::vocabulary::{Fact, FactSet};
use crate::model::{Timestamp, Trace};
use crate::sql::effect::ColumnUse;
use crate::sql::facts::{Column, Note, Object, Origin};
use crate::sql::{Bound, Facts, Statement};

/// What decides beside the text, and changes from one moment to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances<'c> {
    pub transaction: Transaction,
    pub now: Timestamp,
    /// What the actor holds: policies can ask for it by name.
    pub approvals: &'c [String],
    /// The names of the policies whose refusal somebody has lifted for this very
    /// text and parameters.
    pub lifted: &'c [String],
    /// Whether its text, or a value bound to it, holds what a mask wrote.
    pub carries: Trace,
    /// What is bound to it. `None`: that comes later, or can't be told.
    pub parameters: Option<&'c [Value]>,
}

/// Where the session's transaction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transaction {
    #[default]
    Idle,
    Open,
    /// Aborted: only its end is awaited.
    Failed,
    /// Idle by the server's word, with something sent since the last Sync.
    Pipeline,
}

impl Transaction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Pipeline => "pipeline",
        }
    }

    pub const ALL: &[Self] = &[Self::Idle, Self::Open, Self::Failed, Self::Pipeline];

    pub fn is_open(self) -> bool {
        self != Self::Idle
    }
}

impl FromStr for Transaction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|one| one.as_str()).collect();
            format!("`{text}` is no state of a transaction (one of {})", all.join(", "))
        })
    }
}

impl Circumstances<'_> {
    pub fn new(now: Timestamp) -> Self {
        let transaction = Transaction::Idle;
        let parameters = Some(&[][..]);
        Self { transaction, now, approvals: &[], lifted: &[], carries: Trace::None, parameters }
    }
}

/// One statement among the texts', and all that surrounds it.
pub(super) struct About<'a> {
    pub facts: &'a Facts,
    pub statement: &'a Statement,
    /// The text of the prepared statement or cursor that it runs.
    pub prepared: Option<&'a Facts>,
    pub scene: &'a Scene,
    pub catalog: &'a dyn Catalog,
    pub circumstances: &'a Circumstances<'a>,
}

type Pair = (String, RestrictedExpression);

/// The context of a request that is about no statement.
pub(super) fn common(
    scene: &Scene,
    circumstances: &Circumstances<'_>,
    reads: FactSet,
) -> Vec<Pair> {
    let seconds = circumstances.now.0 / 1_000_000_000;
    let long = |value: u64| RestrictedExpression::new_long(i64::try_from(value).unwrap_or(0));
    let known = Fact::ALL.iter().filter(|fact| fact.is_common() && reads.contains(**fact));
    known
        .filter_map(|fact| {
            let value = match fact {
                // Not given where nobody knows it: who asks for it has no answer.
                Fact::Role => text(scene.target().role.known()?),
                Fact::Hour => long(seconds / 3_600 % 24),
                // 1970 began on a Thursday.
                Fact::Weekday => long((seconds / 86_400 + 3) % 7 + 1),
                Fact::Approvals => texts(circumstances.approvals.iter().cloned()),
                _ => return None,
            };
            Some((fact.as_str().to_owned(), value))
        })
        .collect()
}

/// The context of a statement's requests, but for the bound; as much of it as the
/// policies read.
pub(super) fn of_statement(about: &About<'_>, reads: FactSet) -> Vec<Pair> {
    let mut all = common(about.scene, about.circumstances, reads);
    let running = || {
        let held = |facts| super::asks::behind(about.statement, facts);
        let prepared = about.prepared.into_iter().flat_map(held);
        std::iter::once(about.statement).chain(prepared)
    };
    let truth = RestrictedExpression::new_bool;
    for fact in Fact::ALL.iter().filter(|fact| !fact.is_common() && reads.contains(**fact)) {
        let note = |note: Note| running().any(|one| one.notes.contains(&note));
        let value = match fact {
            Fact::Verb => text(&word(&about.statement.verb)),
            Fact::Understood => truth(understood(about)),
            Fact::Doubts => {
                let doubts = running().flat_map(|one| &one.doubts);
                texts(doubts.filter(|_| !understood(about)).map(word))
            }
            Fact::MultiStatement => truth(about.facts.running().count() > 1),
            Fact::InTransaction => truth(about.circumstances.transaction.is_open()),
            Fact::Transaction => text(about.circumstances.transaction.as_str()),
            Fact::Cascade => truth(note(Note::Cascade)),
            Fact::RowLocks => truth(note(Note::RowLocks)),
            Fact::FiltersOnMasked => truth(running().any(|one| filters_on_masked(one, about))),
            Fact::WritesMasked => truth(
                about.circumstances.carries > Trace::None
                    && running().any(|one| writes_masked(one, about)),
            ),
            Fact::ColumnsKnown => truth(running().all(|one| columns_known(one, about))),
            Fact::Functions => {
                let calls = running().flat_map(|one| &one.calls);
                let foreign = calls.filter(|call| call.origin == Origin::Foreign);
                texts(foreign.map(|call| match &call.schema {
                    Some(schema) => format!("{schema}.{}", call.name),
                    None => call.name.to_string(),
                }))
            }
            Fact::Settings => {
                texts(running().flat_map(|one| &one.session).map(|one| one.setting.to_string()))
            }
            Fact::Parameters => match about.circumstances.parameters.and_then(expression) {
                Some(values) => values,
                None => continue,
            },
            Fact::Defines => texts(defines(about).map(|effect| effect.to_string())),
            // Those that differ from request to request, or are in already.
            Fact::Bound
            | Fact::Bounded
            | Fact::Role
            | Fact::Hour
            | Fact::Weekday
            | Fact::Approvals => continue,
        };
        all.push((fact.as_str().to_owned(), value));
    }
    all
}

/// A statement's context with the bound of one of its parts.
pub(super) fn bounded(mut common: Vec<Pair>, bound: Bound, reads: FactSet) -> Option<Context> {
    let name = match bound {
        Bound::NotApplicable => "none",
        Bound::Bounded => "bounded",
        Bound::Weak => "weak",
        Bound::Unbounded => "unbounded",
    };
    let truth = RestrictedExpression::new_bool(bound != Bound::Unbounded);
    for (fact, value) in [(Fact::Bound, text(name)), (Fact::Bounded, truth)] {
        if reads.contains(fact) {
            common.push((fact.as_str().to_owned(), value));
        }
    }
    Context::from_pairs(common).ok()
}

fn understood(about: &About<'_>) -> bool {
    let own = super::asks::own_effects(about.statement, about.prepared);
    !own.contains(crate::sql::Effect::Unknown) && about.prepared.is_none_or(Facts::understood)
}

fn filters_on_masked(statement: &Statement, about: &About<'_>) -> bool {
    let picked = |column: &&Column| column.uses.contains(ColumnUse::Filtered);
    statement.columns.iter().filter(picked).any(|column| {
        let table = statement.objects.get(column.relation as usize);
        let Some(Object { schema, name: relation, .. }) = table else { return false };
        let (catalog, schema) = (about.catalog, schema.as_deref());
        let sensitive = match (column.name.as_deref(), column.place) {
            (Some(name), _) => {
                let is_row =
                    || column.row && catalog.has_column(schema, relation, name) != Some(true);
                match catalog.is_sensitive(schema, relation, name) {
                    Some(true) => Some(true),
                    _ if is_row() => catalog.has_sensitive(schema, relation),
                    known => known,
                }
            }
            (None, Some(place)) => catalog.is_sensitive_at(schema, relation, place),
            // Its whole row, or one that can't be told.
            (None, None) => catalog.has_sensitive(schema, relation),
        };
        sensitive == Some(true)
    })
}

/// Which of its values goes into which column isn't told: one of them is a mask's.
fn writes_masked(statement: &Statement, about: &About<'_>) -> bool {
    let written = |column: &&Column| column.uses.contains(ColumnUse::Written);
    statement.columns.iter().filter(written).any(|column| {
        let table = statement.objects.get(column.relation as usize);
        let Some(Object { schema, name: relation, .. }) = table else { return false };
        let (schema, name) = (schema.as_deref(), column.name.as_deref());
        let sensitive = match name {
            Some(name) => about.catalog.is_sensitive(schema, relation, name),
            None => about.catalog.has_sensitive(schema, relation),
        };
        // Dots alone may be anybody's where nothing says what the column holds.
        let by_content = about.circumstances.carries == Trace::Certain;
        sensitive == Some(true) || by_content && about.catalog.is_scanned(schema, relation, name)
    })
}

fn columns_known(statement: &Statement, about: &About<'_>) -> bool {
    statement.columns.iter().all(|column| {
        column.name.as_deref().is_none_or(|name| {
            let table = statement.objects.get(column.relation as usize);
            table.is_some_and(|table| {
                about.catalog.has_column(table.schema.as_deref(), &table.name, name).is_some()
            })
        })
    })
}

/// What the code may do that the statement stores for later.
fn defines(about: &About<'_>) -> impl Iterator<Item = crate::sql::Effect> {
    let index = about.facts.statements.iter().position(|one| std::ptr::eq(one, about.statement));
    let index = index.and_then(|index| u32::try_from(index).ok());
    let later =
        about.facts.statements.iter().filter(|one| one.later_of.is_some() && one.later_of == index);
    let effects = later.fold(crate::sql::Effects::NONE, |all, one| all.union(one.effects));
    effects.iter().collect::<Vec<_>>().into_iter()
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn texts(values: impl Iterator<Item = String>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(RestrictedExpression::new_string))
}
