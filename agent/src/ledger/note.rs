//! Checkpoints as signed notes (C2SP signed-note and tlog-checkpoint), with one
//! extension line: which records of which writer brought the tree to its size.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::Hash;
use crate::model::Timestamp;

/// The head of the tree at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    pub batch: Batch,
    /// By the signer's clock.
    pub at: Timestamp,
}

/// The records that came last: `count` of a writer's, from its number `first`.
/// They are the tree's leaves from `size - count` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub writer: u64,
    pub first: u64,
    pub count: u64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("`{0}` is not a verifier key: it looks like `name+0123abcd+AQ…`")]
    Key(String),
    #[error("this is not a signed checkpoint: {0}")]
    Malformed(&'static str),
    #[error("it is signed by others, and not by `{0}`")]
    NotSigned(String),
    #[error(
        "its signature by `{0}` is wrong: the checkpoint was changed, or signed by another key"
    )]
    BadSignature(String),
    #[error("it is of the log `{found}`, and not of `{expected}`")]
    Origin { expected: String, found: String },
}

impl Checkpoint {
    /// What is signed.
    pub fn body(&self) -> String {
        let Self { origin, size, root, batch: Batch { writer, first, count }, at } = self;
        let root = STANDARD.encode(root);
        format!("{origin}\n{size}\n{root}\nbatch {writer} {first} {count} {at}\n")
    }

    /// The leaf that a record is, if this head brought it in.
    pub fn leaf_of(&self, writer: u64, position: u64) -> Option<u64> {
        let batch = self.batch;
        let offset = position.checked_sub(batch.first)?;
        let brought = writer == batch.writer && offset < batch.count;
        let start = self.size.checked_sub(batch.count).filter(|_| brought)?;
        start.checked_add(offset)
    }

    fn parse(body: &str) -> Result<Self, NoteError> {
        let wrong = NoteError::Malformed;
        let mut lines = body.strip_suffix('\n').ok_or(wrong("it is cut"))?.split('\n');
        let mut line = || lines.next().ok_or(wrong("lines are missing"));
        let origin = line()?.to_owned();
        let size = number(line()?).ok_or(wrong("its size is no number"))?;
        let root = STANDARD.decode(line()?).ok().and_then(|bytes| bytes.try_into().ok());
        let root = root.ok_or(wrong("its root is no hash"))?;
        let mut words = line()?.split(' ');
        if words.next() != Some("batch") {
            return Err(wrong("it has no batch"));
        }
        let mut word = || words.next().and_then(number).ok_or(wrong("its batch is no batch"));
        let batch = Batch { writer: word()?, first: word()?, count: word()? };
        let at = words.next().and_then(|at| at.parse().ok()).ok_or(wrong("it has no time"))?;
        let checkpoint = Self { origin, size, root, batch, at };
        // Only one way to write it.
        if checkpoint.origin.is_empty() || checkpoint.body() != body {
            return Err(wrong("it is not written as it should be"));
        }
        Ok(checkpoint)
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The public key, with the log's name: what an auditor needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    pub name: String,
    key: [u8; 32],
}

impl VerifierKey {
    /// The first bytes of a hash of name and key: tells keys of one name apart.
    fn id(&self) -> [u8; 4] {
        let mut bytes = self.name.clone().into_bytes();
        bytes.extend([b'\n', ED25519_KIND]);
        bytes.extend(self.key);
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &bytes).as_ref()) {
            *to = *from;
        }
        id
    }

    /// The checkpoint of a note that this key has signed. Signatures by others
    /// (witnesses) may stand beside it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed("it has no signature"))?;
        let (body, signatures) =
            note.split_at_checked(split + 1).ok_or(NoteError::Malformed("it has no signature"))?;
        let mut found = Err(NoteError::NotSigned(self.name.clone()));
        for line in signatures.lines().skip(1) {
            let signature = line
                .strip_prefix("— ")
                .and_then(|rest| rest.split_once(' '))
                .ok_or(NoteError::Malformed("a signature's line is no such"))?;
            let (name, signature) = signature;
            let bytes = STANDARD
                .decode(signature)
                .map_err(|_| NoteError::Malformed("a signature is not in base64"))?;
            let Some((id, signature)) = bytes.split_at_checked(4) else {
                return Err(NoteError::Malformed("a signature is cut"));
            };
            if name != self.name || id != self.id() {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.key)
                .verify(body.as_bytes(), signature)
                .map_err(|_| NoteError::BadSignature(self.name.clone()))?;
            found = Ok(());
        }
        found?;
        let checkpoint = Checkpoint::parse(body)?;
        if checkpoint.origin != self.name {
            return Err(NoteError::Origin {
                expected: self.name.clone(),
                found: checkpoint.origin,
            });
        }
        Ok(checkpoint)
    }
}

/// `name+id+key`, as other tools for transparency logs write it.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519_KIND];
        bytes.extend(self.key);
        write!(f, "{}+", self.name)?;
        for byte in self.id() {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "+{}", STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let (name, rest) = text.trim().split_once('+')?;
            let (_, key) = rest.split_once('+')?;
            let bytes = STANDARD.decode(key).ok()?;
            let key = bytes.strip_prefix(&[ED25519_KIND])?.try_into().ok()?;
            let verifier = Self { name: name.into(), key };
            (verifier.to_string() == text.trim()).then_some(verifier)
        };
        // What was taken for a key may be a whole file of something else.
        read().ok_or_else(|| NoteError::Key(text.trim().chars().take(SHOWN).collect()))
    }
}

/// What a note says, whoever signed it.
pub fn peek(note: &str) -> Option<Checkpoint> {
    let body = note.get(..=note.rfind("\n\n")?)?;
    Checkpoint::parse(body).ok()
}

/// Notes one behind the other, each ended by an empty line after a signature.
pub fn split(text: &str) -> Vec<String> {
    // Out of memory nothing fails.
    read(text.as_bytes()).unwrap_or_default()
}

/// Notes as [`split`] tells them apart. What is no text, or longer than a note can be,
/// comes out as a note that nobody signed.
pub fn read(mut from: impl BufRead) -> io::Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut note = String::new();
    let mut signed = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() && signed {
            notes.push(std::mem::take(&mut note));
            signed = false;
            continue;
        }
        signed |= text.starts_with("— ");
        if note.len() as u64 <= LONGEST {
            note.push_str(text);
            note.push('\n');
        }
    }
    if !note.trim().is_empty() {
        notes.push(note);
    }
    Ok(notes)
}

/// The private key. Never shown.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// From the 32 bytes that are the key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let key = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, verifier: VerifierKey { name: name.into(), key } })
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The checkpoint as a signed note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let body = checkpoint.body();
        let mut bytes = self.verifier.id().to_vec();
        bytes.extend(self.pair.sign(body.as_bytes()).as_ref());
        format!("{body}\n— {} {}\n", self.verifier.name, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

/// Characters of what is no key.
const SHOWN: usize = 80;
/// Of a note, with the signatures of many witnesses.
const LONGEST: u64 = 64 * 1024;
/// The kind of signature, in keys and their ids.
const ED25519_KIND: u8 = 1;

#[cfg(test)]
mod tests;
