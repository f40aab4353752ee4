//! What the machine knows of statements and portals, and when it doesn't.

use super::*;

/// The next client frame's step, without a decision.
fn step(bench: &mut Bench, bytes: &[u8]) -> &'static str {
    bench.client.feed(bytes);
    let frame = bench.client.frame().unwrap().unwrap();
    let span = frame.span;
    match bench.session.client(&frame).unwrap() {
        ClientStep::Plain(_) => "plain",
        ClientStep::Wait => {
            bench.client.put_back(span);
            bench.client.take_unframed();
            "wait"
        }
        ClientStep::Runs(request) => {
            let certain = match &request.runs {
                Runs::Bind(_, Some(known)) => Some(known.certain),
                Runs::Execute(_, Some(known)) => Some(known.certain),
                _ => None,
            };
            let permit = Arc::from("p");
            let _ = bench.session.release(request.ticket, permit, SqlEffects::nothing()).unwrap();
            match certain {
                None => "unknown",
                Some(true) => "certain",
                Some(false) => "uncertain",
            }
        }
    }
}

#[test]
fn a_bind_sees_the_statement_whose_parse_is_not_answered_yet() {
    let mut bench = bench();
    bench.client(&[parse("s", "select old"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    bench.client(&[frontend(b'C', b"Ss\0"), parse("s", "select new")].concat()).unwrap();
    bench.client.feed(&bind("", "s"));
    let frame = bench.client.frame().unwrap().unwrap();
    let ClientStep::Runs(request) = bench.session.client(&frame).unwrap() else { panic!() };
    let Runs::Bind(_, Some(known)) = request.runs else { panic!() };
    assert_eq!(known.value.text().unwrap().as_ref(), b"select new");
    assert_eq!(
        bench.session.statement(b"s").unwrap().value.text().unwrap().as_ref(),
        b"select old"
    );
}

#[test]
fn a_name_that_a_failing_pipeline_would_have_changed_is_waited_for() {
    let mut bench = bench();
    bench.client(&[parse("s", "select harmless"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    // If the first Parse fails, `s` keeps its old meaning behind the Sync.
    let change = [parse("", "x"), frontend(b'C', b"Ss\0"), parse("s", "select other"), sync()];
    bench.client(&change.concat()).unwrap();
    assert_eq!(step(&mut bench, &bind("", "s")), "wait");
    assert_eq!(step(&mut bench, &frontend(b'D', b"Ss\0")), "wait");
    assert_eq!(step(&mut bench, &frontend(b'D', b"Sother\0")), "plain");
    bench.server(&[error("ERROR", "42601"), ready(b'I')].concat()).unwrap();
    assert_eq!(step(&mut bench, &bind("", "s")), "certain");
    let known = bench.session.statement(b"s").unwrap().value.text().unwrap();
    assert_eq!(known.as_ref(), b"select harmless");
}

/// The server keeps 63 bytes of a name: it has one statement here, and one portal.
#[test]
fn what_is_bound_by_a_name_that_may_be_anothers_is_not_certain() {
    let long = "a".repeat(63);
    let [one, two, three] = [1, 2, 3].map(|number| format!("{long}{number}"));
    let close = |kind: u8, name: &str| frontend(b'C', &[&[kind], name.as_bytes(), b"\0"].concat());
    let mut bench = bench();
    bench.client(&[parse(&one, "select 1"), close(b'S', &two)].concat()).unwrap();
    bench.client(&parse(&three, "select secret")).unwrap();
    assert_eq!(step(&mut bench, &bind("", &one)), "uncertain");
    bench.server(&[message(b'1', b""), message(b'3', b""), message(b'1', b"")].concat()).unwrap();
    assert_eq!(step(&mut bench, &bind("", &one)), "uncertain");
    bench.client(&[bind(&one, ""), close(b'P', &two), bind(&three, "")].concat()).unwrap();
    assert_eq!(step(&mut bench, &execute(&one)), "uncertain");
    // And by SQL, which cuts its names itself.
    let mut bench = super::bench();
    bench.client(&[parse(&one, "select 1"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    bench.client(&query(&format!("deallocate {long}"))).unwrap();
    bench.server(&[complete("DEALLOCATE"), ready(b'I')].concat()).unwrap();
    assert_eq!(step(&mut bench, &bind("", &one)), "uncertain");
}

#[test]
fn no_name_is_certain_while_sql_that_may_change_it_is_under_way() {
    let mut bench = bench();
    bench.client(&[parse("s", "select 1"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    bench.client(&query("deallocate s; prepare s as select secret")).unwrap();
    assert_eq!(step(&mut bench, &bind("p", "s")), "uncertain");
    bench.client(&sync()).unwrap();
    let answers = [complete("DEALLOCATE"), complete("PREPARE"), ready(b'I'), message(b'2', b"")];
    bench.server(&answers.concat()).unwrap();
    let portal = bench.session.portal(b"p").unwrap().value;
    assert!(!portal.certain && portal.shape().is_none());
    bench.server(&ready(b'I')).unwrap();
    assert_eq!(step(&mut bench, &bind("p", "s")), "certain");
    let known = bench.session.statement(b"s").unwrap().value;
    assert!(known.by_sql);
}

#[test]
fn nothing_is_executed_or_fetched_by_a_name_that_is_being_given_anew() {
    let mut bench = bench();
    bench.client(&query("prepare s as select 1; declare c cursor for select 1")).unwrap();
    let answers = [complete("PREPARE"), complete("DECLARE CURSOR"), ready(b'T')];
    bench.server(&answers.concat()).unwrap();
    assert!(bench.session.executed(b"s").is_some() && bench.session.fetched(b"c").is_some());
    bench.client(&query("close c; declare c cursor for select secret")).unwrap();
    assert!(bench.session.executed(b"s").is_none() && bench.session.fetched(b"c").is_none());
    let answers = [complete("CLOSE CURSOR"), complete("DECLARE CURSOR"), ready(b'T')];
    bench.server(&answers.concat()).unwrap();
    assert!(bench.session.executed(b"s").is_some() && bench.session.fetched(b"c").is_some());
    // What the protocol makes counts as soon as it is sent.
    bench.client(&[parse("t", "select 2"), bind("p", "t")].concat()).unwrap();
    assert!(bench.session.executed(b"t").is_some() && bench.session.fetched(b"p").is_some());
    bench.client(&[frontend(b'C', b"Pc\0"), sync()].concat()).unwrap();
    assert!(bench.session.fetched(b"c").is_none(), "behind the Sync nobody knows");
}

#[test]
fn portals_end_with_their_transaction_but_held_cursors_do_not() {
    let mut bench = bench();
    bench
        .client(&query(
            "begin; declare c cursor for select 1; declare h cursor with hold for select 2",
        ))
        .unwrap();
    bench
        .server(
            &[
                complete("BEGIN"),
                complete("DECLARE CURSOR"),
                complete("DECLARE CURSOR"),
                ready(b'T'),
            ]
            .concat(),
        )
        .unwrap();
    bench.client(&[parse("s", "select 3"), bind("p", "s"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), message(b'2', b""), ready(b'T')].concat()).unwrap();
    let mut names: Vec<_> = bench.session.portal_names().map(<[u8]>::to_vec).collect();
    names.sort();
    assert_eq!(names, [b"c", b"h", b"p"]);
    bench.client(&query("commit")).unwrap();
    bench.server(&[complete("COMMIT"), ready(b'I')].concat()).unwrap();
    assert_eq!(bench.session.portal_names().collect::<Vec<_>>(), [b"h"]);
    assert_eq!(bench.session.statement_names().collect::<Vec<_>>(), [b"s"]);
    bench.client(&query("discard all")).unwrap();
    bench.server(&[complete("DISCARD ALL"), ready(b'I')].concat()).unwrap();
    assert_eq!(bench.session.portal_names().count() + bench.session.statement_names().count(), 0);
}

#[test]
fn names_are_uncertain_after_sql_that_nobody_understood() {
    let mut bench = bench();
    bench.client(&[parse("s", "select 1"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    assert!(bench.session.statement(b"s").unwrap().certain);
    // A rule, or a text that couldn't be parsed: the tag tells what no effect did.
    bench.client(&query("select anything")).unwrap();
    bench.server(&[complete("DEALLOCATE"), ready(b'I')].concat()).unwrap();
    assert!(!bench.session.statement(b"s").unwrap().certain);
}

#[test]
fn statements_and_their_texts_are_bounded() {
    let limits = Limits { statements: 3, texts: 25, ..Limits::default() };
    let mut bench = bench_with(limits);
    for name in ["a", "b", "c"] {
        bench.client(&parse(name, "select 12345")).unwrap();
        bench.server(&message(b'1', b"")).unwrap();
    }
    let kept =
        |name: &str| bench.session.statement(name.as_bytes()).unwrap().value.text().is_some();
    assert_eq!([kept("a"), kept("b"), kept("c")], [true, true, false]);
    assert!(bench.session.text_bytes() <= 25);
    assert_eq!(bench.client(&parse("d", "x")).unwrap_err().code(), "PG-0005");
}

#[test]
fn portals_are_bounded_however_they_are_made() {
    let three = || {
        let mut bench = bench_with(Limits { portals: 3, ..Limits::default() });
        bench.client(&query("begin; declare c cursor for select 1")).unwrap();
        let answers = [complete("BEGIN"), complete("DECLARE CURSOR"), ready(b'T')];
        bench.server(&answers.concat()).unwrap();
        for name in ["a", "b"] {
            bench.client(&[parse("", "select 1"), bind(name, "")].concat()).unwrap();
            bench.server(&[message(b'1', b""), message(b'2', b"")].concat()).unwrap();
        }
        assert!(bench.session.portal(b"c").unwrap().certain);
        bench
    };
    assert_eq!(three().client(&bind("d", "")).unwrap_err().code(), "PG-0005");
    // The unnamed one isn't counted; one more by SQL is beyond what is known.
    let mut bench = three();
    bench.client(&[bind("", ""), sync()].concat()).unwrap();
    bench.server(&[message(b'2', b""), ready(b'T')].concat()).unwrap();
    bench.client(&query("declare d cursor for select 1")).unwrap();
    bench.server(&[complete("DECLARE CURSOR"), ready(b'T')].concat()).unwrap();
    assert!(bench.session.portal(b"d").is_none());
    assert!(!bench.session.portal(b"a").unwrap().certain);
}

#[test]
fn a_simple_query_drops_the_unnamed_statement_and_portal() {
    let mut bench = bench();
    bench.client(&[parse("", "select 1"), bind("", ""), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), message(b'2', b""), ready(b'T')].concat()).unwrap();
    assert!(bench.session.portal(b"").is_some());
    bench.client(&query("select 2")).unwrap();
    assert_eq!(step(&mut bench, &execute("")), "unknown");
    assert_eq!(step(&mut bench, &bind("", "")), "unknown");
    bench.server(&[complete("SELECT 1"), ready(b'T')].concat()).unwrap();
    assert!(bench.session.statement(b"").is_none());
    assert!(bench.session.portal(b"").is_none());
}

/// A statement by Parse, one by PREPARE, an unnamed one and a held cursor; then a rest.
fn with_names(naming: Naming) -> Bench {
    let mut bench = bench();
    bench.client(&query("prepare q as select 1; declare h cursor with hold for select 2")).unwrap();
    let answers = [complete("PREPARE"), complete("DECLARE CURSOR"), ready(b'I')];
    bench.server(&answers.concat()).unwrap();
    bench.client(&[parse("s", "select 3"), parse("", "select 4"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), message(b'1', b""), ready(b'I')].concat()).unwrap();
    bench.session.set_naming(naming);
    bench
}

#[test]
fn names_at_a_process_of_its_own_stay_certain() {
    let mut bench = with_names(Naming::Own);
    assert!(bench.session.executed(b"s").is_some() && bench.session.executed(b"q").is_some());
    for bind in [bind("", "s"), bind("", "q"), bind("", "")] {
        assert_eq!(step(&mut bench, &bind), "certain");
    }
    assert_eq!(step(&mut bench, &execute("h")), "certain");
}

#[test]
fn names_that_are_shared_are_certain_up_to_the_next_rest() {
    let mut bench = with_names(Naming::Shared);
    assert!(bench.session.executed(b"s").is_none() && bench.session.executed(b"q").is_none());
    assert_eq!(step(&mut bench, &bind("", "s")), "uncertain");
    assert_eq!(step(&mut bench, &bind("", "q")), "uncertain");
    assert_eq!(step(&mut bench, &bind("", "")), "unknown");
    assert_eq!(step(&mut bench, &execute("h")), "uncertain");
    let mut bench = with_names(Naming::Shared);
    // Within a transaction nobody comes between.
    bench.client(&[parse("t", "select 5"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'T')].concat()).unwrap();
    assert!(bench.session.executed(b"t").is_some());
    assert_eq!(step(&mut bench, &bind("", "t")), "certain");
    bench.client(&sync()).unwrap();
    bench.server(&[message(b'2', b""), ready(b'I')].concat()).unwrap();
    assert_eq!(step(&mut bench, &bind("", "t")), "uncertain");
}

#[test]
fn a_pooler_that_renames_keeps_what_parse_named_and_nothing_else() {
    let mut bench = with_names(Naming::Renamed);
    // The server has `s` under another name, or somebody else's.
    assert!(bench.session.executed(b"s").is_none() && bench.session.executed(b"q").is_none());
    assert_eq!(step(&mut bench, &bind("", "s")), "certain");
    assert_eq!(step(&mut bench, &bind("", "q")), "uncertain");
    assert_eq!(step(&mut bench, &bind("", "")), "unknown");
    assert_eq!(step(&mut bench, &execute("h")), "uncertain");
}

#[test]
fn only_what_begins_after_a_rest_leans_on_names_of_before_it() {
    fn leans(bench: &mut Bench, bytes: &[u8]) -> bool {
        bench.client.feed(bytes);
        let frame = bench.client.frame().unwrap().unwrap();
        let (span, leans) = (frame.span, bench.session.leans_on_names(&frame));
        bench.client.put_back(span);
        bench.client.take_unframed();
        leans
    }
    let mut bench = bench();
    assert!(!leans(&mut bench, &parse("s", "select 1")) && !leans(&mut bench, &bind("", "")));
    bench.client(&[parse("", "select 1"), sync()].concat()).unwrap();
    // The Sync's answer may bring another process; whoever goes on waits for it.
    assert!(leans(&mut bench, &bind("", "")));
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    assert!(leans(&mut bench, &bind("", "")) && leans(&mut bench, &parse("s", "select 1")));
    assert!(!leans(&mut bench, &parse("", "select 2")) && !leans(&mut bench, &query("select 2")));
    bench.client(&[parse("s", "select 1"), sync()].concat()).unwrap();
    bench.server(&[message(b'1', b""), ready(b'I')].concat()).unwrap();
    assert!(leans(&mut bench, &query("execute s")) && leans(&mut bench, &parse("", "select 2")));
    bench.client(&parse("t", "select 2")).unwrap();
    assert!(!leans(&mut bench, &bind("", "s")), "its pipeline has begun before");
}

#[test]
fn what_was_prepared_before_code_ran_is_certain_once_the_server_has_said_so() {
    fn suspects(bench: &mut Bench) -> bool {
        let [binds, prepares] = [bind("", "s"), parse("", "begin")].map(|one| asks(bench, &one));
        assert_eq!(binds, prepares, "what it binds may come behind");
        binds
    }
    fn asks(bench: &mut Bench, begins: &[u8]) -> bool {
        bench.client.feed(begins);
        let frame = bench.client.frame().unwrap().unwrap();
        let (span, suspects) = (frame.span, bench.session.suspects(&frame));
        bench.client.put_back(span);
        bench.client.take_unframed();
        suspects
    }
    let ran_to = |answer: &[u8], state: u8| {
        let mut bench = bench();
        bench.client(&[parse("s", "select 1"), parse("", "select 2"), sync()].concat()).unwrap();
        bench.server(&[message(b'1', b""), message(b'1', b""), ready(b'I')].concat()).unwrap();
        assert!(!suspects(&mut bench));
        bench.client.feed(&query("do"));
        let frame = bench.client.frame().unwrap().unwrap();
        let ClientStep::Runs(request) = bench.session.client(&frame).unwrap() else { panic!() };
        let effects = SqlEffects::new([SqlEffect::Anything]);
        let _ = bench.session.release(request.ticket, Arc::from("p"), effects).unwrap();
        bench.client.consume_framed();
        bench.server(&[answer, &ready(state)].concat()).unwrap();
        bench
    };
    let ran = |answer: &[u8]| ran_to(answer, b'I');
    let ran_within = |answer: &[u8]| ran_to(answer, b'E');
    // What failed may have done it all the same.
    for answer in [complete("DO"), error("ERROR", "P0001")] {
        assert_eq!(step(&mut ran(&answer), &bind("", "s")), "uncertain");
        let mut asked = ran(&answer);
        assert!(suspects(&mut asked));
        asked.session.trust();
        assert!(!suspects(&mut asked));
        assert_eq!(step(&mut asked, &bind("", "s")), "certain");
        let mut asked = ran(&answer);
        asked.session.distrust();
        assert_eq!(step(&mut asked, &bind("", "s")), "uncertain");
        // Within a transaction that has failed by it, nothing is asked, nor need be.
        let mut failed = ran_within(&answer);
        assert!(!suspects(&mut failed));
        assert_eq!(step(&mut failed, &bind("", "s")), "certain");
        // What is prepared behind it is known.
        let mut anew = ran(&answer);
        anew.client(&[frontend(b'C', b"Ss\0"), parse("s", "select 3")].concat()).unwrap();
        assert_eq!(step(&mut anew, &bind("", "s")), "certain");
    }
}
