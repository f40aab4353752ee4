//! Refusals, held against what a real server answered.

use super::*;
use crate::wire::postgres::testing::{Recording, Relay};

fn refusal() -> Refusal {
    Refusal {
        record: "r-1".to_owned(),
        message: "policy `no secrets` refuses this: ümlaut".to_owned(),
        detail: Some("secret.key would be read".to_owned()),
        hint: Some("ask for it".to_owned()),
    }
}

/// What goes upstream in a refused request's place, as the recording has it,
/// and what the client had sent.
fn original(substitute: &[u8], executes: &mut usize) -> Vec<u8> {
    match (substitute[0], String::from_utf8_lossy(substitute).contains("tidegate refused")) {
        (b'Q', true) => query("select secret"),
        (b'P', true) => parse("secret", "select secret"),
        (b'E', true) => {
            *executes += 1;
            // A Bind or an Execute: both are replaced alike.
            if *executes % 2 == 1 { bind("", "secret") } else { execute("secret") }
        }
        (b'F', _) => frontend(b'F', b"\0\0\x03\xe7\0\0\0\0\0\0"),
        _ => substitute.to_vec(),
    }
}

/// A relay that refuses whatever speaks of a secret.
fn refusing() -> Relay {
    let mut relay = Relay::new(Common::default());
    relay.decide = Box::new(|runs| {
        let secret = match runs {
            Runs::Query(text) => text.ends_with(b"secret"),
            Runs::Parse(parse) => parse.query.ends_with(b"secret"),
            Runs::Bind(bind, _) => bind.statement == b"secret" && bind.parameters.is_empty(),
            Runs::Execute(execute, _) => execute.portal == b"secret",
            Runs::FunctionCall(call) => call.function == 999,
        };
        secret.then(refusal)
    });
    relay
}

#[test]
fn a_real_server_fails_the_substitutes_and_the_client_reads_the_refusal() {
    let recording = Recording::one("refused");
    let mut relay = refusing();
    let mut executes = 0;
    let mut upstream = Vec::new();
    let mut parsed_secret = false;
    for (side, bytes) in &recording.lines {
        if *side == Side::Client {
            // What follows the refused Parse binds `secret`: it is judged as
            // well, and refused as well, and the server never looks at it.
            let sent = original(bytes, &mut executes);
            parsed_secret |= sent.starts_with(b"P") && sent.windows(6).any(|w| w == b"secret");
            relay.from(*side, &sent).unwrap();
        } else {
            relay.from(*side, bytes).unwrap();
        }
        if *side == Side::Client {
            upstream.extend(bytes);
        }
    }
    assert!(parsed_secret);
    // Byte for byte what the real server was asked, but for the Bind behind
    // the refused Parse, which the server skipped.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let replaced = text(&frontend(b'B', b"\0secret\0\0\0\0\0\0\0"));
    let skipped = text(&execute("tidegate refused (record r-1)"));
    assert_eq!(text(&relay.to_server), text(&upstream).replace(&replaced, &skipped));

    let recorded = text(&recording.bytes(Side::Server));
    let seen = text(&relay.to_client);
    // A function of OID 0 bears no name.
    assert_eq!(recorded.matches("tidegate").count(), 7);
    assert_eq!(seen.matches("tidegate").count(), 0);
    assert_eq!(seen.matches("C42501\0Mpolicy `no secrets` refuses this: ümlaut\0").count(), 8);
    assert_eq!(seen.matches("Dsecret.key would be read\0Hask for it\0").count(), 8);
    for other in ["C22012", "C25P02", "Msyntax error at or near \"selct\""] {
        assert_eq!(seen.matches(other).count(), 1, "{other}");
    }
    let session = relay.session().unwrap();
    assert_eq!(session.outstanding(), 0);
    assert_eq!(session.transaction(), Transaction::Idle);
    assert_eq!(session.statement_names().collect::<Vec<_>>(), [b"good"]);
    let refused = relay
        .ended
        .iter()
        .filter(|(_, ending)| *ending == Ending::Refused(Refusal::SQLSTATE))
        .count();
    assert_eq!(refused, 8);
}

