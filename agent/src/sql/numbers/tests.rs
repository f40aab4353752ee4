use super::*;
use crate::sql::{Cell, LexingState};

/// The text with `·` for each number that is free.
fn freed(text: &str) -> String {
    let facts = Cell::quick(text.as_bytes(), &LexingState::default()).unwrap();
    let Some(mould) = Mould::of(text.as_bytes()) else { return text.into() };
    let mut out = text.to_owned();
    for index in facts.free.iter().rev() {
        out.replace_range(mould.numbers[usize::from(*index)].clone(), "·");
    }
    out
}

#[test]
fn a_number_that_is_only_compared_or_written_is_free() {
    for expected in [
        "select a from t where id = ·",
        "select a from t where id=· and b>=· or c in (·, ·)",
        "select a, · from t where f(id, ·) order by a + · limit 10",
        "update t set a = a + · where id = ·",
        "update t set a = -· where id = - ·",
        "insert into t (a, b) values (·, ·), (·, ·)",
        "delete from t where id = ·",
        "values (·)",
        "select a[·] from t",
        "select a::varchar(·) from t",
        "select a from t where · < id and id between · and · or b = · or b = ·",
        "select a from t where id = · -- 5",
        "select a from t where id = · and b = 'x' and c = 5",
    ] {
        let text = expected.replace('·', "471");
        assert_eq!(freed(&text), expected);
    }
}

#[test]
fn a_number_that_somebody_looked_at_is_not() {
    for text in [
        "delete from t where 1 = 1",
        "select a from t limit 10",
        "select a from t fetch first 10 rows only",
        "select a::float(24) from t",
        "delete from t where id % 2 = id",
        "select a, b from t order by 2",
        "delete from t where 5 <= 6 or a is null",
        "delete from t where 5",
    ] {
        assert_eq!(freed(text), text);
    }
}

#[test]
fn what_is_no_integer_for_certain_is_not() {
    for text in [
        // Another number, or none.
        "select 1.5",
        "select .5",
        "select 1e5",
        "select 0x1f",
        "select 1_000",
        "select 1a",
        "select 1234567890",
        "select t1, a2b from t3",
        // Behind what takes more than a look.
        "select 'a', 5",
        "select \"a\", 5",
        "select $1, 5",
        "select $$a$$, 5",
        "select 5$a$ 6 $a$",
        "select /* 1 */ 5",
        "select é, 5",
        // More than one statement, or one of the session's.
        "select 1; select 2",
        "set x = 5",
        "prepare p as select 5",
        "execute p (5)",
        "select set_config('a', 5::text, true)",
        // Code within the text has places of its own.
        "do $$ begin perform 5; end $$",
        "select from where 5",
    ] {
        assert_eq!(freed(text), text);
    }
}

#[test]
fn a_mould_is_of_no_text_with_a_sign_that_stands_for_a_number() {
    assert!(Mould::of(b"select 1").is_some());
    assert!(Mould::of(b"select 1, \0").is_none());
    assert!(Mould::of(b"select 1, '\0'").is_none());
    assert!(Mould::of(b"select a").is_none());
    let long = format!("select 1{}", " ".repeat(LONGEST));
    assert!(Mould::of(long.as_bytes()).is_none());
}
