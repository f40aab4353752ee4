use std::sync::Arc;

use super::session::{Common, Ending};
use super::testing::{Dice, Recording, Relay, Stage};
use super::*;
use crate::wire::limits::Limits;

fn common() -> Common {
    Common {
        limits: Arc::new(Limits { chunk: 64, whole: 256, ..Limits::default() }),
        ..Common::default()
    }
}

fn replayed(recording: &Recording, dice: &mut Dice, bite: usize) -> Relay {
    let mut relay = Relay::new(common());
    relay.keep_shown = true;
    for (side, bytes) in &recording.lines {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + dice.below(bite)).min(rest.len()));
            relay.from(*side, now).unwrap_or_else(|error| panic!("{}: {error}", recording.name));
            rest = later;
        }
    }
    relay
}

#[test]
fn recorded_sessions_pass_through_unchanged_however_they_are_cut() {
    let recordings = Recording::all();
    assert!(recordings.len() > 40);
    for (seed, recording) in recordings.iter().enumerate() {
        for bite in [1, 7, 100, 5000] {
            let relay = replayed(recording, &mut Dice::new(seed as u64), bite);
            let name = &recording.name;
            assert_eq!(relay.to_server, recording.bytes(Side::Client), "{name}");
            assert_eq!(relay.to_client, recording.bytes(Side::Server), "{name}");
            relay.client.finish().unwrap();
            relay.server.finish().unwrap();
            if let Some(session) = relay.session() {
                assert_eq!(session.outstanding(), 0, "{name}");
            }
            assert!(!matches!(relay.stage, Stage::Moving | Stage::Greeting(_) | Stage::Login(_)));
        }
    }
}

#[test]
fn the_machine_knows_the_statements_that_the_server_lists() {
    let mut compared = 0;
    for recording in Recording::all() {
        let relay = replayed(&recording, &mut Dice::new(3), 50);
        let Some(session) = relay.session() else { continue };
        let asked = relay.shown.iter().any(|(_, text)| {
            text.as_ref().is_some_and(|text| text.contains("from pg_prepared_statements"))
        });
        let lists = recording
            .bytes(Side::Client)
            .windows(27)
            .any(|window| window == b"from pg_prepared_statements");
        if !lists && !asked {
            continue;
        }
        let mut listed = relay.listed.clone().unwrap_or_default();
        listed.sort();
        let mut known: Vec<_> = session.statement_names().map(<[u8]>::to_vec).collect();
        known.sort();
        assert_eq!(known, listed, "{}", recording.name);
        compared += known.len().min(1);
    }
    assert!(compared >= 6, "only {compared} recordings had statements to compare");
}

#[test]
fn each_released_request_ends_exactly_once_wherever_the_connection_breaks() {
    for recording in Recording::all() {
        // A machine changes at the end of a message only: it breaks there, and
        // somewhere inside of each.
        let mut dice = Dice::new(5);
        let mut place = 0;
        let mut cuts = vec![0];
        for (_, bytes) in &recording.lines {
            cuts.push(place + 1 + dice.below(bytes.len()));
            place += bytes.len();
            cuts.push(place);
        }
        for cut in cuts {
            let mut relay = Relay::new(common());
            let mut left = cut;
            for (side, bytes) in &recording.lines {
                let now = &bytes[..bytes.len().min(left)];
                left -= now.len();
                relay.from(*side, now).unwrap();
            }
            assert!(recording.bytes(Side::Client).starts_with(&relay.to_server));
            assert!(recording.bytes(Side::Server).starts_with(&relay.to_client));
            let Some(session) = relay.session_mut() else { continue };
            session.close();
            assert_eq!(session.outstanding(), 0);
            let mut ended: Vec<_> =
                session.outcomes().map(|outcome| (outcome.serial, outcome.ending)).collect();
            ended.splice(0..0, relay.ended.iter().cloned());
            for (serial, kind) in &relay.decided {
                let ends: Vec<_> = ended.iter().filter(|(of, _)| of == serial).collect();
                let whole = ends.iter().filter(|(_, ending)| {
                    matches!(ending, Ending::Answered | Ending::Skipped | Ending::Lost)
                });
                let count = if *kind == "extended" { ends.len() } else { whole.count() };
                assert_eq!(count, 1, "{} at {cut}: {kind} {serial} {ends:?}", recording.name);
            }
        }
    }
}

