//! The login between two legs: from the client's startup packet to the server's
//! first ReadyForQuery.
//!
//! What can go through goes through, byte for byte. One thing can't: a login
//! that is bound to the TLS session (SCRAM-SHA-256-PLUS), since the client's
//! session is with us and the server's is another one. Then either the client is
//! proven by the role's verifier, and its proof yields the key for the server;
//! or its password is asked for in clear; or it is told what to change.
//!
//! | the server asks for | the client | nothing known | with a verifier |
//! |---|---|---|---|
//! | nothing, cleartext, md5, SCRAM | any | through | through |
//! | SCRAM-PLUS | has TLS, binds | in clear | verifier |
//! | SCRAM-PLUS | has TLS, doesn't bind | through | verifier |
//! | SCRAM-PLUS | has no TLS | through, `-PLUS` taken out | the same |
//! | GSS, SSPI | any | denied | denied |
//!
//! That is `auth = "auto"`; `tests/matrix.txt` has every mode. Where a login is
//! given to the workload, the client isn't asked at all: that it is this
//! workload is its credential.
//!
//! Frames of both sides go in, in the order in which they came; bytes for both
//! sides and a [`Step`] come out.
//!
//! Invariants: a client whose proof was wrong is never let in, whatever the
//! server says; a server that was to prove itself is believed only when it has;
//! no password is asked for over a leg without TLS; nothing is sent to the
//! server that it hasn't asked for.
//!
//! Never: I/O, hashing a password in here ([`Step::Derive`]), a guess.

mod account;
mod answering;
mod denial;
mod verified;
mod ways;

use zeroize::Zeroize;

use super::backend::{Authentication, Backend};
use super::error::{Fault, Side, WireError};
use super::framer::Frame;
use super::opening::{Opening, Startup};
use super::scram::{Derivation, EndPoint, Nonce, Password, Salted, Verifier, client};
use super::session::{
    Authenticating, ClientLogin, CredentialKind, Gate, Said, ServerLogin, Session,
};
use crate::model::{self, AuthMode, AuthTerms};

pub use account::{Account, Method, Way, Why};
pub use denial::Denial;

pub(super) use answering::{Answering, Needs, Offer, Unanswered, binds, method_name};
use verified::Verified;

/// How a leg is protected, and by whose certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leg {
    Plain,
    /// The hash of the certificate that the server's end of this leg showed
    /// ([`super::scram::end_point_hash`]), where there is one.
    Tls(Option<EndPoint>),
}

/// What a login has to know of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Ours with the client; the certificate is our leaf.
    pub client: Leg,
    /// Ours with the server.
    pub server: Leg,
    /// The client is of a kind that leaves when it is asked for a password in
    /// clear after SCRAM began: it is asked at once. Seen by
    /// [`Left::Switched`] on an earlier connection.
    pub clear_at_once: bool,
}

/// What is random in a login.
#[derive(Clone)]
pub struct Chance {
    pub to_client: Nonce,
    pub to_server: Nonce,
    /// A proof that proves nothing.
    pub decoy: [u8; 32],
}

impl Chance {
    /// `None`: the system has no randomness to give.
    pub fn draw() -> Option<Self> {
        let mut bytes = [0; 68];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let (to_client, rest) = bytes.split_first_chunk()?;
        let (to_server, rest) = rest.split_first_chunk()?;
        let decoy = rest.first_chunk()?;
        Some(Self { to_client: Nonce(*to_client), to_server: Nonce(*to_server), decoy: *decoy })
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance")
    }
}

/// What is to be sent. The caller takes it out and clears it; there may be a
/// password in it.
#[derive(Default)]
pub struct Sends {
    pub client: Vec<u8>,
    pub server: Vec<u8>,
}

impl Sends {
    pub fn clear(&mut self) {
        self.client.zeroize();
        self.server.zeroize();
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Sends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { client, server } = self;
        write!(f, "Sends({} bytes to the client, {} to the server)", client.len(), server.len())
    }
}

