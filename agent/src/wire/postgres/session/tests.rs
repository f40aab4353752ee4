use std::sync::Arc;

use super::*;
use crate::wire::postgres::testing::{Open, Recording, Relay, effects};
use crate::wire::postgres::{
    Backend, Field, Fields, Framer, Frontend, Opening, Pass, Span, Tags, write_error,
};

mod finding;
mod knowing;
mod losing;
mod refusing;

/// A session in the hand, frame by frame.
struct Bench {
    session: Session<Open>,
    client: Framer,
    server: Framer,
}

fn bench_with(limits: Limits) -> Bench {
    let common = Common { limits: Arc::new(limits), ..Common::default() };
    let settled = Settled {
        version: Version { major: 3, minor: 0 },
        parameters: Parameters::default(),
        key: None,
        replication: false,
        transaction: Transaction::Idle,
    };
    Bench {
        client: Framer::new(Side::Client, Arc::clone(&common.limits)),
        server: Framer::new(Side::Server, Arc::clone(&common.limits)),
        session: Session::new(common, settled),
    }
}

fn bench() -> Bench {
    bench_with(Limits::default())
}

impl Bench {
    /// The client sends these, all permitted.
    fn client(&mut self, bytes: &[u8]) -> Result<Vec<Pass>, WireError> {
        let mut passes = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.client.feed(rest);
            rest = &rest[taken..];
            while let Some(frame) = self.client.frame()? {
                passes.push(match self.session.client(&frame)? {
                    ClientStep::Plain(pass) => pass,
                    ClientStep::Wait => panic!("nothing is to be waited for"),
                    ClientStep::Runs(request) => {
                        let effects = effects(&request.runs);
                        let permit = Arc::from(request.ticket.serial().to_string());
                        self.session.release(request.ticket, permit, effects)?
                    }
                });
            }
            self.client.consume_framed();
        }
        Ok(passes)
    }

    /// The server sends these; what they were, in a word each.
    fn server(&mut self, bytes: &[u8]) -> Result<Vec<String>, WireError> {
        let mut steps = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.server.feed(rest);
            rest = &rest[taken..];
            while let Some(frame) = self.server.frame()? {
                steps.push(match self.session.server(&frame)? {
                    ServerStep::Plain(_) => "plain".to_owned(),
                    ServerStep::Ours => "ours".to_owned(),
                    ServerStep::Refused(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    ServerStep::Shows(shown) => describe(&shown),
                });
            }
            self.server.consume_framed();
        }
        Ok(steps)
    }
}

fn describe(shown: &Shown<'_, Open>) -> String {
    let Some(origin) = shown.origin else { return format!("{:?} of nothing", shown.what) };
    let text = origin.text().map(|text| String::from_utf8_lossy(text).into_owned());
    let shape = origin.shape().map(|shape| {
        let names: Vec<_> = shape
            .description
            .columns()
            .iter()
            .zip(shape.formats())
            .map(|(column, format)| format!("{}/{format}", String::from_utf8_lossy(column.name)))
            .collect();
        format!("{} by {:?}", names.join(","), shape.from)
    });
    format!(
        "{:?} of {}{}#{} permit {} text {} shape {}",
        shown.what,
        origin.request(),
        origin.serial(),
        origin.index(),
        origin.permit().map_or("none", |permit| permit),
        text.unwrap_or_default(),
        shape.unwrap_or_default()
    )
}

