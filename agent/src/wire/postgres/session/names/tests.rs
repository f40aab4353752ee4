use super::*;

fn meaning(names: &Names<&'static str>, name: &[u8]) -> Option<&'static str> {
    names.lookup(name, None).unwrap().map(|known| known.value)
}

#[test]
fn a_plan_is_seen_before_it_is_confirmed_and_gone_when_it_is_abandoned() {
    for name in [b"".as_slice(), b"s1"] {
        let mut names = Names::default();
        names.plan(name, 1, Some("one"));
        assert_eq!(meaning(&names, name), Some("one"));
        assert!(names.confirmed(name).is_none());
        names.confirm(name, 1, Some("one"));
        names.plan(name, 2, None);
        assert_eq!(meaning(&names, name), None);
        names.plan(name, 3, Some("three"));
        names.abandon(name, 2);
        assert_eq!(meaning(&names, name), Some("three"));
        names.abandon(name, 3);
        assert_eq!(meaning(&names, name), Some("one"));
    }
}

#[test]
fn what_is_planned_again_is_certain_again() {
    let mut names = Names::default();
    names.set(b"s", Some(1));
    names.doubt();
    assert_eq!(names.lookup(b"s", None), Ok(Some(Known { value: 1, certain: false })));
    names.plan(b"s", 9, Some(2));
    assert_eq!(names.lookup(b"s", None), Ok(Some(Known { value: 2, certain: true })));
}

#[test]
fn a_plan_behind_an_unanswered_sync_is_not_relied_on() {
    let mut names = Names::default();
    names.set(b"s", Some("old"));
    names.plan(b"s", 5, Some("new"));
    assert_eq!(names.lookup(b"s", Some(6)), Err(Unsettled));
    assert_eq!(names.lookup(b"s", Some(4)).unwrap().unwrap().value, "new");
    names.abandon(b"s", 5);
    assert_eq!(names.lookup(b"s", Some(6)).unwrap().unwrap().value, "old");
}