#[test]
fn a_physical_walsender_refuses_in_its_own_words() {
    let recording = Recording::one("refused_physical");
    let mut relay = refusing();
    for (side, bytes) in &recording.lines {
        let sent = if *side == Side::Client { original(bytes, &mut 0) } else { bytes.clone() };
        relay.from(*side, &sent).unwrap();
    }
    assert_eq!(relay.to_server, recording.bytes(Side::Client));
    assert!(String::from_utf8_lossy(&relay.to_client).contains("C42501"));
}

/// Refuses the one request of `bytes`; says what goes upstream.
fn refuse(bench: &mut Bench, bytes: &[u8]) -> Vec<u8> {
    bench.client.feed(bytes);
    let frame = bench.client.frame().unwrap().unwrap();
    let ClientStep::Runs(request) = bench.session.client(&frame).unwrap() else { panic!() };
    let mut out = Vec::new();
    bench.session.refuse(request.ticket, refusal(), &mut out).unwrap();
    bench.client.consume_framed();
    out
}

#[test]
fn a_rewritten_error_has_nothing_of_the_substitute_in_it() {
    let mut bench = bench();
    refuse(&mut bench, &query("select secret"));
    let steps = bench.server(&error("ERROR", "42601")).unwrap();
    let body = &steps[0].as_bytes()[5..];
    let Backend::ErrorResponse(fields) = Backend::decode(b'E', body, &Limits::default()).unwrap()
    else {
        panic!()
    };
    let codes: Vec<u8> = fields.iter().map(|field| field.code).collect();
    assert_eq!(codes, b"SVCMDH");
    bench.server(&ready(b'I')).unwrap();
    assert!(bench.session.is_quiet());
    let endings: Vec<_> = bench.session.outcomes().map(|outcome| outcome.ending).collect();
    assert_eq!(endings, [Ending::Refused(Refusal::SQLSTATE), Ending::Answered]);
}

#[test]
fn only_the_expected_error_is_rewritten() {
    for sqlstate in ["25P02", "57014", "42883"] {
        let mut bench = bench();
        refuse(&mut bench, &query("select secret"));
        let steps = bench.server(&error("ERROR", sqlstate)).unwrap();
        assert!(steps[0].starts_with("Error of Query"), "{steps:?}");
    }
    let mut bench = bench();
    refuse(&mut bench, &query("select secret"));
    assert!(bench.server(&error("FATAL", "42601")).unwrap()[0].starts_with("Error"));
    assert!(bench.session.is_over());
}

#[test]
fn a_refusal_speaks_ascii_where_the_client_reads_no_unicode() {
    let mut bench = bench();
    bench.server(&message(b'S', b"client_encoding\0LATIN1\0")).unwrap();
    refuse(&mut bench, &query("select secret"));
    let steps = bench.server(&error("ERROR", "42601")).unwrap();
    assert!(steps[0].contains("?mlaut"), "{}", steps[0]);
}

#[test]
fn a_server_that_takes_the_substitute_ends_the_session() {
    let answers: [Vec<u8>; 4] = [complete("SELECT 1"), columns(&["a"]), row(), ready(b'I')];
    for answer in answers {
        let mut bench = bench();
        refuse(&mut bench, &query("select secret"));
        assert_eq!(bench.server(&answer).unwrap_err().code(), "PG-0013");
    }
}

#[test]
fn a_record_name_cannot_become_sql() {
    let mut bench = bench();
    bench.client.feed(&query("x"));
    let frame = bench.client.frame().unwrap().unwrap();
    let ClientStep::Runs(request) = bench.session.client(&frame).unwrap() else { panic!() };
    let mut out = Vec::new();
    let record = "1); select 1 /*\0é".to_owned();
    bench.session.refuse(request.ticket, Refusal { record, ..refusal() }, &mut out).unwrap();
    assert_eq!(out, query("tidegate refused this statement (record 1select1)"));
}

