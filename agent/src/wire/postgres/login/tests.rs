pub(in crate::wire::postgres) mod actors;

use actors::{Client, Kind, Server, Takes, end_point, verifier};

use super::*;
use crate::model::{AuthQuery, RoleVerifier, Secret, Who};
use crate::wire::postgres::session::{Common, Greeted, Greeting};
use crate::wire::postgres::testing::{Dice, Open};
use crate::wire::postgres::{Framer, Side, Version};

/// One login between two actors, and how it ended.
struct Play {
    common: Common,
    login: Login,
    /// What the server and the client see.
    sent: (Vec<u8>, Vec<u8>),
    over: Option<Over>,
    ready: bool,
    /// As the session knows it.
    parameter: Option<Box<[u8]>>,
    asked: u32,
}

struct Scene {
    client_tls: bool,
    server_tls: bool,
    terms: AuthTerms,
    /// What the auth_query finds, each time that it is asked.
    found: Vec<Option<String>>,
    given: Option<model::Login>,
    clear_at_once: bool,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            client_tls: true,
            server_tls: true,
            terms: AuthTerms::default(),
            found: Vec::new(),
            given: None,
            clear_at_once: false,
        }
    }
}

impl Scene {
    fn mode(mode: AuthMode) -> Self {
        Self { terms: AuthTerms { mode, ..AuthTerms::default() }, ..Self::default() }
    }

    fn verifier(mut self, verifier: &str) -> Self {
        let verifier = Secret(verifier.as_bytes().to_vec());
        self.terms.verifiers.push(RoleVerifier { role: "app".into(), verifier });
        self
    }

    fn query(mut self, found: &[Option<&str>]) -> Self {
        self.terms.query = Some(AuthQuery {
            role: "asker".into(),
            password: Secret(Vec::new()),
            database: "app".into(),
            query: "select".into(),
        });
        self.found = found.iter().map(|found| found.map(str::to_owned)).collect();
        self
    }

    fn play(self, client: &mut Client, server: &mut Server, cut: usize) -> Result<Play, WireError> {
        let common = Common::default();
        let leg = |tls, name| if tls { Leg::Tls(Some(end_point(name))) } else { Leg::Plain };
        let facts = Facts {
            client: leg(self.client_tls, "leaf"),
            server: leg(self.server_tls, "server"),
            clear_at_once: self.clear_at_once,
        };
        let mut packet = Vec::new();
        let parameters: [(&[u8], &[u8]); 2] = [(b"user", b"app"), (b"x", b"y")];
        Startup::write(Version { major: 3, minor: 0 }, parameters, &mut packet).unwrap();
        let opening = Opening::decode(&packet[4..], &common.limits).unwrap();
        let Ok(Greeted::Startup(startup, machine)) =
            Greeting::new(common.clone()).packet(opening, 0)
        else {
            panic!("it is a startup packet");
        };
        let chance =
            Chance { to_client: Nonce([1; 18]), to_server: Nonce([2; 18]), decoy: [3; 32] };
        let mut out = Sends::default();
        let given = self.given.as_ref();
        let login = Login::begin(machine, &startup, facts, &self.terms, given, chance, &mut out)?;
        if given.is_none() {
            assert_eq!(out.server, packet);
        }
        let mut play = Play {
            common: common.clone(),
            login,
            sent: (Vec::new(), Vec::new()),
            over: None,
            ready: false,
            parameter: None,
            asked: 0,
        };
        let mut from_client = Framer::new(Side::Client, common.limits.clone());
        let mut from_server = Framer::new(Side::Server, common.limits.clone());
        let mut found = self.found.into_iter();
        loop {
            play.sent.0.extend_from_slice(&out.server);
            play.sent.1.extend_from_slice(&out.client);
            let mut to_login = (client.takes(&out.client), server.takes(&out.server));
            out.clear();
            if to_login.0.is_empty() && to_login.1.is_empty() {
                return Ok(play);
            }
            while !to_login.0.is_empty() || !to_login.1.is_empty() {
                feed(&mut from_client, &mut to_login.0, cut);
                feed(&mut from_server, &mut to_login.1, cut);
                play.frames(&mut from_client, &mut from_server, &mut found, &mut out)?;
                if play.over.is_some() || play.ready {
                    to_login = (Vec::new(), Vec::new());
                }
            }
        }
    }
}

