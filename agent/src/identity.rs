//! From facts to an [`Actor`](crate::model::Actor): the process and its
//! ancestry, the workload, the person behind it, and what kind that makes.
//!
//! INVARIANT: pure. Facts come in, an actor goes out; nothing here reads a file
//! or a socket. What lowers protection (being a service) rests only on facts
//! that the process could not choose; what raises it may rest on any sign.
//! Never: keep an argument or variable that was not redacted.

pub mod cgroup;
pub mod redact;
pub mod script;