#[test]
fn a_cancelled_request_fails_as_a_cancelled_one_does() {
    let mut bench = bench();
    bench.client.feed(&query("select secret"));
    let frame = bench.client.frame().unwrap().unwrap();
    let ClientStep::Runs(request) = bench.session.client(&frame).unwrap() else { panic!() };
    let mut out = Vec::new();
    bench.session.cancel(request.ticket, refusal(), &mut out).unwrap();
    bench.client.consume_framed();
    assert_eq!(out, query("tidegate refused this statement (record r-1)"));
    let steps = bench.server(&error("ERROR", "42601")).unwrap();
    assert!(steps[0].contains("C57014\0M") && !steps[0].contains("42501"), "{steps:?}");
    bench.server(&ready(b'I')).unwrap();
    assert!(bench.session.is_quiet());
    let endings: Vec<Ending> = bench.session.outcomes().map(|one| one.ending).collect();
    assert_eq!(endings.first(), Some(&Ending::Refused("57014")));
}

/// CopyInResponse: text, one column.
fn copy_in() -> Vec<u8> {
    message(b'G', &[0, 0, 1, 0, 0])
}

/// Ends the COPY of the first request; what goes upstream for it.
fn end_copy(bench: &mut Bench, serial: u64) -> Vec<u8> {
    assert!(bench.session.may_copy(serial));
    let mut out = Vec::new();
    bench.session.end_copy(serial, refusal(), &mut out).unwrap();
    out
}

#[test]
fn a_copy_is_ended_wherever_its_data_stand() {
    let data = || frontend(b'd', b"1\n");
    let done = || frontend(b'c', b"");
    let fails = frontend(b'f', b"tidegate refused this statement (record r-1)\0");
    let extended = [parse("", "copy"), bind("", ""), execute("")].concat();
    // What the client sends before the server has said that there is a COPY, after
    // that, and after the COPY was ended; whether it is a simple query.
    for (early, late, after, simple) in [
        (vec![], data(), [data(), done()].concat(), true),
        (data(), vec![], done(), true),
        (vec![], data(), [data(), done(), frontend(b'S', b"")].concat(), false),
        (frontend(b'S', b""), data(), [data(), done(), frontend(b'S', b"")].concat(), false),
        (data(), vec![], [done(), frontend(b'S', b"")].concat(), false),
    ] {
        let mut bench = bench();
        let serial = if simple { 1 } else { 3 };
        bench.client(&if simple { query("copy") } else { extended.clone() }).unwrap();
        bench.client(&early).unwrap();
        let before = late.is_empty();
        if before {
            assert_eq!(end_copy(&mut bench, serial), fails);
            bench.client(&after).unwrap();
        }
        let begun = if simple { vec![] } else { [message(b'1', b""), message(b'2', b"")].concat() };
        bench.server(&[begun, copy_in()].concat()).unwrap();
        if !before {
            bench.client(&late).unwrap();
            assert_eq!(end_copy(&mut bench, serial), fails);
            bench.client(&after).unwrap();
        }
        let steps = bench.server(&error("ERROR", "57014")).unwrap();
        assert!(steps[0].contains("C42501\0Mpolicy `no secrets`"), "{steps:?}");
        assert!(!bench.session.may_copy(serial));
        bench.server(&ready(b'I')).unwrap();
        assert!(bench.session.is_quiet(), "{simple} {before}");
        let endings = |bench: &mut Bench| -> Vec<_> {
            bench
                .session
                .outcomes()
                .filter(|one| one.serial == serial)
                .map(|one| one.ending)
                .collect()
        };
        let expected = [Ending::Refused(Refusal::SQLSTATE), Ending::Answered];
        assert_eq!(endings(&mut bench), &expected[..if simple { 2 } else { 1 }]);
        // What comes next is as ever.
        bench.client(&query("select 1")).unwrap();
        let answered = [columns(&["a"]), row(), complete("SELECT 1"), ready(b'I')].concat();
        bench.server(&answered).unwrap();
        assert!(bench.session.is_quiet());
    }
}

#[test]
fn a_copy_that_fails_by_itself_is_told_as_it_failed() {
    let mut bench = bench();
    bench.client(&query("copy")).unwrap();
    bench.server(&copy_in()).unwrap();
    end_copy(&mut bench, 1);
    let steps = bench.server(&error("ERROR", "22P02")).unwrap();
    assert!(steps[0].starts_with("Error of Query"), "{steps:?}");
    assert!(!bench.session.may_copy(1));
    bench.server(&ready(b'I')).unwrap();
    assert!(bench.session.is_quiet() && !bench.session.may_copy(1));
}
