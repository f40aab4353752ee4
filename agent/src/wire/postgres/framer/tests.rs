use super::*;

fn framer(side: Side, chunk: usize, whole: usize) -> Framer {
    Framer::new(side, Arc::new(Limits { chunk, whole, ..Limits::default() }))
}

fn message(tag: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((length as u32 + 4).to_be_bytes());
    bytes.extend((0..length).map(|index| index as u8));
    bytes
}

/// All frames of a stream that is fed in bites of this size.
fn frames(framer: &mut Framer, stream: &[u8], bite: usize) -> Vec<(u8, Part, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut place = 0;
    for bytes in stream.chunks(bite) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = framer.feed(rest);
            rest = &rest[taken..];
            while let Some(frame) = framer.frame().unwrap() {
                assert_eq!(frame.span.start, place);
                assert_eq!(frame.span.length, frame.bytes.len());
                place = frame.span.end();
                frames.push((frame.tag, frame.part, frame.bytes.to_vec()));
            }
            framer.consume_framed();
        }
    }
    frames
}

#[test]
fn frames_are_the_same_however_the_stream_is_cut() {
    let stream: Vec<u8> =
        [3, 0, 500, 1, 90, 4].iter().flat_map(|&length| message(b'C', length)).collect();
    let whole = frames(&mut framer(Side::Server, 16, 1000), &stream, stream.len());
    assert_eq!(whole.len(), 6);
    for bite in 1..stream.len() {
        assert_eq!(frames(&mut framer(Side::Server, 16, 1000), &stream, bite), whole);
    }
}

#[test]
fn long_rows_come_in_pieces_without_being_gathered() {
    let mut stream = message(b'D', 100_000);
    stream.extend(message(b'C', 5));
    let mut framer = framer(Side::Server, 1000, 2000);
    let frames = frames(&mut framer, &stream, 700);
    assert!(frames.len() > 50);
    assert_eq!(frames[0].1, Part::First);
    assert_eq!(frames[frames.len() - 2].1, Part::Last);
    assert_eq!(frames[frames.len() - 1].1, Part::Whole);
    assert!(frames[1..frames.len() - 2].iter().all(|(_, part, _)| *part == Part::Middle));
    let joined: Vec<u8> = frames.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
    assert_eq!(joined, stream);
    assert!(framer.capacity() <= 4000, "{}", framer.capacity());
}

#[test]
fn long_rows_are_gathered_where_somebody_looks_at_them() {
    let stream = message(b'D', 100_000);
    let mut framer = framer(Side::Server, 1000, 2000);
    framer.allow_pieces(Tags::of(b""));
    let frames = frames(&mut framer, &stream, 700);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].1, Part::Whole);
    // A client's rows are none, whatever is asked for.
    framer.allow_pieces(Tags::of(b"QDd"));
    assert_eq!(framer.in_pieces, DATA);
}

#[test]
fn a_header_alone_makes_nothing_grow() {
    let mut framer = framer(Side::Client, 1000, 2000);
    framer.feed(b"Q\x3f\xff\xff\xf0select");
    assert!(framer.frame().unwrap().is_none());
    framer.room();
    assert!(framer.capacity() <= 2000, "{}", framer.capacity());
}

#[test]
fn a_held_frame_stays_where_it_is_while_more_is_read() {
    let mut framer = framer(Side::Client, 32, 1000);
    let first = message(b'Q', 20);
    framer.feed(&first);
    let held = framer.frame().unwrap().unwrap().span;
    for _ in 0..20 {
        framer.feed(&message(b'Q', 20));
        assert_eq!(framer.bytes(held), first);
    }
    framer.consume(held.end());
    framer.room();
    assert_eq!(framer.bytes(held), b"");
    let mut others = 0;
    while let Some(frame) = framer.frame().unwrap() {
        assert_eq!(frame.bytes, first);
        others += 1;
    }
    assert_eq!(others, 20);
}

