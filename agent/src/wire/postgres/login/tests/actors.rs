//! A client and a server that log in, made of nothing but the protocol.

use std::num::NonZeroU32;

use crate::wire::postgres::fields::Field;
use crate::wire::postgres::scram::client::{self, Binding};
use crate::wire::postgres::scram::server::{self, Judged};
use crate::wire::postgres::scram::{self, Derivation, EndPoint, Nonce, Password, Verifier};
use crate::wire::postgres::testing::Dice;
use crate::wire::postgres::{
    Authentication, Backend, BackendKey, Credential, Framer, Frontend, Parameter, SaslInitial,
    Side, Transaction, md5, write_error, write_sasl_response,
};

pub fn end_point(name: &str) -> EndPoint {
    EndPoint::for_test(name.as_bytes())
}

pub fn verifier(password: &[u8], salt: &[u8], iterations: u32) -> String {
    let iterations = NonZeroU32::new(iterations).unwrap();
    let salted = Derivation::new(&Password::new(password.into()), salt, iterations).run();
    salted.verifier(salt, iterations).to_text().to_string()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Binds where it is offered, and answers whatever it is asked.
    Libpq,
    /// … with channel_binding=require.
    Require,
    /// Knows no binding.
    Unbound,
    /// Binds, and takes nothing but SCRAM once that has begun.
    Strict,
}

pub struct Client {
    kind: Kind,
    tls: bool,
    password: &'static [u8],
    pub certificate: &'static str,
    framer: Framer,
    begun: Option<client::Begun>,
    proven: Option<client::Proven>,
    chose: bool,
    bound: bool,
    end: Option<String>,
    pub said: Vec<u8>,
    pub noise: Option<Dice>,
}

impl Client {
    pub fn new(kind: Kind, tls: bool, password: &'static [u8]) -> Self {
        Self {
            kind,
            tls,
            password,
            certificate: "leaf",
            framer: Framer::new(Side::Server, Default::default()),
            begun: None,
            proven: None,
            chose: false,
            bound: false,
            end: None,
            said: Vec::new(),
            noise: None,
        }
    }

