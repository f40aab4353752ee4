//! A question → a ruling: the engine is asked once for each action on each thing.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, Response,
    RestrictedExpression,
};

use super::asks::{Ask, Asks, MOST, Thing, executes, kind_name};
use super::catalog::Catalog;
use super::context::{About, Circumstances, bounded, common, of_statement};
use super::permit::{Cause, Ruling, Stance, Verdict, Why};
use super::scene::{Scene, Subject, entity, text, uid};
use super::set::{Set, Slice};
use super::vocabulary::{Action, Fact, FactSet};
use crate::sql::{Bound, Facts, Statement};

/// May this run, now, for this one, here?
#[derive(Clone, Copy)]
pub struct Question<'q> {
    pub subject: &'q Subject,
    pub scene: &'q Scene,
    pub facts: &'q Arc<Facts>,
    /// For each statement that runs a prepared one or a cursor by name
    /// ([`Set::executes`]), in order: the text in which that was prepared. What is
    /// missing stays unknown.
    pub prepared: &'q [Option<Arc<Facts>>],
    pub circumstances: Circumstances<'q>,
    pub catalog: &'q dyn Catalog,
}

/// How many things are asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Few {
    /// One of those that no policy tells apart.
    Alike,
    Each,
}

impl Set {
    /// Decides without a cache.
    pub fn decide(&self, question: &Question<'_>, stance: Stance) -> Verdict {
        let ruling = Arc::new(self.rule(question));
        verdict(ruling, question, stance)
    }

    /// The statements that run a prepared one or a cursor by name: what these hold is to
    /// be handed in with the question.
    pub fn executes(facts: &Facts) -> impl Iterator<Item = &Statement> {
        facts.running().filter(|one| executes(one))
    }

