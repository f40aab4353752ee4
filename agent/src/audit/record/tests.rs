use super::*;

fn head() -> Head {
    Head { at: 1_795_222_800_123_456, flow: 2, sequence: 300 }
}

fn intent() -> Intent {
    Intent {
        head: head(),
        serial: 7,
        way: 1,
        statement: 1,
        effects: 0x8001,
        verdict: 2,
        flags: 1,
        grounds: 0,
        hold: Some("h-1".into()),
        approver: None,
        parameters: vec![None, Some("x".into())],
    }
}

fn all() -> Vec<Body> {
    let json = || -> Box<str> { "{}".into() };
    let told = || Told { at: 5, json: json() };
    let outcome = Outcome {
        head: head(),
        intent: 1,
        index: 0,
        ending: 1,
        sqlstate: Some("42501".into()),
        tag: 4,
        rows: 1000,
        bytes: 1 << 20,
        latency_us: 250,
        masked: vec![(5, 300)],
        seen: vec![(6, 2)],
        would_mask: vec![(6, 1)],
    };
    vec![
        Body::Process(json()),
        Body::Flow(Flow { process: 1, json: json() }),
        Body::Statement(json()),
        Body::Words("SELECT".into()),
        Body::Grounds(json()),
        Body::Opened(head()),
        Body::Closed(OnFlow { head: head(), json: json() }),
        Body::Session(OnFlow { head: head(), json: json() }),
        Body::Renamed(OnFlow { head: head(), json: json() }),
        Body::Doubted(OnFlow { head: head(), json: json() }),
        Body::Intent(intent()),
        Body::Transaction(Transaction { head: head(), ending: 1, statements: 3 }),
        Body::Outcome(outcome),
        Body::Standing(Standing { intent: intent(), until: 1_795_222_860_000_000, reach: 1 }),
        Body::Summed(Summed {
            head: head(),
            intent: 300,
            times: 6_000,
            endings: vec![(0, 5_990), (5, 10)],
            failures: vec![("23505".into(), 10)],
            rows: 5_990,
            bytes: 70_000,
            latency_us: 1_200_000,
            masked: vec![(5, 300)],
            seen: vec![(6, 2)],
            would_mask: vec![(6, 1)],
            transactions: vec![(0, 4)],
        }),
        Body::Agent(told()),
        Body::Changed(told()),
        Body::Read(told()),
        Body::Removed(told()),
        Body::Flood(told()),
        Body::Lost(told()),
        Body::Recovered(told()),
        Body::Observed(told()),
        Body::Enriched(told()),
    ]
}

#[test]
fn every_kind_is_read_as_it_was_written_and_not_when_cut() {
    let id = RecordId { writer: 3, position: 70_000 };
    assert_eq!(all().len(), KINDS.len());
    for body in all() {
        let payload = encode(id, &body, Vec::new());
        assert_eq!(decode(&payload), Ok((id, body.clone())));
        assert_eq!(identify(&payload), Ok((id, body.code())));
        assert_eq!(moment(&payload), body.at());
        for cut in 0..payload.len() {
            assert!(decode(&payload[..cut]).is_err(), "{body:?} cut at {cut}");
        }
        let longer = [payload.as_slice(), &[0]].concat();
        assert_eq!(decode(&longer), Err(RecordError::Malformed));
    }
}

#[test]
fn what_is_written_without_a_detour_is_the_same() {
    let numbers = [0, 1, 127, 128, 16_384, u64::MAX];
    for (at, number) in numbers.into_iter().enumerate() {
        let other = numbers[(at + 3) % numbers.len()];
        let head = Head { at: number, flow: other, sequence: number };
        let text = || Some("é".repeat(at * 40).into_boxed_str());
        let intent = Intent {
            head,
            serial: other,
            way: 255,
            statement: number,
            effects: other as u16,
            verdict: 200,
            flags: 128,
            grounds: number,
            hold: text().filter(|_| at > 2),
            approver: text().filter(|_| at < 4),
            parameters: (0..at * 50).map(|n| text().filter(|_| n % 3 > 0)).collect(),
        };
        let outcome = Outcome {
            head,
            intent: number,
            index: other as u32,
            ending: 130,
            sqlstate: text().filter(|_| at % 2 == 0),
            tag: other,
            rows: number,
            bytes: other,
            latency_us: number,
            masked: vec![(number, other); at * 30],
            seen: vec![(other, number); at],
            would_mask: vec![(number, number); at * 3],
        };
        for body in [Body::Intent(intent), Body::Outcome(outcome)] {
            assert_eq!(body.write(vec![7]), body.write_any(vec![7]), "{body:?}");
        }
    }
}

/// The log outlives the program: these bytes are on people's disks.
#[test]
fn the_bytes_of_a_kind_never_change() {
    let id = RecordId { writer: 3, position: 70_000 };
    let hex = |body: &Body| -> String {
        encode(id, body, Vec::new()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let shown: Vec<String> =
        all().iter().map(|body| format!("{} {}", body.code(), hex(body))).collect();
    let expected = include_str!("bytes.txt");
    assert_eq!(shown.join("\n"), expected.trim_end(), "\n{}", shown.join("\n"));
}

#[test]
fn outcomes_of_the_earlier_form_are_read() {
    let hex =
        "012103f0a204c08cad8aee97980302ac020100010105343235303104e807808040fa010105ac02010602";
    let payload: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect();
    let (id, Body::Outcome(read)) = decode(&payload).unwrap() else { panic!() };
    let now = all().into_iter().find_map(|body| match body {
        Body::Outcome(outcome) => Some(outcome),
        _ => None,
    });
    assert_eq!(id, RecordId { writer: 3, position: 70_000 });
    assert_eq!(read, Outcome { would_mask: vec![], ..now.unwrap() });
    assert_eq!(moment(&payload), Some(read.head.at));
    for cut in 0..payload.len() {
        assert!(decode(&payload[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(decode(&[payload.as_slice(), &[0]].concat()), Err(RecordError::Malformed));
}

#[test]
fn unknown_versions_and_kinds_say_so() {
    let id = RecordId { writer: 1, position: 0 };
    let mut payload = encode(id, &Body::Opened(head()), Vec::new());
    payload[0] = 2;
    assert_eq!(decode(&payload), Err(RecordError::Version(2)));
    payload[0] = 1;
    payload[1] = 99;
    assert_eq!(decode(&payload), Err(RecordError::Kind(99)));
    assert_eq!(identify(&payload), Ok((id, 99)));
}
