//! What a request needs to go upstream, until policies are in the way.

use crate::wire::postgres::session::Gate;

#[derive(Debug)]
pub struct Open;

impl Gate for Open {
    type Permit = ();
    type Screened = ();
}
