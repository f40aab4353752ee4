use super::*;
use crate::wire::postgres::testing::frames;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], u32::try_from(body.len() + 4).unwrap().to_be_bytes().as_slice(), body].concat()
}

fn begin(careful: bool) -> (Learning, Vec<u8>) {
    let identity = Identity {
        destination: "db".into(),
        certificate: None,
        system: "".into(),
        database: "app".into(),
    };
    let mut asked = Vec::new();
    let learning = Learning::begin(identity, true, careful, false, &mut asked).unwrap();
    (learning, asked)
}

fn tags(side: Side, bytes: &[u8]) -> Vec<u8> {
    let mut tags = Vec::new();
    frames(side, bytes, |frame| tags.push(frame.tag));
    tags
}

/// Syncs inside of a COPY that failed have ends that may come or not.
#[test]
fn an_end_that_comes_before_any_answer_is_the_clients() {
    let catalogs = Catalogs::default();
    let limits = Limits::default();
    let (mut learning, _) = begin(false);
    let ready = message(b'Z', b"I");
    let row = message(b'D', b"\0\x02\0\0\0\x017\0\0\0\x015");
    let identity = [message(b'T', b"\0\0"), row, message(b'C', b"SELECT 1\0")].concat();
    let answer = [ready.clone(), ready.clone(), identity, ready].concat();
    let (mut taken, mut out) = (Vec::new(), Vec::new());
    frames(Side::Server, &answer, |frame| {
        let takes = learning.takes(frame, &limits);
        taken.push((frame.tag, takes));
        if takes {
            assert!(matches!(
                learning.take(frame, &limits, &catalogs, &mut out),
                Ok(Learnt::Going)
            ));
        }
    });
    let expected =
        [(b'Z', false), (b'Z', false), (b'T', true), (b'D', true), (b'C', true), (b'Z', true)];
    assert_eq!(taken, expected);
    assert_eq!(&*learning.identity.system, "7");
    assert_eq!(tags(Side::Client, &out), [b'Q'].repeat(Question::ALL.len()));
}

#[test]
fn what_a_question_that_failed_has_left_is_closed_before_the_next() {
    let (_, asked) = begin(true);
    assert_eq!(tags(Side::Client, &asked), b"CPBECCS");
}
