use super::Locals;
use crate::model::{ActorKind, Group, GroupKind};
use crate::policy::testing::{actor, target, with};
use crate::policy::vocabulary::Action;
use crate::policy::{Scene, Subject};
use crate::sql::Effect;

const OWN: &str = r#"
@id("kind") permit (principal in Kind::"agent", action, resource);
@id("other-kind") permit (principal in Kind::"service", action, resource);
@id("team") permit (principal is Actor in Team::"data", action, resource);
@id("me") permit (principal == Actor::"web.service", action, resource);
@id("else") permit (principal == Actor::"other", action, resource);
@id("here") permit (principal, action, resource in Environment::"production");
@id("there") permit (principal, action, resource in Environment::"staging");
@id("server") permit (principal, action, resource is Table in Server::"db.example:5432");
@id("database") permit (principal, action, resource == Database::"db.example:5432/shop");
@id("other-database") permit (principal, action, resource in Database::"db.example:5432/hr");
@id("table") permit (principal, action, resource in Table::"x/y/z/t");
"#;

#[test]
fn only_those_of_others_and_elsewhere_are_left_out() {
    let set = with(OWN);
    let mut actor = self::actor(ActorKind::Agent);
    actor.groups.push(Group { kind: GroupKind::Team, name: "data".into() });
    let (subject, scene) = (Subject::new(actor), Scene::new(target(None)));
    let action = Action::Does(Effect::Read);
    let locals = Locals::default();
    let local = locals.of(&subject, &scene);
    let left = local.slice(&set, action).unwrap();
    let mut names: Vec<_> =
        left.policies.policies().map(|policy| policy.id().to_string()).collect();
    names.sort();
    // What is left tells tables apart; what was left out for others doesn't count.
    assert!(left.tells_names);
    let drop = Action::Does(Effect::Drop);
    let other = Subject::new(self::actor(ActorKind::Terminal));
    let own = with(
        "@id(\"x\") permit (principal in Team::\"x\", action, resource is Table)
         when { resource.name == \"t\" };",
    );
    assert!(own.slice(drop).unwrap().tells_names);
    assert!(!Locals::default().of(&other, &scene).slice(&own, drop).unwrap().tells_names);
    assert_eq!(
        names,
        [
            "database",
            "default/agent-probe",
            "default/permit",
            "here",
            "kind",
            "me",
            "server",
            "table",
            "team"
        ]
    );
    // Met again: the same; somewhere else: not.
    assert!(std::sync::Arc::ptr_eq(&local, &locals.of(&subject, &scene)));
    let elsewhere = Scene::new(target(Some("staging")));
    let there = locals.of(&subject, &elsewhere).slice(&set, action).unwrap();
    let has = |id: &str| there.policies.policies().any(|policy| policy.id().to_string() == id);
    assert!(has("there") && !has("here"));
}
