//! What SQL finds by a name while requests are under way.

use super::*;

fn confirmed(texts: &str, tags: &[&str], state: u8) -> Bench {
    let mut bench = bench();
    bench.client(&query(texts)).unwrap();
    let tags: Vec<u8> = tags.iter().flat_map(|tag| complete(tag)).collect();
    bench.server(&[tags, ready(state)].concat()).unwrap();
    bench
}

/// `q` is prepared; for those who send, and for those who look it up.
fn with_q() -> Bench {
    confirmed("prepare q as select old", &["PREPARE"], b'I')
}

fn executed(bench: &Bench) -> Option<String> {
    let found = bench.session.executed(b"q")?;
    Some(String::from_utf8_lossy(found.text().unwrap()).into_owned())
}

/// `Err`: it is to be waited for.
fn found(bench: &Bench) -> Result<Option<String>, &'static str> {
    if bench.session.awaits_statement(b"q") {
        assert_eq!(executed(bench), None, "nobody knows it yet");
        return Err("waits");
    }
    Ok(executed(bench))
}

fn text(text: &str) -> Result<Option<String>, &'static str> {
    Ok(Some(text.into()))
}

#[test]
fn a_statement_that_sql_is_about_to_replace_is_waited_for() {
    let new = "deallocate q; prepare q as select new";
    for change in [new, "deallocate all", "discard all"] {
        let mut bench = with_q();
        assert_eq!(found(&bench), text("prepare q as select old"));
        bench.client(&query(change)).unwrap();
        assert_eq!(found(&bench), Err("waits"), "{change}");
    }
    let mut bench = with_q();
    bench.client(&query(new)).unwrap();
    bench.server(&complete("DEALLOCATE")).unwrap();
    assert_eq!(found(&bench), Err("waits"));
    bench.server(&[complete("PREPARE"), ready(b'I')].concat()).unwrap();
    assert_eq!(found(&bench), text(" prepare q as select new"));
    let Made { serial, index } = bench.session.executed(b"q").unwrap().made;
    assert_eq!((serial, index), (2, 1), "by the second statement of the second request");
}

#[test]
fn a_change_that_fails_leaves_what_was_there() {
    let mut bench = with_q();
    bench.client(&query("prepare q as select new")).unwrap();
    assert_eq!(found(&bench), Err("waits"));
    bench.server(&[error("ERROR", "42P05"), ready(b'I')].concat()).unwrap();
    assert_eq!(found(&bench), text("prepare q as select old"));
}

#[test]
fn what_other_requests_do_is_not_waited_for() {
    let mut bench = with_q();
    bench.client(&[query("select 1"), query("rollback"), query("execute q")].concat()).unwrap();
    assert_eq!(found(&bench), text("prepare q as select old"));
}

#[test]
fn in_a_pipeline_that_nobody_has_ended_a_renaming_leaves_nothing_certain() {
    let renames = [parse("", "deallocate q"), bind("", ""), execute("")].concat();
    let mut bench = with_q();
    bench.client(&renames).unwrap();
    // The server keeps its answers to itself: who waited would wait for ever.
    assert_eq!(found(&bench), Ok(None));
    bench.client(&sync()).unwrap();
    assert_eq!(found(&bench), Err("waits"));
    let skipped = [error("ERROR", "42601"), ready(b'I')].concat();
    bench.server(&skipped).unwrap();
    assert_eq!(found(&bench), text("prepare q as select old"));
    // What fails within it is skipped to the Sync: nothing that comes before it is run.
    bench.client(&renames).unwrap();
    bench.server(&error("ERROR", "42601")).unwrap();
    assert!(!bench.session.awaits_statement(b"q"));
}