fn feed(framer: &mut Framer, bytes: &mut Vec<u8>, cut: usize) {
    let bite = cut.min(bytes.len());
    let taken = framer.feed(&bytes[..bite]);
    bytes.drain(..taken);
}

impl Play {
    fn frames(
        &mut self,
        from_client: &mut Framer,
        from_server: &mut Framer,
        found: &mut impl Iterator<Item = Option<String>>,
        out: &mut Sends,
    ) -> Result<(), WireError> {
        for side in [Side::Client, Side::Server] {
            let framer = if side == Side::Client { &mut *from_client } else { &mut *from_server };
            while let Some(frame) = framer.frame()? {
                let mut step = match side {
                    Side::Client => self.login.client::<Open>(&frame, out)?,
                    _ => self.login.server::<Open>(&frame, out)?,
                };
                loop {
                    step = match step {
                        Step::Going => break,
                        Step::Early => panic!("no actor is early"),
                        Step::Verifier { role, again } => {
                            assert_eq!(role.as_ref(), b"app");
                            assert_eq!(again, self.asked > 0 || !self.knows_none());
                            self.asked += 1;
                            let found = found.next().flatten();
                            self.login.verifier(found.as_deref().map(str::as_bytes), out)?
                        }
                        Step::Derive(derivation) => {
                            assert!(derivation.is_quick());
                            self.login.derived(&derivation.run(), out)?
                        }
                        Step::Ready(session) => {
                            self.parameter = session.parameters().value(b"a").map(Box::from);
                            self.ready = true;
                            return Ok(());
                        }
                        Step::Over(over) => {
                            self.over = Some(over);
                            return Ok(());
                        }
                    };
                }
                framer.consume_framed();
            }
        }
        Ok(())
    }

    fn knows_none(&self) -> bool {
        self.login.account().server == Method::None
    }

    /// `way client→server` of a login, or how it ended.
    fn told(&self, client: &Client) -> String {
        let account = self.login.account();
        let stale = if account.stale { " stale" } else { "" };
        let way = format!("{} {}>{}{stale}", account.way, account.client, account.server);
        match (&self.over, client.end()) {
            (None, Some(end)) if self.ready => format!("{way}: {end}"),
            (Some(Over::Denied(denial)), Some(end)) => {
                let name = format!("{denial:?}");
                let name = name.split(['(', ' ']).next().unwrap().to_owned();
                format!("denied {name}: {end}")
            }
            (Some(Over::Server(_)), Some(end)) => format!("refused by the server: {end}"),
            (None, Some(end)) => format!("the client left: {end}"),
            (over, end) => panic!("it hangs: {over:?} {end:?} {account:?}"),
        }
    }
}

fn good() -> String {
    verifier(b"geheim", b"salt", 2)
}

fn old() -> String {
    verifier(b"gestern", b"tlas", 2)
}

/// Every mode, with all that can be known of a role.
fn scenes() -> Vec<(String, Scene)> {
    let mut scenes = Vec::new();
    for mode in [AuthMode::Auto, AuthMode::Through, AuthMode::Verifier, AuthMode::Cleartext] {
        for known in ["", "+verifier", "+stale", "+query", "+empty-query", "+broken", "-cleartext"]
        {
            let scene = Scene::mode(mode);
            let mut scene = match known {
                "+verifier" => scene.verifier(&good()),
                "+stale" => scene.verifier(&old()),
                "+query" => scene.query(&[Some(&good())]),
                "+empty-query" => scene.query(&[None]),
                "+broken" => scene.verifier("SCRAM-SHA-256$x"),
                _ => scene,
            };
            scene.terms.forbid_cleartext = known == "-cleartext";
            scenes.push((format!("{mode:?}{known}").to_lowercase(), scene));
        }
    }
    scenes
}