    pub fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    pub fn takes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let taken = self.framer.feed(bytes);
            bytes = &bytes[taken..];
            while self.end.is_none() {
                let Ok(Some(frame)) = self.framer.frame() else { break };
                let (tag, body) = (frame.tag, frame.body().to_vec());
                self.framer.consume_framed();
                let limits = Default::default();
                let Ok(message) = Backend::decode(tag, &body, &limits) else { break };
                self.message(message, &mut out);
            }
        }
        if let Some(dice) = &mut self.noise {
            spoil(&mut out, dice);
        }
        self.said.extend_from_slice(&out);
        out
    }

    fn message(&mut self, message: Backend<'_>, out: &mut Vec<u8>) {
        match message {
            Backend::Authentication(asked) => self.asked(asked, out),
            Backend::ErrorResponse(fields) => {
                let text = |code| {
                    String::from_utf8_lossy(fields.field(code).unwrap_or_default()).into_owned()
                };
                assert!(fields.is_fatal() || self.noise.is_some());
                self.end = Some(format!("{} {}", text(Field::SQLSTATE), text(Field::MESSAGE)));
            }
            Backend::ReadyForQuery(_) => self.end = Some("in".into()),
            _ => {}
        }
    }

    fn leave(&mut self, why: &str) {
        self.end = Some(format!("leaves, {why}"));
    }

    fn asked(&mut self, asked: Authentication<'_>, out: &mut Vec<u8>) {
        let strict = self.kind == Kind::Strict && self.chose;
        match asked {
            Authentication::Ok if self.kind == Kind::Require && !(self.bound && self.chose) => {
                self.leave("not bound");
            }
            Authentication::Ok => {}
            Authentication::Sasl { mechanisms } => {
                let plus = mechanisms.iter().any(|name| name == scram::PLUS);
                let binding = match self.kind {
                    Kind::Unbound => Binding::Unable,
                    _ if plus && !self.tls => return self.leave("offered PLUS without TLS"),
                    Kind::Require if !plus => return self.leave("offered no binding"),
                    _ if plus => Binding::To(end_point(self.certificate)),
                    _ if self.tls => Binding::Unoffered,
                    _ => Binding::Unable,
                };
                self.bound = plus;
                let (begun, mechanism, first) = client::begin(binding, Nonce([9; 18]));
                self.begun = Some(begun);
                self.chose = true;
                SaslInitial { mechanism, data: Some(Credential(&first)) }.encode(out).unwrap();
            }
            Authentication::SaslContinue(message) => {
                let Some(begun) = self.begun.take() else { return self.leave("unasked") };
                let Ok(challenged) = begun.challenged(message, 100_000) else {
                    return self.leave("malformed");
                };
                let password = Password::new(self.password.into());
                let iterations = challenged.iterations();
                let salted = Derivation::new(&password, challenged.salt(), iterations).run();
                let (last, proven) = challenged.prove(&salted.client_key(), &salted.server_key());
                self.proven = Some(proven);
                write_sasl_response(&last, out).unwrap();
            }
            Authentication::SaslFinal(message) => match &self.proven {
                Some(proven) if proven.server_proves(message).is_ok() => {}
                _ => self.leave("the server isn't proven"),
            },
            _ if self.kind == Kind::Require => self.leave("binding is required"),
            _ if strict => self.leave("SCRAM had begun"),
            Authentication::Cleartext => Credential::write_password(self.password, out).unwrap(),
            Authentication::Md5 { salt } => {
                let hashed = md5::password(b"app", self.password, salt);
                Credential::write_password(&hashed, out).unwrap();
            }
            _ => self.leave("it knows no such method"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Trust,
    Cleartext,
    Md5,
    Scram,
    Plus,
    Gss,
}

impl Takes {
    pub const ALL: [Self; 6] =
        [Self::Trust, Self::Cleartext, Self::Md5, Self::Scram, Self::Plus, Self::Gss];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostor {
    /// Lets in without its own proof.
    Skips,
    /// Has a wrong one.
    Forges,
}

pub struct Server {
    pub takes: Takes,
    tls: bool,
    pub role: &'static str,
    /// Lets everybody in.
    pub careless: bool,
    pub impostor: Option<Impostor>,
    verifier: Verifier,
    framer: Framer,
    offered: Option<server::Offered>,
    challenging: Option<server::Challenging>,
    /// The length of the startup packet; 0: it hasn't come.
    pub startup: usize,
    over: bool,
    pub said: Vec<u8>,
    pub noise: Option<Dice>,
}

impl Server {
    pub fn new(takes: Takes, tls: bool) -> Self {
        Self {
            takes,
            tls,
            role: "app",
            careless: false,
            impostor: None,
            verifier: Verifier::parse(verifier(b"geheim", b"salt", 2).as_bytes()).unwrap(),
            framer: Framer::new(Side::Client, Default::default()),
            offered: None,
            challenging: None,
            startup: 0,
            over: false,
            said: Vec::new(),
            noise: None,
        }
    }

    pub fn takes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let taken = self.framer.feed(bytes);
            bytes = &bytes[taken..];
            if self.startup == 0 {
                let Some((_, span)) = self.framer.opening().unwrap() else { continue };
                self.startup = span.length;
                self.framer.consume_framed();
                self.begin(&mut out);
            }
            while !self.over {
                let Ok(Some(frame)) = self.framer.frame() else { break };
                let (tag, body) = (frame.tag, frame.body().to_vec());
                self.framer.consume_framed();
                let limits = Default::default();
                if let Ok(Frontend::Credential(credential)) = Frontend::decode(tag, &body, &limits)
                {
                    self.credential(credential, &mut out);
                }
            }
        }
        if let Some(dice) = &mut self.noise {
            spoil(&mut out, dice);
        }
        self.said.extend_from_slice(&out);
        out
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let asks = match self.takes {
            Takes::Trust => return self.let_in(out),
            Takes::Cleartext => Authentication::Cleartext,
            Takes::Md5 => Authentication::Md5 { salt: *b"salt" },
            Takes::Gss => Authentication::Gss,
            Takes::Scram | Takes::Plus => {
                let plus = self.takes == Takes::Plus && self.tls;
                let offered = server::Offered::new(plus.then(|| end_point("server")));
                Authentication::write_sasl(offered.mechanisms(), out).unwrap();
                self.offered = Some(offered);
                return;
            }
        };
        say(asks, out);
    }

    fn credential(&mut self, credential: Credential<'_>, out: &mut Vec<u8>) {
        if let Some(challenging) = self.challenging.take() {
            return match challenging.last(credential.0, Some(&self.verifier)) {
                Ok(Judged::Good(_, mut last)) => {
                    match self.impostor {
                        Some(Impostor::Skips) => {}
                        Some(Impostor::Forges) => {
                            last[5] ^= 1;
                            say(Authentication::SaslFinal(&last), out);
                        }
                        None => say(Authentication::SaslFinal(&last), out),
                    }
                    self.let_in(out);
                }
                Ok(Judged::Wrong) if self.careless => self.let_in(out),
                Ok(Judged::Wrong) => self.refuse(out),
                Err(rejection) => self.fail(rejection.sqlstate, rejection.message, out),
            };
        }
        if let Some(offered) = self.offered.take() {
            let Ok(SaslInitial { mechanism, data: Some(data) }) = credential.sasl_initial() else {
                return self.fail("08P01", "no SASL initial response", out);
            };
            return match offered.chosen(mechanism).and_then(|offered| offered.first(data.0)) {
                Ok(begun) => {
                    let (salt, iterations) = (self.verifier.salt(), self.verifier.iterations());
                    let (challenging, first) = begun.challenge(salt, iterations, Nonce([8; 18]));
                    self.challenging = Some(challenging);
                    say(Authentication::SaslContinue(&first), out);
                }
                Err(rejection) => self.fail(rejection.sqlstate, rejection.message, out),
            };
        }
        let expected = match self.takes {
            Takes::Md5 => md5::password(self.role.as_bytes(), b"geheim", *b"salt"),
            _ => b"geheim".to_vec(),
        };
        if credential.password() == Ok(&expected) || self.careless {
            self.let_in(out);
        } else {
            self.refuse(out);
        }
    }

    fn let_in(&mut self, out: &mut Vec<u8>) {
        self.over = true;
        let say = |message: Backend<'_>, out: &mut Vec<u8>| message.encode(out).unwrap();
        say(Backend::Authentication(Authentication::Ok), out);
        say(Backend::ParameterStatus(Parameter { name: b"a", value: b"b" }), out);
        say(Backend::BackendKeyData(BackendKey { process: 7, secret: b"1234" }), out);
        say(Backend::ReadyForQuery(Transaction::Idle), out);
    }

    fn refuse(&mut self, out: &mut Vec<u8>) {
        let message = format!("password authentication failed for user \"{}\"", self.role);
        self.fail("28P01", &message, out);
    }

    fn fail(&mut self, sqlstate: &str, message: &str, out: &mut Vec<u8>) {
        self.over = true;
        let fields = [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', sqlstate), (b'M', message)];
        let fields = fields.map(|(code, text)| Field { code, text: text.as_bytes() });
        write_error(fields, out).unwrap();
    }
}

fn say(asks: Authentication<'_>, out: &mut Vec<u8>) {
    Backend::Authentication(asks).encode(out).unwrap();
}

/// Changes, cuts and adds a byte, sometimes.
fn spoil(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() || dice.below(3) > 0 {
        return;
    }
    let at = dice.below(bytes.len());
    match dice.below(4) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, dice.throw() as u8),
        _ => bytes[at] = dice.throw() as u8,
    }
}
