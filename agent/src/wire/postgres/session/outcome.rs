//! How requests end, for the record.

use super::Gate;

/// The end of a request, or of one statement of a simple query.
///
/// A simple query and a function call end with `Answered`, `Skipped` or `Lost`
/// and may have other outcomes before that; every other request has exactly one.
#[derive(Debug)]
pub struct Outcome<G: Gate> {
    pub serial: u64,
    /// Which statement of a simple query's text, from 0.
    pub index: u32,
    /// Nothing if the request was refused.
    pub permit: Option<G::Permit>,
    /// Rows that were sent to the client for it.
    pub rows: u64,
    /// What those took as the server sent them, and COPY's data either way.
    pub bytes: u64,
    pub ending: Ending,
}

/// What a pipeline's or transaction's later failure undoes is still
/// `Complete` here: the transaction's end is a fact of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A Parse or Bind that succeeded.
    Accepted,
    /// A statement ran to its end; its command tag.
    Complete(Box<[u8]>),
    /// An Execute that stopped at its row limit.
    Suspended,
    /// The text held no statement.
    Empty,
    /// A simple query or function call is answered as a whole.
    Answered,
    /// The server's SQLSTATE.
    Failed(Box<[u8]>),
    /// Refused, and the client was told so; under which SQLSTATE.
    Refused(&'static str),
    /// The server skipped it: an earlier request of its pipeline failed.
    Skipped,
    /// The connection ended before the answer.
    Lost,
}