    /// What is asked for a text, for people: each action on each thing.
    pub fn asked(&self, question: &Question<'_>) -> Vec<(Action, String)> {
        let mut all = Vec::new();
        for_each(question, |about| {
            let asks = Asks::of(about.statement, about.prepared, about.scene, about.catalog);
            for ask in asks.all {
                let one = (Action::Does(ask.effect), ask.thing.to_string());
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        });
        all
    }

    /// May this actor have a session here at all?
    pub fn connect(
        &self,
        subject: &Subject,
        scene: &Scene,
        circumstances: &Circumstances<'_>,
    ) -> Ruling {
        let mut ruling = self.ruling();
        let slice = self.locals().of(subject, scene).slice(self, Action::Connect);
        let reads = slice.as_ref().map_or(FactSet::ALL, |slice| slice.reads);
        let entities = store(subject, scene, &[Action::Connect], Vec::new());
        let context = Context::from_pairs(common(scene, circumstances, reads)).ok();
        let Some(((entities, context), slice)) = entities.zip(context).zip(slice) else {
            ruling.fail(Action::Connect, "the database".into());
            return ruling;
        };
        let policies = &slice.policies;
        let answer = ask(policies, subject, Action::Connect, scene.database(), context, &entities);
        let missing = missing(scene, circumstances);
        self.judge(answer, Action::Connect, "the database", missing, &mut ruling);
        ruling
    }

    pub(super) fn ruling(&self) -> Ruling {
        Ruling::new(self.generation())
    }

    pub(super) fn rule(&self, question: &Question<'_>) -> Ruling {
        let mut ruling = self.ruling();
        let few = question.facts.telling().count() <= MOST_STATEMENTS;
        let mut left = few.then_some(2 * MOST);
        for_each(question, |about| {
            if let Some(may) = left {
                let asked = self.statement(question.subject, &about, Few::Alike, &mut ruling);
                left = may.checked_sub(asked);
            }
        });
        if left.is_none() {
            ruling.causes.push(Cause {
                action: Action::Does(crate::sql::Effect::Unknown),
                thing: "the database".into(),
                why: Why::TooMuch,
            });
            ruling.sort();
        }
        ruling
    }

    /// The same ruling with a cause for every single thing, for people who want to
    /// know: a decision asks once for things that no policy tells apart.
    pub fn ruling_on_each(&self, question: &Question<'_>) -> Ruling {
        let mut ruling = self.ruling();
        for_each(question, |about| {
            self.statement(question.subject, &about, Few::Each, &mut ruling);
        });
        ruling
    }

    /// How often the engine is asked.
    fn statement(
        &self,
        subject: &Subject,
        about: &About<'_>,
        few: Few,
        ruling: &mut Ruling,
    ) -> usize {
        let mut asks = Asks::of(about.statement, about.prepared, about.scene, about.catalog);
        self.elsewhere(about.scene, &mut asks);
        ruling.meets_code |= asks.meets_code;
        ruling.hangs_on_path |= asks.hangs_on_path;
        asks.all.iter().for_each(|ask| ruling.asked.insert(ask.effect));
        if asks.all.is_empty() {
            // It does nothing that policies speak of: BEGIN, COMMIT, ROLLBACK, SET,
            // DEALLOCATE, DISCARD. Nothing can refuse these.
            return 0;
        }
        let action = |ask: &Ask| Action::Does(ask.effect);
        if asks.too_many {
            ruling.causes.extend(asks.all.first().map(|ask| Cause {
                action: action(ask),
                thing: ask.thing.to_string(),
                why: Why::TooMuch,
            }));
            return 0;
        }
        let local = self.locals().of(subject, about.scene);
        let mut reads = FactSet::NONE;
        let mut kept: Vec<(&Ask, Arc<Slice>)> = Vec::with_capacity(asks.all.len());
        for ask in &asks.all {
            let Some(slice) = local.slice(self, action(ask)) else {
                ruling.fail(action(ask), ask.thing.to_string());
                continue;
            };
            // Where no policy tells tables apart, one stands for all of its like.
            let tells = few == Few::Each || slice.tells_names;
            if tells || !kept.iter().any(|(other, _)| alike(ask, other)) {
                reads = reads.union(slice.reads);
                kept.push((ask, slice));
            }
        }
        let mut things = Things::new(about.scene);
        let uids: Vec<EntityUid> = kept.iter().map(|(ask, _)| things.add(&ask.thing)).collect();
        let mut actions: Vec<Action> = kept.iter().map(|(ask, _)| action(ask)).collect();
        actions.sort();
        actions.dedup();
        let Some(store) = store(subject, about.scene, &actions, things.entities) else {
            ruling.fail(Action::Does(crate::sql::Effect::Unknown), "the database".into());
            return 0;
        };
        let asked = kept.len();
        let pairs = of_statement(about, reads);
        let mut contexts: Vec<(Bound, Option<Context>)> = Vec::new();
        for ((ask, slice), uid) in kept.into_iter().zip(uids) {
            let known = contexts.iter().find(|(bound, _)| *bound == ask.bound);
            let context = match known {
                Some((_, context)) => context.clone(),
                None => {
                    let context = bounded(pairs.clone(), ask.bound, reads);
                    contexts.push((ask.bound, context.clone()));
                    context
                }
            };
            let action = action(ask);
            let thing = || ask.thing.to_string();
            let Some(context) = context else {
                ruling.fail(action, thing());
                continue;
            };
            let lifted = about.circumstances.lifted;
            let answer = if lifted.is_empty() {
                self::ask(&slice.policies, subject, action, &uid, context, &store)
            } else {
                let left = self.without(&slice, lifted, ruling);
                self::ask(&left, subject, action, &uid, context, &store)
            };
            self.judge(answer, action, &thing(), missing(about.scene, about.circumstances), ruling);
        }
        self.anywhere(subject, about, ruling);
        asked
    }

    /// What is left when somebody has lifted the refusals of these policies; those
    /// that nobody may lift stay.
    fn without(&self, slice: &Slice, lifted: &[String], ruling: &mut Ruling) -> PolicySet {
        let mut left = slice.policies.clone();
        for id in lifted {
            let Some(policy) = self.policy(id).filter(|policy| policy.hold.is_some()) else {
                continue;
            };
            // It may fit other actions only.
            let fits = left.remove_static(cedar_policy::PolicyId::new(id)).is_ok();
            if fits && !ruling.lifted.iter().any(|known| known.id == policy.id) {
                ruling.lifted.push(Arc::clone(policy));
            }
        }
        left
    }

    /// Adds an answer to a ruling. `missing`: facts that nobody knows.
    pub(super) fn judge(
        &self,
        answer: Option<Response>,
        action: Action,
        thing: &str,
        missing: FactSet,
        ruling: &mut Ruling,
    ) {
        let Some(answer) = answer else { return ruling.fail(action, thing.to_owned()) };
        let mut causes = Vec::new();
        // Permits that might have been given.
        let mut unanswered = Vec::new();
        // A policy that can't be evaluated is skipped by the engine: one that forbids
        // must not be lost that way.
        for error in answer.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = self.policy(error.policy_id().as_ref());
            let unknown = policy.and_then(|policy| {
                let asked = self.reads_of(&policy.id).both(missing);
                let fact = Fact::ALL.iter().find(|fact| asked.contains(**fact))?;
                Some(Why::Unknown(Arc::clone(policy), *fact))
            });
            match (policy.is_none_or(|policy| policy.forbids), unknown) {
                (true, unknown) => {
                    causes.push(unknown.unwrap_or_else(|| Why::Failed(error.to_string())));
                }
                (false, unknown) => unanswered.extend(unknown),
            }
        }
        let mut determining: Vec<_> =
            answer.diagnostics().reason().filter_map(|id| self.policy(id.as_ref())).collect();
        determining.sort_by(|one, other| one.id.cmp(&other.id));
        if answer.decision() == Decision::Allow {
            for policy in determining {
                let says = policy.reason.is_some() || policy.severity.is_some();
                if says && !ruling.flags.iter().any(|known| known.id == policy.id) {
                    ruling.flags.push(Arc::clone(policy));
                }
            }
        } else if determining.is_empty() {
            if causes.is_empty() {
                causes = unanswered;
            }
            if causes.is_empty() {
                causes.push(Why::NotPermitted);
            }
        } else {
            causes.extend(determining.into_iter().map(|policy| Why::Forbidden(Arc::clone(policy))));
        }
        for why in causes {
            // A name that may mean several things is asked about more than once.
            let cause = Cause { action, thing: thing.to_owned(), why };
            if !ruling.causes.contains(&cause) {
                ruling.causes.push(cause);
            }
        }
        ruling.sort();
    }
}