#[test]
fn a_frame_that_is_put_back_comes_again() {
    let mut framer = framer(Side::Client, 64, 1000);
    framer.feed(&message(b'Q', 9));
    let span = framer.frame().unwrap().unwrap().span;
    assert!(framer.frame().unwrap().is_none());
    framer.put_back(span);
    assert_eq!(framer.frame().unwrap().unwrap().span, span);
}

#[test]
fn an_idle_framer_gives_its_memory_back() {
    let mut framer = framer(Side::Server, 4096, 1000);
    framer.feed(&message(b'Z', 1));
    framer.frame().unwrap().unwrap();
    framer.rest();
    assert!(framer.capacity() > 0);
    framer.consume_framed();
    framer.rest();
    assert_eq!(framer.capacity(), 0);
    framer.feed(&message(b'Z', 1));
    assert_eq!(framer.frame().unwrap().unwrap().span.start, 6);
}

#[test]
fn broken_framing_is_an_error_of_its_side() {
    let cases: &[(Side, &[u8], &str)] = &[
        (Side::Client, b"\x99", "PG-0001"),
        (Side::Client, b"T", "PG-0001"),
        (Side::Server, b"Q", "PG-0001"),
        (Side::Server, b"Z\0\0\0\x03", "PG-0002"),
        (Side::Server, b"D\xff\xff\xff\xff", "PG-0002"),
        (Side::Client, b"S\0\0\xff\xff", "PG-0003"),
        (Side::Client, b"Q\x7f\xff\xff\xff", "PG-0003"),
    ];
    for (side, bytes, code) in cases {
        let mut framer = framer(*side, 64, 64);
        framer.feed(bytes);
        let error = framer.frame().unwrap_err();
        assert_eq!((error.side, error.code()), (*side, *code));
    }
}

#[test]
fn a_tls_handshake_is_seen_and_left_alone() {
    let mut framer = framer(Side::Client, 64, 64);
    framer.feed(b"\x16\x03\x01hello");
    assert!(matches!(framer.opening(), Ok(Some((Opening::DirectTls, _)))));
    assert_eq!(framer.take_unframed(), b"\x16\x03\x01hello");
}

#[test]
fn bytes_behind_the_servers_consent_to_tls_are_an_attack() {
    let answer = |bytes: &[u8]| {
        let mut framer = framer(Side::Server, 64, 64);
        framer.feed(bytes);
        framer.tls_answer()
    };
    assert_eq!(answer(b""), Ok(None));
    assert_eq!(answer(b"S"), Ok(Some(TlsAnswer::Tls)));
    assert_eq!(answer(b"N"), Ok(Some(TlsAnswer::No)));
    assert_eq!(answer(b"SZ\0").unwrap_err().code(), "PG-0009");
    assert_eq!(answer(b"H").unwrap_err().code(), "PG-0001");
}

#[test]
fn a_password_can_be_wiped() {
    let mut framer = Framer::new(Side::Client, Arc::default());
    framer.feed(b"p\0\0\0\x0bgeheim\0X\0\0\0\x04");
    let span = framer.frame().unwrap().unwrap().span;
    framer.wipe(span);
    assert_eq!(framer.bytes(span), [0; 12]);
    assert_eq!(framer.frame().unwrap().unwrap().tag, b'X');
    framer.consume_framed();
    // What is gone is left alone.
    framer.wipe(span);
}

#[test]
fn the_next_frame_can_be_seen_without_being_taken() {
    let mut framer = Framer::new(Side::Client, Arc::new(Limits::default()));
    assert!(framer.peek().is_none());
    framer.feed(b"P\0\0\0\x05x");
    framer.feed(b"B\0\0\0\x06");
    let first = framer.frame().unwrap().unwrap().span;
    assert!(framer.peek().is_none(), "half of it has come");
    framer.feed(b"yz");
    let next = framer.peek().unwrap();
    assert_eq!((next.tag, next.body(), next.span.start), (b'B', &b"yz"[..], first.end()));
    let span = next.span;
    assert_eq!(framer.frame().unwrap().unwrap().span, span);
    // A length that can't be is told when it is taken.
    framer.feed(b"B\0\0\0\x01");
    assert!(framer.peek().is_none() && framer.frame().is_err());
}
