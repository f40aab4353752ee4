//! A login between two sides of which neither is to be trusted.
//!
//! Four bytes set the scene; then each step has a byte for who speaks: a client
//! and a server that know the protocol (and may not know the password), or the
//! fuzzer in the place of either, in whole or for one byte.
//!
//! Whatever is said: nothing panics; who is proven by a verifier is let in only
//! with the password, and only by a server that has proven itself; nobody is asked
//! for a password in clear where that must not be; the server is told nothing that
//! it hasn't asked for; what goes out is whole messages; a given login's password
//! is never shown.
#![no_main]

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tidegate::model::{self, AuthMode, AuthQuery, AuthTerms, RoleVerifier, Secret, Who};
use tidegate::wire::limits::Limits;
use tidegate::wire::postgres::login::{Chance, Facts, Leg, Login, Method, Sends, Step, Way};
use tidegate::wire::postgres::scram::client::{self, Binding};
use tidegate::wire::postgres::scram::server::{self, Judged};
use tidegate::wire::postgres::scram::{
    self, Derivation, EndPoint, Nonce, Password, Verifier, end_point_hash,
};
use tidegate::wire::postgres::session::{Common, Gate, Greeted, Greeting};
use tidegate::wire::postgres::{
    Authentication, Backend, BackendKey, Credential, Framer, Frontend, Opening, SaslInitial, Side,
    Startup, Transaction, Version, write_sasl_response,
};

#[derive(Debug)]
struct Open;

impl Gate for Open {
    type Permit = ();
    type Screened = ();
}

const RIGHT: &[u8] = b"geheim";
const WRONG: &[u8] = b"falsch";
const OTHERS: &[u8] = b"q7-anderswo-5X";
const GIVEN: &[u8] = b"vertraulich-93";

fn verifier(password: &[u8], salt: &[u8]) -> String {
    let two = NonZeroU32::MIN.saturating_add(1);
    let salted = Derivation::new(&Password::new(password.into()), salt, two).run();
    salted.verifier(salt, two).to_text().to_string()
}

/// The role's own, one whose salt is old, somebody else's, none at all.
static VERIFIERS: LazyLock<[String; 4]> = LazyLock::new(|| {
    let broken = "SCRAM-SHA-256$2:c2FsdA==$x:y".to_owned();
    [verifier(RIGHT, b"salt"), verifier(RIGHT, b"old"), verifier(OTHERS, b"salt"), broken]
});
static GIVEN_VERIFIER: LazyLock<String> = LazyLock::new(|| verifier(GIVEN, b"salt"));

/// Of our leaf and of the server's certificate.
static END_POINTS: LazyLock<[EndPoint; 2]> = LazyLock::new(|| {
    ["leaf", "server"].map(|name| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        end_point_hash(made.cert.der()).unwrap()
    })
});

struct Scene {
    client_tls: bool,
    server_tls: bool,
    given: bool,
    terms: AuthTerms,
    /// What the query finds.
    found: Option<&'static str>,
    clear_at_once: bool,
    client_knows: bool,
    client_binds: bool,
    asks: u8,
    careless: bool,
    server_keys: &'static str,
}

impl Scene {
    fn new(set: [u8; 4]) -> Self {
        let [legs, auth, known, actors] = set;
        let mut terms = AuthTerms {
            mode: [AuthMode::Auto, AuthMode::Through, AuthMode::Verifier, AuthMode::Cleartext]
                [usize::from(auth & 3)],
            forbid_cleartext: auth & 4 != 0,
            ..AuthTerms::default()
        };
        if known & 4 != 0 {
            let verifier = Secret(VERIFIERS[usize::from(known & 3)].clone().into_bytes());
            terms.verifiers.push(RoleVerifier { role: "app".into(), verifier });
        }
        if known & 8 != 0 {
            terms.query = Some(AuthQuery {
                role: "asker".into(),
                password: Secret(Vec::new()),
                database: "app".into(),
                query: "select".into(),
            });
        }
        let given = legs & 12 == 12;
        let own = if given { &*GIVEN_VERIFIER } else { &VERIFIERS[0] };
        Self {
            client_tls: legs & 1 != 0,
            server_tls: legs & 2 != 0,
            given,
            terms,
            found: (known & 64 != 0).then(|| VERIFIERS[usize::from(known >> 4 & 3)].as_str()),
            clear_at_once: auth & 8 != 0,
            client_knows: actors & 1 == 0,
            client_binds: actors & 2 != 0,
            asks: actors >> 2 & 7,
            careless: actors & 32 != 0,
            server_keys: if actors & 64 == 0 { own } else { &VERIFIERS[2] },
        }
    }