/// Different statements of one text that are asked about: what asks takes time that
/// others wait.
const MOST_STATEMENTS: usize = 1_024;

/// Each statement that runs or is kept to run later, with what it needs to be asked about.
fn for_each(question: &Question<'_>, mut each: impl FnMut(About<'_>)) {
    let Question { scene, facts, circumstances, catalog, .. } = question;
    let mut prepared = question.prepared.iter();
    // What comes first in a text may take away what the rest of it means.
    let mut then: Option<Scene> = None;
    for statement in facts.telling() {
        let prepared =
            if executes(statement) { prepared.next().and_then(Option::as_deref) } else { None };
        let scene = then.as_ref().unwrap_or(scene);
        let within = scene.within(statement);
        let here = within.as_ref().unwrap_or(scene);
        each(About { facts, statement, prepared, scene: here, catalog: *catalog, circumstances });
        then = scene.behind(statement).or(then);
    }
    // What is kept runs by another name: a view's, a table's that has a default; and
    // where nobody has these temporary tables.
    let elsewhere = scene.without_temporary();
    let scene = elsewhere.as_ref().unwrap_or(scene);
    for statement in facts.later() {
        let prepared = None;
        each(About { facts, statement, prepared, scene, catalog: *catalog, circumstances });
    }
}

impl Ruling {
    /// What nobody may lift is told first.
    pub(super) fn sort(&mut self) {
        self.causes.sort_by_key(|cause| match &cause.why {
            Why::Forbidden(policy) => (policy.hold.is_some(), 0),
            Why::Unknown(..) | Why::Failed(_) | Why::TooMuch => (false, 1),
            Why::NotPermitted => (false, 2),
        });
    }

    pub(super) fn fail(&mut self, action: Action, thing: String) {
        let why = Why::Failed("the question could not be put to the policies".into());
        self.causes.push(Cause { action, thing, why });
    }
}

pub(super) fn verdict(ruling: Arc<Ruling>, question: &Question<'_>, stance: Stance) -> Verdict {
    let in_transaction = question.circumstances.transaction.is_open();
    Verdict::new(ruling, Arc::clone(question.facts), stance, in_transaction)
}

/// What is not known of a request, and so not given to the policies.
pub(super) fn missing(scene: &Scene, circumstances: &Circumstances<'_>) -> FactSet {
    let role = (scene.target().role.known().is_none(), Fact::Role);
    let values = (circumstances.parameters.is_none(), Fact::Parameters);
    let missing = [role, values].into_iter().filter(|(missing, _)| *missing);
    missing.fold(FactSet::NONE, |all, (_, fact)| all.with(fact))
}

