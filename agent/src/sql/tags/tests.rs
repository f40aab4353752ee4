use super::*;

fn shown(text: &str) -> Vec<String> {
    let Tags { trace, others } = Tags::of(text, Strings::Standard);
    let trace = trace.map(|it| format!("{}/{}", it.trace, it.span));
    trace.into_iter().chain(others.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn sqlcommenter_is_read() {
    let text = format!(
        "SELECT * FROM t WHERE a = 'x' /*action='%2Fparam*d',controller='index',framework='spring',traceparent='{TRACE}',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/;"
    );
    assert_eq!(
        shown(&text),
        [
            "4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7",
            "action=/param*d",
            "controller=index",
            "framework=spring",
            "tracestate=congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        ]
    );
}

#[test]
fn other_places_of_comments() {
    assert_eq!(shown("/*job:nightly,line:a.rb:3*/ SELECT 1"), ["job=nightly", "line=a.rb:3"]);
    assert_eq!(shown("SELECT 1 -- route='/x'\n"), ["route=/x"]);
    assert_eq!(shown("SELECT 1 /* say hello, please: now */"), [""; 0]);
    assert_eq!(shown("SELECT 1 /*name='it\\'s'*/"), ["name=it's"]);
    assert_eq!(shown("SELECT 1 /* outer /*a='1'*/ */"), [""; 0]);
}

#[test]
fn literals_are_no_comments() {
    for text in [
        "SELECT '/*a=''1''*/'",
        "SELECT E'\\'/*a=1*/'",
        "SELECT \"/*a='1'*/\"",
        "SELECT $$/*a='1'*/$$",
        "SELECT $x$ /*a='1'*/ $$ /*b='1'*/ $x$",
        "SELECT '-- a=1'",
        "SELECT $1 /* never closed a='1'",
        "SELECT 'never closed /*a='",
    ] {
        assert_eq!(shown(text), [""; 0], "{text}");
    }
    assert_eq!(shown("SELECT $1 + $2 /*a='1'*/"), ["a=1"]);
    assert_eq!(shown("SELECT '\\' /*a='1'*/"), ["a=1"]);
    // Whether this one ends the string hangs on a setting.
    for strings in [Strings::Escaping, Strings::Uncertain] {
        assert_eq!(Tags::of("SELECT '\\' /*a='1'*/ '", strings), Tags::default());
    }
}

#[test]
fn trace_contexts_that_are_none_are_left_out() {
    for parent in [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "x",
    ] {
        assert_eq!(shown(&format!("SELECT 1 /*traceparent='{parent}'*/")), [""; 0], "{parent}");
    }
}

#[test]
fn any_text_is_taken_and_bounded() {
    let pieces = ["/*", "*/", "'", "\"", "$", "$a$", "--", "\n", "a='1'", ",", "\\", "E", "é", ":"];
    let mut state = 11_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..16 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        for strings in [Strings::Standard, Strings::Escaping, Strings::Uncertain] {
            assert!(Tags::of(&text, strings).others.len() <= MOST_TAGS);
        }
    }
    let long = format!("SELECT 1 /*a='{}'*/", "x".repeat(5000));
    assert_eq!(shown(&long), [""; 0]);
}
