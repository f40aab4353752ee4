use std::time::{Duration, Instant};

use super::super::effect::Effect;
use super::*;

fn cell() -> Cell {
    Cell::start(Settings::default()).unwrap()
}

fn read(text: &str) -> Facts {
    cell().read(text.as_bytes(), &LexingState::default())
}

#[test]
fn texts_that_break_parsers_get_an_answer() {
    let chain = |unit: &str, count: usize| unit.repeat(count);
    let texts = [
        format!("select 1 where 1=1{}", chain(" or 1=1", 100_000)),
        format!("select 1 where 1=1{}", chain(" or 1=1", 7_000)),
        format!("select 1{}", chain(" + 1", 130 * 1024 / 4)),
        format!("select 1{}", chain(" + 1", 15_000)),
        format!("select {}1{}", chain("(", 30_000), chain(")", 30_000)),
        format!("select {}1{}", chain("(", 4_000), chain(")", 4_000)),
        format!("select {}1{}", chain("array[", 9_000), chain("]", 9_000)),
        format!("select {}1{}", chain("case when ", 3_000), chain(" then 1 end", 3_000)),
        format!("select {}1{}", chain("(select ", 5_000), chain(")", 5_000)),
        format!("select * from {}t{}", chain("(select * from ", 3_000), chain(") x", 3_000)),
        format!("select {}true", chain("not ", 15_000)),
        format!("select {}1", chain("- ", 30_000)),
        format!("select {}1", chain("+ ", 30_000)),
        format!("select 1{}", chain(" union select 1", 4_000)),
        format!("select 1{}", chain(" union all (select 1", 3_000)) + &chain(")", 3_000),
        format!("select 1{}", chain("::int", 12_000)),
        format!("select a{}", chain("[1]", 20_000)),
        format!("select a{}", chain(".b", 30_000)),
        format!("select 1 in (1{})", chain(",1", 30_000)),
        format!("insert into t values (1){}", chain(",(1)", 15_000)),
        format!("select * from t{}", chain(" join t on true", 4_000)),
        format!("select * from t where {}", chain("exists (select 1 from t where ", 2_000)),
        format!("select {}", chain("f(", 20_000)),
        format!("select {}1{}", chain("coalesce(", 5_000), chain(")", 5_000)),
        format!("delete from t where {}true{}", chain("coalesce(", 5_000), chain(")", 5_000)),
        format!(
            "delete from t where {}true{}",
            chain("case when x then ", 2_000),
            chain(" else false end", 2_000)
        ),
        format!("{}select 1", chain("explain ", 1_000)),
        chain(";", 60_000),
        chain("select 1;", 7_000),
        chain("/*", 30_000),
        format!("select 1 {}{}", chain("/*", 15_000), chain("*/", 15_000)),
        format!("select 1 {}", chain("/**/", 15_000)),
        format!("select 1 /*{}*/", chain("/**/", 15_000)),
        format!("select {}1", chain("+", 60_000)),
        format!("select {}1", chain("+-", 30_000)),
        format!("select 1 {} 1", chain("@", 60_000)),
        format!("select '{}'", chain("+", 60_000)),
        chain("$a$ $b$ ", 8_000),
    ];
    let cell = cell();
    for text in texts {
        let begun = Instant::now();
        let facts = cell.read(text.as_bytes(), &LexingState::default());
        let shown: String = text.chars().take(60).collect();
        assert!(begun.elapsed() < Duration::from_secs(5), "{shown}: {:?}", begun.elapsed());
        let nothing = text.trim_matches(';').is_empty();
        assert_eq!(facts.statements.is_empty(), nothing, "{shown}");
    }
}

