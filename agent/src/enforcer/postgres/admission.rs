//! May this actor have a session here at all? Asked as soon as it is known who logs in
//! where, before the server hears of it.
//!
//! An approval is for a statement: what forbids a session can't be lifted by one. A
//! session that would begin with a setting which does more than say how its texts are read
//! is judged as a SET of it would be.

use std::iter;
use std::sync::Arc;

use super::principal::principal;
use super::words::{Fatal, INSUFFICIENT_PRIVILEGE};
use super::{Carriage, Fault};
use crate::enforcer::means::Means;
use crate::enforcer::relay::Io;
use crate::model::{Admission, Timestamp};
use crate::policy::{Circumstances, NoCatalog, Question, Scene, Stance, Subject, Target, Words};
use crate::sql::{Cell, LexingState};

impl<I: Io> Carriage<I> {
    /// `role`: by which the server will be asked to let it in.
    pub(super) fn admit(&mut self, role: &str, means: &Means) -> Result<(), Fault> {
        let subject = Subject::new(principal(&self.flow));
        let terms = &self.destination.terms;
        let scene = Scene::new(Target {
            server: terms.name.clone(),
            environment: terms.environment.clone(),
            database: self.carried.database.clone().unwrap_or_default(),
            role: role.into(),
            search_path: None,
            anywhere: false,
            temporary: Vec::new(),
        });
        let policies = &means.policies;
        let circumstances = Circumstances::new(Timestamp::now());
        let ruling = Arc::new(policies.set.connect(&subject, &scene, &circumstances));
        let setting = |name: &&str| {
            let text = format!("SET {name} = ''");
            let facts = Arc::new(Cell::quick(text.as_bytes(), &LexingState::default())?);
            let question = Question {
                subject: &subject,
                scene: &scene,
                facts: &facts,
                prepared: &[],
                circumstances,
                catalog: &NoCatalog,
            };
            Some(Arc::clone(policies.set.decide(&question, Stance::Enforced).ruling()))
        };
        let settings = self.given.guarded.iter().filter_map(setting);
        let mut rulings = iter::once(ruling).chain(settings);
        let Some(ruling) = rulings.find(|ruling| !ruling.allows()) else { return Ok(()) };
        let names: Vec<String> = self.flow.process.names().into_iter().map(str::to_owned).collect();
        let stance = policies.stance(subject.actor().kind, &names);
        self.carried.admission = Some(Admission {
            refused: stance == Stance::Enforced,
            policies: ruling.policies().iter().map(|policy| policy.id.to_string()).collect(),
            generation: ruling.generation.to_string(),
        });
        if stance == Stance::Shadow {
            return Ok(());
        }
        self.carried.refused_login = Some(INSUFFICIENT_PRIVILEGE.into());
        let Words { message, detail, hint } = ruling.words();
        Err(Fault::fatal(Fatal { sqlstate: INSUFFICIENT_PRIVILEGE, message, detail, hint }))
    }
}

#[cfg(test)]
mod tests;
