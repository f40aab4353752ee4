//! The client's role, towards a server.

use std::num::NonZeroU32;

use super::keys::{ClientKey, Key, ServerKey, number};
use super::message::{Attributes, printable};
use super::{BINDING, EndPoint, Nonce, PLAIN, PLUS, decode, encode};
use crate::wire::postgres::error::Fault;

/// What an exchange is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// We can't bind, or there is no TLS.
    Unable,
    /// We could, and the server doesn't offer it.
    Unoffered,
    To(EndPoint),
}

impl Binding {
    fn header(&self) -> Vec<u8> {
        match self {
            Self::Unable => b"n,,".to_vec(),
            Self::Unoffered => b"y,,".to_vec(),
            Self::To(_) => [b"p=", BINDING, b",,"].concat(),
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::To(end_point) => end_point.bytes(),
            _ => &[],
        }
    }
}

/// An exchange whose first message went out.
#[derive(Debug)]
pub struct Begun {
    pub(super) binding: Binding,
    pub(super) nonce: String,
    /// The first message without its header.
    pub(super) bare: Box<[u8]>,
}

/// The server has answered with its salt.
#[derive(Debug)]
pub struct Challenged {
    binding: Binding,
    bare: Box<[u8]>,
    server_nonce: Box<[u8]>,
    server_first: Box<[u8]>,
    salt: Box<[u8]>,
    iterations: NonZeroU32,
}

/// The proof went out; the server's own is awaited.
#[derive(Debug)]
pub struct Proven {
    signature: Key,
}

/// Begins an exchange: the mechanism, and the first message.
pub fn begin(binding: Binding, nonce: Nonce) -> (Begun, &'static [u8], Vec<u8>) {
    let mechanism = if matches!(binding, Binding::To(_)) { PLUS } else { PLAIN };
    let nonce = nonce.text();
    // The role's name is the startup packet's, as PostgreSQL wants it.
    let bare = format!("n=,r={nonce}").into_bytes().into();
    let begun = Begun { binding, nonce, bare };
    let first = [begun.binding.header().as_slice(), &begun.bare].concat();
    (begun, mechanism, first)
}

impl Begun {
    pub fn is_bound(&self) -> bool {
        matches!(self.binding, Binding::To(_))
    }

    /// Takes the server's first message. More iterations than `most` are
    /// refused.
    pub fn challenged(self, message: &[u8], most: u32) -> Result<Challenged, Fault> {
        let malformed = |what| Fault::Malformed { message: FIRST, what };
        let mut attributes = Attributes::new(message);
        let server_nonce = attributes.expect(b'r').map_err(malformed)?;
        let salt = attributes.expect(b's').map_err(malformed)?;
        let iterations = attributes.expect(b'i').map_err(malformed)?;
        let foreign = server_nonce.strip_prefix(self.nonce.as_bytes());
        if !foreign.is_some_and(printable) {
            return Err(malformed("its nonce doesn't continue ours"));
        }
        let salt = decode(salt)
            .filter(|salt| !salt.is_empty())
            .ok_or_else(|| malformed("its salt isn't base64"))?;
        let iterations =
            number(iterations).ok_or_else(|| malformed("its iteration count is no number"))?;
        if iterations.get() > most {
            let what = "the server wants a password hashed too many times";
            return Err(Fault::Limit { what, limit: most as usize });
        }
        if !attributes.rest().is_empty() {
            return Err(malformed("there is more at its end"));
        }
        Ok(Challenged {
            binding: self.binding,
            bare: self.bare,
            server_nonce: server_nonce.into(),
            server_first: message.into(),
            salt: salt.into(),
            iterations,
        })
    }
}

impl Challenged {
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// The last message, with a proof by this key. `server` is what the server
    /// has to prove in turn.
    pub fn prove(self, client: &ClientKey, server: &ServerKey) -> (Vec<u8>, Proven) {
        let without_proof = self.without_proof();
        let text = auth_message(&self.bare, &self.server_first, &without_proof);
        let proof = client.0.xor(&client.stored().0.sign(&text));
        let signature = server.0.sign(&text);
        (with_proof(without_proof, proof.bytes()), Proven { signature })
    }

    /// The last message with a proof that is none: the server shall refuse it
    /// in its own words, as it would have refused the client.
    pub fn fail(self, decoy: [u8; 32]) -> Vec<u8> {
        with_proof(self.without_proof(), &decoy)
    }

    fn without_proof(&self) -> Vec<u8> {
        let mut bound = self.binding.header();
        bound.extend_from_slice(self.binding.data());
        [b"c=", encode(&bound).as_bytes(), b",r=", &self.server_nonce].concat()
    }
}

impl Proven {
    /// Takes the server's last message: whether it knows the role's keys.
    pub fn server_proves(&self, message: &[u8]) -> Result<(), Fault> {
        let malformed = |what| Fault::Malformed { message: LAST, what };
        let mut attributes = Attributes::new(message);
        if message.first() == Some(&b'e') {
            return Err(malformed("it says that the exchange failed"));
        }
        let signature = attributes.expect(b'v').map_err(malformed)?;
        if !attributes.rest().is_empty() {
            return Err(malformed("there is more at its end"));
        }
        let signature = decode(signature).ok_or_else(|| malformed("its proof isn't base64"))?;
        if self.signature.equals(&signature) { Ok(()) } else { Err(Fault::Unproven) }
    }
}

pub(super) fn auth_message(first: &[u8], server_first: &[u8], last: &[u8]) -> Vec<u8> {
    [first, b",", server_first, b",", last].concat()
}

fn with_proof(mut message: Vec<u8>, proof: &[u8]) -> Vec<u8> {
    message.extend_from_slice(b",p=");
    message.extend_from_slice(encode(proof).as_bytes());
    message
}

const FIRST: &str = "server-first SCRAM message";
const LAST: &str = "server-final SCRAM message";
