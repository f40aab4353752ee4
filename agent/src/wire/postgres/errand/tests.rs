use std::sync::Arc;

use super::*;
use crate::wire::postgres::login::tests::actors::{Impostor, Server, Takes, end_point};
use crate::wire::postgres::testing::Dice;
use crate::wire::postgres::{Framer, Transaction, write_error};

struct Run {
    errand: Errand,
    framer: Framer,
    out: Vec<u8>,
}

fn run(password: &[u8], tls: bool) -> Run {
    let limits = Limits::default();
    let mut out = Vec::new();
    let wish = Wish {
        role: "app",
        password: Password::new(password.into()),
        database: "app",
        leg: if tls { Leg::Tls(Some(end_point("server"))) } else { Leg::Plain },
        nonce: Nonce([5; 18]),
        most: Most { rows: 2, bytes: 100 },
    };
    let errand = Errand::begin(wish, &limits, &mut out).unwrap();
    Run { errand, framer: Framer::new(Side::Server, Arc::new(limits)), out }
}

impl Run {
    /// What comes of these bytes, but for what just goes on.
    fn takes(&mut self, mut bytes: &[u8]) -> Result<Option<Errands>, WireError> {
        let mut last = None;
        while !bytes.is_empty() {
            let taken = self.framer.feed(&bytes[..bytes.len().min(3)]);
            bytes = &bytes[taken..];
            while let Some(frame) = self.framer.frame()? {
                match self.errand.server(&frame, &mut self.out)? {
                    Errands::Going => {}
                    Errands::Derive(derivation) => {
                        self.errand.derived(&derivation.run(), &mut self.out)?;
                    }
                    other => last = Some(other),
                }
                self.framer.consume_framed();
            }
        }
        Ok(last)
    }

    fn login(&mut self, server: &mut Server) -> Result<Option<Errands>, WireError> {
        let mut last = None;
        while !self.out.is_empty() {
            let said = server.takes(&std::mem::take(&mut self.out));
            last = self.takes(&said)?;
        }
        Ok(last)
    }
}

#[test]
fn it_logs_in_however_a_password_can() {
    for (takes, method, keeps) in [
        (Takes::Trust, Method::None, false),
        (Takes::Cleartext, Method::Cleartext, false),
        (Takes::Md5, Method::Md5, false),
        (Takes::Scram, Method::Scram, true),
        (Takes::Plus, Method::ScramPlus, true),
    ] {
        let mut run = run(b"geheim", true);
        let ready = run.login(&mut Server::new(takes, true)).unwrap();
        assert!(matches!(ready, Some(Errands::Ready)), "{takes:?} {ready:?}");
        assert_eq!(run.errand.method(), method);
        // It is the one that the server has.
        let verifier = run.errand.take_verifier().map(|verifier| verifier.to_text().to_string());
        let known = crate::wire::postgres::login::tests::actors::verifier(b"geheim", b"salt", 2);
        assert_eq!(verifier, keeps.then_some(known));
    }
    let gss = run(b"geheim", true).login(&mut Server::new(Takes::Gss, true)).unwrap();
    assert!(matches!(gss, Some(Errands::Denied(Denial::Unanswerable("GSSAPI")))), "{gss:?}");
    let mut plain = run(b"geheim", false);
    let clear = plain.login(&mut Server::new(Takes::Cleartext, false)).unwrap();
    assert!(matches!(clear, Some(Errands::Denied(Denial::PlainPassword))), "{clear:?}");
}

