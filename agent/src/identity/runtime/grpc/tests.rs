use super::*;

fn call() -> Call {
    Call::new("/x.Y/Z", b"question", None)
}

fn bytes(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, flags, stream, content) in frames {
        frame(&mut bytes, *kind, *flags, *stream, content);
    }
    bytes
}

const GREETING: (u8, u8, u32, &[u8]) = (SETTINGS, 0, 0, &[]);
/// `:status: 200`
const OK: (u8, u8, u32, &[u8]) = (HEADERS, END_HEADERS, 1, &[0x88]);
const MESSAGE: (u8, u8, u32, &[u8]) = (DATA, 0, 1, b"\0\0\0\0\x02hi");
const STATUS_0: &[u8] = b"\0\x0bgrpc-status\x010";
const END: (u8, u8, u32, &[u8]) = (HEADERS, END_HEADERS | END_STREAM, 1, STATUS_0);

fn heard(frames: &[(u8, u8, u32, &[u8])]) -> Result<Heard, AnswerError> {
    call().take(&bytes(frames))
}

fn all() -> Result<Heard, AnswerError> {
    Ok(Heard::All(b"hi".to_vec()))
}

#[test]
fn what_is_sent_is_this() {
    let call = Call::new("/x.Y/Z", b"question", Some("default"));
    let opening = call.opening();
    let rest = opening.strip_prefix(PREFACE).unwrap();
    let mut rest = rest;
    let mut kinds = Vec::new();
    let mut contents = Vec::new();
    while let Some(frame) = next(&mut rest).unwrap() {
        kinds.push((frame.kind, frame.flags, frame.stream));
        contents.push(frame.content);
    }
    assert!(rest.is_empty());
    assert_eq!(kinds, [(SETTINGS, 0, 0), (WINDOW_UPDATE, 0, 0), (HEADERS, 4, 1), (DATA, 1, 1)]);
    assert_eq!(contents[3], b"\0\0\0\0\x08question");
    let headers = contents[2];
    assert!(headers.starts_with(b"\x83\x86\x04\x06/x.Y/Z\x01\x09localhost"));
    assert!(headers.ends_with(b"\0\x02te\x08trailers\0\x14containerd-namespace\x07default"));
}

#[test]
fn what_stands_around_the_message_is_answered_or_stepped_over() {
    assert_eq!(heard(&[GREETING, OK, MESSAGE, END]), all());
    let mut call = call();
    let greeting = bytes(&[GREETING, (SETTINGS, ACK, 0, &[]), (WINDOW_UPDATE, 0, 0, &[0; 4])]);
    assert_eq!(call.take(&greeting), Ok(Heard::More(bytes(&[(SETTINGS, ACK, 0, &[])]))));
    let ping = bytes(&[(PING, 0, 0, b"12345678"), (PING, ACK, 0, b"87654321")]);
    assert_eq!(call.take(&ping), Ok(Heard::More(bytes(&[(PING, ACK, 0, b"12345678")]))));
    // An unknown kind, another's priority, a window of ours.
    let strange = [(0x42, 0xff, 7, b"?".as_slice()), (2, 0, 9, &[0; 5]), (8, 0, 1, &[0; 4])];
    assert_eq!(call.take(&bytes(&strange)), Ok(Heard::More(vec![])));
    // It is about to close, and has seen our call.
    let going = bytes(&[(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])]);
    assert_eq!(call.take(&going), Ok(Heard::More(vec![])));
    assert_eq!(call.take(&bytes(&[OK, MESSAGE, END])), all());
}

#[test]
fn padding_priorities_and_continued_headers_are_read() {
    let message = b"\x03\0\0\0\0\x02hi###";
    let (first, second) = STATUS_0.split_at(5);
    let mut begun = vec![2, 0, 0, 0, 0, 9];
    begun.extend_from_slice(first);
    begun.extend_from_slice(b"##");
    let frames = [
        GREETING,
        OK,
        (DATA, PADDED, 1, message.as_slice()),
        (HEADERS, END_STREAM | PADDED | PRIORITISED, 1, &begun),
        (CONTINUATION, 0, 1, second),
        (CONTINUATION, END_HEADERS, 1, &[]),
    ];
    assert_eq!(heard(&frames), all());
    // In two frames.
    let halves = [(DATA, 0, 1, b"\0\0\0".as_slice()), (DATA, 0, 1, b"\0\x02hi".as_slice())];
    assert_eq!(heard(&[GREETING, OK, halves[0], halves[1], END]), all());
}

