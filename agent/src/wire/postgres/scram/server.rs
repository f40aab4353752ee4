//! The server's role, towards a client: with PostgreSQL's own judgement and in
//! its own words, so that a client's mistakes look as they would without us.

use std::num::NonZeroU32;

use super::client::auth_message;
use super::keys::{ClientKey, Key, Verifier};
use super::message::{Attributes, printable};
use super::{BINDING, EndPoint, Nonce, PLAIN, PLUS, decode, encode};

/// Why a client is turned away, beyond a wrong password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub sqlstate: &'static str,
    pub message: &'static str,
    pub detail: Option<&'static str>,
}

/// An exchange before its first message.
#[derive(Debug)]
pub struct Offered {
    /// What a client can bind to; `None`: nothing is offered.
    end_point: Option<EndPoint>,
    bound: bool,
}

/// The client has begun.
#[derive(Debug)]
pub struct Begun {
    end_point: Option<EndPoint>,
    /// `p=…,,`, `y,,` or `n,,`.
    header: Box<[u8]>,
    client_first: Box<[u8]>,
    client_nonce: Box<[u8]>,
}

/// The client was challenged.
#[derive(Debug)]
pub struct Challenging {
    begun: Begun,
    nonce: Box<[u8]>,
    server_first: Box<[u8]>,
}

/// What the client's last message is worth.
#[derive(Debug)]
pub enum Judged {
    /// The client knows the password: its key, and what proves us to it.
    Good(ClientKey, Vec<u8>),
    Wrong,
}

impl Offered {
    pub fn new(end_point: Option<EndPoint>) -> Self {
        Self { end_point, bound: false }
    }

    pub fn mechanisms(&self) -> impl Iterator<Item = &'static [u8]> {
        self.end_point.is_some().then_some(PLUS).into_iter().chain([PLAIN])
    }

    /// The client has chosen.
    pub fn chosen(self, mechanism: &[u8]) -> Result<Self, Rejection> {
        match mechanism {
            PLAIN => Ok(Self { bound: false, ..self }),
            PLUS if self.end_point.is_some() => Ok(Self { bound: true, ..self }),
            _ => Err(protocol("client selected an invalid SASL authentication mechanism", None)),
        }
    }

    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Takes the client's first message.
    pub fn first(self, message: &[u8]) -> Result<Begun, Rejection> {
        check(message)?;
        let bare = match message {
            [b'n' | b'y', ..] if self.bound => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not \
                     include channel binding data.",
                ));
            }
            [b'y', ..] if self.end_point.is_some() => {
                return Err(Rejection {
                    sqlstate: AUTHORIZATION,
                    message: "SCRAM channel binding negotiation error",
                    detail: Some(
                        "The client supports SCRAM channel binding but thinks the server does \
                         not.  However, this server does support channel binding.",
                    ),
                });
            }
            [b'n' | b'y', rest @ ..] => rest,
            [b'p', ..] if !self.bound => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM \
                     message includes channel binding data.",
                ));
            }
            [b'p', b'=', rest @ ..] => {
                let Some(rest) = rest.strip_prefix(BINDING).filter(|rest| ends(rest)) else {
                    return Err(protocol("unsupported SCRAM channel-binding type", None));
                };
                rest
            }
            _ => return Err(malformed("Unexpected channel-binding flag.")),
        };
        let Some(bare) = bare.strip_prefix(b",") else {
            return Err(malformed("Comma expected."));
        };
        if bare.first() == Some(&b'a') {
            return Err(unsupported("client uses authorization identity, but it is not supported"));
        }
        let Some(bare) = bare.strip_prefix(b",") else {
            return Err(malformed("Unexpected attribute in client-first-message."));
        };
        if bare.first() == Some(&b'm') {
            return Err(unsupported("client requires an unsupported SCRAM extension"));
        }
        let mut attributes = Attributes::new(bare);
        attributes.expect(b'n').map_err(attribute)?;
        let nonce = attributes.expect(b'r').map_err(attribute)?;
        if !printable(nonce) {
            return Err(protocol("non-printable characters in SCRAM nonce", None));
        }
        while !attributes.rest().is_empty() {
            attributes.any().map_err(attribute)?;
        }
        let header = message.len().saturating_sub(bare.len());
        Ok(Begun {
            end_point: self.end_point.filter(|_| self.bound),
            header: message.get(..header).unwrap_or_default().into(),
            client_first: bare.into(),
            client_nonce: nonce.into(),
        })
    }
}

