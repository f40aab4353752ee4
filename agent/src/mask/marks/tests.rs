use super::{Stream, holds_dots};
use crate::mask::postgres::cell::{Cell, Cells, Rules, Shown};
use crate::mask::postgres::form::Form;
use crate::mask::postgres::plan::Treatment;
use crate::mask::{Class, Hand, HashKey, Mask};
use crate::model::Trace;
use crate::sql::Strings;

fn hand(unicode: bool) -> Hand {
    Hand { key: HashKey::new(b"key"), unicode }
}

fn told(hand: &Hand, value: &[u8]) -> bool {
    hand.wrote(value) > Trace::None
}

fn masked(form: &Form, class: Class, mask: Mask, binary: bool, value: &[u8]) -> Vec<u8> {
    let rules = Rules::default();
    let treatment = Treatment::Mask { class, mask, derived: false };
    let mut out = Vec::new();
    let shown = Cells::new(hand(true)).cell(
        Cell { form, binary, treatment, rules: &rules },
        value,
        &mut out,
    );
    assert_eq!(shown, Shown::Made);
    out
}

const TEXTS: &[(Class, &str)] = &[
    (Class::Email, "jane@example.com"),
    (Class::PersonName, "Jane Smith"),
    (Class::PersonName, "Xi"),
    (Class::Username, "jdoe"),
    (Class::Password, "hunter2"),
    (Class::CreditCard, "4111 1111 1111 1111"),
    (Class::UsSsn, "536-22-8177"),
    (Class::Phone, "+1 (415) 555-2671"),
    (Class::Phone, "06 12 34 56 78"),
    (Class::MedicalRecord, "1234"),
    (Class::MedicalRecord, "1-2-3-4-5"),
];

#[test]
fn what_a_mask_wrote_is_told() {
    for unicode in [true, false] {
        let hand = hand(unicode);
        for (class, value) in TEXTS {
            for mask in [Mask::Partial, Mask::Redact, Mask::Hash] {
                let mut out = Vec::new();
                hand.write(*class, mask, value.as_bytes(), &mut out);
                let shown = String::from_utf8_lossy(&out);
                assert!(told(&hand, &out), "{mask} of {value}: {shown}");
                assert!(told(&hand, format!("see {shown}, please").as_bytes()), "within: {shown}");
                let text = format!("update t set a = '{shown}' where b = 1");
                let constant = hand.wrote_constant(text.as_bytes(), Strings::Standard);
                assert_eq!(constant, hand.wrote(&out), "{text}");
                let mail = *class == Class::Email && mask == Mask::Partial;
                let certain = mail || mask == Mask::Hash;
                assert_eq!(hand.wrote(&out) == Trace::Certain, certain, "{shown}");
            }
            assert!(!told(&hand, value.as_bytes()), "{value}");
        }
    }
}

#[test]
fn a_limit_may_leave_little() {
    for (most, value, shown) in [(1, "secret", "•"), (2, "secret", "••"), (3, "jdoe", "j••")]
    {
        let form = Form::Text { most: Some(most), padded: true };
        let class = if value == "jdoe" { Class::Username } else { Class::Password };
        let out = masked(&form, class, Mask::Partial, false, value.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), shown);
        assert!(told(&hand(true), &out), "{shown}");
    }
}