#[test]
fn what_is_no_answer_is_none() {
    let not = Err(AnswerError::NotGrpc);
    let ends = |content: &'static [u8]| (DATA, END_STREAM, 1, content);
    for frames in [
        // Not HTTP/2's greeting, or another's stream.
        vec![OK],
        vec![(SETTINGS, ACK, 0, b"".as_slice())],
        vec![GREETING, (DATA, 0, 3, b"".as_slice())],
        vec![GREETING, (SETTINGS, 0, 1, b"".as_slice())],
        vec![GREETING, (PING, 0, 0, b"1".as_slice())],
        // Broken off.
        vec![GREETING, (RST_STREAM, 0, 1, &[0, 0, 0, 8])],
        vec![GREETING, (GOAWAY, 0, 0, &[0; 8])],
        vec![GREETING, (GOAWAY, 0, 0, &[0; 3])],
        vec![GREETING, (PUSH_PROMISE, END_HEADERS, 1, &[0; 4])],
        // No status; no message; two; compressed; its length is another.
        vec![GREETING, OK, MESSAGE, ends(b"")],
        vec![GREETING, OK, END],
        vec![GREETING, OK, MESSAGE, MESSAGE, END],
        vec![GREETING, OK, (DATA, 0, 1, b"\x01\0\0\0\x02hi"), END],
        vec![GREETING, OK, (DATA, 0, 1, b"\0\xff\xff\xff\xffhi"), END],
        // Padding that is longer than what it pads, headers torn in two.
        vec![GREETING, (DATA, PADDED, 1, b"\x05hi")],
        vec![GREETING, (DATA, PADDED, 1, b"")],
        vec![GREETING, (HEADERS, END_HEADERS | PRIORITISED, 1, b"1234")],
        vec![GREETING, (HEADERS, 0, 1, &[0x88]), MESSAGE],
        vec![GREETING, (CONTINUATION, END_HEADERS, 1, &[0x88])],
    ] {
        assert_eq!(heard(&frames), not, "{:?}", frames.last());
    }
    assert_eq!(call().take(b"HTTP/1.1 400 Bad Request\r\n\r\n"), not);
    let refused = (HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x0bgrpc-status\x0212".as_slice());
    assert_eq!(heard(&[GREETING, refused]), Err(AnswerError::Refused(12)));
    assert_eq!(heard(&[GREETING, OK, MESSAGE, refused]), Err(AnswerError::Refused(12)));
}

#[test]
fn what_a_peer_sends_is_bounded() {
    let page = vec![0; LONGEST_FRAME];
    let fed = |kind: u8, flags: u8, stream: u32, content: &[u8]| {
        let mut call = call();
        call.take(&bytes(&[GREETING])).unwrap();
        if kind == CONTINUATION {
            call.take(&bytes(&[(HEADERS, 0, 1, &[0x88])])).unwrap();
        }
        let frame = bytes(&[(kind, flags, stream, content)]);
        let mut sent = 0;
        loop {
            match call.take(&frame) {
                Ok(Heard::More(_)) => sent += frame.len(),
                Ok(Heard::All(_)) => panic!("no answer was sent"),
                Err(error) => return (error, sent),
            }
        }
    };
    for (kind, most) in [(DATA, LONGEST_ANSWER + BESIDE), (CONTINUATION, LONGEST_HEADERS)] {
        let (error, sent) = fed(kind, 0, 1, &page);
        assert!(error == AnswerError::TooLong && sent <= most, "{kind}: {sent} {error}");
    }
    // Frames that nobody needs, and such as ask for an answer.
    let (error, sent) = fed(0x42, 0, 0, &[]);
    assert!(error == AnswerError::TooLong && sent <= LONGEST_ANSWER + BESIDE, "{sent}");
    let (error, sent) = fed(PING, 0, 0, b"12345678");
    assert!(error == AnswerError::NotGrpc && sent <= MOST_REPLIES * 17, "{sent}");
    let long = bytes(&[(DATA, 0, 1, &vec![0; LONGEST_FRAME + 1])]);
    assert_eq!(call().take(&long[..9]), Err(AnswerError::NotGrpc));
}

#[test]
fn an_answer_as_long_as_may_be_needs_no_new_window() {
    let mut message = vec![0];
    message.extend_from_slice(&(LONGEST_ANSWER as u32).to_be_bytes());
    message.resize(LONGEST_ANSWER + BEFORE_MESSAGE, b'x');
    let mut call = call();
    call.take(&bytes(&[GREETING, OK])).unwrap();
    for piece in message.chunks(LONGEST_FRAME) {
        assert_eq!(call.take(&bytes(&[(DATA, 0, 1, piece)])), Ok(Heard::More(vec![])));
    }
    let Ok(Heard::All(answer)) = call.take(&bytes(&[END])) else { panic!("no answer") };
    assert_eq!(answer.len(), LONGEST_ANSWER);
}
