use serde_json::json;

use super::*;
use crate::model::Timestamp;

const NASTY: &str = "a\x1b[31mred\u{9b}2J\u{202e}txt\r\n\u{7f}\u{200b}";

#[test]
fn nothing_that_a_terminal_obeys_gets_out() {
    let shown = safe(NASTY);
    assert_eq!(shown, "a\\u{1b}[31mred\\u{9b}2J\\u{202e}txt\\r\\n\\u{7f}\\u{200b}");
    let value = json!({ NASTY: [NASTY, "\u{e0041}"] });
    for written in [compact(&value).unwrap(), pretty(&value).unwrap()] {
        assert!(written.chars().all(|c| c == '\n' || !text::obeyed(c)), "{written:?}");
        let back: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(back, value);
    }
    let written = yaml(&value);
    assert!(written.chars().all(|c| c == '\n' || !text::obeyed(c)), "{written:?}");
    let mut table = Table::new(0, &["X"]);
    table.row(vec![Cell::new(NASTY)]);
    let mut out = Vec::new();
    table.write(&mut out, Page { width: None, colour: false }).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().count(), 2);
    assert!(out.chars().all(|c| c == '\n' || !text::obeyed(c)), "{out:?}");
}

#[test]
fn yaml_is_plain_and_quotes_what_could_be_read_otherwise() {
    let value = json!({
        "schema": 1,
        "verdict": "healthy",
        "yes": "no",
        "float": 1.5,
        "nothing": null,
        "empty": [],
        "none": {},
        "address": "10.0.0.7:5432",
        "text": "say \"hi\"\n",
        "list": ["a", { "b": [1, 2], "c": { "d": true } }, [["deep"]]],
    });
    let expected = r#"schema: 1
verdict: healthy
"yes": "no"
float: 1.5
nothing: null
empty: []
none: {}
address: "10.0.0.7:5432"
text: "say \"hi\"\n"
list:
  - a
  - b:
      - 1
      - 2
    c:
      d: true
  - - - deep
"#;
    assert_eq!(yaml(&value), expected);
    assert_eq!(yaml(&json!("x")), "x\n");
    assert_eq!(yaml(&json!([])), "[]\n");
    for quoted in ["", "1", "-", "~", "0x1", "a: b", "# c", "a #b", "Null", "OFF", "1e3", "=", "é"]
    {
        assert!(yaml(&json!(quoted)).starts_with('"'), "{quoted}");
    }
}

#[test]
fn tables_fit_the_terminal() {
    let mut table = Table::new(2, &["NAME", "WHAT IT SAYS", "N"]);
    table.row(vec!["one".into(), "a long sentence that goes on and on".into(), "1".into()]);
    table.row(vec!["two".into(), Cell::painted("short", Colour::Red), "".into()]);
    let text = |width, colour| {
        let mut out = Vec::new();
        table.write(&mut out, Page { width, colour }).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        text(None, false),
        "  NAME  WHAT IT SAYS                         N\n  \
           one   a long sentence that goes on and on  1\n  \
           two   short                                -\n"
    );
    assert_eq!(
        text(Some(30), false),
        "  NAME  WHAT IT SAYS        N\n  \
           one   a long sentence t…  1\n  \
           two   short               -\n"
            .replace("        N", "         N")
            .replace("sentence t…", "sentence th…")
            .replace("               -", "                -")
    );
    assert!(text(Some(30), false).lines().all(|line| line.chars().count() <= 30));
    assert!(text(None, true).contains("\x1b[31mshort\x1b[0m"));
    // Too narrow for anything: still nothing is lost but the ends.
    assert!(text(Some(5), false).contains("a long se…"));
}

#[test]
fn numbers_are_for_people() {
    for (count, shown) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (5_678_901, "5.4 MiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(bytes(count), shown);
    }
    for (micros, shown) in [
        (999, "999 µs"),
        (12_345, "12.3 ms"),
        (4_560_000, "4.5 s"),
        (123_000_000, "2m 3s"),
        (3_723_000_000, "1h 2m"),
        (273_600_000_000, "3d 4h"),
    ] {
        assert_eq!(span(micros), shown);
    }
    assert_eq!(ago(Timestamp(5_000_000_000), Timestamp(2_000_000_000)), "0 µs");
}
