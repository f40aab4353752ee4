use super::*;

fn facts(names: impl IntoIterator<Item = &'static str>) -> Facts {
    let statement = |(name, at): (&str, u32)| Statement {
        span: Some(Span { start: at, end: at + 1 }),
        handle: name.strip_prefix("execute ").map(Into::into),
        notes: if name == "other" { vec![Note::RowLocks] } else { Vec::new() },
        ..Statement::new(Verb::Insert, Way::Text)
    };
    let mut facts = Facts::new(names.into_iter().zip(0..).map(statement).collect());
    facts.mark_repeats();
    facts
}

#[test]
fn a_thousand_statements_that_say_the_same_are_asked_about_once() {
    let many = facts(std::iter::repeat_n("one", 1_000).chain(["other"]));
    assert_eq!(many.running().count(), 1_001);
    let told: Vec<_> = many.telling().map(|statement| statement.span.unwrap().start).collect();
    assert_eq!(told, [0, 1_000]);
}

#[test]
fn a_few_are_asked_about_each_and_so_is_what_was_prepared() {
    assert_eq!(facts(["one"; 10]).telling().count(), 10);
    assert_eq!(facts(["execute a"; 100]).telling().count(), 100);
}

#[test]
fn what_defines_others_stays() {
    let mut many = facts(["one"; 100]);
    many.statements[7].later_of = Some(6);
    many.mark_repeats();
    let told: Vec<_> = many.telling().map(|statement| statement.span.unwrap().start).collect();
    assert_eq!(told, [0, 6]);
    assert_eq!(many.running().count(), 99);
}