    /// Some verifier that the login can have was made of the client's password.
    fn client_can_prove(&self) -> bool {
        let own = |text: &str| VERIFIERS[..2].iter().any(|one| one == text);
        let known = self.terms.verifiers.iter();
        self.client_knows
            && (known.map(|one| String::from_utf8_lossy(&one.verifier.0)).any(|one| own(&one))
                || self.terms.query.is_some() && self.found.is_some_and(own))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((set, steps)) = data.split_first_chunk() else { return };
    let scene = Scene::new(*set);
    let Some(mut play) = Play::begin(&scene) else { return };
    play.shows_given = steps.windows(GIVEN.len()).any(|part| part == GIVEN);
    let mut rest = steps;
    while let Some((who, behind)) = rest.split_first() {
        rest = behind;
        let side = if who & 1 == 0 { Side::Client } else { Side::Server };
        let said = match who >> 1 & 3 {
            // In its own words, and perhaps with a byte that is another.
            0 => play.actor(side),
            1 => {
                let mut said = play.actor(side);
                let mut bytes = rest.iter();
                let (place, byte) = (bytes.next().copied(), bytes.next().copied());
                rest = bytes.as_slice();
                let place = usize::from(place.unwrap_or_default()) % said.len().max(1);
                if let (Some(sign), Some(byte)) = (said.get_mut(place), byte) {
                    *sign = byte;
                }
                said
            }
            how => {
                let Some((length, behind)) = rest.split_first() else { break };
                let (piece, behind) = behind.split_at(usize::from(*length).min(behind.len()));
                rest = behind;
                let mut said = Vec::new();
                if how == 3 {
                    said.push(if side == Side::Client { b'p' } else { b'R' });
                    said.extend((piece.len() as u32 + 4).to_be_bytes());
                }
                said.extend_from_slice(piece);
                said
            }
        };
        if !play.hear(side, &said) {
            break;
        }
    }
});

struct Play<'s> {
    scene: &'s Scene,
    login: Login,
    from_client: Framer,
    from_server: Framer,
    client: Client<'s>,
    server: Server<'s>,
    out: Sends,
    /// Questions of the server's, and answers that it got.
    asked: usize,
    answered: usize,
    shows_given: bool,
    early: bool,
}

impl<'s> Play<'s> {
    fn begin(scene: &'s Scene) -> Option<Self> {
        let limits = Arc::new(Limits { iterations: 4096, chunk: 64, ..Limits::default() });
        let common = Common { limits: Arc::clone(&limits), ..Common::default() };
        let leg = |tls: bool, of: usize| {
            if tls { Leg::Tls(Some(END_POINTS[of].clone())) } else { Leg::Plain }
        };
        let facts = Facts {
            client: leg(scene.client_tls, 0),
            server: leg(scene.server_tls, 1),
            clear_at_once: scene.clear_at_once,
        };
        let mut packet = Vec::new();
        let parameters: [(&[u8], &[u8]); 1] = [(b"user", b"app")];
        Startup::write(Version { major: 3, minor: 0 }, parameters, &mut packet).unwrap();
        let opening = Opening::decode(&packet[4..], &limits).unwrap();
        let Ok(Greeted::Startup(startup, machine)) = Greeting::new(common).packet(opening, 0)
        else {
            return None;
        };
        let chance =
            Chance { to_client: Nonce([1; 18]), to_server: Nonce([2; 18]), decoy: [3; 32] };
        let given = scene.given.then(|| model::Login {
            who: Who::default(),
            role: "app".into(),
            password: Secret(GIVEN.to_vec()),
        });
        let mut out = Sends::default();
        let given = given.as_ref();
        let terms = &scene.terms;
        let login = Login::begin(machine, &startup, facts, terms, given, chance, &mut out).ok()?;
        out.clear();
        let mut server = Server {
            scene,
            offered: None,
            challenging: None,
            has_proven: false,
            to_say: Vec::new(),
        };
        server.begin();
        Some(Self {
            scene,
            login,
            from_client: Framer::new(Side::Client, Arc::clone(&limits)),
            from_server: Framer::new(Side::Server, limits),
            client: Client { scene, begun: None, proven: None, to_say: Vec::new() },
            server,
            out,
            asked: 0,
            answered: 0,
            shows_given: false,
            early: false,
        })
    }

