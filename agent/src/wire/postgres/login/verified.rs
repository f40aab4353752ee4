//! A client that is proven by its role's verifier, and whose proof yields the
//! key for the server.
//!
//! The server is asked first: its salt says whether the verifier still fits,
//! and only then is the client challenged, with that same salt.

use super::account::Method;
use super::answering::Offer;
use super::{
    Clear, Denial, Leg, Login, Sends, Stage, Step, Stepped, Way, Why, inside, of_client, of_server,
    write_authentication,
};
use crate::model::AuthMode;
use crate::wire::postgres::backend::Authentication;
use crate::wire::postgres::error::Fault;
use crate::wire::postgres::frontend::{Credential, SaslInitial, write_sasl_response};
use crate::wire::postgres::scram::Verifier;
use crate::wire::postgres::scram::client::{self, Challenged};
use crate::wire::postgres::scram::server::{Challenging, Judged, Offered, Rejection};
use crate::wire::postgres::session::{CredentialKind, Gate};

#[derive(Debug)]
pub struct Verified {
    /// `None`: the role has none. The client is challenged all the same, and
    /// fails.
    verifier: Option<Box<Verifier>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The server's challenge is awaited; it says which of the role's
    /// verifiers fits.
    Begun(client::Begun, Vec<Verifier>),
    /// The verifier doesn't fit, and is fetched anew.
    Again(Challenged),
    /// The client was made an offer.
    Offered(Challenged, Offered),
    /// It has chosen, and not begun.
    Chosen(Challenged, Offered),
    /// The client was challenged.
    Challenged(Challenged, Challenging),
    /// Our proof is with the server; what proves us to the client waits for
    /// the server's own.
    Proving(client::Proven, Vec<u8>),
    /// Both are proven.
    Complete,
    /// The client's proof was wrong, and the server was sent a wrong one.
    Doomed,
}

impl Verified {
    pub fn is_fetching(&self) -> bool {
        matches!(self.state, State::Again(_))
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    pub fn is_doomed(&self) -> bool {
        matches!(self.state, State::Doomed)
    }
}

impl Login {
    /// Begins with the server, who thinks that the client is speaking.
    pub(super) fn begin_verified<G: Gate>(
        &mut self,
        offer: Offer,
        known: Vec<Verifier>,
        out: &mut Sends,
    ) -> Stepped<G> {
        self.ask(None);
        self.account.way = Way::Verifier;
        self.account.why = if self.mode == AuthMode::Verifier { Why::Settings } else { Why::Bound };
        let binding = offer.binding(&self.facts.server);
        let (begun, mechanism, first) = client::begin(binding, self.chance.to_server);
        self.account.server = if begun.is_bound() { Method::ScramPlus } else { Method::Scram };
        SaslInitial { mechanism, data: Some(Credential(&first)) }
            .encode(&mut out.server)
            .map_err(inside)?;
        self.go_on(None, State::Begun(begun, known))
    }

    /// The server asks while the client is proven.
    pub(super) fn server_of_verified<G: Gate>(
        &mut self,
        verified: Verified,
        asks: Authentication<'_>,
        out: &mut Sends,
    ) -> Stepped<G> {
        match (verified.state, asks) {
            (State::Begun(begun, known), Authentication::SaslContinue(message)) => {
                let challenged = begun.challenged(message, self.most).map_err(of_server)?;
                let nobody = known.is_empty();
                // Those that don't fit are of no more use.
                let fitting = known.into_iter().find(|verifier| fits(verifier, &challenged));
                if nobody || fitting.is_some() {
                    self.offer(fitting.map(Box::new), challenged, out)
                } else if self.may_ask {
                    self.may_ask = false;
                    let state = State::Again(challenged);
                    self.stage = Stage::Verified(Box::new(Verified { verifier: None, state }));
                    Ok(Step::Verifier { role: self.account.role.clone(), again: true })
                } else {
                    self.stale(challenged, out)
                }
            }
            (State::Proving(proven, last), Authentication::SaslFinal(message)) => {
                proven.server_proves(message).map_err(of_server)?;
                write_authentication(Authentication::SaslFinal(&last), &mut out.client)?;
                self.go_on(verified.verifier, State::Complete)
            }
            // A server that takes a wrong proof.
            (State::Doomed, Authentication::SaslFinal(_)) => self.deny(Denial::WrongPassword, out),
            _ => Err(of_server(Fault::OutOfPlace {
                message: "Authentication",
                phase: "the client's answer is awaited",
            })),
        }
    }

    /// The verifier that was asked for again.
    pub(super) fn fetched_again<G: Gate>(
        &mut self,
        verified: Verified,
        verifier: Option<Verifier>,
        out: &mut Sends,
    ) -> Stepped<G> {
        let State::Again(challenged) = verified.state else {
            return Err(inside(Fault::Undecided));
        };
        match verifier.filter(|verifier| fits(verifier, &challenged)) {
            Some(verifier) => self.offer(Some(Box::new(verifier)), challenged, out),
            None => self.stale(challenged, out),
        }
    }