/// Server's offer × client × TLS × what is known of the role, in every mode.
#[test]
fn the_matrix() {
    let mut table = String::new();
    for takes in Takes::ALL {
        for (tls, client_tls, server_tls) in
            [("TLS", true, true), ("plain, TLS upstream", false, true), ("plain", false, false)]
        {
            if takes == Takes::Plus && !server_tls {
                continue;
            }
            for kind in [Kind::Libpq, Kind::Require, Kind::Unbound] {
                table += &format!("{takes:?}, {tls}, {kind:?}\n");
                let mut ends: Vec<(String, Vec<String>)> = Vec::new();
                for (name, mut scene) in scenes() {
                    (scene.client_tls, scene.server_tls) = (client_tls, server_tls);
                    let mut client = Client::new(kind, client_tls, b"geheim");
                    let mut server = Server::new(takes, server_tls);
                    let play = scene.play(&mut client, &mut server, usize::MAX).unwrap();
                    let told = play.told(&client);
                    match ends.iter_mut().find(|(end, _)| *end == told) {
                        Some((_, names)) => names.push(name),
                        None => ends.push((told, vec![name])),
                    }
                }
                let single = ends.len() == 1;
                for (end, names) in ends {
                    let names = if single { "always".into() } else { names.join(", ") };
                    table += &format!("    {end}\n        {names}\n");
                }
            }
        }
    }
    let shown = include_str!("tests/matrix.txt");
    if shown != table {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/postgres/login/tests/matrix.txt");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        let first = table.lines().zip(shown.lines()).find(|(is, was)| is != was);
        panic!("the matrix has changed: {first:?}; look at it, and run with TIDEGATE_BLESS=1");
    }
}

