use super::*;

type Other = Channel<ToLog, FromLog>;

/// What is asked, and the one who is to answer.
fn asking() -> (Keeper, Other) {
    let (other, ours) = crate::channel::pair().unwrap();
    let mut keeper = Keeper::new(Channel::new(ours));
    keeper.patience = Duration::from_millis(20);
    (keeper, other)
}

fn records(writer: u64, count: u64) -> LogAppend {
    LogAppend { writer, first: 0, count, at: 0, hashes: Vec::new() }
}

fn signed(what: &str) -> LogAnswer {
    LogAnswer::Signed { note: what.into() }
}

fn asked(other: &Other) -> Option<LogAppend> {
    match other.receive().ok()?.message {
        FromLog::Append(asked) => Some(asked),
        message => panic!("{message:?}"),
    }
}

#[test]
fn a_late_answer_is_one_to_what_was_asked() {
    let (mut keeper, other) = asking();
    let (one, two) = (records(1, 10), records(2, 3));
    keeper.append(&one).unwrap_err();
    assert_eq!(asked(&other), Some(one.clone()));
    // Asked for again, it isn't sent again: the answer is on its way.
    keeper.append(&one).unwrap_err();
    assert_eq!(asked(&other), None);
    other.send(&ToLog::Answer(signed("one")), &[]).unwrap();
    assert_eq!(keeper.append(&one), Ok(signed("one")));
    // Nor is it taken for an answer to something else.
    keeper.append(&one).unwrap_err();
    keeper.append(&two).unwrap_err();
    assert_eq!(asked(&other), Some(one.clone()));
    assert_eq!(asked(&other), None);
    other.send(&ToLog::Answer(signed("one")), &[]).unwrap();
    keeper.append(&two).unwrap_err();
    assert_eq!(asked(&other), Some(two.clone()));
    other.send(&ToLog::Answer(signed("two")), &[]).unwrap();
    assert_eq!(keeper.append(&two), Ok(signed("two")));
}

#[test]
fn an_answer_that_came_between_two_askings_is_asked_for_again() {
    let (mut keeper, other) = asking();
    let one = records(1, 10);
    keeper.append(&one).unwrap_err();
    assert_eq!(asked(&other), Some(one.clone()));
    other.send(&ToLog::Answer(signed("one")), &[]).unwrap();
    assert!(keeper.heard().is_empty());
    keeper.append(&one).unwrap_err();
    assert_eq!(asked(&other), Some(one));
}
