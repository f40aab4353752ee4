//! Answers whose number isn't that of the requests: what the server skips, forgets, or says
//! on its own.

use super::*;

fn endings(bench: &mut Bench) -> Vec<(u64, Ending)> {
    bench.session.outcomes().map(|outcome| (outcome.serial, outcome.ending)).collect()
}

#[test]
fn a_timeout_between_two_messages_of_a_pipeline_skips_to_its_sync() {
    let mut bench = bench();
    bench.client(&[parse("", "select 1"), frontend(b'H', b"")].concat()).unwrap();
    bench.server(&[message(b'1', b""), error("ERROR", "57014")].concat()).unwrap();
    bench.client(&[parse("s", "select 2"), bind("", "s"), execute(""), sync()].concat()).unwrap();
    bench.server(&ready(b'I')).unwrap();
    assert!(bench.session.is_quiet());
    let skipped = [2, 3, 4].map(|serial| (serial, Ending::Skipped));
    assert_eq!(endings(&mut bench)[1..], skipped);
    bench.client(&query("select 3")).unwrap();
    let steps = bench.server(&[columns(&["a"]), row()].concat()).unwrap();
    assert!(steps[1].contains("text select 3"), "{}", steps[1]);
}

/// The server skips a query too, and then has one end for both.
#[test]
fn a_query_within_a_pipeline_that_failed_or_was_skipped_is_not_guessed_at() {
    for call in [query("select 2"), frontend(b'F', &[0; 10])] {
        let begun = || {
            let mut bench = bench();
            bench.client(&[parse("", "select 1"), frontend(b'H', b"")].concat()).unwrap();
            bench.server(&message(b'1', b"")).unwrap();
            bench.client(&call).unwrap();
            bench
        };
        let failed = error("ERROR", "57014");
        let mut bench = begun();
        bench.client(&sync()).unwrap();
        assert_eq!(bench.server(&failed).unwrap_err().code(), "PG-0014");
        let mut bench = begun();
        bench.server(&failed).unwrap();
        assert_eq!(bench.client(&sync()).unwrap_err().code(), "PG-0006");
        // An end that comes unasked is its own.
        let mut bench = begun();
        bench.server(&[failed, ready(b'I')].concat()).unwrap();
        bench.client(&sync()).unwrap();
        bench.server(&ready(b'I')).unwrap();
        assert!(bench.session.is_quiet());
    }
}

/// A COPY that fails before it reads leaves the rest to be run; one that reads it, not.
#[test]
fn what_stands_behind_a_copy_that_takes_data_is_lost_with_the_session() {
    let insert = || [parse("", "insert"), bind("", ""), execute(""), sync()].concat();
    let extended = [parse("", "copy"), bind("", ""), execute("")].concat();
    let answered = [message(b'1', b""), message(b'2', b"")].concat();
    let begins = message(b'G', b"\0\0\0");
    let failed = error("ERROR", "08P01");
    let cases = [
        ([&*extended, &sync(), &insert()].concat(), [&*answered, &begins, &failed].concat()),
        ([&*extended, &insert()].concat(), [&*answered, &begins, &failed].concat()),
        ([query("copy"), query("select 1")].concat(), [&*begins, &failed].concat()),
    ];
    for (asked, said) in cases {
        for end in [ready(b'I'), error("ERROR", "08P01"), message(b'1', b"")] {
            let mut bench = bench();
            bench.client(&asked).unwrap();
            bench.server(&said).unwrap();
            assert_eq!(bench.server(&end).unwrap_err().code(), "PG-0014");
            bench.session.close();
            let lost = endings(&mut bench);
            assert_eq!(lost.last().unwrap().1, Ending::Lost);
            assert!(lost.iter().all(|(_, ending)| *ending != Ending::Skipped));
        }
        // As servers since version 14 have it.
        let mut bench = bench();
        bench.client(&asked).unwrap();
        bench.server(&[said, error("FATAL", "08P01")].concat()).unwrap();
        assert!(bench.session.is_over());
    }
    // Sent once the client knows.
    let mut bench = bench();
    bench.client(&query("copy")).unwrap();
    bench.server(&begins).unwrap();
    bench.client(&[sync(), message(b'd', b"1\n"), query("select 1")].concat()).unwrap();
    bench.server(&failed).unwrap();
    assert_eq!(bench.server(&ready(b'I')).unwrap_err().code(), "PG-0014");
    // All at once, with its own end: that is known.
    let mut bench = super::bench();
    let data = [message(b'd', b"1\n"), frontend(b'c', b"")].concat();
    bench.client(&[&*extended, &sync(), &data, &sync(), &insert()].concat()).unwrap();
    bench.server(&[&*answered, &begins, &complete("COPY 1"), &ready(b'I')].concat()).unwrap();
    bench.server(&[answered, complete("INSERT 0 1"), ready(b'I')].concat()).unwrap();
    assert!(bench.session.is_quiet());
}