/// Whoever has the wrong password is never let in, and is told so as directly.
#[test]
fn a_wrong_password_is_refused_on_every_way() {
    for mode in [AuthMode::Auto, AuthMode::Verifier, AuthMode::Cleartext, AuthMode::Through] {
        for takes in [Takes::Cleartext, Takes::Md5, Takes::Scram, Takes::Plus] {
            for kind in [Kind::Libpq, Kind::Unbound, Kind::Require] {
                for known in [good(), verifier(b"falsch", b"salt", 2)] {
                    for careless in [false, true] {
                        let scene = Scene::mode(mode).verifier(&known);
                        let mut client = Client::new(kind, true, b"falsch");
                        let mut server = Server::new(takes, true);
                        server.careless = careless;
                        // A server that lets everybody in is its owner's affair,
                        // where the client speaks with it itself.
                        let play = scene.play(&mut client, &mut server, 3);
                        let Ok(play) = play else { continue };
                        let through = play.login.account().way == Way::Through;
                        assert!(!play.ready || careless && through, "{mode:?} {takes:?} {kind:?}");
                        if let Some(Over::Server(state)) = &play.over
                            && kind != Kind::Require
                        {
                            assert_eq!(&**state, "28P01");
                            let told = client.end().unwrap();
                            assert_eq!(
                                told,
                                "28P01 password authentication failed for user \"app\""
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_stale_verifier_is_fetched_again_where_it_can_be() {
    let scene = Scene::default().verifier(&old()).query(&[Some(&good())]);
    let mut client = Client::new(Kind::Require, true, b"geheim");
    let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 1).unwrap();
    assert!(play.ready);
    assert_eq!((play.asked, play.login.account().way), (1, Way::Verifier));
    assert!(!play.login.account().stale);
    // And not for ever.
    let scene = Scene::default().query(&[Some(&old()), Some(&old()), Some(&good())]);
    let mut client = Client::new(Kind::Libpq, true, b"geheim");
    let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 1).unwrap();
    assert_eq!((play.asked, play.login.account().way), (2, Way::Cleartext));
    assert!(play.login.account().stale);
}

#[test]
fn of_several_verifiers_the_one_that_fits_is_taken() {
    for order in [[old(), good()], [good(), old()], ["nonsense".into(), good()]] {
        let scene = order.iter().fold(Scene::default(), |scene, one| scene.verifier(one));
        let mut client = Client::new(Kind::Require, true, b"geheim");
        let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 1).unwrap();
        assert!(play.ready, "{order:?}");
        let account = play.login.account();
        assert_eq!((account.way, account.stale, account.broken), (Way::Verifier, false, false));
    }
    // None of them: the query is asked.
    let scene = Scene::default().verifier(&old()).verifier(&old()).query(&[Some(&good())]);
    let mut client = Client::new(Kind::Require, true, b"geheim");
    let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 1).unwrap();
    assert!(play.ready);
    assert_eq!(play.asked, 1);
}

#[test]
fn what_passes_passes_byte_for_byte() {
    for takes in Takes::ALL {
        for kind in [Kind::Libpq, Kind::Unbound] {
            for tls in [true, false] {
                if takes == Takes::Gss || takes == Takes::Plus && (kind == Kind::Libpq || !tls) {
                    continue;
                }
                let mut client = Client::new(kind, tls, b"geheim");
                let mut server = Server::new(takes, tls);
                let mut scene = Scene::mode(AuthMode::Auto);
                (scene.client_tls, scene.server_tls) = (tls, tls);
                let play = scene.play(&mut client, &mut server, usize::MAX).unwrap();
                assert!(play.ready);
                assert_eq!(play.parameter.as_deref(), Some(b"b".as_slice()));
                assert_eq!(play.sent.0[play.sent.0.len() - client.said.len()..], client.said);
                assert_eq!(play.sent.1, server.said, "{takes:?} {kind:?} {tls}");
            }
        }
    }
}

#[test]
fn every_cut_gives_the_same() {
    for takes in Takes::ALL {
        for kind in [Kind::Libpq, Kind::Unbound, Kind::Require] {
            let end = |cut| {
                let mut client = Client::new(kind, true, b"geheim");
                let mut server = Server::new(takes, true);
                let scene = Scene::default().verifier(&good());
                let play = scene.play(&mut client, &mut server, cut).unwrap();
                (play.told(&client), play.sent)
            };
            let whole = end(usize::MAX);
            for cut in 1..20 {
                assert_eq!(end(cut), whole, "{takes:?} {kind:?} {cut}");
            }
        }
    }
}

fn given(password: &[u8]) -> Option<model::Login> {
    let password = Secret(password.to_vec());
    Some(model::Login { who: Who::default(), role: "worker".into(), password })
}

#[test]
fn a_given_login_needs_nothing_of_the_client() {
    for (takes, method) in [
        (Takes::Trust, Method::None),
        (Takes::Cleartext, Method::Cleartext),
        (Takes::Md5, Method::Md5),
        (Takes::Scram, Method::Scram),
        (Takes::Plus, Method::ScramPlus),
    ] {
        let scene = Scene { given: given(b"geheim"), ..Scene::default() };
        let mut client = Client::new(Kind::Unbound, true, b"whatever");
        let mut server = Server::new(takes, true);
        server.role = "worker";
        let play = scene.play(&mut client, &mut server, 2).unwrap();
        assert!(play.ready, "{takes:?}");
        let account = play.login.account();
        assert_eq!(
            (account.way, account.client, account.server),
            (Way::Given, Method::None, method)
        );
        assert_eq!(account.role.as_ref(), b"worker");
        assert_eq!(account.claimed.as_deref(), Some(b"app".as_slice()));
        assert!(client.said.is_empty());
        // The database stays the one that the client meant.
        let startup = Opening::decode(&play.sent.0[4..server.startup], &play.common.limits);
        let Ok(Opening::Startup(startup)) = startup else { panic!("{startup:?}") };
        assert_eq!(startup.parameter(b"user"), Some(b"worker".as_slice()));
        assert_eq!(startup.parameter(b"database"), Some(b"app".as_slice()));
        assert_eq!(startup.parameter(b"x"), Some(b"y".as_slice()));
    }
    let mut scene = Scene { given: given(b"geheim"), ..Scene::default() };
    (scene.client_tls, scene.server_tls) = (false, false);
    let mut client = Client::new(Kind::Unbound, false, b"");
    let play = scene.play(&mut client, &mut Server::new(Takes::Cleartext, false), 9).unwrap();
    assert_eq!(play.over, Some(Over::Denied(Denial::PlainPassword)));
    assert!(!play.sent.0.windows(6).any(|bytes| bytes == b"geheim"));
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_believed() {
    for scene in [
        Scene { given: given(b"geheim"), ..Scene::default() },
        Scene::mode(AuthMode::Cleartext),
        Scene::default().verifier(&good()),
    ] {
        for impostor in [actors::Impostor::Skips, actors::Impostor::Forges] {
            let scene = Scene {
                terms: scene.terms.clone(),
                given: scene.given.clone(),
                ..Scene::default()
            };
            let mut client = Client::new(Kind::Libpq, true, b"geheim");
            let mut server = Server::new(Takes::Plus, true);
            if scene.given.is_some() {
                server.role = "worker";
            }
            server.impostor = Some(impostor);
            let error = scene.play(&mut client, &mut server, 7).err().unwrap();
            let fault = match impostor {
                actors::Impostor::Skips => Fault::Unasked,
                actors::Impostor::Forges => Fault::Unproven,
            };
            assert_eq!(error, fault.at(Side::Server));
        }
    }
}

/// A man in the middle of the client's leg has another certificate: the
/// client's binding is to that one.
#[test]
fn a_binding_to_another_certificate_is_refused() {
    let mut client = Client::new(Kind::Libpq, true, b"geheim");
    client.certificate = "mallory";
    let scene = Scene::default().verifier(&good());
    let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 50).unwrap();
    assert!(!play.ready);
    assert_eq!(client.end().unwrap(), "28000 SCRAM channel binding check failed");
}

#[test]
fn who_leaves_when_asked_is_known_by_it() {
    let mut client = Client::new(Kind::Strict, true, b"geheim");
    let play = Scene::default().play(&mut client, &mut Server::new(Takes::Plus, true), 50).unwrap();
    assert_eq!(play.login.left(), Some(Left::Switched));
    let scene = Scene { clear_at_once: true, ..Scene::default() };
    let mut client = Client::new(Kind::Strict, true, b"geheim");
    let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 50).unwrap();
    assert!(play.ready && play.login.left().is_none());
    // Who takes no password in clear leaves there too.
    let scene = Scene { clear_at_once: true, ..Scene::default() };
    let mut client = Client::new(Kind::Require, true, b"geheim");
    let play = scene.play(&mut client, &mut Server::new(Takes::Plus, true), 50).unwrap();
    assert!(!play.ready);
    assert_eq!(play.login.left(), Some(Left::AtOnce));
}

/// Whatever either side sends instead of what it should, there is an end.
#[test]
fn foreign_frames_are_never_a_panic() {
    let mut dice = Dice::new(5);
    for round in 0..3000 {
        let kinds = [Kind::Libpq, Kind::Unbound, Kind::Require, Kind::Strict];
        let takes = Takes::ALL[dice.below(Takes::ALL.len())];
        let mut client = Client::new(kinds[dice.below(4)], true, b"geheim");
        let mut server = Server::new(takes, true);
        client.noise = Some(Dice::new(round));
        server.noise = Some(Dice::new(round + 1_000_000));
        let scene = match dice.below(4) {
            0 => Scene::default(),
            1 => Scene::default().verifier(&good()),
            2 => Scene::default().query(&[Some(&old())]),
            _ => Scene { given: given(b"geheim"), ..Scene::default() },
        };
        let _ = scene.play(&mut client, &mut server, 1 + dice.below(40));
    }
}

#[test]
fn frames_that_come_too_soon_are_an_error_of_ours() {
    let common = Common::default();
    let mut framer = Framer::new(Side::Server, common.limits);
    framer.feed(b"R\0\0\0\x08\0\0\0\0");
    let frame = framer.frame().unwrap().unwrap();
    let terms = Scene::default().query(&[]).terms;
    let mut login = begun(&terms);
    let mut out = Sends::default();
    let mut offer = Vec::new();
    let plus: [&[u8]; 2] = [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"];
    Authentication::write_sasl(plus, &mut offer).unwrap();
    let mut offers = Framer::new(Side::Server, Common::default().limits);
    offers.feed(&offer);
    let step = login.server::<Open>(&offers.frame().unwrap().unwrap(), &mut out).unwrap();
    assert!(matches!(step, Step::Verifier { again: false, .. }));
    assert!(out.client.is_empty());
    let early = login.server::<Open>(&frame, &mut out).err();
    assert_eq!(early, Some(Fault::Undecided.at(Side::Inside)));
}

fn begun(terms: &AuthTerms) -> Login {
    let common = Common::default();
    let mut packet = Vec::new();
    let parameters: [(&[u8], &[u8]); 1] = [(b"user", b"app")];
    Startup::write(Version { major: 3, minor: 0 }, parameters, &mut packet).unwrap();
    let opening = Opening::decode(&packet[4..], &common.limits).unwrap();
    let Ok(Greeted::Startup(startup, machine)) = Greeting::new(common).packet(opening, 0) else {
        panic!("it is a startup packet");
    };
    let leg = |name| Leg::Tls(Some(end_point(name)));
    let facts = Facts { client: leg("leaf"), server: leg("server"), clear_at_once: false };
    let chance = Chance::draw().unwrap();
    Login::begin(machine, &startup, facts, terms, None, chance, &mut Sends::default()).unwrap()
}
