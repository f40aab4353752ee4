use super::*;
use crate::ledger::merkle;

const AT: Timestamp = Timestamp(1_795_222_800_123_456_000);

fn key() -> SigningKey {
    SigningKey::from_seed("tidegate/host-1", &[9; 32]).unwrap()
}

fn leaves(numbers: std::ops::Range<u64>) -> Vec<Hash> {
    numbers.map(|n| merkle::leaf(&n.to_be_bytes())).collect()
}

fn append(head: &Head, writer: u64, first: u64, leaves: &[Hash]) -> LogAppend {
    let mut range = Range::empty(head.size());
    for leaf in leaves {
        range.push(*leaf);
    }
    let count = leaves.len() as u64;
    LogAppend { writer, first, count, at: head.size(), hashes: range.hashes() }
}

fn signed(answer: LogAnswer) -> Checkpoint {
    let LogAnswer::Signed { note } = answer else { panic!("{answer:?}") };
    key().verifier().open(&note).unwrap()
}

fn head() -> (Head, u64) {
    let mut head = Head::new("tidegate/host-1".into());
    let writer = head.enlist();
    (head, writer)
}

#[test]
fn two_writers_make_one_tree() {
    let (mut head, one) = head();
    let two = head.enlist();
    assert_ne!(one, two);
    let first = append(&head, one, 0, &leaves(0..3));
    let late = append(&head, two, 0, &leaves(100..105));
    assert_eq!(signed(head.append(&first, &key(), AT)).size, 3);
    // The other one asked at a size that is past, and asks again.
    assert_eq!(head.append(&late, &key(), AT), LogAnswer::Moved { size: 3 });
    let again = append(&head, two, 0, &leaves(100..105));
    let checkpoint = signed(head.append(&again, &key(), AT));
    assert_eq!(checkpoint.batch, Batch { writer: two, first: 0, count: 5 });
    let mut all = Range::empty(0);
    for leaf in leaves(0..3).into_iter().chain(leaves(100..105)) {
        all.push(leaf);
    }
    assert_eq!(Some(checkpoint.root), all.root());
}

#[test]
fn a_forked_history_is_refused_a_signature() {
    let (mut head, writer) = head();
    let answer = head.append(&append(&head, writer, 0, &leaves(0..10)), &key(), AT);
    signed(answer.clone());
    let before = head.clone();
    // Records that are in the tree, told anew; a gap; nothing; another writer;
    // hashes of another number of records; one that would overflow.
    let mut anew = append(&head, writer, 0, &leaves(50..60));
    anew.at = 0;
    let mut wrong = vec![
        anew,
        append(&head, writer, 9, &leaves(50..60)),
        append(&head, writer, 11, &leaves(50..60)),
        append(&head, writer, 10, &[]),
        append(&head, writer + 1, 0, &leaves(0..1)),
    ];
    let mut short = append(&head, writer, 10, &leaves(10..20));
    short.hashes.pop();
    wrong.push(short);
    let mut huge = append(&head, writer, 10, &leaves(10..11));
    huge.count = u64::MAX;
    wrong.push(huge);
    for asked in wrong {
        let answer = head.append(&asked, &key(), AT);
        assert!(matches!(answer, LogAnswer::Refused { .. }), "{asked:?}: {answer:?}");
        assert_eq!(head, before);
    }
    // Where nobody can tell, what was signed is all that is given.
    let elsewhere = append(&head, writer, 0, &leaves(50..60));
    assert_eq!(head.append(&elsewhere, &key(), AT), answer);
    assert_eq!(head, before);
    // A tree of its own, of the same size.
    let mut fork = append(&head, writer, 10, &leaves(10..11));
    fork.at = 0;
    assert_eq!(head.append(&fork, &key(), AT), LogAnswer::Moved { size: 10 });
    head.finish(writer);
    let late = append(&head, writer, 10, &leaves(10..11));
    assert!(matches!(head.append(&late, &key(), AT), LogAnswer::Refused { .. }));
}

