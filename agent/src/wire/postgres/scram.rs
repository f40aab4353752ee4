//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both roles, as
//! PostgreSQL speaks them.
//!
//! [`server`] proves a client by a role's [`Verifier`] and gains the
//! [`ClientKey`] from its proof; [`client`] logs in with such keys, or with
//! those of a password ([`Derivation`]). No password is needed between the two.
//!
//! Invariants: keys and passwords are wiped when they are dropped, shown by no
//! `Debug`, and compared in constant time; keys lie in locked memory; what is random
//! comes in from outside, so that an exchange can be repeated in a test.
//!
//! Never: I/O, hashing a password without somebody having been told how long it
//! will take, a panic on foreign bytes.

pub mod client;
mod end_point;
mod keys;
mod locked;
mod message;
pub mod server;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

pub use end_point::{EndPoint, end_point_hash};
pub use keys::{
    BadVerifier, ClientKey, Derivation, Key, Password, Salted, ServerKey, StoredKey, Verifier,
};
pub use locked::are_locked as keys_are_locked;

pub const PLAIN: &[u8] = b"SCRAM-SHA-256";
pub const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";
/// The one kind of channel binding that PostgreSQL knows.
pub const BINDING: &[u8] = b"tls-server-end-point";

/// What makes an exchange unique; as many bytes as PostgreSQL takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 18]);

impl Nonce {
    fn text(self) -> String {
        encode(&self.0)
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce")
    }
}

/// PostgreSQL doesn't mind what stands in the last bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests;