impl Begun {
    pub fn challenge(
        self,
        salt: &[u8],
        iterations: NonZeroU32,
        nonce: Nonce,
    ) -> (Challenging, Vec<u8>) {
        self.challenge_by(salt, iterations, nonce.text().as_bytes())
    }

    pub(super) fn challenge_by(
        self,
        salt: &[u8],
        iterations: NonZeroU32,
        nonce: &[u8],
    ) -> (Challenging, Vec<u8>) {
        let nonce = [&self.client_nonce, nonce].concat();
        let first =
            [b"r=", nonce.as_slice(), format!(",s={},i={iterations}", encode(salt)).as_bytes()]
                .concat();
        let challenging =
            Challenging { begun: self, nonce: nonce.into(), server_first: first.clone().into() };
        (challenging, first)
    }
}

impl Challenging {
    /// Takes the client's last message. Without a verifier every proof is wrong:
    /// nobody learns from the answer whether the role exists.
    pub fn last(self, message: &[u8], verifier: Option<&Verifier>) -> Result<Judged, Rejection> {
        check(message)?;
        let mut attributes = Attributes::new(message);
        let binding = attributes.expect(b'c').map_err(attribute)?;
        let mut expected = self.begun.header.to_vec();
        if let Some(end_point) = &self.begun.end_point {
            expected.extend_from_slice(end_point.bytes());
        }
        if binding != encode(&expected).as_bytes() {
            return Err(if self.begun.end_point.is_some() {
                Rejection {
                    sqlstate: AUTHORIZATION,
                    message: "SCRAM channel binding check failed",
                    detail: None,
                }
            } else {
                protocol("unexpected SCRAM channel-binding attribute in client-final-message", None)
            });
        }
        let nonce = attributes.expect(b'r').map_err(attribute)?;
        let (proof, at) = loop {
            let at = message.len().saturating_sub(attributes.rest().len());
            if let (b'p', value) = attributes.any().map_err(attribute)? {
                break (value, at);
            }
        };
        let proof = decode(proof)
            .and_then(|proof| Key::from_slice(&proof))
            .ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        if !attributes.rest().is_empty() {
            return Err(malformed("Garbage found at the end of client-final-message."));
        }
        if nonce != self.nonce.as_ref() {
            return Err(protocol("invalid SCRAM response", Some("Nonce does not match.")));
        }
        let Some(verifier) = verifier else { return Ok(Judged::Wrong) };
        // The comma before the proof isn't part of what is signed.
        let without_proof = message.get(..at.saturating_sub(1)).unwrap_or_default();
        let text = auth_message(&self.begun.client_first, &self.server_first, without_proof);
        let key = ClientKey(proof.xor(&verifier.stored.0.sign(&text)));
        if !key.stored().0.equals(verifier.stored.0.bytes()) {
            return Ok(Judged::Wrong);
        }
        let signature = verifier.server.0.sign(&text);
        let last = [b"v=", encode(signature.bytes()).as_bytes()].concat();
        Ok(Judged::Good(key, last))
    }
}

fn ends(rest: &[u8]) -> bool {
    rest.first() == Some(&b',')
}

fn check(message: &[u8]) -> Result<(), Rejection> {
    if message.is_empty() {
        Err(malformed("The message is empty."))
    } else if message.contains(&0) {
        Err(malformed("Message length does not match input length."))
    } else {
        Ok(())
    }
}

fn attribute(_: &'static str) -> Rejection {
    malformed("An attribute is missing, unexpected or without its value.")
}

fn malformed(detail: &'static str) -> Rejection {
    protocol("malformed SCRAM message", Some(detail))
}

fn protocol(message: &'static str, detail: Option<&'static str>) -> Rejection {
    Rejection { sqlstate: "08P01", message, detail }
}

fn unsupported(message: &'static str) -> Rejection {
    Rejection { sqlstate: "0A000", message, detail: None }
}

const AUTHORIZATION: &str = "28000";