fn alike(one: &Ask, other: &Ask) -> bool {
    if one.effect != other.effect || one.bound != other.bound {
        return false;
    }
    match (&one.thing, &other.thing) {
        (
            Thing::Table { kind, temporary, .. },
            Thing::Table { kind: other_kind, temporary: other_temporary, .. },
        ) => kind == other_kind && temporary == other_temporary,
        (
            Thing::Object { kind, known, .. },
            Thing::Object { kind: other_kind, known: other_known, .. },
        ) => kind == other_kind && known == other_known,
        (one, other) => one == other,
    }
}

pub(super) fn ask(
    policies: &PolicySet,
    subject: &Subject,
    action: Action,
    resource: &EntityUid,
    context: Context,
    entities: &Entities,
) -> Option<Response> {
    #[cfg(test)]
    tests::ASKED.set(tests::ASKED.get() + 1);
    let action = uid("Action", action.as_str());
    let request =
        Request::new(subject.uid().clone(), action, resource.clone(), context, None).ok()?;
    Some(Authorizer::new().is_authorized(&request, policies, entities))
}

/// Everything that the policies may ask about: actor, place, actions and things.
pub(super) fn store(
    subject: &Subject,
    scene: &Scene,
    actions: &[Action],
    things: Vec<Entity>,
) -> Option<Entities> {
    let actions = actions.iter().map(|action| {
        let groups = action.groups().iter().map(|group| uid("Action", group));
        Entity::new_no_attrs(uid("Action", action.as_str()), groups.collect())
    });
    let known = subject.entities().iter().chain(scene.entities()).cloned();
    Entities::from_entities(known.chain(actions).chain(things), None).ok()
}

/// The entities of a statement's things.
pub(super) struct Things<'s> {
    scene: &'s Scene,
    pub entities: Vec<Entity>,
    known: HashSet<EntityUid>,
}

impl<'s> Things<'s> {
    pub fn new(scene: &'s Scene) -> Self {
        Self { scene, entities: Vec::new(), known: HashSet::new() }
    }

    pub fn add(&mut self, thing: &Thing) -> EntityUid {
        let database = text(&self.scene.target().database);
        let truth = RestrictedExpression::new_bool;
        match thing {
            Thing::Database => self.scene.database().clone(),
            Thing::Schema(name) => self.schema(name),
            Thing::Table { schema, name, kind, temporary, .. } => {
                let uid = uid("Table", &self.scene.path(&[schema, name]));
                let kind = match kind {
                    crate::sql::facts::ObjectKind::Relation => "table".into(),
                    kind => kind_name(*kind),
                };
                let attributes = [
                    ("name", text(name)),
                    ("schema", text(schema)),
                    ("database", database),
                    ("kind", text(&kind)),
                    ("temporary", truth(*temporary)),
                ];
                let parent = self.schema(schema);
                self.keep(uid, attributes, parent)
            }
            Thing::Object { schema, name, kind, known } => {
                let kind = kind_name(*kind);
                let uid = uid(
                    "Object",
                    &self.scene.path(&[schema.as_deref().unwrap_or_default(), &kind, name]),
                );
                let mut attributes = vec![
                    ("name", text(name)),
                    ("database", database),
                    ("kind", text(&kind)),
                    ("known", truth(*known)),
                ];
                attributes.extend(schema.as_deref().map(|schema| ("schema", text(schema))));
                let parent = match schema {
                    Some(schema) => self.schema(schema),
                    None => self.scene.database().clone(),
                };
                self.keep(uid, attributes, parent)
            }
        }
    }

    fn schema(&mut self, name: &str) -> EntityUid {
        let uid = uid("Schema", &self.scene.path(&[name]));
        let database = text(&self.scene.target().database);
        let attributes = [("name", text(name)), ("database", database)];
        self.keep(uid, attributes, self.scene.database().clone())
    }

    /// Each thing once, as it was first seen: a view may be named as a table too.
    fn keep(
        &mut self,
        uid: EntityUid,
        attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
        parent: EntityUid,
    ) -> EntityUid {
        if self.known.insert(uid.clone()) {
            self.entities.push(entity(uid.clone(), attributes, vec![parent]));
        }
        uid
    }
}

#[cfg(test)]
pub(super) mod tests;
