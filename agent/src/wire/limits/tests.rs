//! Each bound at its last value and one beyond it.

use std::sync::Arc;

use super::Limits;
use crate::wire::postgres::{Backend, Fault, Framer, Frontend, Opening, Side};

fn small() -> Limits {
    Limits { values: 3, fields: 3, name: 3, ..Limits::default() }
}

/// What a framer says to a header that promises so long a body.
fn promised(side: Side, tag: u8, body: usize) -> Result<(), &'static str> {
    let mut framer = Framer::new(side, Arc::new(Limits::default()));
    let length = u32::try_from(body + 4).unwrap();
    framer.feed(&[&[tag][..], &length.to_be_bytes()].concat());
    match framer.frame() {
        Ok(None) => Ok(()),
        Ok(Some(frame)) => panic!("{frame:?}"),
        Err(error) => Err(error.code()),
    }
}

#[test]
fn a_message_may_be_as_long_as_its_kind_and_no_longer() {
    let Limits { message, control, credential, .. } = Limits::default();
    for (side, tag, limit) in [
        (Side::Client, b'Q', message),
        (Side::Client, b'B', message),
        (Side::Client, b'd', message),
        (Side::Client, b'C', control),
        (Side::Client, b'E', control),
        (Side::Client, b'p', credential),
        (Side::Server, b'D', message),
        (Side::Server, b'E', message),
        (Side::Server, b'Z', control),
        (Side::Server, b'R', credential),
    ] {
        let kind = char::from(tag);
        // What may come in pieces is begun with what is there.
        if !matches!(tag, b'd' | b'D') {
            assert_eq!(promised(side, tag, limit), Ok(()), "{kind}");
        }
        assert_eq!(promised(side, tag, limit + 1), Err("PG-0003"), "{kind}");
    }
}

#[test]
fn a_startup_may_be_as_long_as_the_server_takes_it() {
    let startup = |body: usize| {
        let mut packet = u32::try_from(body + 4).unwrap().to_be_bytes().to_vec();
        packet.extend([0, 3, 0, 0]);
        packet.extend(b"user\0");
        packet.resize(body + 4 - 2, b'x');
        packet.extend([0, 0]);
        packet
    };
    // As PostgreSQL counts it: without its length.
    for (body, fits) in [(10_000, true), (10_001, false)] {
        let mut framer = Framer::new(Side::Client, Arc::default());
        framer.feed(&startup(body));
        match framer.opening() {
            Ok(Some((Opening::Startup(startup), _))) => {
                assert!(fits, "{body}");
                assert_eq!(startup.parameter(b"user").unwrap().len(), body - 4 - 5 - 2);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!((error.code(), fits), ("PG-0002", false)),
        }
    }
}

fn client(tag: u8, body: &[u8]) -> Result<(), Fault> {
    Frontend::decode(tag, body, &small()).map(drop)
}

fn server(tag: u8, body: &[u8]) -> Result<(), Fault> {
    Backend::decode(tag, body, &small()).map(drop)
}

/// Accepted at the bound, and beyond it refused for this.
fn bounded(what: &str, take: impl Fn(usize) -> Result<(), Fault>) {
    assert_eq!(take(3), Ok(()), "{what}");
    match take(4) {
        Err(Fault::Limit { what: said, limit }) => assert_eq!((said, limit), (what, 3)),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_message_may_hold_so_many_values() {
    const WHAT: &str = "too many values in a message";
    let two = |count: usize| u16::try_from(count).unwrap().to_be_bytes().to_vec();
    let null = [0xff; 4];
    bounded(WHAT, |n| {
        client(b'B', &[&[0, 0, 0, 0][..], &two(n), &null.repeat(n), &[0, 0]].concat())
    });
    bounded(WHAT, |n| client(b'P', &[&b"\0x\0"[..], &two(n), &[0; 4].repeat(n)].concat()));
    bounded(WHAT, |n| {
        client(b'F', &[&[0, 0, 0, 1, 0, 0][..], &two(n), &null.repeat(n), &[0, 0]].concat())
    });
    bounded(WHAT, |n| server(b'D', &[two(n), null.repeat(n)].concat()));
    bounded(WHAT, |n| server(b'T', &[two(n), [&b"c\0"[..], &[0; 18]].concat().repeat(n)].concat()));
    bounded(WHAT, |n| server(b't', &[two(n), [0; 4].repeat(n)].concat()));
}

#[test]
fn an_error_may_have_so_many_fields_and_a_name_be_so_long() {
    bounded("too many fields", |n| server(b'E', &[b"Mx\0".repeat(n), vec![0]].concat()));
    bounded("too many fields", |n| server(b'N', &[b"Mx\0".repeat(n), vec![0]].concat()));
    const NAME: &str = "a name is too long";
    let name = |count: usize| [vec![b'n'; count], vec![0]].concat();
    bounded(NAME, |n| client(b'P', &[&name(n)[..], b"x\0\0\0"].concat()));
    bounded(NAME, |n| client(b'B', &[&name(n)[..], b"\0\0\0\0\0\0\0"].concat()));
    bounded(NAME, |n| client(b'B', &[&b"\0"[..], &name(n), b"\0\0\0\0\0\0"].concat()));
    bounded(NAME, |n| client(b'E', &[&name(n)[..], &[0; 4]].concat()));
    bounded(NAME, |n| client(b'D', &[&b"S"[..], &name(n)].concat()));
    bounded(NAME, |n| client(b'C', &[&b"P"[..], &name(n)].concat()));
    bounded(NAME, |n| server(b'S', &[&name(n)[..], b"v\0"].concat()));
    bounded(NAME, |n| {
        let body = [&[0, 3, 0, 0][..], &name(n), b"v\0\0"].concat();
        Opening::decode(&body, &small()).map(drop)
    });
}
