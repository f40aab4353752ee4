//! Answers a server with a password: what a client does in a login.

use zeroize::Zeroizing;

use super::{Denial, Leg};
use crate::wire::postgres::backend::Authentication;
use crate::wire::postgres::error::Fault;
use crate::wire::postgres::frontend::{Credential, SaslInitial};
use crate::wire::postgres::login::Method;
use crate::wire::postgres::scram::client::{self, Binding};
use crate::wire::postgres::scram::{self, Derivation, Nonce, Password, Salted, Verifier};
use crate::wire::postgres::{md5, write_sasl_response};

/// Which kinds of SCRAM a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub plain: bool,
    pub plus: bool,
    /// Anything that binds to TLS, whether we know it or not.
    pub binds: bool,
    /// Anything that doesn't.
    pub unbound: bool,
}

impl Offer {
    pub fn of<'m>(mechanisms: impl Iterator<Item = &'m [u8]>) -> Self {
        let mut offer = Self::default();
        for mechanism in mechanisms {
            offer.plain |= mechanism == scram::PLAIN;
            offer.plus |= mechanism == scram::PLUS;
            if binds(mechanism) {
                offer.binds = true;
            } else {
                offer.unbound = true;
            }
        }
        offer
    }

    /// Whether there is one that we can speak over this leg.
    pub fn speakable(self, leg: &Leg) -> bool {
        self.plain || self.plus && matches!(leg, Leg::Tls(Some(_)))
    }

    /// How to bind over this leg. To say "you offer none" to a server that does
    /// would look to it like an attack.
    pub fn binding(self, leg: &Leg) -> Binding {
        match leg {
            Leg::Tls(Some(end_point)) if self.plus => Binding::To(end_point.clone()),
            Leg::Tls(Some(_)) => Binding::Unoffered,
            Leg::Tls(None) | Leg::Plain => Binding::Unable,
        }
    }
}

/// Whether a mechanism is bound to the TLS session by its name.
pub fn binds(mechanism: &[u8]) -> bool {
    mechanism.ends_with(b"-PLUS")
}

#[derive(Debug)]
pub struct Answering {
    role: Box<[u8]>,
    password: Password,
    leg: Leg,
    nonce: Nonce,
    most: u32,
    method: Method,
    state: State,
    verifier: Option<Verifier>,
}

#[derive(Debug)]
enum State {
    /// The server hasn't asked.
    Unasked,
    Begun(client::Begun),
    Deriving(client::Challenged),
    Proven(client::Proven),
    /// All that was asked is answered, and the server has proven itself where
    /// it can.
    Done,
}

/// What an answer needs.
#[derive(Debug)]
pub enum Needs {
    Nothing,
    Derived(Derivation),
}

#[derive(Debug)]
pub enum Unanswered {
    Wire(Fault),
    Denied(Denial),
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Wire(fault)
    }
}

impl Answering {
    pub fn new(role: &[u8], password: Password, leg: Leg, nonce: Nonce, most: u32) -> Self {
        Self {
            role: role.into(),
            password,
            leg,
            nonce,
            most,
            method: Method::None,
            state: State::Unasked,
            verifier: None,
        }
    }

    /// Goes on with an exchange that is under way.
    pub fn resume(mut self, challenged: client::Challenged, method: Method) -> (Self, Derivation) {
        let derivation =
            Derivation::new(&self.password, challenged.salt(), challenged.iterations());
        self.method = method;
        self.state = State::Deriving(challenged);
        (self, derivation)
    }

    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether the server may let the client in now.
    pub fn may_be_accepted(&self) -> bool {
        matches!(self.state, State::Unasked | State::Done)
    }

    /// What the server keeps of the password, once it has proven itself.
    pub fn into_verifier(self) -> Option<Verifier> {
        self.verifier.filter(|_| matches!(self.state, State::Done))
    }

    pub fn asked(
        &mut self,
        asked: Authentication<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Needs, Unanswered> {
        let state = std::mem::replace(&mut self.state, State::Done);
        match (state, asked) {
            (State::Unasked, Authentication::Cleartext) => {
                if self.leg == Leg::Plain {
                    return Err(Unanswered::Denied(Denial::PlainPassword));
                }
                self.method = Method::Cleartext;
                Credential::write_password(self.password.bytes(), out)?;
                Ok(Needs::Nothing)
            }
            (State::Unasked, Authentication::Md5 { salt }) => {
                self.method = Method::Md5;
                let hashed = Zeroizing::new(md5::password(&self.role, self.password.bytes(), salt));
                Credential::write_password(&hashed, out)?;
                Ok(Needs::Nothing)
            }
            (State::Unasked, Authentication::Sasl { mechanisms }) => {
                self.begin(Offer::of(mechanisms.iter()), out)?;
                Ok(Needs::Nothing)
            }
            (State::Begun(begun), Authentication::SaslContinue(message)) => {
                let challenged = begun.challenged(message, self.most)?;
                let derivation =
                    Derivation::new(&self.password, challenged.salt(), challenged.iterations());
                self.state = State::Deriving(challenged);
                Ok(Needs::Derived(derivation))
            }
            (State::Proven(proven), Authentication::SaslFinal(message)) => {
                proven.server_proves(message)?;
                Ok(Needs::Nothing)
            }
            (State::Unasked, other) => {
                Err(Unanswered::Denied(Denial::Unanswerable(method_name(&other))))
            }
            _ => Err(Unanswered::Wire(Fault::OutOfPlace {
                message: "Authentication",
                phase: "another answer was awaited",
            })),
        }
    }

    pub fn begin(&mut self, offer: Offer, out: &mut Vec<u8>) -> Result<(), Unanswered> {
        if !offer.speakable(&self.leg) {
            let other = Denial::Unanswerable("a SASL mechanism other than SCRAM-SHA-256");
            return Err(Unanswered::Denied(other));
        }
        let (begun, mechanism, first) = client::begin(offer.binding(&self.leg), self.nonce);
        self.method = if begun.is_bound() { Method::ScramPlus } else { Method::Scram };
        SaslInitial { mechanism, data: Some(Credential(&first)) }.encode(out)?;
        self.state = State::Begun(begun);
        Ok(())
    }

    /// The password is hashed. Without being asked for, it is nothing.
    pub fn derived(&mut self, salted: &Salted, out: &mut Vec<u8>) -> Result<(), Fault> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Deriving(challenged) => {
                self.verifier = Some(salted.verifier(challenged.salt(), challenged.iterations()));
                let (last, proven) = challenged.prove(&salted.client_key(), &salted.server_key());
                self.state = State::Proven(proven);
                write_sasl_response(&last, out)
            }
            other => {
                self.state = other;
                Err(Fault::Undecided)
            }
        }
    }
}

pub fn method_name(asked: &Authentication<'_>) -> &'static str {
    match asked {
        Authentication::KerberosV5 => "Kerberos V5",
        Authentication::Crypt { .. } => "crypt",
        Authentication::ScmCredential => "an SCM credential",
        Authentication::Gss | Authentication::GssContinue(_) => "GSSAPI",
        Authentication::Sspi => "SSPI",
        _ => "something else than a password",
    }
}
