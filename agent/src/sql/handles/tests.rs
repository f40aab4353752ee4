use super::session_effects;
use crate::sql::cell::attempt;
use crate::sql::read::Bounds;
use crate::sql::{Encoding, LexingState, Strings};
use crate::wire::postgres::session::{SqlEffect, SqlEffects};

fn of_state(text: &[u8], state: &LexingState) -> SqlEffects {
    session_effects(&attempt(text, state, Bounds::SMALL), text, state)
}

fn of(text: &str) -> SqlEffects {
    of_state(text.as_bytes(), &LexingState::default())
}

fn prepare(name: &str, text: &str, types: usize) -> SqlEffect {
    SqlEffect::Prepare {
        name: name.as_bytes().into(),
        text: text.as_bytes().into(),
        declared: vec![0; types].into(),
    }
}

fn declare(name: &str, holdable: bool) -> SqlEffect {
    SqlEffect::Declare { name: name.as_bytes().into(), holdable }
}

#[test]
fn a_prepared_text_is_what_stands_behind_as() {
    let one = |text: &str, effect| assert_eq!(of(text), SqlEffects::new([effect]), "{text}");
    one("prepare p as select 1", prepare("p", "select 1", 0));
    one("PREPARE p AS select 1 ; ", prepare("p", "select 1", 0));
    one(
        "/* as */ prepare -- as select 2\n P (int, numeric(4, 2)) /* as */ as/**/delete from t",
        prepare("p", "delete from t", 2),
    );
    one(r#"prepare "as" as select ';as'"#, prepare("as", "select ';as'", 0));
    one(r#"prepare U&"\0070" as select 1"#, prepare("p", "select 1", 0));
    one("prepare p as select $1 as as_is /* end */", prepare("p", "select $1 as as_is", 0));
    let long = "x".repeat(70);
    one(&format!("prepare {long} as select 1"), prepare(&"x".repeat(63), "select 1", 0));
}

#[test]
fn cursors_say_whether_they_survive_their_transaction() {
    let one = |text: &str, effect| assert_eq!(of(text), SqlEffects::new([effect]), "{text}");
    one("declare c cursor for select 1", declare("c", false));
    one("declare c binary insensitive no scroll cursor with hold for select 1", declare("c", true));
    one("declare c cursor without hold for select 1", declare("c", false));
    one(r#"declare "with" cursor for select 1 as hold"#, declare("with", false));
    one("close c", SqlEffect::Close(b"c"[..].into()));
    one("close all", SqlEffect::CloseAll);
}

#[test]
fn each_statement_of_a_text_has_its_entry() {
    assert_eq!(
        of(";;begin; prepare p as select 1;; select ';'; deallocate p; discard plans; discard all"),
        SqlEffects::new([
            SqlEffect::None,
            prepare("p", "select 1", 0),
            SqlEffect::None,
            SqlEffect::Deallocate(b"p"[..].into()),
            SqlEffect::None,
            SqlEffect::DiscardAll,
        ])
    );
    // What a function's body holds has no tag of its own.
    assert_eq!(
        of("create function f() returns int language sql as 'select 1; select 2'; deallocate all"),
        SqlEffects::new([SqlEffect::None, SqlEffect::DeallocateAll])
    );
}

#[test]
fn code_may_change_any_name() {
    assert_eq!(
        of("select 1; do $$begin execute 'deallocate s'; end$$"),
        SqlEffects::new([SqlEffect::None, SqlEffect::Anything])
    );
}

#[test]
fn most_texts_change_no_name() {
    for text in ["", ";", "select 1", "execute p", "fetch c", "begin; update t set a = 1; commit"] {
        assert_eq!(of(text), SqlEffects::nothing(), "{text}");
    }
}

/// In LATIN1 the server keeps the last letter that was cut off here.
#[test]
fn a_name_that_the_server_may_cut_elsewhere_is_no_others() {
    let (x, e) = ("x".repeat(62), "\u{e9}".repeat(31));
    let (escaped, lettered) = (format!(r#"U&"{x}\00e9""#), format!("\"{x}\u{e9}\""));
    for name in [&escaped, &lettered] {
        assert_eq!(of(&format!("prepare {name} as select 1")), SqlEffects::unknown(), "{name}");
    }
    let plain = format!("prepare {x} as select 1");
    assert_eq!(of(&plain), SqlEffects::new([prepare(&x, "select 1", 0)]));
    let handles = |text: &str| {
        let facts = attempt(text.as_bytes(), &LexingState::default(), Bounds::SMALL);
        let handles: Vec<_> = facts.running().filter_map(|one| one.handle.clone()).collect();
        handles
    };
    for (one, other) in [(&x, &lettered), (&format!("{e}\u{e9}"), &format!("{e}\u{e8}"))] {
        let names = handles(&format!("declare {one} cursor for select 1; fetch {other}"));
        assert_ne!(names[0], names[1]);
    }
    let names = handles("declare \u{e9} cursor for select 1; fetch \u{e9}");
    assert_eq!(names[0], names[1]);
}

#[test]
fn what_was_not_read_is_unknown() {
    for text in ["selec 1", "deallocate p; 'open", "prepare \u{e4} as select 1", "close \"\u{c4}\""]
    {
        assert_eq!(of(text), SqlEffects::unknown(), "{text}");
    }
}

#[test]
fn bytes_of_other_character_sets_stay_as_they_came() {
    let state = LexingState { encoding: Encoding::Latin1, ..LexingState::default() };
    let text = b"prepare p as select '\xe4'";
    let expected = SqlEffect::Prepare {
        name: b"p"[..].into(),
        text: b"select '\xe4'"[..].into(),
        declared: Box::default(),
    };
    assert_eq!(of_state(text, &state), SqlEffects::new([expected]));
    // Of several, in a text that had to be decoded, none has its place.
    assert_eq!(of_state(b"select '\xe4'; close c; prepare p as select 1", &state), {
        SqlEffects::unknown()
    });
    let state = LexingState { strings: Strings::Escaping, ..LexingState::default() };
    assert_eq!(
        of_state(br"prepare p as select 'it\'s as; it', 1;", &state),
        SqlEffects::new([prepare("p", r"select 'it\'s as; it', 1", 0)])
    );
}