/// What is next.
#[derive(Debug)]
#[must_use]
pub enum Step<G: Gate> {
    /// The next frame of either side.
    Going,
    /// The client's frame belongs to the session that isn't there yet: put it
    /// back ([`super::Framer::put_back`]), and read no more of the client's
    /// until the session is ready.
    Early,
    /// [`Login::verifier`] is to be called before any other frame is taken.
    /// `again`: the one that is known doesn't fit any more, and must not come
    /// from a cache.
    Verifier {
        role: Box<[u8]>,
        again: bool,
    },
    /// It is to be run, where it may take its time, and [`Login::derived`] to
    /// be called before any other frame is taken.
    Derive(Derivation),
    Ready(Box<Session<G>>),
    /// Send what there is, then end both legs.
    Over(Over),
}

/// Who ended a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The client said goodbye.
    Client,
    /// The server refused, with this SQLSTATE; the client gets the server's own
    /// words.
    Server(Box<str>),
    /// tidegate; the client is told why.
    Denied(Denial),
}

/// When a client was asked for its password in clear, and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// After SCRAM had begun. Its like should be asked at once
    /// ([`Facts::clear_at_once`]).
    Switched,
    /// At once: its like should be asked by SCRAM again.
    AtOnce,
}

/// A login that is under way.
#[derive(Debug)]
pub struct Login {
    /// `None` when it is over.
    machine: Option<Authenticating>,
    facts: Facts,
    mode: AuthMode,
    forbid_cleartext: bool,
    lookup: Lookup,
    /// An auth_query may be asked (once more).
    may_ask: bool,
    chance: Chance,
    most: u32,
    stage: Stage,
    account: Account,
    /// The client was asked in clear when SCRAM had begun.
    switched: bool,
}

#[derive(Debug)]
enum Lookup {
    /// Several where a name stands for several servers: the server's own salt
    /// says which one fits.
    Given(Vec<Verifier>),
    /// By an auth_query.
    Ask,
    Absent,
}

#[derive(Debug)]
enum Stage {
    /// The server hasn't said what it wants.
    Opening,
    Through {
        /// The client was offered a binding that can't pass.
        bound: Option<Offer>,
    },
    /// A verifier is being fetched.
    Fetching {
        offer: Offer,
        offered: Box<[u8]>,
    },
    Verified(Box<Verified>),
    /// The client is asked in clear.
    Clear(Clear),
    Answering(Box<Answering>),
    Deriving(Box<Answering>),
    Accepted,
    Over,
}

/// What a password in clear is for.
#[derive(Debug)]
enum Clear {
    /// An exchange that is still to begin.
    Begin(Offer),
    /// One that waits for its last message.
    Resume(Box<client::Challenged>, Method),
}

type Stepped<G> = Result<Step<G>, WireError>;

impl Login {
    /// Begins where [`Greeted::Startup`](super::session::Greeted) has led, and
    /// writes the startup packet. `given` is the one of the terms' logins that
    /// fits this workload.
    pub fn begin(
        machine: Authenticating,
        startup: &Startup<'_>,
        facts: Facts,
        terms: &AuthTerms,
        given: Option<&model::Login>,
        chance: Chance,
        out: &mut Sends,
    ) -> Result<Self, WireError> {
        let user = startup.user();
        let most = machine.limits().iterations;
        let mut account = Account {
            role: user.into(),
            claimed: None,
            way: Way::Through,
            why: Why::Unhindered,
            client: Method::None,
            server: Method::None,
            stale: false,
            broken: false,
        };
        let mut stage = Stage::Opening;
        let mut lookup = if terms.query.is_some() { Lookup::Ask } else { Lookup::Absent };
        if let Some(given) = given {
            let role = given.role.as_bytes();
            write_startup_as(role, user, startup, &mut out.server).map_err(inside)?;
            account.claimed = Some(user.into());
            account.role = role.into();
            account.way = Way::Given;
            account.why = Why::Settings;
            let password = Password::new(given.password.0.clone());
            let leg = facts.server.clone();
            let answering = Answering::new(role, password, leg, chance.to_server, most);
            stage = Stage::Answering(Box::new(answering));
        } else {
            Opening::Startup(*startup).encode(&mut out.server).map_err(inside)?;
            let known = terms.verifiers.iter().filter(|known| known.role.as_bytes() == user);
            let (known, broken): (Vec<_>, Vec<_>) =
                known.map(|known| Verifier::parse(&known.verifier.0)).partition(Result::is_ok);
            account.broken = known.is_empty() && !broken.is_empty();
            if !known.is_empty() {
                lookup = Lookup::Given(known.into_iter().flatten().collect());
            }
        }
        Ok(Self {
            machine: Some(machine),
            facts,
            mode: terms.mode,
            forbid_cleartext: terms.forbid_cleartext,
            lookup,
            may_ask: terms.query.is_some(),
            chance,
            most,
            stage,
            account,
            switched: false,
        })
    }