    fn actor(&mut self, side: Side) -> Vec<u8> {
        std::mem::take(match side {
            Side::Client => &mut self.client.to_say,
            _ => &mut self.server.to_say,
        })
    }

    /// False when the login is over.
    fn hear(&mut self, side: Side, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if side == Side::Client && self.early {
                return true;
            }
            let framer =
                if side == Side::Client { &mut self.from_client } else { &mut self.from_server };
            let taken = framer.feed(bytes);
            bytes = &bytes[taken..];
            if !self.frames(side) {
                return false;
            }
        }
        true
    }

    fn frames(&mut self, side: Side) -> bool {
        loop {
            let framer =
                if side == Side::Client { &mut self.from_client } else { &mut self.from_server };
            let frame = match framer.frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let (span, heard) = (frame.span, frame.bytes.to_vec());
            if side == Side::Server && heard.first() == Some(&b'R') {
                self.asked += 1;
            }
            let mut step = match side {
                Side::Client => self.login.client::<Open>(&frame, &mut self.out),
                _ => self.login.server::<Open>(&frame, &mut self.out),
            };
            let goes_on = loop {
                step = match step {
                    Ok(Step::Going) => break true,
                    Ok(Step::Early) => {
                        self.from_client.put_back(span);
                        self.early = true;
                        break true;
                    }
                    Ok(Step::Verifier { .. }) => {
                        assert!(self.scene.terms.query.is_some());
                        self.login.verifier(self.scene.found.map(str::as_bytes), &mut self.out)
                    }
                    Ok(Step::Derive(derivation)) => {
                        self.login.derived(&derivation.run(), &mut self.out)
                    }
                    Ok(Step::Ready(_)) => {
                        self.let_in();
                        break false;
                    }
                    Ok(Step::Over(_)) | Err(_) => break false,
                };
            };
            self.sent(&heard);
            if !goes_on || self.early && side == Side::Client {
                return goes_on;
            }
            let framer =
                if side == Side::Client { &mut self.from_client } else { &mut self.from_server };
            framer.consume_framed();
        }
    }

    fn let_in(&self) {
        let account = self.login.account();
        if account.way == Way::Verifier {
            assert!(self.scene.client_can_prove(), "let in without a proof: {account:?}");
        }
        if account.way != Way::Through
            && matches!(account.server, Method::Scram | Method::ScramPlus)
        {
            assert!(self.server.has_proven, "a server was believed: {account:?}");
        }
    }

    /// Looks at what goes out, and gives it to the actors.
    fn sent(&mut self, heard: &[u8]) {
        let (client, server) = (self.out.client.clone(), self.out.server.clone());
        self.out.clear();
        for message in messages(&client) {
            // AuthenticationOk: from here on the client believes that it is in.
            if message == b"R\0\0\0\x08\0\0\0\0" {
                self.let_in();
            }
            if message == b"R\0\0\0\x08\0\0\0\x03" && message != heard {
                let terms = &self.scene.terms;
                assert!(self.scene.client_tls && !terms.forbid_cleartext);
                assert!(matches!(terms.mode, AuthMode::Auto | AuthMode::Cleartext));
            }
            if self.scene.given && !self.shows_given {
                assert!(!message.windows(GIVEN.len()).any(|part| part == GIVEN));
            }
            self.client.hears(message);
        }
        for message in messages(&server) {
            self.answered += usize::from(message[0] == b'p');
            assert!(self.answered <= self.asked, "the server was told what it hasn't asked");
            self.server.hears(message);
        }
    }
}

/// Whole messages, one behind the other.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let (message, rest) = bytes.split_at(length as usize + 1);
        bytes = rest;
        Some(message)
    })
}

struct Client<'s> {
    scene: &'s Scene,
    begun: Option<client::Begun>,
    proven: Option<client::Proven>,
    to_say: Vec<u8>,
}