#[test]
fn a_wrong_password_is_the_servers_to_refuse() {
    for takes in [Takes::Cleartext, Takes::Md5, Takes::Scram, Takes::Plus] {
        let mut run = run(b"falsch", true);
        let refused = run.login(&mut Server::new(takes, true)).unwrap();
        let Some(Errands::Refused(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.sqlstate, "28P01");
        assert!(run.errand.take_verifier().is_none());
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    for (impostor, fault) in
        [(Impostor::Skips, Fault::Unasked), (Impostor::Forges, Fault::Unproven)]
    {
        let mut server = Server::new(Takes::Plus, true);
        server.impostor = Some(impostor);
        let mut run = run(b"geheim", true);
        assert_eq!(run.login(&mut server).err(), Some(of_server(fault)));
        assert!(run.errand.take_verifier().is_none());
    }
}

fn ready() -> Run {
    let mut run = run(b"geheim", true);
    run.login(&mut Server::new(Takes::Plus, true)).unwrap();
    run
}

fn answer(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut out = Vec::new();
    Backend::ParseComplete.encode(&mut out).unwrap();
    Backend::BindComplete.encode(&mut out).unwrap();
    for row in rows {
        let body = values(row).unwrap();
        let row = Values::read(&mut Reader::new("row", &body), &Limits::default()).unwrap();
        Backend::DataRow(row).encode(&mut out).unwrap();
    }
    Backend::CommandComplete(b"SELECT").encode(&mut out).unwrap();
    Backend::ReadyForQuery(Transaction::Idle).encode(&mut out).unwrap();
    out
}

#[test]
fn questions_keep_their_parameters_apart() {
    let mut run = ready();
    let trick = b"' or true --".as_slice();
    run.errand.ask("select $1, $2", &[Some(trick), None], &mut run.out).unwrap();
    let mut framer = Framer::new(Side::Client, Arc::default());
    framer.feed(&run.out);
    let mut seen = Vec::new();
    while let Some(frame) = framer.frame().unwrap() {
        match Frontend::decode(frame.tag, frame.body(), &Limits::default()).unwrap() {
            Frontend::Parse(parse) => assert_eq!(parse.query, b"select $1, $2"),
            Frontend::Bind(bind) => {
                let values: Vec<_> = bind.parameters.iter().collect();
                assert_eq!(values, [Some(trick), None]);
            }
            _ => {}
        }
        seen.push(frame.tag);
    }
    assert_eq!(seen, b"PBES");
    // One at a time.
    let again = run.errand.ask("select 1", &[], &mut Vec::new());
    assert_eq!(again, Err(inside(Fault::Undecided)));
    let rows: [&[Option<&[u8]>]; 2] = [&[Some(b"a"), None], &[Some(b""), Some(b"b")]];
    let Some(Errands::Answered(Ok(rows))) = run.takes(&answer(&rows)).unwrap() else {
        panic!("it is answered");
    };
    let texts: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|value| value.as_deref()).collect()).collect();
    assert_eq!(texts, [[Some(b"a".as_slice()), None], [Some(b"".as_slice()), Some(b"b")]]);
    run.errand.ask("select 1", &[], &mut run.out).unwrap();
}

#[test]
fn an_error_ends_a_question_and_not_the_session() {
    let mut run = ready();
    run.errand.ask("selekt", &[], &mut run.out).unwrap();
    let mut said = Vec::new();
    let fields = [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', "42601"), (b'M', "syntax")];
    let fields = fields.map(|(code, text)| Field { code, text: text.as_bytes() });
    write_error(fields, &mut said).unwrap();
    Backend::ReadyForQuery(Transaction::Idle).encode(&mut said).unwrap();
    let Some(Errands::Answered(Err(refused))) = run.takes(&said).unwrap() else {
        panic!("it is refused");
    };
    assert_eq!(refused.to_string(), "syntax (42601)");
    run.errand.ask("select 1", &[], &mut run.out).unwrap();
}

#[test]
fn answers_are_bounded() {
    let one: &[Option<&[u8]>] = &[Some(b"x")];
    let long: &[Option<&[u8]>] = &[Some(&[b'x'; 101])];
    for rows in [&[one, one, one][..], &[long]] {
        let mut run = ready();
        run.errand.ask("select", &[], &mut run.out).unwrap();
        let error = run.takes(&answer(rows)).err().unwrap();
        assert!(matches!(error.fault, Fault::Limit { .. }), "{error}");
    }
}

#[test]
fn foreign_bytes_are_never_a_panic() {
    let mut dice = Dice::new(11);
    for round in 0..2000 {
        let mut server = Server::new(Takes::ALL[dice.below(6)], true);
        server.noise = Some(Dice::new(round));
        let mut run = run(b"geheim", true);
        let _ = run.login(&mut server);
    }
}
