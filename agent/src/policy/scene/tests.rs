use super::{Role, Scene, Subject, TYPES, Target};
use crate::model::{ActorKind, Group, GroupKind};
use crate::policy::testing::{actor, target};
use crate::policy::vocabulary::types;

#[test]
fn every_type_of_the_vocabulary_is_a_name() {
    for name in types() {
        assert!(TYPES.contains_key(name), "{name}");
    }
}

#[test]
fn the_search_path_says_where_a_name_is_looked_for() {
    let of = |path: Option<&str>| {
        let mut target = target(None);
        target.search_path = path.map(Into::into);
        Scene::new(target).schemas().to_vec()
    };
    let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<_>>();
    assert_eq!(of(None), names(&["app", "public"]));
    assert_eq!(of(Some(r#"Sales, "HR, old", pg_catalog, sales"#)), names(&["sales", "HR, old"]));
    assert_eq!(of(Some("")), names(&[]));
    let target = Target { role: Role::MayBe(vec!["a".into(), "b".into()]), ..target(None) };
    assert_eq!(Scene::new(target).schemas(), names(&["a", "b", "public"]));
}

#[test]
fn equal_ones_are_equal_whoever_made_them() {
    let one = actor(ActorKind::Agent);
    let mut other = one.clone();
    assert!(Subject::new(one.clone()) == Subject::new(other.clone()));
    assert_eq!(Subject::new(one.clone()).hash(), Subject::new(other.clone()).hash());
    other.groups.push(Group { kind: GroupKind::Team, name: "data".into() });
    assert!(Subject::new(one) != Subject::new(other));
    assert!(Scene::new(target(None)) != Scene::new(target(Some("production"))));
}