impl Client<'_> {
    fn hears(&mut self, message: &[u8]) {
        let limits = Limits::default();
        let Ok(Backend::Authentication(asked)) =
            Backend::decode(message[0], &message[5..], &limits)
        else {
            return;
        };
        let password = if self.scene.client_knows { RIGHT } else { WRONG };
        let out = &mut self.to_say;
        match asked {
            Authentication::Cleartext | Authentication::Md5 { .. } => {
                Credential::write_password(password, out).unwrap();
            }
            Authentication::Sasl { mechanisms } => {
                let plus = mechanisms.iter().any(|name| name == scram::PLUS);
                let binding = match (self.scene.client_binds && self.scene.client_tls, plus) {
                    (true, true) => Binding::To(END_POINTS[0].clone()),
                    (true, false) => Binding::Unoffered,
                    _ => Binding::Unable,
                };
                let (begun, mechanism, first) = client::begin(binding, Nonce([9; 18]));
                self.begun = Some(begun);
                SaslInitial { mechanism, data: Some(Credential(&first)) }.encode(out).unwrap();
            }
            Authentication::SaslContinue(message) => {
                let Some(begun) = self.begun.take() else { return };
                let Ok(challenged) = begun.challenged(message, 4096) else { return };
                let password = Password::new(password.into());
                let iterations = challenged.iterations();
                let salted = Derivation::new(&password, challenged.salt(), iterations).run();
                let (last, proven) = challenged.prove(&salted.client_key(), &salted.server_key());
                self.proven = Some(proven);
                write_sasl_response(&last, out).unwrap();
            }
            // Who gets this far with us has been proven to as well.
            Authentication::SaslFinal(message) => {
                let _ = self.proven.take().map(|proven| proven.server_proves(message));
            }
            _ => {}
        }
    }
}

struct Server<'s> {
    scene: &'s Scene,
    offered: Option<server::Offered>,
    challenging: Option<server::Challenging>,
    /// It knew the keys, and said so.
    has_proven: bool,
    to_say: Vec<u8>,
}

impl Server<'_> {
    fn begin(&mut self) {
        let asks = match self.scene.asks {
            0 => return self.let_in(),
            1 => Authentication::Cleartext,
            2 => Authentication::Md5 { salt: *b"salt" },
            3 => Authentication::Gss,
            how => {
                let plus = how > 5 && self.scene.server_tls;
                let offered = server::Offered::new(plus.then(|| END_POINTS[1].clone()));
                Authentication::write_sasl(offered.mechanisms(), &mut self.to_say).unwrap();
                self.offered = Some(offered);
                return;
            }
        };
        self.say(asks);
    }

    fn hears(&mut self, message: &[u8]) {
        let limits = Limits::default();
        let Ok(Frontend::Credential(credential)) =
            Frontend::decode(message[0], &message[5..], &limits)
        else {
            return;
        };
        let verifier = Verifier::parse(self.scene.server_keys.as_bytes()).unwrap();
        if let Some(challenging) = self.challenging.take() {
            match challenging.last(credential.0, Some(&verifier)) {
                Ok(Judged::Good(_, last)) => {
                    self.has_proven = true;
                    self.say(Authentication::SaslFinal(&last));
                    self.let_in();
                }
                _ if self.scene.careless => self.let_in(),
                _ => {}
            }
            return;
        }
        if let Some(offered) = self.offered.take() {
            let Ok(SaslInitial { mechanism, data: Some(data) }) = credential.sasl_initial() else {
                return;
            };
            let begun = offered.chosen(mechanism).and_then(|offered| offered.first(data.0));
            let Ok(begun) = begun else { return };
            let (salt, iterations) = (verifier.salt(), verifier.iterations());
            let (challenging, first) = begun.challenge(salt, iterations, Nonce([8; 18]));
            self.challenging = Some(challenging);
            return self.say(Authentication::SaslContinue(&first));
        }
        if self.scene.careless || credential.password() == Ok(RIGHT) {
            self.let_in();
        }
    }

    fn let_in(&mut self) {
        self.say(Authentication::Ok);
        let key = BackendKey { process: 7, secret: b"1234" };
        Backend::BackendKeyData(key).encode(&mut self.to_say).unwrap();
        Backend::ReadyForQuery(Transaction::Idle).encode(&mut self.to_say).unwrap();
    }

    fn say(&mut self, asks: Authentication<'_>) {
        Backend::Authentication(asks).encode(&mut self.to_say).unwrap();
    }
}
