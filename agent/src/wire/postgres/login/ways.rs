//! What a login does when it is clear which way it goes.

use super::answering::{Answering, Offer, Unanswered, binds};
use super::{
    Clear, Denial, Leg, Login, Lookup, Method, Over, Sends, Stage, Step, Stepped, Way, Why, inside,
    of_client, of_server, write_authentication,
};
use crate::model::AuthMode;
use crate::wire::postgres::backend::Authentication;
use crate::wire::postgres::error::Fault;
use crate::wire::postgres::frontend::Credential;
use crate::wire::postgres::scram::Password;
use crate::wire::postgres::session::{CredentialKind, Gate};

impl Login {
    /// Lets through what the server asks. `bound`: the client may choose what
    /// can't pass.
    pub(super) fn pass<G: Gate>(
        &mut self,
        asks: &[u8],
        bound: Option<Offer>,
        out: &mut Sends,
    ) -> Stepped<G> {
        if bound.is_some() {
            self.account.why = Why::ClientUnbound;
        }
        out.client.extend_from_slice(asks);
        self.stage = Stage::Through { bound };
        Ok(Step::Going)
    }

    /// A client without TLS is offered nothing that is bound to TLS: it would
    /// take that for an attack.
    pub(super) fn offered_to_plain<'m, G: Gate>(
        &mut self,
        offer: Offer,
        mechanisms: impl Iterator<Item = &'m [u8]>,
        out: &mut Sends,
    ) -> Stepped<G> {
        if !offer.unbound {
            return self.deny(Denial::NothingOffered, out);
        }
        let mut made = Vec::new();
        let mechanisms = mechanisms.filter(|mechanism| !binds(mechanism));
        Authentication::write_sasl(mechanisms, &mut made).map_err(inside)?;
        if self.mode != AuthMode::Verifier {
            self.account.why = Why::ClientPlain;
        }
        self.offered(offer, &made, out)
    }

    /// No verifier is known, and the server offers a binding.
    pub(super) fn without_verifier<G: Gate>(
        &mut self,
        offer: Offer,
        offered: &[u8],
        out: &mut Sends,
    ) -> Stepped<G> {
        if self.facts.clear_at_once && !self.forbid_cleartext {
            self.account.why = Why::Known;
            return self.ask_in_clear(Clear::Begin(offer), out);
        }
        self.ask(Some(CredentialKind::SaslInitial));
        self.pass(offered, Some(offer), out)
    }

    /// The client has bound itself to our TLS session with it.
    pub(super) fn cannot_pass<G: Gate>(&mut self, offer: Offer, out: &mut Sends) -> Stepped<G> {
        self.account.why = Why::Bound;
        if self.mode == AuthMode::Auto && offer.speakable(&self.facts.server) {
            self.switched = !self.forbid_cleartext;
            self.ask_in_clear(Clear::Begin(offer), out)
        } else {
            self.deny(Denial::Bound, out)
        }
    }

    pub(super) fn ask_in_clear<G: Gate>(&mut self, clear: Clear, out: &mut Sends) -> Stepped<G> {
        if self.forbid_cleartext {
            return self.deny(Denial::ClearForbidden, out);
        }
        // INVARIANT: nothing else asks for a password in clear, and no way leads
        // here without TLS.
        if self.facts.client == Leg::Plain {
            return Err(inside(Fault::OutOfPlace {
                message: "a request for a password",
                phase: "the client has no TLS",
            }));
        }
        write_authentication(Authentication::Cleartext, &mut out.client)?;
        self.ask(Some(CredentialKind::Password));
        self.account.way = Way::Cleartext;
        self.account.client = Method::Cleartext;
        self.stage = Stage::Clear(clear);
        Ok(Step::Going)
    }

    /// The client's password has come.
    pub(super) fn password<G: Gate>(
        &mut self,
        clear: Clear,
        credential: Credential<'_>,
        out: &mut Sends,
    ) -> Stepped<G> {
        let password = Password::new(credential.password().map_err(of_client)?.to_vec());
        let leg = self.facts.server.clone();
        let nonce = self.chance.to_server;
        let mut answering = Answering::new(&self.account.role, password, leg, nonce, self.most);
        match clear {
            Clear::Begin(offer) => {
                if let Err(unanswered) = answering.begin(offer, &mut out.server) {
                    return self.unanswered(unanswered, out);
                }
                self.account.server = answering.method();
                self.stage = Stage::Answering(Box::new(answering));
                Ok(Step::Going)
            }
            Clear::Resume(challenged, method) => {
                let (answering, derivation) = answering.resume(*challenged, method);
                self.stage = Stage::Deriving(Box::new(answering));
                Ok(Step::Derive(derivation))
            }
        }
    }

    pub(super) fn fetch<G: Gate>(&mut self, offer: Offer, offered: &[u8]) -> Stepped<G> {
        self.ask(None);
        self.stage = Stage::Fetching { offer, offered: offered.into() };
        Ok(Step::Verifier { role: self.account.role.clone(), again: false })
    }

    pub(super) fn lookup(&mut self) -> Lookup {
        std::mem::replace(&mut self.lookup, Lookup::Absent)
    }

    /// What the client owes from now on, whatever the server asked.
    pub(super) fn ask(&mut self, kind: Option<CredentialKind>) {
        if let Some(machine) = &mut self.machine {
            machine.ask(kind);
        }
    }

    pub(super) fn unanswered<G: Gate>(
        &mut self,
        unanswered: Unanswered,
        out: &mut Sends,
    ) -> Stepped<G> {
        match unanswered {
            Unanswered::Wire(fault) => Err(of_server(fault)),
            Unanswered::Denied(denial) => self.deny(denial, out),
        }
    }

    /// The server is told nothing: it sees a client that goes away.
    pub(super) fn deny<G: Gate>(&mut self, denial: Denial, out: &mut Sends) -> Stepped<G> {
        let role = self.account.claimed.as_ref().unwrap_or(&self.account.role);
        denial.write(role, &mut out.client).map_err(inside)?;
        self.machine = None;
        self.stage = Stage::Over;
        Ok(Step::Over(Over::Denied(denial)))
    }
}