#[test]
fn other_types_tell_too() {
    let uuid = b"0123e567-e89b-12d3-a456-426614174000";
    let raw = *b"\x01\x23\xe5\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00";
    let hand = hand(true);
    for (form, binary, value) in [
        (Form::Uuid, false, &uuid[..]),
        (Form::Uuid, true, &raw[..]),
        (Form::Bytes, false, b"\\x0102"),
        (Form::Bytes, true, b"\x01\x02"),
        (Form::Xml, false, b"<a>b</a>"),
    ] {
        let out = masked(&form, Class::ApiKey, Mask::Hash, binary, value);
        assert!(told(&hand, &out), "{form:?} {binary}");
        assert!(!told(&hand, value), "{form:?} {binary}");
    }
    // The same mark in either format.
    let text = masked(&Form::Uuid, Class::ApiKey, Mask::Hash, false, uuid);
    let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
    let binary = masked(&Form::Uuid, Class::ApiKey, Mask::Hash, true, &raw);
    assert_eq!(
        plain,
        binary.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect::<Vec<_>>()
    );
    assert_eq!(plain[12], b'8', "version 8");
    // As clients write them.
    let text = String::from_utf8(text).unwrap();
    for written in [text.to_uppercase(), format!("{{{text},{text}}}"), text.replace('-', "")] {
        assert!(told(&hand, written.as_bytes()), "{written}");
    }
    for written in [&text, &text.replace('-', ""), "<masked/>"] {
        let statement = format!("update t set a = '{written}'");
        assert_eq!(hand.wrote_constant(statement.as_bytes(), Strings::Standard), Trace::Certain);
    }
    let document = masked(&Form::Json, Class::Email, Mask::Partial, false, br#"{"a": "b@c.de"}"#);
    assert_eq!(hand.wrote(&document), Trace::Certain);
    let ascii = String::from_utf8(document).unwrap().replace('•', "\\u2022");
    assert_eq!(hand.wrote(ascii.as_bytes()), Trace::Certain, "{ascii}");
}

#[test]
fn a_hash_is_told_by_the_host_that_made_it() {
    let mut mark = Vec::new();
    hand(true).write(Class::Email, Mask::Hash, b"jane@example.com", &mut mark);
    assert_eq!(mark.len(), 16, "{}", String::from_utf8_lossy(&mark));
    let other = Hand { key: HashKey::new(b"other"), unicode: true };
    assert!(told(&hand(true), &mark) && !told(&other, &mark));
    // No sign may be another.
    for place in 0..mark.len() {
        let mut changed = mark.clone();
        changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
        assert!(!told(&hand(true), &changed), "{}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn marks_of_many_values_differ() {
    let mut marks = std::collections::HashSet::new();
    for number in 0..50_000 {
        let mut mark = Vec::new();
        super::write(&HashKey::new(b"key"), format!("{number}").as_bytes(), &mut mark);
        assert!(marks.insert(mark), "{number}");
    }
}

#[test]
fn what_nobody_masked_is_nobodys_mark() {
    let (unicode, plain) = (hand(true), hand(false));
    for value in [
        "jane@example.com",
        "• milk\n• bread\n• eggs",
        "a•b",
        "*** not a mask to who reads UTF-8",
        "0123456789abcdef",
        "responsibilities",
        "ffffffff-ffff-8fff-8fff-ffffffffffff",
        "",
    ] {
        assert!(!told(&unicode, value.as_bytes()), "{value}");
    }
    for value in ["a * b", "**bold**", "*/5 * 1 * 2"] {
        assert!(!told(&plain, value.as_bytes()), "{value}");
    }
    assert_eq!(holds_dots("•••".as_bytes(), false), Trace::Likely);
    assert_eq!(holds_dots("Visa •••• 1111".as_bytes(), true), Trace::Likely);
    assert_eq!(holds_dots(b"***", true), Trace::None);
    let commented = b"update t set a = 'b' -- '\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2'";
    assert_eq!(unicode.wrote_constant(commented, Strings::Standard), Trace::None);
}

#[test]
fn a_stream_is_told_wherever_it_is_cut() {
    let hand = hand(true);
    let mut hash = Vec::new();
    hand.write(Class::Email, Mask::Hash, b"jane@example.com", &mut hash);
    let long = "x".repeat(300);
    for mark in ["j•••@e•••.com".as_bytes(), &hash, "••-••".as_bytes(), b"<masked/>"]
    {
        let plain = [b"1\t", long.as_bytes(), b"\n2\t", long.as_bytes(), b"\n"].concat();
        let all = [b"1\t", long.as_bytes(), b"\n2\t", mark, b"\t", long.as_bytes(), b"\n"].concat();
        for size in 1..all.len() {
            let found = |all: &[u8]| {
                let mut stream = Stream::default();
                all.chunks(size).any(|piece| stream.wrote(&hand, piece) > Trace::None)
            };
            assert!(found(&all), "{} by {size}", String::from_utf8_lossy(mark));
            assert!(!found(&plain), "by {size}");
        }
    }
}