    /// The client's part.
    pub(super) fn client_proves<G: Gate>(
        &mut self,
        verified: Verified,
        kind: CredentialKind,
        credential: Credential<'_>,
        out: &mut Sends,
    ) -> Stepped<G> {
        let Verified { verifier, state } = verified;
        match (state, kind) {
            (State::Offered(challenged, offered), CredentialKind::SaslInitial) => {
                let SaslInitial { mechanism, data } =
                    credential.sasl_initial().map_err(of_client)?;
                let offered = match offered.chosen(mechanism) {
                    Ok(offered) => offered,
                    Err(rejection) => return self.reject(rejection, out),
                };
                self.account.client =
                    if offered.is_bound() { Method::ScramPlus } else { Method::Scram };
                match data {
                    Some(data) => self.challenge(verifier, challenged, offered, data.0, out),
                    None => {
                        write_authentication(Authentication::SaslContinue(b""), &mut out.client)?;
                        self.ask(Some(CredentialKind::SaslResponse));
                        self.go_on(verifier, State::Chosen(challenged, offered))
                    }
                }
            }
            (State::Chosen(challenged, offered), _) => {
                self.challenge(verifier, challenged, offered, credential.0, out)
            }
            (State::Challenged(challenged, challenging), _) => {
                match challenging.last(credential.0, verifier.as_deref()) {
                    Err(rejection) => self.reject(rejection, out),
                    Ok(Judged::Good(key, last)) => {
                        let Some(known) = &verifier else { return Err(inside(Fault::Undecided)) };
                        let (answer, proven) = challenged.prove(&key, known.server_key());
                        write_sasl_response(&answer, &mut out.server).map_err(inside)?;
                        self.go_on(verifier, State::Proving(proven, last))
                    }
                    // The server says no in its own words, and notes it.
                    Ok(Judged::Wrong) => {
                        let answer = challenged.fail(self.chance.decoy);
                        write_sasl_response(&answer, &mut out.server).map_err(inside)?;
                        self.go_on(verifier, State::Doomed)
                    }
                }
            }
            _ => Err(of_client(Fault::OutOfPlace {
                message: "a credential",
                phase: "none was asked for",
            })),
        }
    }

    /// Offers SCRAM to the client, bound to our TLS session with it.
    fn offer<G: Gate>(
        &mut self,
        verifier: Option<Box<Verifier>>,
        challenged: Challenged,
        out: &mut Sends,
    ) -> Stepped<G> {
        let offered = Offered::new(match &self.facts.client {
            Leg::Tls(end_point) => end_point.clone(),
            Leg::Plain => None,
        });
        Authentication::write_sasl(offered.mechanisms(), &mut out.client).map_err(inside)?;
        self.ask(Some(CredentialKind::SaslInitial));
        self.account.client = Method::Scram;
        self.go_on(verifier, State::Offered(challenged, offered))
    }

    fn challenge<G: Gate>(
        &mut self,
        verifier: Option<Box<Verifier>>,
        challenged: Challenged,
        offered: Offered,
        first: &[u8],
        out: &mut Sends,
    ) -> Stepped<G> {
        let begun = match offered.first(first) {
            Ok(begun) => begun,
            Err(rejection) => return self.reject(rejection, out),
        };
        let (challenging, message) =
            begun.challenge(challenged.salt(), challenged.iterations(), self.chance.to_client);
        write_authentication(Authentication::SaslContinue(&message), &mut out.client)?;
        self.ask(Some(CredentialKind::SaslResponse));
        self.go_on(verifier, State::Challenged(challenged, challenging))
    }

    /// The password was changed at the server. With the password itself the
    /// exchange can go on.
    fn stale<G: Gate>(&mut self, challenged: Challenged, out: &mut Sends) -> Stepped<G> {
        self.account.stale = true;
        let clear = self.mode == AuthMode::Auto
            && !self.forbid_cleartext
            && self.facts.client != Leg::Plain;
        if !clear {
            return self.deny(Denial::StaleVerifier, out);
        }
        self.account.why = Why::Stale;
        self.ask_in_clear(Clear::Resume(Box::new(challenged), self.account.server), out)
    }

    fn reject<G: Gate>(&mut self, rejection: Rejection, out: &mut Sends) -> Stepped<G> {
        self.deny(Denial::Rejected(rejection), out)
    }

    fn go_on<G: Gate>(&mut self, verifier: Option<Box<Verifier>>, state: State) -> Stepped<G> {
        self.stage = Stage::Verified(Box::new(Verified { verifier, state }));
        Ok(Step::Going)
    }
}

/// Whether a verifier is of the password that the server has now.
fn fits(verifier: &Verifier, challenged: &Challenged) -> bool {
    verifier.salt() == challenged.salt() && verifier.iterations() == challenged.iterations()
}
