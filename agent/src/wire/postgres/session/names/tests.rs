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
    names.confirm(b"s", 1, Some(1));
    names.doubt();
    assert_eq!(names.lookup(b"s", None), Ok(Some(Known { value: 1, certain: false })));
    names.plan(b"s", 9, Some(2));
    assert_eq!(names.lookup(b"s", None), Ok(Some(Known { value: 2, certain: true })));
}

#[test]
fn a_plan_behind_an_unanswered_sync_is_not_relied_on() {
    let mut names = Names::default();
    names.confirm(b"s", 1, Some("old"));
    names.plan(b"s", 5, Some("new"));
    assert_eq!(names.lookup(b"s", Some(6)), Err(Unsettled));
    assert_eq!(names.lookup(b"s", Some(4)).unwrap().unwrap().value, "new");
    names.abandon(b"s", 5);
    assert_eq!(names.lookup(b"s", Some(6)).unwrap().unwrap().value, "old");
}

/// What each name means, of those that are certain.
fn certain(names: &Names<u64>, all: &[&[u8]]) -> Vec<Option<u64>> {
    let known = |name: &&[u8]| names.lookup(name, None).unwrap().filter(|known| known.certain);
    all.iter().map(|name| known(name).map(|known| known.value)).collect()
}

#[test]
fn two_names_that_are_one_to_the_server_are_never_certain() {
    let long = "a".repeat(63);
    let (one, other) = (format!("{long}1"), format!("{long}2"));
    let cases: [(&[u8], &[u8]); 5] = [
        (one.as_bytes(), other.as_bytes()),
        (one.as_bytes(), long.as_bytes()),
        (long.as_bytes(), other.as_bytes()),
        (b"\xe9", b"\xc3\xa9"),
        // A yen in one encoding is a backslash in another.
        (b"\\", "\u{a5}".as_bytes()),
    ];
    for (one, other) in cases {
        let both = [one, other];
        let mut names = Names::default();
        names.confirm(one, 1, Some(1));
        names.plan(other, 2, None);
        assert_eq!(certain(&names, &both), [None, None], "{both:?}");
        names.plan(other, 3, Some(3));
        assert_eq!(certain(&names, &both), [None, None], "{both:?}");
        names.confirm(other, 3, Some(3));
        assert_eq!(certain(&names, &both), [None, None], "{both:?}");
        // The same, while the first of them is still a plan.
        let mut names = Names::default();
        names.plan(one, 1, Some(1));
        names.plan(other, 2, None);
        names.plan(other, 3, Some(3));
        assert_eq!(certain(&names, &both), [None, None], "{both:?}");
        names.confirm(one, 1, Some(1));
        assert_eq!(certain(&names, &both), [None, None], "{both:?}");
    }
}

#[test]
fn a_long_name_that_no_other_is_like_is_certain() {
    let (one, other) = ("a".repeat(64), "b".repeat(64));
    let both = [one.as_bytes(), other.as_bytes()];
    let mut names = Names::default();
    for (serial, name) in (1..).zip(both) {
        names.plan(name, serial, Some(serial));
        names.confirm(name, serial, Some(serial));
    }
    assert_eq!(certain(&names, &both), [Some(1), Some(2)]);
    // What is given anew behind the doubt is known again.
    names.plan(&[b'a'; 65], 3, None);
    assert_eq!(certain(&names, &both), [None, None]);
    names.confirm(&[b'a'; 65], 3, None);
    names.plan(both[1], 4, Some(4));
    assert_eq!(certain(&names, &both), [None, Some(4)]);
}