#[test]
fn a_stream_that_stops_inside_a_message_is_truncated_and_elsewhere_is_not() {
    let mut compared = 0;
    for recording in Recording::all() {
        let mut relay = Relay::new(common());
        for (side, bytes) in &recording.lines {
            for (index, byte) in bytes.iter().enumerate() {
                relay.from(*side, &[*byte]).unwrap();
                let framer = if *side == Side::Client { &relay.client } else { &relay.server };
                let whole = index + 1 == bytes.len();
                // A client that waits for the server has frames in its buffer
                // that nobody has looked at yet.
                if relay.waited > 0 {
                    continue;
                }
                compared += 1;
                assert_eq!(framer.finish().is_ok(), whole, "{}", recording.name);
            }
        }
    }
    assert!(compared > 100_000, "{compared}");
}

#[test]
fn what_decodes_is_encoded_back_to_the_same_bytes() {
    let limits = Limits::default();
    let mut dice = Dice::new(11);
    let mut decoded = [0; 2];
    let mut seen = std::collections::HashSet::new();
    for recording in Recording::all() {
        for (side, bytes) in &recording.lines {
            if bytes.len() < 5 || bytes[0] == 0 {
                continue;
            }
            for change in 0..12 {
                let mut body = bytes[5..].to_vec();
                if change > 0 && !body.is_empty() {
                    let place = dice.below(body.len());
                    match change % 3 {
                        0 => body[place] = dice.throw() as u8,
                        1 => body.truncate(place),
                        _ => body[place] = body[place].wrapping_add(1),
                    }
                }
                let tag = bytes[0];
                let mut out = Vec::new();
                let encoded = match side {
                    Side::Client => Frontend::decode(tag, &body, &limits)
                        .map(|message| (message.tag(), message.encode(&mut out))),
                    _ => Backend::decode(tag, &body, &limits)
                        .map(|message| (message.tag(), message.encode(&mut out))),
                };
                let Ok((same, result)) = encoded else {
                    assert!(change > 0, "{}: {:?}", recording.name, encoded);
                    continue;
                };
                result.unwrap();
                assert_eq!(same, tag);
                assert_eq!(&out[5..], body, "{}", recording.name);
                assert_eq!(out[1..5], (body.len() as u32 + 4).to_be_bytes());
                decoded[usize::from(change > 0)] += 1;
                seen.insert((*side, tag));
            }
        }
    }
    assert!(decoded.iter().all(|&count| count > 1000), "{decoded:?}");
    // Every message that a real server and its clients sent us.
    assert!(seen.len() >= 34, "{}", seen.len());
}