#[test]
fn what_was_signed_is_answered_the_same_when_it_is_asked_for_again() {
    let (mut head, one) = head();
    let two = head.enlist();
    let asked = append(&head, one, 0, &leaves(0..10));
    let answer = head.append(&asked, &key(), AT);
    signed(answer.clone());
    // Others go on meanwhile, and so does the keeper's process.
    signed(head.append(&append(&head, two, 0, &leaves(90..95)), &key(), AT));
    let mut head = Head::from_text(&head.to_text()).unwrap();
    let before = head.clone();
    assert_eq!(head.append(&asked, &key(), Timestamp(AT.0 + 1)), answer);
    assert_eq!(head, before);
    // Whoever asks has heard of the others meanwhile, or has more by now.
    for again in [0..10, 0..12] {
        let again = append(&head, one, 0, &leaves(again));
        assert_eq!(head.append(&again, &key(), AT), answer);
        assert_eq!(head, before);
    }
    // Not so what tells those records otherwise, or fewer of them.
    let mut other = asked.clone();
    other.hashes[0] = [7; 32];
    for forked in
        [other, append(&head, one, 0, &leaves(0..9)), append(&head, one, 1, &leaves(1..10))]
    {
        let answer = head.append(&forked, &key(), AT);
        assert!(matches!(answer, LogAnswer::Refused { .. }), "{forked:?}: {answer:?}");
        assert_eq!(head, before);
    }
}

#[test]
fn no_head_brings_in_more_than_a_writer_asks_for_at_once() {
    let (mut head, writer) = head();
    let most = MOST_AT_ONCE as u64;
    for count in [most + 1, 1 << 40, (1 << 62) - 1] {
        let hashes = vec![[7; 32]; count.count_ones() as usize];
        let asked = LogAppend { writer, first: 0, count, at: 0, hashes };
        let answer = head.append(&asked, &key(), AT);
        assert!(matches!(answer, LogAnswer::Refused { .. }), "{count}: {answer:?}");
    }
    signed(head.append(&append(&head, writer, 0, &leaves(0..most)), &key(), AT));
}

#[test]
fn it_goes_on_from_what_was_stored() {
    let (mut head, writer) = head();
    let mut whole = Range::empty(0);
    for step in 0..40 {
        let new = leaves(step * 7..(step + 1) * 7);
        for leaf in &new {
            whole.push(*leaf);
        }
        let asked = append(&head, writer, step * 7, &new);
        let checkpoint = signed(head.append(&asked, &key(), AT));
        assert_eq!(Some(checkpoint.root), whole.root());
        let read = Head::from_text(&head.to_text()).unwrap();
        assert_eq!(read, head);
        head = read;
    }
    assert_eq!(head.enlist(), writer + 1);
}

#[test]
fn a_broken_state_is_never_gone_on_from() {
    let (mut head, writer) = head();
    signed(head.append(&append(&head, writer, 0, &leaves(0..10)), &key(), AT));
    let text = head.to_text();
    for wrong in [
        String::new(),
        text.replace("\"size\": 10", "\"size\": 11"),
        text.replace("\"size\": 10", "\"size\": 0"),
        text.replace("next_writer", "next"),
        text[..text.len() / 2].into(),
    ] {
        assert!(Head::from_text(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_was_signed_and_not_stored_is_taken_in_and_nothing_else() {
    let (mut head, writer) = head();
    signed(head.append(&append(&head, writer, 0, &leaves(0..10)), &key(), AT));
    let mut stored = head.clone();
    let LogAnswer::Signed { note } =
        head.append(&append(&head, writer, 10, &leaves(10..15)), &key(), AT)
    else {
        panic!("not signed")
    };
    let checkpoint = key().verifier().open(&note).unwrap();
    let before = stored.clone();
    for wrong in [leaves(10..14), leaves(10..16), leaves(11..16), leaves(0..5)] {
        assert!(!stored.replay(&checkpoint, &note, &wrong));
        assert_eq!(stored, before);
    }
    assert!(stored.replay(&checkpoint, &note, &leaves(10..15)));
    assert_eq!(stored, head);
    assert!(!stored.replay(&checkpoint, &note, &leaves(10..15)));
    // A writer that joined meanwhile is known by what it brought.
    let mut earlier = Head::new(head.origin.clone());
    let LogAnswer::Signed { note } = ({
        let mut fresh = Head::new(head.origin.clone());
        let writer = fresh.enlist();
        fresh.append(&append(&fresh, writer, 0, &leaves(0..3)), &key(), AT)
    }) else {
        panic!("not signed")
    };
    let checkpoint = key().verifier().open(&note).unwrap();
    assert!(earlier.replay(&checkpoint, &note, &leaves(0..3)));
    assert_eq!(earlier.enlist(), 2);
}