    /// How the client is logged in, as far as that has come.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What the client was asked for and hasn't answered.
    pub fn awaits_client(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.asked().is_some())
    }

    /// To be asked when the client's leg ends: it went away because it was asked
    /// for its password in clear.
    pub fn left(&self) -> Option<Left> {
        match self.stage {
            Stage::Clear(_) if self.switched => Some(Left::Switched),
            Stage::Clear(_) if self.account.why == Why::Known => Some(Left::AtOnce),
            _ => None,
        }
    }

    /// Takes a client frame.
    pub fn client<G: Gate>(&mut self, frame: &Frame<'_>, out: &mut Sends) -> Stepped<G> {
        self.is_decided()?;
        let Some(machine) = self.machine.as_mut() else { return Ok(Step::Early) };
        let (kind, credential) = match machine.client(frame)? {
            ClientLogin::Early => return Ok(Step::Early),
            ClientLogin::Terminate(_) => {
                out.server.extend_from_slice(frame.bytes);
                self.stage = Stage::Over;
                return Ok(Step::Over(Over::Client));
            }
            ClientLogin::Credential(_, kind, credential) => (kind, credential),
        };
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Through { bound } => {
                if kind == CredentialKind::SaslInitial {
                    let initial = credential.sasl_initial().map_err(of_client)?;
                    if let (Some(offer), true) = (bound, binds(initial.mechanism)) {
                        return self.cannot_pass(offer, out);
                    }
                    self.account.server = sasl_method(initial.mechanism);
                    self.account.client = self.account.server;
                }
                out.server.extend_from_slice(frame.bytes);
                self.stage = Stage::Through { bound: None };
                Ok(Step::Going)
            }
            Stage::Verified(verified) => self.client_proves(*verified, kind, credential, out),
            Stage::Clear(clear) => self.password(clear, credential, out),
            stage => {
                self.stage = stage;
                Err(of_client(Fault::OutOfPlace {
                    message: "a credential",
                    phase: "none was asked for",
                }))
            }
        }
    }

    /// Takes a server frame.
    pub fn server<G: Gate>(&mut self, frame: &Frame<'_>, out: &mut Sends) -> Stepped<G> {
        self.is_decided()?;
        let machine = self.machine.take().ok_or_else(|| {
            of_server(Fault::OutOfPlace { message: "a message", phase: "the login is over" })
        })?;
        let asked = machine.asked();
        match machine.server(frame)? {
            ServerLogin::Failed(_, fields) => {
                let state = fields.sqlstate().unwrap_or_default().iter();
                let state = state.filter(|sign| sign.is_ascii_alphanumeric()).take(5);
                let over =
                    Over::Server(state.map(|sign| char::from(*sign)).collect::<String>().into());
                out.client.extend_from_slice(frame.bytes);
                self.stage = Stage::Over;
                Ok(Step::Over(over))
            }
            ServerLogin::Ready(session, _) => {
                out.client.extend_from_slice(frame.bytes);
                self.stage = Stage::Over;
                Ok(Step::Ready(session))
            }
            ServerLogin::Going(machine, _, said) => {
                self.machine = Some(machine);
                match said {
                    Said::Other(_) => {
                        out.client.extend_from_slice(frame.bytes);
                        Ok(Step::Going)
                    }
                    Said::Accepted => self.accepted(frame, out),
                    Said::Asks(asks) => self.asks(asks, asked, frame, out),
                }
            }
        }
    }

    /// The verifier that was asked for: as `pg_authid` has it, or nothing.
    pub fn verifier<G: Gate>(&mut self, found: Option<&[u8]>, out: &mut Sends) -> Stepped<G> {
        let verifier = match found.map(Verifier::parse) {
            Some(Ok(verifier)) => Some(verifier),
            Some(Err(_)) => {
                self.account.broken = true;
                None
            }
            None => None,
        };
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Fetching { offer, offered } => match verifier {
                Some(verifier) => self.begin_verified(offer, vec![verifier], out),
                // Nobody shall learn which roles there are.
                None if self.mode == AuthMode::Verifier => {
                    self.begin_verified(offer, Vec::new(), out)
                }
                None => self.without_verifier(offer, &offered, out),
            },
            Stage::Verified(verified) => self.fetched_again(*verified, verifier, out),
            stage => {
                self.stage = stage;
                Err(inside(Fault::Undecided))
            }
        }
    }

    /// The password is hashed.
    pub fn derived<G: Gate>(&mut self, salted: &Salted, out: &mut Sends) -> Stepped<G> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Deriving(mut answering) => {
                answering.derived(salted, &mut out.server).map_err(inside)?;
                self.stage = Stage::Answering(answering);
                Ok(Step::Going)
            }
            stage => {
                self.stage = stage;
                Err(inside(Fault::Undecided))
            }
        }
    }

    /// A frame came although something else was to come first.
    fn is_decided(&self) -> Result<(), WireError> {
        let waits = match &self.stage {
            Stage::Fetching { .. } | Stage::Deriving(_) => true,
            Stage::Verified(verified) => verified.is_fetching(),
            _ => false,
        };
        if waits { Err(inside(Fault::Undecided)) } else { Ok(()) }
    }

    fn accepted<G: Gate>(&mut self, frame: &Frame<'_>, out: &mut Sends) -> Stepped<G> {
        match &self.stage {
            Stage::Opening | Stage::Through { .. } => {}
            Stage::Answering(answering) if answering.may_be_accepted() => {
                self.account.server = answering.method();
            }
            Stage::Verified(verified) if verified.is_complete() => {}
            // Its proof was wrong, and this server doesn't care.
            Stage::Verified(verified) if verified.is_doomed() => {
                return self.deny(Denial::WrongPassword, out);
            }
            _ => return Err(of_server(Fault::Unasked)),
        }
        self.stage = Stage::Accepted;
        out.client.extend_from_slice(frame.bytes);
        Ok(Step::Going)
    }

    /// The server asks for something; `asked` is what the client owes.
    fn asks<G: Gate>(
        &mut self,
        asks: Authentication<'_>,
        asked: Option<CredentialKind>,
        frame: &Frame<'_>,
        out: &mut Sends,
    ) -> Stepped<G> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Opening => self.opened(asks, frame, out),
            Stage::Through { bound } => {
                out.client.extend_from_slice(frame.bytes);
                self.stage = Stage::Through { bound };
                Ok(Step::Going)
            }
            Stage::Verified(verified) => {
                self.ask(asked);
                self.server_of_verified(*verified, asks, out)
            }
            Stage::Answering(mut answering) => {
                self.ask(None);
                let needs = match answering.asked(asks, &mut out.server) {
                    Ok(needs) => needs,
                    Err(unanswered) => return self.unanswered(unanswered, out),
                };
                self.account.server = answering.method();
                Ok(match needs {
                    Needs::Nothing => {
                        self.stage = Stage::Answering(answering);
                        Step::Going
                    }
                    Needs::Derived(derivation) => {
                        self.stage = Stage::Deriving(answering);
                        Step::Derive(derivation)
                    }
                })
            }
            _ => Err(of_server(Fault::OutOfPlace {
                message: "Authentication",
                phase: "the client's answer is awaited",
            })),
        }
    }

    /// The server's first word.
    fn opened<G: Gate>(
        &mut self,
        asks: Authentication<'_>,
        frame: &Frame<'_>,
        out: &mut Sends,
    ) -> Stepped<G> {
        let method = match asks {
            Authentication::Cleartext => Method::Cleartext,
            Authentication::Md5 { .. } => Method::Md5,
            Authentication::Sasl { mechanisms } => {
                let offer = Offer::of(mechanisms.iter());
                if self.facts.client == Leg::Plain && offer.binds && self.facts.server != Leg::Plain
                {
                    return self.offered_to_plain(offer, mechanisms.iter(), out);
                }
                return self.offered(offer, frame.bytes, out);
            }
            other => return self.deny(Denial::Method(method_name(&other)), out),
        };
        self.account.client = method;
        self.account.server = method;
        self.pass(frame.bytes, None, out)
    }

    /// SASL is offered; `offered` is the message.
    fn offered<G: Gate>(&mut self, offer: Offer, offered: &[u8], out: &mut Sends) -> Stepped<G> {
        let speakable = offer.speakable(&self.facts.server);
        let tls = self.facts.client != Leg::Plain;
        match self.mode {
            AuthMode::Verifier if speakable => match self.lookup() {
                Lookup::Given(known) => self.begin_verified(offer, known, out),
                Lookup::Ask => self.fetch(offer, offered),
                Lookup::Absent if self.account.broken => self.deny(Denial::BrokenVerifier, out),
                Lookup::Absent => self.deny(Denial::NoVerifier, out),
            },
            AuthMode::Cleartext if speakable && tls => {
                self.account.why = Why::Settings;
                self.ask_in_clear(Clear::Begin(offer), out)
            }
            AuthMode::Auto if offer.binds && tls && speakable => match self.lookup() {
                Lookup::Given(known) => self.begin_verified(offer, known, out),
                Lookup::Ask => self.fetch(offer, offered),
                Lookup::Absent => self.without_verifier(offer, offered, out),
            },
            _ => {
                let bound = (offer.binds && tls).then_some(offer);
                self.pass(offered, bound, out)
            }
        }
    }
}

/// The startup packet with another role in it. A database that isn't named is
/// the one of the client's own name, and stays it.
fn write_startup_as(
    role: &[u8],
    user: &[u8],
    startup: &Startup<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let named = startup.parameter(b"database").is_some_and(|name| !name.is_empty());
    let database = (!named && !user.is_empty()).then_some((b"database".as_slice(), user));
    let others = startup
        .parameters()
        .filter(|(name, _)| *name != b"user" && (named || *name != b"database"));
    let parameters = [(b"user".as_slice(), role)].into_iter().chain(database).chain(others);
    Startup::write(startup.version, parameters, out)
}

fn write_authentication(asks: Authentication<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
    Backend::Authentication(asks).encode(out).map_err(inside)
}

fn sasl_method(mechanism: &[u8]) -> Method {
    match mechanism {
        super::scram::PLAIN => Method::Scram,
        super::scram::PLUS => Method::ScramPlus,
        _ => Method::Other,
    }
}

fn of_client(fault: Fault) -> WireError {
    fault.at(Side::Client)
}

fn of_server(fault: Fault) -> WireError {
    fault.at(Side::Server)
}

fn inside(fault: Fault) -> WireError {
    fault.at(Side::Inside)
}

#[cfg(test)]
pub(super) mod tests;
