//! The arithmetic of the log: hashes, ranges of a Merkle tree, proofs, and the
//! signed heads of the tree. Knows no record's content, no file and no socket.
//!
//! Hashing is RFC 6962's; a head is a C2SP checkpoint: a note, signed with
//! Ed25519, whose one more line says which writer's records were the last to
//! come in.
//!
//! INVARIANT: [`Head`] only ever grows. What it signs is what it was, with
//! leaves appended: a head that is not consistent with one signed before it
//! can't be expressed.

pub mod head;
pub mod merkle;
pub mod note;

pub use head::{Head, HeadError, MOST_AT_ONCE, Writer};
pub use merkle::{Hash, Range};
pub use note::{Batch, Checkpoint, NoteError, SigningKey, VerifierKey};
