use crate::model::ActorKind;
use crate::policy::testing::{Asker, source, with};
use crate::policy::vocabulary::{Action, Fact};
use crate::policy::{Layers, Set};
use crate::sql::{Effect, Effects};

fn load(packs: &[&str], own: &str) -> Set {
    Set::load(&Layers {
        packs: packs.iter().map(|name| (*name).to_owned()).collect(),
        own: vec![source(own)],
        ..Layers::default()
    })
    .unwrap()
}

#[test]
fn a_policy_of_the_same_name_takes_its_place() {
    let asker = Asker::new(ActorKind::Terminal, None);
    let own = load(
        &[],
        r#"@id("default/drop") @reason("no") forbid (principal in Kind::"agent",
           action == Action::"drop", resource);"#,
    );
    assert_eq!(own.policies().len(), Set::embedded().unwrap().policies().len());
    assert_eq!(asker.told(&own, "drop table a"), "allow");
    let off = load(
        &[],
        r#"@id("default/drop") @off("we restore from backups") permit (principal, action,
           resource);"#,
    );
    assert!(off.policy("default/drop").is_none());
    assert_eq!(asker.told(&off, "drop table a"), "allow");
    assert_eq!(asker.told(&off, "truncate a"), "hold default/truncate");
    // What takes nothing out is worth a remark.
    let nothing =
        load(&[], r#"@id("defualt/drop") @off("x") permit (principal, action, resource);"#);
    let remarks: Vec<_> = nothing.remarks().iter().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        ["own.cedar:1: no policy is called `defualt/drop`: this takes nothing out"]
    );
}

#[test]
fn packs_are_laid_over_the_default() {
    let agent = Asker::new(ActorKind::Agent, Some("development"));
    assert_eq!(agent.told(&load(&["ai-agents"], ""), "drop table a"), "hold ai-agents/destroy");
    assert_eq!(agent.told(&load(&["read-only"], ""), "drop table a"), "refuse read-only/write");
    let unknown = Set::load(&Layers { packs: vec!["ai-agent".into()], ..Layers::default() });
    let told = unknown.err().unwrap().to_string();
    assert!(told.contains("no pack is called `ai-agent`: ai-agents, read-only"), "{told}");
}

#[test]
fn the_generation_is_of_the_content() {
    let text = r#"@id("a") @reason("b") forbid (principal, action == Action::"read", resource);"#;
    let one = with(text);
    assert_eq!(one.generation(), with(text).generation());
    assert_ne!(one.generation(), with(&text.replace("\"b\"", "\"c\"")).generation());
    assert_ne!(one.generation(), Set::embedded().unwrap().generation());
    // Where a policy stands is no part of it.
    assert_eq!(one.generation(), with(&format!("\n\n// note\n{text}")).generation());
}

#[test]
fn a_set_knows_what_its_policies_look_at() {
    let set = with(
        r#"@id("a") @reason("b") forbid (principal, action == Action::"read", resource)
           when { context.hour < 8 && context.functions.contains("f") };
           @id("c") @reason("d") forbid (principal, action == Action::"insert", resource)
           unless { resource is Table && resource.schema == "own" };
           @id("e") @reason("f") forbid (principal, action == Action::"export", resource)
           when { resource in Schema::"db.example:5432/shop/hr" };"#,
    );
    let read = set.reads(Effects::of(Effect::Read));
    assert!(read.contains(Fact::Hour) && read.contains(Fact::Functions));
    assert!(!read.contains(Fact::Weekday) && !read.contains(Fact::Transaction));
    assert!(!set.reads(Effects::of(Effect::Insert)).contains(Fact::Hour));
    assert!(set.reads(Effects::of(Effect::Update)).contains(Fact::Bounded));
    let tells = |effect| set.slice(Action::Does(effect)).unwrap().tells_names;
    assert!(tells(Effect::Insert) && tells(Effect::Export));
    assert!(!tells(Effect::Read) && !tells(Effect::Drop));
}

#[test]
fn a_slice_holds_what_can_fit_its_action() {
    let set = Set::embedded().unwrap();
    let names = |effect| {
        let slice = set.slice(Action::Does(effect)).unwrap();
        let mut names: Vec<_> =
            slice.policies.policies().map(|policy| policy.id().to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(Effect::Read), ["default/agent-probe", "default/permit"]);
    assert_eq!(names(Effect::Drop), ["default/drop", "default/permit"]);
    assert_eq!(
        names(Effect::Delete),
        ["default/agent-nearly-all", "default/agent-probe", "default/permit", "default/unbounded"]
    );
}