#[test]
fn what_parse_and_close_do_to_a_name_counts_for_sql_too() {
    let close = || frontend(b'C', b"Sq\0");
    let change = || [parse("", "x"), close(), parse("q", "select new")].concat();
    let mut bench = with_q();
    bench.client(&change()).unwrap();
    // If any of it fails, what follows is skipped.
    assert_eq!(found(&bench), text("select new"));
    bench.client(&sync()).unwrap();
    assert_eq!(found(&bench), Err("waits"));
    bench.server(&[error("ERROR", "42601"), ready(b'I')].concat()).unwrap();
    assert_eq!(found(&bench), text("prepare q as select old"));
    bench.client(&[change(), sync()].concat()).unwrap();
    let done = [message(b'1', b""), message(b'3', b""), message(b'1', b""), ready(b'I')];
    bench.server(&done.concat()).unwrap();
    assert_eq!(found(&bench), text("select new"));
    bench.client(&close()).unwrap();
    assert_eq!(found(&bench), Ok(None));
}

#[test]
fn a_cursor_that_is_about_to_be_replaced_is_waited_for() {
    let cursor = |bench: &Bench| match bench.session.awaits_portal(b"c") {
        true => Err(()),
        false => Ok(bench.session.fetched(b"c").map(|found| found.made)),
    };
    let begin = "begin; select 1; declare c cursor for select 2";
    let mut bench = confirmed(begin, &["BEGIN", "SELECT 1", "DECLARE CURSOR"], b'T');
    assert_eq!(cursor(&bench), Ok(Some(Made { serial: 1, index: 2 })));
    bench.client(&query("close c; declare c cursor for select 3")).unwrap();
    assert_eq!(cursor(&bench), Err(()));
    let done = [complete("CLOSE CURSOR"), complete("DECLARE CURSOR"), ready(b'T')];
    bench.server(&done.concat()).unwrap();
    assert_eq!(cursor(&bench), Ok(Some(Made { serial: 2, index: 1 })));
    // Those that the protocol names are found by SQL too.
    let bound = [frontend(b'C', b"Pc\0"), parse("", "select 4"), bind("c", "")].concat();
    bench.client(&bound).unwrap();
    assert_eq!(cursor(&bench), Ok(Some(Made { serial: 5, index: 0 })));
    bench.client(&sync()).unwrap();
    assert_eq!(cursor(&bench), Err(()));
    bench.server(&[error("ERROR", "34000"), ready(b'E')].concat()).unwrap();
    assert_eq!(cursor(&bench), Ok(Some(Made { serial: 2, index: 1 })));
    bench.client(&query("rollback; begin; declare c cursor for select 5")).unwrap();
    assert_eq!(cursor(&bench), Err(()));
}

#[test]
fn nobody_waits_for_a_server_that_waits_for_data() {
    let mut bench = with_q();
    bench.client(&query("prepare r as select 1; copy t from stdin")).unwrap();
    assert_eq!(found(&bench), Err("waits"));
    bench.server(&[complete("PREPARE"), message(b'G', b"\0\0\0")].concat()).unwrap();
    assert_eq!(found(&bench), Ok(None));
    bench.client(&frontend(b'c', b"")).unwrap();
    assert_eq!(found(&bench), Err("waits"));
    bench.server(&[complete("COPY 0"), ready(b'I')].concat()).unwrap();
    assert_eq!(found(&bench), text("prepare q as select old"));
}

/// The Parse may fail, and what follows its Sync be run by the name's old meaning.
#[test]
fn a_name_is_waited_for_while_a_copy_comes_and_unknown_while_one_goes() {
    let bound = |bench: &mut Bench| {
        bench.client.feed(&bind("", "q"));
        let frame = bench.client.frame().unwrap().unwrap();
        match bench.session.client(&frame).unwrap() {
            ClientStep::Wait => "waits",
            ClientStep::Runs(Request { runs: Runs::Bind(_, None), .. }) => "unknown",
            _ => "known",
        }
    };
    for (copy, begins, expected) in
        [("copy t to stdout", b'H', "waits"), ("copy t from stdin", b'G', "unknown")]
    {
        let mut bench = with_q();
        bench.client(&query(copy)).unwrap();
        bench.server(&message(begins, b"\0\0\0")).unwrap();
        bench.client(&[parse("q", "select new"), sync()].concat()).unwrap();
        assert_eq!(bound(&mut bench), expected, "{copy}");
    }
}
