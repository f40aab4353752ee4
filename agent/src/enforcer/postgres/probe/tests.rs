use super::*;
use crate::wire::postgres::testing::frames;
use crate::wire::postgres::{Frontend, Side};

fn body(values: &[&str]) -> Vec<u8> {
    let mut row = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        row.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        row.extend(value.as_bytes());
    }
    row
}

#[test]
fn a_question_is_seven_messages_that_a_server_takes() {
    for about in [About::Process, About::Kept, About::Names, About::Prepared] {
        let question = Probe::new(about).question();
        let (mut rest, mut tags) = (question.as_slice(), Vec::new());
        while let Some((head, after)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let (message, left) = after.split_at(length);
            Frontend::decode(head[0], message, &Limits::default()).unwrap();
            tags.push(head[0]);
            rest = left;
        }
        // What a question that failed has left goes first.
        assert_eq!(tags, *b"CPBECCS");
        assert!(rest.is_empty());
    }
}

#[test]
fn a_row_is_the_process_and_what_holds_in_its_session() {
    let row = body(&["4711", "\"$user\", public", "app", "5s"]);
    let expected = Held {
        process: 4711,
        search_path: "\"$user\", public".into(),
        user: "app".into(),
        statement_timeout: "5s".into(),
        since: None,
    };
    assert_eq!(told(About::Process, &row), Some(Told::Process(expected.clone())));
    assert_eq!(told(About::Kept, &row), None, "of which server?");
    let row = body(&["4711", "\"$user\", public", "app", "5s", "1700000000123456"]);
    let expected = Held { since: Some("1700000000123456".into()), ..expected };
    assert_eq!(told(About::Kept, &row), Some(Told::Process(expected)));
    assert_eq!(told(About::Process, &row), None);
}

#[test]
fn or_whether_names_are_kept() {
    for (said, kept) in [("true", true), ("false", false)] {
        assert_eq!(told(About::Names, &body(&[said])), Some(Told::Names { kept }));
    }
}

#[test]
fn or_whether_sql_has_prepared_any() {
    for (said, by_sql) in [("true", true), ("false", false)] {
        assert_eq!(told(About::Prepared, &body(&[said])), Some(Told::Prepared { by_sql }));
    }
}

#[test]
fn anything_else_is_no_answer() {
    for row in [
        body(&["4711"]),
        body(&["x", "y", "z", "0"]),
        body(&["1", "2", "3"]),
        vec![0, 4, 0],
        vec![],
    ] {
        assert_eq!(told(About::Process, &row), None, "{row:?}");
    }
    for row in [body(&["t"]), body(&["true", "x"]), vec![0, 1], vec![]] {
        assert_eq!(told(About::Names, &row), None, "{row:?}");
    }
}

/// Syncs inside of a COPY that failed have ends that may come or not.
#[test]
fn an_end_that_comes_before_any_answer_is_the_clients() {
    let row = message(b'D', &body(&["true"]));
    let ready = message(b'Z', b"I");
    let answer = [ready.clone(), ready.clone(), message(b'3', b""), row, ready].concat();
    let mut probe = Probe::new(About::Names);
    let mut taken = Vec::new();
    frames(Side::Server, &answer, |frame| taken.push(probe.take(frame, &Limits::default())));
    use Probed::{Ours, Over, Theirs};
    assert_eq!(taken, [Theirs, Theirs, Ours, Ours, Over(Some(Told::Names { kept: true }))]);
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], u32::try_from(body.len() + 4).unwrap().to_be_bytes().as_slice(), body].concat()
}
