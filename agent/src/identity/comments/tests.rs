use super::*;

fn shown(text: &str) -> Vec<String> {
    of_statement(text).iter().map(|one| format!("{}={}", one.name, one.value)).collect()
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
            "sql.action=/param*d",
            "sql.controller=index",
            "sql.framework=spring",
            "trace.id=4bf92f3577b34da6a3ce929d0e0e4736",
            "trace.span=00f067aa0ba902b7",
            "sql.tracestate=congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        ]
    );
    assert!(
        of_statement(&text).iter().all(|one| {
            one.confidence == Confidence::Claimed && one.origin == Origin::Statement
        })
    );
}

#[test]
fn other_places_of_comments() {
    assert_eq!(
        shown("/*job:nightly,line:a.rb:3*/ SELECT 1"),
        ["sql.job=nightly", "sql.line=a.rb:3"]
    );
    assert_eq!(shown("SELECT 1 -- route='/x'\n"), ["sql.route=/x"]);
    assert_eq!(shown("SELECT 1 /* say hello, please: now */"), [""; 0]);
    assert_eq!(shown("SELECT 1 /*name='it\\'s'*/"), ["sql.name=it's"]);
    assert_eq!(shown("SELECT 1 /* outer /*a='1'*/ */"), [""; 0]);
    assert_eq!(shown("SELECT 1 /*api_key='s3cret'*/"), ["sql.api_key=***"]);
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
    assert_eq!(shown("SELECT $1 + $2 /*a='1'*/"), ["sql.a=1"]);
    assert_eq!(shown("SELECT '\\' /*a='1'*/"), ["sql.a=1"]);
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
        assert!(of_statement(&text).len() <= MOST_TAGS + 1);
    }
    let long = format!("SELECT 1 /*a='{}'*/", "x".repeat(5000));
    assert_eq!(shown(&long), [""; 0]);
}

#[test]
fn application_names_are_the_clients_word() {
    let name = of_application_name("psql").unwrap();
    assert_eq!((name.name.as_str(), name.value.as_str()), ("application_name", "psql"));
    assert_eq!(name.confidence, Confidence::Claimed);
    assert!(of_application_name(" ").is_none());
}
