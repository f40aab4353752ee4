use super::*;
use crate::wire::postgres::Frontend;

fn body(values: &[&str]) -> Vec<u8> {
    let mut row = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        row.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        row.extend(value.as_bytes());
    }
    row
}

#[test]
fn a_question_is_six_messages_that_a_server_takes() {
    for about in [About::Process, About::Kept, About::Names] {
        let question = Probe::new(about).question();
        let (mut rest, mut tags) = (question.as_slice(), Vec::new());
        while let Some((head, after)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let (message, left) = after.split_at(length);
            Frontend::decode(head[0], message, &Limits::default()).unwrap();
            tags.push(head[0]);
            rest = left;
        }
        assert_eq!(tags, *b"PBECCS");
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
