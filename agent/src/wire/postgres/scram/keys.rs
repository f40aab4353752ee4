//! What is secret in SCRAM, from the password down to the verifier.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use zeroize::{Zeroize, Zeroizing};

use super::locked::Place;
use super::{decode, encode};

/// 32 bytes that nobody else may see: in memory that is never written to a disk, and
/// wiped when they are dropped.
pub struct Key(Place);

/// What proves a client, and equals the password for whoever has it.
pub struct ClientKey(pub(super) Key);

/// Proves a client's proof; of no other use.
pub struct StoredKey(pub(super) Key);

/// Proves a server to its clients.
pub struct ServerKey(pub(super) Key);

impl Key {
    fn empty() -> Self {
        Self(Place::new())
    }

    /// `None`: it has another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::empty();
        *key.0.bytes_mut() = *bytes.as_array()?;
        Some(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub(super) fn sign(&self, text: &[u8]) -> Self {
        Self::fill(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.bytes()), text).as_ref())
    }

    pub(super) fn hash(&self) -> Self {
        Self::fill(digest::digest(&digest::SHA256, self.bytes()).as_ref())
    }

    pub(super) fn xor(&self, other: &Self) -> Self {
        let mut mixed = Self::fill(self.bytes());
        for (byte, with) in mixed.0.bytes_mut().iter_mut().zip(other.bytes()) {
            *byte ^= with;
        }
        mixed
    }

    pub(super) fn equals(&self, other: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.bytes(), other).is_ok()
    }

    fn fill(bytes: &[u8]) -> Self {
        let mut key = Self::empty();
        for (byte, from) in key.0.bytes_mut().iter_mut().zip(bytes) {
            *byte = *from;
        }
        key
    }
}

impl ClientKey {
    pub(super) fn stored(&self) -> StoredKey {
        StoredKey(self.0.hash())
    }
}

macro_rules! secret {
    ($($name:ident),*) => { $(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )* };
}

secret!(Key, ClientKey, StoredKey, ServerKey, Password, Salted);

/// A password as the client wrote it.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    pub fn new(password: Vec<u8>) -> Self {
        Self(Zeroizing::new(password))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As SCRAM hashes it: prepared by SASLprep, and where that isn't possible
    /// (no UTF-8, forbidden characters, nothing left) as it is, like
    /// PostgreSQL.
    pub(super) fn prepared(&self) -> Self {
        let prepared = str::from_utf8(&self.0)
            .ok()
            .filter(|text| !text.is_ascii())
            .and_then(|text| stringprep::saslprep(text).ok())
            .filter(|text| !text.is_empty());
        match prepared {
            Some(text) => Self::new(text.into_owned().into_bytes()),
            None => Self::new(self.0.to_vec()),
        }
    }
}

/// A password that is still to be hashed, as often as a server wants it: work
/// that may take seconds, and belongs on a thread that may take them.
#[derive(Debug)]
pub struct Derivation {
    password: Password,
    salt: Box<[u8]>,
    iterations: NonZeroU32,
}

impl Derivation {
    pub fn new(password: &Password, salt: &[u8], iterations: NonZeroU32) -> Self {
        Self { password: password.prepared(), salt: salt.into(), iterations }
    }

    /// Whether it takes a few milliseconds and no more.
    pub fn is_quick(&self) -> bool {
        self.iterations.get() <= QUICK
    }

    pub fn run(self) -> Salted {
        let mut salted = Salted(Key::empty());
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            self.iterations,
            &self.salt,
            self.password.bytes(),
            salted.0.0.bytes_mut(),
        );
        salted
    }
}

/// A hashed password: all keys come of it.
pub struct Salted(Key);

impl Salted {
    pub fn client_key(&self) -> ClientKey {
        ClientKey(self.0.sign(b"Client Key"))
    }

    pub fn server_key(&self) -> ServerKey {
        ServerKey(self.0.sign(b"Server Key"))
    }

    pub fn verifier(&self, salt: &[u8], iterations: NonZeroU32) -> Verifier {
        Verifier {
            iterations,
            salt: salt.into(),
            stored: self.client_key().stored(),
            server: self.server_key(),
        }
    }
}

/// What a server keeps of a role's password (`pg_authid.rolpassword`).
#[derive(Debug)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    pub(super) stored: StoredKey,
    pub(super) server: ServerKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVerifier {
    #[error("it doesn't start with `SCRAM-SHA-256$`")]
    Kind,
    #[error("it is an MD5 hash: set the role's password again under scram-sha-256")]
    Md5,
    #[error("it isn't of the form `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`")]
    Form,
    #[error("its iteration count isn't a number above 0")]
    Iterations,
    #[error("its salt or one of its keys isn't base64 of the right length")]
    Encoding,
}

impl Verifier {
    pub fn parse(text: &[u8]) -> Result<Self, BadVerifier> {
        if text.starts_with(b"md5") {
            return Err(BadVerifier::Md5);
        }
        let rest = text.strip_prefix(b"SCRAM-SHA-256$").ok_or(BadVerifier::Kind)?;
        let mut halves = rest.split(|&byte| byte == b'$');
        let (Some(head), Some(keys), None) = (halves.next(), halves.next(), halves.next()) else {
            return Err(BadVerifier::Form);
        };
        let (iterations, salt) = pair(head).ok_or(BadVerifier::Form)?;
        let (stored, server) = pair(keys).ok_or(BadVerifier::Form)?;
        let iterations = number(iterations).ok_or(BadVerifier::Iterations)?;
        let salt =
            decode(salt).filter(|salt| !salt.is_empty()).ok_or(BadVerifier::Encoding)?.into();
        let key = |text| {
            let bytes = Zeroizing::new(decode(text)?);
            Key::from_slice(&bytes)
        };
        Ok(Self {
            iterations,
            salt,
            stored: StoredKey(key(stored).ok_or(BadVerifier::Encoding)?),
            server: ServerKey(key(server).ok_or(BadVerifier::Encoding)?),
        })
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub fn server_key(&self) -> &ServerKey {
        &self.server
    }

    /// As [`Self::parse`] takes it. Whoever reads it can pass as the server,
    /// and guess at the password.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut stored = encode(self.stored.0.bytes());
        let mut server = encode(self.server.0.bytes());
        let text =
            format!("SCRAM-SHA-256${}:{}${stored}:{server}", self.iterations, encode(&self.salt));
        stored.zeroize();
        server.zeroize();
        Zeroizing::new(text)
    }
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    let (first, second) = text.split_at_checked(colon)?;
    let second = second.get(1..)?;
    (!second.contains(&b':')).then_some((first, second))
}

/// Digits only: no sign, no space.
pub(super) fn number(text: &[u8]) -> Option<NonZeroU32> {
    let text = str::from_utf8(text).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // PostgreSQL's own counts are signed.
    text.parse::<NonZeroU32>().ok().filter(|count| count.get() <= i32::MAX as u32)
}

/// Under ten milliseconds on any machine; PostgreSQL's own default is 4096.
const QUICK: u32 = 20_000;