fn frontend(tag: u8, body: &[u8]) -> Vec<u8> {
    message(tag, body)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn query(text: &str) -> Vec<u8> {
    frontend(b'Q', format!("{text}\0").as_bytes())
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frontend(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

/// Binds without parameters, all results binary.
fn bind(portal: &str, statement: &str) -> Vec<u8> {
    frontend(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\x01\0\x01").as_bytes())
}

fn execute(portal: &str) -> Vec<u8> {
    frontend(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

fn columns(names: &[&str]) -> Vec<u8> {
    let mut body = (names.len() as u16).to_be_bytes().to_vec();
    for name in names {
        body.extend(name.as_bytes());
        body.extend(b"\0\0\0\x40\0\0\x02\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    }
    message(b'T', &body)
}

fn row() -> Vec<u8> {
    message(b'D', b"\0\x01\0\0\0\x01x")
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn ready(state: u8) -> Vec<u8> {
    message(b'Z', &[state])
}

fn error(severity: &str, sqlstate: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = [
        Field { code: b'S', text: severity.as_bytes() },
        Field { code: b'V', text: severity.as_bytes() },
        Field { code: b'C', text: sqlstate.as_bytes() },
        Field { code: b'M', text: b"it says" },
        Field { code: b'P', text: b"8" },
    ];
    write_error(fields, &mut out).unwrap();
    out
}

fn sync() -> Vec<u8> {
    frontend(b'S', b"")
}

#[test]
fn nothing_more_is_taken_before_a_request_is_decided() {
    let mut bench = bench();
    bench.client.feed(&[query("select 1"), query("select 2")].concat());
    let frame = bench.client.frame().unwrap().unwrap();
    let step = bench.session.client(&frame).unwrap();
    assert!(matches!(step, ClientStep::Runs(_)));
    assert!(!bench.session.takes_client());
    let frame = bench.client.frame().unwrap().unwrap();
    let error = bench.session.client(&frame).unwrap_err();
    assert_eq!((error.side, error.code()), (Side::Inside, "PG-0012"));
}

#[test]
fn rows_belong_to_their_request_its_text_and_its_shape() {
    let mut bench = bench();
    // Described once as a statement, executed without any further Describe.
    bench
        .client(&[parse("s", "select a from t"), frontend(b'D', b"Ss\0"), sync()].concat())
        .unwrap();
    bench
        .server(
            &[message(b'1', b""), message(b't', b"\0\0"), columns(&["a"]), ready(b'I')].concat(),
        )
        .unwrap();
    bench
        .client(&[bind("", "s"), execute(""), sync(), query("select 1; select b")].concat())
        .unwrap();
    let steps = bench
        .server(
            &[
                message(b'2', b""),
                row(),
                complete("SELECT 1"),
                ready(b'I'),
                columns(&["one"]),
                row(),
                complete("SELECT 1"),
                columns(&["b"]),
                message(b'N', b"SNOTICE\0\0"),
                row(),
                complete("SELECT 1"),
                ready(b'I'),
                message(b'A', b"\0\0\0\x01ch\0payload\0"),
            ]
            .concat(),
        )
        .unwrap();
    let shown: Vec<&str> =
        steps.iter().filter(|step| *step != "plain").map(String::as_str).collect();
    assert_eq!(
        shown,
        [
            "Row of Execute5#0 permit 5 text select a from t shape a/1 by Statement",
            "Row of Query7#0 permit 7 text select 1; select b shape one/0 by Answer",
            "Notice of Query7#1 permit 7 text select 1; select b shape b/0 by Answer",
            "Row of Query7#1 permit 7 text select 1; select b shape b/0 by Answer",
            "Notification of nothing",
        ]
    );
}

#[test]
fn what_the_server_skips_was_never_made() {
    let mut bench = bench();
    bench.client(&[parse("bad", "x"), parse("skipped", "select 1"), sync()].concat()).unwrap();
    bench.server(&[error("ERROR", "42601"), ready(b'I')].concat()).unwrap();
    assert_eq!(bench.session.statement_names().count(), 0);
    // The same, where the Sync comes only after the error.
    bench.client(&parse("bad", "x")).unwrap();
    bench.server(&error("ERROR", "42601")).unwrap();
    bench.client(&parse("skipped", "select 1")).unwrap();
    assert!(!bench.session.is_quiet());
    bench.client(&sync()).unwrap();
    bench.server(&ready(b'I')).unwrap();
    assert_eq!(bench.session.statement_names().count(), 0);
    let endings: Vec<_> = bench.session.outcomes().map(|outcome| outcome.ending).collect();
    let failed = Ending::Failed(b"42601".as_slice().into());
    assert_eq!(endings, [failed.clone(), Ending::Skipped, failed, Ending::Skipped]);
    assert!(bench.session.is_quiet());
}

#[test]
fn a_pipeline_since_the_last_sync_counts_as_a_transaction() {
    let mut bench = bench();
    assert!(!bench.session.in_transaction());
    bench.client(&parse("", "select 1")).unwrap();
    bench.server(&message(b'1', b"")).unwrap();
    assert_eq!(bench.session.outstanding(), 0);
    assert!(bench.session.in_transaction());
    bench.client(&sync()).unwrap();
    assert!(bench.session.in_transaction());
    bench.server(&ready(b'I')).unwrap();
    assert!(!bench.session.in_transaction());
    bench.client(&query("begin")).unwrap();
    bench.server(&[complete("BEGIN"), ready(b'T')].concat()).unwrap();
    assert!(bench.session.in_transaction());
    assert!(bench.session.is_quiet());
}

#[test]
fn the_machine_asks_for_columns_and_keeps_the_answer_to_itself() {
    let recording = Recording::one("pgbench_select_prepared_2");
    let mut plain = Relay::new(Common::default());
    for (side, bytes) in &recording.lines {
        plain.from(*side, bytes).unwrap();
    }
    let mut bench = bench();
    bench.client(&[parse("s", "select a"), bind("", "s")].concat()).unwrap();
    let mut out = Vec::new();
    bench.session.describe_portal(b"", &mut out).unwrap();
    assert_eq!(out, frontend(b'D', b"P\0"));
    bench.client(&[execute(""), sync()].concat()).unwrap();
    let answers = [
        message(b'1', b""),
        message(b'2', b""),
        columns(&["a"]),
        row(),
        complete("SELECT 1"),
        ready(b'I'),
    ];
    let steps = bench.server(&answers.concat()).unwrap();
    assert_eq!(steps[2], "ours");
    assert!(steps[3].ends_with("shape a/0 by Portal"), "{}", steps[3]);
}

#[test]
fn answers_that_fit_no_request_end_the_session() {
    let cases: [(&[u8], Vec<u8>); 9] = [
        (b"", row()),
        (b"", complete("SELECT 1")),
        (b"", ready(b'I')),
        (b"Q", row()),
        (b"Q", message(b'1', b"")),
        (b"Q", ready(b'I')),
        (b"Q", message(b'd', b"data")),
        (b"Q", message(b'K', b"\0\0\0\x01abcd")),
        (b"Q", message(b'R', b"\0\0\0\x03")),
    ];
    for (request, answer) in cases {
        let mut bench = bench();
        if !request.is_empty() {
            bench.client(&query("select 1")).unwrap();
        }
        let error = bench.server(&answer).unwrap_err();
        assert_eq!((error.side, error.code()), (Side::Server, "PG-0014"), "{answer:?}");
    }
}

#[test]
fn a_client_out_of_place_ends_the_session() {
    let mut bench = bench();
    assert_eq!(bench.client(&frontend(b'p', b"x\0")).unwrap_err().code(), "PG-0006");
    bench.client(&frontend(b'X', b"")).unwrap();
    assert!(bench.session.is_over());
    assert_eq!(bench.client(&query("select 1")).unwrap_err().code(), "PG-0006");
}

#[test]
fn a_full_pipeline_stops_the_client_and_an_answer_lets_it_go_on() {
    let mut bench = bench_with(Limits { pipeline: 1, ..Limits::default() });
    for _ in 0..Limits::LEAST_PIPELINE {
        assert!(bench.session.takes_client());
        bench.client(&parse("", "select 1")).unwrap();
    }
    assert!(!bench.session.takes_client());
    bench.server(&message(b'1', b"")).unwrap();
    assert!(bench.session.takes_client());
}

#[test]
fn a_server_that_shuts_down_leaves_no_request_without_an_end() {
    let mut bench = bench();
    bench.client(&[query("select 1"), parse("s", "select 2"), sync()].concat()).unwrap();
    let steps = bench.server(&[columns(&["a"]), row(), error("FATAL", "57P01")].concat()).unwrap();
    assert!(steps[2].starts_with("Error of Query1"), "{}", steps[2]);
    assert!(bench.session.is_over());
    let endings: Vec<_> =
        bench.session.outcomes().map(|outcome| (outcome.serial, outcome.ending)).collect();
    let failed = Ending::Failed(b"57P01".as_slice().into());
    assert_eq!(endings, [(1, failed), (1, Ending::Lost), (2, Ending::Lost)]);
}

#[test]
fn encryption_is_asked_for_once_and_nothing_may_lie_behind_it() {
    let greeting = || Greeting::new(Common::default());
    let ask = |greeting: Greeting| match greeting.packet(Opening::TlsRequest, 0).unwrap() {
        Greeted::TlsRequest(next) => next,
        other => panic!("{other:?}"),
    };
    assert_eq!(greeting().packet(Opening::TlsRequest, 1).unwrap_err().code(), "PG-0009");
    assert_eq!(ask(greeting()).packet(Opening::TlsRequest, 0).unwrap_err().code(), "PG-0006");
    assert!(matches!(ask(greeting()).packet(Opening::GssRequest, 0), Ok(Greeted::GssRequest(_))));
    let inside = ask(greeting()).encrypted();
    assert_eq!(inside.packet(Opening::TlsRequest, 0).unwrap_err().code(), "PG-0006");
}

#[test]
fn before_the_login_is_over_a_client_sends_what_it_was_asked_for_or_waits() {
    let mut packet = Vec::new();
    crate::wire::postgres::Startup::write(
        Version { major: 3, minor: 2 },
        [(b"user".as_slice(), b"me".as_slice()), (b"replication", b"database")],
        &mut packet,
    )
    .unwrap();
    let opening = Opening::decode(&packet[4..], &Limits::default()).unwrap();
    let Ok(Greeted::Startup(_, mut login)) = Greeting::new(Common::default()).packet(opening, 0)
    else {
        panic!()
    };
    let framed = |side, bytes: &[u8]| {
        let mut framer = Framer::new(side, Arc::new(Limits::default()));
        framer.feed(bytes);
        framer
    };
    let mut client = framed(Side::Client, &query("select 1"));
    let frame = client.frame().unwrap().unwrap();
    assert!(matches!(login.client(&frame), Ok(ClientLogin::Early)));
    let mut server = framed(
        Side::Server,
        &[
            message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
            message(b'v', b"\0\x03\0\0\0\0\0\0"),
            message(b'R', b"\0\0\0\0"),
            message(b'K', b"\0\0\0\x07sixteen bytes ok"),
            ready(b'I'),
        ]
        .concat(),
    );
    let step = |login: Authenticating, server: &mut Framer| {
        let frame = server.frame().unwrap().unwrap();
        match login.server::<Open>(&frame).unwrap() {
            ServerLogin::Going(next, ..) => Ok(next),
            ServerLogin::Ready(session, _) => Err(session),
            ServerLogin::Failed(..) => panic!(),
        }
    };
    login = step(login, &mut server).unwrap();
    assert_eq!(login.asked(), Some(CredentialKind::SaslInitial));
    assert_eq!(login.client(&frame).unwrap_err().code(), "PG-0006");
    for _ in 0..3 {
        login = step(login, &mut server).unwrap();
    }
    let session = step(login, &mut server).unwrap_err();
    assert_eq!(session.version(), Version { major: 3, minor: 0 });
    assert_eq!(session.key().unwrap().secret.as_ref(), b"sixteen bytes ok");
    assert!(session.is_replication());
}

#[test]
fn a_row_before_the_login_is_refused() {
    let opening = b"\0\x03\0\0user\0me\0\0";
    let opening = Opening::decode(opening, &Limits::default()).unwrap();
    let Ok(Greeted::Startup(_, login)) = Greeting::new(Common::default()).packet(opening, 0) else {
        panic!()
    };
    let mut server = Framer::new(Side::Server, Arc::new(Limits::default()));
    server.feed(&ready(b'I'));
    let frame = server.frame().unwrap().unwrap();
    assert_eq!(login.server::<Open>(&frame).unwrap_err().code(), "PG-0006");
}

#[test]
fn long_rows_keep_their_origin_in_every_piece() {
    let mut bench = bench_with(Limits { whole: 100, chunk: 64, ..Limits::default() });
    bench.server.allow_pieces(Tags::of(b"D"));
    bench.client(&query("select a")).unwrap();
    bench.server(&columns(&["a"])).unwrap();
    let mut body = b"\0\x01\0\0\x03\xe8".to_vec();
    body.extend([b'x'; 1000]);
    let steps = bench.server(&message(b'D', &body)).unwrap();
    assert!(steps.len() > 5);
    assert!(steps.iter().all(|step| step.starts_with("Row of Query1#0")));
    bench.server(&[complete("SELECT 1"), ready(b'I')].concat()).unwrap();
    let outcome = bench.session.outcomes().next().unwrap();
    // With the message's own head.
    assert_eq!((outcome.rows, outcome.bytes), (1, 5 + body.len() as u64));
}

#[test]
fn a_span_of_the_future_has_no_bytes() {
    let framer = Framer::new(Side::Client, Arc::new(Limits::default()));
    assert_eq!(framer.bytes(Span { start: 7, length: 9 }), b"");
    assert_eq!(Fields::default().sqlstate(), None);
    assert_eq!(Frontend::Sync.tag(), b'S');
}

#[test]
fn an_idle_session_is_small() {
    // With both framers at rest: what a thousand idle connections cost each.
    let size = size_of::<Session<Open>>() + 2 * size_of::<Framer>();
    assert!(size < 1500, "{size}");
}