#[test]
fn messages_that_no_recording_has_are_written_and_read_alike() {
    let limits = Limits::default();
    let backends: &[(u8, &[u8])] = &[
        (b'R', b"\0\0\0\x02"),
        (b'R', b"\0\0\0\x04ab"),
        (b'R', b"\0\0\0\x06"),
        (b'R', b"\0\0\0\x07"),
        (b'R', b"\0\0\0\x08token"),
        (b'R', b"\0\0\0\x09"),
        (b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        (b'R', b"\0\0\0\x0a\0"),
        (b'v', b"\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.b\0"),
        (b'K', b"\0\0\0\x01this is a key of thirty-two byte"),
        (b'V', b"\xff\xff\xff\xff"),
        (b'W', b"\x01\0\x02\0\0\0\x01"),
        (b'N', b"SNOTICE\0\0"),
    ];
    for (tag, body) in backends {
        let message = Backend::decode(*tag, body, &limits).unwrap();
        let mut out = Vec::new();
        message.encode(&mut out).unwrap();
        assert_eq!(&out[5..], *body, "{message:?}");
    }
    let broken: &[(u8, &[u8])] = &[
        (b'R', b"\0\0\0\x0d"),
        (b'R', b"\0\0\0\0more"),
        (b'Z', b"X"),
        (b'K', b"\0\0\0\x01abc"),
        (b'D', b"\0\x01\xff\xff\xff\xfe"),
        (b'D', b"\0\x02\xff\xff\xff\xff"),
        (b'T', b"\0\x01name\0"),
        (b'E', b"SERROR\0"),
        (b'v', b"\0\x03\0\0\xff\xff\xff\xff"),
        (b'V', b"\0\0\0\x05abc"),
        (b'C', b"no end"),
        (b'!', b""),
    ];
    for (tag, body) in broken {
        assert!(Backend::decode(*tag, body, &limits).is_err(), "{}", char::from(*tag));
    }
    let openings: &[&[u8]] = &[
        b"\x04\xd2\x16\x2f",
        b"\x04\xd2\x16\x30",
        b"\x04\xd2\x16\x2e\0\0\0\x07abcd",
        b"\x04\xd2\x16\x2e\0\0\0\x07a key that is longer than four bytes",
        b"\0\x03\0\0user\0me\0database\0\0\0",
        b"\0\x03\0\x02user\0me\0\0",
    ];
    for body in openings {
        let opening = Opening::decode(body, &limits).unwrap();
        let mut out = Vec::new();
        opening.encode(&mut out).unwrap();
        assert_eq!(&out[4..], *body);
    }
    for body in [
        b"\0\x02\0\0user\0me\0\0".as_slice(),
        b"\0\x03\0\0user\0me\0",
        b"\0\x03\0\0user\0me\0\0more",
        b"\x04\xd2\x16\x2e\0\0\0\x07abc",
        b"\x04\xd2\x16\x2fmore",
    ] {
        assert!(Opening::decode(body, &limits).is_err());
    }
}

#[test]
fn who_logs_in_and_where_is_read_as_the_server_reads_it() {
    fn read(parameters: &[(&[u8], &[u8])]) -> (Vec<u8>, Vec<u8>) {
        let mut packet = Vec::new();
        let version = Version { major: 3, minor: 0 };
        Startup::write(version, parameters.iter().copied(), &mut packet).unwrap();
        match Opening::decode(&packet[4..], &Limits::default()).unwrap() {
            Opening::Startup(startup) => (startup.user().into(), startup.database().into()),
            other => panic!("{other:?}"),
        }
    }
    let both = |user: &[u8], database: &[u8]| (user.to_vec(), database.to_vec());
    assert_eq!(read(&[(b"user", b"shop"), (b"database", b"app")]), both(b"shop", b"app"));
    assert_eq!(read(&[(b"user", b"shop")]), both(b"shop", b"shop"));
    assert_eq!(read(&[(b"user", b"shop"), (b"database", b"")]), both(b"shop", b"shop"));
    let twice: [(&[u8], &[u8]); 3] =
        [(b"database", b"app"), (b"user", b"shop"), (b"database", b"")];
    assert_eq!(read(&twice), both(b"shop", b"shop"));
    let long: [(&[u8], &[u8]); 2] = [(b"user", &[b'u'; 70]), (b"database", &[b'd'; 64])];
    assert_eq!(read(&long), both(&[b'u'; 63], &[b'd'; 63]));
    assert_eq!(read(&[(b"user", &[b'u'; 70])]), both(&[b'u'; 63], &[b'u'; 63]));
}

#[test]
fn a_name_with_a_nul_is_not_written() {
    let mut out = b"before".to_vec();
    assert!(Frontend::Query(b"select\0 1").encode(&mut out).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn errors_bear_a_code_and_a_side() {
    let mut relay = Relay::new(common());
    let error = relay.from(Side::Client, b"GET / HTTP/1.1\r\n").unwrap_err();
    assert_eq!((error.code(), error.side), ("PG-0002", Side::Client));
    let said = error.to_string();
    assert!(said.starts_with("PG-0002 (client): "), "{said}");
}
