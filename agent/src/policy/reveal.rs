//! May this actor see a column in the clear? Without a permit: no.

use std::sync::Arc;

use cedar_policy::Context;

use super::context::{Circumstances, common};
use super::decide::{ask, missing, store};
use super::permit::{Ruling, Why};
use super::scene::{Scene, Subject, entity, text, uid};
use super::set::Set;
use super::source::Policy;
use super::vocabulary::{Action, FactSet};

/// A sensitive column, as the mask knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Viewed<'c> {
    pub schema: &'c str,
    pub table: &'c str,
    pub column: &'c str,
    /// `secret`, `person.email`: a class is within those that its dots name.
    pub class: &'c str,
}

/// How a column is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Clear {
        /// The policies that permit it.
        by: Vec<Arc<Policy>>,
    },
    Masked {
        /// What its policies ask for; `None`: what fits the class.
        mask: Option<Box<str>>,
        /// The policies that forbid it; empty: none permits it.
        by: Vec<Arc<Policy>>,
    },
}

/// What the policies can say of one actor's sight, before any column is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevealScope {
    /// No policy speaks of it: nothing may be seen.
    pub nothing: bool,
    /// One of them tells one table from another.
    pub tells_names: bool,
}

impl Set {
    pub fn scope_of_reveal(&self, subject: &Subject, scene: &Scene) -> RevealScope {
        match self.locals().of(subject, scene).slice(self, Action::Reveal) {
            Some(slice) => {
                RevealScope { nothing: slice.policies.is_empty(), tells_names: slice.tells_names }
            }
            None => RevealScope { nothing: true, tells_names: false },
        }
    }

    /// One answer for each column, in order. Those that no policy tells apart are asked
    /// about once.
    pub fn reveal(
        &self,
        subject: &Subject,
        scene: &Scene,
        circumstances: &Circumstances<'_>,
        columns: &[Viewed<'_>],
    ) -> Vec<Sight> {
        let masked = || Sight::Masked { mask: None, by: Vec::new() };
        let slice = self.locals().of(subject, scene).slice(self, Action::Reveal);
        let reads = slice.as_ref().map_or(FactSet::ALL, |slice| slice.reads);
        let context = Context::from_pairs(common(scene, circumstances, reads)).ok();
        let Some((context, slice)) = context.zip(slice) else {
            return columns.iter().map(|_| masked()).collect();
        };
        let alike = |one: &Viewed<'_>, other: &Viewed<'_>| {
            one == other || !slice.tells_names && one.class == other.class
        };
        let mut known: Vec<(Viewed<'_>, Sight)> = Vec::new();
        columns
            .iter()
            .map(|column| {
                if let Some((_, sight)) = known.iter().find(|(other, _)| alike(other, column)) {
                    return sight.clone();
                }
                let (uid, entities) = entities(scene, column);
                let store = store(subject, scene, &[Action::Reveal], entities);
                let sight = store.map_or_else(masked, |store| {
                    let context = context.clone();
                    let policies = &slice.policies;
                    let answer = ask(policies, subject, Action::Reveal, &uid, context, &store);
                    self.sight(answer, missing(scene, circumstances))
                });
                known.push((*column, sight.clone()));
                sight
            })
            .collect()
    }

    fn sight(&self, answer: Option<cedar_policy::Response>, missing: FactSet) -> Sight {
        let determining = || {
            let reason = answer.iter().flat_map(|answer| answer.diagnostics().reason());
            let mut by: Vec<_> =
                reason.filter_map(|id| self.policy(id.as_ref())).cloned().collect();
            by.sort_by(|one, other| one.id.cmp(&other.id));
            by
        };
        let mut ruling: Ruling = self.ruling();
        self.judge(answer.clone(), Action::Reveal, "", missing, &mut ruling);
        if ruling.allows() {
            return Sight::Clear { by: determining() };
        }
        let forbidding = ruling.causes.into_iter().filter_map(|cause| match cause.why {
            Why::Forbidden(policy) => Some(policy),
            _ => None,
        });
        let by: Vec<Arc<Policy>> = forbidding.collect();
        // Where several ask for a mask the first by name has it: they are sorted.
        let mask = by.iter().find_map(|policy| policy.mask.clone());
        Sight::Masked { mask, by }
    }
}

fn entities(
    scene: &Scene,
    column: &Viewed<'_>,
) -> (cedar_policy::EntityUid, Vec<cedar_policy::Entity>) {
    let Viewed { schema, table, column, class } = *column;
    let database = || text(&scene.target().database);
    let truth = cedar_policy::RestrictedExpression::new_bool;
    let within = uid("Schema", &scene.path(&[schema]));
    let of = uid("Table", &scene.path(&[schema, table]));
    let own = uid("Column", &scene.path(&[schema, table, column]));
    let mut parents = vec![of.clone(), uid("Class", class)];
    let dots = class.match_indices('.').filter_map(|(dot, _)| class.get(..dot));
    parents.extend(dots.map(|wider| uid("Class", wider)));
    let all = vec![
        entity(
            within.clone(),
            [("name", text(schema)), ("database", database())],
            vec![scene.database().clone()],
        ),
        entity(
            of,
            [
                ("name", text(table)),
                ("schema", text(schema)),
                ("database", database()),
                ("kind", text("table")),
                ("temporary", truth(schema.starts_with("pg_temp"))),
            ],
            vec![within],
        ),
        entity(
            own.clone(),
            [
                ("name", text(column)),
                ("table", text(table)),
                ("schema", text(schema)),
                ("database", database()),
                ("class", text(class)),
            ],
            parents,
        ),
    ];
    (own, all)
}

#[cfg(test)]
mod tests;
