//! The policies are asked: about a statement, and about what an actor may see.

use std::sync::Arc;

use super::Judge;
use super::named::Named;
use crate::enforcer::means::Means;
use crate::enforcer::postgres::gate::{Judged, Understood};
use crate::enforcer::postgres::parameters;
use crate::enforcer::postgres::sights::Viewer;
use crate::mask::postgres::plan::ColumnName;
use crate::mask::{Class, Mask};
use crate::model::{Timestamp, Trace};
use crate::policy::values::Value;
use crate::policy::vocabulary::Fact;
use crate::policy::{
    Circumstances, Question, RevealScope, Set, Sight, Stance, Transaction, Verdict, Viewed,
};
use crate::sql::facts::{Facts, Statement, Verb};
use crate::wire::postgres::Transaction as Said;
use crate::wire::postgres::session::{Runs, Session};

/// What decides about a request beside its text and its session.
#[derive(Clone, Copy)]
pub(in crate::enforcer::postgres) struct Passing<'p> {
    pub lifted: &'p [String],
    pub carries: Trace,
    pub values: Option<&'p [Value]>,
    pub named: Named,
}

impl Judge {
    pub(in crate::enforcer::postgres) fn decide(
        &self,
        statement: &Understood,
        session: &Session<Judged>,
        means: &Means,
        passing: Passing<'_>,
    ) -> Verdict {
        let Passing { lifted, carries, values, named } = passing;
        let policies = &means.policies;
        let prepared: Vec<Option<Arc<Facts>>> = Set::executes(&statement.facts)
            .map(|one| named.prepared(one, &statement.facts, session))
            .collect();
        let transaction = match session.transaction() {
            Said::Open => Transaction::Open,
            Said::Failed => Transaction::Failed,
            Said::Idle if session.in_transaction() => Transaction::Pipeline,
            Said::Idle => Transaction::Idle,
        };
        let question = Question {
            subject: &self.subject,
            scene: &self.scene,
            facts: &statement.facts,
            prepared: &prepared,
            circumstances: Circumstances {
                transaction,
                lifted,
                carries,
                parameters: values,
                ..Circumstances::new(Timestamp::now())
            },
            catalog: &Viewer { judge: self, means },
        };
        means.shared.rulings.decide(&policies.set, &question, self.stance(means))
    }

    /// What is bound to a request, where a policy asks for it at all. `None`: it can't be
    /// told, or comes later.
    pub(super) fn values(
        &self,
        runs: &Runs<'_, Judged>,
        statement: &Understood,
        means: &Means,
    ) -> Option<Arc<[Value]>> {
        if !means.policies.set.reads_any(Fact::Parameters) {
            return None;
        }
        let unicode = self.is_unicode();
        match runs {
            // What an EXECUTE gives is written in its text, as expressions.
            _ if Set::executes(&statement.facts).next().is_some() => None,
            Runs::Query(_) => {
                let prepares = |one: &Statement| one.verb == Verb::Prepare;
                (!statement.facts.running().any(prepares)).then(Arc::default)
            }
            Runs::Parse(_) => None,
            Runs::Bind(bind, known) => {
                let types = known.as_ref().map_or(&[][..], |known| known.value.parameters());
                Some(parameters::values(bind.parameters, bind.formats, types, unicode))
            }
            Runs::Execute(_, portal) => {
                let portal = portal.as_ref().filter(|known| known.certain && known.value.certain);
                portal?.value.permit.values.clone()
            }
            Runs::FunctionCall(call) => {
                Some(parameters::values(call.arguments, call.formats, &[], unicode))
            }
        }
    }

    pub fn stance(&self, means: &Means) -> Stance {
        means.policies.stance(self.kind, &self.names)
    }

    /// What the policies can say of this actor's sight at all.
    pub fn scope_of_reveal(&self, means: &Means) -> RevealScope {
        means.policies.set.scope_of_reveal(&self.subject, &self.scene)
    }

    /// What is done to a class, in a column or wherever it turns up.
    pub fn mask(&self, means: &Means, class: Class, column: ColumnName<'_>) -> Mask {
        let ColumnName { schema, table, column } = column;
        let path = class.path();
        let viewed = Viewed { schema, table, column, class: &path };
        let circumstances = Circumstances::new(Timestamp::now());
        let sights =
            means.policies.set.reveal(&self.subject, &self.scene, &circumstances, &[viewed]);
        match sights.into_iter().next() {
            Some(Sight::Clear { .. }) => Mask::Keep,
            Some(Sight::Masked { mask: Some(mask), .. }) => {
                mask.parse().unwrap_or_else(|_| class.default_mask())
            }
            Some(Sight::Masked { mask: None, .. }) | None => class.default_mask(),
        }
    }
}
