//! The databases' own protocols, as machines without I/O.
//!
//! A codec cuts a byte stream into frames and reads them; a session machine
//! takes frames and says what each one is, to whom it belongs and what may be
//! done with it. Nothing in here knows a socket, a clock or a task, so that all
//! of it can be fuzzed, replayed and cut at every byte.
//!
//! Never: guess. What isn't understood is an error with a code and a side.

pub mod limits;
pub mod postgres;