#[test]
fn a_tree_that_doubles_at_each_step_runs_out_of_work_not_of_memory() {
    let mut text = String::from("with c0 as (select a as x, b as y from t)");
    for n in 1..60 {
        let m = n - 1;
        text.push_str(&format!(
            ", c{n} as (select p.x || q.y as x, p.y || q.x as y from c{m} p, c{m} q)"
        ));
    }
    text.push_str("select * from c59");
    let facts = read(&text);
    assert_eq!(facts.statements.len(), 1);
    // Only two columns are behind it all.
    assert!(facts.statements[0].columns.len() < 10);
    let wide: Vec<String> = (0..1_000).map(|n| format!("column_number_{n} as c{n}")).collect();
    let mut text = format!("with c0 as (select {} from t)", wide.join(", "));
    let all: Vec<String> = (0..1_000).map(|n| format!("c{n}")).collect();
    for n in 1..4 {
        text.push_str(&format!(
            ", c{n} as (select ({}) as c0, {} from c{})",
            all.join("||"),
            all.join(","),
            n - 1
        ));
    }
    text.push_str(&format!("select {} from c3", all.join("||")));
    let begun = Instant::now();
    assert_eq!(read(&text).statements.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn sixteen_megabytes_are_refused_at_once() {
    for start in ["select '", "drop table x; -- ", "/* "] {
        let text = format!("{start}{}", "x".repeat(16 * 1024 * 1024));
        // The best of several: a machine that does other things is late at times.
        let read = || {
            let cell = cell();
            let begun = Instant::now();
            let facts = cell.read(text.as_bytes(), &LexingState::default());
            (begun.elapsed(), facts)
        };
        let (quickest, facts) = (0..5).map(|_| read()).min_by_key(|(took, _)| *took).unwrap();
        assert!(quickest < Duration::from_millis(50), "{quickest:?}");
        assert!(!facts.understood());
        assert_eq!(facts.effects().contains(Effect::Drop), start.starts_with("drop"));
    }
}

#[test]
fn a_long_text_without_a_process_is_refused() {
    let text = format!("select '{}'", "x".repeat(100_000));
    let facts = read(&text);
    assert!(matches!(facts.statements[0].doubts[0], Doubt::Parser(_)));
}

#[test]
fn more_than_may_wait_is_refused_and_each_gets_its_answer() {
    let settings = Settings { workers: 1, waiting: 1, ..Settings::default() };
    let cell = Cell::start(settings).unwrap();
    let text = format!("select 1 where 1=1{}", " or 1=1".repeat(5_000));
    let (facts_tx, facts_rx) = mpsc::channel();
    for _ in 0..50 {
        let facts_tx = facts_tx.clone();
        cell.submit(
            text.as_bytes().into(),
            &LexingState::default(),
            Box::new(move |_, facts| facts_tx.send(facts.understood()).unwrap()),
        );
    }
    drop(facts_tx);
    let answers: Vec<bool> = facts_rx.iter().collect();
    assert_eq!(answers.len(), 50);
    assert!(answers.contains(&true) && answers.contains(&false));
}

#[test]
fn an_asker_that_panics_ends_no_worker() {
    let settings = Settings { workers: 1, ..Settings::default() };
    let cell = Cell::start(settings).unwrap();
    let text = format!("select {}1{}", "abs(".repeat(100), ")".repeat(100));
    let reply = Box::new(|_: &[u8], _| panic!("on purpose"));
    cell.submit(text.as_bytes().into(), &LexingState::default(), reply);
    assert!(cell.read(text.as_bytes(), &LexingState::default()).understood());
}

#[test]
fn conditions_within_conditions_are_not_followed_for_as_long_as_they_ask_for() {
    let nested = |depth: usize, values: usize| {
        let others: String = (1..16).map(|number| format!(",t b{number}")).collect();
        let head = format!("select 1 from t a{others} where exists(").repeat(depth);
        let values = "a.x*1,".repeat(values);
        format!("{head}select 1 from t a{others} where f({values}1)>1{}", ")".repeat(depth))
    };
    let quick = |text: &str| Cell::quick(text.as_bytes(), &LexingState::default());
    assert!(quick(&nested(2, 10)).is_some_and(|facts| facts.understood()));
    let much = nested(12, 2_000);
    assert!(much.len() < Bounds::SMALL.bytes && quick(&much).is_none());
    // Where nobody follows it, it isn't understood.
    let facts = attempt(much.as_bytes(), &LexingState::default(), Bounds::SMALL);
    assert!(facts.statements[0].doubts.contains(&Doubt::TooComplex));
}

#[test]
fn stars_of_many_tables_run_out_of_work_not_of_memory() {
    let stars = |count: usize| {
        format!("select 1 from (select *{} from t{}) s", ",*".repeat(count), ",t".repeat(count))
    };
    let read = |count, bounds| attempt(stars(count).as_bytes(), &LexingState::default(), bounds);
    assert!(read(20, Bounds::SMALL).understood());
    for bounds in [Bounds::SMALL, Bounds::LARGE] {
        assert!(read(2_500, bounds).statements[0].doubts.contains(&Doubt::TooComplex));
    }
}

#[test]
fn what_is_too_deep_for_the_callers_stack_goes_to_the_workers() {
    let text = format!("select {}1{}", "abs(".repeat(100), ")".repeat(100));
    assert_eq!(Cell::quick(text.as_bytes(), &LexingState::default()), None);
    assert!(read(&text).understood());
    assert!(Cell::quick(b"select 1", &LexingState::default()).unwrap().understood());
}

#[test]
fn small_texts_are_safe_on_a_small_stack() {
    let units = [
        ("select 1 where true", " or 1=1", ""),
        ("select 1", " + 1", ""),
        ("delete from t where ", "coalesce(", "true"),
        ("delete from t where ", "not ", "x"),
        ("delete from t where ", "case when x then ", "true"),
        ("delete from t where x = ", "(select x from t where x = ", "1"),
        ("delete from t where ", "exists (select 1 from t a where a.x = t.x and ", "true"),
        ("delete from t where ", "(true = ", "x"),
        ("select ", "f(", "1"),
        ("select * from ", "(select * from ", "t"),
        ("", "explain analyze ", "select 1"),
        ("select ", "- ", "1"),
        ("select 1", " union select 1", ""),
        ("select 1", " union (select 1", ""),
        ("select a", "[1]", ""),
        ("select a", "::int", ""),
        ("select ", "array[", "1"),
    ];
    let small = thread::Builder::new().stack_size(1024 * 1024);
    let read = move || {
        for (start, unit, end) in units {
            for count in [10, 50, 90, 150, 300] {
                let closing = match unit {
                    "array[" => "]".repeat(count),
                    "case when x then " => " end".repeat(count),
                    _ => ")".repeat(unit.matches('(').count() * count),
                };
                let text = format!("{start}{}{end}{closing}", unit.repeat(count));
                // None is an answer too: one for the workers.
                let _ = Cell::quick(text.as_bytes(), &LexingState::default());
            }
        }
    };
    small.spawn(read).unwrap().join().unwrap();
}
