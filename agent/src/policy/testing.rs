//! What the room's tests are written with.

use std::sync::Arc;

use super::{
    Circumstances, NoCatalog, Question, Scene, Set, Source, Stance, Subject, Target, Verdict,
};
use crate::model::{ActorKind, Principal, Timestamp};

use crate::sql::{Cell, Facts, LexingState};

pub fn actor(kind: ActorKind) -> Principal {
    Principal {
        kind,
        workload: "web.service".into(),
        person: None,
        user: Some("app".into()),
        program: Some("/usr/bin/app".into()),
        groups: Vec::new(),
    }
}

pub fn subject(kind: ActorKind) -> Subject {
    Subject::new(actor(kind))
}

pub fn target(environment: Option<&str>) -> Target {
    Target {
        server: "db.example:5432".into(),
        environment: environment.map(Into::into),
        database: "shop".into(),
        role: "app".into(),
        search_path: None,
        anywhere: false,
        temporary: Vec::new(),
    }
}

pub fn facts(text: &str) -> Arc<Facts> {
    Arc::new(Cell::quick(text.as_bytes(), &LexingState::default()).unwrap())
}

/// Friday, half past ten.
pub const NOW: Timestamp = Timestamp(1_795_170_600_000_000_000);

/// Everything a question is made of, to be changed at will.
pub struct Asker {
    pub subject: Subject,
    pub scene: Scene,
    pub circumstances: Circumstances<'static>,
    pub stance: Stance,
}

impl Asker {
    pub fn new(kind: ActorKind, environment: Option<&str>) -> Self {
        Self {
            subject: subject(kind),
            scene: Scene::new(target(environment)),
            circumstances: Circumstances::new(NOW),
            stance: Stance::of(kind, false),
        }
    }

    pub fn question<'q>(&'q self, facts: &'q Arc<Facts>) -> Question<'q> {
        Question {
            subject: &self.subject,
            scene: &self.scene,
            facts,
            prepared: &[],
            circumstances: self.circumstances,
            catalog: &NoCatalog,
        }
    }

    pub fn ask(&self, set: &Set, text: &str) -> Verdict {
        let facts = facts(text);
        set.decide(&self.question(&facts), self.stance)
    }

    /// `allow`, or the verdict with the policies behind it.
    pub fn told(&self, set: &Set, text: &str) -> String {
        let verdict = self.ask(set, text);
        let ruling = verdict.ruling();
        let mut told = verdict.as_str().to_owned();
        for cause in &ruling.causes {
            let why = match &cause.why {
                super::Why::Forbidden(policy) => policy.id.to_string(),
                super::Why::Unknown(policy, fact) => {
                    format!("unknown {}: {}", fact.as_str(), policy.id)
                }
                other => format!("{other:?}"),
            };
            if !told.contains(&why) {
                told.push(' ');
                told.push_str(&why);
            }
        }
        told
    }
}

pub fn source(text: &str) -> Source {
    Source { name: "own.cedar".into(), text: text.into() }
}

/// The default policies and these.
pub fn with(text: &str) -> Set {
    let layers = super::Layers { own: vec![source(text)], ..super::Layers::default() };
    Set::load(&layers).unwrap()
}
