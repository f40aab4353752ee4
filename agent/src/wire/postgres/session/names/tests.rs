use super::*;

#[test]
fn a_plan_is_seen_before_it_is_confirmed_and_gone_when_it_is_abandoned() {
    for name in [b"".as_slice(), b"s1"] {
        let mut names = Names::default();
        names.plan(name, 1, Some("one"));
        assert_eq!(names.lookup(name).map(|known| known.value), Some("one"));
        assert!(names.confirmed(name).is_none());
        names.confirm(name, 1, Some("one"));
        names.plan(name, 2, None);
        assert_eq!(names.lookup(name), None);
        names.plan(name, 3, Some("three"));
        names.abandon(name, 2);
        assert_eq!(names.lookup(name).map(|known| known.value), Some("three"));
        names.abandon(name, 3);
        assert_eq!(names.lookup(name).map(|known| known.value), Some("one"));
    }
}

#[test]
fn what_is_planned_again_is_certain_again() {
    let mut names = Names::default();
    names.set(b"s", Some(1));
    names.doubt();
    assert_eq!(names.lookup(b"s"), Some(Known { value: 1, certain: false }));
    names.plan(b"s", 9, Some(2));
    assert_eq!(names.lookup(b"s"), Some(Known { value: 2, certain: true }));
}
