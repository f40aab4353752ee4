use super::*;

fn held(process: u32, since: Option<&str>) -> Held {
    Held {
        process,
        search_path: "public".into(),
        user: "app".into(),
        statement_timeout: "0".into(),
        since: since.map(Into::into),
    }
}

#[test]
fn it_is_asked_for_less_and_less_often() {
    let mut kept = Kept::new(&Seats::default());
    kept.hear(Some(&held(7, Some("1")))).unwrap();
    let mut asked = Vec::new();
    for use_of_it in 1..=40 {
        if kept.leans() {
            asked.push(use_of_it);
            kept.hear(Some(&held(7, Some("1")))).unwrap();
            // The request comes again.
            assert!(!kept.leans(), "{use_of_it}");
        }
    }
    assert_eq!(asked, [1, 2, 4, 8, 16, 32]);
}

#[test]
fn another_process_or_another_server_breaks_it() {
    for other in [held(8, Some("1")), held(7, Some("2"))] {
        let mut kept = Kept::new(&Seats::default());
        assert_eq!(kept.hear(Some(&held(7, Some("1")))), Ok(()));
        assert_eq!(kept.hear(Some(&held(7, Some("1")))), Ok(()));
        assert_eq!(kept.hear(Some(&other)), Err(Broken::Moved));
    }
}

#[test]
fn another_session_at_its_process_breaks_it_for_both() {
    let seats = Seats::default();
    let (mut one, mut two) = (Kept::new(&seats), Kept::new(&seats));
    assert_eq!(one.hear(Some(&held(7, Some("1")))), Ok(()));
    assert_eq!(two.hear(Some(&held(7, Some("1")))), Err(Broken::Shared));
    assert_eq!(one.check(), Err(Broken::Shared));
    // Who leaves in time is nobody's neighbour.
    let seats = Seats::default();
    let (mut one, mut two) = (Kept::new(&seats), Kept::new(&seats));
    assert_eq!(one.hear(Some(&held(7, Some("1")))), Ok(()));
    one.leave();
    assert_eq!(two.hear(Some(&held(7, Some("1")))), Ok(()));
}

#[test]
fn a_server_that_does_not_say_it_breaks_it_too() {
    for silent in [None, Some(held(7, None))] {
        let mut kept = Kept::new(&Seats::default());
        assert_eq!(kept.hear(silent.as_ref()), Err(Broken::Unanswered));
    }
}
