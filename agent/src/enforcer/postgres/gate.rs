//! What a request needs to go upstream, and a row to go to the client.

use std::sync::Arc;

use crate::policy::Permit;
use crate::sql::Facts;
use crate::wire::postgres::session::{Gate, SqlEffects};

/// The gate of every session.
#[derive(Debug)]
pub struct Judged;

impl Gate for Judged {
    type Permit = Granted;
    type Screened = ();
}

/// A permit, with what is known of the statement that it was given for.
#[derive(Clone, Debug)]
pub struct Granted {
    pub permit: Permit,
    pub statement: Arc<Understood>,
}

/// One text, read.
#[derive(Debug)]
pub struct Understood {
    pub facts: Arc<Facts>,
    /// What it does to the session's own names.
    pub effects: SqlEffects,
}
