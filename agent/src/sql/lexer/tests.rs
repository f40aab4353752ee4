use super::*;

fn kinds(text: &str, strings: Strings) -> Vec<(Kind, String)> {
    Lexer::new(text, strings).map(|t| (t.kind, text[t.start..t.end].to_owned())).collect()
}

#[track_caller]
fn lexes(text: &str, expected: &[(Kind, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(kind, text)| (*kind, (*text).into())).collect();
    assert_eq!(kinds(text, Strings::Standard), expected, "{text}");
}

#[test]
fn strings_names_and_comments_end_where_the_server_ends_them() {
    lexes(r"'a\' b", &[(Kind::Plain, r"'a\'"), (Kind::Word, "b")]);
    lexes(r"E'a\' b'", &[(Kind::Escape, r"E'a\' b'")]);
    lexes("'a''b'", &[(Kind::Plain, "'a''b'")]);
    lexes("'a'\n 'b'", &[(Kind::Plain, "'a'\n 'b'")]);
    lexes("'a' 'b'", &[(Kind::Plain, "'a'"), (Kind::Plain, "'b'")]);
    lexes("'a' -- x\n 'b'", &[(Kind::Plain, "'a' -- x\n 'b'")]);
    lexes("E'a'\n'\\''", &[(Kind::Escape, "E'a'\n'\\''")]);
    lexes("fooE'a'", &[(Kind::Word, "fooE"), (Kind::Plain, "'a'")]);
    lexes("$a$ $b$ ' $a$", &[(Kind::Dollar, "$a$ $b$ ' $a$")]);
    lexes("a$b$ 'c'", &[(Kind::Word, "a$b$"), (Kind::Plain, "'c'")]);
    lexes("$1$$'$$", &[(Kind::Parameter, "$1"), (Kind::Dollar, "$$'$$")]);
    lexes("\"a\"\"b\"", &[(Kind::QuotedName, "\"a\"\"b\"")]);
    lexes(
        "U&\"a\" u&'b' u & 'c'",
        &[
            (Kind::QuotedName, "U&\"a\""),
            (Kind::Unicode, "u&'b'"),
            (Kind::Word, "u"),
            (Kind::Operator, "&"),
            (Kind::Plain, "'c'"),
        ],
    );
    lexes("/* /* */ ' */ a", &[(Kind::Word, "a")]);
    lexes("/*/ */a", &[(Kind::Word, "a")]);
    lexes("-- x\ra", &[(Kind::Word, "a")]);
    lexes("a--b", &[(Kind::Word, "a")]);
    lexes("/* /* */ a", &[(Kind::Unterminated, "/* /* */ a")]);
    lexes("'a", &[(Kind::Unterminated, "'a")]);
    lexes("$x$ a $y$", &[(Kind::Unterminated, "$x$ a $y$")]);
}

#[test]
fn any_bytes_are_covered_once_and_in_order() {
    let bits =
        ["'", "\"", "$", "$a$", "/*", "*/", "--", "\n", "\\", "E'", "U&'", "é", "1", "a", " "];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(bits[(state % bits.len() as u64) as usize]);
        }
        for strings in [Strings::Standard, Strings::Escaping] {
            let mut at = 0;
            for token in Lexer::new(&text, strings) {
                assert!(token.start >= at && token.end > token.start, "{text:?}");
                assert!(text.get(token.start..token.end).is_some(), "{text:?}");
                at = token.end;
            }
            assert!(at <= text.len());
        }
    }
}

#[test]
fn plain_strings_become_escape_strings_and_nothing_else_changes() {
    for (text, expected) in [
        (r"select '\'' , 1", r"select  E'\'' , 1"),
        (r"select n'\''", r"select  NCHAR E'\''"),
        ("select 'a'\n'\\''", "select  E'a'\n'\\''"),
        (r"select E'\'', $$\$$, U&'x', b'1', 'c'", r"select E'\'', $$\$$, U&'x', b'1',  E'c'"),
        (r#"select "a'b" -- 'x"#, r#"select "a'b" -- 'x"#),
    ] {
        assert_eq!(standardised(text), expected);
    }
}

#[test]
fn comments_become_spaces_of_the_same_length() {
    for (text, expected) in [
        ("not /* x */ in", Some("not         in")),
        ("a -- b\nc", Some("a     \nc")),
        ("a /* \n */ b", Some("a         b")),
        ("'/* x */' \"--\" $$--$$", None),
        ("a /* x", None),
        ("é/* é */é", Some("é        é")),
    ] {
        assert_eq!(without_comments(text).as_deref(), expected, "{text}");
        if let Some(expected) = expected {
            assert_eq!(expected.len(), text.len());
        }
    }
}

#[test]
fn a_weight_sees_what_a_parser_would_suffer() {
    let of = |text: &str| weigh(text, Strings::Standard);
    assert_eq!(of("((1))").nesting, 2);
    assert_eq!(of("case when case when 1 end end").nesting, 2);
    assert_eq!(of("'((('").nesting, 0);
    assert!(of(r"'\'").backslash);
    assert!(!of(r"E'\n'").backslash);
    assert!(of("é").foreign_names && !of("'é'").foreign_names);
    assert!(of("'").unterminated);
    assert_eq!((of("1 +++ 2").operator_run, of("/**//**/").raw_run), (3, 8));
}

#[test]
fn leading_words_tell_even_of_nonsense() {
    let of = |text: &str| hints(text, Strings::Standard, false);
    assert_eq!(of("drop nonsense"), Effects::of(Effect::Drop));
    assert_eq!(of("x; truncate y"), Effects::of(Effect::Truncate));
    assert_eq!(of("/* c */ (select"), Effects::of(Effect::Read));
    assert_eq!(of("with a as (delete from b) nonsense"), Effects::of(Effect::Delete));
    assert_eq!(of("'drop'; \"drop\""), Effects::NONE);
    let body = hints("begin if x then drop table y; end if; end", Strings::Standard, true);
    assert!(body.contains(Effect::Drop));
}
