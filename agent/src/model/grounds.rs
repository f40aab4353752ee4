//! What a statement was judged by, as the log tells it.

use aws_lc_rs::digest::{SHA256, digest};

/// The same for all statements of which the same is said: told once, and referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// Of the JSON: tells it from others.
    pub key: u128,
    pub json: Box<str>,
}

impl Grounds {
    /// What is told, as JSON.
    pub fn new(json: String) -> Self {
        let hash = digest(&SHA256, json.as_bytes());
        let key = hash.as_ref().first_chunk().map_or(0, |half| u128::from_le_bytes(*half));
        Self { key, json: json.into() }
    }
}
