//! PostgreSQL's protocol v3 (3.0 and 3.2), both directions.
//!
//! [`Framer`] cuts a stream into frames in place; [`Frontend`] and [`Backend`]
//! read and write every message, borrowed and lazily; [`session`] has the
//! machines that know what a frame means; [`login`] stands between the two
//! sides until they know each other, by [`scram`] where it has to; [`Splice`] puts together what goes
//! out: ranges of the input that are unchanged, and bytes made here.
//!
//! Invariants: a frame that is passed on is passed on byte for byte; a message
//! that can plan or run something leaves only by a released ticket; all memory
//! that a peer can make us hold is bounded by [`Limits`](super::limits::Limits).
//!
//! Never: I/O, a guess about an unknown message, a panic on foreign bytes.

mod backend;
pub mod errand;
mod error;
mod fields;
mod framer;
mod frontend;
mod lists;
pub mod login;
mod md5;
mod opening;
mod read;
pub mod scram;
pub mod session;
mod splice;
mod write;

pub use backend::{
    Authentication, Backend, BackendKey, CopyResponse, Negotiation, Notification, Parameter,
    Transaction,
};
pub use error::{Fault, Side, WireError};
pub use fields::{Field, Fields, write_error, write_notice};
pub use framer::{Frame, Framer, Part, Span, Tags};
pub use frontend::{
    Bind, Close, Credential, Describe, Execute, Frontend, FunctionCall, Object, Parse, SaslInitial,
    write_sasl_response,
};
pub use lists::{Column, Columns, Formats16, Strings, Types32, Values};
pub use opening::{
    CancelRequest, GSS_REQUEST, Opening, Startup, TLS_REQUEST, TlsAnswer, Version, write_cancel,
    write_request,
};
pub use splice::{Pass, Splice};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
